#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What one message of the VM costs dom0's daemon must not grow with what the namespace holds or who
watches it, or a flood of them would hold up everybody in every turn.

Processor time is compared with that of a flood of harmless messages at the same daemon, so it does
not matter how fast or busy the machine is. What a flaw costs is hundreds of times as much.
"""
from common import Attack, run
from qdb import MULTIREAD, OK, RM, WATCH, WRITE, pack

ENTRIES, WATCHES = 8000, 10_000
FLOOD = 5000
TIMES = 10
CAPABILITY = "@qdb:1:%016x:fresh"


class Costs(Attack):
    def cpu_of(self, daemon, link, raw, answers=0):
        """Processor time until the daemon has served `raw` and one more write."""
        before = daemon.cpu_ns()
        link.pump(raw + pack(WRITE, "/end", "1"), answers + 1)
        return daemon.cpu_ns() - before

    def filled(self):
        daemon = self.dom0()
        self.connect(daemon).write_all([(f"/e/{n}", "1") for n in range(ENTRIES)])
        return daemon

    def check(self, harmless, costly):
        self.assertLess(costly, TIMES * harmless)

    def test_announcements(self):
        daemon = self.filled()
        link = self.fake_vm().hello(CAPABILITY % 1)
        link.dump()
        harmless = self.cpu_of(daemon, link, pack(OK, "@qdb:1:nothing") * FLOOD)
        for word in "got", "go", "news", "0123456789abcdef:0":
            with self.subTest(word):
                costly = self.cpu_of(daemon, link, pack(OK, "@qdb:1:" + word) * FLOOD)
                self.check(harmless, costly)

    def cpu_of_greetings(self, daemon, raw):
        before = daemon.cpu_ns()
        with self.fake_vm() as link:
            link.announced = True
            link.send_raw(pack(OK, CAPABILITY % 1) + raw + pack(MULTIREAD))
            link.dump()
        return daemon.cpu_ns() - before

    def test_greetings(self):
        """Each of a VM that dom0 has not seen yet."""
        daemon = self.filled()
        harmless = self.cpu_of_greetings(daemon, pack(OK, "@qdb:1:nothing") * FLOOD)
        others = b"".join(pack(OK, f"@qdb:1:{n:016x}:1") for n in range(2, FLOOD))
        self.check(harmless, self.cpu_of_greetings(daemon, others))

    def test_removals_where_many_watch(self):
        daemon = self.dom0()
        link = self.fake_vm().hello(CAPABILITY % 1)
        link.dump()
        flood = (pack(WRITE, "/w/z", "1") + pack(RM, "/")) * (FLOOD // 5)
        harmless = self.cpu_of(daemon, link, flood, 2 * FLOOD // 5)
        watcher = self.connect(daemon)
        raw = b"".join(pack(WATCH, f"/w/{n}") for n in range(WATCHES))
        self.assertEqual({m.type for m in watcher.pump(raw, WATCHES)}, {OK})
        self.check(harmless, self.cpu_of(daemon, link, flood, 2 * FLOOD // 5))


if __name__ == "__main__":
    run()
