#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Who gets which event, in which order. Everything is asked three times: changed and watched in
dom0, changed in dom0 and watched in the VM, changed in the VM and watched in dom0.
"""

from harness import Case, run
from qdb import ERROR, LIST, NOENT, OK, READ, RM, R_LIST, R_READ, R_WATCH, UNWATCH, WRITE, pack


class Watches:
    """self.w changes entries, self.c watches them."""

    def setUp(self):
        super().setUp()
        self.start()

    def events(self):
        return self.c.events_until_mark(via=self.w)

    def fill(self, *paths):
        for path in paths:
            self.w.write(path, "1")
        self.events()

    def check_event(self, watches, change, expected):
        """
        Sets `watches`, makes `change` (kind, path), and compares the events; takes the
        watches away again.
        """
        self.c.watch(*watches)
        kind, path = change
        self.w.expect(OK, kind, path, "v" if kind == WRITE else "")
        self.assertEqual(self.events(), sorted(expected))
        for watch in watches:
            self.c.unwatch(watch)

    def test_exact_and_directory(self):
        watches = ["/", "/w/", "/w/x", "/w/x/", "/w", "/w/xy", "/w/x/y", "w/x"]
        self.check_event(watches, (WRITE, "/w/x"), ["/w/x"] * 3)
        self.check_event(watches, (WRITE, "/w/x"), ["/w/x"] * 3)
        self.check_event(watches, (RM, "/w/x"), ["/w/x"] * 3)
        self.check_event(watches, (WRITE, "/w"), ["/w"] * 2)
        self.check_event(watches, (WRITE, "/w/x/y"), ["/w/x/y"] * 4)

    def test_none_at_registration(self):
        self.fill("/a", "/d/b")
        self.c.watch("/a", "/d/", "/")
        self.assertEqual(self.events(), [])

    def test_same_watch_many_times(self):
        self.c.watch("/a", "/a", "/a", "/d/", "/d/")
        for left in 3, 2, 1:
            self.w.write("/a", "same")
            self.assertEqual(self.events(), ["/a"] * left)
            self.c.unwatch("/a")
        self.c.expect(NOENT, UNWATCH, "/a")
        self.w.write("/a", "same")
        self.w.write("/d/e", "")
        self.assertEqual(self.events(), ["/d/e"] * 2)
        self.c.unwatch("/d/")
        self.w.rm("/d/")
        self.assertEqual(self.events(), ["/d/"])

    def test_unwatch_is_exact(self):
        self.c.watch("/d/", "/d")
        for path in "/d/e", "/", "d", "":
            self.c.expect(NOENT, UNWATCH, path)
        self.c.unwatch("/d")
        self.w.write("/d", "")
        self.w.write("/d/e", "")
        self.assertEqual(self.events(), ["/d/e"])

    def test_watches_are_of_one_connection(self):
        with self.new_watcher() as other:
            other.watch("/a")
            self.c.expect(NOENT, UNWATCH, "/a")
            self.w.write("/a", "1")
            self.assertEqual(other.events_until_mark(via=self.w), ["/a"])
        self.assertEqual(self.events(), [])
        with self.new_watcher() as other:
            self.w.write("/a", "1")
            self.assertEqual(other.events_until_mark(via=self.w), [])

    def test_identical_rewrites_fire(self):
        self.c.watch("/a")
        for _ in range(5):
            self.w.write("/a", "same")
            self.assertEqual(self.c.event(), "/a")

    def test_refused_changes_are_silent(self):
        self.fill("/a")
        self.c.watch("/", "/a")
        self.w.expect(ERROR, WRITE, "/a", b"\0")
        self.w.expect(ERROR, WRITE, "/a", b"z" * 3072)
        self.w.expect(ERROR, WRITE, "/a/", "v")
        self.w.expect(ERROR, RM, "/a", "data")
        self.w.expect(NOENT, RM, "/none")
        self.w.expect(NOENT, RM, "/none/")
        self.assertEqual(self.events(), [])

    def test_directory_removal_at_and_above(self):
        """One event for the whole removal, with the directory's path."""
        self.fill("/t/a/1", "/t/a/2", "/t/a/3/4")
        self.check_event(["/t/a/", "/t/a/", "/t/", "/"], (RM, "/t/a/"), ["/t/a/"] * 4)

    def test_directory_removal_below_exact(self):
        """The entry's path, if that entry really went."""
        self.fill("/a/b", "/a/d/e", "/a/x")
        self.check_event(["/a/b", "/a/b", "/a/none", "/a/d", "/a/d/e", "/a/x/y"], (RM, "/a/"),
                         ["/a/b", "/a/b", "/a/d/e"])

    def test_directory_removal_below_directory(self):
        """The watch's own path, once, if something under it went."""
        self.fill("/a/b/1", "/a/b/2", "/a/b/c/3", "/a/x")
        self.check_event(["/a/b/", "/a/b/c/", "/a/x/", "/a/none/", "/a/b/1/"], (RM, "/a/"),
                         ["/a/b/", "/a/b/c/"])

    def test_directory_removal_beside(self):
        """An exact watch on /a gets nothing, and the entry /a stays; so do its neighbours."""
        self.fill("/a", "/a/b", "/ab", "/a.b/c")
        self.check_event(["/a", "/ab", "/a.b/", "/a.b/c", "/ab/"], (RM, "/a/"), [])
        self.assertEqual(self.c.list(), ["/a", "/a.b/c", "/ab"])

    def test_removal_of_everything(self):
        self.fill("/a", "/d/b")
        self.check_event(["/", "/d/", "/d/b", "/a", "/n", "/n/"], (RM, "/"),
                         ["/", "/d/", "/d/b", "/a"])

    def test_removal_of_nothing(self):
        self.fill("/d")
        self.c.watch("/", "/d/", "/d/e", "/d")
        self.w.expect(NOENT, RM, "/d/")
        self.assertEqual(self.events(), [])

    def test_commit_signal(self):
        """`rm base/`, entries, empty write to base: a watch on base comes last and finds all."""
        self.c.watch("/fw")
        for generation in range(20):
            self.w.ask(RM, "/fw/")
            for n in range(5):
                self.w.write(f"/fw/{n}", f"{generation}.{n}")
            self.w.write("/fw", "")
            self.assertEqual(self.c.event(), "/fw")
            self.assertEqual(self.c.multiread("/fw/"),
                             [(f"/fw/{n}", b"%d.%d" % (generation, n)) for n in range(5)])

    def test_order_of_events(self):
        """Different entries: each one's event, in the order of the changes."""
        self.c.watch("/o/")
        paths = [f"/o/{n * 7919 % 1000}" for n in range(1000)]
        self.w.write_all([(path, "") for path in paths])
        self.assertEqual([self.c.event() for _ in paths], paths)

    def test_burst_ends_with_an_event_for_the_last_value(self):
        """Pending events may be merged, but after the last write at least one follows."""
        self.c.watch("/b")
        self.w.write_all([("/b", str(n)) for n in range(2000)])
        while self.c.event() and self.c.read("/b") != b"1999":
            pass


