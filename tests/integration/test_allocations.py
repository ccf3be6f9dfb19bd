#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Allocations that fail, one in each run, wherever in a daemon and the libraries that it uses.

A story is run once to count the allocations, then again for each of them: for all that a daemon
makes while it serves and ends, and for one in STEP of those at a start, most of which are
libseccomp's. What a daemon may do about it, once: refuse a request, lose a client or the link, or
fail to start with a reason. It never crashes or hangs, and keeps what it has acknowledged.
"""
import contextlib
import os
import signal
import struct
import unittest

from harness import run, unsanitized, when
from peers import FakeVM
from qdb import ERROR, OK, RM, STATUS, WRITE, WRITE_MANY, Broken, Closed, Connection
from test_faults import Fault, Scene

ALLOCATIONS = os.path.join(os.path.dirname(os.environ.get("QUBESDB_FAULTS", "tests/faults/.libs/x")),
                           "allocations.so")
STEP = 23


class Program(Connection):
    """One that is never refused anything without a fault. `kept` is what it was told is written."""

    def __init__(self, path, kept):
        super().__init__(path)
        self.kept = kept

    def answer_to(self, kind, path):
        answer = super().answer_to(kind, path)
        if not isinstance(answer, list) and answer.type == ERROR:
            raise Closed(f"refused: {kind} {path}")
        return answer

    def write(self, path, value=b""):
        self.kept.pop(path, None)
        super().write(path, value)
        self.kept[path] = value.encode()

    def write_many(self, entries):
        for path in entries:
            self.kept.pop(path, None)
        data = "".join(f"{path}\0{value}\0" for path, value in entries.items())
        self.send(WRITE_MANY, "", data)
        if self.answer().type != OK:
            raise Closed("refused: several entries")
        self.kept.update({path: value.encode() for path, value in entries.items()})

    def rm(self, path):
        self.kept.pop(path, None)
        super().rm(path)

    def check(self):
        there = dict(self.multiread("/"))
        lost = {path for path, value in self.kept.items() if there.get(path) != value}
        if lost:
            raise AssertionError(f"lost: {lost}")


class Allocations(Scene):
    def __init__(self, nth=0):
        super().__init__(Fault("malloc", "", nth, "ENOMEM"))
        self.count_path = self.home / "count"
        self.starting = []
        self.kept = {}
        with open(self.count_path, "wb") as f:
            f.write(bytes(8))

    def environment(self):
        return {"LD_PRELOAD": ALLOCATIONS, "QDB_ALLOCATIONS": self.count_path,
                "QDB_FAULT_ALLOCATION": str(self.fault.nth)}

    def count(self):
        with open(self.count_path, "rb") as f:
            return struct.unpack("=Q", f.read())[0]

    def has_happened(self):
        return 0 < self.fault.nth <= self.count()

    def start(self, run_directory, *arguments, **options):
        before = self.count()
        daemon = super().start(run_directory, *arguments, **options)
        if options.get("faulty"):
            self.starting.append((before, self.count()))
        return daemon

    def program(self, daemon, ro=False):
        return Program(daemon.socket(ro), self.kept)

    def use(self, daemon):
        def job(c):
            c.check()
            c.watch("/b/")
            c.write("/a", "1")
            c.write("/b/x", "v" * 3000)
            while c.event() != "/b/x":
                pass
            c.write_many({f"/b/{n}": str(n) * 700 for n in range(9)})
            assert c.list("/b/x") == ["/b/x"] and c.ask(STATUS, "@/daemon")
            c.rm("/b/x")
            c.check()
        self.served(daemon, job)
        assert self.served(daemon, lambda c: c.read("/a"), ro=True) == b"1"

    def be_vm(self, job):
        """A VM that starts over once if it loses the link or is refused a change."""
        for _ in range(2):
            try:
                with when(lambda: FakeVM(self.home.link()), ConnectionRefusedError,
                          FileNotFoundError) as vm:
                    return job(vm.hello())
            except (Closed, OSError) as lost:
                self._excuse(f"losing the link: {lost}")
        raise AssertionError("no link")

    def has_all(self, daemon):
        self.served(daemon, Program.check)


def dom0(scene):
    """Requests, a VM that comes, writes and comes back, a next daemon."""
    def visit(vm):
        vm.dump()
        for kind in WRITE, RM, WRITE:
            if vm.operation(kind, "/vm", "1" if kind == WRITE else "") != OK:
                raise Closed("refused")
        scene.kept["/vm"] = b"1"

    one = scene.start("dom0", 5, "work", faulty=True)
    scene.use(one)
    scene.be_vm(visit)
    scene.use(one)
    scene.be_vm(visit)
    scene.stop(one)
    two = scene.start("dom0", 5, "work", faulty=True)
    scene.has_all(two)
    scene.stop(two)


def vm(scene):
    """Requests, a dom0 that goes and comes back."""
    one = scene.start("dom0", 5, "work")
    other = scene.start("vm", 0, own=5, faulty=True)
    scene.use(other)
    scene.stop(one)
    scene.use(other)
    one = scene.start("dom0", 5, "work")
    when(lambda: scene.has_all(one), AssertionError)
    scene.use(one)
    when(lambda: scene.has_all(other), AssertionError)
    scene.stop(other)
    scene.stop(one)


@unsanitized  # they have an allocator of their own
class Every(unittest.TestCase):
    def every(self, story, spacing=1):
        with contextlib.closing(Allocations()) as scene:
            story(scene)
            starting, total = scene.starting, scene.count()
        wanted = {n for n in range(1, total + 1, spacing)
                  if not any(first < n <= last for first, last in starting)}
        for first, last in starting:
            wanted.update(range(first + 1, last + 1, STEP))
        for nth in sorted(wanted):
            with self.subTest(nth), contextlib.closing(Allocations(nth)) as scene:
                story(scene)
        print(f"{len(wanted)} of {total} allocations")
        self.assertGreater(len(wanted), 50)

    def test_dom0(self):
        self.every(dom0)

    def test_vm(self):
        self.every(vm, 4)


if __name__ == "__main__":
    run()
