# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a word may become, asked of the program and by way of each shell."""
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import threading

import harness
from harness import ADDED, COMMANDS, LIST, NAME, PATIENCE, CommandTest, listen, receive

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../client/completion")


class Filled(CommandTest):
    def setUp(self):
        super().setUp()
        self.daemon.fill({b"/a": b"", b"/a-b": b"", b"/a/x": b"", b"/a/y": b"", b"/ip": b"",
                          b"/deep/er/x": b"", b"/deep/er/y": b"", b"/fe80::1:2": b"",
                          b"/u@h": b""})


class Program(Filled):
    def complete(self, *words, files=False, **how):
        process = self.start("cmd", "--complete", *words, **how)
        out, err = process.communicate()
        self.assertEqual((process.returncode, err), (2 if files else 0, b""))
        return out.decode().split()

    def check_words(self, line, wanted, **how):
        """`line` is split at blanks, so one that ends in a blank has an empty last word."""
        with self.subTest(line):
            self.assertEqual(self.complete(*line.split(" "), **how), wanted.split())

    def test_paths_a_directory_at_a_time(self):
        self.check_words("qubesdb-read ", "/a /a-b /a/ /deep/ /fe80::1:2 /ip /u@h")
        self.check_words("qubesdb-read /", "/a /a-b /a/ /deep/ /fe80::1:2 /ip /u@h")
        self.check_words("qubesdb-read /a", "/a /a-b /a/")
        self.check_words("qubesdb-read /a/", "/a/x /a/y")
        self.check_words("qubesdb-read /d", "/deep/")
        self.check_words("qubesdb-read /deep/", "/deep/er/")
        self.check_words("qubesdb-read /none", "")
        self.check_words("qubesdb-read rel", "")

    def test_which_arguments_are_paths(self):
        for name in COMMANDS + ADDED:
            if name not in ("restore", "status", "trace"):
                self.check_words(f"qubesdb-{name} /i", "/ip")
                self.check_words(f"qubesdb-cmd -c {name} /i", "/ip")
        for name in ("read", "rm", "multiread", "watch", "exists"):
            self.check_words(f"qubesdb-{name} /x -q /y /i", "/ip")
        for name in ("dump", "ls", "edit", "count"):
            self.check_words(f"qubesdb-{name} /x /i", "")
        self.check_words("qubesdb-status /i", "")
        self.check_words("qubesdb-write /a /i", "")
        self.check_words("qubesdb-write /a v /i", "/ip")
        self.check_words("qubesdb-write /a -q -- -v /i", "/ip")
        self.check_words("qubesdb-wait /a /i", "")
        self.check_words("qubesdb-wait --timeout 3 /i", "/ip")
        self.check_words("qubesdb-wait --timeout=3 /i", "/ip")
        self.check_words("qubesdb-read -e /i", "")
        self.check_words("qubesdb-read -e D -- /i", "/ip")
        self.check_words("qubesdb-read -- -", "")
        self.check_words("qubesdb-read-bool /i", "/ip")
        self.check_words("qubesdb-frob /i", "")
        self.check_words("/usr/bin/qubesdb-read /i", "/ip")
        self.check_words("qubesdb-trace ", "on off")
        self.check_words("qubesdb-cmd trace of", "off")
        self.check_words("qubesdb-trace on ", "")
        self.check_words("qubesdb-restore --exact=/i", "--exact=/ip")
        self.check_words("qubesdb-read --exact=/i", "")

    def test_files(self):
        self.check_words("qubesdb-restore ", "", files=True)
        self.check_words("qubesdb-cmd restore --exact x", "", files=True)
        self.check_words("qubesdb-restore x ", "")

    def test_commands(self):
        self.check_words("qubesdb-cmd ", " ".join(ADDED))
        self.check_words("qubesdb-cmd -d vm wa", "wait")
        self.check_words("qubesdb-cmd -c ", " ".join(COMMANDS + ADDED))
        self.check_words("qubesdb-cmd -qc w", "write watch wait")
        self.check_words("qubesdb-cmd -cread /i", "/ip")
        self.check_words("qubesdb-cmd ls /i", "/ip")
        self.check_words("qubesdb-cmd -c frob /i", "")
        self.check_words("qubesdb-cmd frob ", "")

    def test_options(self):
        self.check_words("qubesdb-cmd -", "-c -d -h -q --help")
        self.check_words("qubesdb-read -", "-d -e -f -h -q -r -w -x --default --help --json")
        self.check_words("qubesdb-cmd -c watch -", "-d -h -n -q -r --help --json --timestamps "
                         "--values")
        self.check_words("qubesdb-restore --", "--exact --help --json")
        self.check_words("qubesdb-wait --t", "--timeout")
        self.check_words("qubesdb-status --", "--all --format --help --json")
        self.check_words("qubesdb-status --format ", "text json openmetrics")
        self.check_words("qubesdb-status --format=j", "--format=json")
        self.check_words("qubesdb-read --format=j", "")

    def test_every_offered_option_is_taken_and_in_the_usage(self):
        for name in COMMANDS + ADDED:
            usage = self.start(name, "--help").communicate()[0].decode()
            letters = "".join(re.findall(r"(?<![\w-])-([a-z]+)", usage))
            known = {"-" + letter for letter in letters} | set(re.findall(r"--[a-z]+", usage))
            offered = set(self.complete(f"qubesdb-{name}", "-"))
            self.assertEqual(offered - {"-h", "--help"}, known, name)

    def test_domains(self):
        where = self.directory()
        for name in ("qubesdb.work.sock", "qubesdb.work.ro.sock", "qubesdb.vault.ro.sock",
                     "qubesdb.sock", "qubesdb.ro.sock", "qubesdb.x.pid", "other.sock",
                     "qubesdb.disp-1.sock"):
            with open(os.path.join(where, name), "wb"):
                pass
        for form in ("qubesdb-ls -d ", "qubesdb-cmd -d ", "qubesdb-write /a v -qd "):
            self.check_words(form, "disp-1 vault work", runtime_dir=where)
        self.check_words("qubesdb-ls -d w", "work", runtime_dir=where)
        self.check_words("qubesdb-ls -d ", "", runtime_dir=os.path.join(where, "absent"))

    def test_the_domain_that_was_given(self):
        self.check_words(f"qubesdb-ls -d {NAME} /i", "/ip")
        self.check_words(f"qubesdb-ls -d{NAME} /i", "/ip")
        self.check_words("qubesdb-ls -d nobody /i", "")

    def test_a_daemon_that_does_not_answer(self):
        where = self.directory()
        with listen(os.path.join(where, "qubesdb.sock")) as listener:
            process = self.start("cmd", "--complete", "qubesdb-ls", "/", runtime_dir=where)
            with listener.accept()[0] as sock:
                self.assertEqual(receive(sock)[0], LIST)
                self.finish(process, -signal.SIGALRM)

    def test_no_words(self):
        self.check("cmd", "--complete")
        self.check("cmd", "--complete", "qubesdb-ls")


