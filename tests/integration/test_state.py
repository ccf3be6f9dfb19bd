#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What dom0's daemon has acknowledged is there in the next one: after a crash, an ordinary end, and
when the next one takes over. Nothing of it is there for anybody else.
"""
import os
import random
import select
import signal
import stat
import subprocess
import threading

from harness import CLIENT, Daemon, run, when
from qdb import ERROR, NOENT, RM, TIMEOUT, WRITE, Closed
from states import StateCase

HAND_OVERS = 100


class Restart(StateCase):
    def test_after_a_crash(self):
        entries = self.make()
        self.assert_same(self.entries(self.dom0()), entries)

    def test_after_the_end(self):
        """The file alone has it all then."""
        daemon = self.dom0()
        entries = self.fill(daemon)
        daemon.stop()
        self.assertEqual(list(self.files()), ["qubesdb.work.state"])
        daemon = self.dom0()
        self.assert_same(self.entries(daemon), entries)
        self.assertIn(f"continuing with {len(entries)} entries", daemon.output())

    def test_before_readiness(self):
        """Who connects as soon as there is a socket waits, and is never told NOENT."""
        entries = self.make()
        for _ in range(10):
            daemon = self.dom0(ready=False)
            with daemon.connect_when_there() as c:
                self.assert_same(c.snapshot(), entries)
            daemon.wait_ready().kill()

    def test_every_kind_of_value(self):
        entries = {"/empty": b"", "/long": b"\xff" * 3071, "/" + "p" * 62: bytes(range(1, 256)),
                   "//x": b"1", "/a": b"a", "/a/b": b"b"}
        daemon = self.dom0()
        with daemon.connect() as c:
            c.write_all(entries.items())
        daemon.kill()
        self.assert_same(self.entries(self.dom0()), entries)

    def test_many_crashes(self):
        """Of daemons that have just begun, with whatever the log holds from the last ones."""
        chance, entries = random.Random(1), {}
        for i in range(40):
            daemon = self.dom0()
            with daemon.connect() as c:
                self.assert_same(c.snapshot(), entries)
                for _ in range(chance.randrange(60)):
                    path = f"/{chance.randrange(30)}"
                    if chance.randrange(3):
                        entries[path] = b"%d" % i * chance.randrange(1000)
                        c.write(path, entries[path])
                    else:
                        self.assertEqual(c.ask(RM, path).type == NOENT, path not in entries)
                        entries.pop(path, None)
            daemon.kill()

    def test_smaller_quotas(self):
        """What was taken under others is kept, and counts."""
        entries = self.make()
        daemon = self.dom0(options=["--quota=entries=3"])
        self.assert_same(self.entries(daemon), entries)
        with daemon.connect() as c:
            self.assertEqual(c.ask(WRITE, "/more", "1").type, ERROR)
            c.rm("/e/")
            c.write("/more", "1")

    def test_many_entries(self):
        entries = {f"/many/{i}": b"v%d" % i for i in range(20000)}
        daemon = self.dom0()
        with daemon.connect() as c:
            c.write_all(entries.items())
        daemon.kill()
        daemon = self.dom0()
        self.assert_same(self.entries(daemon), entries)
        with daemon.connect() as c:
            c.rm("/many/")
        daemon.kill()
        self.assertEqual(self.entries(self.dom0()), {})

    def test_much_in_one_request(self):
        """Megabytes of changes in a single commit, while a snapshot is under way."""
        kept = {f"/kept/{n:05}": b"k" * 300 for n in range(20_000)}
        daemon = self.dom0()
        with daemon.connect() as c:
            for start in range(0, 40_000, 1000):
                c.write_all([(f"/{'d' * 40}/{n:05}", "") for n in range(start, start + 1000)])
            c.write_all(kept.items())
            c.rm(f"/{'d' * 40}/")
        daemon.kill()
        self.assert_same(self.entries(self.dom0()), kept)

    def test_what_the_vm_wrote(self):
        dom0, vm = self.pair()
        with dom0.connect() as a, vm.connect() as b:
            b.write("/from-vm", "1")
            self.sync(b, a)
        vm.stop()
        dom0.kill()
        self.assertEqual(self.entries(self.dom0()), {"/from-vm": b"1"})

    def test_a_vm_that_comes_back(self):
        """It finds the generation it knows, and only differences are told to its watchers."""
        dom0, vm = self.pair()
        with dom0.connect() as c:
            c.write_all([("/same", "1"), ("/changes", "1"), ("/goes", "1")])
        watcher = self.connect(vm)
        with dom0.connect() as c:
            self.sync(c, watcher)
        watcher.watch("/")
        dom0.kill()
        dom0 = self.dom0()
        with dom0.connect() as c:
            c.write("/changes", "2")
            c.rm("/goes")
            c.watch("/again")
            with vm.connect() as d:
                d.write("/again")
            while c.event() != "/again":
                pass
            events = set(watcher.events_until_mark(via=c))
        self.assertEqual(events, {"/changes", "/goes", "/again"})
        self.assert_equal_ends(dom0, vm)

    def check_older_changes_lose(self, replace):
        dom0, vm = self.pair()
        with dom0.connect() as a, vm.connect() as b:
            a.write_all([("/a", "base"), ("/b", "base"), ("/d/x", "base")])
            self.sync(a, b)
            self.sync(b, a)
        dom0.kill()
        with vm.connect() as b:
            b.write_all([("/a", "older"), ("/b", "older"), ("/c", "vm")])
            b.rm("/d/")
        os.kill(vm.pid, signal.SIGSTOP)
        dom0 = self.dom0()
        with dom0.connect() as a:
            a.write_all([("/a", "newer"), ("/d/x", "newer")])
            a.rm("/b")
        dom0 = replace(dom0)
        os.kill(vm.pid, signal.SIGCONT)
        self.assert_equal_ends(dom0, vm)
        self.assertEqual(self.entries(dom0), {"/a": b"newer", "/c": b"vm", "/d/x": b"newer"})

    def test_older_changes_of_the_vm(self):
        self.check_older_changes_lose(lambda dom0: dom0)

    def test_older_changes_of_the_vm_after_a_crash(self):
        def replace(dom0):
            dom0.kill()
            return self.dom0()
        self.check_older_changes_lose(replace)

    def test_older_changes_of_the_vm_after_a_hand_over(self):
        def replace(dom0):
            successor = self.dom0()
            dom0.wait()
            return successor
        self.check_older_changes_lose(replace)


class Removed(StateCase):
    """Somebody removes the file, or what is beside it, under the daemon."""

    def check_written_anew(self, *suffixes):
        daemon = self.dom0()
        entries = self.fill(daemon)
        for suffix in suffixes:
            os.unlink(self.state + suffix)
        with daemon.connect() as c:
            c.write("/then", "1")
        self.assertIn("has been removed", daemon.output())
        daemon.kill()
        self.assert_same(self.entries(self.dom0()), {**entries, "/then": b"1"})
        self.assertEqual(self.aside(), [])

    def test_file(self):
        self.check_written_anew("")

    def test_tail(self):
        self.check_written_anew("-tail")

    def test_all(self):
        self.check_written_anew("", "-wal", "-tail")

    def test_write_ahead_log(self):
        """Nothing is in it that is needed."""
        daemon = self.dom0()
        entries = self.fill(daemon)
        os.unlink(self.state + "-wal")
        with daemon.connect() as c:
            c.write("/then", "1")
        daemon.kill()
        daemon = self.dom0()
        self.assert_same(self.entries(daemon), {**entries, "/then": b"1"})
        self.assertEqual(self.aside(), [])

    def test_at_the_end(self):
        daemon = self.dom0()
        entries = self.fill(daemon)
        os.unlink(self.state)
        os.unlink(self.state + "-tail")
        daemon.stop()
        self.assert_same(self.entries(self.dom0()), entries)


class Options(StateCase):
    def check_kept_at(self, path, options, **more):
        daemon = self.dom0(options=options, **more)
        entries = self.fill(daemon)
        self.assertTrue(os.path.isfile(path))
        daemon.kill()
        daemon = self.dom0(options=options, **more)
        self.assert_same(self.entries(daemon), entries)
        daemon.stop()

    def test_default(self):
        self.check_kept_at(self.state, [])

    def test_path(self):
        path = self.home / "there"
        self.check_kept_at(path, [f"--state={path}"])
        self.assertFalse(os.path.exists(self.state))

    def test_relative_path(self):
        """From where the daemon was started, although it leaves that directory."""
        self.check_kept_at(self.home / "log/here", ["--state=log/here"],
                           prepare=lambda: os.chdir(self.home.path))

    def test_relative_path_of_a_daemon_that_forks(self):
        for i in range(2):
            daemon = Daemon(self.home, "dom0", 5, "work", options=["--state=log/here"],
                            notify=False, foreground=False,
                            prepare=lambda: os.chdir(self.home.path))
            self.assertEqual(daemon.wait(), 0, daemon.output())
            with open(os.path.join(self.run_dir, "qubesdb.work.pid"), encoding="ascii") as f:
                pid = int(f.read())
            with daemon.connect() as c, open(os.pidfd_open(pid), "rb", buffering=0) as ended:
                if i:
                    self.assertEqual(c.snapshot(), {"/a": b"1"})
                c.write("/a", "1")
                os.kill(pid, signal.SIGKILL)
                self.assertTrue(select.select([ended], [], [], TIMEOUT)[0])
        self.assertTrue(os.path.isfile(self.home / "log/here"))

    def test_none(self):
        options = ["--state=none"]
        daemon = self.dom0(options=options)
        self.fill(daemon)
        self.assertEqual(self.files(), {})
        daemon.kill()
        self.assertEqual(self.entries(self.dom0(options=options)), {})

    def test_sync(self):
        for sync in "process", "disk":
            with self.subTest(sync):
                self.clear()
                self.check_kept_at(self.state, [f"--state-sync={sync}"])

    def test_sync_may_change(self):
        entries = self.make(options=["--state-sync=disk"])
        daemon = self.dom0(options=["--state-sync=process"])
        self.assert_same(self.entries(daemon), entries)

    def test_mode(self):
        """Whatever the umask."""
        for umask in 0o000, 0o277, 0o777:
            with self.subTest(oct(umask)):
                self.clear()
                daemon = self.dom0(umask=umask)
                self.fill(daemon)
                for name in self.files():
                    mode = os.stat(os.path.join(self.run_dir, name)).st_mode
                    self.assertEqual(stat.S_IMODE(mode), 0o600, name)
                daemon.stop()

    def test_vm_side_has_none(self):
        vm = self.pair()[1]
        self.assertFalse([n for n in os.listdir(vm.run) if "state" in n])


class HandOver(StateCase):
    def take_over(self, old, expected=0, **options):
        new = self.dom0(**options)
        self.assertEqual(old.wait(), expected)
        return new

    def test_same_domain(self):
        old = self.dom0()
        entries = self.fill(old)
        new = self.take_over(old)
        self.assertIn("taking over from the daemon", new.output())
        self.assert_same(self.entries(new), entries)
        self.assertEqual(self.aside(), [])

    def test_stopped(self):
        """A daemon that does not end is killed; it has acknowledged nothing that is not there."""
        old = self.dom0()
        entries = self.fill(old)
        os.kill(old.pid, signal.SIGSTOP)
        new = self.take_over(old, -signal.SIGKILL)
        old.release()
        self.assertIn("does not end, so it is killed", new.output())
        self.assert_same(self.entries(new), entries)
        self.check_works(new)

    def begin_take_over(self, old):
        """A daemon that waits for one which cannot end yet."""
        os.kill(old.pid, signal.SIGSTOP)
        new = self.dom0(ready=False)
        when(lambda: self.assertIn("taking over from the daemon", new.output()), AssertionError)
        return new

    def test_told_to_end_meanwhile(self):
        """The new one ends at once, and the other by itself, with all that it has."""
        for sig in signal.SIGTERM, signal.SIGINT:
            old = self.dom0()
            entries = self.fill(old)
            new = self.begin_take_over(old)
            new.stop(sig)
            self.assertNotIn("killed", new.output())
            self.assertNotIn("cannot", new.output())
            self.assertTrue(old.is_running())
            os.kill(old.pid, signal.SIGCONT)
            self.assertEqual(old.wait(), 0)
            self.assertEqual(os.listdir(self.run_dir), ["qubesdb.work.state"])
            third = self.dom0()
            self.assert_same(self.entries(third), entries)
            third.stop()

    def test_who_had_connected(self):
        """Is answered, although the daemon has not heard of it when it is told to end."""
        old = self.dom0()
        entries = self.fill(old)
        os.kill(old.pid, signal.SIGSTOP)
        with old.connect() as c:
            new = self.dom0(ready=False)
            when(lambda: self.assertIn("taking over", new.output()), AssertionError)
            os.kill(old.pid, signal.SIGCONT)
            self.assert_same(c.snapshot(), entries)
        new.wait_ready()
        self.assertEqual(old.wait(), 0)

    def check_replaced(self, options, before=lambda: None):
        old = self.dom0(options=options)
        before()
        new = self.take_over(old, options=options)
        self.assertIn("taking over from the daemon", new.output())
        with new.connect() as c:
            c.write("/new", "1")
        new.stop()
        self.assertFalse([n for n in os.listdir(self.run_dir) if ".state" not in n])

    def test_without_a_state(self):
        self.check_replaced(["--state=none"])

    def test_state_that_cannot_be_made(self):
        os.mkdir(self.home / "states")
        self.check_replaced(["--state=" + self.home / "states/none/state"])

    def test_state_that_is_gone(self):
        self.check_replaced([], lambda: os.unlink(self.state))

    def test_what_is_not_the_lock(self):
        """It goes, whoever has put it there."""
        lock = os.path.join(self.run_dir, "qubesdb.work.5.lock")
        for make in (os.mkfifo, lambda path: os.symlink("/dev/null", path),
                     lambda path: os.link(os.path.join(self.home / "file"), path)):
            open(self.home / "file", "wb").close()
            make(lock)
            self.check_replaced(["--state=none"])

    def test_lock_that_cannot_be_made(self):
        os.mkdir(os.path.join(self.run_dir, "qubesdb.work.5.lock"))
        daemon = self.dom0()
        self.assertIn("cannot tell whether another daemon serves", daemon.output())
        self.fill(daemon)

    def test_two_at_once(self):
        """One of them ends the other, and is the one that is found, whoever came first."""
        for _ in range(8):
            old = self.dom0()
            two = [self.begin_take_over(old) for _ in range(2)]
            os.kill(old.pid, signal.SIGCONT)
            self.assertEqual(old.wait(), 0)
            when(lambda: two.remove(next(d for d in two if not d.is_running())), StopIteration)
            new, = two
            new.wait_ready()
            with new.connect() as c, new.connect(ro=True):
                c.write("/new", "1")
            with open(os.path.join(self.run_dir, "qubesdb.work.pid"), encoding="ascii") as f:
                self.assertEqual(int(f.read()), new.pid)
            new.stop()
            self.assertEqual(os.listdir(self.run_dir), ["qubesdb.work.state"])

    def test_another_domid(self):
        """A VM that was started again, while the daemon of the one before has not ended."""
        old = self.dom0()
        entries = self.fill(old)
        known = self.connect(old)
        new = self.dom0(domid=6)
        self.assertEqual(self.entries(new), {})
        self.assertIn("is in use for another domain: it is moved to", new.output())
        known.write("/old", "1")
        self.assert_same(known.snapshot(), {**entries, "/old": b"1"})
        with new.connect() as c:
            c.write("/new", "1")
        old.stop()
        new.kill()
        new = self.dom0(domid=6)
        self.assertEqual(self.entries(new), {"/new": b"1"})

    def check_left_alone(self, **options):
        old = self.dom0(options=[f"--state={self.state}"])
        entries = self.fill(old)
        new = self.dom0(options=[f"--state={self.state}"], **options)
        self.assertIn("is left to the daemon of another name", new.output())
        self.assertIn("changes are not kept", new.output())
        self.assertEqual(self.entries(new), {})
        with new.connect() as c:
            c.write("/new", "1")
        self.assertTrue(old.is_running())
        old.kill()
        new.stop()
        self.assertEqual(self.aside(), [])
        self.assert_same(self.entries(self.dom0(options=[f"--state={self.state}"])), entries)

    def test_file_of_another_name(self):
        """It was told to keep its state where a daemon of another VM does."""
        self.check_left_alone(name="other", domid=6)

    def test_file_of_another_name_of_the_domain(self):
        self.check_left_alone(name="other", env={"VCHAN_SOCKET_DIR": self.run_dir})

    def test_another_name(self):
        """A new VM with a domid that was another's sees nothing of it."""
        self.make()
        daemon = self.dom0(name="other")
        self.assertEqual(self.entries(daemon), {})
        self.assertEqual(self.aside(), [])


