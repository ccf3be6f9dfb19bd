# SPDX-License-Identifier: LGPL-2.1-or-later
import json
import os
import random
import re
import subprocess

from harness import LIST, MULTIREAD, R_LIST, READ_ONLY, REFUSED, RM, WRITE, CommandTest

SAMPLES = {  # value: (as text, as JSON)
    b"": (b"/v =", b'""'),
    b"plain = x": (b"/v = plain = x", b'"plain = x"'),
    b" ": (rb"/v = \x20", b'" "'),
    b"  a  ": (rb"/v = \x20 a \x20", b'"  a  "'),
    b"\\x41": (rb"/v = \\x41", rb'"\\x41"'),
    b"\\": (rb"/v = \\", rb'"\\"'),
    b"a\nb\tc\r": (rb"/v = a\x0ab\x09c\x0d", rb'"a\nb\u0009c\u000d"'),
    b'"': (b'/v = "', rb'"\""'),
    b"# no comment": (b"/v = # no comment", b'"# no comment"'),
    b"\x7f\x01": (b"/v = \x7f\\x01", rb'"\u007f\u0001"'),
    "ü€😀".encode(): (rb"/v = \xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", '"ü€😀"'.encode()),
    b"\xc2\x9b": (rb"/v = \xc2\x9b", rb'"\u009b"'),
    b"\xff": (rb"/v = \xff", b'{"hex": "ff"}'),
    b"a\xc3": (rb"/v = a\xc3", b'{"hex": "61c3"}'),
    b"\xc0\x80": (rb"/v = \xc0\x80", b'{"hex": "c080"}'),
    b"\xed\xa0\x80": (rb"/v = \xed\xa0\x80", b'{"hex": "eda080"}'),
    b"\xf4\x90\x80\x80": (rb"/v = \xf4\x90\x80\x80", b'{"hex": "f4908080"}'),
}


class Dumps(CommandTest):
    def dump(self, *args):
        return subprocess.run(self.program("dump", *args), check=True, capture_output=True,
                              env=self.environment()).stdout


class Dump(Dumps):
    def test_text_and_json(self):
        for value, (text, as_json) in SAMPLES.items():
            with self.subTest(value):
                self.daemon.put(b"/v", value)
                self.check("dump", out=text + b"\n")
                self.check("dump", "--json", out=b'{\n  "/v": ' + as_json + b"\n}\n")

    def test_json_is_what_others_read(self):
        for value in SAMPLES:
            self.daemon.put(b"/v", value)
            got = json.loads(self.dump("--json"))["/v"]
            self.assertEqual(bytes.fromhex(got["hex"]) if isinstance(got, dict) else got.encode(),
                             value)

    def test_ascending_and_under_a_prefix(self):
        self.daemon.fill({b"/b": b"", b"/a/c": b"2", b"/a": b"1", b"/ab": b"3"})
        self.check("dump", out=b"/a = 1\n/a/c = 2\n/ab = 3\n/b =\n")
        self.check("dump", "/a", out=b"/a = 1\n/a/c = 2\n/ab = 3\n")
        self.check("dump", "/a/", out=b"/a/c = 2\n")
        self.check("dump", "/", out=b"/a = 1\n/a/c = 2\n/ab = 3\n/b =\n")
        self.check("dump", "--json", "/a/", out=b'{\n  "/a/c": "2"\n}\n')

    def test_nothing(self):
        self.check("dump")
        self.check("dump", "--json", "/none", out=b"{\n}\n")

    def test_failures(self):
        self.check("dump", "rel", status=1,
                   err=b"Failed to dump rel: the path does not begin with '/'\n")
        with open("/dev/full", "wb") as full:
            process = self.start("dump", "--json", stdout=full)
            self.assertRegex(process.communicate()[1], b"Failed to write output: No space")
            self.assertEqual(process.returncode, 1)

    def test_a_refusal_is_not_an_empty_dump(self):
        tap = self.tap()
        tap.refused.add(R_LIST)
        self.check("dump", "/none/", status=1, runtime_dir=tap.dir,
                   err=b"Failed to dump /none/: " + REFUSED)
        self.assertEqual([kind for kind, _ in tap.requests], [MULTIREAD, LIST])


