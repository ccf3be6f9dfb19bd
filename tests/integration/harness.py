# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Real daemons in a private directory, and what every test may say about them.

A daemon is waited for through NOTIFY_SOCKET, never by sleeping. Each one that a test started is
stopped at its end by SIGTERM, and that is a test of its own: it must still be the process that was
started, exit with 0, and have printed no sanitizer's report.

"Spinning" is judged without a stop-watch: a process that has nothing to do uses no CPU between two
looks at /proc. One quiet moment among many is enough, a process that spins has none.
"""
import faulthandler
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from peers import FakeDom0Server, FakeVM
from qdb import TIMEOUT, Connection

DAEMON = os.path.abspath(os.environ.get("QUBESDB_DAEMON", "daemon/qubesdb-daemon"))
CLIENT = os.path.abspath(os.environ.get("QUBESDB_CLIENT", "client"))
# What lets a VM write as much as dom0.
VM_WRITES_ALL = ["--quota=vm-entries=100000", "--quota=vm-bytes=32M"]
REPORT = re.compile(r"Sanitizer|runtime error:|stack smashing|buffer overflow detected")
SANITIZED = "QUBESDB_TEST_VALGRIND" in os.environ or (
    os.path.exists(DAEMON) and b"__asan_init" in open(DAEMON, "rb").read())


def unsanitized(test):
    """For a test, or a class of them, that a build with sanitizers does not have."""
    return None if SANITIZED else test


class Home:
    """The private directory of one test: runtime directories, logs and the vchan."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="qdb.")
        os.chmod(self.path, 0o755)
        self.vchan, self.log = self / "vchan", self / "log"
        os.mkdir(self.vchan)
        os.mkdir(self.log)

    def __truediv__(self, name):
        return os.path.join(self.path, name)

    def link(self, server=0, client=5):
        return os.path.join(self.vchan, f"vchan.{server}.{client}.111.sock")

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Process:
    """What /proc tells of one process."""

    def __init__(self, pid):
        self.pid = pid

    def _file(self, name):
        with open(f"/proc/{self.pid}/{name}", encoding="ascii", errors="replace") as f:
            return f.read()

    def _field(self, name, key):
        return int(re.search(rf"^{key}:\s*(\d+)", self._file(name), re.M)[1])

    def stat(self):
        return self._file("stat").rpartition(")")[2].split()

    def cpu_ns(self):
        return int(self._file("schedstat").split()[0])

    def wakeups(self):
        return self._field("status", "voluntary_ctxt_switches")

    def rss_kib(self):
        return self._field("status", "VmRSS")

    def private_dirty_kib(self):
        return self._field("smaps_rollup", "Private_Dirty")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def is_quiet(self, seconds=0.1):
        before = self.cpu_ns()
        time.sleep(seconds)
        return self.cpu_ns() - before < 1_000_000

    def check_quiet(self):
        """Fails if the process burns CPU all the time although nobody asks anything of it."""
        if not any(self.is_quiet() for _ in range(50)):
            raise AssertionError("the daemon spins")


class Daemon(Process):
    """
    A daemon under test. `name` is the VM's name for one on dom0's side and None for the one
    in the VM; `domid` the other end's. `notify` False: no NOTIFY_SOCKET, so it forks unless
    it is told --foreground. `prepare` is called in the new process.
    """
    serial = 0

    def __init__(self, home, run, domid, name=None, own=0, options=(), env=None, umask=0o022,
                 descriptors=None, notify=True, foreground=True, prepare=None):
        Daemon.serial += 1
        self.home, self.name = home, name
        self.run = home / run
        self.output_path = home / f"output.{Daemon.serial}"
        self.notify = self._notify_socket() if notify else None
        arguments = [DAEMON, f"--runtime-dir={self.run}", f"--log-dir={home.log}", *options,
                     str(domid)] + ([name] if name is not None else [])
        if foreground:
            arguments.insert(1, "--foreground")

        def before_exec():
            os.umask(umask)
            if descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
            if prepare:
                prepare()

        with open(self.output_path, "ab") as output:
            self.popen = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=self._environment(own, env or {}), preexec_fn=before_exec)
        super().__init__(self.popen.pid)

    def _notify_socket(self):
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify_path = self.home / f"notify.{Daemon.serial}"
        notify.bind(self.notify_path)
        return notify

    def _environment(self, own, extra):
        env = {k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET", "LD_PRELOAD")}
        env.setdefault("ASAN_OPTIONS", "quarantine_size_mb=1:thread_local_quarantine_size_kb=16:"
                       "malloc_context_size=8:detect_leaks=1")
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        env.update({"VCHAN_SOCKET_DIR": self.home.vchan, "VCHAN_DOMAIN": str(own), **extra})
        if self.notify:
            env["NOTIFY_SOCKET"] = self.notify_path
        return env

    def socket(self, ro=False):
        name = "" if self.name is None else f".{self.name}"
        return os.path.join(self.run, f"qubesdb{name}{'.ro' if ro else ''}.sock")

    def output(self):
        with open(self.output_path, errors="replace") as f:
            return f.read()

    def wait_ready(self):
        """Waits for READY=1."""
        with open(os.pidfd_open(self.pid), "rb", buffering=0) as ended:
            while True:
                ready = select.select([self.notify, ended], [], [], TIMEOUT)[0]
                if self.notify in ready:
                    if b"READY=1" in self.notify.recv(4096).split(b"\n"):
                        return self
                elif ended in ready:
                    raise AssertionError(f"the daemon ended: {self.output()}")
                else:
                    raise AssertionError(f"the daemon is not ready: {self.output()}")

    def is_ready(self):
        return bool(select.select([self.notify], [], [], 0)[0])

    def connect(self, ro=False):
        return Connection(self.socket(ro))

    def connect_when_there(self):
        """For a daemon that is not ready yet, so that nothing announces its sockets."""
        return when(self.connect, OSError)

    def is_running(self):
        return self.popen.poll() is None

    def wait(self):
        try:
            return self.popen.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"does not end: {self.output()[-2000:]}") from None

    def kill(self):
        self.popen.kill()
        self.popen.wait()
        self.release()

    def stop(self, sig=signal.SIGTERM):
        """Ends it, which must work in every state that it may be in."""
        if self.popen.returncode is None:
            alive = self.is_running()
            self.popen.send_signal(sig)
            code = self.wait()
            self.release()
            if not alive or code != 0:
                raise AssertionError(f"{'exit' if alive else 'had ended,'} {code}: "
                                     f"{self.output()[-4000:]}")
        report = self.output()
        if REPORT.search(report):
            raise AssertionError(f"a sanitizer's report: {report[-4000:]}")

    def release(self):
        if self.notify:
            self.notify.close()
            self.notify = None


