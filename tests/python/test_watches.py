#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Events by read_watch() and watch_fd(), as deployed programs take them."""
import asyncio
import fcntl
import os
import select
import signal
import struct
import termios
import threading

from support import TIMEOUT, Case, calls, qubesdb, run, when
from qdb import OK, R_READ, R_WATCH, READ, WATCH


class Interrupted(Exception):
    pass


def is_readable(fd):
    return bool(select.select([fd], [], [], 0)[0])


def waiting_bytes(fd):
    return struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]


class Reading(Case):
    def test_events(self):
        db, daemon = self.served()
        for path in ("/d/", b"/x", "/x"):
            db.watch(path)
        with daemon.connect() as other:
            for path in ("/d/1", "/nothing", "/x", "/d/2", "/d/2"):
                other.write(path, "")
            other.rm("/d/")
        got = [db.read_watch() for _ in range(6)]
        self.assertEqual(got, ["/d/1", "/x", "/x", "/d/2", "/d/2", "/d/"])
        self.assertIs(type(got[0]), str)
        self.assertFalse(is_readable(db.watch_fd()))

    def test_unwatched(self):
        db, _ = self.served()
        for path in ("/a", "/b"):
            db.watch(path)
        db.unwatch("/a")
        db.write("/a", "")
        db.write("/b", "")
        self.assertEqual(db.read_watch(), "/b")

    def test_queued_while_a_command_waits(self):
        def script(client):
            client.answer(OK, WATCH)
            message = client.recv()
            for path in ("/a", "/b"):
                client.send(R_WATCH, path)
            client.send(R_READ, message.path)
            client.send(R_WATCH, "/c")
            client.answer(R_READ, READ)

        db = self.scripted(script)
        db.watch("/")
        self.assertEqual(db.watches_pending(), 0)
        db.read("/a")
        self.assertEqual(db.watches_pending(), 2)
        db.read("/a")
        self.assertEqual(db.watches_pending(), 3)
        self.assertEqual([db.read_watch() for _ in range(3)], ["/a", "/b", "/c"])
        self.assertEqual(db.watches_pending(), 0)

    def test_one_event_per_wake_up(self):
        db, daemon = self.served()
        db.watch("/d/")
        with daemon.connect() as other:
            for number in range(3):
                other.write(f"/d/{number}", "")
        when(lambda: self.assertEqual(waiting_bytes(db.watch_fd()), 3 * 72), AssertionError)
        for number in range(3):
            self.assertEqual(db.read_watch(), f"/d/{number}")
            self.assertEqual(waiting_bytes(db.watch_fd()), (2 - number) * 72)
        self.assertFalse(is_readable(db.watch_fd()))

    def test_non_blocking_descriptor(self):
        db, daemon = self.served()
        os.set_blocking(db.watch_fd(), False)
        db.watch("/a")
        thread = self.thread(db.read_watch)
        thread.wait_until_it_polls()
        with daemon.connect() as other:
            other.write("/a", "")
        self.assertEqual(thread.result(), "/a")
        self.assertEqual(db.read("/a"), b"")


class Signals(Case):
    """An alarm comes again and again, so that one of them finds the program waiting."""

    def alarm(self, handler, seconds=0.02):
        def end():
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)

        old = signal.signal(signal.SIGALRM, handler)
        self.addCleanup(end)
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)

    def test_interrupted(self):
        db, _ = self.served()
        db.watch("/a")
        seen = []
        self.alarm(lambda *_: seen.append(1))
        with self.assertRaises(InterruptedError) as caught:
            db.read_watch()
        self.assertEqual(caught.exception.args, (4, "Interrupted system call"))
        self.assertTrue(seen)
        db.write("/a", "")
        self.assertEqual(db.read_watch(), "/a")

    def test_exception_of_the_handler(self):
        db, _ = self.served()
        db.watch("/a")

        def handler(*_):
            raise Interrupted

        self.alarm(handler)
        with self.assertRaises(Interrupted):
            db.read_watch()
        signal.setitimer(signal.ITIMER_REAL, 0)
        db.write("/a", "")
        self.assertEqual(db.read_watch(), "/a")

    def test_handler_uses_the_object(self):
        db, _ = self.served()
        db.watch("/a")
        got = []

        def handler(*_):
            signal.setitimer(signal.ITIMER_REAL, 0)
            db.write("/a", "1")
            got.append(db.read_watch())

        self.alarm(handler)
        self.assertRaises(InterruptedError, db.read_watch)
        self.assertEqual(got, ["/a"])


    def test_interrupted_while_the_next_daemon_is_silent(self):
        def silent(client):
            self.assertEqual(client.recv().type, WATCH)
            signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
            client.wait_closed()

        db = self.scripted(lambda client: client.answer(OK, WATCH), silent,
                           lambda client: client.answer(OK, WATCH))
        self.alarm(lambda *_: signal.setitimer(signal.ITIMER_REAL, 0), seconds=0)
        db.watch("/a")
        self.assertRaises(InterruptedError, db.read_watch)
        self.assertEqual(db.read_watch(), "/a")
        db.close()


