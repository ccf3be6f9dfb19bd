# SPDX-License-Identifier: LGPL-2.1-or-later
"""What looks at a namespace and changes nothing: ls, count, exists, list --json."""
import json
import os
import re

from harness import R_LIST, REFUSED, CommandTest


class Filled(CommandTest):
    def setUp(self):
        super().setUp()
        self.daemon.fill({b"/a": b"0", b"/a-b": b"1", b"/a/b": b"2", b"/a/c/d": b"", b"/a.b": b"3",
                          b"//odd": b"4", b"/z/y/x": b"5"})


class Ls(Filled):
    def test_tree(self):
        self.check("ls", out=b'/\n odd = "4"\na = "0"\n b = "2"\n c\n  d = ""\na-b = "1"\n'
                             b'a.b = "3"\nz\n y\n  x = "5"\n')
        self.check("ls", "/", out=self.start("ls").communicate()[0])

    def test_one_node(self):
        self.check("ls", "/a", out=b'/a = "0"\n b = "2"\n c\n  d = ""\n')
        self.check("ls", "/a/", out=b'b = "2"\nc\n d = ""\n')
        self.check("ls", "/a/c", out=b'd = ""\n')
        self.check("ls", "/a/b", out=b'/a/b = "2"\n')
        self.check("ls", "/z", out=b'y\n x = "5"\n')
        self.check("ls", "//", out=b'odd = "4"\n')

    def test_full_paths(self):
        self.check("ls", "-f", "/a", out=b'/a = "0"\n/a/b = "2"\n/a/c/d = ""\n')

    def test_values_are_escaped(self):
        self.daemon.fill({b"/v": b'a"\\\n\x1b[31m\xff '})
        self.check("ls", out=b'v = "a\\"\\\\\\x0a\\x1b[31m\\xff "\n')

    def test_json(self):
        self.check("ls", "--json", "/a", out=b'{\n  "/a": "0",\n  "/a/b": "2",\n  "/a/c/d": ""\n}\n')

    def test_nothing_there(self):
        for path in ("/none", "/a/none", "/none/", "/a/b/", "/z/y/xx"):
            self.check("ls", path, status=2, err=b"Failed to ls %s: there is nothing at or below it\n"
                       % path.encode())
        self.check("ls", "-q", "/none", status=2)
        self.daemon.fill({})
        self.check("ls")
        self.check("ls", "/")
        self.check("ls", "--json", out=b"{\n}\n")

    def test_failures(self):
        self.check("ls", "rel", status=1,
                   err=b"Failed to ls rel: the path does not begin with '/'\n")
        with open("/dev/full", "wb") as full:
            process = self.start("ls", stdout=full)
            self.assertRegex(process.communicate()[1], b"Failed to write output")
            self.assertEqual(process.returncode, 1)

    def on_terminal(self, *args, **env):
        """What a command prints on a terminal, whose driver makes \\r\\n of each \\n."""
        master, slave = os.openpty()
        process = self.start(*args, stdout=slave, env={"TERM": "xterm", "NO_COLOR": "", **env})
        os.close(slave)
        got = b""
        with open(master, "rb", buffering=0) as terminal:
            try:
                while piece := terminal.read(4096):
                    got += piece
            except OSError:  # EIO: the other side is closed
                pass
        self.assertEqual(process.wait(), 0)
        return got.replace(b"\r\n", b"\n")

    def test_colours_on_a_terminal_only(self):
        plain = b'/a/b = "2"\n'
        self.assertEqual(self.on_terminal("ls", "/a/b"),
                         b'\x1b[1;34m/a/b\x1b[0m = \x1b[32m"2"\x1b[0m\n')
        self.assertEqual(self.on_terminal("ls", "/a/b", NO_COLOR="1"), plain)
        self.assertEqual(self.on_terminal("ls", "/a/b", TERM="dumb"), plain)
        self.check("ls", "/a/b", out=plain, env={"TERM": "xterm", "NO_COLOR": ""})
        for args in (["read", "/a"], ["list", "/"], ["multiread", "/"], ["dump"], ["count"],
                     ["ls", "--json"]):
            self.assertNotIn(b"\x1b", self.on_terminal(*args))


class List(Filled):
    def test_json(self):
        self.check("list", "--json", "/a/", out=b'[\n  "b",\n  "c/d"\n]\n')
        self.check("list", "-f", "/a/", "--json", out=b'[\n  "/a/b",\n  "/a/c/d"\n]\n')
        self.check("list", "--json", "/none", out=b"[\n]\n")
        self.assertEqual(len(json.loads(self.start("list", "--json", "/").communicate()[0])), 7)


class Count(Filled):
    def test_count(self):
        self.check("count", out=b"7\n")
        self.check("count", "/a", out=b"5\n")
        self.check("count", "/a/", out=b"2\n")
        self.check("count", "/none", out=b"0\n")

    def test_failures(self):
        self.check("count", "rel", status=1,
                   err=b"Failed to count rel: the path does not begin with '/'\n")
        tap = self.tap()
        tap.refused.add(R_LIST)
        self.check("count", status=1, runtime_dir=tap.dir,
                   err=b"Failed to count /: " + REFUSED)


class Exists(Filled):
    def test_entries(self):
        self.check("exists", "/a")
        self.check("exists", "/a/c/d")
        self.check("exists", "/a", "/a/b")
        self.check("exists", "/none", status=2)
        self.check("exists", "/a", "/none", "/a/b", status=2)
        self.check("exists", "/a/c", status=2)

    def test_directories(self):
        self.check("exists", "/a/c/")
        self.check("exists", "/")
        self.check("exists", "/a/b/", status=2)
        self.check("exists", "/a/", "/none/", status=2)

    def test_failures(self):
        for path in ("rel", "/b d", "/b d/", ""):
            self.check("exists", "/a", path, "/none", status=1,
                       err=re.compile(rb"\AFailed to look for %s: the path " % path.encode()))
        self.check("exists", "-q", "rel", status=1)

    def test_a_missing_argument_is_no_success(self):
        self.check("exists", status=1, err=re.compile(rb"too few arguments\nUsage: qubesdb-exists"))
        self.check("exists", "-q", status=1, err=None)
