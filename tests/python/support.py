# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The built Python module beside real daemons, which come from the integration tests' harness.

The package is put together as an installation would: its Python from the sources, its core from
the build. A core with the address sanitizer needs an interpreter that has loaded the sanitizer
first, so then this file starts the interpreter once more.

QUBESDB_PYTHON names a directory to take an installed package from instead.
"""
import atexit
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

POLL = ("7", "271", "73")  # poll and ppoll of x86-64, ppoll of arm64
HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = os.path.normpath(os.path.join(HERE, "../../client/python/qubesdb"))
sys.path.insert(0, os.path.join(HERE, "../integration"))
# pylint: disable=wrong-import-position
import harness  # noqa: E402
from harness import run, unsanitized, when  # noqa: E402,F401  pylint: disable=unused-import
from qdb import TIMEOUT, Stream  # noqa: E402

BUILD = os.path.dirname(os.path.dirname(os.path.abspath(harness.DAEMON)))
INSTALLED = os.environ.get("QUBESDB_PYTHON")
CORE = (os.path.join(INSTALLED, "qubesdb/_qubesdb.abi3.so") if INSTALLED
        else os.path.join(BUILD, "client/python/.libs/_qubesdb.abi3.so"))


def has_sanitizer():
    with open(CORE, "rb") as f:
        return b"__asan_init" in f.read()


def assemble():
    """A directory for sys.path."""
    if INSTALLED:
        return INSTALLED
    path = tempfile.mkdtemp(prefix="qdb.python.")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    package = os.path.join(path, "qubesdb")
    os.mkdir(package)
    for name in ("__init__.py", "_qubesdb.pyi", "events.py", "py.typed"):
        os.symlink(os.path.join(SOURCES, name), os.path.join(package, name))
    os.symlink(CORE, os.path.join(package, "_qubesdb.abi3.so"))
    return path


def environment(**more):
    """For an interpreter that shall load the module, with its leaks unreported."""
    env = {**os.environ, **more}
    if SANITIZED:
        libraries = subprocess.run(["ldd", CORE], check=True, capture_output=True, text=True,
                                   env={**os.environ, "LD_PRELOAD": ""}).stdout
        env["LD_PRELOAD"] = re.search(r"=> (\S*/libasan\.so\S*)", libraries)[1]
        env.setdefault("ASAN_OPTIONS", "detect_leaks=0")
    return env


def child(code, *arguments, **more):
    """Runs a program with the module; returns the CompletedProcess."""
    env = environment(PYTHONPATH=os.pathsep.join((PATH, HERE)), **more)
    return subprocess.run([sys.executable, "-c", code, *arguments], env=env, check=False,
                          capture_output=True, text=True, timeout=10 * TIMEOUT)


if not os.path.exists(CORE):
    print(f"{CORE} is not there: built without Python\n0 passed, 0 failed, 1 skipped")
    sys.exit(77)
SANITIZED = has_sanitizer()
if SANITIZED and "libasan" not in os.environ.get("LD_PRELOAD", ""):
    os.execve(sys.executable, [sys.executable, *sys.argv], environment())
PATH = assemble()
sys.path.insert(0, PATH)
import qubesdb  # noqa: E402


class Server:
    """
    A daemon whose moves the test decides. Each script is called, in a thread of its own, with the
    stream of one connection, in the order in which they come; what it raises is the test's failure.
    """

    class Client(Stream):
        def judge(self, message):
            if 6 < message.type < 64:
                raise AssertionError(f"not a request: {message}")

        def is_answer(self, message):
            return True

        def answer(self, kind, request, data=b""):
            """Takes the request, which must be of this type, and answers by `kind`."""
            message = self.recv()
            if message.type != request:
                raise AssertionError(f"unexpected {message}")
            self.send(kind, message.path, data)
            return message

    def __init__(self, path, *scripts):
        self.errors = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(8)
        self.threads = [threading.Thread(target=self._serve, args=(scripts,), daemon=True)]
        self.threads[0].start()

    def _serve(self, scripts):
        for script in scripts:
            client = self.Client(self.listener.accept()[0])
            self.threads.append(threading.Thread(target=self._run, args=(script, client),
                                                 daemon=True))
            self.threads[-1].start()

    def _run(self, script, client):
        try:
            with client:
                script(client)
        except Exception as error:  # pylint: disable=broad-except
            self.errors.append(error)

    def finish(self):
        for thread in self.threads:
            thread.join(TIMEOUT)
            if thread.is_alive():
                raise AssertionError("a script has not come to its end")
        self.listener.close()
        if self.errors:
            raise self.errors[0]


class Case(harness.Case):
    """A test with daemons and objects of its own."""

    def use(self, run_dir):
        """What is opened from now on connects to a daemon of this runtime directory."""
        os.environ["QUBESDB_RUNTIME_DIR"] = run_dir

    def open(self, daemon, **options):
        self.use(daemon.run)
        db = qubesdb.QubesDB(daemon.name, **options)
        self.addCleanup(db.__exit__)
        return db

    def served(self):
        """An object and the daemon that it is connected to, which has noticed."""
        daemon = self.dom0()
        db = self.open(daemon)
        db.read("/")
        return db, daemon

    def open_read_only(self, daemon):
        ro_dir = self.home / "ro"
        os.mkdir(ro_dir)
        os.symlink(daemon.socket(ro=True), os.path.join(ro_dir, "qubesdb.ro.sock"))
        self.use(ro_dir)
        db = qubesdb.QubesDB()
        self.addCleanup(db.__exit__)
        return db

    def scripted(self, *scripts):
        """An object that is connected to a Server with these scripts."""
        self.use(self.home.path)
        server = Server(self.home / "qubesdb.sock", *scripts)
        self.addCleanup(server.finish)
        db = qubesdb.QubesDB()
        self.addCleanup(db.__exit__)
        return db

    def assert_error(self, args, function, *arguments, kind=qubesdb.Error):
        with self.assertRaises(qubesdb.Error) as caught:
            function(*arguments)
        self.assertIs(type(caught.exception), kind)
        self.assertEqual(caught.exception.args, args)

    def assert_refused(self, function, *arguments):
        self.assert_error((0, "Error"), function, *arguments)

    def assert_closed(self, function, *arguments):
        self.assert_error((22, "Invalid argument"), function, *arguments)

    def assert_gone(self, function, *arguments):
        self.assert_error(("QubesDB disconnected",), function, *arguments,
                          kind=qubesdb.DisconnectedError)

    def thread(self, function, *arguments):
        """Starts it; result() waits for its end and returns, or raises, what it did."""
        return Thread(function, *arguments)


class Thread(threading.Thread):
    def __init__(self, function, *arguments):
        super().__init__(daemon=True)
        self.function, self.arguments = function, arguments
        self.value = self.error = None
        self.start()

    def run(self):
        try:
            self.value = self.function(*self.arguments)
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error

    def result(self):
        self.join(TIMEOUT)
        if self.is_alive():
            raise AssertionError(f"{self.function} does not return")
        if self.error is not None:
            raise self.error
        return self.value

    def wait_until_it_polls(self):
        """Where the kernel does not tell, this returns at once."""
        def look():
            try:
                with open(f"/proc/self/task/{self.native_id}/syscall", encoding="ascii") as f:
                    number = f.read().split()[0]
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                return
            if number not in POLL:
                raise BlockingIOError
        when(look, BlockingIOError)


def path_methods(db):
    """Those that take a path alone."""
    return [db.read, db.list, db.multiread, db.rm, db.watch, db.unwatch]


def calls(db):
    """Each method as a call that would do something; the last four without the daemon."""
    return [lambda m=m: m("/a") for m in path_methods(db)] + [
        lambda: db.write("/a", "1"), lambda: db.write_many({"/a": "1"}), lambda: db.trace(True),
        db.status, db.read_watch, db.watch_fd, db.watches_pending, lambda: db.set_timeout(1),
        db.is_read_only, db.close]
