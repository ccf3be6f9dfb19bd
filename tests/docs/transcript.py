# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Runs transcripts: lines that begin with a prompt are commands, those after one are what appears
before the next. `dom0$` and `vm$` say on which side a command is run; `$` leaves it to the shell's
own environment.

One shell runs all commands of a transcript, without being asked for more than that: in those of
the manual pages, what would wait for a change is run through tests/docs/waiting, so that the next
command is only given when the wait has begun.
"""
import os
import re
import select
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 60  # seconds after which what does not happen is a failure

# Commands come by descriptor 3, one a line; the end of each is marked by \1 and its status.
SHELL = r"""
if [ -n "$WAITING" ]; then
	for name in qubesdb-watch qubesdb-wait; do
		eval "$name() { \"\$WAITING\" \"\$FIFO\" $name \"\$@\"; }"
	done
fi
while IFS= read -r line <&3; do
	eval "$line" 3<&-
	printf '\1%d\n' $?
done
"""
PROMPT = re.compile(r"^(dom0\$|vm\$|\$) ")
WAITS = re.compile(r"\bqubesdb-(watch|wait)\b")


class Transcript:
    """
    `sides`: the runtime directory of each; `path`: directories to find the programs in; `typed`: by
    somebody who has nothing but the transcript.
    """

    def __init__(self, path, sides=None, directory=None, typed=False):
        self.sides = sides or {}
        self.scratch = tempfile.TemporaryDirectory(prefix="qdb-docs-")
        self.fifo_path = os.path.join(self.scratch.name, "fifo")
        os.mkfifo(self.fifo_path)
        self.fifo = os.open(self.fifo_path, os.O_RDWR)
        commands, self.commands = os.pipe()
        self.typed = typed
        env = dict(os.environ)
        env.pop("NOTIFY_SOCKET", None)
        env.update(PATH=os.pathsep.join([*path, env["PATH"]]), FIFO=self.fifo_path,
                   WAITING="" if typed else os.path.join(HERE, "waiting"), PYTHONDONTWRITEBYTECODE="1")
        self.shell = subprocess.Popen(
            ["bash", "--norc", "-c", f"exec 3<&{commands}\n" + SHELL], env=env,
            cwd=directory or self.scratch.name, pass_fds=[commands], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.close(commands)
        self.buffer = b""
        self.left = []  # what background jobs have printed and nobody has asked for yet

    def close(self):
        """Ends the shell, with the jobs that it may still have; an example may have left it."""
        try:
            self._give("kill $(jobs -p) 2>/dev/null; wait")
        except BrokenPipeError:
            pass
        os.close(self.commands)
        self.shell.wait(PATIENCE)
        self.shell.stdout.close()
        os.close(self.fifo)
        self.scratch.cleanup()

    def _give(self, command):
        os.write(self.commands, command.encode() + b"\n")

    def _line(self):
        """The next line of output, or None when the shell has ended; or TimeoutError."""
        while b"\n" not in self.buffer:
            if not select.select([self.shell.stdout], [], [], PATIENCE)[0]:
                raise TimeoutError
            more = os.read(self.shell.stdout.fileno(), 65536)
            if not more:
                return None
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode(errors="replace")

    def _await_readiness(self, command):
        if not select.select([self.fifo], [], [], PATIENCE)[0]:
            raise AssertionError(f"{command}: does not come to wait")
        said = os.read(self.fifo, 4096).decode().strip()
        if said != "ready":
            raise AssertionError(f"{command}: {said}")

    def _collect(self, expected):
        """Reads until the command has ended and so many lines have come. Its status, the lines."""
        lines, self.left = self.left, []
        status = None
        while status is None or (status == 0 and len(lines) < expected):
            try:
                line = self._line()
            except TimeoutError:
                return "unknown, it prints no more", lines
            if line is None:  # the example has left the shell
                return 0 if status is None else status, lines
            if "\1" in line:
                text, _, status = line.partition("\1")
                status = int(status)
                line = text
                if not line:
                    continue
            lines.append(line)
        return status, lines

    def run(self, command, expected=(), side=None, meanwhile=()):
        """One command, which must succeed and print exactly these lines; "..." is anything."""
        background = command.rstrip().endswith("&")
        if side:
            self._give(f"export QUBESDB_RUNTIME_DIR={self.sides[side]}")
            self.left += self._collect(0)[1]
        while select.select([self.fifo], [], [], 0)[0]:
            os.read(self.fifo, 4096)  # of commands that nobody had to wait for
        self._give(command)
        if (background or meanwhile) and not self.typed and WAITS.search(command):
            self._await_readiness(command)
        for other in meanwhile:
            subprocess.run(["bash", "-c", other], check=True, timeout=PATIENCE,
                           env={**os.environ, **self._dom0()})
        anything = list(expected) == ["..."]
        status, lines = self._collect(0 if anything else len(expected))
        if status != 0:
            raise AssertionError(f"{command}: status {status}, {lines[-30:]}")
        if lines != list(expected) and not anything:
            raise AssertionError(f"{command}: prints {lines}, not {list(expected)}")

    def _dom0(self):
        return {"QUBESDB_RUNTIME_DIR": self.sides["dom0"]} if "dom0" in self.sides else {}


def steps(lines):
    """[(side or None, command, [expected line])] of a transcript."""
    found = []
    for line in lines:
        match = PROMPT.match(line)
        if match:
            side = match[1][:-1] or None
            found.append((side, line[match.end():], []))
        elif not found:
            raise AssertionError(f"a transcript that begins without a prompt: {line}")
        else:
            found[-1][2].append(line)
    return found
