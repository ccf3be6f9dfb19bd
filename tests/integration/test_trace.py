#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The request trace: who asks what, in the log, without values, and at nobody's expense."""
import os
import re
import subprocess
import sys
import unittest

from harness import CLIENT, Case, run, when
from qdb import ERROR, LIST, OK, READ, R_MULTIREAD, WRITE, pack

TRACE, MANY = 67, 64
NOBODY = 65534
LINE = re.compile(r"^[-0-9]+ [:0-9]+ trace work: process (\d+) of user (\d+): (.*)$", re.M)
PEER = re.compile(r"^[-0-9]+ [:0-9]+ trace \S+: peer: (.*)$", re.M)

# Asks for the trace as another user, and prints the type of the answer.
ASK = """
import os, socket
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
s = socket.socket(socket.AF_UNIX)
s.connect({path!r})
s.sendall(bytes([67]) + b"on".ljust(67, b"\\0") + bytes(4))
print(s.recv(72)[0])
"""


class Trace(Case):
    def setUp(self):
        super().setUp()
        self.a = self.dom0()
        self.c = self.connect(self.a)

    def switch(self, to, connection=None):
        return (connection or self.c).ask(TRACE, to).type

    def lines(self):
        return [what for _, _, what in LINE.findall(self.a.output())]

    def test_lines(self):
        self.c.write("/before", "1")
        self.assertEqual(self.switch("on"), OK)
        self.c.write("/a", "some-secret")
        self.c.read("/a")
        self.c.ask(READ, "/none")
        self.c.list("/")
        self.c.ask(WRITE, "/bad \x1b[31m\\", "v")
        self.c.send(MANY, "", b"/m/1\0x\0/m/2\0another-secret\0")
        self.assertEqual(self.c.answer().type, OK)
        self.assertEqual(self.switch("off"), OK)
        self.c.read("/a")
        when(lambda: self.assertEqual(self.lines(), [
            "TRACE on: OK", "WRITE /a, 11 bytes: OK", "READ /a: RESP_READ, 11 bytes",
            "READ /none: ERROR_NOENT", "LIST /: RESP_LIST",
            r"WRITE /bad\x20\x1b[31m\x5c, 1 bytes: ERROR", "WRITE_MANY /m/1, 1 bytes: OK",
            "WRITE_MANY /m/2, 14 bytes: OK", "WRITE_MANY, 27 bytes: OK", "TRACE off: OK"]),
            AssertionError)
        who = {(pid, uid) for pid, uid, _ in LINE.findall(self.a.output())}
        self.assertEqual(who, {(str(os.getpid()), str(os.getuid()))})
        self.assertNotIn("secret", self.a.output())

    def test_peer(self):
        """What the other side changes, as it is answered there, whichever side traces."""
        vm = self.vm()
        in_vm = self.connect(vm)
        self.switch("on")
        self.switch("on", in_vm)
        in_vm.write("/a", "some-secret")
        in_vm.rm("/a")
        self.sync(in_vm, self.c)
        self.c.write("/b", "another-secret")
        self.c.rm("/b")
        self.sync(self.c, in_vm)
        for daemon, expected in ((self.a, ["WRITE /a, 11 bytes: OK", "RM /a: OK"]),
                                 (vm, ["WRITE /b, 14 bytes: OK", "RM /b: OK"])):
            lines = [line for line in PEER.findall(daemon.output()) if "mark" not in line]
            self.assertEqual(lines, expected)
            self.assertNotIn("secret", daemon.output())
        self.switch("off")
        in_vm.write("/c", "1")
        self.sync(in_vm, self.c)
        self.assertNotIn("/c", self.a.output())

    def test_nothing_is_left_out(self):
        """Other messages of the log are bounded; these are not."""
        self.switch("on")
        for _ in range(300):
            self.c.read("/a")
        when(lambda: self.assertEqual(self.lines().count("READ /a: ERROR_NOENT"), 300),
             AssertionError)
        self.assertNotIn("left out", self.a.output())

    def test_not_everybody_may(self):
        self.assertEqual(self.switch("on", self.connect(self.a, ro=True)), ERROR)
        self.assertEqual(self.c.ask(TRACE, "maybe").type, ERROR)
        self.assertEqual(self.c.ask(TRACE, "on", b"data").type, ERROR)
        self.assertEqual(self.c.ask(TRACE, "").type, ERROR)
        self.c.read("/a")
        self.assertEqual(self.lines(), [])

    @unittest.skipUnless(os.getuid() == 0, "only root can be somebody else")
    def test_another_user(self):
        code = ASK.format(uid=NOBODY, path=self.a.socket())
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                              check=True).stdout
        self.assertEqual(said, f"{ERROR}\n")
        self.assertEqual(self.lines(), [])

    def test_command(self):
        def command(*args, run_dir=self.a.run):
            return subprocess.run([os.path.join(CLIENT, "qubesdb-trace"), *args], text=True,
                                  capture_output=True, check=False,
                                  env={**os.environ, "QUBESDB_RUNTIME_DIR": run_dir})
        self.assertEqual(command("-d", "work", "on").returncode, 0)
        self.c.read("/a")
        self.assertEqual(command("-d", "work", "off").returncode, 0)
        self.assertEqual(self.lines()[1:-1], ["READ /a: ERROR_NOENT"])
        os.mkdir(self.home / "ro")
        os.symlink(self.a.socket(ro=True), self.home / "ro/qubesdb.work.ro.sock")
        for args, run_dir, error in (
                (["maybe"], self.a.run, "Failed to switch the trace: neither on nor off: maybe\n"),
                (["on"], self.home / "ro", "Failed to switch the trace of the work daemon: "
                 "the connection is read-only; only root and the daemon's own user may, on the "
                 "read-write socket\n")):
            got = command("-d", "work", *args, run_dir=run_dir)
            self.assertEqual((got.returncode, got.stderr), (1, error))


class Elsewhere(Case):
    def test_log_that_nobody_reads(self):
        """Lines are lost; the daemon is not held up."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        a = self.daemon("dom0", 5, "work", prepare=lambda: os.dup2(writer, 2))
        os.close(writer)
        check = self.honest(a)
        c = self.connect(a)
        self.assertEqual(c.ask(TRACE, "on").type, OK)
        c.pump(pack(READ, "/a") * 5000, 5000)
        check()
        self.assertIn(b"READ /a: ERROR_NOENT\n", os.read(reader, 65536))

    def test_before_a_vm_serves(self):
        """A VM's daemon that waits for its first dump can be told to trace what will come."""
        server = self.fake_dom0_server()
        vm = self.vm(ready=False)
        fake = self.accept(server)
        c = vm.connect_when_there()
        self.addCleanup(c.close)
        self.assertEqual(c.ask(TRACE, "on").type, OK)
        c.send(LIST, "/a")
        fake.send(R_MULTIREAD)
        self.assertEqual(c.answer_to(LIST, "/a"), [])
        when(lambda: self.assertIn("LIST /a: RESP_LIST", vm.output()), AssertionError)


if __name__ == "__main__":
    run()
