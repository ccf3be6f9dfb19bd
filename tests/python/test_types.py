#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What the package tells type checkers is what it does: the stub of the core by its signatures here
and by stubtest, the rest by mypy, together with a program that uses it and one that misuses it.
"""
import ast
import inspect
import os
import re
import subprocess
import tempfile
import unittest

from support import PATH, qubesdb, run, unsanitized
from qubesdb import _qubesdb

USE = """
import asyncio
import qubesdb

def use(name: str | None) -> dict[str, bytes]:
    with qubesdb.QubesDB(vmname=name) as db:
        value: bytes | None = db.read("/a")
        if value is not None:
            db.write(b"/a", value)
            db.write_many({"/a": value, "/b": "1"})
            db.write_many([("/a", value), (b"/b", "1")])
        paths: list[str] = db.list("/")
        for path in db.watch_events("/d/", b"/a", reconnect=False):
            paths.append(path)
        poll: int = db.watch_fd() + db.watches_pending()
        db.set_timeout(None if db.is_read_only() else 0.5)
        paths += db.status("/peer/").values()
        db.trace(False)
        path = db.read_watch()
        return db.multiread(path)

async def follow(db: qubesdb.QubesDB) -> None:
    with db.watch_events("/d/") as events:
        async for path in events:
            db.rm(path)
    try:
        db.close()
    except qubesdb.DisconnectedError as error:
        raise qubesdb.Error(22, "Invalid argument") from error

asyncio.run(follow(qubesdb.QubesDB()))
"""
MISUSE = """
import qubesdb
db = qubesdb.QubesDB()
db.read("/a").decode()
db.write("/a", None)
db.write("/a", 1)
db.write_many({"/a": 1})
db.write_many("/a")
db.set_timeout("1")
db.status(prefix="/a")
db.read(path="/a")
db.watch_events("/a", again=True)
qubesdb.QubesDB(5)
"""


def tool(name):
    """The command, with the package on its path; the machine may have a wrapper of no use."""
    def command(*arguments, cwd=None):
        environment = {**os.environ, "MYPYPATH": PATH, "PYTHONPATH": PATH}
        return subprocess.run([name, *arguments], env=environment, check=False,
                              capture_output=True, text=True, cwd=cwd)
    try:
        return command if command("--help").returncode == 0 else None
    except FileNotFoundError:
        return None


def stub_of_core():
    with open(os.path.join(PATH, "qubesdb/_qubesdb.pyi"), encoding="ascii") as f:
        return ast.parse(f.read())


def names(arguments):
    """As inspect shows them."""
    positional = [a.arg.removeprefix("__")  # which old checkers want where there are overloads
                  for a in arguments.posonlyargs + arguments.args]
    count = len(positional) - len(arguments.defaults)
    shown = [name if i < count else f"{name}={ast.unparse(arguments.defaults[i - count])}"
             for i, name in enumerate(positional)]
    if arguments.posonlyargs:
        shown.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg:
        shown.append("*" + arguments.vararg.arg)
    return [name for name in shown if name != "self"]


def shown_names(function):
    text = function.__text_signature__.replace("$", "")
    shown = [name for name in text.strip("()").split(", ") if name != "self"]
    return shown[1:] if shown[:1] == ["/"] else shown


class Signatures(unittest.TestCase):
    def test_every_method(self):
        declared = next(node for node in stub_of_core().body
                        if isinstance(node, ast.ClassDef) and node.name == "QubesDB")
        methods = {node.name: node for node in declared.body if isinstance(node, ast.FunctionDef)}
        there = {name for name in vars(_qubesdb.QubesDB)
                 if not name.startswith("__") or name in ("__enter__", "__exit__", "__init__")}
        self.assertEqual(set(methods), there)
        for name, method in methods.items():
            real = _qubesdb.QubesDB if name == "__init__" else getattr(_qubesdb.QubesDB, name)
            if getattr(real, "__text_signature__", None):  # neither a property nor old classes
                self.assertEqual(names(method.args), shown_names(real), name)

    def test_documentation(self):
        for name, member in vars(_qubesdb.QubesDB).items():
            if inspect.ismethoddescriptor(member) or inspect.isgetsetdescriptor(member):
                self.assertTrue(member.__doc__, name)
        self.assertIn("Threads", qubesdb.QubesDB.__doc__)

    def test_marked_as_typed(self):
        self.assertTrue(os.path.exists(os.path.join(PATH, "qubesdb/py.typed")))


@unsanitized  # they see the same in the ordinary build
class Checkers(unittest.TestCase):
    def setUp(self):
        self.mypy, self.stubtest = tool("mypy"), tool("stubtest")
        if not self.mypy or not self.stubtest:
            self.skipTest("no mypy (Debian: mypy)")
        self.cache = tempfile.TemporaryDirectory(prefix="qdb.mypy.")
        self.addCleanup(self.cache.cleanup)

    def check(self, *arguments):
        return self.mypy("--strict", *arguments, cwd=self.cache.name)

    def check_program(self, program):
        path = os.path.join(self.cache.name, "program.py")
        with open(path, "w", encoding="ascii") as f:
            f.write(program)
        return self.check(path)

    def test_package(self):
        done = self.check("-p", "qubesdb")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_use(self):
        done = self.check_program(USE)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_misuse(self):
        done = self.check_program(MISUSE)
        lines = {int(line) for line in re.findall(r"program\.py:(\d+): error", done.stdout)}
        self.assertEqual(lines, set(range(4, 4 + 10)), done.stdout)

    def test_stubs(self):
        done = self.stubtest("qubesdb._qubesdb", cwd=self.cache.name)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    run()
