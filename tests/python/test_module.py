#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What programs that were written for the deployed module rely on, and the context manager."""
import contextlib
import os
import pathlib
import signal
import socket
import unittest

from support import Case, calls, child, path_methods, qubesdb, run, unsanitized
from qdb import (ERROR, LIST, MAX_VALUE, MULTIREAD, NOENT, OK, R_LIST, R_MULTIREAD, R_READ, READ,
                 RM, UNWATCH, WATCH, WRITE)

NO_TEXT = (bytearray(b"/a"), memoryview(b"/a"), 5, None, pathlib.Path("/a"), ["/a"], 1.0)


class Classes(unittest.TestCase):
    def test_names(self):
        for name in ("Error", "DisconnectedError", "QubesDB"):
            named = getattr(qubesdb, name)
            self.assertEqual(str(named), f"<class 'qubesdb.{name}'>")
            self.assertTrue(named.__doc__)

    def test_exceptions(self):
        self.assertEqual(qubesdb.Error.__mro__[1], RuntimeError)
        self.assertEqual(qubesdb.DisconnectedError.__mro__[1], qubesdb.Error)


class Values(Case):
    def test_str_and_bytes(self):
        db, daemon = self.served()
        every = bytes(range(1, 256))
        for data in ("", b"", "1", b"1", "gr\u00fc\u00df", every, b"x" * MAX_VALUE):
            for path in ("/a/b", b"/a/b"):
                self.assertIsNone(db.write(path, data))
                got = db.read(path)
                self.assertIs(type(got), bytes)
                self.assertEqual(got, data if isinstance(data, bytes) else data.encode())
        with daemon.connect() as other:
            self.assertEqual(other.read("/a/b"), b"x" * MAX_VALUE)

    def test_subclasses_of_str_and_bytes(self):
        db, _ = self.served()
        db.write(type("S", (str,), {})("/a"), type("B", (bytes,), {})(b"1"))
        self.assertEqual(db.read("/a"), b"1")

    def test_absent(self):
        db, _ = self.served()
        for path in ("/a", b"/a", "/a/"):
            self.assertIsNone(db.read(path))

    def test_list(self):
        db, _ = self.served()
        for path in ("/b/2", "/b/10", "/a", "/bc"):
            db.write(path, "")
        for prefix in ("/b", b"/b"):
            self.assertEqual(db.list(prefix), ["/b/10", "/b/2", "/bc"])
        self.assertEqual(db.list("/"), ["/a", "/b/10", "/b/2", "/bc"])
        self.assertEqual(db.list("/nothing/"), [])

    def test_multiread(self):
        db, _ = self.served()
        entries = {"/b/1": b"\xff\n", "/b/2": b"", "/c": b"3"}
        for path, value in entries.items():
            db.write(path, value)
        for prefix in ("/b/", b"/b/"):
            self.assertEqual(list(db.multiread(prefix).items()),
                             [("/b/1", b"\xff\n"), ("/b/2", b"")])
        self.assertEqual(list(db.multiread("/").items()), list(entries.items()))
        self.assertEqual(db.multiread("/nothing/"), {})
        self.assertEqual(db.multiread("/forbidden="), {})

    def test_rm(self):
        db, _ = self.served()
        for path in ("/a/1", "/a/2", "/b"):
            db.write(path, "1")
        for path in ("/b", b"/b", "/a/", "/a/", "/nothing"):
            self.assertIsNone(db.rm(path))
        self.assertEqual(db.multiread("/"), {})

    def test_watch_and_unwatch(self):
        db, _ = self.served()
        for path in ("/a", b"/a", "/a/"):
            self.assertIsNone(db.watch(path))
            self.assertIsNone(db.unwatch(path))
            self.assertIsNone(db.unwatch("/nothing"))


