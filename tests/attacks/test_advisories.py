#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Attacks on xenstored, in this program's terms: those of the table in README that the other tests do
not have already.
"""
import contextlib
import resource

from common import SANITIZED, Attack, run, when
from qdb import (ERROR, LIST, NOENT, OK, READ, RM, R_WATCH, UNWATCH, WATCH, WRITE, Broken, Closed,
                 echo, pack)


class Watching(Attack):
    def test_a_watch_on_everything_sees_one_vm(self):
        """XSA-115: there are no permissions to forget; another VM's daemon is another process."""
        work, vm = self.pair()
        other = self.dom0(domid=6, name="other")
        watchers = [self.connect(d, ro) for d, ro in ((work, True), (vm, True), (vm, False))]
        foreign = [self.connect(other, ro) for ro in (True, False)]
        for watcher in watchers + foreign:
            watcher.watch("/", "/secret")
        writer = self.connect(other)
        writer.write("/secret", "1")
        writer.rm("/")
        for watcher in foreign:
            self.assertEqual(watcher.events_until_mark(via=writer), ["/", "/secret", "/secret",
                                                                     "/secret"])
        here = self.connect(work)
        for watcher in watchers:
            self.assertEqual(watcher.events_until_mark(via=here), [])
            self.assertEqual(watcher.list(), [])

    def test_the_longest_watches_fire(self):
        """XSA-324: no event is larger than a header, whatever was watched."""
        dom0, vm = self.pair()
        entry, directory = "/" + "w" * 62, "/" + "d" * 61 + "/"
        below = directory[:-2] + "/x"
        cut = "/" + "c" * 63
        for daemon in dom0, vm:
            watcher, writer = self.connect(daemon, ro=True), self.connect(daemon)
            watcher.watch(entry, directory, directory[:-2] + "/", cut)
            for path in entry, below, cut:
                writer.write(path, "z" * 3071)
            self.assertEqual(watcher.events_until_mark(via=writer),
                             sorted([entry, below, cut[:63]]))
            writer.rm("/")
            self.assertEqual(watcher.events_until_mark(via=writer),
                             sorted([entry, directory[:-2] + "/", cut[:63]]))

    def test_watches_leave_with_their_connection(self):
        """XSA-330: what was watched in an earlier life is not held, nor counted."""
        daemon = self.limited("watches=100")
        for life in range(50):
            with daemon.connect(ro=True) as client:
                client.pump(pack(WATCH, "/x") * 100, 100)
                if life % 2:
                    client.pump(pack(UNWATCH, "/x") * 100, 100)
        survivor = self.connect(daemon)
        when(lambda: survivor.watch(*["/x"] * (100 - self.watched(survivor))), Broken)
        survivor.expect(ERROR, WATCH, "/x")
        survivor.write("/x", "1")
        self.assertEqual([survivor.event() for _ in range(100)], ["/x"] * 100)

    def watched(self, client):
        """Takes all its watches back; returns 0."""
        while client.ask(UNWATCH, "/x").type == OK:
            pass
        return 0


class Paths(Attack):
    def check_removable(self, daemon, expected):
        with daemon.connect() as client:
            self.assertEqual(client.list(), expected)
            for path in expected:
                self.assertEqual(client.read(path), b"1")
                client.rm(path)
            self.assertEqual(client.list(), [])

    def test_what_was_written_can_be_read_and_removed(self):
        """XSA-323: no limit is checked against another form of the path than is stored."""
        paths = ["/" + "p" * n for n in range(58, 66)]
        kept = sorted({echo(p[:64]).decode() for p in paths})
        dom0 = self.dom0()
        with self.fake_vm() as link:
            link.hello().dump()
            for path in paths:
                self.assertEqual(link.operation(WRITE, path[:64], "1"), OK)
        self.check_removable(dom0, kept)
        vm = self.vm()
        for daemon in dom0, vm:
            with daemon.connect() as client:
                for path in paths:
                    client.expect(OK, WRITE, path[:64], "1")
            self.check_removable(daemon, kept)

    def test_deep_and_wide_needs_no_stack(self):
        """XSA-418: nothing here calls itself, however deep or wide a directory is."""
        stack = (1024 if SANITIZED else 64) * 1024

        def small_stack():
            resource.setrlimit(resource.RLIMIT_STACK, (stack, stack))

        daemon = self.dom0(prepare=small_stack)
        client, watcher = self.connect(daemon), self.connect(daemon)
        deep = ["/a" * n for n in range(1, 32)]
        wide = [f"/a/a/{n:05}" for n in range(20000)]
        for _ in range(2):
            client.write_all([(p, "1") for p in deep + wide])
            self.assertEqual(len(client.list()), len(deep + wide))
            for path in deep:
                watcher.watch(path, path + "/")
            client.rm("/")
            self.assertEqual(client.list(), [])
            self.assertEqual(len(watcher.events_until_mark(via=client)), 2 * len(deep) - 1)
            for path in deep:
                watcher.unwatch(path)
                watcher.unwatch(path + "/")
        with self.fake_vm() as link:
            link.hello().dump()
            for path in deep:
                link.operation(WRITE, path, "1")
            self.assertEqual(link.operation(RM, "/a/"), OK)
        self.assertEqual(client.list(), ["/a"])


