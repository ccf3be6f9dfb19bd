#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A deployed client takes each header with one read(), and a short one is an error to it. So does
Connection.recv(); here a long answer is read slowly, again and again, with the socket always full.

QUBESDB_TEST_SPLIT_ROUNDS sets how often, 1000 for the full measure.
"""
import os
import signal
import threading

from harness import Case, run, when
from qdb import (HEADER, LIST, MULTIREAD, OK, R_LIST, R_MULTIREAD, R_WATCH, TIMEOUT, WRITE, Connection,
                 pack)

ROUNDS = int(os.environ.get("QUBESDB_TEST_SPLIT_ROUNDS", "20"))
ENTRIES = 20000


class SplitHeaders(Case):
    def read_answer(self, connection, kind, entries, nap):
        """The bare loop of a deployed client; counts short headers."""
        recv, unpack = connection.sock.recv, HEADER.unpack
        seen = short = 0
        while True:
            head = recv(HEADER.size)
            while len(head) < HEADER.size:
                short += 1
                head += recv(HEADER.size - len(head))
            got, path, _, length = unpack(head)
            while length:
                length -= len(recv(length))
            if got == R_WATCH:
                continue
            self.assertEqual(got, kind)
            if path[0] == 0:
                break
            seen += 1
            if seen % nap == 0:
                os.sched_yield()
        self.assertEqual((seen, short), (entries, 0), "entries and short headers")

    def start(self):
        daemon = self.dom0()
        writer = self.connect(daemon)
        writer.write_all([(f"/list/{n:05}", "v" * (n % 40)) for n in range(ENTRIES)])
        return daemon, writer

    def test_list(self):
        daemon, _ = self.start()
        reader = self.connect(daemon)
        for n in range(ROUNDS):
            reader.send(LIST, "/list/")
            self.read_answer(reader, R_LIST, ENTRIES, nap=1 + n * 7 % 500)

    def test_with_values_and_events(self):
        """Answers of all sizes, events in between, several readers at once."""
        daemon, writer = self.start()
        readers = [self.connect(daemon) for _ in range(3)]
        for reader in readers:
            reader.watch("/event", "/other/")
        for n in range(max(ROUNDS // 10, 2)):
            for reader in readers:
                reader.send_raw(pack(MULTIREAD, "/list/"))
            feeder = threading.Thread(target=self.feed, args=(daemon,))
            feeder.start()
            for reader in readers:
                self.read_answer(reader, R_MULTIREAD, ENTRIES, nap=1 + n)
            feeder.join()
        self.assertIsNotNone(writer.read("/event"))

    def test_nothing_is_torn_in_the_socket(self):
        """
        Whenever the daemon has filled the socket and waits, what is in it ends with a whole
        message: it is stopped there, and the socket emptied.
        """
        daemon, writer = self.start()
        reader = self.connect(daemon)
        reader.watch("/other/")
        reader.send_raw(pack(LIST, "/list/") + pack(MULTIREAD, "/list/") + pack(MULTIREAD))
        writer.write_all([(f"/other/{n}", "") for n in range(3000)])
        ends = pauses = 0
        while ends < 3:
            when(lambda: self.assertEqual(daemon.stat()[0], "S"), AssertionError)
            daemon.popen.send_signal(signal.SIGSTOP)
            when(lambda: self.assertEqual(daemon.stat()[0], "T"), AssertionError)
            try:
                while reader.readable():
                    message = reader.recv()
                    ends += message.type != R_WATCH and not message.path
            finally:
                daemon.popen.send_signal(signal.SIGCONT)
            pauses += 1
            self.assertTrue(ends == 3 or reader.readable(TIMEOUT))
        self.assertGreater(pauses, 10, "the socket was never full")

    def feed(self, daemon):
        with Connection(daemon.socket()) as writer:
            for n in range(200):
                writer.expect(OK, WRITE, "/event", str(n))
                writer.expect(OK, WRITE, f"/other/{n}", str(n))


if __name__ == "__main__":
    run()