class Errors(Case):
    def test_refused(self):
        db, _ = self.served()
        for path in ("rel", "", "/" + "x" * 63, "/" + "x" * 1000):
            for method in path_methods(db):
                self.assert_refused(method, path)
            self.assert_refused(db.write, path, "1")
        for method in (db.list, db.rm, db.watch, db.unwatch):
            self.assert_refused(method, "/a=b")
            self.assert_refused(method, "/gr\u00fcn")
        for path in ("/a=b", "/d/", "/gr\u00fcn"):
            self.assert_refused(db.write, path, "1")
        for data in (b"a\0b", "a\0b", b"\0", b"x" * (MAX_VALUE + 1), b"x" * 10 ** 6):
            self.assert_refused(db.write, "/a", data)
        self.assertEqual(db.multiread("/"), {})

    @unsanitized  # asks for more memory than they can spare
    def test_length_is_not_cut_to_32_bits(self):
        db, _ = self.served()
        self.assert_refused(db.write, "/a", bytes(2 ** 32))
        self.assertIsNone(db.read("/a"))

    def test_refused_read(self):
        db, _ = self.served()
        self.assert_error((71, "Protocol error"), db.read, "/a=b")

    def test_read_only(self):
        _, daemon = self.served()
        with daemon.connect() as other:
            other.write("/a", "1")
        db = self.open_read_only(daemon)
        self.assertEqual(db.read("/a"), b"1")
        self.assert_refused(db.write, "/a", "2")
        self.assert_refused(db.rm, "/a")
        self.assertEqual(db.read("/a"), b"1")

    def test_not_the_protocol(self):
        db = self.scripted(lambda client: client.answer(OK, READ))
        self.assert_error((71, "Protocol error"), db.read, "/a")

    def test_gone(self):
        db, daemon = self.served()
        daemon.kill()
        for _ in range(2):
            for call in calls(db)[:-4]:
                self.assert_gone(call)
        db.close()

    def test_interpreter_ends_with_open_objects(self):
        _, daemon = self.served()
        code = "import qubesdb; db = qubesdb.QubesDB('work'); print(db.read('/a'))"
        done = child(code)
        self.assertEqual((done.stdout, done.stderr, done.returncode), ("None\n", "", 0))
        self.assertTrue(daemon.is_running())


class Opening(Case):
    def test_by_name(self):
        _, daemon = self.served()
        for db in (qubesdb.QubesDB("work"), qubesdb.QubesDB(b"work"),
                   qubesdb.QubesDB(vmname="work")):
            with db:
                self.assertIsNone(db.read("/a"))
        self.assertTrue(daemon.is_running())

    def test_local(self):
        self.use(self.dom0("run", 0, "dom0").run)
        for arguments in ((), (None,)):
            with qubesdb.QubesDB(*arguments) as db:
                self.assertIsNone(db.read("/a"))
                self.assertIsNone(db.vmname)
        with qubesdb.QubesDB(vmname=None) as db:
            self.assertIsNone(db.read("/a"))

    def test_nobody_there(self):
        self.use(self.home.path)
        nobody = (2, "No such file or directory")
        self.assert_error(nobody, qubesdb.QubesDB)
        self.assert_error(nobody, qubesdb.QubesDB, "work")
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(self.home / "qubesdb.ro.sock")
        self.assert_error((111, "Connection refused"), qubesdb.QubesDB)
        self.assert_error((22, "Invalid argument"), qubesdb.QubesDB, "a/b")
        self.assert_error((36, "File name too long"), qubesdb.QubesDB, "x" * 200)

    def test_bad_arguments(self):
        for bad in (5, bytearray(b"work"), ["work"]):
            self.assertRaises(TypeError, qubesdb.QubesDB, bad)
        self.assertRaises(ValueError, qubesdb.QubesDB, "a\0b")
        self.assertRaises(TypeError, qubesdb.QubesDB, "a", "b")
        with self.assertRaises(TypeError):
            qubesdb.QubesDB(name="a")

    def test_subclass(self):
        daemon = self.dom0()
        self.use(daemon.run)

        class Mine(qubesdb.QubesDB):
            def __init__(self, number):
                super().__init__("work")
                self.number = number

            def read(self, path):
                return super().read(path), self.number

        with Mine(7) as db:
            self.assertIsInstance(db, qubesdb.QubesDB)
            self.assertEqual(db.read("/a"), (None, 7))

    def test_without_init(self):
        class Mine(qubesdb.QubesDB):
            def __init__(self):  # pylint: disable=super-init-not-called
                pass

        for call in calls(Mine()):
            self.assert_closed(call)

    def test_init_again(self):
        db, daemon = self.served()
        before = daemon.descriptors()
        db.__init__(b"work")
        self.assertEqual(db.vmname, b"work")
        self.assertIsNone(db.read("/a"))
        with self.assertRaises(qubesdb.Error):
            db.__init__("nobody")
        self.assertEqual(db.vmname, b"work")
        self.assertIsNone(db.read("/a"))
        self.assertEqual(daemon.descriptors(), before)

    def test_descriptor_is_not_inherited(self):
        db, _ = self.served()
        self.assertFalse(os.get_inheritable(db.watch_fd()))


