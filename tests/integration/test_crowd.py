#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
More clients than there is room for, and clients that have gone before they were served.
"""
import os
import signal
import socket
import time

from harness import Case, run, when
from qdb import LIST, MULTIREAD, NOENT, READ, R_READ, WRITE, pack


class Descriptors(Case):
    """A daemon that may open few files, and more clients than that."""

    def exhaust(self, path):
        """Connects until the daemon's backlog stays full, or far more than it can accept."""
        crowd = []
        refused = 0
        while len(crowd) < 300 and refused < 20:
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            try:
                sock.connect(path)
            except BlockingIOError:
                sock.close()
                refused += 1
                time.sleep(0.01)
            else:
                crowd.append(sock)
                refused = 0
        self.assertGreater(len(crowd), 40)
        return crowd

    def attack(self, daemon, others):
        for ro in False, True:
            served = self.connect(daemon)
            served.write("/a", "1")
            for _ in range(2):
                crowd = self.exhaust(daemon.socket(ro))
                for _ in range(50):
                    self.assertEqual(served.read("/a"), b"1")
                others()
                daemon.check_quiet()
                self.assertTrue(daemon.is_running())
                for sock in crowd:
                    sock.close()
                with daemon.connect(ro) as later:
                    self.assertEqual(later.read("/a"), b"1")
            served.close()

    def test_turned_away_and_told_once(self):
        """Who comes when all places are taken is not left waiting."""
        daemon = self.dom0(descriptors=60)
        crowd = []
        for _ in range(2):
            crowd = [daemon.connect() for _ in range(100)]
            for late in crowd[60:]:
                late.wait_closed()
            crowd[0].write("/a", "1")
            for client in crowd:
                client.close()
            self.assertEqual(self.connect(daemon).read("/a"), b"1")
        self.assertEqual(daemon.output().count("turned away"), 1)

    def test_leaving_comes_first(self):
        """Who finds all places taken gets one of those that are just being left."""
        daemon = self.dom0(descriptors=60)
        crowd = [daemon.connect() for _ in range(100)]
        for refused in crowd[60:]:
            refused.wait_closed()
        os.kill(daemon.pid, signal.SIGSTOP)
        later = self.connect(daemon)
        for client in crowd:
            client.close()
        os.kill(daemon.pid, signal.SIGCONT)
        self.assertIsNone(later.read("/a"))

    def test_in_dom0(self):
        a, b = self.dom0(descriptors=60), self.vm()
        in_a, in_b = self.connect(a), self.connect(b)
        self.attack(a, lambda: (self.sync(in_a, in_b), self.sync(in_b, in_a)))

    def test_in_the_vm(self):
        a, b = self.dom0(), self.vm(descriptors=60)
        in_a, in_b = self.connect(a), self.connect(b)
        self.attack(b, lambda: (self.sync(in_a, in_b), self.sync(in_b, in_a)))

    def test_link_while_exhausted(self):
        """A VM that comes when there is no descriptor left is served as soon as there is one."""
        a = self.dom0(descriptors=60)
        crowd = self.exhaust(a.socket())
        b = self.vm(ready=False)
        a.check_quiet()
        for sock in crowd:
            sock.close()
        b.wait_ready()
        self.assert_equal_ends(a, b)

    def test_ends_while_exhausted(self):
        a = self.dom0(descriptors=60)
        crowd = self.exhaust(a.socket())
        a.stop()
        for sock in crowd:
            sock.close()


class Waiting(Case):
    """Before the first dump requests wait, and who no longer waits takes no place."""

    def setUp(self):
        super().setUp()
        self.agent = self.vm(ready=False)
        self.first = self.agent.connect_when_there()
        self.addCleanup(self.first.close)

    def check(self):
        """All who are gone have left; those who wait are served in the end."""
        when(lambda: self.assertLess(self.agent.descriptors(), 40), AssertionError)
        self.agent.check_quiet()
        self.first.send(READ, "/a")
        with self.dom0().connect() as writer:
            writer.write("/a", "1")
            self.assertIn(self.first.answer_to(READ, "/a").type, (NOENT, R_READ))

    def test_asked_and_gone(self):
        requests = [pack(READ, "/a"), pack(WRITE, "/a", "x" * 3000), pack(MULTIREAD) * 3, b"",
                    pack(LIST)[:71]]
        for n in range(300):
            with self.agent.connect() as client:
                client.send_raw(requests[n % len(requests)])
        self.check()

    def test_asked_slowly_and_gone(self):
        """The end comes long after the request."""
        for _ in range(3):
            crowd = [self.agent.connect() for _ in range(200)]
            for client in crowd:
                client.send(READ, "/a")
            self.agent.check_quiet()
            for client in crowd:
                client.close()
        self.check()

    def test_half_closed(self):
        """Who sends no more still waits for the answer."""
        with self.agent.connect() as client:
            client.send(READ, "/none")
            client.sock.shutdown(socket.SHUT_WR)
            self.check()
            self.assertEqual(client.answer_to(READ, "/none").type, NOENT)
            client.wait_closed()

    def test_many_requests(self):
        """More than the daemon reads while it cannot serve."""
        with self.agent.connect() as client:
            client.send_raw(pack(READ, "/none") * 1000)
            self.check()
            for _ in range(1000):
                self.assertEqual(client.answer_to(READ, "/none").type, NOENT)


if __name__ == "__main__":
    run()
