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

    def test_errors(self):
        self.check("read-bool", "/b d", status=3, err=re.compile(rb"\AFailed to read /b d: "))
        self.check("read-bool", "rel", "0", status=3, err=re.compile(rb"\AFailed to read rel: "))
        nowhere = self.directory()
        self.check("read-bool", "/a", "0", status=3, runtime_dir=nowhere,
                   err=self.no_connection(nowhere))
