# SPDX-License-Identifier: LGPL-2.1-or-later
import re

from harness import CommandTest


class Filled(CommandTest):
    def setUp(self):
        super().setUp()
        for path, value in ((b"/a", b"0"), (b"/a/b", b"1"), (b"/a/c/d", b""), (b"/ab", b"\n\xff"),
                            (b"/z", b"9")):
            self.daemon.put(path, value)


class List(Filled):
    def test_cuts_the_path_off(self):
        self.check("list", "/", out=b"a\na/b\na/c/d\nab\nz\n")
        self.check("list", "/a/", out=b"b\nc/d\n")
        self.check("list", "/a", out=b"\n/b\n/c/d\nb\n")

    def test_full(self):
        self.check("list", "-f", "/a/", out=b"/a/b\n/a/c/d\n")
        self.check("list", "/a", "-f", out=b"/a\n/a/b\n/a/c/d\n/ab\n")

    def test_no_match(self):
        self.check("list", "/none")

    def test_exactly_one_path(self):
        for args in (["-f"], ["/a", "/z"], ["/a", "/a", "/a"]):
            with self.subTest(args):
                self.check("list", *args, status=1, err=re.compile(rb"\AFailed to list"))
                self.check("list", "-q", *args, status=1)

    def test_failure(self):
        self.check("list", "/b d", status=1, err=re.compile(rb"\AFailed to list /b d: "))
        self.check("list", "rel", status=1, err=re.compile(rb"\AFailed to list rel: "))

    def test_many(self):
        paths = [b"/many/%04d" % i for i in range(1000)]
        for path in paths:
            self.daemon.put(path)
        self.check("list", "/many/", out=b"".join(p[6:] + b"\n" for p in paths))


class Multiread(Filled):
    def test_cuts_the_path_off(self):
        self.check("multiread", "/a/", out=b"b = 1\nc/d = \n")
        self.check("multiread", "/a", out=b" = 0\n/b = 1\n/c/d = \nb = \\x0a\\xff\n")

    def test_full(self):
        self.check("multiread", "-f", "/a/", out=b"/a/b = 1\n/a/c/d = \n")

    def test_raw(self):
        self.check("multiread", "-r", "/ab", out=b" = \n\xff\n")

    def test_json(self):
        self.check("multiread", "--json", "/a/", out=b'{\n  "b": "1",\n  "c/d": ""\n}\n')
        self.check("multiread", "-f", "--json", "/ab", "/z",
                   out=b'{\n  "/ab": {"hex": "0aff"}\n}\n{\n  "/z": "9"\n}\n')
        self.check("multiread", "--json", "/none", out=b"{\n}\n")
        self.check("multiread", "--json", "/b d", status=1, err=None)

    def test_several(self):
        self.check("multiread", "/z", "/none", "/a/b", out=b" = 9\n = 1\n")

    def test_everything(self):
        self.check("multiread", "-f", "/",
                   out=b"/a = 0\n/a/b = 1\n/a/c/d = \n/ab = \\x0a\\xff\n/z = 9\n")

    def test_no_match(self):
        self.check("multiread", "/none")

    def test_failure(self):
        self.check("multiread", "/b d", "/z", status=1, out=b" = 9\n",
                   err=re.compile(rb"\AFailed to multiread /b d: "))
        self.check("multiread", "rel", status=1, err=None)
