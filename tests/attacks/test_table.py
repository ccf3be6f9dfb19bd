#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table in README: nothing is missing, and each row names tests that exist."""
import os
import re
import unittest

from common import HERE, TREE, run

ADVISORIES = (38, 72, 86, 115, 206, 233, 323, 324, 325, 326, 330, 349, 353, 354, 414, 415, 416, 418,
              419, 420, 421, 425)
FAULTS = (
    "257th client", "half header from a read-only client", "header with an absurd length",
    "unread MULTIREAD", "one byte from the VM", "garbage from the VM", "connect-and-close", "SIGPIPE",
    "EMFILE", "stack bytes in the padding", "EINTR returning the previous key's value",
    "resent header without data", "unread events without bound", "100,000 watches",
    "quadratic backlog", "signed-length overflow near 2 GiB", "second daemon stealing the socket",
    'RM ""')
ROW = re.compile(r"^(\S.*)\n  was    (.+(?:\n         .+)*)\n  here   (.+(?:\n         .+)*)"
                 r"\n  tests  (.+(?:\n         .+)*)$", re.M)
# How a test is defined, by the kind of its file.
DEFINITION = {".py": r"def {}\(", ".c": r"START_TEST\({}\)", ".sh": r"^{}\(\)"}


def rows():
    with open(os.path.join(HERE, "README"), encoding="utf-8") as f:
        return {name: tests.split() for name, _, _, tests in ROW.findall(f.read())}


class Table(unittest.TestCase):
    def test_nothing_is_missing(self):
        expected = [f"XSA-{n}" for n in ADVISORIES] + list(FAULTS)
        self.assertEqual(list(rows()), expected)

    def test_tests_exist(self):
        for name, tests in rows().items():
            for test in tests:
                with self.subTest(row=name, test=test):
                    path, _, function = test.partition(":")
                    with open(os.path.join(TREE, path), encoding="utf-8") as f:
                        definition = DEFINITION[os.path.splitext(path)[1]].format(function)
                        self.assertTrue(re.search(definition, f.read(), re.M), "no such test")

    def test_they_are_run(self):
        """Each file is in a list of what is tested; scenarios are in that of scripts/check."""
        lists = ""
        for directory, _, names in os.walk(os.path.join(TREE, "tests")):
            for name in names:
                if name.endswith((".inc", ".am")):
                    with open(os.path.join(directory, name), encoding="utf-8") as f:
                        lists += f.read()
        with open(os.path.join(TREE, "scripts/check"), encoding="utf-8") as f:
            check = f.read()
        for test in sorted({t for tests in rows().values() for t in tests}):
            with self.subTest(test):
                path, _, function = test.partition(":")
                if path.endswith(".sh"):
                    self.assertRegex(check, rf"\b{function.removeprefix('scenario_')}\b")
                else:
                    self.assertIn(path, lists)


if __name__ == "__main__":
    run()
