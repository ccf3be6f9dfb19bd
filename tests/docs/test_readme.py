#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The five minutes of README. Its first commands build, which has been done here; tests/docs/newcomer
does it all in a tree of its own.
"""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.join(HERE, "..", "integration"))

from harness import CLIENT, Case, run  # pylint: disable=wrong-import-position
from transcript import PATIENCE, Transcript, steps  # pylint: disable=wrong-import-position

SOURCE = os.path.join(HERE, "..", "..")
BUILD = os.environ.get("QUBESDB_BUILD", os.path.dirname(CLIENT))


def tour():
    """The indented lines of the section."""
    with open(os.path.join(SOURCE, "README"), encoding="utf-8") as f:
        section = f.read().split("\nFive minutes by hand\n")[1].split("\n\n")[0]
    return [line[4:] for line in section.splitlines() if line.startswith("    ")]


def type_in(commands, directory):
    """Line by line, each when the one before has printed all that it should."""
    transcript = Transcript([], directory=directory, typed=True)
    try:
        for _, command, expected in commands:
            transcript.run(command, expected)
    finally:
        transcript.close()


def paste(commands, directory):
    """All at once, as a script that goes on as fast as it can."""
    script = "".join(command + "\n" for _, command, _ in commands)
    done = subprocess.run(["bash", "--norc"], input=script, cwd=directory, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False)
    expected = "".join(r"(.*\n)*" if line == "..." else re.escape(line) + "\n"
                       for _, _, lines in commands for line in lines)
    if done.returncode != 0 or not re.fullmatch(expected, done.stdout):
        raise AssertionError(f"status {done.returncode}, prints:\n{done.stdout}")


class Readme(Case):
    def test_five_minutes(self):
        deps, build, *rest = steps(tour())
        self.assertIn("autoreconf", deps[1])
        self.assertIn("configure", build[1])
        self.assertGreater(len(rest), 10)
        self.assertTrue(any("qubesdb-daemon" in command for _, command, _ in rest))
        type_in(rest, BUILD)
        paste(rest, BUILD)

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
