#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The daemon as a program: its options, files, modes, readiness, and how it ends.
"""
import contextlib
import fcntl
import os
import signal
import socket
import stat
import struct
import subprocess
import threading

from harness import DAEMON, Case, run, unsanitized, when
from qdb import NOENT, READ, Closed, Connection


FAULTS = os.environ.get("QUBESDB_FAULTS", "tests/faults/.libs/faults.so")


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


class Usage(Case):
    def call(self, *arguments):
        env = {k: v for k, v in os.environ.items() if k != "NOTIFY_SOCKET"}
        done = subprocess.run([DAEMON, *arguments], env=dict(env, VCHAN_SOCKET_DIR=self.home.vchan),
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def test_bad_usage(self):
        where = [f"--runtime-dir={self.home / 'run'}", f"--log-dir={self.home.log}"]
        for arguments in ([], [""], ["work"], ["5x", "work"], ["-1", "work"], ["0x5", "work"],
                          ["5", "work", "more"], ["99999999999999999999", "work"], ["--nonsense", "5"],
                          ["--rw-socket-perms=", "5", "work"],
                          ["--rw-socket-perms=999", "5", "work"], ["--rw-socket-perms=rw", "5", "w"],
                          ["--rw-socket-perms=77777", "5", "work"], ["--vchan=smoke", "5", "work"],
                          ["5", "../escape"], ["5", "a/b"]):
            with self.subTest(arguments=arguments):
                code, _, errors = self.call(*where, *arguments)
                self.assertEqual(code, 1)
                self.assertNotEqual(errors, "")
                self.assertFalse(os.path.exists(self.home / "run"), "it began to work")
        self.assertIn("sage", self.call(*where)[2])
        self.assertIn("sage", self.call(*where, "--nonsense", "5")[2])

    def test_what_is_wrong(self):
        name = ("not a VM's name, which has 1 to 63 characters, none of them a blank or '/', and no "
                "'.' in front")
        for arguments, reason in ((["5", "a/b"], f"{name}: a/b"), (["5", ".a"], f"{name}: .a"),
                                  (["--vchan=smoke", "5"], "not auto, xen or socket: smoke"),
                                  (["5x", "work"], "not a domain id: 5x")):
            self.assertEqual(self.call(*arguments)[2].splitlines()[0], f"qubesdb-daemon: {reason}")
        if not os.path.exists("/dev/xen/evtchn"):
            self.assertRegex(self.call("--vchan=xen", "5")[2], r"\Aqubesdb-daemon: (there is no "
                             r"/dev/xen/evtchn, so no Xen|this program was built without Xen): xen\n")

    def test_help_and_version(self):
        code, text, _ = self.call("--help")
        self.assertEqual(code, 0)
        for option in "rw-socket-perms", "runtime-dir", "log-dir", "foreground", "vchan", "version":
            self.assertIn(f"--{option}", text)
        code, text, _ = self.call("--version")
        self.assertEqual(code, 0)
        self.assertRegex(text, r"\d+\.\d+")


class Files(Case):
    def test_socket_modes(self):
        for umask in 0, 0o022, 0o077, 0o177:
            for option, expected in (None, 0o666), ("660", 0o660), ("0600", 0o600), ("0666", 0o666):
                with self.subTest(umask=oct(umask), option=option):
                    options = [f"--rw-socket-perms={option}"] if option else []
                    daemon = self.dom0(umask=umask, options=options)
                    self.assertEqual(mode(daemon.socket()), expected)
                    self.assertEqual(mode(daemon.socket(ro=True)), 0o666)
                    daemon.stop()

    def test_socket_modes_in_the_vm(self):
        self.dom0()
        daemon = self.vm(umask=0o077, options=["--rw-socket-perms=640"])
        self.assertEqual(mode(daemon.socket()), 0o640)
        self.assertEqual(mode(daemon.socket(ro=True)), 0o666)

    def test_socket_modes_below_an_access_list(self):
        """By default, what is made in this directory is for its owner and group only."""
        entry, nobody = struct.Struct("=HHI"), 0xffffffff
        acl = struct.pack("=I", 2) + b"".join(
            entry.pack(tag, bits, nobody) for tag, bits in [(0x01, 7), (0x04, 5), (0x20, 0)])
        os.mkdir(self.home / "dom0")
        try:
            os.setxattr(self.home / "dom0", "system.posix_acl_default", acl)
        except OSError as error:
            self.skipTest(f"no access lists here: {error}")
        daemon = self.dom0(options=["--rw-socket-perms=664"])
        self.assertEqual(mode(daemon.socket()), 0o664)
        self.assertEqual(mode(daemon.socket(ro=True)), 0o666)

    def test_empty_name_is_the_vm_side(self):
        self.dom0()
        daemon = self.daemon("vm", 0, "", own=5)
        daemon.name = None
        self.assertIsNone(self.connect(daemon).read("/a"))

    def test_runtime_directory_from_the_environment(self):
        """It is taken when no option names one."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.settimeout(30)
            notify.bind(self.home / "notify")
            env = dict(os.environ, QUBESDB_RUNTIME_DIR=self.home / "env",
                       VCHAN_SOCKET_DIR=self.home.vchan, NOTIFY_SOCKET=self.home / "notify")
            with subprocess.Popen([DAEMON, "--vchan=socket", "5", "work"], env=env,
                                  stderr=subprocess.DEVNULL) as daemon:
                try:
                    self.assertIn(b"READY=1", notify.recv(100))
                    with Connection(self.home / "env/qubesdb.work.sock") as connection:
                        self.assertIsNone(connection.read("/a"))
                finally:
                    daemon.terminate()
            self.assertEqual(daemon.returncode, 0)
        self.dom0(env={"QUBESDB_RUNTIME_DIR": self.home / "other"})
        self.assertFalse(os.path.exists(self.home / "other"))

    def test_runtime_directory_is_created(self):
        for umask, expected in (0, 0o775), (0o022, 0o755), (0o002, 0o775), (0o077, 0o700):
            daemon = self.dom0(run=f"run{umask}", umask=umask)
            self.assertEqual(mode(daemon.run), expected)
            daemon.stop()
            self.assertTrue(os.path.isdir(daemon.run))

    def test_pidfile(self):
        """Complete when it is ready, a new file, never the one that was there."""
        os.mkdir(self.home / "dom0")
        pidfile, outside = self.home / "dom0/qubesdb.work.pid", self.home / "outside"
        for path in pidfile, outside:
            with open(path, "w", encoding="ascii") as f:
                f.write("old\n")
        with open(pidfile, encoding="ascii") as old:
            daemon = self.dom0()
            with open(pidfile, encoding="ascii") as new:
                self.assertEqual(new.read(), f"{daemon.pid}\n")
            self.assertEqual(old.read(), "old\n")
        self.assertEqual(mode(pidfile), 0o664)
        daemon.stop()
        self.assertFalse(os.path.exists(pidfile))
        os.symlink(outside, pidfile)
        self.dom0()
        with open(outside, encoding="ascii") as f:
            self.assertEqual(f.read(), "old\n")
        self.assertFalse(os.path.islink(pidfile))

    def test_only_its_own_files_go(self):
        daemon = self.dom0()
        names = {"qubesdb.work.sock", "qubesdb.work.ro.sock", "qubesdb.work.pid"}
        self.assertLessEqual(names, set(os.listdir(daemon.run)))
        for path in daemon.socket(), os.path.join(daemon.run, "qubesdb.work.pid"):
            os.unlink(path)
            with open(path, "w", encoding="ascii") as f:
                f.write("of somebody else")
        daemon.stop()
        self.assertEqual(names & set(os.listdir(daemon.run)), names - {"qubesdb.work.ro.sock"})

    def test_notified_daemon_has_no_log_file(self):
        dom0 = self.dom0(foreground=False)
        vm = self.vm(foreground=False)
        self.assertEqual(os.listdir(self.home.log), [])
        self.assertTrue(dom0.is_running() and vm.is_running(), "forked")

    def test_abstract_notify_socket(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.settimeout(30)
            name = f"qdb-test-{os.getpid()}"
            notify.bind("\0" + name)
            daemon = self.daemon("dom0", 5, "work", notify=False, env={"NOTIFY_SOCKET": "@" + name},
                                 ready=False, foreground=False)
            self.assertIn(b"READY=1", notify.recv(100))
            self.assertIsNone(self.connect(daemon).read("/a"))

    @unsanitized  # their memory is not the daemon's
    def test_private_memory(self):
        dom0, vm = self.pair(options=["--state=none"])
        kept = self.dom0("kept", 6, "kept")
        for daemon, most in (dom0, 400), (vm, 400), (kept, 400 + 300):
            self.assertLessEqual(daemon.private_dirty_kib(), most)

    def test_idle_does_not_wake_up(self):
        alone = self.dom0("alone", 6, "alone")
        for daemon in (alone, *self.pair()):
            self.connect(daemon).watch("/a")
            when(lambda d=daemon: self.assertEqual(d.stat()[0], "S"), AssertionError)
            before = daemon.wakeups()
            self.assertTrue(daemon.is_quiet(1.0))
            self.assertEqual(daemon.wakeups(), before)


class Ending(Case):
    def test_what_is_ignored(self):
        """Popen starts it with all signals at their default."""
        daemon = self.dom0()
        for sig in signal.SIGPIPE, signal.SIGHUP:
            os.kill(daemon.pid, sig)
            self.assertIsNone(self.connect(daemon).read("/a"))

    def test_both_signals(self):
        for sig in signal.SIGTERM, signal.SIGINT:
            a, b = self.pair()
            for daemon in b, a:
                self.connect(daemon).watch("/a")
                daemon.stop(sig)
                self.assertFalse([n for n in os.listdir(daemon.run) if n.endswith((".sock", ".pid"))])

    def test_from_the_first_moment(self):
        """It is held up in its first system calls, for somebody else does not read a log."""
        log = self.home / "calls"
        os.mkfifo(log)
        pipe = os.open(log, os.O_RDWR | os.O_NONBLOCK)
        self.addCleanup(os.close, pipe)
        size = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
        os.write(pipe, b"x" * size)
        daemon = self.dom0(ready=False, env={
            "LD_PRELOAD": FAULTS, "QDB_FAULTS_LOG": log,
            "ASAN_OPTIONS": "quarantine_size_mb=1:detect_leaks=1:verify_asan_link_order=0"})
        when(lambda: self.assertEqual(daemon.stat()[0], "S"), AssertionError)
        daemon.popen.terminate()

        def go_on():
            with contextlib.suppress(BlockingIOError):
                os.read(pipe, size)
            self.assertFalse(daemon.is_running())
        when(go_on, AssertionError)
        self.assertEqual(daemon.wait(), 0)

    def test_clients_see_the_end(self):
        daemon = self.dom0()
        client = self.connect(daemon)
        client.write("/a", "1")
        daemon.stop()
        with self.assertRaises(Closed):
            client.recv()


class ComingBack(Case):
    """
    Who connects again when its connection ends finds nobody, rather than a daemon that takes its
    request and is gone. Somebody locks the directory, which makes the removal of a name take long.
    """

    def lock(self, directory):
        fd = os.open(directory, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        fcntl.flock(fd, fcntl.LOCK_EX)

    def left(self, daemon, connection, directory):
        """What is still there when this connection ends, of a daemon that is told to end."""
        daemon.popen.terminate()
        connection.wait_closed()
        left = [n for n in os.listdir(directory) if n.endswith(".sock")]
        self.assertEqual(daemon.wait(), 0)
        return left

    def test_client(self):
        """Of a VM, and of dom0 itself, where there are links as well."""
        for name, domid in ("work", 5), ("dom0", 0):
            with self.subTest(name=name):
                daemon = self.dom0(f"of.{name}", name=name, domid=domid)
                client = self.connect(daemon)
                client.read("/a")
                self.lock(daemon.run)
                self.assertEqual(self.left(daemon, client, daemon.run), [])

    def test_client_in_the_vm(self):
        daemon = self.pair()[1]
        client = self.connect(daemon)
        client.read("/a")
        self.lock(daemon.run)
        self.assertEqual(self.left(daemon, client, daemon.run), [])

    def test_never_only_the_read_only_one(self):
        daemon = self.dom0()
        self.lock(daemon.run)
        daemon.popen.terminate()
        while os.path.exists(daemon.socket()):
            pass
        self.assertFalse(os.path.exists(daemon.socket(ro=True)))
        self.assertEqual(daemon.wait(), 0)

    def test_vm(self):
        """A deployed one hangs if it can ask for its dump again and does not get it."""
        daemon = self.dom0()
        fake = self.fake_vm().hello()
        fake.dump()
        self.lock(self.home.vchan)
        self.assertEqual(self.left(daemon, fake, self.home.vchan), [])


class Loop(threading.Thread):
    """A program that connects and reads, again and again, and must never fail."""

    def __init__(self, path):
        super().__init__()
        self.path, self.failures, self.rounds, self.goes_on = path, [], 0, True

    def run(self):
        while self.goes_on:
            try:
                with Connection(self.path) as connection:
                    connection.read("/a")
            except Exception as error:  # pylint: disable=broad-except
                self.failures.append(repr(error))
            self.rounds += 1

    def wait_rounds(self, count):
        goal = self.rounds + count
        when(lambda: self.check(goal), LookupError)

    def check(self, goal):
        if self.rounds < goal:
            raise LookupError


class TakeOver(Case):
    """A VM restarts: for a while there are two daemons of one name."""

    def take_over(self, domid, ro):
        first = self.dom0()
        loop = Loop(first.socket(ro))
        loop.start()
        try:
            loop.wait_rounds(20)
            old = self.connect(first)
            old.write("/of", "first")
            second = self.dom0(domid=domid)
            loop.wait_rounds(20)
            self.assertEqual(old.read("/of"), b"first")
            with second.connect() as new:
                self.assertIsNone(new.read("/of"), "the old one still answers")
            first.stop()
            loop.wait_rounds(20)
            third = self.dom0(domid=7)
            loop.wait_rounds(20)
            second.stop()
            loop.wait_rounds(20)
        finally:
            loop.goes_on = False
            loop.join()
        self.assertEqual(loop.failures, [])
        self.assertEqual(set(os.listdir(third.run)) & {"qubesdb.work.sock", "qubesdb.work.ro.sock"},
                         {"qubesdb.work.sock", "qubesdb.work.ro.sock"})
        with open(os.path.join(third.run, "qubesdb.work.pid"), encoding="ascii") as f:
            self.assertEqual(f.read(), f"{third.pid}\n")
        third.stop()
        self.assertEqual([n for n in os.listdir(third.run) if n.endswith((".sock", ".pid"))], [])

    def test_new_domid(self):
        self.take_over(6, ro=False)

    def test_read_only_socket(self):
        self.take_over(6, ro=True)

    def test_dom0_itself(self):
        first = self.dom0(domid=0, name="dom0")
        loop = Loop(os.path.join(first.run, "qubesdb.sock"))
        loop.start()
        try:
            loop.wait_rounds(20)
            second = self.dom0(domid=0, name="dom0")
            self.assertEqual(first.wait(), 0)
            loop.wait_rounds(20)
        finally:
            loop.goes_on = False
            loop.join()
        self.assertEqual(loop.failures, [])
        self.assertEqual(self.connect(second).ask(READ, "/a").type, NOENT)

    def test_vm_follows(self):
        """The same domid: an agent that comes after the takeover finds the second daemon."""
        first = self.dom0()
        second = self.dom0()
        self.assertEqual(first.wait(), 0)
        self.connect(second).write("/of", "second")
        b = self.vm()
        self.assertEqual(self.connect(b).read("/of"), b"second")
        self.assert_equal_ends(second, b)

    def test_killed_before(self):
        """What a daemon that was killed left behind is taken over as well."""
        first = self.dom0()
        first.kill()
        second = self.dom0()
        self.assertEqual(self.connect(second).ask(READ, "/a").type, NOENT)
        self.assert_equal_ends(second, self.vm())


if __name__ == "__main__":
    run()
