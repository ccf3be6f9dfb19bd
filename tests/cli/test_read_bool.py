# SPDX-License-Identifier: LGPL-2.1-or-later
import re

from harness import CommandTest


class ReadBool(CommandTest):
    def test_present(self):
        self.daemon.put(b"/yes", b"1")
        self.daemon.put(b"/zero", b"0")
        self.daemon.put(b"/no", b"")
        for more in ([], ["7"]):
            self.check("read-bool", "/yes", *more, status=0)
            self.check("read-bool", "/zero", *more, status=0)
            self.check("read-bool", "/no", *more, status=1)

    def test_absent(self):
        self.check("read-bool", "/none", status=2)
        for default in (0, 1, 3, 255):
            self.check("read-bool", "/none", str(default), status=default)

    def test_wrong_arguments(self):
        for args in ([], ["/a", "1", "2"], ["/a", ""], ["/a", "x"], ["/a", "-1"], ["/a", "256"],
                     ["/a", "1x"]):
            with self.subTest(args):
                self.check("read-bool", *args, status=3, err=re.compile(rb"^Usage: ", re.M))
        self.check("read-bool", "/a", "x", status=3, err=re.compile(
            rb"\Aqubesdb-read-bool: not an exit status, 0 to 255: x\nUsage: "))

    def test_help(self):
        usage = (b"Usage: qubesdb-read-bool [--] KEY [DEFAULT]\n"
                 b"       qubesdb-read-bool --help\n")
        self.check("read-bool", "-h", status=0, err=usage, runtime_dir=self.directory())
        self.check("read-bool", "--help", status=0, out=usage, runtime_dir=self.directory())
        with open("/dev/full", "wb") as full:
            self.check("read-bool", "--help", status=3, out=None, stdout=full,
                       err=re.compile(rb"\AFailed to write output"))

    def test_end_of_options(self):
        self.daemon.put(b"/no")
        self.check("read-bool", "--", "/no", status=1)
        self.check("read-bool", "--", "/none", "7", status=7)
        self.check("read-bool", "--", "-h", status=3, err=re.compile(rb"\AFailed to read -h: "))
        self.check("read-bool", "--", status=3, err=re.compile(rb"\AUsage: "))

    def test_errors(self):
        self.check("read-bool", "/b d", status=3, err=re.compile(rb"\AFailed to read /b d: "))
        self.check("read-bool", "rel", "0", status=3, err=re.compile(rb"\AFailed to read rel: "))
        nowhere = self.directory()
        self.check("read-bool", "/a", "0", status=3, runtime_dir=nowhere,
                   err=self.no_connection(nowhere))
