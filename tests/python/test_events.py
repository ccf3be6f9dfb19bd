#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""watch_events(): iteration, in a thread and in asyncio."""
import asyncio
import gc
import os
import select
import signal
import threading

from support import TIMEOUT, Case, Server, child, qubesdb, run, when
from qdb import OK, R_WATCH, WATCH


def in_time(awaitable):
    return asyncio.wait_for(awaitable, TIMEOUT)


async def following(events, count=1):
    """The next events, by `async for`."""
    got = []
    async for path in events:
        got.append(path)
        if len(got) == count:
            break
    return got


PROGRAM = """
import asyncio, os, sys, qubesdb

async def main():
    waiting = asyncio.ensure_future(events.__anext__())
    while not os.path.exists(sys.argv[1]):
        await asyncio.sleep(0.001)

events = qubesdb.QubesDB().watch_events("/a")
asyncio.run(main())
print("end")
"""


def has_reader(events):
    return asyncio.get_running_loop().remove_reader(events._db.watch_fd())


class Blocking(Case):
    def test_iteration(self):
        db, daemon = self.served()
        events = db.watch_events("/d/", b"/x")
        with daemon.connect() as other:
            for path in ("/d/1", "/other", "/x", "/d/2"):
                other.write(path, "")
        got = []
        for path in events:
            got.append(path)
            if len(got) == 2:
                break
        self.assertEqual(got, ["/d/1", "/x"])
        self.assertEqual(next(iter(events)), "/d/2")

    def test_has_nothing_to_do_with_the_object(self):
        db, daemon = self.served()
        db.watch("/b")
        with db.watch_events("/a") as events, db.watch_events("/a") as more:
            with daemon.connect() as other:
                other.write("/b", "")
                other.write("/a", "")
                db.read("/a")
            self.assertEqual((next(events), next(more)), ("/a", "/a"))
            self.assertEqual(db.read_watch(), "/b")
            self.assertEqual(db.watches_pending(), 0)
            db.close()
            with daemon.connect() as other:
                other.write("/a", "")
            self.assertEqual((next(events), next(more)), ("/a", "/a"))

    def test_watches_are_registered_on_return(self):
        db, _ = self.served()
        events = db.watch_events("/a")
        db.write("/a", "")
        self.assertEqual(next(events), "/a")

    def test_bad_arguments(self):
        db, daemon = self.served()
        before = daemon.descriptors()
        self.assertRaises(TypeError, db.watch_events)
        self.assertRaises(TypeError, db.watch_events, 5)
        self.assert_refused(db.watch_events, "/a", "/a=b")
        gc.collect()
        when(lambda: self.assertEqual(daemon.descriptors(), before), AssertionError)

    def test_close(self):
        db, _ = self.served()
        events = db.watch_events("/a")
        db.write("/a", "")
        events.close()
        events.close()
        self.assertEqual(list(events), [])
        with db.watch_events("/a") as events:
            pass
        self.assertEqual(list(events), [])

    def test_connection_goes_with_it(self):
        db, daemon = self.served()
        before = daemon.descriptors()
        for end in (lambda events: events.close(), lambda events: None):
            events = db.watch_events("/a")
            self.assertGreater(daemon.descriptors(), before)
            end(events)
            del events
            when(lambda: self.assertEqual(daemon.descriptors(), before), AssertionError)

    def test_close_from_another_thread(self):
        db, _ = self.served()
        events = db.watch_events("/a")
        thread = self.thread(list, events)
        thread.wait_until_it_polls()
        events.close()
        self.assertEqual(thread.result(), [])

    def test_second_user(self):
        db, _ = self.served()
        events = db.watch_events("/a")
        thread = self.thread(next, events)
        thread.wait_until_it_polls()
        self.assertRaises(RuntimeError, next, events)
        with self.assertRaises(RuntimeError):
            asyncio.run(in_time(events.__anext__()))
        db.write("/a", "")
        self.assertEqual(thread.result(), "/a")

    def test_signals_do_not_end_it(self):
        db, _ = self.served()
        seen = []

        def handler(*_):
            seen.append(1)
            if len(seen) == 3:
                signal.setitimer(signal.ITIMER_REAL, 0)
                db.write("/a", "")

        old = signal.signal(signal.SIGALRM, handler)
        self.addCleanup(signal.signal, signal.SIGALRM, old)
        events = db.watch_events("/a")
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        self.assertEqual(next(events), "/a")
        self.assertEqual(len(seen), 3)

    def test_exception_of_a_handler(self):
        db, _ = self.served()

        def handler(*_):
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

        old = signal.signal(signal.SIGALRM, handler)
        self.addCleanup(signal.signal, signal.SIGALRM, old)
        events = db.watch_events("/a")
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        self.assertRaises(KeyboardInterrupt, next, events)
        db.write("/a", "")
        self.assertEqual(next(events), "/a")

    def test_restart(self):
        db, daemon = self.served()
        events = db.watch_events("/a", b"/d/")
        with daemon.connect() as other:
            other.write("/d/before", "")
        select.select([events._db.watch_fd()], [], [], TIMEOUT)
        daemon.kill()
        self.assertEqual(next(events), "/d/before")
        thread = self.thread(lambda: [next(events) for _ in range(2)])
        again = self.dom0()
        self.assertEqual(thread.result(), ["/a", "/d/"])
        with again.connect() as other:
            other.write("/d/after", "")
        self.assertEqual(next(events), "/d/after")

    def test_without_reconnect(self):
        db, daemon = self.served()
        events = db.watch_events("/a", reconnect=False)
        daemon.kill()
        self.dom0()
        for _ in range(2):
            self.assert_gone(next, events)

    def test_close_while_the_daemon_is_gone(self):
        db, daemon = self.served()
        events = db.watch_events("/a")
        daemon.kill()
        thread = self.thread(list, events)
        when(lambda: self.assertIsNotNone(events._wake), AssertionError)
        events.close()
        self.assertEqual(thread.result(), [])


