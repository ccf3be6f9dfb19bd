#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Nothing that comes from outside can end the process: there is no assertion and no exit to be
reached, neither in the sources nor, through a macro, in the objects made from them.
"""
import glob
import os
import re
import shutil
import subprocess
import unittest

from common import TREE, run
from harness import DAEMON

FOLDERS = "protocol", "lib", "daemon/core", "daemon", "daemon/vchan"
# What is meant, and nobody outside reaches: who starts a daemon passes on a signal, who makes its
# filter is done, a thread has done nothing; and what the sandbox does about an intruder.
MEANT = {
    "daemon/sandbox": {"_exit"},
    "daemon/sandbox_filter": {"_exit"},
    "daemon/startup": {"kill"},
    "vchan/xen_sandbox": {"pthread_exit"},
}
FATAL = ("abort", "exit", "_exit", "_Exit", "quick_exit", "raise", "kill", "__assert_fail",
         "__assert", "err", "errx", "verr", "verrx", "__builtin_trap", "__builtin_unreachable",
         "assert", "error", "pthread_exit")
CALL = re.compile(rf"(?<![\w.>])({'|'.join(FATAL)})\s*\(")
WORDS = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\"", re.S)  # comments and strings


def calls(text):
    return CALL.findall(WORDS.sub("", text))


def meant(name):
    """`name` is that of a source, or of an object made from it for a library."""
    folder, base = os.path.split(name.replace("/.libs/", "/"))
    base = base.partition("_la-")[2] or base
    return MEANT.get(os.path.join(os.path.basename(folder), base).partition(".")[0], set())


def objects(folder):
    """Those of the build that the daemon under test is of, if it is still there."""
    build = os.path.dirname(os.path.dirname(os.path.abspath(DAEMON)))
    names = [n for kind in ("*.o", ".libs/*.o") for n in glob.glob(os.path.join(build, folder, kind))]
    return sorted(names)


class NoWayOut(unittest.TestCase):
    def test_the_search_finds_what_it_looks_for(self):
        self.assertEqual(calls("if (x)\n\tabort();"), ["abort"])
        self.assertEqual(calls("assert(x == y);"), ["assert"])
        self.assertEqual(calls("/* assert(x) */ _Static_assert(1, \"exit()\"); s->exit(1);"), [])

    def test_sources(self):
        seen = 0
        for folder in FOLDERS:
            for name in glob.glob(os.path.join(TREE, folder, "*.[ch]")):
                with self.subTest(name), open(name, encoding="utf-8") as f:
                    self.assertEqual(set(calls(f.read())) - meant(name), set())
                seen += 1
        self.assertGreater(seen, 90)

    def test_objects(self):
        nm = shutil.which("nm")
        found = {folder: objects(folder) for folder in FOLDERS}
        if not nm or not all(found.values()):
            self.skipTest("no objects to look at")
        for names in found.values():
            for name in names:
                with self.subTest(name):
                    done = subprocess.run([nm, "-u", name], capture_output=True, text=True, check=True)
                    used = {line.split()[-1].partition("@")[0] for line in done.stdout.splitlines()}
                    self.assertEqual(used & set(FATAL) - meant(name), set())


if __name__ == "__main__":
    run()