class Replaced(Case):
    """Another daemon has taken the place of the one that is gone, and has its entries."""

    def restart(self, daemon):
        daemon.kill()
        return self.dom0()

    def wait_once(self, db):
        """So that the module has had the descriptor polled."""
        thread = self.thread(db.read_watch)
        thread.wait_until_it_polls()
        db.write("/a", "1")
        self.assertEqual(thread.result(), "/a")

    def test_commands_go_on(self):
        db, daemon = self.served()
        db.watch("/a")
        for call in calls(db)[:-6]:
            self.wait_once(db)
            daemon = self.restart(daemon)
            call()
            while db.watches_pending():
                self.assertEqual(db.read_watch(), "/a")

    def test_reading_goes_on(self):
        db, daemon = self.served()
        for path in ("/a", "/d/"):
            db.watch(path)
        for _ in range(2):
            daemon = self.restart(daemon)
            self.assertEqual([db.read_watch(), db.read_watch()], ["/a", "/d/"])
        db.write("/d/1", "")
        self.assertEqual(db.read_watch(), "/d/1")

    def test_reading_goes_on_while_it_waits(self):
        leave = threading.Event()

        def old(client):
            client.answer(OK, WATCH)
            leave.wait(TIMEOUT)

        def new(client):
            self.assertEqual(client.answer(OK, WATCH).path, b"/a")
            client.send(R_WATCH, "/a")
            client.wait_closed()

        db = self.scripted(old, new)
        db.watch("/a")
        thread = self.thread(lambda: [db.read_watch(), db.read_watch()])
        thread.wait_until_it_polls()
        leave.set()
        self.assertEqual(thread.result(), ["/a", "/a"])
        db.close()

    def test_who_polls_is_told(self):
        db, daemon = self.served()
        db.watch("/a")
        for call in calls(db)[:-6]:
            db.watch_fd()
            daemon = self.restart(daemon)
            self.assert_gone(call)
            call()
            while db.watches_pending():
                self.assertEqual(db.read_watch(), "/a")

    def test_told_only_of_the_descriptor_that_it_has(self):
        db, daemon = self.served()
        db.watch("/a")
        db.watch_fd()
        daemon = self.restart(daemon)
        self.assert_gone(db.read, "/a")
        self.assertEqual(db.read_watch(), "/a")
        self.wait_once(db)
        self.restart(daemon)
        self.assertIsNone(db.read("/b"))

    def test_descriptor_stays_after_reading(self):
        db, daemon = self.served()
        db.watch("/a")
        fd = db.watch_fd()
        self.restart(daemon)
        for _ in range(2):
            self.assert_gone(db.read_watch)
            self.assertEqual(db.watch_fd(), fd)
            os.fstat(fd)
        self.assertIsNone(db.read("/b"))
        self.assertEqual(db.watch_fd(), fd)
        self.assertEqual(db.read_watch(), "/a")


class Loss(Case):
    def test_watches_come_back(self):
        db, daemon = self.served()
        for path in ("/a", "/d/"):
            db.watch(path)
        daemon.kill()
        self.assert_gone(db.read, "/a")
        self.assert_gone(db.watch_fd)
        again = self.dom0()
        self.assertGreaterEqual(db.watch_fd(), 0)
        self.assertEqual([db.read_watch(), db.read_watch()], ["/a", "/d/"])
        with again.connect() as other:
            other.write("/d/1", "")
        self.assertEqual(db.read_watch(), "/d/1")

    def test_reading_comes_back(self):
        db, daemon = self.served()
        db.watch("/a")
        daemon.kill()
        for _ in range(2):
            self.assert_gone(db.read_watch)
        self.dom0()
        self.assertEqual(db.read_watch(), "/a")

    def test_the_descriptor_stays(self):
        """Also where nobody had asked for it before, and whoever asks does not reconnect."""
        db, daemon = self.served()
        db.watch("/a")
        daemon.kill()
        for _ in range(2):
            self.assert_gone(db.read_watch)
        fd = db.watch_fd()
        self.assertTrue(is_readable(fd))
        self.dom0()
        self.assertEqual(db.watch_fd(), fd)
        self.assert_gone(db.read_watch)
        self.assertIsNone(db.read("/a"))
        self.assertEqual(db.read_watch(), "/a")

    def test_waiting_reader_is_told(self):
        db, daemon = self.served()
        db.watch("/a")
        thread = self.thread(db.read_watch)
        thread.wait_until_it_polls()
        daemon.kill()
        with self.assertRaises(qubesdb.DisconnectedError):
            thread.result()

    def test_not_the_protocol(self):
        """Nobody is left polling for what the library would not read any more."""
        def script(client):
            client.answer(OK, WATCH)
            client.send(OK, "/a")
            client.wait_closed()

        db = self.scripted(script)
        db.watch("/a")
        self.assert_error((71, "Protocol error"), db.read_watch)
        self.assertTrue(is_readable(db.watch_fd()))
        self.assert_gone(db.read_watch)


