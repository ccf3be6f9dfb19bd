#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
System calls that fail, or do less than they were asked for, one in each run.

A scenario is run once to see which calls a daemon makes and from which places. Then it is
repeated with one of these calls failing, for each place and each errno that Linux has for
it. What a daemon may do about that: nothing that anyone notices; or lose the connection
that it happened to; or fail to start, with a reason, and leave nothing behind. Whatever it
was, it happens once, so the next attempt must succeed.
"""
import collections
import contextlib
import ctypes
import errno
import os
import signal
import subprocess
import unittest

from harness import CLIENT, REPORT, SANITIZED, Daemon, Home, run, when
from qdb import TIMEOUT, Closed, Connection

FAULTS = os.environ.get("QUBESDB_FAULTS", "tests/faults/.libs/faults.so")
PR_SET_CHILD_SUBREAPER = 36
SHORT = 0
# What each call can fail with on Linux, on what the daemon and the library use it for.
ERRNOS = {
    "accept4": "EMFILE ENFILE ENOMEM EINTR ECONNABORTED",
    "bind": "EADDRINUSE ENOSPC",
    "chdir": "ENOMEM",
    "connect": "EINTR ECONNREFUSED",
    "connect_dgram": "ECONNREFUSED ENOMEM",
    "dup": "EMFILE",
    "dup2": "EINTR",
    "epoll_create1": "EMFILE ENFILE",
    "epoll_ctl": "ENOMEM ENOSPC",
    "epoll_wait": "EINTR",
    "eventfd": "EMFILE ENFILE",
    "fchmod": "EPERM",
    "fdatasync": "EIO",
    "flock": "EINTR ENOLCK",
    "fork": "EAGAIN",
    "fstat": "ENOMEM",
    "fsync": "EIO",
    "ftruncate": "EINTR ENOSPC",
    "getrandom": "EINTR ENOSYS",
    "link": "ENOSPC",
    "listen": "EADDRINUSE",
    "lstat": "ENOMEM",
    "mkdir": "ENOSPC",
    "open": "EMFILE ENFILE ENOSPC",
    "pipe2": "EMFILE ENFILE",
    "poll": "EINTR ENOMEM",
    "pread": "SHORT EINTR EIO",
    "pwrite": "SHORT EINTR ENOSPC",
    "read": "SHORT EINTR",
    "recv": "SHORT EINTR EAGAIN ENOMEM",
    "rename": "ENOSPC",
    "send": "SHORT EINTR EAGAIN ENOBUFS",
    "send_dgram": "EAGAIN ENOBUFS",
    "socket": "EMFILE ENFILE ENOMEM",
    "symlink": "ENOSPC",
    "timerfd_create": "EMFILE",
    "waitpid": "EINTR",
    "write": "SHORT ENOSPC",
}
# Nobody may notice these, with the exception of what works on files and processes.
HARMLESS = {"SHORT", "EINTR", "EAGAIN", "ENOBUFS", "ECONNABORTED"}
# What the library reports, as it cannot wait for the end of that.
PROGRAM_IS_TOLD = {("send", "ENOBUFS"), ("connect", "EAGAIN")}
EXCEPTIONS = {"write", "pread", "pwrite", "ftruncate", "flock", "fork"}

# In these one place makes the calls for many purposes.
LIBRARIES = ("libevent", "libsqlite3")


Fault = collections.namedtuple("Fault", "function site nth errno")


def choose(calls, most):
    """
    The first call at a place fails in every way; of those after it some, each in another. With
    sanitizers, which take their time, each call fails in one way only.
    """
    for (function, site), n in sorted(calls.items()):
        errnos = ERRNOS[function].split()
        limit = 8 if site.startswith(LIBRARIES) else most
        for i, nth in enumerate(range(1, n + 1, max(1, n // limit))):
            if i == 0 and not SANITIZED:
                yield from (Fault(function, site, nth, e) for e in errnos)
            elif i < limit:
                yield Fault(function, site, nth, errnos[i % len(errnos)])


class Patient(Connection):
    """A program that puts messages together from whatever comes."""

    def _take(self, size, what):
        raw = b""
        while len(raw) < size:
            more = self.sock.recv(size - len(raw))
            if not more:
                raise Closed(f"end of stream instead of a {what}")
            raw += more
        return raw


class Scene:
    """One run of a scenario, with a fault, or with a log of the calls, in some of its programs."""

    def __init__(self, fault=None):
        self.home = Home()
        self.fault = fault
        self.log, self.done = self.home / "calls", self.home / "done"
        self.daemons = []
        self.lost = 0

    def close(self):
        for daemon in self.daemons:
            if daemon.is_running():
                daemon.kill()
            daemon.release()
        self.home.remove()

    def environment(self):
        env = {"LD_PRELOAD": FAULTS}
        if SANITIZED:
            env["ASAN_OPTIONS"] = "quarantine_size_mb=1:detect_leaks=1:verify_asan_link_order=0"
        if self.fault is None:
            return {**env, "QDB_FAULTS_LOG": self.log}
        what = self.fault.errno
        number = SHORT if what == "SHORT" else getattr(errno, what)
        words = (self.fault.function, self.fault.site, self.fault.nth, number)
        return {**env, "QDB_FAULT": " ".join(map(str, words)), "QDB_FAULT_DONE": self.done}

    def has_happened(self):
        return os.path.exists(self.done) and os.path.getsize(self.done) > 0

    def calls(self):
        with open(self.log, encoding="ascii") as f:
            return collections.Counter(tuple(line.split()) for line in f)

    def _excuse(self, what):
        """A failure is excused by the fault, once, and not by every fault."""
        self.lost += 1
        function, site, _, number = self.fault
        harmless = number in HARMLESS and function not in EXCEPTIONS
        if site.startswith("libqubesdb") and (function, number) in PROGRAM_IS_TOLD:
            harmless = False
        if self.lost > 1 or not self.has_happened() or harmless:
            raise AssertionError(f"{what} is not excused")

    # ---- daemons

    def start(self, run, *arguments, faulty=False, **options):
        """A daemon that serves; the first attempt may fail because of the fault."""
        for _ in range(2):
            daemon = Daemon(self.home, run, *arguments, env=self.environment() if faulty else {},
                            **options)
            self.daemons.append(daemon)
            if self.is_serving(daemon):
                return daemon
            self._failed_to_start(daemon)
        raise AssertionError("does not start")

    def is_serving(self, daemon):
        """Whether it is, or has ended; it may be that it could not tell the supervisor."""
        def decided():
            if "cannot tell the supervisor" in daemon.output():
                if ": serving\n" not in daemon.output():
                    raise BlockingIOError
                self._excuse("not telling the supervisor")
                return True
            if not daemon.is_ready() and daemon.is_running():
                raise BlockingIOError
            return daemon.is_ready()
        return when(decided, BlockingIOError)

    def _failed_to_start(self, daemon):
        code = daemon.wait()
        output = daemon.output()
        if code <= 0 or not output.strip() or REPORT.search(output):
            raise AssertionError(f"no clean end: {code}: {output[-3000:]}")
        self.check_nothing_left(daemon)
        self._excuse(f"failing to start: {output}")

    def check_nothing_left(self, daemon):
        names = os.listdir(daemon.run) if os.path.isdir(daemon.run) else []
        left = [n for n in names if n.startswith(("qubesdb.", ".qdb")) and ".state" not in n]
        if left:
            raise AssertionError(f"left behind: {left}")

    def stop(self, daemon):
        daemon.stop(signal.SIGTERM)
        try:
            self.check_nothing_left(daemon)
        except AssertionError as left:  # what may be another's is not removed
            self._excuse(left)

    def start_by_hand(self, run, *arguments, faulty):
        for _ in range(2):
            daemon = Daemon(self.home, run, *arguments, env=self.environment() if faulty else {},
                            notify=False, foreground=False)
            code = daemon.wait()
            if code == 0:
                with open(os.path.join(daemon.run, "qubesdb.work.pid"), encoding="ascii") as f:
                    self.child = int(f.read())
                return daemon
            self._failed_to_start(daemon)
        raise AssertionError("does not start")

    def stop_by_hand(self):
        os.kill(self.child, signal.SIGTERM)
        code = os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
        if code != 0:
            raise AssertionError(f"exit {code}")

    # ---- programs

    @staticmethod
    @contextlib.contextmanager
    def program(daemon, ro=False):
        with Patient(daemon.socket(ro)) as connection:
            yield connection

    def served(self, daemon, job, ro=False):
        """An honest program that starts over once if it loses its connection."""
        for _ in range(2):
            try:
                with self.program(daemon, ro) as connection:
                    return job(connection)
            except (Closed, OSError) as lost:
                self._excuse(f"losing a connection: {lost}")
        raise AssertionError("not served")

    def use(self, daemon):
        def job(c):
            c.write("/a", "1")
            c.watch("/b/")
            c.write("/b/x", "2")
            c.write("/b/long", "v" * 3000)
            assert c.event() == "/b/x" and c.event() == "/b/long"
            assert c.list("/b") == ["/b/long", "/b/x"]
            assert c.snapshot()["/b/x"] == b"2"
            c.rm("/b/x")
            assert c.event() == "/b/x" and c.read("/b/x") is None
        self.served(daemon, job)
        assert self.served(daemon, lambda c: c.read("/a"), ro=True) == b"1"

    def command(self, daemon, command, *arguments, begin=lambda popen: None):
        """What it prints; it may fail once, with a reason."""
        for _ in range(2):
            popen = subprocess.Popen(
                [os.path.join(CLIENT, "qubesdb-cmd"), "-c", command, "-d", daemon.name, *arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env={**os.environ, **self.environment(), "QUBESDB_RUNTIME_DIR": daemon.run})
            begin(popen)
            output, errors = popen.communicate(timeout=TIMEOUT)
            if popen.returncode == 0:
                assert not errors, errors
                return output
            if popen.returncode < 0 or not errors or REPORT.search(errors):
                raise AssertionError(f"no clean end of {command}: {popen.returncode} {errors}")
            self._excuse(f"{command}: {errors}")
        raise AssertionError(f"{command} fails")

    def settle(self, one, other):
        """What each has written comes to the other."""
        def job(a):
            with self.program(other) as b:
                b.events_until_mark(via=a)
                a.events_until_mark(via=b)
                x, y = a.snapshot(), b.snapshot()
                assert x == y, (x, y)
        self.served(one, job)


def pair(scene, faulty):
    """Start, serve, a VM, each end starts over, the end."""
    def dom0():
        return scene.start("dom0", 5, "work", faulty=faulty == "dom0")

    def vm():
        return scene.start("vm", 0, own=5, faulty=faulty == "vm")

    def has(daemon, path):
        value = scene.served(daemon, lambda c: c.read(path))
        assert value == b"1", value

    one = dom0()
    scene.use(one)
    other = vm()
    has(other, "/a")
    scene.served(other, lambda c: c.write("/v", "1"))
    scene.use(other)
    scene.settle(one, other)
    scene.stop(other)
    other = vm()
    has(other, "/v")
    scene.stop(one)
    one = dom0()
    when(lambda: has(one, "/v"), AssertionError)
    has(one, "/a")
    scene.settle(one, other)
    scene.stop(one)
    scene.stop(other)


def by_hand(scene, faulty):
    """A daemon that forks, serves, and is ended."""
    scene.use(scene.start_by_hand("dom0", 5, "work", faulty=True))
    scene.stop_by_hand()


def commands(scene, faulty):
    """The library, in the commands."""
    daemon = scene.start("dom0", 5, "work")
    with daemon.connect() as c:
        def change_until_it_ends(popen):
            while popen.poll() is None:
                c.write("/w", "1")
        assert scene.command(daemon, "watch", "/w", begin=change_until_it_ends) == "/w\n"
        c.rm("/w")
    assert scene.command(daemon, "write", "/a", "1", "/b", "v" * 3000) == ""
    assert scene.command(daemon, "read", "/a") == "1\n"
    assert scene.command(daemon, "list", "/") == "a\nb\n"
    assert scene.command(daemon, "multiread", "/") == f"a = 1\nb = {'v' * 3000}\n"
    assert scene.command(daemon, "rm", "/a") == ""
    scene.stop(daemon)


class Faults(unittest.TestCase):
    def setUp(self):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def every(self, scenario, faulty, most, where="", least=20):
        with contextlib.closing(Scene()) as scene:
            scenario(scene, faulty)
            calls = scene.calls()
        known = {(function, site): n for (function, site), n in calls.items()
                 if function in ERRNOS and site.startswith(where)}
        self.assertGreaterEqual(len(known), least, sorted(calls))
        happened = 0
        for fault in choose(known, most):
            with self.subTest(fault):
                happened += self.one(scenario, faulty, fault)
        print(f"{faulty}: {happened} faults at {len(known)} places")
        self.assertGreaterEqual(happened, least)

    def one(self, scenario, faulty, fault):
        with contextlib.closing(Scene(fault)) as scene:
            scenario(scene, faulty)
            return scene.has_happened()

    def test_dom0(self):
        self.every(pair, "dom0", 1)

    def test_vm(self):
        self.every(pair, "vm", 1)

    def test_by_hand(self):
        self.every(by_hand, "a daemon that forks", 1)

    def test_library(self):
        """socket, connect, send, poll, recv."""
        self.every(commands, "the library", 3, "libqubesdb", 4)


if __name__ == "__main__":
    run()