class Writer:
    """
    A program that writes numbers, each once, to a few entries; when its daemon goes it connects
    to the next one. What was acknowledged is what the entry has, or what was sent last.
    """

    def __init__(self, daemon, directory):
        self.path, self.directory = daemon.socket(), directory
        self.daemon = daemon
        self.connection = daemon.connect()
        self.number = self.lost = 0
        self.acknowledged = {}

    def write(self):
        self.number += 1
        path, value = f"{self.directory}{self.number % 7}", b"%d" % self.number
        for _ in range(3):
            try:
                self.connection.write(path, value)
                self.acknowledged[path] = value
                return
            except (Closed, OSError):
                self.lost += 1
                self.connection.close()
                self.connection = self.daemon.connect()
        raise AssertionError("three connections lost for one write")


class ManyHandOvers(StateCase):
    def command(self, name, *arguments):
        return subprocess.Popen(
            [os.path.join(CLIENT, "qubesdb-cmd"), "-c", name, "-d", "work", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "QUBESDB_RUNTIME_DIR": self.run_dir})

    def read_all_the_time(self, failures, until):
        while not until.is_set():
            command = self.command("read", "/static/0")
            output = command.communicate(timeout=TIMEOUT)[0]
            if (command.returncode, output) != (0, "0\n"):
                failures.append((command.returncode, output))

    def test_nothing_is_lost(self):
        """And nobody hears of what did not change, nor loses a connection inside the VM."""
        static = {f"/static/{i}": b"%d" % i for i in range(50)}
        dom0, vm = self.pair()
        with dom0.connect() as c:
            c.write_all(static.items())
        writers = [Writer(dom0, "/dom0/"), Writer(vm, "/vm/")]
        for w in writers:
            self.addCleanup(lambda w=w: w.connection.close())
        self.sync(writers[0].connection, writers[1].connection)
        in_vm = self.connect(vm)
        in_vm.watch("/static/")
        failures, over = [], threading.Event()
        reader = threading.Thread(target=self.read_all_the_time, args=(failures, over))
        reader.start()
        try:
            for i in range(HAND_OVERS):
                watcher = self.connect(dom0)
                watcher.watch("/static/")
                if i % 5 == 0:
                    self.assertEqual(self.sync(writers[1].connection, watcher), [])
                dom0 = self.hand_over(dom0, writers)
                self.assertEqual(self.last_events(watcher), [])
        finally:
            over.set()
            reader.join()
        self.assertEqual(failures, [])
        self.assertEqual(writers[1].lost, 0)
        self.assertLessEqual(writers[0].lost, HAND_OVERS)
        self.assertEqual(in_vm.events_until_mark(via=writers[0].connection), [])
        self.assert_equal_ends(dom0, vm)
        self.assert_same(self.entries(dom0),
                         {**static, **writers[0].acknowledged, **writers[1].acknowledged})
        self.assertEqual(self.aside(), [])

    @staticmethod
    def last_events(connection):
        """What it was told before its daemon went."""
        events = []
        try:
            while True:
                events.append(connection.event())
        except Closed:
            return events

    def hand_over(self, old, writers):
        new = self.dom0(ready=False)
        while not new.is_ready() and new.is_running():
            for w in writers:
                w.write()
        new.wait_ready()
        self.assertEqual(old.wait(), 0, old.output())
        old.release()
        for w in writers:
            w.write()
        return new


if __name__ == "__main__":
    run()
