#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The limits on what others can make the daemon hold: set, kept, told of, and undone."""
import contextlib
import os
import re
import signal
import subprocess
import sys
import unittest

from harness import DAEMON, SANITIZED, Case, run, unsanitized, when
from qdb import ERROR, OK, READ, WATCH, WRITE, Closed, pack

MAN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../man/qubesdb-daemon.8")
NOBODY = 65534

# Opens as many connections as it can, tells how many, and holds them until its input ends.
HOLD = """
import os, socket, sys
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
held = []
for _ in range({wanted}):
    s = socket.socket(socket.AF_UNIX)
    s.connect({path!r})
    try:
        s.sendall(bytes([0]) + b"/a".ljust(67, b"\\0") + bytes(4))
        if not s.recv(72):
            break
    except OSError:
        break
    held.append(s)
print(len(held), flush=True)
sys.stdin.read()
"""

# Connections that watch everything and read nothing but the answer to that.
WATCH_ONLY = HOLD.replace("bytes([0]) + b\"/a\"", "bytes([5]) + b\"/\"")


class Table(unittest.TestCase):
    def rows(self):
        help_text = subprocess.run([DAEMON, "--help"], capture_output=True, text=True,
                                   check=True).stdout
        return re.findall(r"^  ([a-z-]+) +(\d+)  (.+),\n {30}against (.+)$",
                          help_text.partition("Quotas")[2], re.M)

    def test_man_page_has_the_same_rows(self):
        with open(MAN, encoding="utf-8") as f:
            page = re.findall(r"^\.It ([a-z-]+) Ta (\d+)(?: (KiB|MiB|paths))? Ta (.+); against (.+)$",
                              f.read(), re.M)
        units = {"KiB": 1024, "MiB": 1 << 20}
        said = [(n, str(int(v) * units.get(u, 1)), t, a) for n, v, u, t, a in page]
        self.assertTrue(said)
        self.assertEqual(said, self.rows())

    def test_bad_settings(self):
        for setting in ("entries", "no-such=1", "entries=", "entries=-1", "entries=1x",
                        "entries=0", "backlog=1", "bytes=99999999999999999999"):
            with self.subTest(setting):
                done = subprocess.run([DAEMON, f"--quota={setting}", "5", "work"],
                                      capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertIn(setting, done.stderr)


class Local(Case):
    def limited(self, *quotas, **options):
        return self.dom0(options=[f"--quota={q}" for q in quotas], **options)

    def test_entries(self):
        daemon = self.limited("entries=2")
        c = self.connect(daemon)
        for path, answer in (("/a", OK), ("/b", OK), ("/c", ERROR), ("/a", OK), ("/d", ERROR)):
            self.assertEqual(c.ask(WRITE, path, b"1").type, answer)
        refused = re.findall(r"process (\d+) of user \d+ .* entries, 2$", daemon.output(), re.M)
        self.assertEqual(refused, [str(os.getpid())], "named, and once")

    def test_who_comes_again_is_not_named_again(self):
        daemon = self.limited("client-watches=1")
        for _ in range(60):
            with daemon.connect() as c:
                c.watch("/a")
                self.assertEqual(c.ask(WATCH, "/a").type, ERROR)
        self.assertEqual(daemon.output().count("is refused"), 1)

    def test_bytes(self):
        c = self.connect(self.limited("bytes=4K"))
        self.assertEqual(c.ask(WRITE, "/a", b"x" * 3071).type, OK)
        self.assertEqual(c.ask(WRITE, "/b", b"x" * 3071).type, ERROR)
        self.assertEqual(c.ask(WRITE, "/b", b"x" * 1000).type, OK)

    def test_each_is_told_of_what_was_in_the_way(self):
        """Two who are refused in one turn, for different quotas."""
        daemon = self.limited("entries=1", "client-watches=1")
        writer, watcher = self.connect(daemon), self.connect(daemon)
        writer.write("/a", "1")
        watcher.watch("/a")
        os.kill(daemon.pid, signal.SIGSTOP)
        writer.send(WRITE, "/b", "1")
        watcher.send(WATCH, "/b")
        os.kill(daemon.pid, signal.SIGCONT)
        self.assertEqual([c.answer().type for c in (writer, watcher)], [ERROR, ERROR])
        told = lambda: sorted(re.findall(r"over the quota ([a-z-]+), 1", daemon.output()))
        when(lambda: self.assertEqual(told(), ["client-watches", "entries"]), AssertionError)

    @unsanitized  # they keep memory
    def test_memory_is_given_back(self):
        daemon = self.dom0(domid=0, name="dom0", options=["--state=none"])  # no VM, no backlog
        c = self.connect(daemon)
        c.write_all([(f"/e/{n}", "") for n in range(50)])
        before = daemon.private_dirty_kib()
        for start in range(0, 60_000, 1000):
            c.write_all([(f"/e/{n}", b"x" * 200) for n in range(start, start + 1000)])
        peak = daemon.private_dirty_kib() - before
        c.rm("/e/")
        c.write("/last")  # it is at rest after that
        when(lambda: self.assertLess(daemon.private_dirty_kib() - before, peak / 8),
             AssertionError)

    def test_watches(self):
        c = self.connect(self.limited("client-watches=1"))
        self.assertEqual(c.ask(WATCH, "/a").type, OK)
        self.assertEqual(c.ask(WATCH, "/b").type, ERROR)

    @unittest.skipUnless(os.getuid() == 0, "only root can be somebody else")
    def test_one_user_leaves_room_for_others(self):
        daemon = self.limited("connections=8", "user-connections=3")
        code = HOLD.format(uid=NOBODY, wanted=10, path=daemon.socket())
        holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(holder.stdout.close)
        self.addCleanup(holder.communicate)
        self.assertEqual(holder.stdout.readline(), "3\n")
        for _ in range(5):
            self.assertIsNone(self.connect(daemon).read("/a"))
        self.assertIn("of one user", daemon.output())

    @unittest.skipUnless(os.getuid() == 0, "only root can be somebody else")
    def test_some_places_are_for_root(self):
        daemon = self.limited("connections=32")
        code = HOLD.format(uid=NOBODY, wanted=40, path=daemon.socket())
        holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(holder.stdout.close)
        self.addCleanup(holder.communicate)
        self.assertEqual(holder.stdout.readline(), "30\n")
        for _ in range(2):
            self.assertIsNone(self.connect(daemon).read("/a"))

    @unittest.skipUnless(os.getuid() == 0, "only root can be somebody else")
    def test_watches_of_one_user(self):
        """However many connections it has; and all users leave some to root."""
        for quotas, taken in (("user-watches=3",), 3), (("watches=16",), 15):
            daemon = self.limited(*quotas, run=quotas[0], name=quotas[0].partition("=")[0])
            code = WATCH_ONLY.format(uid=NOBODY, wanted=20, path=daemon.socket())
            code = code.replace("if not s.recv(72):", "if s.recv(72)[0] != 7:")
            holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
            self.addCleanup(holder.stdout.close)
            self.addCleanup(holder.communicate)
            self.assertEqual(holder.stdout.readline(), f"{taken}\n")
            self.connect(daemon).watch("/a")

    @unittest.skipUnless(os.getuid() == 0, "only root can be somebody else")
    def test_what_one_user_leaves_unread(self):
        """Many watchers that do not read, each far below its own limit; others notice nothing."""
        daemon = self.limited("user-output=256K")
        code = WATCH_ONLY.format(uid=NOBODY, wanted=5, path=daemon.socket())
        holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(holder.stdout.close)
        self.addCleanup(holder.communicate)
        self.assertEqual(holder.stdout.readline(), "5\n")
        own, writer = self.connect(daemon), self.connect(daemon)
        own.watch("/e/")
        paths = [f"/e/{n:05}" for n in range(10_000)]
        gone = rf"process {holder.pid} of user {NOBODY} is disconnected: .* user-output, 262144 bytes"
        for start in range(0, len(paths), 1000):
            writer.write_all([(p, "") for p in paths[start:start + 1000]])
        self.assertTrue(re.findall(gone, daemon.output()))
        self.assertEqual(daemon.output().count("disconnected"), len(re.findall(gone, daemon.output())))
        self.assertEqual([own.event() for _ in paths], paths)

    def test_a_flood_has_its_turn_and_no_more(self):
        """All of it is answered, in order, however few requests one turn serves."""
        daemon = self.limited("requests=1")
        flood, other = self.connect(daemon), self.connect(daemon)
        flood.write("/a", "1")
        flood.send_raw(pack(READ, "/a") * 200)
        self.assertEqual(other.read("/a"), b"1")
        for _ in range(200):
            self.assertEqual(flood.recv().data, b"1")


class OfTheVM(Case):
    """What the VM writes over its share is refused in dom0, and undone in the VM."""

    def limited_pair(self, *quotas):
        dom0 = self.dom0(options=[f"--quota={q}" for q in quotas])
        return dom0, self.vm()

    def test_new_entries(self):
        dom0, vm = self.limited_pair("vm-entries=3")
        d, v = self.connect(dom0), self.connect(vm)
        d.write("/dom0", "1")
        self.sync(d, v)
        for i in range(10):
            self.assertEqual(v.ask(WRITE, f"/vm/{i}", b"1").type, OK)
        when(lambda: self.assertEqual(len(v.snapshot()), 4), AssertionError)
        self.assert_same(d.snapshot(), v.snapshot())
        d.write("/vm/0", "mine")
        when(lambda: self.assertEqual(v.read("/vm/0"), b"mine"), AssertionError)
        self.assertEqual(v.ask(WRITE, "/vm/9", b"again").type, OK)
        when(lambda: self.assertEqual(d.read("/vm/9"), b"again"), AssertionError)
        self.assertEqual(dom0.output().count("refused"), 1)
        self.assertIn("a change of the VM is refused, for a quota, and is undone there",
                      dom0.output())
        self.assertEqual(vm.output().count("refused"), 1)
        self.assertIn("the peer has refused a change", vm.output())

    def test_inside_the_vm(self):
        """What dom0 writes over the VM's own limits is missing there."""
        dom0 = self.dom0()
        d, v = self.connect(dom0), self.connect(vm := self.vm(options=["--quota=entries=2"]))
        d.write_all([(f"/{i}", b"") for i in range(5)])
        when(lambda: self.assertEqual(vm.output().count("is over a quota, so that dom0 has"), 1),
             AssertionError)
        self.assertEqual(len(v.snapshot()), 2)
        self.assertNotIn("undone", vm.output() + dom0.output())

    def test_values_of_dom0_survive(self):
        dom0, vm = self.limited_pair("vm-bytes=100")
        d, v = self.connect(dom0), self.connect(vm)
        d.write("/config", "short")
        self.sync(d, v)
        self.assertEqual(v.ask(WRITE, "/config", b"x" * 200).type, OK)
        when(lambda: self.assertEqual(v.read("/config"), b"short"), AssertionError)
        self.assertEqual(d.read("/config"), b"short")

    def test_legacy_vm(self):
        dom0 = self.dom0(options=["--quota=vm-entries=1"])
        self.connect(dom0).write("/dom0", "1")
        fake = self.fake_vm().hello()
        fake.dump()
        self.assertEqual(fake.operation(WRITE, "/a", "1"), OK)
        self.assertEqual(fake.operation(WRITE, "/dom0", "2"), ERROR)
        fake.state["/b"] = b"1"
        self.assertEqual(fake.operation(WRITE, "/b", "1"), ERROR)
        fake.serve_until(lambda state: state == {"/a": b"1", "/dom0": b"1"})

    def test_coming_and_going(self):
        """A VM that connects too often, lately or in all, is let in again after a while."""
        for quota in ("reconnects", "vm-links"):
            with self.subTest(quota):
                dom0 = self.dom0(options=[f"--quota={quota}=3"])
                check = self.honest(dom0)
                for _ in range(3):
                    with self.fake_vm().hello() as fake:
                        fake.dump()
                when(lambda: self.assertIn(f"too often (quota {quota})", dom0.output()),
                     AssertionError)
                check()
                dom0.check_quiet()
                dom0.stop()

    def test_coming_and_going_fills_no_log(self):
        """Nor hides what the daemon has to say of itself."""
        dom0 = self.dom0()
        for _ in range(100):
            with self.fake_vm().hello() as fake:
                fake.dump()
        dom0.stop()
        self.assertLessEqual(len(dom0.output().splitlines()), 30)
        self.assertIn("more lines about the other side are left out", dom0.output())
        self.assertIn("ending on signal 15", dom0.output())

    def test_a_vm_costs_little(self):
        """However much it writes: memory of the daemon (not a sanitizer's), and its state."""
        dom0, vm = self.pair()
        v = self.connect(vm)
        before = dom0.private_dirty_kib()
        for i in range(3000):
            v.ask(WRITE, f"/vm/{i}", b"x" * 3071)
        with self.connect(dom0) as d:
            when(lambda: self.assertEqual(len(d.snapshot()), len(v.snapshot())), AssertionError)
        state = sum(os.stat(os.path.join(dom0.run, "qubesdb.work.state" + suffix)).st_size
                    for suffix in ("", "-tail", "-wal"))
        heap = 0 if SANITIZED else dom0.private_dirty_kib() - before
        self.assertLessEqual(heap + state // 1024, 4096)

    def test_a_vm_that_answers_nothing_costs_little(self):
        """It is told to undo what is refused, does not, and goes on with ever new paths."""
        dom0 = self.dom0()
        check = self.honest(dom0)
        before = dom0.private_dirty_kib()
        paths = iter(range(1_000_000))
        for _ in range(5):
            with self.fake_vm() as link:
                link.hello("@qdb:1:00000000000000aa:fresh").dump()
                with contextlib.suppress(Closed):
                    for _ in range(40):
                        raw = b"".join(pack(WRITE, f"/{next(paths)}", b"x" * 60) for _ in range(500))
                        link.flood(raw)
        check()
        self.assertIn("too many changes", dom0.output())
        if not SANITIZED:
            self.assertLessEqual(dom0.private_dirty_kib() - before, 4096)


if __name__ == "__main__":
    run()
