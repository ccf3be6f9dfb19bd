#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A value that has gone is nowhere in a daemon's memory any more: all that it may write to is
searched, by /proc/PID/mem, for a word that each value repeats, so that a rest of one is found, too.
"""
import errno
import re
import secrets
import unittest

from harness import Case, run, when
from qdb import ERROR, MULTIREAD, READ, WRITE, pack

LONGEST = 3071


def memory(daemon):
    """The pieces of what it may write to. One that it gives back meanwhile is left out."""
    writable = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw", re.M)
    with open(f"/proc/{daemon.pid}/mem", "rb") as f:
        for first, end in writable.findall(daemon._file("maps")):
            try:
                f.seek(int(first, 16))
                yield f.read(int(end, 16) - int(first, 16))
            except OSError as gone:
                if gone.errno != errno.EIO:
                    raise


class Values(Case):
    def setUp(self):
        super().setUp()
        self.word = secrets.token_hex(6)

    def value(self, length):
        return (self.word * length)[:length]

    def occurrences(self, daemon):
        return sum(piece.count(self.word.encode()) for piece in memory(daemon))

    def check_there(self, *daemons):
        for daemon in daemons:
            self.assertGreater(self.occurrences(daemon), 0, "looking for it is no good")

    def check_gone(self, *daemons):
        for daemon in daemons:
            with self.subTest(daemon=daemon.name):
                self.assertEqual(self.occurrences(daemon), 0)

    def alone(self):
        return self.dom0(domid=0, name="alone", options=["--state=none"])


class Local(Values):
    def test_removed(self):
        daemon = self.alone()
        with self.connect(daemon) as client:
            client.write("/short", self.value(20))
            client.write("/d/long", self.value(LONGEST))
            self.assertEqual(len(client.read("/d/long")), LONGEST)
            self.assertEqual(len(client.multiread("/")), 2)
            self.check_there(daemon)
            client.rm("/d/")
            client.rm("/short")
            self.check_gone(daemon)

    def test_overwritten(self):
        daemon = self.alone()
        with self.connect(daemon) as client:
            for length in 100, 1000, 10, 3000, 0:
                client.write("/a", self.value(length))
            self.check_gone(daemon)
            client.write("/a", self.value(100))
            self.check_there(daemon)
            client.write("/a", "-" * 100)
        self.check_gone(daemon)

    def test_answers_that_were_not_read(self):
        """They fill queues that grow, and are moved about in them."""
        daemon = self.alone()
        with self.connect(daemon) as client, self.connect(daemon) as slow:
            for i in range(300):
                client.write(f"/{i}", self.value(LONGEST))
            slow.send(MULTIREAD)
            for _ in range(40):
                slow.recv()
            slow.send_some(pack(READ, "/1") * 100)
            client.rm("/")
            self.check_there(daemon)
        when(lambda: self.assertEqual(self.occurrences(daemon), 0), AssertionError)

    def test_requests_at_once(self):
        """What they are cut from begins anywhere and is moved to the front."""
        daemon = self.alone()
        with self.connect(daemon) as client:
            requests = [pack(WRITE, "/a", self.value(n).encode()) for n in (3000, 2, 2500, 3071)]
            client.send_raw(b"".join(requests * 10) + requests[0][:2000])
            for _ in range(40):
                client.answer()
            client.send_raw(requests[0][2000:])
            client.answer()
            self.check_there(daemon)
            client.rm("/a")
            self.check_gone(daemon)

    def test_half_a_request(self):
        daemon = self.alone()
        with self.connect(daemon) as client:
            client.send_raw(pack(WRITE, "/a", self.value(1000).encode())[:-1])
            when(lambda: self.check_there(daemon), AssertionError)
        when(lambda: self.assertEqual(self.occurrences(daemon), 0), AssertionError)

    def test_refused(self):
        daemon = self.alone()
        with self.connect(daemon) as client, self.connect(daemon, ro=True) as reader:
            client.expect(ERROR, WRITE, "/a", self.value(100).encode() + b"\0")
            client.expect(ERROR, WRITE, "/a", self.value(20000).encode())
            client.expect(ERROR, WRITE, "a", self.value(100).encode())
            client.expect(ERROR, READ, "/a", self.value(100).encode())
            reader.expect(ERROR, WRITE, "/a", self.value(100).encode())
            self.check_gone(daemon)


class Link(Values):
    def both(self, one, other):
        with self.connect(one) as a, self.connect(other) as b:
            a.write("/a", self.value(LONGEST))
            a.write("/b", self.value(50))
            b.events_until_mark(via=a)
            self.assertEqual(len(b.read("/a")), LONGEST)
            self.check_there(one, other)
            a.rm("/a")
            b.rm("/b")
            b.events_until_mark(via=a)
            a.events_until_mark(via=b)
        self.check_gone(one, other)

    def test_operations(self):
        dom0, vm = self.pair(options=["--state=none"])
        self.both(dom0, vm)
        self.both(vm, dom0)

    def test_dump(self):
        dom0 = self.dom0(options=["--state=none"])
        with self.connect(dom0) as a:
            for i in range(100):
                a.write(f"/{i}", self.value(LONGEST))
            vm = self.vm()
            self.check_there(dom0, vm)
            a.rm("/")
            with self.connect(vm) as b:
                b.events_until_mark(via=a)
        self.check_gone(dom0, vm)


class State(Values):
    def test_removed(self):
        daemon = self.dom0()
        with self.connect(daemon) as client:
            client.write("/a", self.value(LONGEST))
            self.check_there(daemon)
            client.rm("/a")
        self.check_gone(daemon)

    def test_what_sqlite_frees(self):
        """Snapshots have the value, and then others."""
        daemon = self.dom0()
        with self.connect(daemon) as client:
            for n in range(1, 20):
                client.send_raw(pack(WRITE, "/a", self.value(LONGEST).encode()) * n)
                for _ in range(n):
                    client.answer()
            self.check_there(daemon)
            for _ in range(200):
                client.write("/a", "-" * LONGEST)
        self.check_gone(daemon)


if __name__ == "__main__":
    run()
