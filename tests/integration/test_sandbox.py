#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What somebody who has got into a daemon can still do: an intruder (intruder.c) is preloaded into real
ones and acts from within when a client first reads. Each act is tried without the sandbox, too,
where it succeeds.
"""
import ctypes
import errno
import os
import re
import signal
import stat
import unittest

from harness import SANITIZED, Case, run, when
from qdb import READ, Closed

INTRUDER = os.environ.get("QUBESDB_INTRUDER", "tests/integration/.libs/intruder.so")
LANDLOCK_CREATE_RULESET, LANDLOCK_VERSION = 444, 1


def landlock():
    """The version of the kernel's interface; 0: there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_VERSION), 0)


class Sandboxed(Case):
    def environment(self, act, on="", other=""):
        asan = "verify_asan_link_order=0:detect_leaks=0"
        return {"LD_PRELOAD": INTRUDER, "INTRUDE": act, "INTRUDE_ON": str(on),
                "INTRUDE_WITH": str(other), "ASAN_OPTIONS": asan}

    def intrude(self, daemon):
        """What came of it: an errno's name, "done", or the signal that ended the daemon."""
        with daemon.connect() as client:
            try:
                client.ask(READ, "/a")
            except (Closed, OSError):
                pass
        outcome = re.compile(r"^intruder: (\w+)$", re.M)
        when(lambda: self.assertTrue(outcome.search(daemon.output()) or not daemon.is_running()),
             AssertionError)
        if not daemon.is_running():
            return signal.Signals(-daemon.popen.returncode).name
        return outcome.search(daemon.output())[1]

    def on_dom0(self, act, *objects, options=(), **more):
        return self.intrude(self.dom0(f"dom0.{len(os.listdir(self.home.path))}", options=options,
                                      env=self.environment(act, *objects), **more))

    def on_vm(self, act, *objects):
        dom0 = self.dom0()
        vm = self.vm(env=self.environment(act, *objects))
        outcome = self.intrude(vm)
        if vm.is_running():
            vm.stop()
        dom0.stop()
        return outcome

    def check(self, act, expected, *objects, freely="done"):
        with self.subTest(act=act):
            self.assertEqual(self.on_dom0(act, *objects), expected)
            if freely:
                self.assertEqual(self.on_dom0(act, *objects, options=["--no-sandbox"]), freely)

    def file(self, name):
        path = self.home / name
        with open(path, "w", encoding="ascii") as f:
            f.write("secret\n")
        return path


class Status(Sandboxed):
    def status(self, daemon, key):
        return daemon._field("status", key)

    def core_limits(self, daemon):
        return re.search(r"Max core file size\s+(\S+)\s+(\S+)", daemon._file("limits")).groups()

    def test_every_end(self):
        for daemon in (*self.pair(), self.dom0(domid=0, name="alone")):
            self.assertEqual(self.status(daemon, "NoNewPrivs"), 1)
            self.assertEqual(self.status(daemon, "Seccomp"), 2)
            self.assertIn(self.core_limits(daemon), [("1", "1"), ("0", "0")])
            self.assertNotIn("restricted", daemon.output())

    def test_without(self):
        daemon = self.dom0(options=["--no-sandbox"])
        self.assertEqual(self.status(daemon, "NoNewPrivs"), self.status_of_self("NoNewPrivs"))
        self.assertEqual(self.status(daemon, "Seccomp"), self.status_of_self("Seccomp"))

    def status_of_self(self, key):
        with open("/proc/self/status", encoding="ascii") as f:
            return int(re.search(rf"^{key}:\s*(\d+)", f.read(), re.M)[1])


@unittest.skipUnless(landlock(), "this kernel has no Landlock")
class Files(Sandboxed):
    def test_foreign(self):
        mine = self.file("mine")
        self.check("open_file", "EACCES", "/etc/passwd")
        self.check("open_file", "EACCES", mine)
        self.check("append_to_file", "EACCES", mine)
        self.check("list_directory", "EACCES", "/etc")
        self.check("remove_file", "EACCES", mine)
        self.assertFalse(os.path.exists(mine), "the daemon without a sandbox was to remove it")
        self.check("create_file", "EACCES", self.home / "new")

    def test_log_directory(self):
        """The log is open, and nothing else of its directory is needed."""
        path = os.path.join(self.home.log, "other.log")
        with open(path, "w", encoding="ascii"):
            pass
        self.check("append_to_file", "EACCES", path)

    def test_runtime_directory(self):
        for act, name in ("create_file", "new"), ("open_file", "new"), ("list_directory", ""), (
                "remove_file", "new"):
            with self.subTest(act=act):
                daemon = self.dom0("run", env=self.environment(act, self.home / f"run/{name}"))
                self.assertEqual(self.intrude(daemon), "done")
                daemon.stop()

    def test_moving_out(self):
        os.mkdir(self.home / "out")
        daemon = self.dom0("run", env=self.environment(
            "move_file", self.home / "run/qubesdb.work.pid", self.home / "out/pid"))
        self.assertIn(self.intrude(daemon), ("EXDEV", "EACCES"))

    def test_state_directory(self):
        os.mkdir(self.home / "state")
        state = self.home / "state/work"
        daemon = self.dom0("run", options=[f"--state={state}"],
                           env=self.environment("open_file", state))
        self.assertEqual(self.intrude(daemon), "done")

    def test_in_the_vm(self):
        self.assertEqual(self.on_vm("open_file", "/etc/passwd"), "EACCES")
        self.assertEqual(self.on_vm("open_file", self.home / "dom0/qubesdb.work.state"), "EACCES")