class Root(Attack):
    def test_root_is_guarded_like_the_rest(self):
        """XSA-353: who may not write may not write or remove the root either."""
        dom0, vm = self.pair()
        with dom0.connect() as writer, vm.connect() as there:
            writer.write("/a/b", "1")
            self.sync(writer, there)
        for daemon in dom0, vm:
            writer, reader = self.connect(daemon), self.connect(daemon, ro=True)
            reader.watch("/", "/a/", "/a/b")
            for path in "/", "//", "///", "", "/./", "/..", "/../", "/a/..", "/a/../":
                reader.expect(ERROR, RM, path)
                reader.expect(ERROR, WRITE, path, "2")
            self.assertEqual(writer.snapshot(), {"/a/b": b"1"})
            self.assertEqual(reader.events_until_mark(via=writer), [])


class Refusals(Attack):
    def test_a_flood_of_changes_undoes_no_change(self):
        """XSA-206: no request fails because another one changed the entry; dom0's stands."""
        dom0 = self.dom0()
        client, link = self.connect(dom0), self.fake_vm().hello()
        link.dump()
        for value in b"first", b"second":
            client.write("/same", value)
            link.send_raw(pack(WRITE, "/same", "flood") * 50 + pack(RM, "/same") * 50)
            self.assertEqual(link.recv()[:3], (WRITE, b"/same", value))
            for _ in range(100):
                self.assertEqual(link.recv().type, OK)
            self.assertEqual(client.read("/same"), value)
            link.send(OK, "/same")
        self.assertEqual(link.operation(WRITE, "/same", "the VM's"), OK)
        self.assertEqual(client.read("/same"), b"the VM's")

    def test_a_refused_write_leaves_nothing(self):
        """XSA-414, 415: no half of it, no parents, no event, and the accounts are as before."""
        client = self.connect(self.limited("entries=3", "bytes=8K"))
        for path in "/a", "/b/c", "/d":
            client.write(path, "1")
        client.watch("/")
        before = client.snapshot()
        for n in range(1000):
            client.expect(ERROR, WRITE, f"/a/b/c/{n}", "x" * (n * 3 % 3072))
        for path in before:
            client.expect(OK, WRITE, path, "z" * 2000)
            client.expect(ERROR, WRITE, f"{path}/new", "")
            client.expect(OK, WRITE, path, "1")
        self.assertEqual(client.snapshot(), before)
        client.rm("/b/c")
        client.write("/new")
        client.expect(ERROR, WRITE, "/newer")
        self.assertEqual(set(map(bytes.decode, client.events)), set(before) | {"/new"})

    def test_the_vms_share_outlives_link_and_daemon(self):
        """XSA-419: what a VM has written stays its charge, whoever comes and goes meanwhile."""
        options = ["--quota=vm-entries=3"]
        dom0 = self.dom0(options=options)
        with self.fake_vm() as link:
            link.hello().dump()
            for path in "/1", "/2", "/3":
                self.assertEqual(link.operation(WRITE, path, "1"), OK)
        for again in range(3):
            with self.fake_vm() as link:
                link.hello().dump()
                self.assertEqual(link.operation(WRITE, "/4", "1"), ERROR)
                self.assertEqual(link.operation(WRITE, "/3", "2"), OK)
            if again:
                dom0.kill() if again == 1 else dom0.stop()
                dom0 = self.dom0(options=options)
        with dom0.connect() as client, self.fake_vm() as link:
            link.hello().dump()
            self.assertEqual(link.operation(WRITE, "/4", "1"), ERROR)
            client.rm("/1")
            link.serve_until(lambda state: "/1" not in state)
            self.assertEqual(link.operation(WRITE, "/4", "1"), OK)
            self.assertEqual(client.list(), ["/2", "/3", "/4"])

    def test_accounts_are_right_after_many_changes(self):
        """XSA-421: creating and removing in any order leaves exactly the room that there was."""
        daemon = self.limited("vm-entries=10", "entries=20", "bytes=4K")
        client, link = self.connect(daemon), self.fake_vm().hello()
        link.dump()
        cycle = (pack(WRITE, "/t/1", "x" * 300) + pack(WRITE, "/t/2") + pack(WRITE, "/t/1") +
                 pack(RM, "/t/1") + pack(RM, "/t/") + pack(RM, "/t/2"))
        for _ in range(300):
            self.assertNotIn(ERROR, {m.type for m in client.pump(cycle, 6)})
            link.pump(cycle, 6)
        when(lambda: self.assertEqual(client.list("/t"), []), AssertionError)
        taken = [link.operation(WRITE, f"/vm/{n:02}") for n in range(15)]
        self.assertEqual(taken, [OK] * 10 + [ERROR] * 5)
        answers = [client.ask(WRITE, f"/dom0/{n:02}").type for n in range(15)]
        self.assertEqual(answers, [OK] * 10 + [ERROR] * 5)


