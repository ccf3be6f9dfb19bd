#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What was recorded from deployed daemons, said again to ours: the answers must have the same bytes.

DIFFERENCES names everything that may differ and why; a test that tolerates one refers to it.
"""
import os
import unittest

from harness import Case, run
from qdb import ERROR, MULTIREAD, OK, RM, R_MULTIREAD, WRITE, Message

VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors")

DIFFERENCES = {
    "stays-open": "a connection is closed after a refused WRITE of an ill-formed entry path: a "
                  "fault; all that was recorded on connections x is said on one that stays open",
    "capability": "a VM's daemon may send one OK with a path that begins with '@' before its "
                  "MULTIREAD; deployed peers ignore it",
    "rewrite": "an RM towards a deployed peer may come right after a WRITE of an entry that it "
               "removes, so that the peer cannot die of a removal that hits nothing",
}


def conversation(name):
    """The lines of a file as (who, message), `who` being what stands before the message's name."""
    with open(os.path.join(VECTORS, name), encoding="ascii") as f:
        for number, line in enumerate(f, 1):
            if line.startswith("#"):
                continue
            text, _, digits = line.rpartition(" | ")
            words = text.split()
            raw = bytes.fromhex(digits)
            path = raw[1:65].split(b"\0")[0]
            who = words[0] if "->" in words[0] else (words[0], words[1])
            yield number, who, Message(raw[0], path, raw[72:], raw)


class Local(Case):
    def settle(self):
        """What one side did last has reached the other, and no trace is left of asking."""
        for here, there in (self.dom0_side, self.vm_side), (self.vm_side, self.dom0_side):
            here.write("/zz.sync")
            self.assertEqual(there.event(), "/zz.sync")
            here.rm("/zz.sync")
            self.assertEqual(there.event(), "/zz.sync")
            for own in "/zz.sync", "/zz.sync":
                self.assertEqual(here.event(), own)

    def test_local(self):
        dom0 = self.dom0()
        with dom0.connect() as before:
            before.write("/pre/one", "1")
            before.write("/pre/two", "22")
        vm = self.vm()
        self.dom0_side, self.vm_side = self.connect(dom0), self.connect(vm)
        self.dom0_side.watch("/zz.sync")
        self.vm_side.watch("/zz.sync")
        connections = {  # x: see DIFFERENCES["stays-open"]
            "a": self.connect(dom0), "r": self.connect(dom0, ro=True),
            "b": self.connect(vm), "x": self.connect(dom0)}
        said = heard = 0
        side = None
        for number, (who, direction), message in conversation("local.txt"):
            connection = connections[who]
            if direction == ">":
                if side not in (None, who == "b"):
                    self.settle()
                side = who == "b"
                connection.send_raw(message.raw)
                said += 1
            else:
                self.assertEqual(connection.recv().raw, message.raw, f"local.txt:{number}")
                heard += 1
        self.assertEqual((said, heard), (56, 106))
        for who, connection in connections.items():
            self.assertEqual(connection.events_until_mark(via=connections["b" if who == "b" else "a"]),
                             [], f"{who} got more than was recorded")


class Vchan(Case):
    PRE = {"/pre/one": "1", "/pre/two": "22"}

    def receive(self, link, expected, number):
        """The recorded message; before an RM, see DIFFERENCES["rewrite"]."""
        got = link.recv()
        if expected.type == RM and got.type == WRITE:
            inside = expected.path.endswith(b"/") and got.path.startswith(expected.path)
            self.assertTrue(inside or got.path == expected.path, f"vchan.txt:{number}: {got}")
            self.assertEqual(link.state.get(got.path.decode()), got.data)
            self.assertNotEqual(got.data, b"", "an empty rewrite is somebody's commit signal")
            link.send(OK, got.path)
            got = link.recv()
        self.assertEqual(got.raw, expected.raw, f"vchan.txt:{number}")
        if got.type in (WRITE, RM):
            link.apply(got)

    def replay(self, client, link, ours, theirs):
        """
        Says what `theirs` said in the recording, and expects of the daemon what `ours` said;
        operations of that side are caused through a local client.
        """
        count = 0
        for number, who, message in conversation("vchan.txt"):
            count += 1
            if message.type == MULTIREAD or (message.type == R_MULTIREAD and ours == "vm->dom0"):
                continue
            if who == theirs:
                if message.type in (WRITE, RM):
                    link.apply(message)
                link.send_raw(message.raw)
                continue
            self.assertEqual(who, ours)
            if message.type in (WRITE, RM):
                client.expect(OK, message.type, message.path, message.data)
            self.receive(link, message, number)
        self.assertEqual(count, 44)

    def test_we_play_the_vm(self):
        dom0 = self.dom0()
        client = self.connect(dom0)
        for path, value in self.PRE.items():
            client.write(path, value)
        link = self.fake_vm().hello()
        link.state = {p: v.encode() for p, v in self.PRE.items()}
        self.replay(client, link, "dom0->vm", "vm->dom0")
        self.assertFalse(link.readable(0.1), "dom0 said more than was recorded")
        self.assert_same(client.snapshot(), link.state)

    def test_we_play_dom0(self):
        server = self.fake_dom0_server()
        vm = self.vm(ready=False)
        link = self.accept(server)
        link.hello()  # DIFFERENCES["capability"]
        link.dump(self.PRE)
        vm.wait_ready()
        client = self.connect(vm)
        self.replay(client, link, "vm->dom0", "dom0->vm")
        self.assertFalse(link.readable(0.1), "the VM said more than was recorded")
        self.assert_same(client.snapshot(), link.state)


class Table(unittest.TestCase):
    def test_recording_is_honest(self):
        """The replay means something only if the files have what their heads say."""
        kinds = {m.type for _, _, m in conversation("local.txt")}
        self.assertLessEqual({ERROR, OK, RM, MULTIREAD, WRITE}, kinds)
        self.assertEqual({m.raw[65:68] for _, _, m in conversation("local.txt")}, {b"\0\0\0"})


if __name__ == "__main__":
    run()
