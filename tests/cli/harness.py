# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real daemon, a tap on its socket, and the built commands run against them.

The tap stands between a command and the daemon. It passes whole messages on in both
directions and keeps them, so a test can wait until a command has come to a certain point,
see in which order it asked, refuse one of its requests, or take the daemon away from it.
"""
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import unittest

READ, WRITE, MULTIREAD, LIST, RM, WATCH, UNWATCH = range(7)
OK, NOENT, ERROR, R_READ, R_MULTIREAD, R_LIST, R_WATCH = range(7, 14)
HEADER = struct.Struct("=B64s3xI")
COMMANDS = ["read", "write", "rm", "list", "multiread", "watch"]  # the deployed ones
ADDED = ["dump", "restore", "edit", "ls", "count", "exists", "wait", "status", "trace"]
PATIENCE = 60  # seconds after which something that never happens is a failure
NAME = "test"
REFUSED = b"refused by the local daemon; if for a quota, its log says which\n"
READ_ONLY = b"the connection is read-only; try as a user who may open the read-write socket\n"

client_dir = None
daemon_path = None


def pack(kind, path=b"", data=b""):
    return HEADER.pack(kind, path, len(data)) + data


def receive(sock):
    """Returns (kind, path, data), or None at the end of the stream."""
    head = sock.recv(HEADER.size, socket.MSG_WAITALL)
    if len(head) < HEADER.size:
        return None
    kind, path, size = HEADER.unpack(head)
    data = sock.recv(size, socket.MSG_WAITALL) if size else b""
    return kind, path.split(b"\0")[0], data


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def listen(path, backlog=16):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen(backlog)
    return sock


class Daemon:
    """qubesdb-daemon as dom0's own, so that it has the sockets with and without a name."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="qdb-cli-")
        self.process = None
        self.start()

    def start(self):
        ready_path = os.path.join(self.dir, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(ready_path)
            ready.settimeout(PATIENCE)
            self.process = subprocess.Popen(
                [daemon_path, "--foreground", "--runtime-dir", self.dir,
                 "--log-dir", self.dir, "0", NAME],
                env=dict(os.environ, NOTIFY_SOCKET=ready_path))
            try:
                while b"READY=1" not in ready.recv(4096):
                    pass
            finally:
                os.unlink(ready_path)

    def stop(self):
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        assert status == 0, f"the daemon ended with {status}"

    def remove(self):
        self.stop()
        shutil.rmtree(self.dir)

    @property
    def socket_path(self):
        return os.path.join(self.dir, "qubesdb.sock")

    def ask(self, kind, path=b"", data=b""):
        with connect(self.socket_path) as sock:
            sock.sendall(pack(kind, path, data))
            return receive(sock)

    def fill(self, entries):
        """Makes these the whole namespace."""
        with connect(self.socket_path) as sock:
            sock.sendall(pack(RM, b"/"))
            receive(sock)
            for path, value in entries.items():
                sock.sendall(pack(WRITE, path, value))
                assert receive(sock)[0] == OK, path

    def put(self, path, value=b""):
        assert self.ask(WRITE, path, value)[0] == OK, path

    def entries(self):
        """The whole namespace, by path."""
        found = {}
        with connect(self.socket_path) as sock:
            sock.sendall(pack(MULTIREAD))
            while (answer := receive(sock))[1]:
                found[answer[1]] = answer[2]
        return found

    def get(self, path):
        kind, _, value = self.ask(READ, path)
        return value if kind == R_READ else None


class Tap:
    def __init__(self, upstream):
        self.dir = tempfile.mkdtemp(prefix="qdb-tap-")
        os.symlink("qubesdb.sock", os.path.join(self.dir, f"qubesdb.{NAME}.sock"))
        self.upstream = upstream
        self.requests = []  # (kind, path), in the order in which they were sent
        self.answers = []   # (kind, path), those that have been passed on
        self.refused = set()  # of paths, or of kinds of answers
        self.changed = threading.Condition()
        self.open_sockets = set()
        self.client = None  # the newest connection
        self.start()

    def start(self):
        self.listener = listen(os.path.join(self.dir, "qubesdb.sock"))
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        """From now on the daemon is gone, for all who come and all who are there."""
        os.unlink(os.path.join(self.dir, "qubesdb.sock"))
        self._hang_up(self.listener)

    def replace(self):
        """Another daemon is there for all who come, before this one goes."""
        old = self.listener
        os.unlink(os.path.join(self.dir, "qubesdb.sock"))
        self.start()
        self._hang_up(old)

    def _hang_up(self, listener):
        with self.changed:
            for sock in self.open_sockets:
                sock.shutdown(socket.SHUT_RDWR)
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()

    def remove(self):
        self.stop()
        shutil.rmtree(self.dir)

    def wait_for_answer(self, kind, path, times=1):
        with self.changed:
            if not self.changed.wait_for(
                    lambda: self.answers.count((kind, path)) >= times, PATIENCE):
                raise AssertionError(f"no answer {kind} {path} in {self.answers}")

    def send_event(self, path):
        """Only while the command waits for one, and the daemon has none to send."""
        self.client.sendall(pack(R_WATCH, path))

    def _accept(self, listener):
        while True:
            try:
                down = listener.accept()[0]
            except OSError:
                return
            try:
                up = connect(self.upstream)
            except OSError:
                down.close()
                continue
            up.settimeout(None)
            with self.changed:
                self.open_sockets |= {up, down}
                self.client = down
            for source, sink, passed in ((down, up, self._request), (up, down, self._answer)):
                threading.Thread(target=self._pass_on, args=(source, sink, passed),
                                 daemon=True).start()

    def _pass_on(self, source, sink, passed):
        try:
            while (message := receive(source)) is not None:
                passed(sink, *message)
        except OSError:
            pass
        with self.changed:
            for sock in (source, sink):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            self.open_sockets -= {source}
        source.close()

    def _request(self, sink, kind, path, data):
        with self.changed:
            self.requests.append((kind, path))
        sink.sendall(pack(kind, path, data))

    def _answer(self, sink, kind, path, data):
        if self.refused & {path, kind} and kind != R_WATCH:
            kind, data = ERROR, b""
        sink.sendall(pack(kind, path, data))
        with self.changed:
            self.answers.append((kind, path))
            self.changed.notify_all()


class CommandTest(unittest.TestCase):
    """Each test starts with an empty namespace; daemon and sockets are the class's."""

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.remove()

    def setUp(self):
        self.daemon.ask(RM, b"/")

    def tap(self):
        tap = Tap(self.daemon.socket_path)
        self.addCleanup(tap.remove)
        return tap

    def directory(self, links=()):
        """A runtime directory with links to some of the daemon's sockets."""
        path = tempfile.mkdtemp(prefix="qdb-dir-")
        self.addCleanup(shutil.rmtree, path)
        for link in links:
            os.symlink(os.path.join(self.daemon.dir, link), os.path.join(path, link))
        return path

    def no_connection(self, directory, domain=None):
        """What commands say where no daemon is."""
        where = os.path.join(directory, f"qubesdb.{domain}" if domain else "qubesdb")
        advice = "does the VM run, and its qubesdb-daemon?" if domain else "does qubesdb-daemon run?"
        return (f"Failed connect to {domain or 'local'} daemon\n"
                f"  {where}.sock: No such file or directory; {advice}\n"
                f"  {where}.ro.sock: No such file or directory\n").encode()

    def read_only_directory(self):
        return self.directory(["qubesdb.ro.sock", f"qubesdb.{NAME}.ro.sock"])

    def full_directory(self, name="qubesdb.sock"):
        """A runtime directory with the socket of a daemon that takes no more connections."""
        path = os.path.join(self.directory(), name)
        listener = listen(path, 0)
        waiting = connect(path)
        for sock in (listener, waiting):
            self.addCleanup(sock.close)
        return os.path.dirname(path)

    def program(self, command, *args):
        return [command if "/" in command else f"{client_dir}/qubesdb-{command}", *args]

    def environment(self, runtime_dir=None, **more):
        return dict(os.environ, QUBESDB_RUNTIME_DIR=runtime_dir or self.daemon.dir, **more)

    def start(self, command, *args, runtime_dir=None, feed=b"", stdout=subprocess.PIPE, env=(),
              **more):
        """`feed` is what the command finds on its standard input."""
        with tempfile.TemporaryFile() as stdin:
            stdin.write(feed)
            stdin.seek(0)
            process = subprocess.Popen(
                self.program(command, *args), stdout=stdout, stderr=subprocess.PIPE,
                env=self.environment(runtime_dir, **dict(env)), **{"stdin": stdin, **more})
        guard = threading.Timer(PATIENCE, process.kill)
        guard.start()
        self.addCleanup(self._end, process, guard)
        return process

    def _end(self, process, guard):
        guard.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()

    def finish(self, process, status, out=b"", err=b""):
        """`err` None: anything; a pattern: must be found; bytes: exactly."""
        got_out, got_err = process.communicate()
        self.assertEqual((process.returncode, got_out), (status, out), got_err)
        if isinstance(err, bytes):
            self.assertEqual(got_err, err)
        elif err is not None:
            self.assertRegex(got_err, err)
        return got_err

    def check(self, command, *args, status=0, out=b"", err=b"", **how):
        """Runs a command to its end and compares everything that can be seen of it."""
        return self.finish(self.start(command, *args, **how), status, out, err)

    def end_by_signal(self, process):
        process.send_signal(signal.SIGTERM)
        process.communicate()