class Calls(Sandboxed):
    def test_processes(self):
        self.check("execute", "SIGSYS", freely=None)
        self.check("execute_unnoticed", "SIGSYS", freely=None)
        self.check("start_thread", "SIGSYS", freely=None if SANITIZED else "done")
        if not SANITIZED:
            self.check("fork_process", "SIGSYS")
            self.check("trace", "SIGSYS", os.getpid(), freely=None)

    def test_privileges(self):
        self.check("change_user", "SIGSYS")
        self.check("dump_core", "SIGSYS", freely=None)
        self.check("make_directory", "SIGSYS", self.home / "directory")

    def test_code(self):
        self.check("new_code", "SIGSYS")
        self.check("changed_code", "SIGSYS")

    def test_signals(self):
        me = os.getpid()
        self.check("signal_by_thread", "SIGSYS", me)
        self.check("signal_by_file", "SIGSYS", me)
        self.check("survive", "SIGSYS")
        self.check("hold_process", "EACCES", me)
        if not SANITIZED:
            self.check("signal_another", "SIGSYS")

    def test_devices(self):
        self.check("share_terminal", "SIGSYS", freely=None)

    def test_network(self):
        self.check("inet_socket", "SIGSYS")
        self.check("netlink_socket", "SIGSYS")
        self.check("unix_socket", "SIGSYS")
        self.assertEqual(self.on_vm("inet_socket"), "SIGSYS")

    def test_end_that_connects(self):
        """The VM's end looks for dom0 again and again."""
        self.assertEqual(self.on_vm("unix_socket"), "done")

    def test_alone(self):
        self.assertEqual(self.on_dom0("execute", domid=0, name="dom0"), "SIGSYS")


class Report(Sandboxed):
    """Which call it was, for whoever has to mend the list."""

    @unittest.skipUnless(os.uname().machine == "x86_64", "other numbers")
    def test_number(self):
        daemon = self.dom0(env=self.environment("execute"))
        self.assertEqual(self.intrude(daemon), "SIGSYS")
        self.assertIn("the sandbox ends this daemon for system call 59\n", daemon.output())

    def test_in_the_log(self):
        starter = self.dom0(env=self.environment("execute"), notify=False, foreground=False,
                            ready=False)
        self.assertEqual(starter.wait(), 0)
        with starter.connect() as client:
            with self.assertRaises((Closed, OSError)):
                client.ask(READ, "/a")
        with open(os.path.join(self.home.log, "qubesdb.work.log"), encoding="utf-8") as f:
            self.assertIn("the sandbox ends this daemon", f.read())


class Old(Sandboxed):
    """What a kernel lacks is told once, and done without."""

    def lacking(self, name, number, error):
        from test_start import SYSCALLS, forbid
        SYSCALLS[name] = number
        return self.dom0(prepare=lambda: forbid([name], error))

    def test_no_landlock(self):
        daemon = self.lacking("landlock_create_ruleset", LANDLOCK_CREATE_RULESET, errno.ENOSYS)
        self.assertEqual(daemon.output().count("Landlock"), 1)
        self.assertEqual(daemon._field("status", "Seccomp"), 2)
        self.assertEqual(self.connect(daemon).read("/a"), None)

    @unittest.skipUnless(os.uname().machine == "x86_64", "other numbers")
    def test_no_seccomp(self):
        daemon = self.lacking("seccomp", 317, errno.ENOSYS)
        self.assertEqual(daemon.output().count("seccomp"), 1)
        self.assertEqual(self.connect(daemon).read("/a"), None)


class Work(Sandboxed):
    """What a daemon does late is done in the sandbox."""

    @unittest.skipUnless(os.geteuid() == 0 and landlock(), "nothing then that cannot be moved")
    def test_state_that_comes_late(self):
        state = self.home / "dom0/qubesdb.work.state"
        os.mkdir(self.home / "dom0")
        os.mknod(state, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        daemon = self.dom0()
        self.connect(daemon).write("/a", "1")
        os.unlink(state)
        when(lambda: self.assertIn("kept again", daemon.output()), AssertionError)
        daemon.kill()
        self.assertEqual(self.connect(self.dom0()).read("/a"), b"1")

    def test_link_that_comes_back(self):
        dom0, vm = self.pair()
        with self.connect(dom0) as client:
            client.write("/a", "1")
        dom0.stop()
        dom0 = self.dom0()
        self.connect(dom0).write("/b", "2")
        when(lambda: self.assertEqual(self.connect(vm).read("/b"), b"2"), AssertionError)

    def test_time_zone(self):
        """The first line may be logged long after the files went out of reach."""
        daemon = self.dom0(env={"TZ": ":Asia/Kolkata"}, notify=False, foreground=False,
                           ready=False, options=["--state=none"])
        self.assertEqual(daemon.wait(), 0)
        with open(os.path.join(self.home.log, "qubesdb.work.log"), encoding="utf-8") as f:
            stamp = f.readline()[:16]
        here = os.popen("TZ=:Asia/Kolkata date '+%Y-%m-%d %H:'").read().strip()
        self.assertEqual(stamp[:14], here)
        with open(os.path.join(self.home / "dom0", "qubesdb.work.pid"), encoding="ascii") as f:
            os.kill(int(f.read()), signal.SIGTERM)


if __name__ == "__main__":
    run()