class InDom0(Watches, Case):
    def start(self):
        self.daemon_here = self.dom0()
        self.w, self.c = self.connect(self.daemon_here), self.new_watcher()

    def new_watcher(self):
        return self.connect(self.daemon_here)

    def test_answer_before_own_event(self):
        self.w.watch("/self", "/self/")
        raw = [pack(WRITE, "/self", "1"), pack(RM, "/self"), pack(WRITE, "/self/x"),
               pack(RM, "/self/")]
        for request, event in zip(raw, ("/self", "/self", "/self/x", "/self/")):
            self.w.send_raw(request)
            got = [self.w.recv(), self.w.recv()]
            self.assertEqual([m.type for m in got], [OK, R_WATCH])
            self.assertEqual(got[1].path.decode(), event)

    def test_answer_before_own_event_pipelined(self):
        """An event never overtakes the answer to the request that caused it."""
        self.w.watch("/p/")
        self.w.send_raw(b"".join(pack(WRITE, f"/p/{n}") + pack(READ, "/none") for n in range(200)))
        answered, seen, reads = set(), [], 0
        while reads < 200 or len(seen) < 200:
            got = self.w.recv()
            reads += got.type == NOENT
            if got.type == OK:
                answered.add(got.path)
            elif got.type == R_WATCH:
                self.assertIn(got.path, answered)
                seen.append(got.path.decode())
        self.assertEqual(seen, [f"/p/{n}" for n in range(200)])

    def test_events_while_others_are_listed(self):
        """Events may come between the entries of an answer, never inside a message."""
        self.w.write_all([(f"/l/{n:04}", "v") for n in range(3000)])
        self.c.watch("/e")
        self.c.send_raw(pack(LIST, "/l/") * 3 + pack(READ, "/e"))
        self.w.write_all([("/e", str(n)) for n in range(500)])
        kinds = {R_LIST: 0, R_WATCH: 0}
        while (got := self.c.recv()).type not in (R_READ, NOENT):
            kinds[got.type] += 1
        self.assertEqual(kinds[R_LIST], 3 * 3001)
        while not kinds[R_WATCH]:
            kinds[self.c.recv().type] += 1


class FromDom0ToVM(Watches, Case):
    def start(self):
        dom0, self.daemon_here = self.pair()
        self.w, self.c = self.connect(dom0), self.new_watcher()

    def new_watcher(self):
        return self.connect(self.daemon_here)


class FromVMToDom0(FromDom0ToVM):
    def start(self):
        self.daemon_here, vm = self.pair()
        self.w, self.c = self.connect(vm), self.new_watcher()


if __name__ == "__main__":
    run()
