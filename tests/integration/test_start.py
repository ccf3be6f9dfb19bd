#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Starting under adversity: beside a daemon that runs, beside programs that meddle with the runtime
directory, on old kernels, and with a supervisor that is slow or absent.
"""
import ctypes
import errno
import fcntl
import os
import socket
import struct
import unittest

from harness import Case, run, when
from qdb import NOENT, READ, TIMEOUT, UNWATCH, pack

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
ALLOW, FAIL = 0x7fff0000, 0x00050000
GRND_INSECURE = 4
SYSCALLS = {
    "x86_64": {"chmod": 90, "fchmodat": 268, "fchmodat2": 452, "getrandom": 318},
    "aarch64": {"fchmodat": 53, "fchmodat2": 452, "getrandom": 278},
}.get(os.uname().machine, {})


def forbid(names, error, third=None):
    """
    From now on these system calls fail with `error`; only those with this third argument if one
    is given. The filter is a program of struct sock_filter.
    """
    load, equal, give = 0x20, 0x15, 0x06
    code = b""
    for number in (SYSCALLS[name] for name in names if name in SYSCALLS):
        code += struct.pack("=HBBI", load, 0, 0, 0)
        code += struct.pack("=HBBI", equal, 0, 1 if third is None else 3, number)
        if third is not None:
            code += struct.pack("=HBBI", load, 0, 0, 32)
            code += struct.pack("=HBBI", equal, 0, 1, third)
        code += struct.pack("=HBBI", give, 0, 0, FAIL | error)
    code += struct.pack("=HBBI", give, 0, 0, ALLOW)
    buffer = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
            PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


class FailedSecond(Case):
    """A second daemon of one name that cannot start leaves the first one as it was."""

    def check_fails(self, first, run_dir=None, **options):
        second = self.dom0(run_dir or "dom0", ready=False, **options)
        self.assertEqual(second.wait(), 1)
        self.assertRegex(second.output(), r"\w+")
        self.assertTrue(first.is_running())
        with first.connect() as rw, first.connect(ro=True) as ro:
            self.assertEqual(rw.read("/a"), b"1")
            self.assertEqual(ro.read("/a"), b"1")
        with open(os.path.join(first.run, "qubesdb.work.pid"), encoding="ascii") as f:
            self.assertEqual(f.read(), f"{first.pid}\n")
        self.assertEqual([n for n in os.listdir(first.run) if n.startswith(".")], [])
        vm = self.vm()
        self.assertEqual(self.connect(vm).read("/a"), b"1")
        vm.stop()

    def setUp(self):
        super().setUp()
        self.first = self.dom0()
        self.connect(self.first).write("/a", "1")

    def test_few_descriptors(self):
        for descriptors in 5, 10, 15, 22:
            self.check_fails(self.first, descriptors=descriptors)

    def test_runtime_directory(self):
        for run_dir in "none/below", "r" * 90:
            self.check_fails(self.first, run_dir)

    def test_state_file(self):
        """One that cannot even be named; it is opened later, and that cannot fail."""
        self.check_fails(self.first, options=["--state=" + "/x" * 2100])
        self.check_fails(self.first, options=["--state=" + "/x" * 2040])

        def go_nowhere():
            os.mkdir(self.home / "gone")
            os.chdir(self.home / "gone")
            os.rmdir(self.home / "gone")
        self.check_fails(self.first, options=["--state=here"], prepare=go_nowhere)

    def test_vchan_directory(self):
        self.check_fails(self.first, env={"VCHAN_SOCKET_DIR": self.home / "none/below"})

    def test_name_that_cannot_be_replaced(self):
        os.mkdir(os.path.join(self.first.run, "qubesdb.other.pid"))
        self.dom0(name="other", ready=False).wait()
        self.assertEqual([n for n in os.listdir(self.first.run) if "other" in n],
                         ["qubesdb.other.pid"])


class SecondInTheVM(Case):
    """A second daemon in one VM cannot serve before the first has gone, so it does not try."""

    def test_waits_for_the_first(self):
        dom0, first = self.pair()
        self.connect(dom0).write("/a", "1")
        when(lambda: self.assertEqual(self.connect(first).read("/a"), b"1"), AssertionError)
        second = self.vm(ready=False)
        when(lambda: self.assertIn("another daemon", second.output()), AssertionError)
        with first.connect() as rw, first.connect(ro=True) as ro:
            self.assertEqual(rw.read("/a"), b"1")
            self.assertEqual(ro.read("/a"), b"1")
        first.stop()
        second.wait_ready()
        self.assertEqual(self.connect(second).read("/a"), b"1")
        second.stop()
        self.assertEqual(os.listdir(second.run), [])

    def test_asks_the_first(self):
        """A client that has not asked anything would keep that from ending for a while."""
        os.mkdir(self.home / "vm")
        with socket.socket(socket.AF_UNIX) as first:
            first.settimeout(TIMEOUT)
            first.bind(self.home / "vm/qubesdb.sock")
            first.listen()
            second = self.vm(ready=False)
            connection = first.accept()[0]
            inode = os.stat(second.socket()).st_ino
            with connection:
                self.assertEqual(connection.recv(100), pack(UNWATCH, "/name"))
                connection.sendall(pack(NOENT, "/name"))
        when(lambda: self.assertNotEqual(os.stat(second.socket()).st_ino, inode), AssertionError)


class Meddling(Case):
    """Who may write to the runtime directory, or only read it, can do that and no more."""

    def test_no_mode_is_set_by_name(self):
        """A name could by then be another file's, put there by somebody else."""
        for umask in 0, 0o077:
            daemon = self.dom0(umask=umask, options=["--rw-socket-perms=620"],
                               prepare=lambda: forbid(["chmod", "fchmodat", "fchmodat2"],
                                                      errno.EPERM))
            self.assertEqual(os.stat(daemon.socket()).st_mode & 0o7777, 0o620)
            self.assertEqual(os.stat(daemon.socket(ro=True)).st_mode & 0o7777, 0o666)
            daemon.stop()

    def test_no_file_of_others_goes(self):
        """Another process of the same number, in another PID namespace, may start as well."""
        os.mkdir(self.home / "dom0")
        name = self.home / "dom0/.qdb"
        daemon = self.dom0(prepare=lambda: os.close(os.open(f"{name}{os.getpid()}", os.O_CREAT)))
        self.assertEqual(os.listdir(daemon.run).count(f".qdb{daemon.pid}"), 1)

    def test_locked_directory(self):
        daemon = self.dom0()
        directory = os.open(daemon.run, os.O_RDONLY)
        self.addCleanup(os.close, directory)
        fcntl.flock(directory, fcntl.LOCK_EX)
        daemon.stop()
        self.assertEqual(os.listdir(daemon.run), ["qubesdb.work.state"])
        daemon = self.dom0()
        self.assertEqual(self.connect(daemon).ask(READ, "/a").type, NOENT)


