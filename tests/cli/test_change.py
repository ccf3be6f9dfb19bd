# SPDX-License-Identifier: LGPL-2.1-or-later
import re

from harness import NOENT, REFUSED, RM, WRITE, CommandTest


class Write(CommandTest):
    def test_pairs(self):
        self.check("write", "/a", "1", "/b", "", "/c", "x" * 3071)
        self.assertEqual(self.daemon.get(b"/a"), b"1")
        self.assertEqual(self.daemon.get(b"/b"), b"")
        self.assertEqual(self.daemon.get(b"/c"), b"x" * 3071)

    def test_bytes_go_as_they_are(self):
        value = bytes(range(1, 256))
        self.check("write", "/a", value)
        self.assertEqual(self.daemon.get(b"/a"), value)

    def test_in_order(self):
        tap = self.tap()
        self.check("write", "/c", "1", "/a", "2", "/b", "3", "/a", "4", runtime_dir=tap.dir)
        self.assertEqual(tap.requests, [(WRITE, b"/c"), (WRITE, b"/a"), (WRITE, b"/b"),
                                        (WRITE, b"/a")])
        self.assertEqual(self.daemon.get(b"/a"), b"4")

    def test_goes_on_past_a_failure(self):
        self.check("write", "/a", "1", "/d/", "2", "/b", "3", status=1,
                   err=re.compile(rb"\AFailed to write /d/: .*\n\Z"))
        self.assertEqual(self.daemon.get(b"/a"), b"1")
        self.assertEqual(self.daemon.get(b"/b"), b"3")

    def test_odd_number_writes_nothing(self):
        tap = self.tap()
        for args in (["/a"], ["/a", "1", "/b"], ["/a", "1", "/b", "2", "--", "/c"]):
            with self.subTest(args):
                self.check("write", *args, status=1, err=re.compile(rb"\AFailed to write"),
                           runtime_dir=tap.dir)
                self.check("write", "-q", *args, status=1, runtime_dir=tap.dir)
        self.assertEqual(tap.requests, [])


class Remove(CommandTest):
    def test_entries(self):
        for path in (b"/a", b"/b", b"/c"):
            self.daemon.put(path)
        self.check("rm", "/a", "/c")
        self.check("list", "/", out=b"b\n")

    def test_entry_and_directory(self):
        for path in (b"/a", b"/a/b", b"/a/b/c", b"/ab"):
            self.daemon.put(path)
        self.check("rm", "/a/")
        self.check("list", "/", out=b"a\nab\n")
        self.daemon.put(b"/a/b")
        self.check("rm", "/a", "/a/")
        self.check("list", "/", out=b"ab\n")

    def test_absent_is_no_failure(self):
        tap = self.tap()
        self.check("rm", "/a", "/a/", runtime_dir=tap.dir)
        tap.wait_for_answer(NOENT, b"/a")
        tap.wait_for_answer(NOENT, b"/a/")

    def test_goes_on_past_a_failure(self):
        self.daemon.put(b"/a")
        self.check("rm", "/b d", "/a", status=1,
                   err=re.compile(rb"\AFailed to rm /b d: .*\n\Z"))
        self.assertIsNone(self.daemon.get(b"/a"))

    def test_goes_on_past_a_refusal(self):
        self.daemon.put(b"/b")
        tap = self.tap()
        tap.refused.add(b"/a")
        self.check("rm", "/a", "/b", status=1, runtime_dir=tap.dir,
                   err=b"Failed to rm /a: " + REFUSED)
        self.assertEqual(tap.requests, [(RM, b"/a"), (RM, b"/b")])
        self.assertIsNone(self.daemon.get(b"/b"))
