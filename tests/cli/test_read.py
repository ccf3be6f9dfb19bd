# SPDX-License-Identifier: LGPL-2.1-or-later
import re

from harness import NOENT, R_READ, READ, REFUSED, RM, WATCH, CommandTest


class Read(CommandTest):
    def test_each_value_on_a_line(self):
        self.daemon.put(b"/a", b"first")
        self.daemon.put(b"/b", b"")
        self.daemon.put(b"/c", b"x" * 3071)
        self.check("read", "/a", out=b"first\n")
        self.check("read", "/c", "/b", "/a", out=b"x" * 3071 + b"\n\nfirst\n")

    def test_escapes(self):
        every_byte = bytes(range(1, 256))
        escaped = b"".join(bytes([b]) if 0x20 <= b <= 0x7f else b"\\x%02x" % b
                           for b in every_byte)
        self.daemon.put(b"/a", every_byte)
        self.check("read", "/a", out=escaped + b"\n")
        self.daemon.put(b"/a", b"\\x41\\\n\xc3\xbc")
        self.check("read", "/a", out=b"\\x41\\\\x0a\\xc3\\xbc\n")

    def test_raw(self):
        every_byte = bytes(range(1, 256))
        self.daemon.put(b"/a", every_byte)
        self.check("read", "-r", "/a", out=every_byte + b"\n")
        self.check("read", "-rf", "/a", out=b"/a = " + every_byte + b"\n")

    def test_full(self):
        self.daemon.put(b"/a/b", b"1")
        self.daemon.put(b"/c", b"")
        self.check("read", "-f", "/a/b", "/c", out=b"/a/b = 1\n/c = \n")

    def test_json(self):
        self.daemon.put(b"/a/b", b"a\"\n")
        self.daemon.put(b"/c", b"\xff")
        self.check("read", "--json", "/a/b", "/c", out=b'"a\\"\\n"\n{"hex": "ff"}\n')
        self.check("read", "--json", "-f", "/c", "/none", "/a/b", status=2,
                   out=b'{"/c": {"hex": "ff"}}\n{"/a/b": "a\\"\\n"}\n',
                   err=b"Failed to read /none\n  there is no such entry; -w waits for one\n")
        self.check("read", "--json", "-e", "d", "/none", out=b'"d"\n')
        with open("/dev/full", "wb") as full:
            process = self.start("read", "--json", "-x", "/c", stdout=full)
            self.assertEqual((process.communicate()[0], process.returncode), (None, 1))
        self.check("read", "-x", "--json", "/c", out=b'{"hex": "ff"}\n')
        self.check("read", "-q", "/c", status=2)

    def test_absent_is_2(self):
        self.daemon.put(b"/a", b"1")
        why = b"\n  there is no such entry; -w waits for one\n"
        self.check("read", "/none", status=2, err=b"Failed to read /none" + why)
        self.check("read", "/none", "/a", "/no", status=2, out=b"1\n",
                   err=b"Failed to read /none" + why + b"Failed to read /no" + why)
        self.check("read", "/dir/", status=2, err=b"Failed to read /dir/\n  the path ends in '/', so "
                   b"it names a directory, not an entry\n")
        self.check("read", "-q", "/none", status=2)

    def test_any_other_failure_is_1(self):
        self.daemon.put(b"/a", b"1")
        self.check("read", "/b d", status=1, err=re.compile(rb"\AFailed to read /b d: "))
        self.check("read", "/none", "/b d", "/a", status=1, out=b"1\n", err=None)
        self.check("read", "/b d", "/none", status=1, err=None)

    def test_default(self):
        self.daemon.put(b"/a", b"1")
        self.daemon.put(b"/empty", b"")
        self.check("read", "-e", "D", "/none", out=b"D\n")
        self.check("read", "-e", "", "/none", out=b"\n")
        self.check("read", "-fe", "D", "/none", out=b"/none = D\n")
        self.check("read", "-e", "D", "/a", out=b"1\n")
        self.check("read", "-e", "D", "/empty", out=b"\n")

    def test_default_is_for_absence_only(self):
        self.check("read", "-e", "D", "/b d", status=1, err=None)
        self.check("read", "-e", "D", "none", status=1, err=None)

    def test_default_is_for_exactly_one_path(self):
        self.check("read", "-qe", "D", "/none", "/no", status=2)
        self.check("read", "-qe", "D", status=0)

    def test_remove(self):
        self.daemon.put(b"/a", b"1")
        self.daemon.put(b"/b", b"2")
        self.check("read", "-x", "/a", "/b", out=b"1\n2\n")
        self.assertIsNone(self.daemon.get(b"/a"))
        self.assertIsNone(self.daemon.get(b"/b"))

    def test_remove_what_is_absent(self):
        tap = self.tap()
        self.check("read", "-qx", "/a", status=2, runtime_dir=tap.dir)
        self.assertEqual(tap.requests, [(READ, b"/a"), (RM, b"/a")])
        self.check("read", "-xe", "D", "/a", out=b"D\n", runtime_dir=tap.dir)
        self.assertEqual(tap.requests[2:], [(READ, b"/a"), (RM, b"/a")])

    def test_refused_removal_is_1(self):
        self.daemon.put(b"/a", b"1")
        read_only = self.read_only_directory()
        self.check("read", "-x", "/a", status=1, out=b"1\n", runtime_dir=read_only,
                   err=re.compile(rb"\AFailed to rm /a: .*read-only"))
        self.check("read", "-qx", "/none", status=1, runtime_dir=read_only)
        self.assertEqual(self.daemon.get(b"/a"), b"1")

    def test_nothing_is_removed_that_could_not_be_shown(self):
        self.daemon.put(b"/a", b"1")
        with open("/dev/full", "wb") as full:
            process = self.start("read", "-x", "/a", stdout=full)
        self.assertIsNone(process.communicate()[0])
        self.assertEqual(process.returncode, 1)
        self.assertEqual(self.daemon.get(b"/a"), b"1")

    def test_nothing_is_removed_that_could_not_be_read(self):
        self.daemon.put(b"/a", b"1")
        tap = self.tap()
        tap.refused.add(b"/a")
        self.check("read", "-qx", "/a", status=1, runtime_dir=tap.dir)
        self.assertEqual(tap.requests, [(READ, b"/a")])