class Supervisor(Case):
    def start(self, notify):
        """A daemon whose supervisor is the test's own, or nobody."""
        return self.dom0(notify=False, ready=False, env={"NOTIFY_SOCKET": notify})

    def full(self):
        """A supervisor that has not read what others have told it."""
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(notify.close)
        notify.settimeout(30)
        notify.bind(self.home / "notify")
        count = 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            while True:
                try:
                    other.sendto(b"STATUS=busy", self.home / "notify")
                except BlockingIOError:
                    return notify, count
                count += 1

    def test_busy(self):
        notify, count = self.full()
        daemon = self.start(self.home / "notify")
        self.assertIsNone(daemon.connect_when_there().read("/a"))
        daemon.check_quiet()
        for _ in range(count):
            self.assertEqual(notify.recv(100), b"STATUS=busy")
        self.assertIn(b"READY=1", notify.recv(100))
        self.assertIsNone(self.connect(daemon).read("/a"))

    def test_busy_for_ever(self):
        notify, _ = self.full()
        first = self.start(self.home / "notify")
        first.connect_when_there().close()
        daemon = self.start(self.home / "notify")
        self.assertEqual(first.wait(), 0)
        self.assertIsNone(daemon.connect_when_there().read("/a"))
        notify.close()
        daemon.check_quiet()
        self.assertIsNone(self.connect(daemon).read("/a"))

    def told(self, daemon, text):
        """Waits until the supervisor has been told this."""
        said = b""
        daemon.notify.settimeout(30)
        while text not in said:
            said = daemon.notify.recv(4096)
        return said

    def test_status(self):
        dom0 = self.dom0(ready=False)
        self.assertIn(b"READY=1\n", self.told(dom0, b"STATUS=serving; the VM is not connected\n"))
        vm = self.vm(ready=False)
        self.assertIn(b"READY=1\n", self.told(vm, b"STATUS=serving; connected with dom0\n"))
        self.told(dom0, b"STATUS=serving; the VM is connected\n")
        dom0.popen.terminate()
        self.told(dom0, b"STOPPING=1\n")
        self.told(vm, b"STATUS=serving; dom0 is out of reach\n")
        self.assertEqual(dom0.wait(), 0)
        self.dom0()
        self.told(vm, b"STATUS=serving; connected with dom0\n")

    def test_status_of_one_alone(self):
        self.told(self.dom0(domid=0, name="alone", ready=False), b"STATUS=serving\n")

    def test_unusable(self):
        """It serves, and says why nobody was told."""
        for notify in "", "relative", "vsock:2:1234", "/" + "n" * 200, self.home / "nobody":
            with self.subTest(notify=notify):
                daemon = self.start(notify)
                daemon.connect_when_there().close()
                when(lambda d=daemon: self.assertIn("supervisor", d.output()), AssertionError)
                self.assertIsNone(self.connect(daemon).read("/a"))
                daemon.stop()