class RoundTrip(Dumps):
    def check_round_trip(self, entries):
        for args in ([], ["--json"]):
            self.daemon.fill(entries)
            dump = self.dump(*args)
            self.daemon.ask(RM, b"/")
            self.check("restore", feed=dump)
            self.assertEqual(self.daemon.entries(), entries)
            self.assertEqual(self.dump(*args), dump)
            self.daemon.put(b"/not/in/it", b"x")
            self.check("restore", "--exact", *args, feed=dump)
            self.assertEqual(self.daemon.entries(), entries)

    def test_every_byte(self):
        self.check_round_trip({b"/%d" % i: bytes([i]) for i in range(1, 256)})
        self.check_round_trip({b"/all": bytes(range(1, 256)), b"/back": bytes(range(255, 0, -1))})

    def test_samples(self):
        self.check_round_trip({b"/s/%d" % i: value for i, value in enumerate(SAMPLES)})

    def test_random_values(self):
        rng = random.Random(5)
        pieces = [b"\\", b"\\x", b"41", b" ", b"\t", b"\n", b'"', b"{", b"#", b"=", b"u0041",
                  "ü".encode(), "😀".encode(), b"\xf0", b"\x80", b"\x7f"]
        self.check_round_trip({b"/r/%d" % i: b"".join(rng.choices(pieces, k=rng.randrange(9)))
                               for i in range(300)})

    def test_limits(self):
        self.check_round_trip({b"/" + b"p" * 62: b"\xff" * 3071, b"//x": b"\\" * 3071,
                               b"/azAZ09_.:@-": b"\n" * 3071})

    def test_real_namespaces(self):
        data = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data")
        for name in ("namespace-appvm.tsv", "namespace-proxyvm.tsv"):
            entries = {}
            with open(os.path.join(data, name), "rb") as lines:
                for line in lines:
                    path, value = line.rstrip(b"\n").split(b"\t")
                    entries[path] = re.sub(rb"\\x(..)", lambda m: bytes.fromhex(m[1].decode()),
                                           value)
            self.check_round_trip(entries)


