#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The other end of the vchan means harm, or merely hangs. Whatever it does costs only its link: our
daemon stays the same process, serves its local programs, does not spin, does not grow, ends on
SIGTERM, and takes the next peer, who is honest.
"""
import contextlib
import os
import signal

from harness import Case, run
from qdb import (ERROR, LIST, MULTIREAD, NOENT, OK, READ, RM, R_LIST, R_MULTIREAD, R_READ, R_WATCH,
                 UNWATCH, WATCH, WRITE, Broken, Closed, pack)

GROWTH_KIB = 24 * 1024

# What no daemon sends, whichever side it is on, once it is past its greeting.
VIOLATIONS = {
    "noise": bytes(range(100, 256)) * 100,
    "zeros": bytes(72 * 20),
    "ones": b"\xff" * 4096,
    "read": pack(READ, "/a"),
    "list": pack(LIST, "/a"),
    "watch": pack(WATCH, "/a"),
    "unwatch": pack(UNWATCH, "/a"),
    "resp_read": pack(R_READ, "/a", "x"),
    "resp_list": pack(R_LIST, "/a"),
    "resp_watch": pack(R_WATCH, "/a"),
    "type 14": pack(14, "/a"),
    "bad path": pack(WRITE, "/bad char", "x"),
    "directory": pack(WRITE, "/d/", "x"),
    "no slash": pack(WRITE, "rel", "x"),
    "empty path": pack(WRITE, "", "x"),
    "rm of bad path": pack(RM, "/bad char"),
    "4 gib": pack(WRITE, "/a", length=0xffffffff),
    "4 gib removed": pack(RM, "/a", length=0xffffffff),
    "4 gib ok": pack(OK, "/a", length=0xffffffff),
    "error with data": pack(ERROR, "/a", "data"),
    "ok with data": pack(OK, "/a", "data"),
}
# Odd, but a daemon may pass over it; the link may live or end.
ODDITIES = {
    "long": pack(WRITE, "/long", b"z" * 3072),
    "ok for nothing": pack(OK, "/a") * 100,
    "error for nothing": pack(ERROR, "/a") * 100,
    "noent for nothing": pack(NOENT, "/a") * 100,
    "capability late": pack(OK, "@qdb:1:late"),
    "rm of no path": pack(RM, "") + pack(RM, "rel"),
    "second multiread": pack(MULTIREAD) * 2,
    "dump": pack(R_MULTIREAD, "/dumped", "x") + pack(R_MULTIREAD),
}


class HostileVM(Case):
    def setUp(self):
        super().setUp()
        self.a = self.dom0()
        self.check = self.honest(self.a)
        self.c = self.connect(self.a)
        self.before = self.a.rss_kib()

    def check_all(self, next_one=True):
        """The daemon is well, and serves an honest VM, unless the hostile one is still there."""
        self.check()
        self.a.check_quiet()
        self.assertLess(self.a.rss_kib() - self.before, GROWTH_KIB, "the daemon grows")
        if next_one:
            self.check_next()

    def check_next(self):
        with self.fake_vm() as link:
            link.hello().dump()
            link.state.pop("/next", None)
            self.c.write("/next", "1")
            link.serve_until(lambda state: "/next" in state)
            self.assert_same(link.state, self.c.snapshot())

    def test_connects_and_closes(self):
        for _ in range(10):
            self.fake_vm().close()
        self.check_all()

    def test_closes_after_asking(self):
        self.c.write_all([(f"/big/{n}", "z" * 3000) for n in range(500)])
        self.before = self.a.rss_kib()
        for n in range(10):
            link = self.fake_vm().hello()
            if n % 2:
                link.recv()
            link.close()
        self.check_all()

    def test_stops_in_mid_message(self):
        """Before its greeting or after; deployed daemons burn a CPU and ignore SIGTERM."""
        greeting, write = pack(MULTIREAD), pack(WRITE, "/half", "value")
        for prefix, raw, cut in ((b"", greeting, 1), (b"", greeting, 71), (greeting, write, 1),
                                 (greeting, write, 40), (greeting, write, 72), (greeting, write, 76)):
            with self.subTest(prefix=len(prefix), cut=cut), self.fake_vm() as link:
                link.send_raw(prefix + raw[:cut])
                if prefix:
                    link.dump()
                self.check_all(next_one=False)
        self.assertIsNone(self.c.read("/half"))
        self.check_all()

    def test_stops_in_mid_message_and_sigterm(self):
        for raw in b"\1", pack(MULTIREAD) + b"\1", pack(MULTIREAD) + pack(WRITE, "/a", length=9):
            link = self.fake_vm()
            link.send_raw(raw)
            self.check_all(next_one=False)
            self.a.stop()
            link.close()
            self.setUp()

    def test_finishes_much_later(self):
        link = self.fake_vm().hello()
        link.dump()
        raw = pack(WRITE, "/slow", "value")
        link.send_raw(raw[:75])
        self.check_all(next_one=False)
        link.send_raw(raw[75:])
        link.answer()
        self.assertEqual(self.c.read("/slow"), b"value")

    def test_violations(self):
        for name, raw in VIOLATIONS.items():
            with self.subTest(name), self.fake_vm() as link:
                link.hello().dump()
                with contextlib.suppress(Closed):
                    link.send_raw(raw)
                link.wait_closed()
                self.check()
            self.check_next()
        self.assertEqual(self.c.list(), ["/honest", "/next"])
        self.check_all()

    def test_violations_instead_of_a_greeting(self):
        for name in "noise", "zeros", "read", "bad path", "4 gib":
            with self.subTest(name), self.fake_vm() as link:
                with contextlib.suppress(Closed):
                    link.send_raw(VIOLATIONS[name])
                link.wait_closed()
                self.check()
            self.check_next()
        self.check_all()

    def test_oddities(self):
        for name, raw in ODDITIES.items():
            with self.subTest(name), self.fake_vm() as link:
                link.hello().dump()
                link.send_raw(raw)
                self.c.write("/odd", name)
                self.check()
            self.check_next()
        for greeting in pack(WRITE, "/x", "1"), pack(MULTIREAD, "/prefix"), pack(MULTIREAD, "", "d"):
            with self.subTest(greeting=greeting[:8]), self.fake_vm() as link:
                link.send_raw(greeting)
                self.check()
            self.check_next()
        for path in "/dumped", "/long":
            self.assertIsNone(self.c.read(path))
        self.check_all()

    def test_noise(self):
        for n in range(20):
            with self.fake_vm() as link, contextlib.suppress(Broken):
                link.send_raw(pack(MULTIREAD) * (n % 2) + os.urandom(50 + n * 300))
                self.check()
            self.check_next()
        self.check_all()

    def test_floods(self):
        """It writes and writes and reads no answer."""
        link = self.fake_vm().hello()
        link.dump()
        raw = memoryview(b"".join(pack(WRITE, f"/f/{n % 50}", "z" * 3000) for n in range(300)))
        sent, stalls = 0, 0
        while sent < 40_000_000 and stalls < 20:
            try:
                some = link.send_some(raw[sent % len(raw):])
            except Closed:
                break
            sent += some
            stalls = 0 if some else stalls + 1
            self.check()
        self.check_all(next_one=False)
        link.close()
        self.check_all()

    def test_floods_with_entries(self):
        """New entries without end: a limit holds, or the link ends; dom0 keeps its own."""
        link = self.fake_vm().hello()
        link.dump()
        self.c.write("/mine", "1")
        link.serve_until(lambda state: "/mine" in state)
        with contextlib.suppress(Closed):
            for n in range(30):
                raw = b"".join(pack(WRITE, f"/{n}/{i}/{'e' * 40}", "z" * 100) for i in range(1000))
                link.pump(raw, 1000)
                self.check()
        self.assertEqual(self.c.read("/mine"), b"1")
        self.c.rm("/")
        self.before = self.a.rss_kib()

    def test_does_not_read_updates(self):
        """dom0's programs write 60 MB that the VM does not take; then an honest agent comes."""
        link = self.fake_vm().hello()
        link.dump()
        for turn in range(20):
            self.c.write_all([(f"/u/{n % 40}", f"{turn}.{n}." + "z" * 2990) for n in range(1000)])
            self.c.ask(RM, f"/u/{turn}")
        self.c.rm("/u/7")
        self.check_all(next_one=False)
        link.close()
        self.assert_equal_ends(self.a, self.vm())

    def test_does_not_read_updates_for_long(self):
        """The same VM wakes up: it gets everything after all, or a new start."""
        link = self.fake_vm().hello()
        link.dump()
        self.c.write_all([(f"/u/{n % 40}", f"{n}." + "z" * 2990) for n in range(5000)])
        self.c.rm("/u/7")
        self.c.write("/u/last", "")
        try:
            link.serve_until(lambda state: "/u/last" in state)
        except Closed:
            link.close()
            link = self.fake_vm().hello()
            link.dump()
        self.assert_same(link.state, self.c.snapshot())

    def test_does_not_read_its_dump(self):
        self.c.write_all([(f"/big/{n}", "z" * 3000) for n in range(500)])
        self.before = self.a.rss_kib()
        link = self.fake_vm().hello()
        for turn in range(5):
            self.c.write_all([(f"/u/{n % 40}", f"{turn}.{n}." + "z" * 2990) for n in range(1000)])
        self.check_all(next_one=False)
        link.close()
        self.check_all()

    def test_terminated_in_every_phase(self):
        def waiting():
            return None

        def silent():
            return self.fake_vm()

        def half():
            link = self.fake_vm()
            link.send_raw(b"\2")
            return link

        def dumping():
            self.c.write_all([(f"/big/{n}", "z" * 3000) for n in range(500)])
            return self.fake_vm().hello()

        def stuck():
            link = self.fake_vm().hello()
            link.dump()
            self.c.write_all([(f"/u/{n}", "z" * 3000) for n in range(200)])
            return link

        for phase in waiting, silent, half, dumping, stuck:
            for sig in signal.SIGTERM, signal.SIGINT:
                with self.subTest(phase=phase.__name__, sig=sig.name):
                    link = phase()
                    self.check()
                    self.a.stop(sig)
                    if link:
                        link.wait_closed()
                        link.close()
                    self.setUp()