class Closing(Case):
    def test_use_after_close(self):
        db, _ = self.served()
        fd = db.watch_fd()
        self.assertIsNone(db.close())
        self.assertRaises(OSError, os.fstat, fd)
        for call in calls(db):
            self.assert_closed(call)
        self.assert_closed(db.__enter__)
        self.assert_closed(db.watch_events, "/a")

    def test_context_manager(self):
        db, _ = self.served()
        with db as same:
            self.assertIs(same, db)
            db.write("/a", "1")
        self.assert_closed(db.read, "/a")
        self.assertIsNone(db.__exit__(None, None, None))

    def test_context_manager_with_an_exception(self):
        db, _ = self.served()
        with self.assertRaises(KeyError):
            with db:
                raise KeyError
        self.assert_closed(db.close)

    def test_closed_inside(self):
        db, _ = self.served()
        with db:
            db.close()


class Arguments(Case):
    def test_paths(self):
        db, _ = self.served()
        for bad in NO_TEXT:
            for method in path_methods(db):
                self.assertRaises(TypeError, method, bad)
            self.assertRaises(TypeError, db.write, bad, "1")

    def test_data(self):
        db, _ = self.served()
        for bad in NO_TEXT:
            self.assertRaises(TypeError, db.write, "/a", bad)
        self.assertIsNone(db.read("/a"))

    def test_nul_in_a_path(self):
        db, _ = self.served()
        for path in ("/a\0", b"/a\0b", "\0"):
            for method in path_methods(db):
                self.assertRaises(TypeError, method, path)
            self.assertRaises(ValueError, db.write, path, "1")
        self.assertEqual(db.list("/"), [])

    def test_not_utf8(self):
        db, _ = self.served()
        self.assertRaises(UnicodeEncodeError, db.write, "/a", "\ud800")
        self.assertRaises(UnicodeEncodeError, db.read, "/\ud800")

    def test_number(self):
        db, _ = self.served()
        for method in path_methods(db):
            self.assertRaises(TypeError, method)
            self.assertRaises(TypeError, method, "/a", "/b")
        for arguments in ((), ("/a",), ("/a", "1", "2")):
            self.assertRaises(TypeError, db.write, *arguments)
        for method in (db.read_watch, db.watch_fd, db.watches_pending, db.close):
            self.assertRaises(TypeError, method, 1)


class Waiting(Case):
    """The scripts run in another thread, which gets nowhere if a call keeps the interpreter."""

    @staticmethod
    def dialogue(client):
        client.answer(R_READ, READ, b"1")
        client.answer(OK, WRITE)
        client.answer(R_LIST, LIST)
        client.send(R_LIST)
        client.answer(R_MULTIREAD, MULTIREAD, b"1")
        client.send(R_MULTIREAD)
        client.answer(NOENT, RM)
        client.answer(OK, WATCH)
        client.answer(ERROR, UNWATCH)

    def test_others_run_meanwhile(self):
        db = self.scripted(self.dialogue)
        self.assertEqual(db.read("/a"), b"1")
        db.write("/a", "1")
        self.assertEqual(db.list("/a"), ["/a"])
        self.assertEqual(db.multiread("/a"), {"/a": b"1"})
        db.rm("/a")
        db.watch("/a")
        self.assert_refused(db.unwatch, "/a")

    def test_commands_are_not_interrupted(self):
        seen = []
        old = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
        self.addCleanup(signal.signal, signal.SIGUSR1, old)

        def script(client):
            message = client.recv()
            for part in (b"12", b"34"):
                os.kill(os.getpid(), signal.SIGUSR1)
                client.send(R_READ, message.path, part)
                if part == b"12":
                    message = client.recv()

        db = self.scripted(script)
        self.assertEqual(db.read("/a"), b"12")
        self.assertEqual(db.read("/a"), b"34")
        self.assertTrue(seen)

    def test_no_sigpipe(self):
        db, daemon = self.served()
        old = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        self.addCleanup(signal.signal, signal.SIGPIPE, old)
        daemon.kill()
        with contextlib.suppress(qubesdb.DisconnectedError):
            db.write("/a", "1")


if __name__ == "__main__":
    run()
