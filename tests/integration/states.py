# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A daemon in dom0 with a state file, and what may be found when it starts: either all that was
acknowledged, or nothing, with a word in the log and the file kept under another name.
"""
import os
import re
import shutil

from harness import Case
from qdb import OK, R_MULTIREAD, WRITE, pack

ENTRIES = {f"/e/{i:02}": b"%d " % i * (i + 1) for i in range(24)}
SUFFIXES = ("", "-tail", "-wal", "-shm", "-journal")


class StateCase(Case):
    def setUp(self):
        super().setUp()
        self.run_dir = self.home / "dom0"
        os.mkdir(self.run_dir)
        self.state = os.path.join(self.run_dir, "qubesdb.work.state")

    def fill(self, daemon, entries=None):
        """Changes of all kinds, each a commit of its own; returns what there is then."""
        entries = ENTRIES if entries is None else entries
        with daemon.connect() as c:
            c.write("/e/removed", "r")
            c.write("/d/1", "1")
            c.write("/d/2", "2")
            for path, value in entries.items():
                c.write(path, b"old")
                c.write(path, value)
            c.rm("/e/removed")
            c.rm("/d/")
            return c.snapshot()

    def make(self, **options):
        """A file as a daemon leaves it that was killed; returns what is in it."""
        daemon = self.dom0(**options)
        entries = self.fill(daemon)
        daemon.kill()
        return entries

    def entries(self, daemon):
        with daemon.connect() as c:
            return c.snapshot()

    def generation(self, daemon):
        """What it announces to a VM; also tells that there is a link."""
        fake = self.fake_vm()
        fake.hello("@qdb:1:00000000000000aa:fresh")
        message = fake.recv()
        while message.type == OK and not message.path.startswith(b"@qdb:1:"):
            message = fake.recv()
        hello = message.path
        while not (message.type == R_MULTIREAD and not message.path):
            message = fake.recv()
        fake.close()
        return hello.split(b":")[2]

    def files(self):
        """What is left of states, by name; what is no ordinary file by its type."""
        found = {}
        for name in sorted(os.listdir(self.run_dir)):
            path = os.path.join(self.run_dir, name)
            if ".state" not in name:
                continue
            if os.path.islink(path) or not os.path.isfile(path):
                found[name] = os.lstat(path).st_mode
            else:
                with open(path, "rb") as f:
                    found[name] = f.read()
        return found

    def aside(self):
        """The names of what was set aside, without that of the state."""
        name = os.path.basename(self.state)
        return [n.removeprefix(name) for n in self.files() if n.startswith(name + ".aside")]

    def save(self, to="saved"):
        """A copy of the file and what is beside it."""
        for suffix in SUFFIXES:
            if os.path.exists(self.state + suffix):
                shutil.copy2(self.state + suffix, self.home / (to + suffix))

    def restore(self, saved="saved"):
        self.clear()
        for suffix in SUFFIXES:
            if os.path.exists(self.home / (saved + suffix)):
                shutil.copy2(self.home / (saved + suffix), self.state + suffix)

    def clear(self):
        for name in os.listdir(self.run_dir):
            path = os.path.join(self.run_dir, name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)

    def check_works(self, daemon):
        """It serves, and what it acknowledges is there after a crash."""
        with daemon.connect() as c:
            c.write("/works", "1")
            before = c.snapshot()
        daemon.kill()
        after = self.dom0()
        self.assert_same(self.entries(after), before)
        after.stop()

    def check_set_aside(self, why, old=None, suffix=".aside", **options):
        """
        A daemon starts with nothing, says `why`, has kept the file as it was, and works.
        `old` is a generation that must not be used again.
        """
        before = self.files()
        daemon = self.dom0(**options)
        self.assertEqual(self.entries(daemon), {})
        self.assertRegex(daemon.output(), rf"the state \S+ {why}: it is moved to \S+{re.escape(suffix)}\n")
        after = self.files()
        name = os.path.basename(self.state)
        for end in "", "-tail", "-wal":
            if name + end in before:
                self.assertEqual(after.get(name + suffix + end), before[name + end], end)
        if old:
            self.assertNotEqual(self.generation(daemon), old)
        self.check_works(daemon)


def writes(entries):
    return b"".join(pack(WRITE, path, value) for path, value in entries.items())