class Shell(Filled):
    def setUp(self):
        super().setUp()
        self.scratch = self.directory()
        with open(os.path.join(self.scratch, "some-file"), "wb"):
            pass

    def shell_environment(self, **more):
        programs = [harness.client_dir, os.path.dirname(harness.daemon_path)]
        return self.environment(PATH=":".join([*programs, os.environ["PATH"]]), **more)

    def run_shell(self, *args):
        return subprocess.run(args, env=self.shell_environment(), check=True, cwd=self.scratch,
                              capture_output=True, text=True, timeout=PATIENCE)


class Bash(Shell):
    def complete(self, line, *words):
        """The function is called as bash does it, with words cut at COMP_WORDBREAKS."""
        script = ('. "$1"; COMP_LINE=$2; COMP_POINT=${#2}; shift 2; COMP_WORDS=("$@");'
                  'COMP_CWORD=$(($# - 1)); COMP_WORDBREAKS=$\' \\t\\n"\\\'@><=;|&(:\';'
                  '_qubesdb "$1"; ((${#COMPREPLY[@]} == 0)) || printf "%s\\n" "${COMPREPLY[@]}"')
        return self.run_shell("bash", "--norc", "-c", script, "bash",
                              f"{SCRIPTS}/qubesdb.bash", line, *words).stdout.split("\n")[:-1]

    def test_function(self):
        for line, words, wanted in (
                ("qubesdb-read /a", ["qubesdb-read", "/a"], ["/a", "/a-b", "/a/"]),
                ("qubesdb-read ", ["qubesdb-read", ""],
                 ["/a", "/a-b", "/a/", "/deep/", "/fe80::1:2", "/ip", "/u@h"]),
                ("qubesdb-read  /ip\t/d", ["qubesdb-read", "/ip", "/d"], ["/deep/"]),
                ("qubesdb-read /fe80:", ["qubesdb-read", "/fe80", ":"], [":1:2"]),
                ("qubesdb-read /fe80::1", ["qubesdb-read", "/fe80", "::", "1"], ["1:2"]),
                ("qubesdb-read /u@", ["qubesdb-read", "/u", "@"], ["h"]),
                ("qubesdb-read /fe80::1:2 /i", ["qubesdb-read", "/fe80", "::", "1", ":", "2", "/i"],
                 ["/ip"]),
                ("qubesdb-write /a 'two words' /i", ["qubesdb-write", "/a", "'two words'", "/i"],
                 ["/ip"]),
                ("qubesdb-restore --exact=/i", ["qubesdb-restore", "--exact", "=", "/i"], ["/ip"]),
                ("qubesdb-ls -d ", ["qubesdb-ls", "-d", ""], [NAME]),
                ("qubesdb-cmd wa", ["qubesdb-cmd", "wa"], ["wait"]),
                ("qubesdb-restore s", ["qubesdb-restore", "s"], []),
                ("qubesdb-read /none", ["qubesdb-read", "/none"], [])):
            with self.subTest(line):
                self.assertEqual(self.complete(line, *words), wanted)

    def test_every_name_is_completed(self):
        got = self.run_shell("bash", "--norc", "-c", f". {SCRIPTS}/qubesdb.bash; complete -p").stdout
        self.assertEqual(set(re.findall(r"qubesdb-(\S+)", got)),
                         {"cmd", "daemon", "read-bool", *COMMANDS, *ADDED})


    def test_daemon(self):
        got = self.run_shell("bash", "--norc", "-c", f'. {SCRIPTS}/qubesdb.bash; _qubesdb_daemon '
                             'qubesdb-daemon --st; echo "${COMPREPLY[@]}"').stdout
        self.assertEqual(got, "--state --state-sync\n")


