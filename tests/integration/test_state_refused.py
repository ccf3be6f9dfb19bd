#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
State files that a daemon must not use: of another VM, of a newer format, damaged, or no files of
its own at all.
"""
import os
import re
import shutil
import socket
import sqlite3
import struct
import unittest

from harness import run
from states import StateCase

ROOT = os.geteuid() == 0
NOBODY = 65534


class Refused(StateCase):
    """Each is named in the log and kept under another name; the daemon starts with nothing."""

    def test_another_name(self):
        self.make(options=[f"--state={self.state}"], name="other")
        self.check_set_aside("is of another domain")

    def test_another_domid(self):
        self.make(domid=6)
        self.check_set_aside("is of another domain")

    def boot_again(self):
        """What the file has is of another run of the machine."""
        with sqlite3.connect(self.state) as db:
            db.execute("UPDATE owner SET boot = '4a1c'")
        db.close()

    def test_another_boot(self):
        """Numbers of domains are used again then."""
        self.make()
        self.boot_again()
        self.check_set_aside("is of another domain")

    def test_another_boot_of_dom0(self):
        daemon = self.dom0(domid=0)
        entries = self.fill(daemon)
        daemon.kill()
        self.boot_again()
        self.assert_same(self.entries(self.dom0(domid=0)), entries)

    def test_another_boot_that_it_is_to_survive(self):
        entries = self.make(options=["--state-sync=disk"])
        self.boot_again()
        daemon = self.dom0(options=["--state-sync=disk"])
        self.assert_same(self.entries(daemon), entries)

    def test_newer_format(self):
        self.make()
        with sqlite3.connect(self.state) as db:
            db.execute("PRAGMA user_version = 1000")
        db.close()
        self.check_set_aside("is of a newer version of this program")

    def test_not_a_database(self):
        with open(self.state, "wb") as f:
            f.write(b"Qubes " * 3000)
        self.check_set_aside("is damaged")

    def test_another_database(self):
        db = sqlite3.connect(self.state)
        db.execute("CREATE TABLE owner (name TEXT, domid INTEGER, generation INTEGER)")
        db.commit()
        db.close()
        self.check_set_aside("is damaged")

    def test_empty(self):
        open(self.state, "wb").close()
        self.check_set_aside("is damaged")

    def test_emptied(self):
        """Its log is kept as well, although sqlite would remove it."""
        self.make()
        os.truncate(self.state, 0)
        self.check_set_aside("is damaged")

    def test_marked_as_out_of_date(self):
        """By a daemon that could not write to it any more."""
        self.make()
        os.chmod(self.state, 0o1600)
        self.check_set_aside("is out of date")

    def test_two_in_a_row(self):
        """The second one does not replace the first."""
        for i in range(3):
            with open(self.state, "wb") as f:
                f.write(b"%d" % i * 5000)
            self.check_set_aside("is damaged", suffix=f".aside.{i}" if i else ".aside")
            os.unlink(self.state)
        self.assertEqual(self.aside(), [".aside", ".aside.1", ".aside.2"])

    def test_many_in_a_row(self):
        """However many there have been, what is kept is bounded."""
        for i in range(20):
            with open(self.state, "wb") as f:
                f.write(b"%d" % i * 5000)
            self.dom0().stop()
        self.assertLessEqual(len(self.aside()), 16)

    def test_generation_is_new(self):
        daemon = self.dom0()
        old = self.generation(daemon)
        daemon.kill()
        again = self.dom0()
        self.assertEqual(self.generation(again), old)
        again.kill()
        os.truncate(self.state, 5000)
        os.truncate(self.state + "-tail", 40)
        self.check_set_aside("is damaged", old)


class WithoutItsTail(StateCase):
    """What is left looks like a state: that of some time ago."""

    def check(self, change):
        self.make()
        change(self.state + "-tail")
        self.check_set_aside("is damaged")

    def test_missing(self):
        self.check(os.unlink)

    def test_second_one_missing(self):
        """After so many commits that the first one is in the database."""
        daemon = self.dom0()
        for _ in range(100):
            self.fill(daemon)
        daemon.kill()
        os.unlink(self.state + "-tail")
        self.check_set_aside("is damaged")

    def test_empty(self):
        self.check(lambda tail: os.truncate(tail, 0))

    def test_cut(self):
        for size in 1, 16, 32, 500, 4096, 8192, 65535:
            with self.subTest(size):
                self.clear()
                self.check(lambda tail, size=size: os.truncate(tail, size))

    def test_zeros(self):
        def wipe(tail):
            size = os.path.getsize(tail)
            os.truncate(tail, 0)
            os.truncate(tail, size)
        self.check(wipe)

    def test_vm_brings_all_back(self):
        """Instead of losing what dom0 has lost, or getting back what it has removed."""
        dom0, vm = self.pair()
        with dom0.connect() as a, vm.connect() as b:
            for i in range(20):
                a.write(f"/e/{i}", "old")
            a.rm("/e/3")
            a.write("/e/4", "new")
            self.sync(a, b)
            self.sync(b, a)
            before = a.snapshot()
        dom0.kill()
        os.truncate(self.state + "-tail", 400)
        dom0 = self.dom0()
        self.assertIn("is damaged: it is moved to", dom0.output())
        with dom0.connect() as a, vm.connect() as b:
            self.sync(b, a)
            self.assert_same(a.snapshot(), before)
        self.assert_equal_ends(dom0, vm)

    def test_after_the_end(self):
        """Nothing is missed then."""
        daemon = self.dom0()
        entries = self.fill(daemon)
        daemon.stop()
        self.assertEqual(list(self.files()), [os.path.basename(self.state)])
        self.assert_same(self.entries(self.dom0()), entries)

    def test_of_another_time(self):
        """The file was put back from a copy, and the tail is that of what came after."""
        self.make()
        self.save()
        daemon = self.dom0()
        with daemon.connect() as c:
            for i in range(2000):
                c.write("/later", b"%d" % i * 100)
        daemon.kill()
        for suffix in "", "-wal":
            shutil.copy2(self.home / ("saved" + suffix), self.state + suffix)
        self.check_set_aside("is damaged")


class Damaged(StateCase):
    """
    All that was acknowledged or, said in the log, nothing. A changed byte in the last commit
    may cost that. (Every offset: tests/unit/test_statefile.c.)
    """

    def setUp(self):
        super().setUp()
        whole = self.make()
        directory = {**whole, "/d/1": b"1", "/d/2": b"2"}  # the last one: rm /d/
        self.allowed = [whole, directory]
        self.save()

    def check(self, suffix, change):
        self.restore()
        with open(self.state + suffix, "r+b") as f:
            change(f)
        before = self.files()
        daemon = self.dom0()
        entries = self.entries(daemon)
        daemon.kill()
        refused = re.search("is (damaged|of another domain): it is moved to ", daemon.output())
        if refused:
            self.assertEqual(entries, {})
            for name, content in before.items():
                kept = name.replace(".state", ".state.aside")
                self.assertEqual(self.files().get(kept), content, name)
        else:
            allowed = self.allowed if suffix == "-tail" else self.allowed[:1]
            self.assertTrue(entries in allowed, (len(entries), daemon.output()))
        return refused

    def some(self, suffix):
        with open(self.home / ("saved" + suffix), "rb") as f:
            size = len(f.read().rstrip(b"\0"))
        return [*range(0, size, size // 40), size - 1]

    def test_byte(self):
        for suffix in "", "-tail", "-wal":
            for at in self.some(suffix):
                def change(f, at=at):
                    f.seek(at)
                    byte = f.read(1)[0]
                    f.seek(at)
                    f.write(bytes([byte ^ 0x41]))
                with self.subTest(file=suffix, at=at):
                    self.check(suffix, change)

    def test_cut(self):
        """With the tail whole; and without one, as a daemon leaves it that has ended."""
        for at in self.some(""):
            with self.subTest(at=at):
                self.check("", lambda f, at=at: f.truncate(at))

        self.restore()
        self.dom0().stop()
        for suffix in "-tail", "-wal":
            os.unlink(self.home / ("saved" + suffix))
        self.save()
        for at in range(1, os.path.getsize(self.state) - 8192, 509):
            with self.subTest(closed=at):
                self.assertTrue(self.check("", lambda f, at=at: f.truncate(at)))


class NotOurs(StateCase):
    """What is in the place of the file, and is no file of this daemon's."""

    def test_symbolic_link(self):
        """Neither used nor written through."""
        self.make(options=["--state=" + self.home / "elsewhere"])
        os.symlink(self.home / "elsewhere", self.state)
        with open(self.home / "elsewhere", "rb") as f:
            before = f.read()
        self.check_set_aside("is not an ordinary file of this user")
        with open(self.home / "elsewhere", "rb") as f:
            self.assertEqual(f.read(), before)

    def test_dangling_link(self):
        os.symlink(self.home / "nowhere", self.state)
        self.check_set_aside("is not an ordinary file of this user")
        self.assertFalse(os.path.exists(self.home / "nowhere"))

    def test_hard_link(self):
        self.make()
        os.link(self.state, self.home / "another")
        self.check_set_aside("is not an ordinary file of this user")

    def test_directory(self):
        os.mkdir(self.state)
        open(os.path.join(self.state, "inside"), "wb").close()
        self.check_set_aside("is not an ordinary file of this user")
        self.assertEqual(os.listdir(self.state + ".aside"), ["inside"])

    def test_fifo(self):
        os.mkfifo(self.state)
        self.check_set_aside("is not an ordinary file of this user")

    def test_socket(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(self.state)
            self.check_set_aside("is not an ordinary file of this user")

    @unittest.skipUnless(ROOT, "only root can give files away")
    def test_another_user(self):
        self.make()
        os.chown(self.state, NOBODY, NOBODY)
        self.check_set_aside("is not an ordinary file of this user")

    @unittest.skipUnless(ROOT, "only root can become somebody else")
    def test_another_user_not_readable(self):
        """The daemon is not root and can move the file, but not open it."""
        self.make()
        os.chown(self.run_dir, NOBODY, NOBODY)
        for name in os.listdir(self.run_dir):
            if ".state" not in name:
                os.unlink(os.path.join(self.run_dir, name))
        os.chmod(self.home.vchan, 0o777)
        daemon = self.dom0(ready=False, notify=False,
                           prepare=lambda: (os.setgid(NOBODY), os.setuid(NOBODY)))
        with daemon.connect_when_there() as c:
            self.assertEqual(c.snapshot(), {})
        self.assertIn("is not an ordinary file of this user: it is moved to", daemon.output())

    def test_unreadable(self):
        """Of this user, but of a mode without reading: only root is not stopped by that."""
        entries = self.make()
        os.chmod(self.state, 0)
        daemon = self.dom0()
        self.assertEqual(self.entries(daemon), entries if ROOT else {})


class Beside(StateCase):
    """What lies beside the file: sqlite would read it, or replay it into the file."""
    WHY = "has something beside it that is not an ordinary file of this user"

    def test_of_another_user(self):
        if not ROOT:
            self.skipTest("only root can give files away")
        for suffix in "-tail", "-wal":
            with self.subTest(suffix):
                self.clear()
                self.make()
                os.chown(self.state + suffix, NOBODY, NOBODY)
                self.check_set_aside(self.WHY)

    def replace(self, make):
        for suffix in "-tail", "-wal":
            with self.subTest(suffix):
                self.clear()
                self.make()
                os.unlink(self.state + suffix)
                make(self.state + suffix)
                self.check_set_aside(self.WHY)

    def test_link(self):
        self.replace(lambda path: os.symlink("/dev/zero", path))

    def test_fifo(self):
        self.replace(os.mkfifo)

    def test_directory(self):
        self.replace(os.mkdir)

    def test_without_a_file(self):
        """It is not a new file's."""
        for suffix, other in ("-tail", "-wal"), ("-wal", "-tail"):
            with self.subTest(suffix):
                self.clear()
                self.make()
                os.unlink(self.state)
                os.unlink(self.state + other)
                before = self.files()["qubesdb.work.state" + suffix]
                daemon = self.dom0()
                self.assertEqual(self.entries(daemon), {})
                self.assertIn("has left its log behind: it is moved to", daemon.output())
                self.assertEqual(self.files()["qubesdb.work.state.aside" + suffix], before)
                self.check_works(daemon)

    def leave_commit_under_way(self):
        """The beginning of a piece, and not all of it."""
        with open(self.state + "-tail", "r+b") as f:
            pieces = f.read().rstrip(b"\0")
            tag = pieces[12:16]
            f.seek(-(-len(pieces) // 16) * 16)
            f.write(struct.pack("<QI4s", 12345, 300, tag) + b"half of a piece")

    def test_crashes_in_commits(self):
        """Each may leave the beginning of a commit; all together they are no damage."""
        for i in range(4):
            daemon = self.dom0()
            with daemon.connect() as c:
                self.assertEqual(c.snapshot(), {"/i": b"%d" % (i - 1)} if i else {})
                c.write("/i", b"%d" % i)
            daemon.kill()
            self.leave_commit_under_way()

    def test_rollback_journal(self):
        """This program makes none that means anything."""
        self.make()
        with open(self.state + "-journal", "wb") as f:
            f.write(bytes.fromhex("d9d505f920a163d7") + b"\0" * 4088)
        self.check_set_aside("is damaged")
        self.assertIn("qubesdb.work.state.aside-journal", self.files())


if __name__ == "__main__":
    run()
