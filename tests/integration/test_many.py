#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Many entries in one request: all or none, however the bytes come, and bounded for those who never
send the rest.
"""
import os
import random
import re
import subprocess

from harness import CLIENT, SANITIZED, Case, run, when
from qdb import ERROR, MAX_VALUE, NOENT, OK, READ, pack

MANY = 64
LONGEST = 262144
PROGRAM = os.path.join(CLIENT, "../tests/integration/many")


def as_data(entries):
    return b"".join(p.encode() + b"\0" + v.encode() + b"\0" for p, v in entries)


def request(entries, **lies):
    return pack(MANY, "", as_data(entries), **lies)


class Many(Case):
    def setUp(self):
        super().setUp()
        self.a, self.b = self.pair()
        self.c = self.connect(self.a)

    def answer(self, connection=None):
        got = (connection or self.c).answer()
        return got.type, got.path

    def ask(self, entries, connection=None):
        (connection or self.c).send_raw(request(entries))
        return self.answer(connection)

    def library(self, *arguments, count=1, daemon=None):
        daemon = daemon or self.a
        name = daemon.name or "dom0"
        return subprocess.run([PROGRAM, name, str(count), *arguments], capture_output=True,
                              env={**os.environ, "QUBESDB_RUNTIME_DIR": daemon.run}, text=True,
                              check=True).stdout.strip()

    def test_library(self):
        self.c.watch("/m/")
        self.assertEqual(self.library("/m/a", "1", "/m/b", "", "/m", "done"), "written")
        self.assertEqual(self.c.snapshot(), {"/m/a": b"1", "/m/b": b"", "/m": b"done"})
        self.assertEqual([self.c.event() for _ in range(2)], ["/m/a", "/m/b"])
        self.assertEqual(self.library("/m/a", "2", "/m/", "x"), "Success", "refused: errno 0")
        self.assertEqual(self.library("/m", "v" * 3000, count=87), "written")
        self.assertEqual(self.library("/m", "v" * 3000, count=88), "Argument list too long")
        self.assertEqual(self.c.read("/m/a"), b"1")

    def test_split_anywhere(self):
        """Also inside of the header, with other requests before and after."""
        entries = [(f"/s/{n}", "v" * n) for n in range(30)]
        raw = pack(READ, "/none") + request(entries) + pack(READ, "/s/29")
        cuts = range(1, len(raw), 7 if SANITIZED else 1)
        for cut in cuts:
            self.c.send_raw(raw[:cut])
            self.c.send_raw(raw[cut:])
            self.assertEqual(self.answer(), (NOENT, b"/none"))
            self.assertEqual(self.answer(), (OK, b""))
            self.assertEqual(self.c.answer().data, b"v" * 29)
        self.c.rm("/s/")
        for byte in raw:
            self.c.send_raw(bytes([byte]))
        self.assertEqual(self.answer(), (NOENT, b"/none"))
        self.assertEqual(self.answer(), (OK, b""))
        self.c.answer()
        self.assertEqual(len(self.c.list("/s/")), 30)

    def test_longest(self):
        rng = random.Random(1)
        entries = [(f"/l/{n:02}", "v" * MAX_VALUE) for n in range(85)]
        entries.append(("/l/z", "v" * (LONGEST - len(as_data(entries)) - 6)))
        raw = request(entries)
        self.assertEqual(len(raw), 72 + LONGEST)
        at = 0
        while at < len(raw):
            step = rng.randrange(1, 20000)
            self.c.send_raw(raw[at:at + step])
            at += step
        self.assertEqual(self.answer(), (OK, b""))
        self.assertEqual(len(self.c.list("/l/")), 86)
        self.c.send_raw(pack(MANY, "", raw[72:] + b"\0") + pack(READ, "/none"))
        self.assertEqual(self.answer(), (ERROR, b""))
        self.assertEqual(self.answer(), (NOENT, b"/none"))
        self.assert_equal_ends(self.a, self.b)

    def test_malformed(self):
        self.c.write("/a", "before")
        for data in b"/a", b"/a\0", b"/a\0x", b"\0", b"\0x\0", b"/a\0x\0\0", b"/" + b"a" * 63 + b"\0\0":
            self.c.send(MANY, "", data)
            self.assertEqual(self.answer(), (ERROR, b""), data)
        self.c.send(MANY, "")
        self.assertEqual(self.answer(), (ERROR, b""))
        self.c.send(MANY, "/a", b"/a\0x\0")
        self.assertEqual(self.answer(), (ERROR, b"/a"))
        for path in "rel", "/d/", "/a b", "-":
            self.assertEqual(self.ask([("/a", "x"), (path, "v"), ("/b?", "")]),
                             (ERROR, path.encode()))
        self.assertEqual(self.ask([("/a", "x"), ("/c", "v" * (MAX_VALUE + 1))]), (ERROR, b"/c"))
        self.assertEqual(self.c.snapshot(), {"/a": b"before"})

    def test_read_only(self):
        reader = self.connect(self.a, ro=True)
        self.assertEqual(self.ask([("/a", "x")], reader), (ERROR, b""))
        self.assertEqual(self.ask([("/a", "v" * 3000)] * 80, reader), (ERROR, b""))
        self.assertIsNone(reader.read("/a"))

    def test_in_order_at_both_ends(self):
        entries = [(f"/o/{n:03}", str(n)) for n in range(500)] + [("/o", "")]
        random.Random(2).shuffle(entries)
        for source, target in (self.a, self.b), (self.b, self.a):
            here, there = self.connect(source), self.connect(target)
            here.watch("/o/", "/o")
            there.watch("/o/", "/o")
            self.assertEqual(self.ask(entries, here), (OK, b""))
            for connection in here, there:
                self.assertEqual([connection.event() for _ in entries], [p for p, _ in entries])
            self.assert_equal_ends(self.a, self.b)
            here.rm("/o/")
            self.sync(here, there)

    def test_all_or_none_is_seen(self):
        """Whoever reads meanwhile finds the values of one request, never of two."""
        paths = [f"/x/{n}" for n in range(40)]
        reader = self.connect(self.a)
        raw = b"".join(request([(p, str(n)) for p in paths]) for n in range(200))
        self.c.send_raw(raw[:len(raw) // 2])
        seen = [set(reader.snapshot().values()) for _ in range(50)]
        self.c.send_raw(raw[len(raw) // 2:])
        for _ in range(200):
            self.assertEqual(self.answer(), (OK, b""))
            seen.append(set(reader.snapshot().values()))
        self.assertEqual(max(len(values) for values in seen), 1)

    def test_state_file(self):
        """What was acknowledged survives the daemon, in full."""
        entries = [(f"/s/{n}", "v" * 1000) for n in range(250)]
        self.assertEqual(self.ask(entries), (OK, b""))
        self.a.kill()
        with self.dom0().connect() as later:
            self.assertEqual(len(later.list("/s/")), 250)


class Bounds(Case):
    def test_quota(self):
        daemon = self.dom0(options=["--quota=entries=10", "--quota=many=8"])
        c = self.connect(daemon)
        c.write("/a", "before")
        for count, answer in (10, ERROR), (9, ERROR), (8, OK):
            entries = [(f"/q/{n}", "") for n in range(count)] + [("/a", "after")]
            c.send_raw(request(entries[count == 8:]))
            got = c.answer()
            self.assertEqual((got.type, got.path), (answer, b"/" if answer == ERROR else b""))
        self.assertEqual(c.read("/a"), b"after")
        self.assertRegex(daemon.output(), re.compile("over the quota many, 8$", re.M))
        c.send_raw(request([("/r/1", ""), ("/r/2", ""), ("/r/3", "")]))
        self.assertEqual(c.answer().type, ERROR)
        self.assertEqual(c.list("/r/"), [])

    def test_stopping_in_the_middle(self):
        """Nobody pays for it but who does it, and all together only so much."""
        daemon = self.dom0(options=["--quota=gathered=1M"])
        check = self.honest(daemon)
        writer = self.connect(daemon)
        before = daemon.rss_kib()
        raw = request([("/a", "v" * MAX_VALUE)] * 85)
        stopped = []
        for _ in range(200):
            c = self.connect(daemon)
            c.send_raw(pack(READ, "/none") + raw[:200_000])
            self.assertEqual(c.answer().type, NOENT)
            stopped.append(c)
        check()
        writer.send_raw(request([("/w/1", "x"), ("/w/2", "y")]))
        self.assertEqual(writer.answer().type, OK)
        self.assertLess(daemon.rss_kib() - before, 16 * 1024, "200 of 8 KiB each, and 1 MiB")
        answers = []
        for c in stopped:
            c.send_raw(raw[200_000:])
            answers.append(c.answer().type)
            self.assertEqual(c.ask(READ, "/w/1").data, b"x")
        self.assertGreater(answers.count(ERROR), 190)
        self.assertIn("over the quota gathered", daemon.output())
        for c in stopped:
            c.send_raw(raw[:100_000])
            c.close()
        when(lambda: check() or self.assertTrue(daemon.is_quiet()), AssertionError)

    def test_closing_in_the_middle(self):
        daemon = self.dom0()
        raw = request([("/a", "v" * MAX_VALUE)] * 85)
        before = daemon.rss_kib()
        for size in [1, 71, 72, 73, 4000, 100_000, len(raw) - 1] * 20:
            with daemon.connect() as c:
                c.send_raw(raw[:size])
        with daemon.connect() as c:
            self.assertIsNone(c.read("/a"))
        self.assertLess(daemon.rss_kib() - before, 24 * 1024)
        daemon.check_quiet()


if __name__ == "__main__":
    run()
