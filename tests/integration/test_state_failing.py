#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A state file that cannot be written, or not be read for a moment: a full disk, a read-only
directory, each system call of a commit failing once. The daemon serves all the same. Whatever was
acknowledged is there after a crash, unless the log said before that it is not kept.
"""
import collections
import contextlib
import errno
import os
import signal
import sqlite3
import subprocess

from harness import SANITIZED, run, when
from qdb import OK, RM, STATUS
from states import StateCase

FAULTS = os.environ.get("QUBESDB_FAULTS", "tests/faults/.libs/faults.so")
ROOT = os.geteuid() == 0
NOBODY = 65534
LIBRARY, DAEMON = "libsqlite3", "qubesdb-daemon"
DAEMONS = "pwritev", "pread", "fdatasync", "ftruncate"
SHORT = 0
ERRORS = {
    "pwritev": (errno.EIO, errno.ENOSPC, errno.EINTR, SHORT),
    "pwrite": (errno.EIO, errno.ENOSPC, errno.EINTR, SHORT),
    "write": (errno.EIO, errno.ENOSPC, errno.EINTR, SHORT),
    "pread": (errno.EIO, errno.EINTR, SHORT),
    "read": (errno.EIO, errno.EINTR, SHORT),
    "fdatasync": (errno.EIO,),
    "fsync": (errno.EIO,),
    "ftruncate": (errno.EIO, errno.EINTR),
    "fstat": (errno.EIO,),
    "open": (errno.EMFILE, errno.EIO),
    "lstat": (errno.EIO,),
}
NOT_KEPT, KEPT_AGAIN = "changes are not kept from now on", "changes are kept again"


class Failing(StateCase):
    def setUp(self):
        super().setUp()
        # Where the sandbox lets the daemon write.
        self.calls_path, self.done = self.home / "vchan/calls", self.home / "vchan/done"
        self.broken = self.home / "vchan/broken"

    def environment(self, **more):
        env = {"LD_PRELOAD": FAULTS, **more}
        if SANITIZED:
            env["ASAN_OPTIONS"] = "quarantine_size_mb=1:detect_leaks=1:verify_asan_link_order=0"
        return env

    def calls(self):
        with open(self.calls_path, encoding="ascii") as f:
            return collections.Counter(tuple(line.split()) for line in f)

    def failing(self, function, number, **options):
        """A daemon for which calls that begin so fail while self.break_it() says so."""
        return self.dom0(env=self.environment(QDB_FAULT=f"{function} any 0 {number}",
                                              QDB_FAULT_WHILE=self.broken), **options)

    def break_it(self, broken=True):
        if broken:
            open(self.broken, "wb").close()
        else:
            os.unlink(self.broken)

    def wait_for(self, daemon, words):
        def look():
            if words not in daemon.output():
                raise BlockingIOError(daemon.output())
        when(look, BlockingIOError)

    def check_all_there(self, entries):
        daemon = self.dom0()
        self.assert_same(self.entries(daemon), entries)
        daemon.kill()


def some(first, last):
    """Of the calls numbered so: the first and the last, and some in between."""
    return sorted({first + (last - first) * i // 4 for i in range(5)})


class OneCall(Failing):
    """Each call of sqlite or for the tail, failing in each way, one in each run."""

    def faults(self, before, after):
        for (function, site), n in sorted(after.items()):
            first = before.get((function, site), 0) + 1
            ours = site.startswith(DAEMON) and function in DAEMONS
            if not (ours or site.startswith(LIBRARY)) or n < first or function not in ERRORS:
                continue
            for nth in some(first, n):
                for number in ERRORS[function]:
                    yield f"{function} {site} {nth} {number}"

    def one(self, fault, **options):
        if os.path.exists(self.done):
            os.unlink(self.done)
        return self.dom0(env=self.environment(QDB_FAULT=fault, QDB_FAULT_DONE=self.done), **options)

    def fill(self, daemon, entries=None):
        """Until a snapshot was written, and moved into the file."""
        super().fill(daemon, entries)
        with daemon.connect() as c:
            for i in range(220):
                c.write(f"/much/{i % 20}", b"%d" % i * 700)
            return c.snapshot()

    def in_a_commit(self, **options):
        daemon = self.dom0(env=self.environment(QDB_FAULTS_LOG=self.calls_path), **options)
        before = self.calls()
        self.fill(daemon)
        after = self.calls()
        daemon.kill()
        happened = 0
        for fault in self.faults(before, after):
            with self.subTest(fault):
                self.clear()
                daemon = self.one(fault, **options)
                entries = self.fill(daemon)
                daemon.kill()
                self.assertNotIn(NOT_KEPT, daemon.output())
                self.check_all_there(entries)
                happened += os.path.exists(self.done)
        return happened

    def test_in_a_commit(self):
        self.assertGreater(self.in_a_commit(), 10)

    def test_in_a_commit_to_disk(self):
        self.assertGreater(self.in_a_commit(options=["--state-sync=disk"]), 10)

    def test_while_a_good_file_is_opened(self):
        """It is tried again, instead of being taken for useless."""
        entries = self.make()
        self.save()
        self.dom0(env=self.environment(QDB_FAULTS_LOG=self.calls_path)).kill()
        happened = 0
        for fault in self.faults({}, self.calls()):
            with self.subTest(fault):
                self.restore()
                daemon = self.one(fault)
                self.assert_same(self.entries(daemon), entries)
                self.assertEqual(self.aside(), [])
                self.assertNotIn(NOT_KEPT, daemon.output())
                daemon.kill()
                self.check_all_there(entries)
                happened += os.path.exists(self.done)
        self.assertGreater(happened, 5)

    def test_sync(self):
        """The option decides whether commits are waited for."""
        for sync, waits in ("process", False), ("disk", True):
            self.clear()
            daemon = self.dom0(options=[f"--state-sync={sync}"],
                               env=self.environment(QDB_FAULTS_LOG=self.calls_path))
            before = self.calls()
            with daemon.connect() as c:
                for i in range(5):
                    c.write("/a", b"%d" % i)
            synced = sum(n for (function, site), n in (self.calls() - before).items()
                         if function in ("fsync", "fdatasync"))
            self.assertEqual(synced >= 5, waits, sync)
            daemon.kill()


class ForAWhile(Failing):
    def check_serves(self, daemon, entries):
        with daemon.connect() as c:
            c.write("/after", "1")
            self.assertEqual(c.ask(RM, "/e/00").type, OK)
            expected = {**entries, "/after": b"1"}
            del expected["/e/00"]
            self.assert_same(c.snapshot(), expected)
            return expected

    def check_says(self, daemon, kept):
        with daemon.connect() as c:
            self.assertEqual([m.data for m in c.ask(STATUS, "@/state/kept")], [kept])

    def told(self, daemon, text):
        """Waits until the supervisor has been told this."""
        daemon.notify.settimeout(30)
        while text not in daemon.notify.recv(4096):
            pass

    def test_supervisor_is_told(self):
        daemon = self.failing("pwrite", errno.ENOSPC)
        with daemon.connect() as c:
            self.break_it()
            c.write("/a", "1")
            self.told(daemon, b"STATUS=serving; the VM is not connected; changes are not kept\n")
            self.break_it(False)
            self.told(daemon, b"STATUS=serving; the VM is not connected\n")

    def check_recovers(self, function, number, **options):
        daemon = self.failing(function, number, **options)
        entries = self.fill(daemon)
        self.assertNotIn(NOT_KEPT, daemon.output())
        self.break_it()
        self.check_says(daemon, b"yes")
        entries = self.check_serves(daemon, entries)
        self.wait_for(daemon, NOT_KEPT)
        self.check_says(daemon, b"no")
        self.break_it(False)
        self.wait_for(daemon, KEPT_AGAIN)
        self.check_says(daemon, b"yes")
        self.assert_same(self.entries(daemon), entries)
        daemon.kill()
        self.check_all_there(entries)
        self.assertEqual(self.aside(), [])

    def test_full_disk(self):
        self.check_recovers("pwrite", errno.ENOSPC)

    def test_input_output_error(self):
        self.check_recovers("pwrite", errno.EIO)

    def test_disk_that_does_not_sync(self):
        self.check_recovers("fdatasync", errno.EIO, options=["--state-sync=disk"])

    def break_with_changes(self):
        daemon = self.failing("pwrite", errno.ENOSPC)
        entries = self.check_serves(daemon, self.fill(daemon))
        with daemon.connect() as c:
            self.break_it()
            c.rm("/e/01")
            c.write("/e/02", "new")
        self.wait_for(daemon, NOT_KEPT)
        del entries["/e/01"]
        return daemon, {**entries, "/e/02": b"new"}

    def test_crash_meanwhile(self):
        """What the file has is older than what was shown: it is not believed, but kept."""
        daemon, _ = self.break_with_changes()
        daemon.kill()
        self.check_set_aside("is out of date")

    def test_crash_meanwhile_with_a_vm(self):
        """The VM has everything, and brings it back."""
        vm = self.vm(ready=False)
        daemon, entries = self.break_with_changes()
        vm.wait_ready()
        with daemon.connect() as a, vm.connect() as b:
            self.sync(a, b)
        daemon.kill()
        daemon = self.dom0()
        with vm.connect() as a, daemon.connect() as b:
            self.sync(a, b)
            self.assert_same(b.snapshot(), entries)
        self.assert_equal_ends(daemon, vm)

    def test_end_when_it_is_over(self):
        """The last attempt is at the end, whenever the next one would have been."""
        daemon, entries = self.break_with_changes()
        self.break_it(False)
        daemon.stop()
        self.check_all_there(entries)

    def test_hand_over_meanwhile(self):
        """The next daemon gets everything if only the first one can write it then."""
        daemon, entries = self.break_with_changes()
        self.break_it(False)
        after = self.dom0()
        self.assertEqual(daemon.wait(), 0)
        self.assert_same(self.entries(after), entries)

    def check_replaced(self, suffix, make):
        """Somebody else may write to the directory, and has put something in its place."""
        daemon, entries = self.break_with_changes()
        victim, log = os.path.join(self.run_dir, "victim"), self.state + suffix
        with open(victim, "wb") as f:
            f.write(b"precious")
        os.unlink(log)
        make(victim, log)
        self.wait_for(daemon, "cannot use the state")
        self.break_it(False)
        self.wait_for(daemon, KEPT_AGAIN)
        with open(victim, "rb") as f:
            self.assertEqual(f.read(), b"precious")
        daemon.kill()
        self.check_all_there(entries)

    def test_log_becomes_a_symbolic_link(self):
        self.check_replaced("-wal", os.symlink)

    def test_log_becomes_a_hard_link(self):
        self.check_replaced("-wal", os.link)

    def test_log_becomes_a_fifo(self):
        self.check_replaced("-wal", lambda victim, log: os.mkfifo(log))

    def test_tail_becomes_a_symbolic_link(self):
        self.check_replaced("-tail", os.symlink)

    def test_tail_becomes_a_hard_link(self):
        self.check_replaced("-tail", os.link)

    def test_tail_becomes_a_fifo(self):
        self.check_replaced("-tail", lambda victim, tail: os.mkfifo(tail))

    def test_full_from_the_beginning(self):
        self.break_it()
        daemon = self.failing("pwrite", errno.ENOSPC)
        self.assertIn(NOT_KEPT, daemon.output())
        entries = self.fill(daemon)
        self.break_it(False)
        self.wait_for(daemon, KEPT_AGAIN)
        daemon.kill()
        self.check_all_there(entries)
        self.assertEqual(self.aside(), [])

    def test_full_when_it_starts_again(self):
        """What is there is served, and never set aside."""
        daemon = self.dom0()
        entries = self.fill(daemon)
        daemon.stop()
        self.break_it()
        for _ in range(2):
            daemon = self.failing("pwrite", errno.ENOSPC)
            self.assert_same(self.entries(daemon), entries)
            self.assertIn(NOT_KEPT, daemon.output())
            daemon.stop()
        daemon = self.failing("pwrite", errno.ENOSPC)
        entries = self.check_serves(daemon, entries)
        self.break_it(False)
        self.wait_for(daemon, KEPT_AGAIN)
        daemon.kill()
        self.check_all_there(entries)
        self.assertEqual(self.aside(), [])

    def test_hand_over_when_full(self):
        """The first one leaves its files as they are, and the next one goes on with them."""
        daemon = self.failing("pwrite", errno.ENOSPC)
        entries = self.fill(daemon)
        self.break_it()
        for _ in range(3):
            after = self.failing("pwrite", errno.ENOSPC)
            self.assertEqual(daemon.wait(), 0)
            self.assert_same(self.entries(after), entries)
            daemon = after
        self.break_it(False)
        self.check_serves(daemon, entries)
        self.assertEqual(self.aside(), [])

    def check_read_later(self, run_dir, entries, shut, reopen, **options):
        """
        What is there is served while it cannot be written to, by each daemon that comes, and
        then written to; it is never set aside, nor left out of date.
        """
        options = {**options, "options": [f"--state={run_dir}/state"]}
        def start():
            daemon = self.dom0(ready=False, notify=False, **options)
            with daemon.connect_when_there() as c:
                return daemon, c.snapshot()
        shut()
        for _ in range(2):
            daemon, there = start()
            self.assert_same(there, entries)
            self.wait_for(daemon, NOT_KEPT)
            daemon.kill()
        daemon, _ = start()
        with daemon.connect() as c:
            c.write("/changed", "1")
            c.rm("/e/00")
            entries = c.snapshot()
        reopen()
        self.wait_for(daemon, KEPT_AGAIN)
        self.assertEqual(sorted(os.listdir(run_dir)), ["state", "state-tail", "state-wal"])
        daemon.kill()
        self.assert_same(start()[1], entries)
        self.assertFalse([n for n in os.listdir(self.run_dir) if n.startswith(".qdb")])

    def as_nobody(self, run_dir):
        if not ROOT:
            return None
        os.chmod(self.home.vchan, 0o777)
        os.chown(self.run_dir, NOBODY, NOBODY)
        os.chown(run_dir, NOBODY, NOBODY)
        return lambda: (os.setgid(NOBODY), os.setuid(NOBODY))

    def test_read_only_directory_at_restart(self):
        run_dir = self.home / "ro"
        os.mkdir(run_dir)
        become = self.as_nobody(run_dir)
        daemon = self.dom0(options=[f"--state={run_dir}/state"], ready=False, notify=False,
                           prepare=become)
        when(daemon.connect, OSError).close()
        entries = self.fill(daemon)
        daemon.stop()
        self.check_read_later(run_dir, entries, lambda: os.chmod(run_dir, 0o555),
                              lambda: os.chmod(run_dir, 0o755), prepare=become)

    def test_changed_in_a_read_only_directory(self):
        """The file is out of date then, which the next daemon must know."""
        run_dir = self.home / "ro"
        os.mkdir(run_dir)
        become = self.as_nobody(run_dir)
        for i in range(3):
            daemon = self.dom0(options=[f"--state={run_dir}/state"], ready=False, notify=False,
                               prepare=become)
            with daemon.connect_when_there() as c:
                self.assertEqual(c.snapshot(), {"/a": b"1"} if i == 1 else {})
                if i < 2:
                    c.write("/a", "1")
                    c.rm("/a") if i else None
            daemon.kill() if i else daemon.stop()
            os.chmod(run_dir, 0o555)

    def test_read_only_directory(self):
        run_dir = self.home / "ro"
        os.mkdir(run_dir, 0o555)
        become = self.as_nobody(run_dir)
        daemon = self.dom0(options=[f"--state={run_dir}/state"], ready=False, notify=False,
                           prepare=become)
        with daemon.connect_when_there() as c:
            c.write("/a", "1")
            self.wait_for(daemon, NOT_KEPT)
            os.chmod(run_dir, 0o755)
            self.wait_for(daemon, KEPT_AGAIN)
            self.assertEqual(c.snapshot(), {"/a": b"1"})
        self.assertEqual(sorted(os.listdir(run_dir)), ["state", "state-tail", "state-wal"])
        daemon.kill()
        daemon = self.dom0(options=[f"--state={run_dir}/state"], ready=False, notify=False,
                           prepare=become)
        with daemon.connect_when_there() as c:
            self.assertEqual(c.snapshot(), {"/a": b"1"})


class RealDisk(Failing):
    """A file system of some kilobytes."""

    def setUp(self):
        super().setUp()
        self.disk = self.home / "disk"
        os.mkdir(self.disk)
        mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "tmpfs", self.disk]
        if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode != 0:
            self.skipTest("cannot mount a file system")
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk], check=True)
        self.state = os.path.join(self.disk, "state")
        self.options = [f"--state={self.state}"]

    def test_full(self):
        daemon = self.dom0(options=self.options)
        entries = {}
        with daemon.connect() as c:
            for i in range(200):
                entries[f"/big/{i}"] = b"x" * 3000
                c.write(f"/big/{i}", entries[f"/big/{i}"])
            self.wait_for(daemon, NOT_KEPT)
            for i in range(10, 200):
                c.rm(f"/big/{i}")
                del entries[f"/big/{i}"]
            self.wait_for(daemon, KEPT_AGAIN)
            c.write("/then", "1")
            entries["/then"] = b"1"
        daemon.kill()
        daemon = self.dom0(options=self.options)
        self.assert_same(self.entries(daemon), entries)

    def test_full_of_other_things(self):
        daemon = self.dom0(options=self.options)
        entries = {f"/{i}": b"y" * 1000 for i in range(30)}
        with open(os.path.join(self.disk, "other"), "wb", buffering=0) as f:
            with contextlib.suppress(OSError):
                while f.write(b"z" * 4096) == 4096:
                    pass
            with daemon.connect() as c:
                c.write_all(entries.items())
            self.wait_for(daemon, NOT_KEPT)
            os.truncate(f.name, 0)
        self.wait_for(daemon, KEPT_AGAIN)
        daemon.kill()
        daemon = self.dom0(options=self.options)
        self.assert_same(self.entries(daemon), entries)

    def test_read_only(self):
        subprocess.run(["mount", "-o", "remount,ro", self.disk], check=True)
        daemon = self.dom0(options=self.options)
        entries = self.fill(daemon)
        self.assertIn(NOT_KEPT, daemon.output())
        subprocess.run(["mount", "-o", "remount,rw", self.disk], check=True)
        self.wait_for(daemon, KEPT_AGAIN)
        daemon.kill()
        daemon = self.dom0(options=self.options)
        self.assert_same(self.entries(daemon), entries)


    def check_restart(self, shut, reopen, kill):
        daemon = self.dom0(options=self.options)
        entries = self.fill(daemon)
        daemon.kill() if kill else daemon.stop()
        ForAWhile.check_read_later(self, self.disk, entries, shut, reopen)

    def remount(self, how):
        subprocess.run(["mount", "-o", "remount," + how, self.disk], check=True)

    def test_read_only_at_restart(self):
        self.check_restart(lambda: self.remount("ro"), lambda: self.remount("rw"), False)

    def test_read_only_after_a_crash(self):
        self.check_restart(lambda: self.remount("ro"), lambda: self.remount("rw"), True)

    def test_no_file_can_be_made(self):
        more = [os.path.join(self.disk, f"more{i}") for i in range(10)]

        def shut():
            self.remount("nr_inodes=8")
            with contextlib.suppress(OSError):
                for path in more:
                    open(path, "wb").close()

        def reopen():
            for path in more:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        self.check_restart(shut, reopen, False)


class Busy(Failing):
    """Somebody looks at the file with another program while the daemon starts."""

    @contextlib.contextmanager
    def reader(self):
        with contextlib.closing(sqlite3.connect(self.state)) as db:
            db.execute("BEGIN")
            db.execute("SELECT count(*) FROM sqlite_master").fetchall()
            yield

    def test_shortly(self):
        entries = self.make()
        with self.reader():
            daemon = self.dom0(ready=False)
            self.wait_for(daemon, "database is locked")
        daemon.wait_ready()
        self.assert_same(self.entries(daemon), entries)
        self.assertEqual(self.aside(), [])
        daemon.kill()
        self.check_all_there(entries)

    def test_for_long(self):
        """The daemon serves what it has read, and keeps changes when it can."""
        entries = self.make()
        with self.reader():
            daemon = self.dom0()
            self.assert_same(self.entries(daemon), entries)
            self.assertIn(NOT_KEPT, daemon.output())
        self.wait_for(daemon, KEPT_AGAIN)
        self.check_works(daemon)
        self.assertEqual(self.aside(), [])

    def test_claim_is_kept(self):
        """By a daemon that has closed the file, to begin again."""
        first = self.failing("pwrite", errno.ENOSPC)
        entries = self.fill(first)
        self.break_it()
        with first.connect() as c:
            c.write("/a", "1")
        self.wait_for(first, "cannot use the state")
        other = self.dom0(name="other", domid=6, options=[f"--state={self.state}"])
        self.assertIn("is left to the daemon of another name", other.output())
        self.break_it(False)
        self.wait_for(first, KEPT_AGAIN)
        first.kill()
        other.stop()
        self.check_all_there({**entries, "/a": b"1"})

    def test_another_daemon_has_come_meanwhile(self):
        """One that could not open the file finds the next one's there, and leaves it alone."""
        self.break_it()
        first = self.failing("pwrite", errno.ENOSPC)
        with first.connect() as c:
            c.write("/old", "1")
        second = self.dom0("dom0.2", options=[f"--state={self.state}"],
                           env={"VCHAN_SOCKET_DIR": self.run_dir})
        entries = self.fill(second)
        self.break_it(False)
        self.wait_for(first, "is kept by another daemon")
        first.stop(signal.SIGTERM)
        second.kill()
        self.check_all_there(entries)
        self.assertEqual(self.aside(), [])


if __name__ == "__main__":
    run()