def when(attempt, *errors):
    """Retries what will succeed soon and cannot be waited for otherwise."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            return attempt()
        except errors:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.005)


class Case(unittest.TestCase):
    """A test with daemons of its own."""

    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.remove)

    def daemon(self, *arguments, ready=True, **options):
        daemon = Daemon(self.home, *arguments, **options)
        self.addCleanup(daemon.stop)
        return daemon.wait_ready() if ready else daemon

    def dom0(self, run="dom0", domid=5, name="work", **options):
        return self.daemon(run, domid, name, **options)

    def vm(self, run="vm", own=5, **options):
        return self.daemon(run, 0, own=own, **options)

    def pair(self, **options):
        return self.dom0(**options), self.vm(**options)

    def connect(self, daemon, ro=False):
        connection = daemon.connect(ro)
        self.addCleanup(connection.close)
        return connection

    def fake_vm(self):
        """A deployed agent connects; a server that backs off may not be there at once."""
        fake = when(lambda: FakeVM(self.home.link()), ConnectionRefusedError, FileNotFoundError)
        self.addCleanup(fake.close)
        return fake

    def fake_dom0_server(self):
        server = FakeDom0Server(self.home.link())
        self.addCleanup(server.close)
        return server

    def accept(self, server):
        fake = server.accept()
        self.addCleanup(fake.close)
        return fake

    def honest(self, daemon):
        """
        An honest program, connected now. Calling the result checks that it is served, that
        a new one is as well, and that the daemon is still the same process.
        """
        old = self.connect(daemon)
        path = "/honest" if daemon.name else "/honest-vm"  # there may be one at the other end
        old.write(path, "0")
        rounds = iter(range(1, 1000))

        def check():
            value = b"%d" % next(rounds)
            old.write(path, value)
            with daemon.connect() as new, daemon.connect(ro=True) as reader:
                for connection in (old, new, reader):
                    self.assertEqual(connection.read(path), value)
            self.assertTrue(daemon.is_running(), daemon.output)

        check()
        return check

    def assert_same(self, one, other):
        """Two namespaces are equal; if not, tells a few of the entries that differ."""
        bad = sorted(p for p in one.keys() | other.keys() if one.get(p) != other.get(p))
        if bad:
            some = {p: (str(one.get(p))[:60], str(other.get(p))[:60]) for p in bad[:5]}
            self.fail(f"{len(bad)} entries differ: {some}")

    def sync(self, source, target):
        """Returns when all that was written on connection `source` has reached `target`."""
        return target.events_until_mark(via=source)

    def assert_equal_ends(self, one, other):
        """The namespaces at both ends, once what is under way has arrived."""
        with one.connect() as a, other.connect() as b:
            self.sync(a, b)
            self.sync(b, a)
            self.assert_same(a.snapshot(), b.snapshot())


class Result(unittest.TextTestResult):
    """One line a test; what unittest prints besides is for failures only."""

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.stream.writeln(f"FAIL: {subtest}")


def watch_over(seconds):
    """
    Ends this process with a traceback if it takes longer. From another one: of a thread, its locks
    may be held for ever in whatever is forked here.
    """
    faulthandler.register(signal.SIGUSR2, chain=True)
    watched, (reader, writer) = os.getpid(), os.pipe()
    child = os.fork()
    if child > 0:
        os.close(reader)
        os.waitpid(child, 0)
        return
    os.close(writer)
    if os.fork() == 0 and not select.select([reader], [], [], seconds)[0]:
        os.kill(watched, signal.SIGUSR2)
    os._exit(0)


def run():
    """Runs the tests of the calling file, or those named on the command line."""
    if not os.path.exists(DAEMON):
        sys.exit(f"{DAEMON}: no such daemon; set QUBESDB_DAEMON")
    watch_over(int(os.environ.get("QUBESDB_TEST_LIMIT", "600")))
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    if len(sys.argv) > 1:
        suite = unittest.TestSuite(t for s in suite for t in s if any(a in t.id() for a in sys.argv))
    stream = sys.stdout
    result = unittest.TextTestRunner(stream, verbosity=2, resultclass=Result).run(suite)
    bad = {str(getattr(t, "test_case", t)) for t, _ in result.failures + result.errors}
    skipped = len(result.skipped)
    print(f"{result.testsRun - skipped - len(bad)} passed, {len(bad)} failed, {skipped} skipped",
          flush=True)
    sys.exit(1 if bad else 0)
