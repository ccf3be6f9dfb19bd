#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Each of our daemons with a deployed one at the other end of the vchan, played by the test.
"""

import time

from harness import Case, run
from qdb import (ERROR, MULTIREAD, NOENT, OK, READ, RM, R_MULTIREAD, R_READ, TIMEOUT, WRITE, pack)


def big(count):
    """More than any socket's buffers take."""
    return [(f"/big/{n:05}", f"{n:05}" * 100) for n in range(count)]


class DeployedVM(Case):
    """Our dom0 daemon and a deployed agent."""

    def setUp(self):
        super().setUp()
        self.a = self.dom0()
        self.c = self.connect(self.a)

    def check_state(self, link):
        """The agent has everything when it has the last write."""
        self.c.write("/zz.last", "")
        link.serve_until(lambda state: "/zz.last" in state)
        self.assert_same(self.c.snapshot(), link.state)
        self.c.rm("/zz.last")
        link.serve_until(lambda state: "/zz.last" not in state)

    def test_dump_descends(self):
        for path in "/b", "/a", "/a/b", "/a-x", "/A", "//z", "/0":
            self.c.write(path, path)
        link = self.fake_vm().hello()
        self.assertEqual(link.dump(), self.c.snapshot())
        self.check_state(link)

    def test_dump_of_nothing(self):
        link = self.fake_vm().hello()
        self.assertEqual(link.dump(), {})
        self.check_state(link)

    def test_capability_of_a_newer_agent(self):
        """An OK with '@' before MULTIREAD is no answer to anything, and breaks nothing."""
        self.c.write("/a", "1")
        link = self.fake_vm().hello(capability="@qdb:1:x")
        self.assertEqual(link.dump(), {"/a": b"1"})
        self.check_state(link)

    def test_updates_wait_for_the_end_of_the_dump(self):
        self.c.write_all(big(5000))
        link = self.fake_vm().hello()
        self.c.write("/new", "1")
        self.c.write("/big/00000", "changed")
        self.c.write("/big/04999", "changed")
        self.c.rm("/big/00001")
        self.c.rm("/big/04998")
        self.c.write("/short", "lived")
        self.c.rm("/short")
        self.c.write("/dir/short", "lived")
        self.c.rm("/dir/")
        link.dump()
        self.check_state(link)

    def test_end_of_the_daemon_waits_for_that_of_the_dump(self):
        """Else the agent, and all of its VM, would hang for good."""
        self.c.write_all(big(1500))
        link = self.fake_vm().hello()
        self.assertTrue(link.readable(TIMEOUT))
        self.a.popen.terminate()
        self.assertEqual(len(link.dump()), 1500)
        link.wait_closed()
        self.assertEqual(self.a.wait(), 0)

    def test_end_of_the_daemon_waits_until_the_end_mark_is_taken(self):
        """The whole dump is in the channel, and the agent does not get to reading it."""
        self.c.write("/a", "1")
        link = self.fake_vm().hello()
        self.assertTrue(link.readable(TIMEOUT))
        begin = time.monotonic()
        self.a.popen.terminate()
        closed = link.closed_within(0.1)
        if time.monotonic() - begin < 0.15:
            self.assertFalse(closed)
        self.assertEqual(link.dump(), {"/a": b"1"})
        link.wait_closed()
        self.assertEqual(self.a.wait(), 0)

    def test_end_of_the_daemon_does_not_wait_for_ever(self):
        """The agent has asked for the dump, and does not take it."""
        self.c.write_all(big(1500))
        self.assertTrue(self.fake_vm().hello().readable(TIMEOUT))
        self.a.stop()

    def test_directory_goes_during_the_dump(self):
        self.c.write_all(big(5000))
        link = self.fake_vm().hello()
        self.c.rm("/big/")
        self.c.write("/big/00007", "again")
        link.dump()
        self.check_state(link)
        self.assertEqual(link.state, {"/big/00007": b"again"})

    def test_operations_during_the_dump(self):
        """The agent writes while it is still being sent the dump."""
        self.c.write_all(big(5000))
        link = self.fake_vm().hello()
        link.send(WRITE, "/from/vm", "1")
        link.dump()
        self.assertEqual(link.answer()[:2], (OK, b"/from/vm"))
        link.state["/from/vm"] = b"1"
        self.check_state(link)

    def test_operations_are_answered_in_order(self):
        link = self.fake_vm().hello()
        link.dump()
        raw = b"".join(pack(WRITE, f"/v/{n}", str(n)) + pack(RM, f"/v/{n}") for n in range(500))
        got = link.pump(raw, 1000)
        self.assertEqual([m[:2] for m in got],
                         [(OK, b"/v/%d" % (n // 2)) for n in range(1000)])
        self.assertEqual(self.c.list(), [])

    def test_absent_entries_may_be_removed(self):
        link = self.fake_vm().hello()
        link.dump()
        for path in "/none", "/none/", "/":
            self.assertEqual(link.operation(RM, path), OK)
        self.check_state(link)

    def test_bad_values_get_an_error_and_the_link_lives(self):
        self.c.write("/a", "1")
        self.c.watch("/")
        link = self.fake_vm().hello()
        link.dump()
        for data in b"\0", b"a\0b", b"z" * 3070 + b"\0":
            self.assertEqual(link.operation(WRITE, "/a", data), ERROR)
            self.assertEqual(link.operation(RM, "/a", b"data"), ERROR)
        self.assertEqual(self.c.read("/a"), b"1")
        self.check_state(link)
        self.assertNotIn("/a", self.c.events_until_mark())
        self.assertEqual(self.a.output().count("refused"), 1)
        self.assertIn("has sent a change that is no entry", self.a.output())

    def test_garbage_after_paths_is_ignored(self):
        link = self.fake_vm()
        link.send(MULTIREAD, b"\0" + b"\xcc" * 63, padding=b"\1\2\3")
        link.dump()
        link.send(WRITE, b"/a\0" + b"\xcc" * 61, "1", padding=b"\1\2\3")
        self.assertEqual(link.recv()[:2], (OK, b"/a"))
        self.assertEqual(self.c.read("/a"), b"1")

    def test_any_split_of_the_stream(self):
        link = self.fake_vm()
        raw = pack(MULTIREAD) + pack(WRITE, "/a", "value") + pack(RM, "/a") + pack(WRITE, "/b")
        for at in range(len(raw)):
            link.send_raw(raw[at:at + 1])
        link.dump()
        for path in b"/a", b"/a", b"/b":
            self.assertEqual(link.answer()[:2], (OK, path))
        self.assertEqual(self.c.snapshot(), {"/b": b""})

    def test_errors_and_absences_from_the_agent(self):
        """It may refuse what we tell it: that is its loss, the link lives."""
        link = self.fake_vm().hello()
        link.dump()
        for answer in ERROR, NOENT:
            self.c.write("/a", "1")
            self.assertEqual(link.recv()[:2], (WRITE, b"/a"))
            link.send(answer, "/a")
            self.assertEqual(link.operation(WRITE, "/b", "2"), OK)
        self.assertEqual(self.c.snapshot(), {"/a": b"1", "/b": b"2"})
        self.assertEqual(self.a.output().count("refused"), 1)
        self.assertIn("the peer has refused a change", self.a.output())

    def test_the_second_waits_for_the_first(self):
        self.c.write("/a", "1")
        first = self.fake_vm().hello()
        first.dump()
        second = self.fake_vm().hello()
        self.assertEqual(first.operation(WRITE, "/b", "2"), OK)
        self.assertFalse(second.readable(0.1))
        self.check_state(first)
        first.close()
        self.assertEqual(second.dump(), {"/a": b"1", "/b": b"2"})
        self.check_state(second)

    def test_what_was_sent_before_closing_counts(self):
        for turn, read_all in enumerate((True, False)):
            self.c.write("/unread", "x")
            link = self.fake_vm().hello()
            link.dump()
            if not read_all:
                self.c.write("/unread", "y")
                self.assertTrue(link.readable(TIMEOUT))
            entries = [(f"/last/{turn}/{n}", str(n)) for n in range(40)]
            self.c.watch(entries[-1][0])
            link.send_raw(b"".join(pack(WRITE, *entry) for entry in entries))
            link.close()
            self.assertEqual(self.c.event(), entries[-1][0])
            self.assertEqual(self.c.list(f"/last/{turn}/"), sorted(p for p, _ in entries))

    def test_everything_in_one_packet_and_closed(self):
        """Even the request for the dump: what follows it is taken, although nobody reads."""
        self.c.write_all(big(200))
        self.c.watch("/one")
        link = self.fake_vm()
        link.send_raw(pack(MULTIREAD) + pack(WRITE, "/one", "1"))
        link.close()
        self.assertEqual(self.c.event(), "/one")

    def test_rewrites_and_their_removal_come_together(self):
        """
        An entry that is written only to be removed: nobody in the VM may see it, so both
        messages are there at once.
        """
        self.c.write_all([(f"/r/{n}", "real") for n in range(300)])
        link = self.fake_vm().hello()
        link.dump()
        self.c.write_all([("/full", "z" * 3000)] * 300)
        for n in range(300):
            self.c.rm(f"/r/{n}")
        self.c.write("/r/done", "real")
        while "/r/done" not in link.state:
            message = link.recv()
            if message.path.startswith(b"/r/") and message.data not in (b"", b"real"):
                self.assertTrue(link.readable(), f"{message} without its removal")
            link.is_answer(message)
        self.check_state(link)

    def test_updates_while_the_agent_is_slow(self):
        """It reads late and answers late; in the end it has everything, in a legal order."""
        link = self.fake_vm().hello()
        link.dump()
        raw = []
        for n in range(3000):
            raw.append(pack(WRITE, f"/s/{n % 60}", "z" * 1000))
            if n % 7 == 0:
                raw.append(pack(RM, f"/s/{n % 60}"))
            if n % 500 == 499:
                raw.append(pack(RM, "/s/"))
        self.assertEqual({m.type for m in self.c.pump(b"".join(raw), len(raw))}, {OK})
        self.check_state(link)


class DeployedDom0(Case):
    """Our agent and a deployed daemon in dom0."""

    def setUp(self):
        super().setUp()
        self.server = self.fake_dom0_server()
        self.b = self.vm(ready=False)
        self.link = self.accept(self.server)

    def serve(self, entries):
        self.link.hello()
        self.link.dump(entries)
        self.b.wait_ready()
        return self.connect(self.b)

    def check_state(self, client):
        """dom0 has everything when it has the last write."""
        client.write("/zz.last", "")
        self.link.serve_until(lambda state: "/zz.last" in state)
        self.assert_same(client.snapshot(), self.link.state)

    def test_requests_wait_for_the_end_of_the_dump(self):
        self.link.hello()
        early = self.b.connect_when_there()
        self.addCleanup(early.close)
        requests = (READ, "/b"), (READ, "/a"), (WRITE, "/c"), (RM, "/none"), (READ, "/c")
        early.send_raw(b"".join(pack(*request) for request in requests))
        self.link.send(R_MULTIREAD, "/b", "2")
        self.assertFalse(early.readable(0.1), "answered inside the dump")
        self.assertFalse(self.b.is_ready(), "ready before the first full dump")
        self.link.send(R_MULTIREAD, "/a", "1")
        self.link.send(R_MULTIREAD)
        self.b.wait_ready()
        answers = [early.answer_to(*request) for request in requests]
        self.assertEqual([(m.type, m.data) for m in answers],
                         [(R_READ, b"2"), (R_READ, b"1"), (OK, b""), (NOENT, b""), (R_READ, b"")])
        self.assertEqual(self.link.recv()[:2], (WRITE, b"/c"), "the agent's first operation")

    def test_big_dump(self):
        client = self.serve(dict(big(3000)))
        self.assertEqual(len(client.list("/big/")), 3000)
        self.check_state(client)

    def test_dump_of_nothing(self):
        client = self.serve({})
        self.assertEqual(client.list(), [])
        self.check_state(client)

    def test_operations_from_dom0(self):
        client = self.serve({"/a": "1"})
        client.watch("/")
        operations = [(WRITE, "/b", b"x" * 3071, OK, "/b"), (WRITE, "/a", b"", OK, "/a"),
                      (RM, "/a", b"", OK, "/a"), (RM, "/none", b"", OK, None),
                      (RM, "/none/", b"", OK, None), (WRITE, "/v", b"\0", ERROR, None),
                      (RM, "/b", b"data", ERROR, None), (RM, "/", b"", OK, "/")]
        for kind, path, data, answer, event in operations:
            self.assertEqual(self.link.operation(kind, path, data), answer)
            if event:
                self.assertEqual(client.event(), event)
        self.assertEqual(client.list(), [])
        client.unwatch("/")
        client.write("/silent", "")
        self.assertEqual(client.events, [])

    def test_watches_fire_for_entries_of_a_dump(self):
        """After a link loss the agent asks again, and tells its watchers what it received."""
        client = self.serve({"/a": "1"})
        client.watch("/a", "/d/")
        self.link.close()
        self.link = self.accept(self.server)
        self.link.hello()
        self.link.dump({"/a": "2", "/d/e": "3"})
        self.assertEqual(sorted([client.event(), client.event()]), ["/a", "/d/e"])
        self.assertEqual(client.read("/a"), b"2")
        self.assertEqual(client.read("/d/e"), b"3")

    def test_writes_of_the_vm(self):
        client = self.serve({})
        for n in range(100):
            client.write(f"/w/{n % 10}", str(n))
        client.rm("/w/3")
        client.rm("/w/")
        client.expect(NOENT, RM, "/w/")
        self.check_state(client)

    def test_what_was_written_without_a_link_is_sent_later(self):
        client = self.serve({"/a": "1", "/b": "1"})
        client.write("/unanswered", "1")
        self.assertEqual(self.link.recv()[:2], (WRITE, b"/unanswered"))
        self.link.close()
        client.write("/a", "2")
        self.link = self.accept(self.server)
        self.link.hello()
        self.link.dump({"/a": "1", "/b": "1"})
        wanted = {"/unanswered": b"1", "/a": b"2", "/b": b"1"}
        self.link.serve_until(lambda state: state == wanted)
        self.assertEqual(client.snapshot(), wanted)

    def test_capability_from_dom0_is_no_answer(self):
        """'@' OKs are not answers to an operation, wherever they come."""
        self.link.hello()
        self.link.send(OK, "@qdb:1:x")
        self.link.dump({"/a": "1"})
        self.b.wait_ready()
        client = self.connect(self.b)
        self.assertEqual(client.snapshot(), {"/a": b"1"})
        self.link.state["/a"] = b"1"
        self.check_state(client)


if __name__ == "__main__":
    run()