class Resets(Attack):
    def test_all_of_it_in_one_turn(self):
        """XSA-233, 425: a VM is reset while its programs' daemon walks its lists of clients."""
        dom0 = self.dom0()
        check = self.honest(dom0)
        requests = [pack(WATCH, "/") * 3, pack(WRITE, "/r/1", "x" * 3000), pack(RM, "/"),
                    pack(READ, "/r/1"), pack(LIST), pack(WRITE, "/r", length=1 << 30), b"\1"]
        link = self.fake_vm().hello()
        link.dump()
        for n in range(30):
            leaving = [self.connect(dom0, ro=i % 3 == 0) for i in range(21)]
            staying = [self.connect(dom0) for _ in range(3)]
            for client in leaving + staying:
                client.expect(OK, WATCH, "/")
            with self.standing_still(dom0):
                for i, client in enumerate(leaving + staying):
                    client.send_raw(requests[(i + n) % 4] + requests[(i * n) % len(requests)])
                for client in leaving:
                    client.close()
                with contextlib.suppress(Closed):
                    link.send_raw(pack(WRITE, "/vm", "1") + pack(RM, "/") + b"\0" * n)
                link.close()
            link = self.fake_vm().hello()
            link.dump()
            check()
            for client in staying:
                client.close()
        with dom0.connect() as client:
            client.write("/last", "")
            link.serve_until(lambda state: "/last" in state)


class Forwarding(Attack):
    def test_a_change_is_forwarded_once(self):
        """XSA-354: what the VM is told grows with what has changed, not with how often."""
        dom0 = self.dom0()
        client, link = self.connect(dom0), self.fake_vm().hello()
        link.dump()
        paths = [f"/f/{n}" for n in range(10)]
        client.write_all([(p, f"{turn}") for turn in range(3000) for p in paths])
        client.write("/f/last", "")
        operations = 0
        while "/f/last" not in link.state:
            message = link.recv()
            self.assertIn(message.type, (WRITE, RM))
            link.is_answer(message)
            operations += 1
        self.assertEqual(link.state, {**{p: b"2999" for p in paths}, "/f/last": b""})
        self.assertLess(operations, 1024 + 64)

    def test_events_of_one_path_wait_once(self):
        """XSA-349: as often as the watched entry may change, a slow watcher costs one event."""
        daemon = self.limited("output=256K")
        slow, writer = self.connect(daemon, ro=True), self.connect(daemon)
        slow.watch("/frontend/state")
        writer.write_all([("/frontend/state", str(n % 7)) for n in range(50000)])
        events = slow.events_until_mark(via=writer)
        self.assertLess(len(events), 10000)
        self.assertNotIn("disconnected", daemon.output())
        self.assertFalse(slow.readable() and slow.recv().type != R_WATCH)
        slow.expect(NOENT, READ, "/none")


if __name__ == "__main__":
    run()