class Asyncio(Case):
    def test_iteration(self):
        db, daemon = self.served()

        async def main():
            events = db.watch_events("/d/")
            reader = asyncio.create_task(following(events, 2))
            with daemon.connect() as other:
                for path in ("/d/1", "/other", "/d/2", "/d/3"):
                    await asyncio.sleep(0)
                    other.write(path, "")
            self.assertEqual(await in_time(reader), ["/d/1", "/d/2"])
            self.assertEqual(await in_time(following(events)), ["/d/3"])

        asyncio.run(main())

    def test_loop_goes_on_meanwhile(self):
        db, _ = self.served()

        async def main():
            reader = asyncio.create_task(following(db.watch_events("/a")))
            for _ in range(100):
                await asyncio.sleep(0)
            self.assertFalse(reader.done())
            db.write("/a", "")
            self.assertEqual(await in_time(reader), ["/a"])

        asyncio.run(main())

    def test_events_that_the_library_has_queued(self):
        """The first watch fires while the second one is being registered."""
        def script(client):
            client.answer(OK, WATCH)
            message = client.recv()
            for path in ("/a", "/a/", "/b"):
                client.send(R_WATCH, path)
            client.send(OK, message.path)
            client.wait_closed()

        db = self.scripted(lambda client: client.wait_closed(), script)
        with db, db.watch_events("/", "/x") as events:
            self.assertEqual(asyncio.run(in_time(following(events, 3))), ["/a", "/a/", "/b"])

    def test_only_one_message_per_wake_up(self):
        db, daemon = self.served()

        async def main():
            events = db.watch_events("/d/")
            with daemon.connect() as other:
                for number in range(5):
                    other.write(f"/d/{number}", "")
            for number in range(5):
                self.assertEqual(await in_time(events.__anext__()), f"/d/{number}")
                self.assertEqual(events._db.watches_pending(), 0)

        asyncio.run(main())

    def test_cancelled_wait_loses_nothing(self):
        db, _ = self.served()

        async def main():
            events = db.watch_events("/d/")
            for number in range(20):
                waiting = asyncio.create_task(events.__anext__())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                if number % 2:
                    db.write(f"/d/{number}", "")
                waiting.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await waiting
                if not number % 2:
                    db.write(f"/d/{number}", "")
                self.assertEqual(await in_time(events.__anext__()), f"/d/{number}")
            self.assertFalse(has_reader(events))

        asyncio.run(main())

    def test_cancelled_for_good(self):
        db, daemon = self.served()
        before = daemon.descriptors()

        async def main():
            reader = asyncio.create_task(following(db.watch_events("/a")))
            await asyncio.sleep(0)
            reader.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await reader

        asyncio.run(main())
        gc.collect()
        when(lambda: self.assertEqual(daemon.descriptors(), before), AssertionError)

    def test_close_by_another_task(self):
        db, _ = self.served()

        async def main():
            events = db.watch_events("/a")
            reader = asyncio.create_task(following(events))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            events.close()
            self.assertEqual(await in_time(reader), [])
            self.assertEqual(await in_time(following(events)), [])
            self.assert_closed(events._db.watch_fd)

        asyncio.run(main())

    def test_close_by_another_thread(self):
        db, _ = self.served()

        async def main():
            events = db.watch_events("/a")
            reader = asyncio.create_task(following(events))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await asyncio.to_thread(events.close)
            self.assertEqual(await in_time(reader), [])

        asyncio.run(main())

    def test_two_tasks_with_their_own(self):
        db, _ = self.served()

        async def main():
            readers = [asyncio.create_task(following(db.watch_events(path)))
                       for path in ("/a", "/b", "/")]
            await asyncio.sleep(0)
            db.write("/b", "")
            db.write("/a", "")
            self.assertEqual(await in_time(asyncio.gather(*readers)), [["/a"], ["/b"], ["/b"]])

        asyncio.run(main())

    def test_second_user(self):
        db, _ = self.served()

        async def main():
            events = db.watch_events("/a")
            first = asyncio.create_task(events.__anext__())
            await asyncio.sleep(0)
            with self.assertRaises(RuntimeError):
                await in_time(events.__anext__())
            db.write("/a", "")
            self.assertEqual(await in_time(first), "/a")

        asyncio.run(main())

    def test_another_loop_later(self):
        db, _ = self.served()
        events = db.watch_events("/a")
        for _ in range(2):
            db.write("/a", "")
            self.assertEqual(asyncio.run(in_time(following(events))), ["/a"])

    def test_reader_that_changes_entries_itself(self):
        """An agent that removes each request: its own commands hide no event from it."""
        db, daemon = self.served()

        async def serve(events):
            done = []
            async for path in events:
                if db.read(path) is not None:
                    done.append(path)
                    db.rm(path)
                if len(done) == 50:
                    break
            return done

        async def main():
            serving = asyncio.create_task(serve(db.watch_events("/requests/")))
            with daemon.connect() as other:
                for number in range(50):
                    other.write(f"/requests/{number}", "")
                    await asyncio.sleep(0)
            self.assertEqual(await in_time(serving), [f"/requests/{n}" for n in range(50)])

        asyncio.run(main())


