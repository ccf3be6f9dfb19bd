# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The wire protocol as the tests see it, written from the protocol's description and sharing no
code with the daemon.

A Connection is a program on a local socket; peers.py has those who stand at an end of the vchan.
All of them judge every message that they receive, whatever the test is about: header and data
each come out of one recv() (a deployed client has no second one), the rest of the path field
and the padding are zero, no type carries data that must not, and what crosses the vchan is
nothing that would end a deployed peer.

Nobody waits for ever: TIMEOUT only turns a hang into a failure, no result depends on it.
"""
import collections
import os
import select
import socket
import struct

(READ, WRITE, MULTIREAD, LIST, RM, WATCH, UNWATCH, OK, NOENT, ERROR, R_READ, R_MULTIREAD, R_LIST,
 R_WATCH) = range(14)
NAMES = ("READ WRITE MULTIREAD LIST RM WATCH UNWATCH OK NOENT ERROR R_READ R_MULTIREAD R_LIST "
         "R_WATCH").split()
WRITE_MANY, STATUS, R_STATUS, TRACE = 64, 65, 66, 67
HEADER = struct.Struct("=B64s3sI")
PATH_SIZE = 64
MAX_VALUE = 3071
TIMEOUT = int(os.environ.get("QUBESDB_TEST_TIMEOUT", "30"))
MARK = b"/zz.mark/"


class Broken(AssertionError):
    """The other end broke the protocol."""


class Closed(Broken):
    """The other end closed the connection."""


class Message(collections.namedtuple("Message", "type path data raw")):
    def __repr__(self):
        name = NAMES[self.type] if self.type < len(NAMES) else f"type{self.type}"
        return f"{name} {self.path!r} {self.data[:40]!r}"


def as_bytes(text):
    return text.encode() if isinstance(text, str) else text


def pack(kind, path="", data=b"", length=None, padding=b"\0\0\0"):
    """One message; `path` may be all of the 64 bytes, `length` may lie."""
    data = as_bytes(data)
    return HEADER.pack(kind, as_bytes(path), padding, len(data) if length is None else length) + data


def echo(path):
    """What a daemon answers for the path field that we sent."""
    return as_bytes(path)[:PATH_SIZE - 1].split(b"\0")[0]


def dial(path):
    """A connected socket; waits for room in the listener's backlog."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", TIMEOUT, 0))
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


class Stream:
    """One end of a stream of messages."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(TIMEOUT)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def fileno(self):
        return self.sock.fileno()

    def send_raw(self, raw):
        try:
            self.sock.sendall(raw)
        except socket.timeout:
            raise Broken("nobody reads what we send") from None
        except (BrokenPipeError, ConnectionResetError):
            raise Closed("the other end closed the connection") from None

    def send(self, kind, path="", data=b"", **lies):
        self.send_raw(pack(kind, path, data, **lies))

    def send_some(self, raw):
        """As much as there is room for now; returns the number of bytes."""
        self.sock.settimeout(0)
        try:
            return self.sock.send(raw)
        except BlockingIOError:
            return 0
        except (BrokenPipeError, ConnectionResetError):
            raise Closed("the other end closed the connection") from None
        finally:
            self.sock.settimeout(TIMEOUT)

    def _take(self, size, what):
        try:
            raw = self.sock.recv(size)
        except socket.timeout:
            raise Broken(f"no answer: waiting for a {what}") from None
        except ConnectionResetError:
            raise Closed("connection reset") from None
        if not raw:
            raise Closed(f"end of stream instead of a {what}")
        if len(raw) != size:
            raise Broken(f"split {what}: {len(raw)} bytes of {size}")
        return raw

    def recv(self):
        head = self._take(HEADER.size, "header")
        kind, field, padding, length = HEADER.unpack(head)
        path, nul, rest = field.partition(b"\0")
        if not nul:
            raise Broken(f"path without NUL: {field!r}")
        if rest.strip(b"\0") or padding.strip(b"\0"):
            raise Broken(f"bytes that say nothing are not zero: {head!r}")
        if length > MAX_VALUE:
            raise Broken(f"data_len {length} in {head!r}")
        data = self._take(length, "value") if length else b""
        message = Message(kind, path, data, head + data)
        self.judge(message)
        return message

    def judge(self, message):
        raise NotImplementedError

    def is_answer(self, message):
        """Deals with a message that is none, such as an event."""
        raise NotImplementedError

    def pump(self, raw, count):
        """Sends `raw` and meanwhile takes `count` answers: neither direction can clog."""
        view, got = memoryview(raw), []
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLOUT)
        while view or len(got) < count:
            poll.modify(self.sock, select.POLLIN | (select.POLLOUT if view else 0))
            ready = poll.poll(TIMEOUT * 1000)
            if not ready:
                raise Broken(f"stuck after {len(got)} of {count} answers")
            if ready[0][1] & select.POLLOUT:
                view = view[self.send_some(view[:65536]):]
            if ready[0][1] & ~select.POLLOUT:
                message = self.recv()
                if self.is_answer(message):
                    got.append(message)
        return got

    def flood(self, raw):
        """Sends it all, and drops whatever comes meanwhile."""
        view = memoryview(raw)
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLOUT)
        while view:
            ready = poll.poll(TIMEOUT * 1000)
            if not ready:
                raise Broken("nobody reads what we send")
            if ready[0][1] & select.POLLOUT:
                view = view[self.send_some(view[:65536]):]
            if ready[0][1] & ~select.POLLOUT:
                self._drop_some()

    def _drop_some(self):
        try:
            if self.sock.recv(65536):
                return
        except ConnectionResetError:
            pass
        raise Closed("the other end closed the connection")

    def readable(self, seconds=0.0):
        return bool(select.select([self.sock], [], [], seconds)[0])

    def closed_within(self, seconds):
        """Whether the other end closes so soon, with something to read or not."""
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        return bool(poll.poll(seconds * 1000))

    def wait_closed(self):
        """Waits until the other end has closed; what it still said is dropped."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        except socket.timeout:
            raise Broken("the other end keeps the connection open") from None


