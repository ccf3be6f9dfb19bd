# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The other end of the vchan, played by the tests: FakeVM is a deployed daemon in a VM, FakeDom0 one
in dom0. They are honest unless a test makes them say something else, and as touchy as the real
ones: whatever would make a deployed daemon exit is a failure of the test.
"""
import os
import re
import socket

from qdb import (ERROR, MULTIREAD, OK, RM, R_MULTIREAD, TIMEOUT, WRITE, Broken, Stream, as_bytes,
                 dial, echo)

ENTRY = re.compile(rb"/([a-zA-Z0-9_/.:@-]*[a-zA-Z0-9_.:@-])")
WELL_FORMED = re.compile(rb"([a-zA-Z0-9_/.:@][a-zA-Z0-9_/.:@-]*)?")


class Link(Stream):
    """One end of the vchan. `state` is what a deployed daemon in our place would hold."""
    may_send = ()
    announced = False

    def __init__(self, sock):
        super().__init__(sock)
        self.state = {}
        self.early = []

    def judge(self, message):
        kind, path, data = message.type, message.path, message.data
        if kind not in self.may_send:
            raise Broken(f"{message} would end a deployed peer")
        if data and kind not in (WRITE, R_MULTIREAD):
            raise Broken(f"unexpected data on the vchan: {message}")
        if b"\0" in data:
            raise Broken(f"NUL on the vchan: {message}")
        if kind == WRITE or (kind == R_MULTIREAD and path):
            if not ENTRY.fullmatch(path):
                raise Broken(f"ill-formed entry on the vchan: {message}")
        if not WELL_FORMED.fullmatch(path) or (kind == RM and path[:1] != b"/"):
            raise Broken(f"ill-formed path on the vchan: {message}")

    def apply(self, message):
        """Does what a WRITE or RM says. A deployed peer dies of an RM that hits nothing."""
        path = message.path.decode()
        if message.type == WRITE:
            self.state[path] = message.data
            return
        gone = [p for p in self.state if p == path or (path[-1] == "/" and p.startswith(path))]
        if not gone and not self.announced:
            raise Broken(f"{message} of nothing ends a deployed peer")
        for p in gone:
            del self.state[p]

    def is_answer(self, message):
        """Applies and answers an operation."""
        if message.type in (WRITE, RM):
            self.apply(message)
            self.send(OK, message.path)
        return message.type in (OK, ERROR) and not message.path.startswith(b"@")

    def serve_until(self, done):
        while not done(self.state):
            self.is_answer(self.recv())

    def answer(self):
        """The next answer to an operation of ours; it may have come inside the dump."""
        if self.early:
            return self.early.pop(0)
        while not self.is_answer(message := self.recv()):
            pass
        return message

    def operation(self, kind, path, data=b""):
        """Sends a WRITE or RM, serves the other end, and returns the answer to ours."""
        self.send(kind, path, data)
        message = self.answer()
        if message.path != echo(path):
            raise Broken(f"answer to {path!r}: {message}")
        if message.type == OK and kind == WRITE:
            self.state[path] = as_bytes(data)
        return message.type


class FakeVM(Link):
    may_send = (WRITE, RM, OK, ERROR, R_MULTIREAD)

    def __init__(self, path):
        super().__init__(dial(path))

    def judge(self, message):
        super().judge(message)
        if message.path.startswith(b"@") and not self.announced:
            raise Broken(f"{message} for a VM that did not announce itself")

    def hello(self, capability=None):
        if capability:
            self.announced = True
            self.send(OK, capability)
        self.send(MULTIREAD)
        return self

    def be_emptied(self, messages):
        if [m.type for m in messages] != [WRITE, RM] or messages[1].path != b"/":
            raise Broken(f"{messages} before a dump")
        self.state.clear()
        while messages:
            self.send(OK, messages.pop(0).path)

    def dump(self):
        """
        Takes the dump: entries in descending order and the end mark. Between them only
        answers may come, which a deployed agent passes over. Before them, a VM that did not
        announce itself may be made to forget what it holds from the last link.
        """
        last = None
        emptying = []
        while True:
            message = self.recv()
            if message.type in (OK, ERROR):
                if self.is_answer(message):
                    self.early.append(message)
                continue
            if message.type in (WRITE, RM) and last is None and not self.announced:
                emptying.append(message)
                continue
            if last is None and emptying:
                self.be_emptied(emptying)
            if message.type != R_MULTIREAD:
                raise Broken(f"{message} inside a dump")
            if not message.path:
                if message.data:
                    raise Broken("end mark with data")
                return self.state
            if last is not None and message.path >= last:
                raise Broken(f"dump not descending: {message.path} after {last}")
            last = message.path
            self.state[last.decode()] = message.data


class FakeDom0(Link):
    may_send = (WRITE, RM, OK, ERROR, MULTIREAD)

    def hello(self):
        """Takes what a VM says first; returns its capability OKs, of which it may send one."""
        capabilities = []
        while (message := self.recv()).type != MULTIREAD:
            if message.type != OK or not message.path.startswith(b"@") or capabilities:
                raise Broken(f"{message} before MULTIREAD")
            capabilities.append(message)
        if message.path:
            raise Broken(f"not for the whole namespace: {message}")
        return capabilities

    def send_entries(self, entries):
        for path, value in sorted(entries.items(), reverse=True):
            self.send(R_MULTIREAD, path, value)
            self.state[path] = as_bytes(value)

    def dump(self, entries):
        self.send_entries(entries)
        self.send(R_MULTIREAD)


class FakeDom0Server:
    """Where the daemon in a VM connects to; each accept() is one FakeDom0."""

    def __init__(self, path):
        if os.path.exists(path):
            os.unlink(path)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.bind(path)
        self.sock.listen(1)

    def close(self):
        self.sock.close()

    def accept(self):
        try:
            return FakeDom0(self.sock.accept()[0])
        except socket.timeout:
            raise Broken("no daemon in the VM connects") from None
