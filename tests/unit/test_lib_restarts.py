#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Real daemons replace each other a hundred times, and programs that use the library do not notice:
qubesdb-read in a tight loop, each time from the start, and one with a watch all the time.
"""
import os
import select
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
from harness import CLIENT, Case, run  # noqa: E402

HANDOVERS = 100


class Readers(threading.Thread):
    """qubesdb-read again and again."""

    def __init__(self, env):
        super().__init__()
        self.env, self.count, self.failures, self.is_ending = env, 0, [], False

    def run(self):
        while not self.is_ending:
            result = subprocess.run(
                [os.path.join(CLIENT, "qubesdb-read"), "-d", "dom0", "/entry"],
                env=self.env, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            self.count += 1
            if result.returncode != 0 or result.stdout != b"value\n":
                self.failures.append(result)


class Handover(Case):
    def setUp(self):
        super().setUp()
        self.current = self.dom0(domid=0, name="dom0")
        self.connect(self.current).write("/entry", "value")
        self.env = {**os.environ, "QUBESDB_RUNTIME_DIR": self.current.run}
        self.readers = Readers(self.env)

    def watch(self):
        """A daemon's first event would tell only that this client had its watch already."""
        watch = subprocess.Popen(
            [os.path.join(CLIENT, "../tests/unit/watcher"), "dom0", "/d/"],
            env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.addCleanup(watch.communicate)
        self.addCleanup(watch.terminate)
        with self.current.connect() as connection:
            while not select.select([watch.stdout], [], [], 0.05)[0]:
                connection.write("/d/first", "")
        return watch

    def wait_for(self, watch, line):
        while (got := watch.stdout.readline()) != line:
            self.assertIn(got, (b"/d/\n", b"/d/first\n"))

    def replace(self):
        """The next one ends the one before, or it is ended now."""
        following = self.dom0(domid=0, name="dom0")
        if self.current.is_running():
            self.current.popen.terminate()
        self.assertEqual(self.current.wait(), 0)
        self.current.release()
        self.current = following

    def test_nobody_notices(self):
        watch = self.watch()
        self.readers.start()
        try:
            for _ in range(HANDOVERS):
                before = self.readers.count
                self.replace()
                self.wait_for(watch, b"/d/\n")
                while self.readers.count < before + 2 and not self.readers.failures:
                    os.sched_yield()
        finally:
            self.readers.is_ending = True
            self.readers.join()
        self.assertEqual(self.readers.failures, [])
        self.connect(self.current).write("/d/last", "")
        self.wait_for(watch, b"/d/last\n")
        self.assertIsNone(watch.poll())

    def test_the_last_one(self):
        """There is no next daemon, and that is said."""
        watch = self.watch()
        self.current.stop()
        self.assertEqual(watch.wait(), 0)


if __name__ == "__main__":
    run()
