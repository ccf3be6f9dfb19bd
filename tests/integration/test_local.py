#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Every rule of the local socket, asked of the daemon in dom0 and of the one in the VM alike.
"""
import random

from harness import VM_WRITES_ALL, Case, run
from qdb import (ERROR, LIST, MULTIREAD, NAMES, NOENT, OK, READ, RM, R_LIST, R_MULTIREAD, R_READ,
                 R_WATCH, UNWATCH, WATCH, WRITE, pack)

REQUESTS = (READ, WRITE, MULTIREAD, LIST, RM, WATCH, UNWATCH)
FORBIDDEN = [b"/bad char", b"-dash", b"-", b"/a=b", b"/a,b", b"/a+b", b"/a\tb", b"/a\nb", b"/a\\b",
             b"/a*", b"/a~", b"/a\x7f", b"/a\x80", b"/\xff\xfe", b"/\xc3\xa4", b"/a\x01", b"a b",
             b" ", b"/d /", b"/[", b"/`", b"/{"]
NO_ENTRY = ["", "rel", "rel/d", "/d/", "/", "//", "@x", ":", ".", "_", "9"]
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.:@-"


class Rules:
    """What holds on either side; self.side is the daemon that is asked."""

    def setUp(self):
        super().setUp()
        self.side = self.start()
        self.c = self.connect(self.side)

    def check_usable(self, connection=None):
        """Whatever was refused before, the connection stays, and is in step."""
        connection = connection or self.c
        connection.expect(NOENT, READ, "/never/there")

    def check_ended(self, kind, got):
        """A refusal of `kind`: for MULTIREAD the end mark alone."""
        if kind == MULTIREAD:
            self.assertEqual(got, [])
        else:
            self.assertEqual(got.type, ERROR, f"{NAMES[kind]}: {got}")

    def test_ready_when_empty(self):
        self.assertIsNone(self.c.read("/a"))
        self.assertEqual(self.c.list(), [])
        self.assertEqual(self.c.multiread(), [])

    def test_forbidden_characters(self):
        self.c.write("/a", "1")
        for path in FORBIDDEN:
            for kind in REQUESTS:
                with self.subTest(path=path, kind=NAMES[kind]):
                    self.check_ended(kind, self.c.ask(kind, path, b"v" if kind == WRITE else b""))
        self.check_usable()
        self.assertEqual(self.c.snapshot(), {"/a": b"1"})

    def test_every_byte_as_a_character(self):
        for byte in range(1, 256):
            path = b"/x" + bytes([byte]) + b"y"
            allowed = chr(byte) in ALPHABET
            self.c.expect(OK if allowed else ERROR, WRITE, path, b"v")
            self.c.expect(R_READ if allowed else ERROR, READ, path)
        self.check_usable()

    def test_no_entry(self):
        self.c.write("/keep/d", "1")
        for path in NO_ENTRY:
            with self.subTest(path=path):
                self.c.expect(NOENT, READ, path)
                self.c.expect(ERROR, WRITE, path, "v")
                self.c.expect(OK, WATCH, path)
                self.c.expect(OK, UNWATCH, path)
                self.c.expect(NOENT, UNWATCH, path)
                if path not in ("", "/"):
                    self.c.expect(NOENT, RM, path)
                    self.assertEqual(self.c.list(path), [])
                    self.assertEqual(self.c.multiread(path), [])
        self.c.expect(NOENT, RM, "")
        self.assertEqual(self.c.snapshot(), {"/keep/d": b"1"})

    def test_watches_that_name_nothing_stay_silent(self):
        self.c.watch("", "rel", "rel/", "@x")
        self.c.write("/rel", "1")
        self.assertEqual(self.c.events_until_mark(), [])

    def test_double_slash_is_an_entry(self):
        for path in "//x", "/a//b", "/.", "/-", "/@", "/:", "/_":
            self.c.write(path, "v")
            self.assertEqual(self.c.read(path), b"v")
        self.assertEqual(self.c.list("//"), ["//x"])
        self.c.rm("/a//")
        self.assertIsNone(self.c.read("/a//b"))

    def test_longest_path(self):
        path = "/" + "p" * 62
        self.c.write(path, "v")
        self.assertEqual(self.c.read(path), b"v")
        self.assertEqual(self.c.list(), [path])
        self.c.watch(path)
        self.c.rm(path)
        self.assertEqual(self.c.event(), path)

    def test_64_bytes_without_nul_are_cut(self):
        for last in b"p", b"/", b"\xff", b" ":
            field = b"/" + b"p" * 62 + last
            self.c.expect(OK, WRITE, field, last.hex())
            self.assertEqual(self.c.expect(R_READ, READ, field).data, last.hex().encode())
            self.assertEqual(self.c.read(field[:63]), last.hex().encode())
        self.c.expect(ERROR, WRITE, b"/" + b"p" * 61 + b"/x", "v")
        self.assertEqual(self.c.list(), ["/" + "p" * 62])

    def test_garbage_after_the_path(self):
        """Deployed clients send uninitialised bytes there; ours come back as zeros."""
        for kind, answer in (WRITE, OK), (READ, R_READ), (WATCH, OK), (UNWATCH, OK), (RM, OK):
            field = b"/tail\0" + bytes(range(198, 256))
            self.c.expect(answer, kind, field, b"v" if kind == WRITE else b"",
                          padding=b"\xaa\xbb\xcc")
        self.c.expect(NOENT, READ, b"\0/not/a/path")
        self.assertEqual(self.c.list(), [])

    def test_values(self):
        every = bytes(range(1, 256))
        for value in b"", b"x", every, b"\xff" * 3071, b"\n", b"%s%n", (every * 13)[:3071]:
            self.c.write("/v", value)
            self.assertEqual(self.c.read("/v"), value)
            self.assertEqual(self.c.multiread("/v"), [("/v", value)])

    def test_refused_values(self):
        self.c.watch("/v")
        self.c.write("/v", "old")
        self.assertEqual(self.c.event(), "/v")
        for value in (b"z" * 3072, b"z" * 3073, b"z" * 4096, b"z" * 8192, b"z" * 100000, b"\0",
                      b"a\0", b"\0a", b"z" * 3070 + b"\0", b"\0" * 100000):
            self.c.expect(ERROR, WRITE, "/v", value)
            self.c.expect(ERROR, WRITE, "/new", value)
            self.check_usable()
        self.assertEqual(self.c.snapshot(), {"/v": b"old"})
        self.assertEqual(self.c.events_until_mark(), [])

    def test_unexpected_data(self):
        self.c.write("/d", "1")
        fake = pack(WRITE, "/smuggled", "x") * 3
        for kind in REQUESTS:
            for data in b"x", fake, b"\0" * 72, b"z" * 3071, b"z" * 3072, b"z" * 100000:
                if kind != WRITE:
                    self.check_ended(kind, self.c.ask(kind, "/d", data))
                    self.check_usable()
        self.assertEqual(self.c.snapshot(), {"/d": b"1"})
        self.c.write("/d", "2")
        self.assertEqual(self.c.events_until_mark(), [], "a refused watch is set")

    def test_unknown_types(self):
        for kind in range(OK, 256):
            self.c.expect(ERROR, kind, "/q")
            self.c.expect(ERROR, kind, "/q", pack(WRITE, "/smuggled", "x"))
        for kind in OK, R_READ, R_WATCH, 14, 40, 128, 255:
            self.c.expect(ERROR, kind, "/q", b"z" * 100000)
            self.c.expect(ERROR, kind, "")
            self.c.expect(ERROR, kind, b"/\xff " + b"q" * 61)
        self.check_usable()
        self.assertEqual(self.c.list(), [])

    def test_read_only(self):
        self.c.write("/a/b", "1")
        ro = self.connect(self.side, ro=True)
        for path in ("/a/b", "/a/", "/none", "", "rel", "/bad char"):
            ro.expect(ERROR, RM, path)
            ro.expect(ERROR, WRITE, path, "2")
        ro.expect(ERROR, WRITE, "/a/b", b"z" * 100000)
        ro.expect(ERROR, RM, "/a/b", b"data")
        self.assertEqual(ro.read("/a/b"), b"1")
        self.assertEqual(ro.list("/a"), ["/a/b"])
        self.assertEqual(ro.multiread(), [("/a/b", b"1")])
        ro.watch("/a/b", "/a/")
        self.c.write("/a/b", "3")
        self.assertEqual(ro.events_until_mark(via=self.c), ["/a/b", "/a/b"])
        ro.unwatch("/a/b")
        ro.expect(NOENT, UNWATCH, "/a/b")
        for kind in READ, LIST, MULTIREAD, WATCH, UNWATCH:
            self.check_ended(kind, ro.ask(kind, "/bad char"))
        self.check_usable(ro)

    def test_order_of_listings(self):
        paths = ["/a", "/a/b", "/a/c", "/ab", "/a-x", "/a.y", "/a:z@w", "/A", "/b", "/a/b/c", "//z",
                 "/0", "/_", "/@"]
        random.Random(1).shuffle(paths)
        for path in paths:
            self.c.write(path, path)
        for prefix in paths + ["/", "/a/", "/a/b/", "/n", "//", "/a-"]:
            match = sorted(p for p in paths if p.startswith(prefix))
            self.assertEqual(self.c.list(prefix), match)
            self.assertEqual(self.c.multiread(prefix), [(p, p.encode()) for p in match])
        self.assertEqual(self.c.list(), sorted(paths))
        everything = [(p, p.encode()) for p in sorted(paths, reverse=True)]
        self.assertEqual(self.c.multiread(), everything)

    def test_listing_while_it_changes(self):
        """Long answers stay in order, and have everything that was there all the time."""
        self.c.write_all([(f"/l/{n:05}", "z" * 60) for n in range(12000)])
        writer = self.connect(self.side)
        for kind, prefix in (LIST, "/l/"), (MULTIREAD, "/l/"), (MULTIREAD, ""):
            self.c.send(kind, prefix)
            changes = [pack(RM if n % 2 else WRITE, f"/l/{n:05}") for n in range(1, 12000, 3)]
            writer.pump(b"".join(changes), len(changes))
            writer.pump(pack(RM, "/l/x/") + pack(WRITE, "/l/x/y") + pack(RM, "/l/x/y"), 3)
            paths = [m.path.decode() for m in self.c.answer_to(kind, prefix)]
            self.assertEqual(paths, sorted(set(paths), reverse=prefix == ""))
            self.assertLessEqual({f"/l/{n:05}" for n in range(12000) if n % 3 != 1}, set(paths))

    def test_end_marks(self):
        self.c.write("/a", "1")
        for kind, answer in (LIST, R_LIST), (MULTIREAD, R_MULTIREAD):
            for prefix, count in ("", 2), ("/a", 2), ("/none", 1):
                self.c.send(kind, prefix)
                got = [self.c.recv() for _ in range(count)]
                self.assertEqual({m.type for m in got}, {answer})
                self.assertEqual((got[-1].path, got[-1].data), (b"", b""))
        self.check_usable()

    def test_values_of_parent_and_child(self):
        self.c.write("/p", "1")
        self.c.write("/p/c", "2")
        self.c.rm("/p")
        self.assertIsNone(self.c.read("/p"))
        self.assertEqual(self.c.read("/p/c"), b"2")

    def test_removal(self):
        for path in "/d/a", "/d/b/c", "/d", "/d.", "/da":
            self.c.write(path, "1")
        self.c.rm("/d/")
        self.c.expect(NOENT, RM, "/d/")
        self.assertEqual(self.c.list(), ["/d", "/d.", "/da"])
        self.c.rm("/d")
        self.c.expect(NOENT, RM, "/d")
        self.c.rm("/")
        self.assertEqual(self.c.list(), [])
        self.c.expect(NOENT, RM, "/")

    def test_pipelining(self):
        """Answers come in the order of the requests, however many there are."""
        raw, expected = [], []
        for n in range(3000):
            path = f"/k{n % 7}"
            raw += [pack(WRITE, path, str(n)), pack(READ, path), pack(RM, path), pack(READ, path),
                    pack(99, path, "x" * (n % 5)), pack(LIST, "/none")]
            expected += [(OK, path, ""), (R_READ, path, str(n)), (OK, path, ""), (NOENT, path, ""),
                         (ERROR, path, ""), (R_LIST, "", "")]
        got = self.c.pump(b"".join(raw), len(expected))
        self.assertEqual([(m.type, m.path.decode(), m.data.decode()) for m in got], expected)

    def test_any_split(self):
        """The stream cut anywhere, one byte at a time included; others are served meanwhile."""
        raw = (pack(WRITE, "/s", "value") + pack(READ, "/s") + pack(WATCH, "/s", "xyz") +
               pack(WRITE, "/s", b"z" * 3072) + pack(RM, "/s"))
        answers = [(OK, b""), (R_READ, b"value"), (ERROR, b""), (ERROR, b""), (OK, b"")]
        other = self.connect(self.side)
        rng = random.Random(2)
        for sizes in [1], [71, 1], [72], [73], [3143, 1, 71], rng.choices(range(1, 200), k=50):
            at = turn = 0
            while at < len(raw):
                size = sizes[turn % len(sizes)]
                self.c.send_raw(raw[at:at + size])
                at, turn = at + size, turn + 1
                if turn % 64 == 1:
                    self.check_usable(other)
            for answer in answers:
                self.assertEqual(self.c.recv()[:3:2], answer)

    def test_fragments_of_many(self):
        """Messages cut in the middle on several connections do not mix."""
        several = [self.connect(self.side) for _ in range(8)]
        messages = [pack(WRITE, f"/c{n}", str(n) * 100) for n in range(8)]
        for at in range(0, len(messages[0]), 9):
            for connection, raw in zip(several, messages):
                connection.send_raw(raw[at:at + 9])
        for n, connection in enumerate(several):
            self.assertEqual(connection.answer_to(WRITE, f"/c{n}").type, OK)
            self.assertEqual(connection.read(f"/c{n}"), (str(n) * 100).encode())


class OnDom0Side(Rules, Case):
    """No VM has appeared: the daemon serves without one."""

    def start(self):
        return self.dom0()


class OnVMSide(Rules, Case):
    def start(self):
        self.other_side = self.dom0(options=VM_WRITES_ALL)
        return self.vm()

    def tearDown(self):
        self.assert_equal_ends(self.other_side, self.side)


if __name__ == "__main__":
    run()
