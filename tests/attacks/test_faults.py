#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Faults of deployed QubesDB daemons: those of the table in README that the other tests do not have
already.
"""
import contextlib
import itertools
import os
import re

from common import Attack, run
from qdb import (ERROR, LIST, MULTIREAD, NOENT, OK, READ, RM, R_MULTIREAD, UNWATCH, WATCH, WRITE,
                 Closed, pack)

# Where a signed length, or one to which the header is added, changes its sign or starts over.
LENGTHS = [sign + n for sign in (1 << 31, 1 << 32) for n in (-73, -72, -71, -1, 0, 1, 71, 72)
           if sign + n < 1 << 32]
GROWTH_KIB = 24 * 1024


class Lengths(Attack):
    def test_near_2_gib_from_a_client(self):
        dom0, vm = self.pair()
        checks = [self.honest(dom0), self.honest(vm)]
        before = [d.rss_kib() for d in (dom0, vm)]
        for length in LENGTHS:
            for kind in WRITE, READ, MULTIREAD, LIST, RM, WATCH, UNWATCH, 14, 255:
                for daemon, ro in (dom0, False), (dom0, True), (vm, True):
                    with daemon.connect(ro) as attacker:
                        attacker.send(kind, "/a", length=length)
                        attacker.send_raw(pack(WRITE, "/smuggled", "1") * 100)
                        self.assertFalse(attacker.readable())
        for daemon, check, kib in zip((dom0, vm), checks, before):
            check()
            daemon.check_quiet()
            self.assertLess(daemon.rss_kib() - kib, GROWTH_KIB)
            self.assertIsNone(self.connect(daemon).read("/smuggled"))

    def test_near_2_gib_from_the_vm(self):
        dom0 = self.dom0()
        check = self.honest(dom0)
        before = dom0.rss_kib()
        for length, kind in itertools.product(LENGTHS, (WRITE, OK)):
            with self.fake_vm() as link:
                link.hello().dump()
                with contextlib.suppress(Closed):
                    link.send_raw(pack(kind, "/a", length=length))
                    link.send_raw(pack(WRITE, "/smuggled", "1") * 100)
                link.wait_closed()
            with self.fake_vm() as link:  # after a good one the next need not wait
                link.hello().dump()
        check()
        dom0.check_quiet()
        self.assertLess(dom0.rss_kib() - before, GROWTH_KIB)
        self.assertIsNone(self.connect(dom0).read("/smuggled"))
        self.assert_equal_ends(dom0, self.vm())

    def test_near_2_gib_from_dom0(self):
        server = self.fake_dom0_server()
        vm = self.vm(ready=False)
        for length in LENGTHS:
            with self.accept(server) as link:
                link.hello()
                with contextlib.suppress(Closed):
                    link.send_raw(pack(R_MULTIREAD, "/a", length=length) + bytes(10000))
                link.wait_closed()
            with self.accept(server) as link:
                link.hello()
                link.dump({"/b": "1"})
        with self.accept(server) as link:
            link.hello()
            link.dump({"/b": "1"})
            self.assertEqual(self.connect(vm.wait_ready()).snapshot(), {"/b": b"1"})


class Watchers(Attack):
    def test_100_000_watches(self):
        """As many as it likes: with the limits as they are, and with limits for nobody."""
        raw = b"".join(pack(WATCH, f"/{'w' * 40}/{n}") for n in range(100_000))
        for quotas, taken in ((), 12288), (("watches=200000", "client-watches=200000"), 100_000):
            daemon = self.limited(*quotas, name=f"w{taken}")
            check = self.honest(daemon)
            attacker, writer = self.connect(daemon, ro=True), self.connect(daemon)
            answers = [m.type for m in attacker.pump(raw, 100_000)]
            self.assertEqual(answers, [OK] * taken + [ERROR] * (100_000 - taken))
            check()
            writer.write(f"/{'w' * 40}/{taken - 1}")
            self.assertEqual(attacker.event(), f"/{'w' * 40}/{taken - 1}")
            writer.rm("/")
            attacker.expect(NOENT, READ, "/none")
            attacker.close()
            check()
            daemon.check_quiet()

    def flood_with_events(self, daemon, *quick):
        """Different paths, so that nothing can be merged, to one that reads and one that does not."""
        writer = self.connect(daemon)
        for turn in range(5):
            paths = [f"/e/{turn}/{n:04}" for n in range(1000)]
            writer.write_all([(p, "") for p in paths])
            for watcher in quick:
                self.assertEqual([watcher.event() for _ in paths], paths)

    def test_who_never_reads_is_disconnected(self):
        """At its output quota, with a line in the log; those who read miss nothing meanwhile."""
        daemon = self.limited("output=256K")
        check = self.honest(daemon)
        slow, quick = self.connect(daemon, ro=True), self.connect(daemon, ro=True)
        slow.watch("/e/")
        slow.watch("/e/")
        quick.watch("/e/")
        self.flood_with_events(daemon, quick)
        check()
        self.assertEqual(re.findall(r"process (\d+) of user (\d+) is disconnected: too many events "
                                    r"that were not read, over the quota output, 262144 bytes\n",
                                    daemon.output()), [(str(os.getpid()), str(os.getuid()))])
        slow.wait_closed()

    def test_who_never_reads_without_the_quota(self):
        """What the quota is for: without it the events stay, and are all there in the end."""
        daemon = self.limited("output=64M")
        slow = self.connect(daemon, ro=True)
        slow.watch("/e/")
        slow.watch("/e/")
        self.flood_with_events(daemon)
        self.assertEqual(len([slow.event() for _ in range(10_000)]), 10_000)
        self.assertNotIn("disconnected", daemon.output())


if __name__ == "__main__":
    run()
