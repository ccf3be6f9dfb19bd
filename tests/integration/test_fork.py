#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The daemon started by hand: it forks, and the parent says how that went.
"""
import ctypes
import errno
import os
import signal
import stat
import unittest

from harness import Case, run
from qdb import READ
from test_start import SYSCALLS, forbid

PR_SET_CHILD_SUBREAPER = 36


class Forking(Case):
    """The parent returns when the child serves."""

    def setUp(self):
        super().setUp()
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.addCleanup(self.reap)

    def start(self, *arguments, **options):
        """Returns the parent, ended, and the child, which is ours to reap."""
        parent = self.parent(*arguments, **options)
        return parent, parent.wait()

    def parent(self, *arguments, **options):
        return self.daemon(*arguments, notify=False, foreground=False, ready=False, **options)

    @staticmethod
    def children(pid=None):
        with open(f"/proc/{pid or 'self'}/task/{pid or os.getpid()}/children",
                  encoding="ascii") as f:
            return [int(pid) for pid in f.read().split()]

    def reap(self):
        for pid in self.children():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def end(self, pid):
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)

    def test_dom0(self):
        parent, code = self.start("dom0", 5, "work")
        with open(os.path.join(parent.run, "qubesdb.work.pid"), encoding="ascii") as f:
            pid = int(f.read())
        self.assertEqual((code, self.children()), (0, [pid]))
        with open(f"/proc/{pid}/comm", encoding="ascii") as f:
            self.assertEqual(f.read().strip(), "qubesdb-daemon")
        self.assertIsNone(self.connect(parent).read("/a"))
        log = os.path.join(self.home.log, "qubesdb.work.log")
        self.assertEqual(stat.S_IMODE(os.stat(log).st_mode), 0o664)
        self.end(pid)
        self.assertNotIn("qubesdb.work.sock", os.listdir(parent.run))
        size = os.path.getsize(log)
        with open(log, "r+", encoding="utf-8") as f:
            f.write("first line")
        self.assertEqual(self.start("dom0", 5, "work")[1], 0)
        with open(log, encoding="utf-8") as f:
            self.assertTrue(f.read().startswith("first line"), "not appended")
        self.assertGreaterEqual(os.path.getsize(log), size)
        self.end(*self.children())

    def test_vm_after_the_first_dump(self):
        server = self.fake_dom0_server()
        parent = self.parent("vm", 0, own=5)
        link = self.accept(server)
        link.hello()
        early = parent.connect_when_there()
        self.addCleanup(early.close)
        early.send(READ, "/a")
        link.send_entries({"/b": "2"})
        self.assertFalse(early.readable(0.1))
        self.assertTrue(parent.is_running(), "the parent returned before the dump")
        link.dump({"/a": "1"})
        self.assertEqual(parent.wait(), 0)
        self.assertEqual(early.answer_to(READ, "/a").data, b"1")
        self.assertIn("qubesdb.dom0.log", os.listdir(self.home.log))
        self.end(*self.children())

    def test_ended_before_it_serves(self):
        """Which is no failure of the daemon, but nobody must take it for one that runs."""
        for whom in "parent", "child":
            with self.subTest(whom=whom):
                parent = self.parent("vm", 0, own=5)
                parent.connect_when_there().close()
                os.kill(parent.pid if whom == "parent" else self.children(parent.pid)[0],
                        signal.SIGTERM)
                self.assertEqual(parent.wait(), 1)
                self.assertIn("ending on signal 15", parent.output())

    def check_fails(self, *arguments, **options):
        parent, code = self.start(*arguments, **options)
        self.assertGreater(code, 0)
        self.assertEqual(self.children(), [])
        self.assertRegex(parent.output(), r"\w+")
        if os.path.isdir(parent.run):
            self.assertFalse([n for n in os.listdir(parent.run) if n.endswith((".sock", ".pid"))])
        return parent.output()

    def test_log_cannot_be_opened(self):
        os.mkdir(os.path.join(self.home.log, "qubesdb.work.log"))
        self.assertIn("log", self.check_fails("dom0", 5, "work"))

    def test_runtime_directory_cannot_be_made(self):
        for run_dir in "file", "file/below", "a" * 300:
            with open(self.home / "file", "w", encoding="ascii"):
                pass
            self.check_fails(run_dir, 5, "work")

    def test_socket_path_too_long(self):
        self.check_fails("r" * 100, 5, "work")

    def test_foreground_fails_too(self):
        with open(self.home / "file", "w", encoding="ascii"):
            pass
        daemon = self.daemon("file", 5, "work", ready=False)
        self.assertGreater(daemon.wait(), 0)
        self.assertRegex(daemon.output(), r"\w+")

    @unittest.skipIf("getrandom" not in SYSCALLS, "system call numbers unknown")
    def test_log_has_all_from_the_beginning(self):
        self.start("dom0", 5, "work", prepare=lambda: forbid(["getrandom"], errno.ENOSYS))
        with open(os.path.join(self.home.log, "qubesdb.work.log"), encoding="utf-8") as f:
            self.assertIn("without a secret key", f.read())
        self.end(*self.children())

    def test_log_is_a_fifo(self):
        """Nobody reads it, or somebody does: it is no log, and nothing waits for it."""
        log = os.path.join(self.home.log, "qubesdb.work.log")
        os.mkfifo(log)
        self.assertIn("log", self.check_fails("dom0", 5, "work"))
        with open(os.open(log, os.O_RDONLY | os.O_NONBLOCK), "rb"):
            self.assertIn("log", self.check_fails("dom0", 5, "work"))

    def test_log_is_a_link(self):
        os.symlink(self.home / "elsewhere", os.path.join(self.home.log, "qubesdb.work.log"))
        self.assertIn("log", self.check_fails("dom0", 5, "work"))
        self.assertFalse(os.path.exists(self.home / "elsewhere"))

    def test_closed_standard_files(self):
        """Whatever of the three is closed, no other file takes its place."""
        for closed in (0, 1, 2), (2,), (0,), (1, 2):
            with self.subTest(closed=closed):
                parent, code = self.start("dom0", 5, "work", prepare=lambda c=closed: [
                    os.close(fd) for fd in c])
                self.assertEqual(code, 0)
                child, = self.children()
                for fd in range(3):
                    self.assertEqual(os.readlink(f"/proc/{child}/fd/{fd}"), "/dev/null")
                self.assertIsNone(self.connect(parent).read("/a"))
                self.end(child)

    def test_leaves_the_working_directory(self):
        """It keeps no file system busy, and relative names mean what they meant at its start."""
        home = self.home
        relative = [f"--log-dir={os.path.basename(home.log)}", "--runtime-dir=vm"]
        here = {"prepare": lambda: os.chdir(home.path), "env": {"VCHAN_SOCKET_DIR": "vchan"}}
        vm = self.parent("vm", 0, own=5, options=relative, **here)
        self.addCleanup(vm.connect_when_there().close)
        relative[1] = "--runtime-dir=dom0"
        dom0 = self.start("dom0", 5, "work", options=relative, **here)[0]
        self.assertEqual(vm.wait(), 0)
        self.assert_equal_ends(dom0, vm)
        children = self.children()
        self.assertEqual([os.readlink(f"/proc/{pid}/cwd") for pid in children], ["/", "/"])
        for pid in children:
            self.end(pid)
        self.assertEqual(os.listdir(dom0.run) + os.listdir(vm.run), ["qubesdb.work.state"])


if __name__ == "__main__":
    run()