class Connection(Stream):
    """A program that talks to a daemon."""
    marks = 0

    def __init__(self, path):
        super().__init__(dial(path))
        self.events = []

    def judge(self, message):
        if not OK <= message.type <= R_WATCH and message.type != R_STATUS:
            raise Broken(f"not an answer: {message}")
        if message.data and message.type not in (R_READ, R_MULTIREAD, R_STATUS):
            raise Broken(f"unexpected data: {message}")
        if b"\0" in message.data:
            raise Broken(f"NUL in {message}")

    def is_answer(self, message):
        if message.type == R_WATCH:
            self.events.append(message.path)
        return message.type != R_WATCH

    def answer(self):
        """The next message that is not an event; events go to self.events."""
        while not self.is_answer(message := self.recv()):
            pass
        return message

    def ask(self, kind, path="", data=b"", **lies):
        """One request and its answer: a Message, or the list of Messages before an end mark."""
        self.send(kind, path, data, **lies)
        return self.answer_to(kind, path)

    def answer_to(self, kind, path):
        message = self.answer()
        if message.type not in (R_LIST, R_MULTIREAD, R_STATUS):
            if message.path != echo(path):
                raise Broken(f"answer to {path!r} is {message}")
            return message
        if message.type != {LIST: R_LIST, MULTIREAD: R_MULTIREAD, STATUS: R_STATUS}.get(kind):
            raise Broken(f"answer to {kind} is {message}")
        entries = []
        while message.path:
            entries.append(message)
            message = self.answer()
            if message.type != entries[0].type:
                raise Broken(f"{message} in the middle of an answer")
        if message.data:
            raise Broken(f"end mark with data: {message}")
        return entries

    def expect(self, answer, kind, path="", data=b"", **lies):
        got = self.ask(kind, path, data, **lies)
        if isinstance(got, list) or got.type != answer:
            raise Broken(f"{NAMES[answer]} expected for {kind} {path!r}, got {got}")
        return got

    def read(self, path):
        got = self.ask(READ, path)
        if got.type not in (R_READ, NOENT):
            raise Broken(f"answer to READ {path!r}: {got}")
        return got.data if got.type == R_READ else None

    def write(self, path, value=b""):
        self.expect(OK, WRITE, path, value)

    def rm(self, path):
        self.expect(OK, RM, path)

    def watch(self, *paths):
        for path in paths:
            self.expect(OK, WATCH, path)

    def unwatch(self, path):
        self.expect(OK, UNWATCH, path)

    def list(self, prefix=""):
        return [m.path.decode() for m in self.ask(LIST, prefix) if not m.path.startswith(MARK)]

    def multiread(self, prefix=""):
        entries = self.ask(MULTIREAD, prefix)
        return [(m.path.decode(), m.data) for m in entries if not m.path.startswith(MARK)]

    def snapshot(self):
        return dict(self.multiread())

    def write_all(self, entries):
        """Writes many entries, pipelined; `entries` are pairs."""
        raw = b"".join(pack(WRITE, path, value) for path, value in entries)
        for got in self.pump(raw, len(entries)):
            if got.type != OK:
                raise Broken(f"writing many: {got}")

    def event(self):
        """The path of the next event; waits for it."""
        if self.events:
            return self.events.pop(0).decode()
        message = self.recv()
        if message.type != R_WATCH:
            raise Broken(f"an event expected, got {message}")
        return message.path.decode()

    def events_until_mark(self, via=None):
        """
        All events that changes made on `via` (default: this connection) so far have caused
        here, sorted. Events come in order, so the one of a marker entry ends them.
        """
        via = via or self
        Connection.marks += 1
        mark = f"{MARK.decode()}{Connection.marks}"
        self.watch(mark)
        via.write(mark)
        got = []
        while (path := self.event()) != mark:
            if not path.startswith(MARK.decode()):
                got.append(path)
        self.unwatch(mark)
        via.rm(mark)
        return sorted(got)
