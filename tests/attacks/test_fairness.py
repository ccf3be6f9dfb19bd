#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
How much of a flood is served between a request of somebody else and its answer. Nothing is timed:
the flood writes numbers to an entry, and the victim reads how far it has come.

The daemon stands still while the flood's socket is filled and the victim asks, so that both wait
for it at once. What the flood was answered by then is what it was ahead already. Of what the victim
sees beyond that, one turn may have been under way when the daemon was stopped, and one may come
before the victim's. bench/run measures the same with a clock.
"""
from common import Attack, run
from qdb import HEADER, MULTIREAD, OK, READ, R_MULTIREAD, R_READ, WRITE, Broken, pack

REQUESTS = 64
PIECE = 8192 // HEADER.size  # what one read from the vchan can hold
ROUNDS = 20
PENDING, BATCH = 500, 100  # requests under way; they and their answers fit into a socket


class Flood:
    """Keeps nearly PENDING requests under way. `request` makes number n."""

    def __init__(self, stream, request):
        self.stream, self.request = stream, request
        self.asked, self.got = 0, b""
        self.answers = []

    def fill(self):
        while self.asked - len(self.answers) <= PENDING - BATCH:
            raw = b"".join(self.request(n) for n in range(self.asked, self.asked + BATCH))
            if self.stream.send_some(raw) != len(raw):
                raise Broken("the socket does not take a flood")
            self.asked += BATCH

    def drain(self):
        """Takes the answers that are there; returns how many there have been."""
        while self.stream.readable():
            self.got += self.stream.sock.recv(65536)
        at = 0
        while len(self.got) - at >= HEADER.size:
            kind, path, _, length = HEADER.unpack_from(self.got, at)
            if length > len(self.got) - at - HEADER.size:
                break
            if kind != R_MULTIREAD or path.strip(b"\0"):  # not an end mark
                self.answers.append((kind, self.got[at + HEADER.size:at + HEADER.size + length]))
            at += HEADER.size + length
        self.got = self.got[at:]
        return len(self.answers)


def numbered(n):
    return pack(WRITE, "/number", b"%d" % n)


class Fairness(Attack):
    def accepted(self, daemon):
        """A victim whose connection is no longer a turn's work."""
        victim = self.connect(daemon)
        self.assertIsNone(victim.read("/none"))
        return victim

    def most_between(self, daemon, flood):
        """The most of the flood's writes between a question of the victim's and its answer."""
        victim, most = self.accepted(daemon), 0
        flood.fill()
        for _ in range(ROUNDS):
            with self.standing_still(daemon):
                answered = flood.drain()
                flood.fill()
                victim.send(READ, "/number")
            served = int(victim.answer_to(READ, "/number").data or -1) + 1
            most = max(most, served - answered)
            while flood.drain() < served:
                pass
        self.assertEqual({kind for kind, _ in flood.answers}, {OK})
        return most

    def test_writes_of_a_client(self):
        daemon = self.dom0()
        most = self.most_between(daemon, Flood(self.connect(daemon), numbered))
        self.assertLessEqual(most, 2 * REQUESTS)

    def test_fewer_in_a_turn(self):
        daemon = self.limited("requests=4")
        most = self.most_between(daemon, Flood(self.connect(daemon), numbered))
        self.assertLessEqual(most, 2 * 4)

    def test_without_the_quota(self):
        """The attack succeeds when nothing stops it: this test sees what it looks for."""
        daemon = self.limited("requests=1000000")
        most = self.most_between(daemon, Flood(self.connect(daemon), numbered))
        self.assertGreater(most, 2 * 4)

    def test_writes_of_the_vm(self):
        """The link takes in one piece a turn, whatever waits in it."""
        daemon = self.dom0()
        link = self.fake_vm().hello()
        link.dump()
        most = self.most_between(daemon, Flood(link, numbered))
        self.assertLessEqual(most, 2 * PIECE)

    def check_readers(self, request, kind, count=1):
        """How many of a flood's reads still find the old value after the victim's write."""
        daemon = self.dom0()
        victim = self.accepted(daemon)
        floods = [Flood(self.connect(daemon), lambda n: request) for _ in range(count)]
        for value in range(ROUNDS):
            new = (kind, b"%d" % value)
            with self.standing_still(daemon):
                before = [flood.drain() for flood in floods]
                for flood in floods:
                    flood.fill()
                victim.send(WRITE, "/mark", new[1])
            self.assertEqual(victim.answer_to(WRITE, "/mark").type, OK)
            for flood, answered in zip(floods, before):
                while flood.answers[-1:] != [new]:
                    flood.drain()
                    flood.fill()
                late = sum(answer != new for answer in flood.answers[answered:])
                self.assertLessEqual(late, 2 * REQUESTS)

    def test_reads_of_a_client(self):
        self.check_readers(pack(READ, "/mark"), R_READ)

    def test_lists_of_a_client(self):
        self.check_readers(pack(MULTIREAD, "/mark"), R_MULTIREAD)

    def test_reads_of_many_clients(self):
        """Each of them has its turn before the victim's, and no more."""
        self.check_readers(pack(READ, "/mark"), R_READ, count=10)


if __name__ == "__main__":
    run()