class Manager:
    """
    What dom0's management daemon does for each VM: a reader on watch_fd(), which takes one event
    each time; when the daemon is gone, it takes the descriptor out of its loop and opens anew.
    """

    def __init__(self, loop):
        self.loop = loop
        self.events = asyncio.Queue()
        self.start()

    def start(self):
        self.db = qubesdb.QubesDB("work")
        self.db.watch("/d/")
        self.loop.add_reader(self.db.watch_fd(), self.reader)

    def reader(self):
        try:
            self.events.put_nowait(self.db.read_watch())
        except qubesdb.DisconnectedError:
            self.loop.remove_reader(self.db.watch_fd())
            self.db.close()
            self.events.put_nowait("gone")
            self.restart()

    def restart(self):
        try:
            self.start()
        except qubesdb.Error:
            self.loop.call_later(0.01, self.restart)
        else:
            self.events.put_nowait("back")

    def stop(self):
        self.loop.remove_reader(self.db.watch_fd())
        self.db.close()


class EventLoop(Case):
    async def manage(self, daemon):
        manager = Manager(asyncio.get_running_loop())

        async def event():
            return await asyncio.wait_for(manager.events.get(), TIMEOUT)

        with daemon.connect() as other:
            for number in range(20):
                other.write(f"/d/{number}", "")
        for number in range(20):
            self.assertEqual(await event(), f"/d/{number}")
        daemon.kill()
        self.assertEqual(await event(), "gone")
        again = await asyncio.to_thread(self.dom0)
        self.assertEqual(await event(), "back")
        with again.connect() as other:
            other.write("/d/new", "")
        self.assertEqual(await event(), "/d/new")
        self.assertTrue(manager.events.empty())
        manager.stop()

    def test_reader_on_the_descriptor(self):
        daemon = self.dom0()
        self.use(daemon.run)
        asyncio.run(self.manage(daemon))

    def test_reader_with_commands(self):
        """It asks for what its commands have put into the library's queue."""
        db, daemon = self.served()
        db.watch("/d/")
        got = []

        def reader(done):
            while True:
                path = db.read_watch()
                got.append((path, db.read(path)))
                if len(got) == 20:
                    done.set_result(None)
                if not db.watches_pending():
                    break

        async def main():
            done = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().add_reader(db.watch_fd(), reader, done)
            with daemon.connect() as other:
                for number in range(20):
                    other.write(f"/d/{number}", f"{number}")
            await asyncio.wait_for(done, TIMEOUT)
            self.assertEqual(got, [(f"/d/{n}", b"%d" % n) for n in range(20)])
            asyncio.get_running_loop().remove_reader(db.watch_fd())

        asyncio.run(main())

    def test_waits_like_a_thread_in_an_executor(self):
        db, daemon = self.served()
        db.watch("/a")

        async def main():
            event = asyncio.get_running_loop().run_in_executor(None, db.read_watch)
            with daemon.connect() as other:
                other.write("/a", "")
            self.assertEqual(await asyncio.wait_for(event, TIMEOUT), "/a")

        asyncio.run(main())


class OtherReaders(Case):
    def test_poller_that_only_reads(self):
        """It polls the descriptor and answers each wake-up by a read, which takes the event."""
        db, daemon = self.served()
        db.watch("/a")
        with daemon.connect() as other:
            for value in ("1", "2"):
                other.write("/a", value)
                when(lambda: self.assertTrue(is_readable(db.watch_fd())), AssertionError)
                self.assertEqual(db.read("/a"), value.encode())
                self.assertFalse(is_readable(db.watch_fd()))


if __name__ == "__main__":
    run()
