#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The five minutes of README. Its first commands build, which has been done here; tests/docs/newcomer
does it all in a tree of its own.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.join(HERE, "..", "integration"))

from harness import CLIENT, Case, run  # pylint: disable=wrong-import-position
from transcript import Transcript, steps  # pylint: disable=wrong-import-position

SOURCE = os.path.join(HERE, "..", "..")
BUILD = os.environ.get("QUBESDB_BUILD", os.path.dirname(CLIENT))


def tour():
    """The indented lines of the section."""
    with open(os.path.join(SOURCE, "README"), encoding="utf-8") as f:
        section = f.read().split("\nFive minutes by hand\n")[1].split("\n\n")[0]
    return [line[4:] for line in section.splitlines() if line.startswith("    ")]


def follow(transcript, commands):
    try:
        for _, command, expected in commands:
            transcript.run(command, expected)
    finally:
        transcript.close()


class Readme(Case):
    def test_five_minutes(self):
        deps, build, *rest = steps(tour())
        self.assertIn("autoreconf", deps[1])
        self.assertIn("configure", build[1])
        self.assertGreater(len(rest), 10)
        follow(Transcript([], directory=BUILD), rest)
        self.assertTrue(any("qubesdb-daemon" in command for _, command, _ in rest))

    def test_tests_that_are_named_are_there(self):
        with open(os.path.join(SOURCE, "README"), encoding="utf-8") as f:
            words = f.read().replace(",", " ").replace(";", " ").split()
        named = [w for w in words if w.startswith(("tests/", "man/", "scripts/", "lib/"))]
        self.assertTrue(named)
        for name in named:
            self.assertTrue(os.path.exists(os.path.join(SOURCE, name)), name)

    def test_contributing_names_every_folder(self):
        with open(os.path.join(SOURCE, "CONTRIBUTING"), encoding="utf-8") as f:
            words = f.read().replace(",", " ").split()
        folders = [os.path.relpath(folder, SOURCE) for folder, _, files in os.walk(SOURCE)
                   if "Makefile.inc" in files]
        self.assertIn("tests/docs", folders)
        for folder in folders:
            if not folder.startswith("build") and folder != "tests":
                self.assertIn(folder + "/", words)


if __name__ == "__main__":
    run()
