# SPDX-License-Identifier: LGPL-2.1-or-later
import json
import re
from datetime import datetime, timezone

from harness import OK, R_READ, REFUSED, RM, WATCH, WRITE, CommandTest


class Watch(CommandTest):
    def start_watching(self, *args, last="/a"):
        """`last` is the last of the watched paths."""
        self.tapped = self.tap()
        process = self.start("watch", *args, runtime_dir=self.tapped.dir)
        self.tapped.wait_for_answer(OK, last.encode())
        return process

    def test_one_event(self):
        process = self.start_watching("/a")
        self.daemon.put(b"/b")
        self.daemon.put(b"/a")
        self.finish(process, 0, b"/a\n")

    def test_removal(self):
        self.daemon.put(b"/a")
        process = self.start_watching("/a")
        self.daemon.ask(RM, b"/a")
        self.finish(process, 0, b"/a\n")

    def test_several_events_in_order(self):
        process = self.start_watching("-n", "3", "/b/", "/a", last="/a")
        for path in (b"/b/2", b"/a", b"/b/1"):
            self.daemon.put(path)
        self.finish(process, 0, b"/b/2\n/a\n/b/1\n")

    def test_none(self):
        self.tapped = self.tap()
        self.check("watch", "-n", "0", "/a", "/b/", runtime_dir=self.tapped.dir)
        self.assertEqual(self.tapped.requests, [(WATCH, b"/a"), (WATCH, b"/b/")])
        self.check("watch", "-n", "0", "rel", status=1, err=None)

    def test_for_ever(self):
        for number in ("-1", str(-2**63)):
            process = self.start_watching("-n", number, "/a")
            for _ in range(5):
                self.daemon.put(b"/a")
                self.assertEqual(process.stdout.readline(), b"/a\n")
            self.assertIsNone(process.poll())
            self.end_by_signal(process)
            self.assertEqual(process.returncode, -15)

    def check_lines(self, *args, lines):
        """One line each for a written, an emptied and a removed entry, and a directory."""
        process = self.start_watching("-n", "-1", *args, "/a", "/a/", last="/a/")
        for pattern, (change, path, value) in zip(lines, (
                (WRITE, b"/a", b"\\x\n"), (WRITE, b"/a/b", b""), (RM, b"/a", b""),
                (RM, b"/a/", b""))):
            self.daemon.ask(change, path, value)
            self.assertRegex(process.stdout.readline(), rb"\A" + pattern + rb"\n\Z")
        self.end_by_signal(process)

    def test_values(self):
        self.check_lines("--values", lines=(rb"/a = \\x\\x0a", rb"/a/b = ", rb"/a", rb"/a/"))

    def test_raw_values(self):
        process = self.start_watching("--values", "-r", "/a")
        self.daemon.put(b"/a", b"\xff")
        self.finish(process, 0, b"/a = \xff\n")

    def test_timestamps(self):
        time = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z "
        self.check_lines("--timestamps", lines=(time + rb"/a", time + rb"/a/b", time + rb"/a"))
        self.check_lines("--timestamps", "--values", lines=(time + rb"/a = .*", time + rb"/a/b = "))

    def test_json(self):
        process = self.start_watching("-n", "-1", "--json", "--values", "--timestamps", "/a")
        before = datetime.now(timezone.utc)
        for kind, value, shown in ((WRITE, b"x", "x"), (WRITE, b"\xff", {"hex": "ff"}),
                                   (WRITE, b"", ""), (RM, b"", None)):
            self.daemon.ask(kind, b"/a", value)
            event = json.loads(process.stdout.readline())
            time = datetime.strptime(event.pop("time"), "%Y-%m-%dT%H:%M:%S.%f%z")
            self.assertTrue(before <= time <= datetime.now(timezone.utc))
            self.assertEqual(event, {"path": "/a", "value": shown})
        self.end_by_signal(process)
        process = self.start_watching("--json", "/a")
        self.daemon.put(b"/a")
        self.finish(process, 0, b'{"path": "/a"}\n')

    def test_a_value_that_cannot_be_read(self):
        process = self.start_watching("--values", "/a")
        self.tapped.refused.add(R_READ)
        self.daemon.put(b"/a")
        self.finish(process, 1, err=b"Failed to read /a: " + REFUSED)

    def test_a_watch_that_cannot_be_set(self):
        for bad in ("/b d", "rel", "/" + "x" * 63):
            with self.subTest(bad):
                self.check("watch", "/a", bad, "/c", status=1,
                           err=re.compile(rb"\AFailed to watch %s: " % bad.encode()))
        tap = self.tap()
        tap.refused.add(b"/a")
        self.check("watch", "/a", "/b", status=1, runtime_dir=tap.dir,
                   err=b"Failed to watch /a: " + REFUSED)
        self.assertEqual(tap.requests, [(WATCH, b"/a")])

    def test_ends_with_the_daemon(self):
        process = self.start_watching("-n", "-1", "/a")
        self.tapped.stop()
        self.finish(process, 1, err=b"Failed to watch /a: the connection to the daemon is lost; try "
                    b"again when it is back\n")
        self.tapped.start()
        process = self.start_watching("-n", "-1", "--values", "/a", "/b/", last="/b/")
        self.tapped.replace()
        self.finish(process, 1, err=b"Failed to watch /a: the connection to the daemon is lost; try "
                    b"again when it is back\n")
        process = self.start_watching("-qn", "2", "/a")
        self.tapped.stop()
        self.finish(process, 1)
        self.tapped.start()