class Restore(Dumps):
    def check_restores(self, text, entries, *args):
        self.daemon.ask(RM, b"/")
        self.check("restore", *args, feed=text)
        self.assertEqual(self.daemon.entries(), entries)

    def test_what_people_write(self):
        self.check_restores(b"# a comment\n\n  /a=1\n/b = two words  \n\t/c\t=\t\\x41\\x4a\\x4A\n"
                            b"/d = \xc3\xbc\xff\n/e =\n  # another\n/f = \\\\ = x",
                            {b"/a": b"1", b"/b": b"two words", b"/c": b"AJJ",
                             b"/d": b"\xc3\xbc\xff", b"/e": b"", b"/f": b"\\ = x"})
        self.check_restores(b"", {})

    def test_what_other_programs_write(self):
        self.check_restores(
            br' {"/a":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\u0041",' b"\r\n\t"
            b'"\\u002fb" : { "hex" : "00ff" }, "/c": {"hex":""}}\n '.replace(b"00ff", b"41fF"),
            {b"/a": b'"\\/\b\f\n\r\t' + "é😀A".encode(), b"/b": b"A\xff", b"/c": b""})
        entries = {f"/{i}": text for i, text in enumerate(["ü", "\x7f", "😀\n", ""])}
        for ascii_only in (True, False):
            for indent in (None, 4):
                text = json.dumps(entries, ensure_ascii=ascii_only, indent=indent).encode()
                self.check_restores(text, {k.encode(): v.encode() for k, v in entries.items()})
        self.check_restores(b"{}", {}, "--json")

    def test_from_a_file(self):
        path = os.path.join(self.directory(), "dump")
        with open(path, "wb") as dump:
            dump.write(b"/a = 1\n")
        self.check("restore", path)
        self.assertEqual(self.daemon.get(b"/a"), b"1")
        self.check("restore", "-", feed=b"/a = 2\n")
        self.assertEqual(self.daemon.get(b"/a"), b"2")
        self.check("restore", path + "x", status=1,
                   err=b"Failed to read %sx: No such file or directory\n" % path.encode())
        self.check("restore", os.path.dirname(path), status=1, err=re.compile(b"directory"))
        with open(path, "wb") as dump:
            dump.write(b"\n/a\n")
        self.check("restore", path, status=1,
                   err=b"%s:2: no '=' after the path\n" % path.encode())

    def test_keeps_what_is_not_in_the_dump(self):
        self.daemon.fill({b"/a": b"0", b"/keep": b"1"})
        self.check("restore", feed=b"/a = 2\n")
        self.assertEqual(self.daemon.entries(), {b"/a": b"2", b"/keep": b"1"})

    def test_exact(self):
        before = {b"/a/b": b"0", b"/a/c": b"0", b"/ab": b"0", b"/d": b"0"}
        self.daemon.fill(before)
        self.check("restore", "--exact=/a/", feed=b"/a/c = 1\n/a/e = 2\n")
        self.assertEqual(self.daemon.entries(), {b"/a/c": b"1", b"/a/e": b"2", b"/ab": b"0",
                                                 b"/d": b"0"})
        self.check("restore", "--exact", feed=b"/d = 3\n")
        self.assertEqual(self.daemon.entries(), {b"/d": b"3"})
        self.check("restore", "--exact=/a/", feed=b"/a/x = 1\n/ab = 1\n", status=1, err=re.compile(
            b"^standard input:2: the path does not begin with the prefix"))
        self.assertEqual(self.daemon.entries(), {b"/d": b"3"})

    def test_exact_wants_to_be_sure(self):
        """What is left of a dump that failed must not empty the namespace."""
        self.daemon.fill({b"/a": b"0"})
        for text in (b"", b"\n", b"# nothing\n"):
            self.check("restore", "--exact", feed=text, status=1,
                       err=re.compile(rb"^standard input:\d: no entries"))
        self.assertEqual(self.daemon.entries(), {b"/a": b"0"})
        for text in b"/a = 1", b"/a = 1\n/b = \\x2", b"/a = 1\n# no e":
            self.check("restore", "--exact", feed=text, status=1, err=re.compile(rb":\d+: "))
        self.check("restore", feed=b"/a = 1")
        self.check("read", "/a", out=b"1\n")
        self.check("restore", "--exact", "--json", feed=b'{"/a": "1", "/b": "2"}')
        self.check("restore", "--exact", feed=b"{}")
        self.assertEqual(self.daemon.entries(), {})

    def test_everything_below_a_path_comes_first(self):
        self.daemon.fill({b"/base/old": b"0", b"/base/old/x": b"0"})
        tap = self.tap()
        self.check("restore", "--exact", runtime_dir=tap.dir,
                   feed=b"/base =\n/base-b = 1\n/base/0 = 1\n/base/0/x = 1\n/base/1 = 1\n")
        changes = [request for request in tap.requests if request[0] in (RM, WRITE)]
        self.assertEqual(changes[:2], [(RM, b"/base/old/x"), (RM, b"/base/old")])
        self.assertEqual(changes[2:], [(WRITE, path) for path in (
            b"/base/1", b"/base/0/x", b"/base/0", b"/base-b", b"/base")])

    def test_what_is_the_same_is_written_too(self):
        self.daemon.fill({b"/a": b"0"})
        tap = self.tap()
        self.check("restore", feed=b"/a = 0\n", runtime_dir=tap.dir)
        self.assertEqual(tap.requests, [(WRITE, b"/a")])

    def test_stops_at_the_first_refusal(self):
        tap = self.tap()
        tap.refused.add(b"/b")
        self.check("restore", feed=b"/a = 0\n/b = 1\n/c = 2\n", runtime_dir=tap.dir, status=1,
                   err=re.compile(rb"\AFailed to write /b: " + REFUSED +
                                  rb"Stopped after 0 removed and 1 written entries of the local "))
        self.assertEqual(tap.requests, [(WRITE, b"/c"), (WRITE, b"/b")])
        self.check("restore", feed=b"/a = 0\n", runtime_dir=self.read_only_directory(), status=1,
                   err=re.compile(rb"\AFailed to write /a: " + READ_ONLY))
        self.check("restore", "-q", feed=b"/a = 0\n", runtime_dir=self.read_only_directory(),
                   status=1)

    def check_refused(self, text, line, what, *args):
        """Nothing is even asked for, since the mistake is found before."""
        tap = self.tap()
        with self.subTest(text):
            self.check("restore", *args, feed=text, status=1, runtime_dir=tap.dir, err=re.compile(
                rb"\Astandard input:%d: %s" % (line, re.escape(what))))
            self.check("restore", "-q", *args, feed=text, status=1, runtime_dir=tap.dir)
            self.assertEqual(tap.requests, [])

    def test_faults_of_text(self):
        for text, line, what in (
                (b"/ok = 1\n\n# x\n/b\n", 4, b"no '=' after the path"),
                (b"rel = 1", 1, b"the path does not begin with '/'"),
                (b"= 1", 1, b"the path does not begin with '/'"),
                (b"/d/ = 1", 1, b"the path ends in '/'"),
                (b"/a b = 1", 1, b"the path has a character other than"),
                (b"/" + b"x" * 63 + b" = 1", 1, b"the path is longer than 63 characters"),
                (b"/a\0b = 1", 1, b"the path contains a NUL byte"),
                (b"/a = b\0", 1, b"a control character"),
                (b"/a = \\x00", 1, b"the value contains a NUL byte"),
                (b"/a = 1\r\n", 1, b"a control character"),
                (b"/a = a\tb", 1, b"a control character"),
                (b"/a = \\", 1, b"a backslash that is not part of"),
                (b"/a = \\n", 1, b"a backslash that is not part of"),
                (b"/a = \\x4", 1, b"a backslash that is not part of"),
                (b"/a = \\x4g", 1, b"a backslash that is not part of"),
                (b"/a = " + b"x" * 3072, 1, b"the value is longer than 3071 bytes"),
                (b"/a = 1\n/b = 2\n/a = 1\n", 3, b"the path /a is already in line 1"),
                (b"/a = 1\n/a", 2, b"no '='")):
            self.check_refused(text, line, what)

    def test_faults_of_json(self):
        for text, line, what in (
                (b"{", 1, b"expected a path"),
                (b'{\n"/a": "1",\n}', 3, b"expected a path"),
                (b'{"/a" "1"}', 1, b"expected ':'"),
                (b'{"/a": 1}', 1, b"expected a string or {\"hex\""),
                (b'{"/a": {"hax": "00"}}', 1, b"expected a string or {\"hex\""),
                (b'{"/a": {}}', 1, b"expected a string or {\"hex\""),
                (b'{"/a": {"hex": "41", "x": "y"}}', 1, b"expected a string or {\"hex\""),
                (b'{"/a": {"hex": "4"}}', 1, b"an odd number"),
                (b'{"/a": {"hex": "4g"}}', 1, b"not a hexadecimal digit"),
                (b'{"/a": {"hex": "4100"}}', 1, b"the value contains a NUL byte"),
                (b'{"/a": "\\u0000"}', 1, b"the value contains a NUL byte"),
                (b'{"/a\\u0000": ""}', 1, b"the path contains a NUL byte"),
                (b'{"/a": "\0"}', 1, b"a control character"),
                (b'{"/a": "x\n"}', 1, b"a control character, or a missing"),
                (b'{"/a": "x', 1, b"the text ends inside a string"),
                (b'{"/a": "\\', 1, b""),
                (b'{"/a": "\\u00', 1, b"\\u without four"),
                (b'{"/a": "\\q"}', 1, b"an escape that JSON does not have"),
                (b'{"/a": "\\u12g4"}', 1, b"\\u without four"),
                (b'{"/a": "\\ud83d"}', 1, b"half of a surrogate pair"),
                (b'{"/a": "\\ude00\\ud83d"}', 1, b"half of a surrogate pair"),
                (b'{"/a": "\\ud83d\\u0041"}', 1, b"half of a surrogate pair"),
                (b'{"/a": "\xff"}', 1, b"a byte that is not UTF-8"),
                (b'{"/a": "1" "/b"', 1, b"expected ',' or '}'"),
                (b'{"/a": "1"}\n{}', 2, b"something follows"),
                (b'{"/a": "1"}\0', 1, b"something follows"),
                (b'{"rel": "1"}', 1, b"the path does not begin"),
                (b'{"/a": "' + b"x" * 3072 + b'"}', 1, b"the value is longer than 3071"),
                (b'{"/a": "1",\n\n"/a": "2"}', 3, b"the path /a is already in line 1")):
            self.check_refused(text, line, what)
        self.check_refused(b"/a = 1\n", 1, b"expected '{'", "--json")
        self.check_refused(b"", 1, b"expected '{'", "--json")

    def test_a_source_without_end(self):
        with open("/dev/zero", "rb") as zero:
            self.check("restore", status=1, stdin=zero,
                       err=b"Failed to read standard input: File too large\n")
