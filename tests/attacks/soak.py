#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Everything at once, for some seconds: tests/attacks/soak.py [SECONDS], 5 unless told.

Each attacker is a process of its own, on a local socket or at the other end of the vchan, and one
is another user if there is one to be. Meanwhile an honest program writes and reads, and opens
connections; each of its requests must be answered, and with what it wrote. The daemon's private
memory stays under the sum of what its quotas allow. In the end it is the same process, comes to
rest, and becomes equal with an honest agent.

The honest program's round trips are printed and nothing more: how long they are is the machine's
affair. Beside them stands how long the daemon itself worked within one of them, whoever else had
the processor meanwhile: on a machine that has nothing else to do this is what one waits for. It must
stay below 20 ms in 999 of 1000; the rest is for when the honest program itself has to wait for a
processor between its request and its answer.
"""
import ctypes
import os
import random
import signal
import socket
import statistics
import sys
import time
import traceback

from common import SANITIZED, Attack, run
from qdb import (HEADER, LIST, MULTIREAD, OK, READ, RM, TIMEOUT, WATCH, WRITE, Closed, Connection,
                 dial, pack)

SECONDS = float(sys.argv.pop(1)) if len(sys.argv) > 1 and sys.argv[1][0].isdigit() else 5.0
PR_SET_PDEATHSIG = 1
NOBODY = 65534

KIB, MIB = 1024, 1024 * 1024
QUOTAS = {
    "entries": 5000, "bytes": 4 * MIB, "vm-entries": 1000, "vm-bytes": 512 * KIB,
    "connections": 120, "user-connections": 30, "watches": 20000, "client-watches": 2000,
    "output": 512 * KIB, "changes": 10000, "backlog": 256 * KIB, "reconnects": 1_000_000,
    "vm-links": 1_000_000,
}
# What one of each costs besides the bytes that it counts: nodes, buffers, the allocator's rounding.
# A queue that grows holds up to twice its limit.
COSTS = {"entries": 256, "bytes": 1, "connections": 2 * QUOTAS["output"] + 16 * KIB, "watches": 256,
         "changes": 256, "backlog": 2}
WORK_NS = 20_000_000
SUM_KIB = sum(QUOTAS[name] * cost for name, cost in COSTS.items()) // KIB + 4 * KIB


class Attacker:
    """`attack` once and again, in a process that ends with this one; only errors of sockets pass."""

    def __init__(self, attack, *arguments, uid=None):
        self.name = attack.__name__
        self.pid = os.fork()
        if self.pid:
            return
        try:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.nice(19)  # how the machine is shared out is not the daemon's affair
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            while True:
                try:
                    attack(*arguments)
                except (Closed, OSError):
                    time.sleep(0.01)
        except BaseException:  # pylint: disable=broad-except
            traceback.print_exc()
        os._exit(1)

    def kill(self):
        """Returns whether it was still at it."""
        os.kill(self.pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]) == -signal.SIGKILL


# ---- local clients ----

def floods_with_writes(path):
    with Connection(path) as client:
        raw = b"".join(pack(WRITE, f"/flood/{n}", "z" * random.randrange(3072)) for n in range(50))
        for _ in range(100):
            client.pump(raw * 4, 200)
            client.events.clear()


def floods_with_entries(path):
    """Until they are refused; the refusals, too, are a flood."""
    with Connection(path) as client:
        entries = (f"/entry/{random.randrange(20000):05}/{'e' * 30}" for _ in range(5000))
        client.pump(b"".join(pack(WRITE, path, "z" * 900) for path in entries), 5000)
        client.pump(pack(RM, f"/entry/{random.randrange(10)}"), 1)


def floods_with_reads(path):
    with Connection(path) as client:
        for _ in range(200):
            client.pump(pack(READ, "/honest") * 500, 500)


def reads_nothing(path):
    """Neither answers nor events, of which it asks for as many as there may be."""
    crowd = [Connection(path) for _ in range(10)]
    for n, client in enumerate(crowd):
        raw = pack(WATCH, "/") * 500 if n % 2 else pack(MULTIREAD) * 100 + pack(LIST) * 100
        while raw and (sent := client.send_some(raw)):
            raw = raw[sent:]
    time.sleep(1)
    for client in crowd:
        client.close()


def stops_in_mid_message(path):
    crowd = [dial(path) for _ in range(10)]
    raw = pack(WRITE, "/half", "z" * 100)
    for sock in crowd:
        sock.send(pack(READ, "/honest") + raw[:random.randrange(1, len(raw))])
    time.sleep(0.2)
    for sock in crowd:
        sock.close()


def announces_too_much(path):
    with dial(path) as sock:
        length = random.choice((3072, 1 << 24, (1 << 31) - 73, 1 << 31, (1 << 32) - 72, (1 << 32) - 1))
        sock.send(HEADER.pack(random.randrange(256), b"/a", b"\1\2\3", length))
        for _ in range(20):
            sock.send(os.urandom(30000))


def connects_and_closes(path):
    for _ in range(50):
        with dial(path) as sock:
            sock.send(random.choice((b"\0", pack(MULTIREAD) * 20, pack(WATCH, "/"), pack(77))))
            if random.randrange(2):
                sock.shutdown(socket.SHUT_RD)


def removes_where_it_watches(path):
    """As much as it may watch, below what it writes and removes again."""
    with Connection(path) as client:
        client.pump(b"".join(pack(WATCH, f"/nest/{n}/") for n in range(1900)), 1900)
        for _ in range(20):
            client.pump((pack(WRITE, "/nest/x", "1") + pack(RM, "/nest/")) * 100, 200)
            client.events.clear()


def takes_all_places(path):
    """As another user, who gets no more than his share."""
    crowd = []
    while len(crowd) < 60:
        crowd.append(dial(path))
        crowd[-1].send(pack(WATCH, "/") * 20)
    time.sleep(0.5)
    for sock in crowd:
        sock.close()


# ---- the VM ----

def says(*pieces):
    def speak(link):
        for piece in pieces:
            link.send(piece)
        link.recv(65536)
    return speak


def floods_the_link(link):
    """New entries, rewrites and removals; no answer is read for long."""
    link.send(pack(MULTIREAD))
    for n in range(60):
        link.send(b"".join(pack(WRITE, f"/vm/{n}/{i}", os.urandom(400).hex()) for i in range(30)) +
                  pack(RM, f"/vm/{n - 20}/") + pack(WRITE, "/vm/last", "x"))
        if n % 20 == 0:
            link.recv(4096)


def answers_nothing(link):
    link.send(pack(MULTIREAD))
    time.sleep(0.2)


def refuses_to_undo(link):
    """Over its share, with ever new paths and no answer."""
    link.send(pack(OK, "@qdb:1:00000000000000aa:fresh") + pack(MULTIREAD))
    for n in range(100):
        link.send(b"".join(pack(WRITE, f"/new/{n}/{random.random()}", "x" * 50) for _ in range(50)))
        link.recv(65536)


def greets_and_greets(link):
    for n in range(40):
        link.send(b"".join(pack(OK, f"@qdb:1:{i:016x}:{i}") for i in range(n, n + 50)))
    link.send(pack(MULTIREAD) + pack(OK, "@qdb:1:go"))
    for n in range(40):
        link.send(pack(OK, "@qdb:1:got") * 50)
    link.recv(65536)


def removes_what_is_not_its_own(link):
    link.send(pack(MULTIREAD))
    for n in range(100):
        link.send((pack(RM, "/entry/") + pack(RM, "/flood/")) * 20)
        link.recv(65536)


CONVERSATIONS = [
    says(os.urandom(5000)), says(b"\1"), says(pack(MULTIREAD), b"\1"),
    says(pack(MULTIREAD) * 2), says(pack(MULTIREAD), os.urandom(5000)),
    says(pack(MULTIREAD), pack(WRITE, "/a", length=(1 << 31) - 73)),
    says(pack(OK, "@qdb:1:zzzz") * 5, pack(MULTIREAD)), says(pack(MULTIREAD), pack(OK, "/a") * 50),
    floods_the_link, floods_the_link, answers_nothing, refuses_to_undo, greets_and_greets,
    removes_what_is_not_its_own,
]


def is_a_hostile_vm(path):
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(0.2)
        link.connect(path)
        random.choice(CONVERSATIONS)(link)


# ---- the honest program ----

class Honest:
    def __init__(self, daemon):
        self.daemon, self.client = daemon, daemon.connect()
        self.times, self.work_ns, self.peak_kib, self.serial = [], [], 0, 0

    def measured(self, request):
        before, begin = self.daemon.cpu_ns(), time.monotonic()
        result = request()
        self.times.append(time.monotonic() - begin)
        self.work_ns.append(self.daemon.cpu_ns() - before)
        return result

    def work_within(self, permille):
        return sorted(self.work_ns)[(len(self.work_ns) - 1) * permille // 1000]

    def round(self):
        """A write, and reads by itself and, now and then, by one who has just come."""
        self.serial += 1
        value = b"%08d" % self.serial
        self.measured(lambda: self.client.write("/honest", value))
        if self.measured(lambda: self.client.read("/honest")) != value:
            raise AssertionError("the honest program reads what it has not written")
        if self.serial % 50 == 0:
            self.peak_kib = max(self.peak_kib, self.daemon.private_dirty_kib())
            with self.daemon.connect(ro=self.serial % 100 == 0) as late:
                if late.read("/honest") != value:
                    raise AssertionError("a new honest program reads what nobody has written")


class Soak(Attack):
    def attackers(self, daemon):
        own, ro = daemon.socket(), daemon.socket(ro=True)
        yield from (Attacker(a, own) for a in (floods_with_writes, floods_with_entries))
        yield from (Attacker(a, path) for path in (own, ro) for a in (
            floods_with_reads, reads_nothing, stops_in_mid_message, announces_too_much,
            connects_and_closes))
        yield Attacker(removes_where_it_watches, own)
        yield Attacker(is_a_hostile_vm, self.home.link())
        if os.getuid() == 0:
            yield Attacker(takes_all_places, own, uid=NOBODY)

    def test_everything_at_once(self):
        daemon = self.limited(*(f"{name}={value}" for name, value in QUOTAS.items()))
        honest = Honest(daemon)
        honest.round()
        attackers = list(self.attackers(daemon))
        try:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                honest.round()
        finally:
            broken = [a.name for a in attackers if not a.kill()]
        self.tell(honest)
        self.assertEqual(broken, [], "the daemon broke the protocol")
        self.assertTrue(daemon.is_running(), daemon.output())
        if not SANITIZED:
            self.assertLess(honest.peak_kib, SUM_KIB)
            self.assertLess(honest.work_within(999), WORK_NS, "the daemon worked for others")
        honest.round()
        honest.client.close()
        daemon.check_quiet()
        with daemon.connect() as client:  # an honest agent has the share of the others
            client.pump(pack(RM, "/vm/") + pack(RM, "/new/"), 2)
        self.assert_equal_ends(daemon, self.vm())

    def tell(self, honest):
        times = sorted(1000 * t for t in honest.times)
        print(f"\n{len(times)} honest round trips in {SECONDS:g} s, ms: median "
              f"{statistics.median(times):.2f}, 99% within {times[len(times) * 99 // 100]:.2f}, "
              f"largest {times[-1]:.2f}; of the daemon's own work 99.9% within "
              f"{honest.work_within(999) / 1e6:.2f}, largest {max(honest.work_ns) / 1e6:.2f}; "
              f"private dirty {honest.peak_kib} of {SUM_KIB} KiB", flush=True)


if __name__ == "__main__":
    if SECONDS > 4 * TIMEOUT:
        os.environ.setdefault("QUBESDB_TEST_LIMIT", str(int(SECONDS) + 300))
    run()