class Reasons(Case):
    """A daemon that cannot start says of which VM it is, what failed, where, and what helps."""

    def check_says(self, *texts, **options):
        daemon = self.dom0("reasons", ready=False, **options)
        self.assertEqual(daemon.wait(), 1)
        for text in ("error work: ", *texts):
            self.assertIn(str(text), daemon.output())
        self.assertNotIn("[warn]", daemon.output(), "libevent's")

    def test_runtime_directory(self):
        place = self.home / "none/here"
        self.check_says(f"cannot create {place}: No such", "--runtime-dir",
                        options=[f"--runtime-dir={place}"])
        self.check_says("qubesdb.work.sock: File name too long; ", "--runtime-dir",
                        options=[f"--runtime-dir={self.home / ('d' * 100)}"])

    def test_log(self):
        place = self.home / "none"
        self.check_says(f"cannot open the log {place}/qubesdb.work.log: No such", "--log-dir",
                        options=[f"--log-dir={place}"], foreground=False, notify=False)

    def test_state(self):
        name = "s" * 5000
        self.check_says(f"cannot use the state {name[:900]}", options=[f"--state={name}"])

    def test_vchan(self):
        place = self.home / "none/here"
        self.check_says(f"cannot use the vchan directory {place}: ", "VCHAN_SOCKET_DIR",
                        env={"VCHAN_SOCKET_DIR": place})
        os.makedirs(self.home / "taken/vchan.0.5.111.sock")
        self.check_says("cannot listen on ", "taken/vchan.0.5.111.sock: Is a directory; ",
                        "VCHAN_SOCKET_DIR", env={"VCHAN_SOCKET_DIR": self.home / "taken"})
        self.check_says("VCHAN_DOMAIN", "0 to 32751", own="x")

    def test_descriptors(self):
        self.check_says("cannot start with 24 file descriptors: ", "LimitNOFILE", descriptors=24)


class Surroundings(Case):
    @unittest.skipIf("getrandom" not in SYSCALLS, "system call numbers unknown")
    def test_kernel_without_grnd_insecure(self):
        daemon = self.dom0(prepare=lambda: forbid(["getrandom"], errno.EINVAL, GRND_INSECURE))
        self.assertNotIn("secret", daemon.output())
        daemon = self.dom0("second", prepare=lambda: forbid(["getrandom"], errno.ENOSYS))
        self.assertIn("secret", daemon.output())

    def test_own_domain(self):
        """It names a socket, so a mistake must not name another domain's."""
        for own in "x", "5x", " 5", "-1", "99999", "99999999999999999999":
            with self.subTest(own=own):
                daemon = self.vm(own=own, ready=False)
                self.assertEqual(daemon.wait(), 1)
                self.assertIn("VCHAN_DOMAIN", daemon.output())
        self.dom0(domid=0, name="alone", own="")

    def test_lasting_failure_is_told_once(self):
        """The directory of the vchan's socket is a file: every attempt fails alike."""
        with open(self.home / "file", "w", encoding="ascii"):
            pass
        daemon = self.vm(ready=False, env={"VCHAN_SOCKET_DIR": self.home / "file"})
        when(lambda: self.assertIn("cannot connect", daemon.output()), AssertionError)
        before = daemon.wakeups()
        when(lambda: self.assertGreater(daemon.wakeups(), before + 4), AssertionError)
        self.assertEqual(daemon.output().count("cannot connect"), 1)


if __name__ == "__main__":
    run()