class AsyncioLoss(Case):
    def test_restart(self):
        """Twice; a watch fires once for each time that the daemon came back."""
        db, daemon = self.served()

        async def main(daemon):
            events = db.watch_events("/a", b"/d/")
            for number in range(2):
                reader = asyncio.create_task(following(events, 2))
                await asyncio.sleep(0)
                daemon.kill()
                daemon = await asyncio.to_thread(self.dom0)
                self.assertEqual(await in_time(reader), ["/a", "/d/"])
                with daemon.connect() as other:
                    other.write(f"/d/{number}", "")
                self.assertEqual(await in_time(following(events)), [f"/d/{number}"])

        asyncio.run(main(daemon))

    def test_without_reconnect(self):
        db, daemon = self.served()

        async def main():
            events = db.watch_events("/a", reconnect=False)
            reader = asyncio.create_task(following(events))
            await asyncio.sleep(0)
            daemon.kill()
            with self.assertRaises(qubesdb.DisconnectedError):
                await in_time(reader)
            self.assertFalse(has_reader(events))

        asyncio.run(main())

    def lost(self, then):
        """Events whose daemon is gone and comes back as this script."""
        db = self.scripted(lambda client: client.wait_closed(),
                           lambda client: client.answer(OK, WATCH), then)
        return db.watch_events("/a")

    def test_daemon_that_does_not_answer_does_not_stop_the_loop(self):
        """As one in a VM that starts, until it has its entries."""
        asked, may_answer = threading.Event(), threading.Event()

        def starting(client):
            message = client.recv()
            asked.set()
            may_answer.wait(TIMEOUT)
            client.send(OK, message.path)
            client.send(R_WATCH, "/a/new")
            client.wait_closed()

        events = self.lost(starting)

        async def main():
            reader = asyncio.create_task(following(events, 2))
            while not asked.is_set():
                await asyncio.sleep(0.001)
            for _ in range(100):
                await asyncio.sleep(0)
            self.assertFalse(reader.done())
            may_answer.set()
            self.assertEqual(await in_time(reader), ["/a", "/a/new"])

        with events:
            asyncio.run(main())

    def check_leaves_a_silent_daemon(self, leave):
        """Neither the loop nor its end waits for the daemon."""
        asked = threading.Event()

        def silent(client):
            client.recv()
            asked.set()
            self.assertTrue(ended.wait(TIMEOUT))

        ended = threading.Event()
        events = self.lost(silent)

        async def main():
            reader = asyncio.create_task(following(events))
            while not asked.is_set():
                await asyncio.sleep(0.001)
            await in_time(leave(reader, events))

        asyncio.run(main())
        ended.set()

    def test_cancelled_while_the_daemon_does_not_answer(self):
        async def cancel(reader, _):
            reader.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await reader

        self.check_leaves_a_silent_daemon(cancel)

    def test_closed_while_the_daemon_does_not_answer(self):
        async def close(reader, events):
            events.close()
            self.assertEqual(await reader, [])

        self.check_leaves_a_silent_daemon(close)

    def test_program_that_ends_while_the_daemon_does_not_answer(self):
        sign = self.home / "asked"
        ended = threading.Event()

        def silent(client):
            client.recv()
            os.mkdir(sign)
            self.assertTrue(ended.wait(TIMEOUT))

        server = Server(self.home / "qubesdb.sock", lambda client: client.wait_closed(),
                        lambda client: client.answer(OK, WATCH), silent)
        self.addCleanup(server.finish)
        self.use(self.home.path)
        done = child(PROGRAM, sign)
        ended.set()
        self.assertEqual((done.stdout, done.stderr, done.returncode), ("end\n", "", 0))

    def test_resumed_after_a_cancelled_reconnection(self):
        db, daemon = self.served()

        async def main():
            events = db.watch_events("/a")
            daemon.kill()
            reader = asyncio.create_task(following(events))
            while events._wake is None or threading.active_count() < 2:
                await asyncio.sleep(0)
            reader.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await reader
            when(lambda: self.assertEqual(threading.active_count(), 1), AssertionError)
            again = await asyncio.to_thread(self.dom0)
            self.assertEqual(await in_time(following(events)), ["/a"])
            with again.connect() as other:
                other.write("/a", "")
            self.assertEqual(await in_time(following(events)), ["/a"])

        asyncio.run(main())


if __name__ == "__main__":
    run()
