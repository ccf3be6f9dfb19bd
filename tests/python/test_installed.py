#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""An installed package, for make installcheck: QUBESDB_PYTHON names the directory it is in."""
import os
import subprocess
import sys
import unittest

from support import BUILD, CORE, INSTALLED, qubesdb
from test_module import *  # noqa: F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from test_module import run


class Installed(unittest.TestCase):
    def test_where_it_comes_from(self):
        self.assertEqual(os.path.dirname(os.path.dirname(qubesdb.__file__)), INSTALLED)

    def test_files(self):
        self.assertEqual(sorted(os.listdir(os.path.dirname(CORE))),
                         ["__init__.py", "_qubesdb.abi3.so", "_qubesdb.pyi", "events.py",
                          "py.typed"])

    def test_library(self):
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as f:
            loaded = {line.split()[-1] for line in f if "qubesdb" in line.split()[-1]}
        self.assertEqual(len(loaded), 2, loaded)
        self.assertFalse([path for path in loaded if path.startswith(BUILD + "/lib/.libs/")], loaded)

    def test_nothing_else_is_needed(self):
        done = subprocess.run([sys.executable, "-c", "import qubesdb; print(qubesdb.__file__)"],
                              check=False, capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": INSTALLED})
        self.assertEqual(done.stdout.strip(), qubesdb.__file__, done.stderr)


if __name__ == "__main__":
    run()
