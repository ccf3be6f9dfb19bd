#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Each way through the module, ten thousand times: afterwards there is no more memory in use.

The measure is what the C library's allocator has given out and not got back. The interpreter is
told to allocate there as well, so an object, a path or a value that is lost each time shows, the
smallest of them as 320 kB. A reference that is lost to an object that stays shows in its count.
Where the address sanitizer has its own allocator, it looks for what nobody points to any more.
"""
import ctypes
import gc
import sys

from support import SANITIZED, Case, child, qubesdb, run, unsanitized

TURNS = 10000
ALLOWED = 64 * 1024


class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]


def in_use():
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Mallinfo2
    gc.collect()
    info = mallinfo2()
    return info.uordblks + info.hblkhd


def failing(error, function, *arguments):
    def call():
        try:
            function(*arguments)
        except error:
            return
        raise AssertionError("that should have failed")
    return call


def event(db):
    db.write("/w", "")
    db.read_watch()


def open_and_close():
    with qubesdb.QubesDB("work") as db:
        db.read("/a")


def iterate(db):
    with db.watch_events("/w", b"/v") as events:
        db.write("/w", "")
        next(events)


PATH, DATA = "/kept", b"value"


def cases(db, closed):
    path = b"/referenced-too"
    return {
        "read": lambda: db.read("/a"),
        "read of nothing": lambda: db.read(path),
        "read, refused": failing(qubesdb.Error, db.read, "/a=b"),
        "write": lambda: db.write(PATH, DATA),
        "write, refused": failing(qubesdb.Error, db.write, b"/refused=", DATA),
        "write_many": lambda: db.write_many({PATH: DATA, "/kept-2": "1"}),
        "write_many, refused": failing(qubesdb.Error, db.write_many, {PATH: DATA, "rel": DATA}),
        "write_many, wrong data": failing(TypeError, db.write_many, [(PATH, DATA), (PATH, None)]),
        "write_many, no pair": failing(ValueError, db.write_many, [(PATH, DATA), (PATH,)]),
        "status": lambda: db.status("/daemon/"),
        "trace": lambda: db.trace(False),
        "set_timeout and is_read_only": lambda: (db.set_timeout(None), db.is_read_only()),
        "wrong time-out": failing(ValueError, db.set_timeout, 0),
        "list": lambda: db.list("/l/"),
        "list, refused": failing(qubesdb.Error, db.list, "rel"),
        "multiread": lambda: db.multiread("/l/"),
        "rm": lambda: db.rm(PATH),
        "rm, refused": failing(qubesdb.Error, db.rm, "rel"),
        "watch and unwatch": lambda: (db.watch(PATH), db.unwatch(PATH)),
        "read_watch": lambda: event(db),
        "watch_fd and watches_pending": lambda: (db.watch_fd(), db.watches_pending()),
        "wrong path": failing(TypeError, db.read, 5),
        "wrong data": failing(TypeError, db.write, PATH, None),
        "NUL in a path": failing(TypeError, db.read, "/a\0"),
        "NUL in a path to write": failing(ValueError, db.write, "/a\0", DATA),
        "closed": failing(qubesdb.Error, closed.read, "/a"),
        "closed, write_many": failing(qubesdb.Error, closed.write_many, {PATH: DATA}),
        "closed, list": failing(qubesdb.Error, closed.list, "/a"),
        "closed, read_watch": failing(qubesdb.Error, closed.read_watch),
        "closed twice": failing(qubesdb.Error, closed.close),
        "open and close": open_and_close,
        "open again": lambda: db.__init__("work") or db.watch("/w"),
        "no such VM": failing(qubesdb.Error, qubesdb.QubesDB, "nobody"),
        "wrong name": failing(TypeError, qubesdb.QubesDB, 5),
        "watch_events": lambda: iterate(db),
        "vmname": lambda: db.vmname,
    }


def references(db):
    return {name: sys.getrefcount(value) for name, value in {
        "None": None, "path": PATH, "data": DATA, "the object": db, "str": str,
        "QubesDB": qubesdb.QubesDB, "its base": qubesdb.QubesDB.__base__,
        "Error": qubesdb.Error, "TypeError": TypeError}.items()}


def measure(name, function, db, turns):
    """What a line of the report says if memory or references have gone, else None."""
    for _ in range(300):
        function()
    before, counts = in_use(), references(db)
    for _ in range(turns):
        function()
    grown, now = in_use() - before, references(db)
    lost = [f"{key}: {now[key] - counts[key]}" for key in now
            if abs(now[key] - counts[key]) > turns // 2]
    if grown > ALLOWED or lost:
        return f"{name}: {grown} bytes, references {lost}"
    return None


def program(turns):
    """What the tests run in an interpreter of its own; prints what has been lost."""
    db, closed = qubesdb.QubesDB("work"), qubesdb.QubesDB("work")
    closed.close()
    db.watch("/w")
    db.write("/a", "1")
    for number in range(10):
        db.write(f"/l/{number}", "value")
    for name, function in cases(db, closed).items():
        for line in filter(None, [measure(name, function, db, turns)]):
            print(line)
    print("end")


def leaking(turns):
    """To see that the measure sees: a value is lost each time."""
    pythonapi = ctypes.pythonapi
    value = iter(range(10 ** 9))

    def lose():
        lost = b"%d" % next(value)
        pythonapi.Py_IncRef(ctypes.py_object(lost))

    with qubesdb.QubesDB("work") as db:
        print(measure("loses a value", lose, db, turns))
        print(measure("loses None", lambda: pythonapi.Py_IncRef(ctypes.py_object(DATA)), db, turns))


class Leaks(Case):
    def in_child(self, function, turns):
        done = child(f"import test_leaks; test_leaks.{function}({turns})", PYTHONMALLOC="malloc",
                     **self.options)
        self.assertIn(done.returncode, self.codes, done.stderr[-2000:])
        return done

    def setUp(self):
        super().setUp()
        self.use(self.dom0().run)
        self.codes, self.options = (0,), {}
        if SANITIZED:
            # At its end, an interpreter leaves much behind that is not ours.
            self.codes = (0, 23)
            self.options = {"ASAN_OPTIONS": "detect_leaks=1:fast_unwind_on_malloc=0:exitcode=23:"
                            "malloc_context_size=12"}

    def test_ten_thousand_calls(self):
        done = self.in_child("program", 200 if SANITIZED else TURNS)
        self.assertEqual(done.stdout, "end\n")
        ours = [report for report in done.stderr.split("\n\n")
                if "libqubesdb" in report or "_qubesdb" in report]
        self.assertEqual(ours, [], "\n\n".join(ours))

    @unsanitized  # they are the measure
    def test_measure(self):
        seen = self.in_child("leaking", TURNS).stdout.splitlines()
        self.assertRegex(seen[0], r"loses a value: \d{6}")
        self.assertRegex(seen[1], rf"data: {TURNS}")


if __name__ == "__main__":
    run()
