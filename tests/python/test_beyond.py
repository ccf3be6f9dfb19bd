#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the module has beyond the deployed one: many entries, time-outs, status and trace."""
import os

from support import Case, run
from qdb import ERROR, MAX_VALUE, OK, R_STATUS, READ, STATUS, TRACE, WRITE_MANY


class WriteMany(Case):
    def test_mappings_and_pairs(self):
        db, _ = self.served()
        entries = {"/a": b"1", b"/b": "gr\u00fcn", "/c": "", "/d": b"x" * MAX_VALUE}
        expected = {"/a": b"1", "/b": "gr\u00fcn".encode(), "/c": b"", "/d": b"x" * MAX_VALUE}

        class Mapping:
            def keys(self):
                raise AssertionError("not needed")

            def items(self):
                return iter(entries.items())

        for given in (entries, Mapping(), list(entries.items()), tuple(entries.items()),
                      entries.items(), ([k, v] for k, v in entries.items())):
            self.assertIsNone(db.write_many(given))
            self.assertEqual(db.multiread("/"), expected)
            db.rm("/")
        for nothing in ({}, [], ()):
            self.assertIsNone(db.write_many(nothing))
        db.write_many([("/a", "1"), ("/a", "2")])
        self.assertEqual(db.multiread("/"), {"/a": b"2"})

    def test_all_or_none(self):
        db, daemon = self.served()
        with daemon.connect() as other:
            other.watch("/")
            for bad in ({"/a": "1", "rel": ""}, {"/a": "1", "/b": b"\0"}, {"/a": "1", "/b=": ""},
                        {"/a": "1", "/b": b"x" * (MAX_VALUE + 1)}, {"/a": "1", "/d/": ""},
                        [(f"/{n}", "") for n in range(4097)]):
                self.assert_refused(db.write_many, bad)
            self.assert_error((7, "Argument list too long"), db.write_many,
                              [("/a", b"x" * MAX_VALUE)] * 100)
            self.assertEqual(db.multiread("/"), {})
            db.write_many({"/a": "1", "/b": "2"})
            self.assertEqual([other.event(), other.event()], ["/a", "/b"])

    def test_bad_arguments(self):
        db, _ = self.served()
        for bad in (None, 5, {"/a": 1}, {"/a": bytearray(b"1")}, {5: "1"}, [5], [("/a", None)]):
            self.assertRaises(TypeError, db.write_many, bad)
        for bad in ({"/a\0": "1"}, [("/a",)], [("/a", "1", "2")], ["/ab"]):
            self.assertRaises(ValueError, db.write_many, bad)

        def broken():
            yield "/a", "1"
            raise KeyError("mine")

        self.assertRaises(KeyError, db.write_many, broken())
        self.assertEqual(db.multiread("/"), {})

    def test_what_runs_meanwhile_cannot_take_the_bytes_away(self):
        db, _ = self.served()
        pairs = [["/a", "1" * 100], ["/b", "2" * 100]]

        class Pair(list):
            def __iter__(self):
                pairs.clear()
                return super().__iter__()

        pairs.append(Pair(["/c", "3"]))
        db.write_many(pairs)
        self.assertEqual(db.multiread("/"), {"/a": b"1" * 100, "/b": b"2" * 100, "/c": b"3"})

    def test_read_only_and_deployed(self):
        _, daemon = self.served()
        self.assert_refused(self.open_read_only(daemon).write_many, {"/a": "1"})
        db = self.scripted(lambda client: client.answer(ERROR, WRITE_MANY))
        self.assert_error((95, "Operation not supported"), db.write_many, {"/a": "1"})


class Connections(Case):
    def test_time_out(self):
        def silent(client):
            client.recv()
            client.wait_closed()

        db = self.scripted(silent, lambda client: client.answer(OK, READ))
        self.assertIsNone(db.set_timeout(0.001))
        self.assert_error((110, "Connection timed out"), db.read, "/a")
        self.assertIsNone(db.set_timeout(None))
        self.assert_error((71, "Protocol error"), db.read, "/a")

    def test_what_a_time_out_may_be(self):
        db, _ = self.served()
        for fine in (None, 1, 0.5, 1e-9, 1e30, float("inf"), True):
            self.assertIsNone(db.set_timeout(fine))
        for bad in (0, -1, -1e-9, float("nan"), float("-inf")):
            self.assertRaises(ValueError, db.set_timeout, bad)
        for bad in ("1", b"1", [1]):
            self.assertRaises(TypeError, db.set_timeout, bad)

    def test_is_read_only(self):
        db, daemon = self.served()
        self.assertIs(db.is_read_only(), False)
        self.assertIs(self.open_read_only(daemon).is_read_only(), True)


class Status(Case):
    def test_items(self):
        db, daemon = self.served()
        got = db.status()
        self.assertEqual((got["/daemon/pid"], got["/daemon/name"]), (str(daemon.pid), daemon.name))
        mine = [k for k, v in got.items() if k.endswith("/pid") and v == str(os.getpid())]
        self.assertEqual(len([k for k in mine if k.startswith("/clients/")]), 1)
        for prefix in ("/daemon/pid", b"/daemon/pid"):
            self.assertEqual(db.status(prefix), {"/daemon/pid": str(daemon.pid)})
        self.assertEqual(db.status("/nothing/"), {})
        self.assertEqual(self.open_read_only(daemon).status("/peer/").keys(),
                         db.status("/peer/").keys())

    def test_arguments(self):
        db, _ = self.served()
        for bad in (5, None, bytearray(b"/a"), "/a\0"):
            self.assertRaises(TypeError, db.status, bad)
        self.assertRaises(TypeError, db.status, "", "")
        self.assert_refused(db.status, "rel")

    def test_odd_answers(self):
        def serve(client):
            client.answer(ERROR, STATUS)
            client.recv()
            for path, text in ("/a", b"\xff"), ("/b", b""), ("", b""):
                client.send(R_STATUS, path, text)
            client.answer(OK, STATUS)

        db = self.scripted(serve)
        self.assert_error((95, "Operation not supported"), db.status)
        self.assertEqual(db.status(), {"/a": "\udcff", "/b": ""})
        self.assert_error((71, "Protocol error"), db.status)


class Trace(Case):
    def test_switch(self):
        db, daemon = self.served()
        for on, said in (True, "yes"), (False, "no"), (1, "yes"), ("", "no"):
            self.assertIsNone(db.trace(on))
            self.assertEqual(db.status("/daemon/tracing"), {"/daemon/tracing": said})
        self.assert_refused(self.open_read_only(daemon).trace, True)

    def test_deployed(self):
        db = self.scripted(lambda client: client.answer(ERROR, TRACE))
        self.assert_refused(db.trace, False)


if __name__ == "__main__":
    run()
