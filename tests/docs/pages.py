# SPDX-License-Identifier: LGPL-2.1-or-later
r"""
The examples of the manual pages.

Comments right before a display (.Bd or .Dl) say what becomes of it:
  .\" run: shell      a transcript, see transcript.py
  .\" run: c NAME     statements, compiled inside tests/docs/NAME.c
  .\" run: local      bytes between a program and the daemon
  .\" run: vchan      bytes between the VM's daemon and dom0's
  .\" header: NAME    declarations that stand in this public header
  .\" form            not an example: a drawing, or a syntax
For transcripts there may be more of them before that:
  .\" given: COMMAND      done first
  .\" meanwhile: COMMAND  done as soon as a command of the example waits for a change
  .\" prints: LINE        what is printed and not shown
  .\" leaves: LINE        a line of `qubesdb-dump -d copy` afterwards, all of them
"""
import os
import re
from collections import namedtuple

Example = namedtuple("Example", "page line kind given meanwhile prints leaves text")

ESCAPES = {r"\e": "\\", r"\&": "", r"\-": "-", r"\(aq": "'", r"\(dq": '"'}


def plain(line):
    def replace(match):
        return ESCAPES[match[0]]  # KeyError: an escape that no example has needed so far
    return re.sub(r"\\(\(..|.)", replace, line)


def display(lines, at):
    """The text of the display that begins at this line."""
    if lines[at].startswith(".Dl "):
        return [plain(lines[at][4:])]
    end = lines.index(".Ed", at)
    return [plain(line) for line in lines[at + 1:end]]


def examples(path):
    with open(path, encoding="utf-8") as f:
        lines = f.read().splitlines()
    for at, line in enumerate(lines):
        if not re.match(r"\.(Bd|Dl|D1)\b", line):
            continue
        notes = []
        before = at - 1
        while lines[before].startswith('.\\" '):
            key, _, value = lines[before][4:].partition(":")
            notes.insert(0, (key, value.strip()))
            before -= 1
        kinds = [(k, v) for k, v in notes if k in ("run", "header", "form")]
        page = os.path.basename(path)
        if len(kinds) != 1:
            raise AssertionError(f"{page}:{at + 1}: nothing says how this display is tested")
        yield Example(page, at + 1, kinds[0],
                      *([v for k, v in notes if k == key]
                        for key in ("given", "meanwhile", "prints", "leaves")),
                      display(lines, at))
