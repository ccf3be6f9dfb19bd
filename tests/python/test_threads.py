#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Threads that share one object."""
import os
import signal
import threading

from support import TIMEOUT, Case, qubesdb, run, when
from harness import Process
from qdb import OK, R_READ, R_WATCH, READ, WATCH, pack


class Commands(Case):
    def test_each_gets_its_own_answers(self):
        db, _ = self.served()

        def work(number):
            for turn in range(200):
                path, value = f"/{number}/{turn % 7}", f"{number}.{turn}".encode()
                db.write(path, value)
                self.assertEqual(db.read(path), value)
                self.assertIsNone(db.read(f"/{number}/absent"))
                self.assertTrue(all(p.startswith(f"/{number}/") for p in db.list(f"/{number}/")))
                self.assertEqual(db.multiread(path), {path: value})
                db.rm(f"/{number}/{(turn + 1) % 7}")

        for thread in [self.thread(work, number) for number in range(4)]:
            thread.result()

    def test_beside_a_reader_that_gets_every_event(self):
        db, _ = self.served()
        db.watch("/d/")
        db.watch("/end")
        per_thread = 100

        def read_events():
            got = []
            while (path := db.read_watch()) != "/end":
                got.append(path)
            return got

        def write(number):
            for turn in range(per_thread):
                db.write(f"/d/{number}.{turn}", "")

        reader = self.thread(read_events)
        for thread in [self.thread(write, number) for number in range(3)]:
            thread.result()
        db.write("/end", "")
        got = reader.result()
        self.assertEqual(sorted(got), sorted(
            f"/d/{number}.{turn}" for number in range(3) for turn in range(per_thread)))
        for number in range(3):
            own = [path for path in got if path.startswith(f"/d/{number}.")]
            self.assertEqual(own, [f"/d/{number}.{turn}" for turn in range(per_thread)])


class Waiting(Case):
    """A thread that waits for an event keeps nobody from the object."""

    def waiting_reader(self, db):
        thread = self.thread(db.read_watch)
        thread.wait_until_it_polls()
        return thread

    def test_other_thread_causes_the_event(self):
        db, _ = self.served()
        db.watch("/a")
        reader = self.waiting_reader(db)
        db.write("/a", "1")
        self.assertEqual(reader.result(), "/a")

    def test_other_thread_takes_the_event_off_the_descriptor(self):
        """It comes before the answer to a command, so the library has queued it."""
        def script(client):
            client.answer(OK, WATCH)
            message = client.recv()
            client.send_raw(pack(R_WATCH, "/a") + pack(R_READ, message.path, b"1"))
            client.wait_closed()

        db = self.scripted(script)
        db.watch("/a")
        reader = self.waiting_reader(db)
        self.assertEqual(db.read("/b"), b"1")
        self.assertEqual(reader.result(), "/a")
        db.close()

    def test_answers_do_not_wake_it_for_nothing(self):
        db, _ = self.served()
        db.watch("/a")
        reader = self.waiting_reader(db)
        for _ in range(100):
            self.assertIsNone(db.read("/b"))
        Process(reader.native_id).check_quiet()
        self.assertTrue(reader.is_alive())
        db.write("/a", "")
        self.assertEqual(reader.result(), "/a")

    def test_new_watch_and_new_connection(self):
        """The reader is told of a connection that another thread has made since."""
        def first(client):
            client.answer(OK, WATCH)
            client.recv()
            client.send(OK, "/not-asked-for")
            client.wait_closed()

        def second(client):
            client.answer(OK, WATCH)
            client.answer(R_READ, READ, b"1")
            client.wait_closed()

        db = self.scripted(first, second)
        db.watch("/a")
        reader = self.waiting_reader(db)
        self.assert_error((71, "Protocol error"), db.read, "/b")
        self.assertEqual(reader.result(), "/a")
        self.assertEqual(db.read("/b"), b"1")
        db.close()

    def test_two_readers(self):
        db, _ = self.served()
        db.watch("/d/")
        readers = [self.waiting_reader(db)]
        readers.append(self.thread(db.read_watch))
        db.write("/d/1", "")
        when(lambda: self.assertFalse(all(r.is_alive() for r in readers)), AssertionError)
        db.write("/d/2", "")
        self.assertEqual(sorted(reader.result() for reader in readers), ["/d/1", "/d/2"])

    def test_close(self):
        db, _ = self.served()
        db.watch("/a")
        readers = [self.waiting_reader(db), self.thread(db.read_watch)]
        db.close()
        for reader in readers:
            self.assert_closed(reader.result)

    def test_opened_again(self):
        db, _ = self.served()
        db.watch("/a")
        reader = self.waiting_reader(db)
        db.__init__("work")
        db.watch("/b")
        db.write("/b", "")
        self.assertEqual(reader.result(), "/b")

    def test_signal_while_another_thread_reads(self):
        """The main thread waits for its turn to read, and its handler is not kept waiting."""
        db, _ = self.served()
        db.watch("/a")

        def handler(*_):
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyError

        old = signal.signal(signal.SIGALRM, handler)
        self.addCleanup(signal.signal, signal.SIGALRM, old)
        reader = self.waiting_reader(db)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        self.assertRaises(KeyError, db.read_watch)
        db.write("/a", "")
        self.assertEqual(reader.result(), "/a")


class Closing(Case):
    def test_while_others_work(self):
        """They get their answers or are told that it is closed."""
        db, _ = self.served()
        started = threading.Barrier(5)

        def work():
            done = 0
            try:
                while True:
                    db.write("/a", "1")
                    self.assertEqual(db.read("/a"), b"1")
                    if not done:
                        started.wait(TIMEOUT)
                    done += 1
            except qubesdb.Error as error:
                return error.args

        workers = [self.thread(work) for _ in range(4)]
        started.wait(TIMEOUT)
        db.close()
        for worker in workers:
            self.assertEqual(worker.result(), (22, "Invalid argument"))

    def test_descriptors(self):
        """What waiting needed is given back with the object."""
        def wait():
            with qubesdb.QubesDB("work") as db:
                db.watch("/a")
                reader = self.thread(db.read_watch)
                reader.wait_until_it_polls()
                db.write("/a", "")
                reader.result()

        self.served()
        wait()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            wait()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


if __name__ == "__main__":
    run()
