#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A daemon in dom0 and one in the VM as a pair: what is written on one side is there on the other,
whoever comes late, goes away or comes back.
"""
import os
import random
import signal
import subprocess

from harness import VM_WRITES_ALL, CLIENT, Case, run
from qdb import NOENT, OK, READ, RM, WATCH, WRITE, Broken, pack

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")


def recorded_namespace(name):
    """Entries of a real VM: path, tab, value with \\xNN escapes."""
    with open(os.path.join(DATA, name), "rb") as f:
        for line in f.read().splitlines():
            path, _, value = line.partition(b"\t")
            yield path, value.decode("unicode_escape").encode("latin-1")


class Pair(Case):
    def setUp(self):
        super().setUp()
        self.a, self.b = self.pair(options=VM_WRITES_ALL)
        self.in_dom0, self.in_vm = self.connect(self.a), self.connect(self.b)

    def test_both_directions(self):
        for here, there in (self.in_dom0, self.in_vm), (self.in_vm, self.in_dom0):
            there.watch("/x/")
            here.write("/x/value", "1")
            self.assertEqual(there.event(), "/x/value")
            self.assertEqual(there.read("/x/value"), b"1")
            here.write("/x/value", b"\xff" * 3071)
            self.assertEqual(there.event(), "/x/value")
            self.assertEqual(there.read("/x/value"), b"\xff" * 3071)
            here.write("/x/value", "")
            self.assertEqual(there.event(), "/x/value")
            self.assertEqual(there.read("/x/value"), b"")
            here.rm("/x/")
            self.assertEqual(there.event(), "/x/")
            self.assertIsNone(there.read("/x/value"))
            there.unwatch("/x/")

    def test_real_namespaces(self):
        for name in "namespace-proxyvm.tsv", "namespace-appvm.tsv":
            entries = list(recorded_namespace(name))
            self.in_dom0.write_all(entries)
            self.sync(self.in_dom0, self.in_vm)
            self.assertEqual(self.in_vm.snapshot(), {p.decode(): v for p, v in entries})
            self.in_vm.rm("/")
            self.assert_equal_ends(self.a, self.b)
            self.assertEqual(self.in_dom0.list(), [])

    def test_removing_the_absent_is_no_error_between_daemons(self):
        """Both remove the same entry at once, again and again: both ends live."""
        for n in range(300):
            self.in_dom0.send_raw(pack(WRITE, f"/r/{n}", "1"))
            self.in_vm.send_raw(pack(RM, f"/r/{n}") + pack(RM, "/r/"))
            self.in_dom0.send_raw(pack(RM, f"/r/{n}") + pack(RM, "/r/"))
        for connection, count in (self.in_dom0, 900), (self.in_vm, 600):
            for _ in range(count):
                self.assertIn(connection.recv().type, (OK, NOENT))
        self.sync(self.in_dom0, self.in_vm)
        self.sync(self.in_vm, self.in_dom0)
        self.in_dom0.write("/alive", "1")
        self.sync(self.in_dom0, self.in_vm)
        self.assertEqual(self.in_vm.read("/alive"), b"1")

    def test_equal_after_mixed_traffic(self):
        """Each side has entries of its own; on the common ones they take turns."""
        rng = random.Random(3)
        for turn in range(10):
            for name, connection in ("/dom0", self.in_dom0), ("/vm", self.in_vm):
                raw = []
                for _ in range(300):
                    path = f"{name}/{rng.randrange(5)}/{rng.randrange(20)}"
                    choice = rng.random()
                    if choice < 0.75:
                        raw.append(pack(WRITE, path, "v" * rng.choice((0, 1, 50, 3071))))
                    else:
                        raw.append(pack(RM, path if choice < 0.95 else path[:path.rindex("/") + 1]))
                connection.pump(b"".join(raw), len(raw))
            here, there = random.Random(turn).sample([self.in_dom0, self.in_vm], 2)
            here.write("/common", str(turn))
            self.sync(here, there)
            self.assertEqual(there.read("/common"), b"%d" % turn)
        self.assert_equal_ends(self.a, self.b)
        self.assertGreater(len(self.in_dom0.list()), 50)

    def test_concurrent_changes_of_the_same(self):
        """Both sides change the same few entries and directories at once; the ends agree."""
        rng = random.Random(5)
        for _ in range(15):
            raw = {self.in_dom0: [], self.in_vm: []}
            for requests in raw.values():
                for _ in range(40):
                    path = f"/{rng.choice('ab')}/{rng.choice('xyz')}"
                    requests.append(rng.choice((pack(WRITE, path, rng.randbytes(4).hex()),
                                                pack(WRITE, path, rng.randbytes(4).hex()),
                                                pack(RM, path), pack(RM, path[:3]))))
            for connection, requests in raw.items():
                connection.send_raw(b"".join(requests))
            for connection, requests in raw.items():
                connection.pump(b"", len(requests))
            self.assert_equal_ends(self.a, self.b)

    def test_one_side_sleeps(self):
        """Thousands of entries while the other end does not run: it is told when it wakes."""
        for sleeper, writer in (self.b, self.in_dom0), (self.a, self.in_vm):
            writer.write_all([(f"/old/{n}", "x") for n in range(500)])
            self.assert_equal_ends(self.a, self.b)
            sleeper.popen.send_signal(signal.SIGSTOP)
            try:
                writer.write_all([(f"/new/{n}", "y" * 200) for n in range(6000)])
                writer.rm("/old/7")
                writer.rm("/new/7")
                writer.write("/old/8", "changed")
            finally:
                sleeper.popen.send_signal(signal.SIGCONT)
            self.assert_equal_ends(self.a, self.b)
            self.assertEqual(len(writer.list("/new/")), 5999)
            writer.rm("/")
            self.assert_equal_ends(self.a, self.b)

    def test_flood_both_ways(self):
        """Both sides write as fast as they can: neither waits for the other for good."""
        raw = {c: b"".join(pack(WRITE, f"/{n}/{i % 50}", "z" * 3000) for i in range(2000))
               for n, c in enumerate((self.in_dom0, self.in_vm))}
        left = {c: memoryview(r) for c, r in raw.items()}
        answered = dict.fromkeys(left, 0)
        while any(left.values()):
            for connection, rest in left.items():
                left[connection] = rest[connection.send_some(rest[:65536]):]
                while connection.readable():
                    self.assertEqual(connection.recv().type, OK)
                    answered[connection] += 1
        for connection, count in answered.items():
            for _ in range(count, 2000):
                self.assertEqual(connection.recv().type, OK)
        self.assert_equal_ends(self.a, self.b)

    def check_ended_in_the_middle(self, ending, here, other, there):
        """What a daemon has acknowledged the other gets before the link ends."""
        self.sync(here, there)
        os.kill(other.pid, signal.SIGSTOP)
        here.write_all(big := [(f"/v/{n}", b"y" * 1000) for n in range(1500)])
        os.kill(other.pid, signal.SIGCONT)
        ending.stop()
        self.assertEqual(len(there.list("/v/")), len(big))

    def test_dom0_ended_in_the_middle(self):
        self.check_ended_in_the_middle(self.a, self.in_dom0, self.b, self.in_vm)

    def test_vm_ended_in_the_middle(self):
        self.check_ended_in_the_middle(self.b, self.in_vm, self.a, self.in_dom0)

    def test_300_clients(self):
        for daemon, writer in (self.a, self.in_vm), (self.b, self.in_dom0):
            clients = [daemon.connect() for _ in range(300)]
            for client in clients:
                client.send_raw(pack(WATCH, "/all") + pack(READ, "/none"))
            for client in clients:
                self.assertEqual([client.recv().type, client.recv().type], [OK, NOENT])
            writer.write("/all", "1")
            for client in clients:
                self.assertEqual(client.event(), "/all")
                client.close()

    def test_agent_restart(self):
        for how in signal.SIGTERM, signal.SIGKILL, signal.SIGTERM:
            self.in_vm.write("/vm/wrote", how.name)
            self.sync(self.in_vm, self.in_dom0)
            if how == signal.SIGKILL:
                self.b.kill()
            else:
                self.b.stop()
            self.in_dom0.write("/while/away", how.name)
            self.in_dom0.ask(RM, "/gone")
            self.b = self.vm()
            self.in_vm = self.connect(self.b)
            self.assertEqual(self.in_vm.read("/vm/wrote"), how.name.encode())
            self.assertEqual(self.in_vm.read("/while/away"), how.name.encode())
            self.assertIsNone(self.in_vm.read("/gone"))
            self.in_vm.write("/gone", "soon")
            self.assert_equal_ends(self.a, self.b)

    def test_daemon_restart(self):
        """The agent and its clients outlive the daemon in dom0, and talk to the next one."""
        for how in signal.SIGTERM, signal.SIGKILL:
            self.in_vm.write("/vm/wrote", "before")
            if how == signal.SIGKILL:
                self.a.kill()
            else:
                self.a.stop()
            self.assertEqual(self.in_vm.read("/vm/wrote"), b"before")
            self.in_vm.watch("/new")
            self.a = self.dom0()
            self.in_dom0 = self.connect(self.a)
            self.in_dom0.write("/new", how.name)
            self.assertEqual(self.in_vm.event(), "/new")
            self.assertEqual(self.in_vm.read("/new"), how.name.encode())
            self.in_vm.unwatch("/new")
            self.in_dom0.watch("/back")
            self.in_vm.write("/back", "")
            self.assertEqual(self.in_dom0.event(), "/back")
        self.assertTrue(self.b.is_running())

    def test_command_line(self):
        """One round through what people type."""
        cmd = os.path.join(CLIENT, "qubesdb-cmd")
        if not os.path.exists(cmd):
            self.skipTest("no command line was built")

        def cli(daemon, *arguments):
            env = dict(os.environ, QUBESDB_RUNTIME_DIR=daemon.run)
            done = subprocess.run([cmd, *arguments], env=env, capture_output=True, check=False)
            return done.returncode, done.stdout

        self.assertEqual(cli(self.a, "-c", "write", "-d", "work", "/cli", "value"), (0, b""))
        self.sync(self.in_dom0, self.in_vm)
        self.assertEqual(cli(self.b, "-c", "read", "/cli"), (0, b"value\n"))
        self.assertEqual(cli(self.b, "-c", "rm", "/cli"), (0, b""))
        self.sync(self.in_vm, self.in_dom0)
        self.assertEqual(cli(self.a, "-c", "read", "-d", "work", "/cli"), (2, b""))


class LateAgent(Case):
    def test_dom0_serves_before_an_agent_appears(self):
        a = self.dom0()
        here = self.connect(a)
        here.write_all([(f"/early/{n}", str(n)) for n in range(1000)])
        here.rm("/early/7")
        b = self.vm()
        self.assert_equal_ends(a, b)
        self.assertEqual(len(self.connect(b).list("/early/")), 999)

    def test_agent_before_dom0(self):
        """The agent waits for a server that comes later, and its clients wait with it."""
        b = self.vm(ready=False)
        early = b.connect_when_there()
        self.addCleanup(early.close)
        early.send(READ, "/a")
        self.assertFalse(early.readable(0.1))
        self.assertFalse(b.is_ready())
        a = self.dom0()
        self.connect(a).write("/b", "2")
        b.wait_ready()
        self.assertEqual(early.answer_to(READ, "/a").type, NOENT)
        self.assert_equal_ends(a, b)

    def test_many_agents_that_only_connect(self):
        a = self.dom0()
        check = self.honest(a)
        for _ in range(10):
            self.fake_vm().close()
            check()
        b = self.vm()
        check()
        self.assert_equal_ends(a, b)


class Dom0Itself(Case):
    """`0 dom0`: two sets of names for one daemon."""

    def test_links(self):
        os.mkdir(self.home / "dom0")
        for stale in "qubesdb.sock", "qubesdb.ro.sock":
            os.symlink("/nowhere", self.home / f"dom0/{stale}")
        daemon = self.dom0(domid=0, name="dom0")
        for name in "sock", "ro.sock":
            link = os.path.join(daemon.run, f"qubesdb.{name}")
            self.assertEqual(os.readlink(link), os.path.join(daemon.run, f"qubesdb.dom0.{name}"))
        self.connect(daemon).write("/a", "1")
        daemon.name = None
        self.assertEqual(self.connect(daemon).read("/a"), b"1")
        self.assertEqual(self.connect(daemon, ro=True).read("/a"), b"1")
        with self.assertRaises(Broken):
            self.connect(daemon, ro=True).write("/a", "2")
        daemon.check_quiet()
        daemon.stop()
        self.assertEqual([n for n in os.listdir(daemon.run) if n.endswith((".sock", ".pid"))], [])

    def test_links_replace_sockets(self):
        """What an earlier daemon left, of whatever kind, is replaced."""
        os.mkdir(self.home / "dom0")
        for stale in "qubesdb.sock", "qubesdb.dom0.sock", "qubesdb.dom0.ro.sock":
            with open(self.home / f"dom0/{stale}", "w", encoding="ascii"):
                pass
        daemon = self.dom0(domid=0, name="dom0")
        daemon.name = None
        self.assertIsNone(self.connect(daemon).read("/a"))


if __name__ == "__main__":
    run()
