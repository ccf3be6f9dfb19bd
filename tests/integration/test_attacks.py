#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Programs on a local socket that mean harm, or merely hang. Deployed daemons fall to each of these.
Meanwhile an honest program is served, by the same process, which neither spins nor grows.
test_hostile_peer.py has the same for the other end of the vchan, test_crowd.py more clients than
there is room for.
"""
import contextlib
import os
import random
import signal
import socket
import struct

from harness import Case, run, when
from qdb import (ERROR, HEADER, LIST, MULTIREAD, NOENT, OK, READ, RM, UNWATCH, WATCH, WRITE,
                 Broken, Closed, pack)

GROWTH_KIB = 24 * 1024


class Attack(Case):
    """Each test against a daemon in dom0 and its agent; the honest ones are on both sides."""

    def setUp(self):
        super().setUp()
        self.a, self.b = self.pair()
        self.honest_ones = [self.honest(self.a), self.honest(self.b)]
        self.before = [d.rss_kib() for d in (self.a, self.b)]

    def check(self):
        for honest in self.honest_ones:
            honest()

    def tearDown(self):
        self.check()
        for daemon, before in zip((self.a, self.b), self.before):
            daemon.check_quiet()
            self.assertLess(daemon.rss_kib() - before, GROWTH_KIB, "the daemon grows")

    def victims(self, ro=False):
        """A connection to each side for the attacker."""
        return [self.connect(d, ro) for d in (self.a, self.b)]


class Stalled(Attack):
    def test_header_of_a_read_only_client(self):
        for attacker in self.victims(ro=True):
            attacker.send_raw(pack(READ, "/a")[:10])
            self.check()
            attacker.send_raw(pack(READ, "/a")[10:])
            self.assertEqual(attacker.answer_to(READ, "/a").type, NOENT)
            attacker.send_raw(b"\1")
        self.check()

    def test_every_place_in_a_message(self):
        raw = pack(WRITE, "/stalled", "z" * 100)
        stalled = []
        for cut in 1, 2, 10, 64, 65, 68, 71, 72, 73, len(raw) - 1:
            for attacker in self.victims():
                attacker.send_raw(raw[:cut])
                stalled.append((attacker, cut))
        self.check()
        for attacker, cut in stalled:
            attacker.send_raw(raw[cut:])
            self.assertEqual(attacker.answer_to(WRITE, "/stalled").type, OK)

    def test_gone_in_mid_message(self):
        raw = pack(WRITE, "/stalled", "z" * 100)
        for cut in 1, 10, 71, 72, 73, len(raw) - 1:
            for daemon in self.a, self.b:
                with daemon.connect() as attacker:
                    attacker.send_raw(pack(READ, "/a") + raw[:cut])
        self.check()
        for connection in self.victims():
            self.assertIsNone(connection.read("/stalled"))

    def test_announced_4_gib(self):
        for kind in WRITE, READ, MULTIREAD, WATCH, 200:
            for attacker in self.victims() + self.victims(ro=True):
                attacker.send(kind, "/a", length=0xffffffff)
                self.check()
                attacker.send_raw(b"\0" * (1 << 20))
                self.check()
                attacker.close()

    def test_long_data_is_skipped_to_its_end(self):
        """What is announced and really sent is skipped, however long; then all is well."""
        for attacker in self.victims():
            attacker.send(WRITE, "/a", length=20_000_000)
            for _ in range(200):
                attacker.send_raw(pack(WRITE, "/smuggled", "x")[:50] * 2000)
            self.assertEqual(attacker.answer_to(WRITE, "/a").type, ERROR)
            self.assertIsNone(attacker.read("/smuggled"))


class Greedy(Attack):
    def test_multireads_never_read(self):
        for daemon in self.a, self.b:
            with daemon.connect() as writer:
                writer.write_all([(f"/big/{n}", "z" * 3000) for n in range(700)])
        self.before = [d.rss_kib() for d in (self.a, self.b)]
        for ro in False, True:
            for attacker in self.victims(ro):
                raw = memoryview(pack(MULTIREAD) * 2000 + pack(LIST) * 2000)
                while sent := attacker.send_some(raw):
                    raw = raw[sent:]
                self.check()

    def test_greedy_and_then_reads(self):
        """Who asked for much and read late gets all of it, in order, and nothing twice."""
        with self.a.connect() as writer:
            writer.write_all([(f"/big/{n:03}", "z" * 3000) for n in range(300)])
        for ro in False, True:
            attacker = self.connect(self.a, ro)
            attacker.send_raw(pack(MULTIREAD, "/big/") * 8 + pack(READ, "/none"))
            self.check()
            for _ in range(8):
                attacker.send_raw(b"")
                entries = attacker.answer_to(MULTIREAD, "/big/")
                self.assertEqual([m.path for m in entries], [b"/big/%03d" % n for n in range(300)])
            self.assertEqual(attacker.answer_to(READ, "/none").type, NOENT)

    def test_never_reads_its_events(self):
        for daemon, before in zip((self.a, self.b), self.before):
            attacker, writer = self.connect(daemon), self.connect(daemon)
            attacker.watch(*["/w/"] * 20)
            paths = [f"/w/{n}" for n in range(50)]
            for _ in range(40):
                writer.write_all([(p, "x") for p in paths] * 10)
            writer.write_all([(p, "last") for p in reversed(paths)])
            self.check()
            self.assertLess(daemon.rss_kib() - before, GROWTH_KIB, "the daemon grows")
            with contextlib.suppress(Closed):
                self.assertEqual(set(attacker.events_until_mark(via=writer)), set(paths))

    def test_slow_watcher_misses_nothing(self):
        """Every entry that was written shows up, however far behind the watcher is."""
        for daemon in self.a, self.b:
            watcher, writer = self.connect(daemon), self.connect(daemon)
            watcher.watch("/w/", "/w/", "/w/0100")
            paths = [f"/w/{n:04}" for n in range(4000)]
            writer.write_all([(p, "") for p in paths])
            expected = sorted(paths * 2 + ["/w/0100"])
            self.assertEqual(watcher.events_until_mark(via=writer), expected)

    def test_paused_watcher_of_a_directory(self):
        """Entries that are written in turn: one event for each waits, not one for each write."""
        watcher, writer = self.connect(self.a), self.connect(self.a)
        watcher.watch("/w/", "/w/1")
        paths = [f"/w/{n}" for n in range(3)]
        writer.write_all([(p, "") for p in paths] * 15000)
        self.assertEqual(set(watcher.events_until_mark(via=writer)), set(paths))

    def test_all_watches_of_a_client_fire_at_once(self):
        """As many as it may have, on one path: none of the events is too much for it."""
        for daemon in self.a, self.b:
            watcher, writer = self.connect(daemon), self.connect(daemon)
            answers = watcher.pump(pack(WATCH, "/x") * 20000, 20000)
            watches = sum(m.type == OK for m in answers)
            self.assertLess(watches, 20000)
            watcher.unwatch("/x")
            for _ in range(2):
                writer.write("/x")
                self.assertEqual(watcher.events_until_mark(via=writer), ["/x"] * (watches - 1))

    def test_watches_of_many_clients(self):
        """All clients together have a limit, too, and what one leaves another may use."""
        attackers = [self.connect(self.a, ro=True) for _ in range(8)]
        for attacker in attackers:
            answers = {m.type for m in attacker.pump(pack(WATCH, "/x") * 15000, 15000)}
        self.assertEqual(answers, {ERROR})
        honest = self.connect(self.a)
        honest.expect(ERROR, WATCH, "/x")
        honest.write("/x", "1")
        attackers[0].unwatch("/x")
        honest.watch("/x")
        honest.write("/x", "2")
        self.assertEqual(honest.event(), "/x")
        self.check()
        for attacker in attackers:
            attacker.close()
        when(lambda: honest.watch(*["/x"] * 1000), Broken)

    def test_too_many_watches_are_refused(self):
        """There is a limit, or there is room: never an end of the daemon or of the connection."""
        for attacker in self.victims(ro=True):
            raw = b"".join(pack(WATCH, f"/{'w' * 50}/{n}") for n in range(30000))
            answers = {m.type for m in attacker.pump(raw, 30000)}
            self.assertLessEqual(answers, {OK, ERROR})
            attacker.expect(NOENT, READ, "/none")
            self.check()
            attacker.close()
        self.before = [d.rss_kib() for d in (self.a, self.b)]

    def test_too_many_entries_are_refused(self):
        """Likewise for entries; whatever was acknowledged is there, on both sides."""
        attacker = self.connect(self.a)
        entries = [(f"/{n:05}/{'e' * 50}", "z" * 500) for n in range(20000)]
        answers = attacker.pump(b"".join(pack(WRITE, *e) for e in entries), len(entries))
        self.assertLessEqual({m.type for m in answers}, {OK, ERROR})
        taken = [p for (p, _), m in zip(entries, answers) if m.type == OK]
        self.assertEqual([p for p in attacker.list() if p.endswith("e")], taken)
        self.assert_equal_ends(self.a, self.b)
        attacker.rm("/")
        self.before = [d.rss_kib() for d in (self.a, self.b)]


class Crowd(Attack):
    def test_400_clients(self):
        for ro in False, True:
            for daemon in self.a, self.b:
                crowd = [daemon.connect(ro) for _ in range(400)]
                for client in crowd:
                    client.send_raw(pack(READ, "/crowd"))
                for client in crowd:
                    self.assertEqual(client.answer_to(READ, "/crowd").type, NOENT)
                self.check()
                for client in crowd:
                    client.close()

    def test_send_and_close(self):
        requests = [pack(MULTIREAD) * 50, pack(READ, "/honest") * 50, pack(WATCH, "/honest") * 50,
                    pack(WRITE, "/gone", "z" * 3071) * 50, pack(RM, "/gone"), b"\0", b"",
                    pack(LIST)[:71], pack(77, "/x", "y")]
        for n in range(300):
            for daemon, ro in (self.a, False), (self.b, False), (self.a, True):
                with daemon.connect(ro) as client:
                    client.send_raw(requests[n % len(requests)])
        self.check()

    def test_send_and_reset(self):
        """The same with answers under way that can no longer be delivered."""
        for _ in range(50):
            for daemon in self.a, self.b:
                with daemon.connect() as client:
                    client.send_raw(pack(WATCH, "/honest") + pack(MULTIREAD) * 20)
                    client.recv()
                    client.sock.shutdown(socket.SHUT_RD)
        self.check()

    def test_half_closed(self):
        """Who sends no more still gets what it asked for, or at least the end of the stream."""
        for client in self.victims():
            client.send_raw(pack(READ, "/none") * 100)
            client.sock.shutdown(socket.SHUT_WR)
            client.wait_closed()
        self.check()

    def test_passed_descriptors(self):
        """Descriptors that a client passes are not kept."""
        for daemon, client in zip((self.a, self.b), self.victims()):
            client.read("/none")
            before = daemon.descriptors()
            for _ in range(200):
                with open("/dev/null", "rb") as f:
                    client.sock.sendmsg([pack(READ, "/none")], [
                        (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", f.fileno()))])
                self.assertEqual(client.answer_to(READ, "/none").type, NOENT)
            self.assertEqual(daemon.descriptors(), before)


class Leaks(Attack):
    def test_no_bytes_of_ours(self):
        """Connection.recv judges the bytes; here every type of answer after long paths."""
        long = "/" + "S" * 62
        for client in self.victims():
            client.watch(long, "/s", "/s")
            client.write(long, b"secret" * 500)
            client.write("/s", "")
            for kind in READ, LIST, MULTIREAD, WATCH, UNWATCH, WRITE, RM, 55:
                for path in long, "/s", "/t", "-", "":
                    if kind != WRITE:
                        client.ask(kind, path)
                        client.ask(kind, path, "data")
                    else:
                        client.ask(kind, path, b"\0")

    def test_fuzz(self):
        """Well-framed nonsense of all sorts gets one answer each and keeps the connection."""
        rng = random.Random(4)
        pieces = ["/", "/a", "/a/", "/a/b", "//", "-", "", "x", "/\xff", "/" + "y" * 70, "/ ", "/a\0z"]
        for client in self.victims():
            for _ in range(3000):
                kind = rng.choice((rng.randrange(7), rng.randrange(256)))
                path = rng.choice(pieces).encode("latin-1")
                data = rng.choice((b"", b"", b"x", b"\0", b"z" * 3071, b"z" * 3072))
                client.ask(kind, path, data, padding=rng.randbytes(3))
                client.events.clear()

    def test_noise(self):
        """Bytes that mean nothing: the daemon may close or wait, but lives."""
        for n in range(60):
            for daemon in self.a, self.b:
                with daemon.connect(ro=n % 2) as client:
                    with contextlib.suppress(Broken):
                        client.send_raw(os.urandom(1 + n * 97))
        self.check()

    def test_terminated_amid_it_all(self):
        """SIGTERM works with clients in every bad state."""
        for client in self.victims():
            client.watch("/w")
            client.send_raw(pack(MULTIREAD) * 500 + pack(WRITE, "/w", length=0xffffffff) + b"x")
        for client in self.victims():
            client.send_raw(HEADER.pack(WRITE, b"/w", b"", 100)[:40])
        self.check()
        for daemon, sig in (self.a, signal.SIGTERM), (self.b, signal.SIGINT):
            daemon.stop(sig)
        self.setUp()


if __name__ == "__main__":
    run()