class HostileDom0(Case):
    def setUp(self):
        super().setUp()
        self.server = self.fake_dom0_server()
        self.b = self.vm(ready=False)
        self.link = self.accept(self.server)

    def next_link(self):
        self.link.close()
        self.link = self.accept(self.server)
        return self.link

    def check_all(self):
        """The next server, an honest one, is taken, and everything works."""
        self.b.check_quiet()
        self.next_link().hello()
        self.link.dump({"/a": "1"})
        with self.b.connect_when_there() as client:
            self.assertEqual(client.read("/a"), b"1")
            client.write("/b", "2")
            self.link.serve_until(lambda state: "/b" in state)
            self.assertEqual(self.link.operation(WRITE, "/c", "3"), OK)
            self.assertEqual(client.read("/c"), b"3")
        self.assertTrue(self.b.is_running())

    def test_closes_early(self):
        for _ in range(3):
            self.next_link()
        self.next_link().hello()
        self.next_link().hello()
        self.link.send(R_MULTIREAD, "/half", "1")
        self.assertFalse(self.b.is_ready())
        self.check_all()
        self.b.wait_ready()

    def test_stops(self):
        for raw in b"", b"\13", pack(R_MULTIREAD, "/a", length=9), pack(R_MULTIREAD, "/a", "1")[:-1]:
            self.link.hello()
            self.link.send_raw(raw)
            self.b.check_quiet()
            self.assertFalse(self.b.is_ready())
            self.next_link()
        self.link.hello()
        self.check_all()

    def test_violations(self):
        for name in "noise", "read", "bad path", "4 gib", "resp_watch":
            with self.subTest(name):
                self.link.hello()
                self.link.dump({"/a": "1"})
                with contextlib.suppress(Closed):
                    self.link.send_raw(VIOLATIONS[name])
                self.link.wait_closed()
                self.next_link()
        self.link.hello()
        self.check_all()

    def test_violations_in_a_dump(self):
        for raw in (pack(R_MULTIREAD, "/bad char", "x"), pack(R_MULTIREAD, "/d/", "x"),
                    pack(R_MULTIREAD, "/a", length=0xffffffff), pack(MULTIREAD), pack(77)):
            with self.subTest(raw=raw[:16]):
                self.link.hello()
                with contextlib.suppress(Closed):
                    self.link.send_raw(raw)
                self.link.wait_closed()
                self.assertFalse(self.b.is_ready())
                self.next_link()
        self.link.hello()
        self.check_all()

    def test_does_not_read(self):
        """The VM's programs write 30 MB that dom0 does not take."""
        self.link.hello()
        self.link.dump({})
        self.b.wait_ready()
        check, client = self.honest(self.b), self.connect(self.b)
        before = self.b.rss_kib()
        for turn in range(10):
            client.write_all([(f"/u/{n % 40}", f"{turn}.{n}." + "z" * 2990) for n in range(1000)])
            client.rm("/u/7")
            check()
        self.b.check_quiet()
        self.assertLess(self.b.rss_kib() - before, GROWTH_KIB, "the daemon grows")
        client.write("/u/last", "")
        try:
            self.link.serve_until(lambda state: "/u/last" in state)
        except Closed:
            self.next_link().hello()
            self.link.dump({})
            client.write("/again", "")
            self.link.serve_until(lambda state: "/again" in state)
        else:
            self.assert_same(self.link.state, client.snapshot())

    def test_terminated_in_every_phase(self):
        def before_any_server():
            self.link.close()
            self.server.close()
            os.unlink(self.home.link())

        def unanswered():
            self.link.hello()

        def in_the_dump():
            self.link.hello()
            self.link.send_raw(pack(R_MULTIREAD, "/a", "1")[:50])

        def served():
            self.link.hello()
            self.link.dump({"/a": "1"})

        for phase in before_any_server, unanswered, in_the_dump, served:
            for sig in signal.SIGTERM, signal.SIGINT:
                with self.subTest(phase=phase.__name__, sig=sig.name):
                    phase()
                    with self.b.connect_when_there() as client:
                        client.send(READ, "/a")
                        self.b.stop(sig)
                    self.assertEqual(os.listdir(self.b.run), [])
                    self.setUp()


if __name__ == "__main__":
    run()
