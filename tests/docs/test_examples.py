#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Every example of the manual pages does what its page says: transcripts are run beside a real pair
of daemons, for the VM `work`, and one in dom0 for a VM `copy` that has not started; C is compiled
with all warnings and run; bytes are sent, and those that come back compared.
"""
import glob
import os
import re
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.join(HERE, "..", "integration"))

from harness import (  # pylint: disable=wrong-import-position
    CLIENT, DAEMON, SANITIZED, Case, run, when)
from pages import examples  # pylint: disable=wrong-import-position
from transcript import Transcript, steps  # pylint: disable=wrong-import-position

SOURCE = os.path.join(HERE, "..", "..")
BUILD = os.environ.get("QUBESDB_BUILD", os.path.dirname(CLIENT))
CFLAGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"]
PATIENCE = 60
HEADER_SIZE = 72
DATA_LEN_SIZE = 4


def message_bytes(words):
    """The bytes of a message in words; `...` are the zeros up to the length of its data."""
    if "..." not in words:
        raise AssertionError(f"no message: {words}")
    at = words.index("...")
    head, tail = (bytes.fromhex("".join(part)) for part in (words[:at], words[at + 1:]))
    return head + bytes(HEADER_SIZE - DATA_LEN_SIZE - len(head)) + tail


def conversation(lines):
    """[(is sent, bytes)]; a line without an arrow goes on with the message before."""
    words = []
    for line in lines:
        first, *rest = line.split()
        if first in ("->", "<-"):
            words.append((first == "->", rest))
        else:
            words[-1][1].extend([first, *rest])
    return [(sent, message_bytes(message)) for sent, message in words]


def without_blanks(c):
    c = re.sub(r"/\*.*?\*/", " ", c, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"\s*([^\w\s])\s*", r"\1", c)).strip()


class Examples(Case):
    def setUp(self):
        super().setUp()
        self.work, self.vm_daemon = self.pair()
        self.copy = self.dom0(domid=6, name="copy")
        self.sides = {"dom0": self.work.run, "vm": self.vm_daemon.run}

    def client(self, command, side="dom0"):
        return subprocess.run(
            ["bash", "-c", command], check=True, timeout=PATIENCE, capture_output=True, text=True,
            env={**os.environ, "PATH": f"{CLIENT}:{os.environ['PATH']}",
                 "QUBESDB_RUNTIME_DIR": self.sides[side]}).stdout.splitlines()

    def clear(self):
        for name in "work", "copy":
            self.client(f"qubesdb-rm -d {name} /")

    def synchronise(self):
        """What dom0 has done to `work` before has arrived in the VM."""
        with self.work.connect() as dom0, self.vm_daemon.connect() as vm:
            self.sync(dom0, vm)

    # ---- one kind of example each ----

    def run_shell(self, example, _):
        shell = Transcript([CLIENT, os.path.dirname(DAEMON)], self.sides)
        try:
            for command in example.given:
                shell.run(command, side="dom0")
            for side, command, expected in steps(example.text):
                self.synchronise()
                side = side or ("dom0" if " -d " in command else "vm")
                shell.run(command, expected or example.prints, side,
                          [f"PATH={CLIENT}:$PATH; {c}" for c in example.meanwhile])
        finally:
            shell.close()
        if example.leaves:
            self.assertEqual(self.client("qubesdb-dump -d copy"), example.leaves)

    def run_c(self, example, name):
        with open(self.home / "example.inc", "w", encoding="utf-8") as f:
            f.write("\n".join(example.text) + "\n")
        program = self.home / name
        library = os.path.join(BUILD, "lib", ".libs")
        flags = ["-fsanitize=address,undefined"] if SANITIZED else []
        subprocess.run(
            [os.environ.get("CC", "cc"), *CFLAGS, *flags, f"-I{self.home.path}",
             f"-I{SOURCE}/lib", f"-I{SOURCE}/protocol", "-o", program, f"{HERE}/{name}.c",
             f"-L{library}", "-lqubesdb", f"-Wl,-rpath,{library}"], check=True)
        with subprocess.Popen([program], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "QUBESDB_RUNTIME_DIR": self.vm_daemon.run}) as p:
            self.addCleanup(p.kill)
            self.client("qubesdb-write /qubes-timezone Europe/Warsaw", "vm")
            self.assertEqual(p.stdout.readline(), "Europe/Warsaw\n")
            self.client("qubesdb-write -d work /qubes-timezone end")
            line = p.stdout.readline()
            while line == "Europe/Warsaw\n":  # told of what it had read already
                line = p.stdout.readline()
            self.assertEqual(line, "end\n")
            self.assertEqual(p.wait(PATIENCE), 0)

    def run_bytes(self, example, path):
        for command in example.given:
            self.client(command)
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(PATIENCE)
            when(lambda: s.connect(path), ConnectionRefusedError, FileNotFoundError)
            for sent, message in conversation(example.text):
                if sent:
                    s.sendall(message)
                else:
                    self.assertEqual(s.recv(len(message), socket.MSG_WAITALL).hex(" "),
                                     message.hex(" "))

    def run_local(self, example, _):
        self.run_bytes(example, self.work.socket())

    def run_vchan(self, example, _):
        self.run_bytes(example, self.home.link(client=6))

    def compare_header(self, example, name):
        directory = "protocol" if name == "qubesdb.h" else "lib"
        with open(os.path.join(SOURCE, directory, name), encoding="utf-8") as f:
            header = without_blanks(f.read())
        text = re.sub(r"^void done\(", "typedef void (*qdb_done_fn)(", "\n".join(example.text))
        for declaration in text.split("\n\n"):
            self.assertIn(without_blanks(declaration), header)

    def check_page(self, name):
        [path] = glob.glob(os.path.join(SOURCE, "man", name + ".[1-9]"))
        for example in examples(path):
            kind, argument = example.kind
            with self.subTest(f"{example.page}:{example.line}"):
                self.clear()
                if kind == "run":
                    what, _, argument = argument.partition(" ")
                    getattr(self, "run_" + what)(example, argument)
                elif kind == "header":
                    self.compare_header(example, argument)


def add_page(name):
    def test(self):
        self.check_page(name)
    setattr(Examples, "test_page_" + name.replace("-", "_"), test)


for page in glob.glob(os.path.join(SOURCE, "man/*.[1-9]")):
    add_page(os.path.basename(page)[:-2])

if __name__ == "__main__":
    run()