class Wait(CommandTest):
    def start_waiting(self, tap, *args):
        process = self.start("read", "-w", *args, runtime_dir=tap.dir)
        tap.wait_for_answer(NOENT, b"/a")
        return process

    def test_a_value_that_is_there(self):
        self.daemon.put(b"/a", b"1")
        self.check("read", "-w", "/a", out=b"1\n")
        self.daemon.put(b"/a", b"")
        self.check("read", "-w", "/a", out=b"\n")

    def test_watches_before_it_looks(self):
        self.daemon.put(b"/a", b"1")
        tap = self.tap()
        self.check("read", "-w", "/a", out=b"1\n", runtime_dir=tap.dir)
        self.assertEqual(tap.requests, [(WATCH, b"/a"), (READ, b"/a")])

    def test_waits(self):
        tap = self.tap()
        process = self.start_waiting(tap, "/a")
        self.daemon.put(b"/b", b"other")
        self.daemon.put(b"/a", b"1")
        self.finish(process, 0, b"1\n")

    def test_an_empty_value_is_a_value(self):
        tap = self.tap()
        process = self.start_waiting(tap, "/a")
        self.daemon.put(b"/a", b"")
        self.finish(process, 0, b"\n")

    def test_ignores_the_default(self):
        tap = self.tap()
        process = self.start_waiting(tap, "-e", "D", "/a")
        self.daemon.put(b"/a", b"1")
        self.finish(process, 0, b"1\n")

    def test_an_event_without_a_value(self):
        tap = self.tap()
        process = self.start_waiting(tap, "/a")
        tap.send_event(b"/a")
        tap.wait_for_answer(NOENT, b"/a", 2)
        self.daemon.put(b"/a", b"1")
        self.finish(process, 0, b"1\n")

    def test_several_paths_one_after_the_other(self):
        self.daemon.put(b"/first", b"0")
        tap = self.tap()
        process = self.start_waiting(tap, "/first", "/a", "/b")
        self.assertEqual(process.stdout.readline(), b"0\n")
        self.daemon.put(b"/b", b"2")
        self.daemon.put(b"/a", b"1")
        self.finish(process, 0, b"1\n2\n")

    def test_with_remove(self):
        tap = self.tap()
        process = self.start_waiting(tap, "-x", "/a")
        self.daemon.put(b"/a", b"1")
        self.finish(process, 0, b"1\n")
        self.assertIsNone(self.daemon.get(b"/a"))

    def test_a_bad_path_is_an_error(self):
        for path in ("/b d", "rel", "", "/dir/", "/" + "x" * 63):
            with self.subTest(path):
                self.check("read", "-w", path, status=1, err=re.compile(rb"\AFailed to read "))

    def test_a_refusal_is_an_error(self):
        tap = self.tap()
        tap.refused.add(b"/a")
        self.check("read", "-w", "/a", status=1, runtime_dir=tap.dir,
                   err=b"Failed to read /a: " + REFUSED)

    def test_survives_a_lost_connection(self):
        tap = self.tap()
        process = self.start_waiting(tap, "/a")
        tap.stop()
        self.daemon.put(b"/a", b"1")
        tap.start()
        self.finish(process, 0, b"1\n")

    def test_goes_on_waiting_after_a_lost_connection(self):
        tap = self.tap()
        process = self.start_waiting(tap, "/a")
        tap.stop()
        tap.start()
        tap.wait_for_answer(NOENT, b"/a", 2)
        tap.stop()
        tap.start()
        tap.wait_for_answer(NOENT, b"/a", 3)
        self.daemon.put(b"/a", b"1")
        self.finish(process, 0, b"1\n")
        tap.wait_for_answer(R_READ, b"/a")

    def test_survives_a_restart_of_the_daemon(self):
        tap = self.tap()
        process = self.start_waiting(tap, "/a")
        self.daemon.stop()
        self.daemon.start()
        tap.wait_for_answer(NOENT, b"/a", 2)
        self.daemon.put(b"/a", b"1")
        self.finish(process, 0, b"1\n")

    def test_survives_a_daemon_that_is_killed(self):
        tap = self.tap()
        process = self.start_waiting(tap, "/a")
        self.daemon.process.kill()
        self.daemon.process.wait()
        self.daemon.start()
        self.daemon.put(b"/a", b"1")
        self.finish(process, 0, b"1\n")
