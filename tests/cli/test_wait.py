# SPDX-License-Identifier: LGPL-2.1-or-later
import os
import re
import signal

from harness import (NAME, NOENT, OK, R_READ, READ, REFUSED, RM, WATCH, CommandTest, listen,
                     receive)


class Wait(CommandTest):
    def start_waiting(self, *args):
        self.tapped = self.tap()
        return self.start("wait", *args, runtime_dir=self.tapped.dir)

    def test_is_there_already(self):
        self.daemon.put(b"/a", b"1")
        self.daemon.put(b"/empty")
        for args in (["/a"], ["/a", "1"], ["/empty"], ["/empty", ""], ["--timeout=60", "/a"]):
            self.check("wait", *args)

    def test_comes(self):
        process = self.start_waiting("/a")
        self.tapped.wait_for_answer(NOENT, b"/a")
        self.assertEqual(self.tapped.requests, [(WATCH, b"/a"), (READ, b"/a")])
        self.daemon.put(b"/a")
        self.finish(process, 0)

    def test_gets_the_value(self):
        self.daemon.put(b"/a", b"0")
        process = self.start_waiting("--timeout", "3600", "/a", "12")
        for times, value in enumerate((b"1", b"123", b""), 1):
            self.tapped.wait_for_answer(R_READ, b"/a", times)
            self.daemon.put(b"/a", value)
        self.tapped.wait_for_answer(R_READ, b"/a", 4)
        self.daemon.ask(RM, b"/a")
        self.tapped.wait_for_answer(NOENT, b"/a")
        self.daemon.put(b"/a", b"12")
        self.finish(process, 0)

    def test_outlives_the_daemon(self):
        process = self.start_waiting("/a", "2")
        self.tapped.wait_for_answer(NOENT, b"/a")
        self.tapped.stop()
        self.daemon.put(b"/a", b"1")
        self.tapped.start()
        self.tapped.wait_for_answer(R_READ, b"/a")
        self.daemon.put(b"/a", b"2")
        self.finish(process, 0)

    def test_time_is_up(self):
        self.check("wait", "--timeout=0.2", "/a", status=3, err=re.compile(
            b"^Failed to wait for /a at the local daemon: (not so|no connection to it) after 0.2 "
            b"seconds; does .*\\?\n$"))
        self.check("wait", "-d", NAME, "--timeout=0.01", "/a", "12", status=3, err=re.compile(
            f"^Failed to wait for /a = 12 at the {NAME} daemon: no".encode()))
        self.check("wait", "-q", "--timeout=1e-9", "/a", "1", status=3)

    def test_time_is_up_without_a_daemon(self):
        process = self.start_waiting("--timeout=3600", "/a")
        self.tapped.wait_for_answer(NOENT, b"/a")
        self.tapped.stop()
        process.send_signal(signal.SIGALRM)
        self.finish(process, 3, err=re.compile(b"not so after 3600 seconds"))
        self.tapped.start()

    def test_daemon_comes(self):
        """Where none has been, and where one has left its socket."""
        self.daemon.put(b"/a", b"1")
        nowhere, left = self.directory(), self.directory()
        listen(os.path.join(left, "qubesdb.sock")).close()
        for where in nowhere, left:
            process = self.start("wait", "--timeout=3600", "/a", "1", runtime_dir=where)
            os.symlink(self.daemon.socket_path, os.path.join(where, "new"))
            os.rename(os.path.join(where, "new"), os.path.join(where, "qubesdb.sock"))
            self.finish(process, 0)

    def test_no_daemon_comes(self):
        for where in self.directory(), self.full_directory():
            self.check("wait", "--timeout=0.3", "/a", "1", status=3, runtime_dir=where,
                       err=b"Failed to wait for /a = 1 at the local daemon: no connection to it "
                           b"after 0.3 seconds; does the daemon run?\n")

    def test_a_daemon_that_cannot_be_there(self):
        self.check("wait", "-d", "a/b", "/a", status=1, err=re.compile(b"^Failed connect to a/b "))

    def test_time_is_up_for_a_daemon_that_does_not_answer(self):
        where = self.directory()
        with listen(os.path.join(where, "qubesdb.sock")) as listener:
            process = self.start("wait", "--timeout=3600", "/a", runtime_dir=where)
            with listener.accept()[0] as sock:
                self.assertEqual(receive(sock), (WATCH, b"/a", b""))
                process.send_signal(signal.SIGALRM)
                self.finish(process, 3, err=None)

    def test_time_is_up_with_a_blocked_alarm(self):
        self.check("wait", "-q", "--timeout=0.1", "/a", status=3, preexec_fn=lambda:
                   signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]))

    def test_failures(self):
        for path, reason in (("/d/", "names a directory"), ("/b d", "character"), ("rel", "begin")):
            self.check("wait", path, status=1, err=re.compile(
                rb"\AFailed to wait for %s: .*%s" % (path.encode(), reason.encode())))
        tap = self.tap()
        tap.refused.add(OK)
        self.check("wait", "/a", status=1, runtime_dir=tap.dir,
                   err=b"Failed to wait for /a: " + REFUSED)

    def test_arguments(self):
        for args in ([], ["-q"], ["/a", "1", "2"], ["--timeout=0", "/a"], ["--timeout=-1", "/a"],
                     ["--timeout=x", "/a"], ["--timeout=", "/a"], ["--timeout=1s", "/a"],
                     ["--timeout=nan", "/a"], ["--timeout=inf", "/a"], ["/a", "--timeout"]):
            with self.subTest(args):
                self.check("wait", *args, status=1, err=re.compile(rb"^Usage: qubesdb-wait ", re.M))