class Fish(Shell):
    def setUp(self):
        if not shutil.which("fish"):
            self.skipTest("fish is not installed")
        super().setUp()

    def test_function(self):
        for line, wanted in (("qubesdb-read /a", ["/a", "/a-b", "/a/"]),
                             ("qubesdb-read /a /ip /d", ["/deep/"]),
                             ("qubesdb-read /fe80:", ["/fe80::1:2"]),
                             ("qubesdb-write '/a b' x /i", ["/ip"]),
                             ("qubesdb-ls -d ", [NAME]),
                             ("qubesdb-watch --v", ["--values"]),
                             ("qubesdb-restore --exact=/i", ["--exact=/ip"]),
                             ("qubesdb-restore s", ["some-file"]),
                             ("qubesdb-read /none", [])):
            got = self.run_shell("fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]",
                                 f"{SCRIPTS}/qubesdb.fish", line).stdout
            with self.subTest(line):
                self.assertEqual(sorted(got.split("\n")[:-1]), sorted(wanted))

    def test_daemon(self):
        got = self.run_shell("fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]",
                             f"{SCRIPTS}/qubesdb.fish", "qubesdb-daemon --sta").stdout
        self.assertEqual(set(got.split()), {"--state", "--state-sync"})

    def test_every_name_is_completed(self):
        for name in ["cmd", "read-bool"] + COMMANDS + ADDED:
            got = self.run_shell("fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]",
                                 f"{SCRIPTS}/qubesdb.fish", f"qubesdb-{name} --h").stdout
            self.assertEqual(got, "--help\n", name)


class Zsh(Shell):
    """zsh completes only in its line editor, so this types into one."""

    def setUp(self):
        if not shutil.which("zsh"):
            self.skipTest("zsh is not installed")
        super().setUp()
        shown = os.path.join(self.scratch, "shown")
        os.mkfifo(shown)
        self.shown = os.open(shown, os.O_RDWR | os.O_NONBLOCK)
        self.addCleanup(os.close, self.shown)
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(self.scratch)
            os.execvpe("zsh", ["zsh", "-f", "-i"], self.shell_environment(TERM="dumb"))
        threading.Thread(target=self.drain, daemon=True).start()
        self.addCleanup(self.end)
        self.type("fpath=($PWD/f $fpath); autoload -U compinit; compinit -u -D; "
                  "show() { print -r -- \"$BUFFER\" >shown; BUFFER=; }; zle -N show; "
                  "bindkey '^X' show; print >shown\n")
        self.assertEqual(self.read_shown(), "")

    def drain(self):
        try:
            while os.read(self.terminal, 4096):
                pass
        except OSError:
            pass

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)

    def directory(self, links=()):
        path = super().directory(links)
        os.mkdir(os.path.join(path, "f"))
        os.symlink(os.path.abspath(f"{SCRIPTS}/_qubesdb"), os.path.join(path, "f/_qubesdb"))
        return path

    def type(self, text):
        os.write(self.terminal, text.encode())

    def read_shown(self):
        self.assertTrue(select.select([self.shown], [], [], PATIENCE)[0], "zsh shows nothing")
        return os.read(self.shown, 4096).decode()[:-1]

    def check_typed(self, typed, wanted):
        """The last key hands the line over and empties it."""
        with self.subTest(typed):
            self.type(f"{typed}\x18")
            self.assertEqual(self.read_shown(), wanted)

    def test_typed(self):
        for typed, wanted in (
                ("qubesdb-read /de\ter\tx", "qubesdb-read /deep/er/x"),
                ("qubesdb-read /a /i\t", "qubesdb-read /a /ip "),
                ("qubesdb-read /fe\t", "qubesdb-read /fe80::1:2 "),
                ("qubesdb-write '/a b' v /i\t", "qubesdb-write '/a b' v /ip "),
                ("qubesdb-ls -d \t", f"qubesdb-ls -d {NAME} "),
                ("qubesdb-watch --v\t", "qubesdb-watch --values "),
                ("qubesdb-restore --exact=/i\t", "qubesdb-restore --exact=/ip "),
                ("qubesdb-restore so\t", "qubesdb-restore some-file "),
                ("qubesdb-status --format=o\t", "qubesdb-status --format=openmetrics "),
                ("qubesdb-daemon --foreg\t", "qubesdb-daemon --foreground ")):
            self.check_typed(typed, wanted)

    def test_every_name_is_completed(self):
        for name in ["cmd", "read-bool"] + COMMANDS + ADDED:
            self.check_typed(f"qubesdb-{name} --hel\t", f"qubesdb-{name} --help ")
