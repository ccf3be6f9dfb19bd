# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each editor is a shell script that gets the file as its first argument."""
import os
import re
import stat

import harness
from harness import OK, READ_ONLY, REFUSED, RM, WRITE, CommandTest


class Edit(CommandTest):
    def setUp(self):
        super().setUp()
        self.entries = {b"/a": b"1", b"/a/b": b"two words", b"/a/c": b"\\x\n", b"/z": b"9"}
        self.daemon.fill(self.entries)
        self.scratch = self.directory()
        self.files = os.path.join(self.scratch, "files")
        os.mkdir(self.files)

    def script(self, text, name="editor"):
        path = os.path.join(self.scratch, name)
        with open(path, "w", encoding="ascii") as out:
            out.write(f"#!/bin/sh -e\nPATH={harness.client_dir}:$PATH\n{text}\n")
        os.chmod(path, 0o755)
        return path

    def begin(self, text, *args, env=(), **how):
        return self.start("edit", *args, env={"VISUAL": "", "EDITOR": self.script(text),
                                              "TMPDIR": self.files, **dict(env)}, **how)

    def edit(self, text, *args, status=0, err=b"", **how):
        self.finish(self.begin(text, *args, **how), status, err=err)

    def check_entries(self, **changes):
        wanted = dict(self.entries)
        for path, value in changes.items():
            path = b"/" + path.replace("_", "/").encode()
            wanted[path] = value
            if value is None:
                del wanted[path]
        self.assertEqual(self.daemon.entries(), wanted)

    def left_file(self):
        """The only one that was left, as its name and lines without comments."""
        name, = os.listdir(self.files)
        path = os.path.join(self.files, name)
        with open(path, "rb") as text:
            return path.encode(), [line for line in text if not line.startswith(b"#")]

    def kept(self, message):
        """Matches the message, and the name of the file after it."""
        return re.compile(message + rb".*What you edited is in %s/qubesdb-edit\.\w{6}\n\Z"
                          % self.files.encode(), re.S)

    def test_change_add_and_remove(self):
        tap = self.tap()
        self.edit(r"sed -i -e 's/two/\\x32/' -e '/^.z/d' $1; echo '/n = 5' >>$1", runtime_dir=tap.dir)
        self.check_entries(a_b=b"2 words", z=None, n=b"5")
        self.assertEqual([r for r in tap.requests if r[0] in (RM, WRITE)],
                         [(RM, b"/z"), (WRITE, b"/n"), (WRITE, b"/a/b")])
        self.assertEqual(os.listdir(self.files), [])

    def test_nothing_changed(self):
        tap = self.tap()
        self.edit("cat $1 >$1.copy; mv $1.copy $1", runtime_dir=tap.dir)
        self.assertFalse([r for r in tap.requests if r[0] in (RM, WRITE)])
        self.assertEqual(os.listdir(self.files), [])

    def test_what_the_editor_gets(self):
        process = self.begin("stat -c %a $1; grep -v '^#' $1", "/a")
        self.finish(process, 0, b"600\n/a = 1\n/a/b = two words\n/a/c = \\\\x\\x0a\n")
        process = self.begin("sed -n 1p $1", "-d", harness.NAME, "/a/")
        self.finish(process, 0, b"# Entries of the test daemon that begin with /a/: PATH = VALUE\n")

    def test_only_the_prefix(self):
        self.edit("echo '/a/n = 1' >$1", "/a/")
        self.check_entries(a_b=None, a_c=None, a_n=b"1")
        self.edit("echo '/z = 1' >$1", "/a/", status=1, err=self.kept(
            rb"\A%s/qubesdb-edit\.\w{6}:1: the path does not begin with the prefix"
            % self.files.encode()))
        self.check_entries(a_b=None, a_c=None, a_n=b"1")

    def test_which_editor(self):
        good = self.script("sed -i s/9/8/ $1", "good editor")
        bad = self.script("exit 1", "bad")
        self.edit("exit 1", env={"VISUAL": f"'{good}'"})
        self.check_entries(z=b"8")
        self.script("test \"$1\" = -x; sed -i s/8/7/ $2", "vi")
        vi_first = {"EDITOR": "", "PATH": f"{self.scratch}:{os.environ['PATH']}"}
        self.edit("", env={**vi_first, "VISUAL": "vi -x"})
        self.check_entries(z=b"7")
        self.script("sed -i s/7/6/ $1", "vi")
        self.edit("", env=vi_first)
        self.check_entries(z=b"6")
        self.edit("", env={"VISUAL": bad}, status=1, err=None)

    def test_an_odd_place_for_files(self):
        odd = os.path.join(self.scratch, "o'd \"$d")
        os.mkdir(odd)
        self.edit('sed -i s/9/8/ "$1"', env={"TMPDIR": odd})
        self.check_entries(z=b"8")
        absent = os.path.join(self.scratch, "absent")
        self.edit("", env={"TMPDIR": absent}, status=1, err=re.compile(
            rb"\AFailed to write %s/qubesdb-edit.*: No such file or directory; "
            rb"TMPDIR chooses another place\n\Z" % absent.encode()))

    def test_a_mistake_can_be_mended(self):
        self.edit("if grep -q '/z =' $1; then sed -i 's/.z = 9/nonsense/' $1; "
                  "else sed -i 's/nonsense/\\/z = 8/' $1; fi", feed=b"y\n",
                  err=re.compile(rb"\A%s/qubesdb-edit\.\w{6}:7: no '=' after the path\n"
                                 rb"Edit again\? \[Y/n\] \Z" % self.files.encode()))
        self.check_entries(z=b"8")
        self.assertEqual(os.listdir(self.files), [])

    def test_a_mistake_loses_nothing(self):
        for answer in (b"n\n", b"", b"x\n"):
            self.edit("sed -i 's/.z = 9/nonsense/' $1", feed=answer, status=1,
                      err=self.kept(rb":7: no '=' after the path\nEdit again\? "))
            path, lines = self.left_file()
            self.assertEqual(lines[-1], b"nonsense\n")
            os.unlink(path)
        self.check_entries()

    def test_an_editor_that_fails(self):
        """What was typed is kept, and nothing else."""
        nothing_changed = rb"Failed to edit /: the editor \(VISUAL or EDITOR\) failed, so nothing " \
                          rb"was changed\n"
        for text in ("sed -i /z/d $1; exit 1", "echo '# more' >>$1; kill -9 $$"):
            self.edit(text, status=1, err=self.kept(nothing_changed))
            os.unlink(self.left_file()[0])
        absent = os.path.join(self.scratch, "absent")
        for text, env in ("exit 1", {}), ("kill -9 $$", {}), ("", {"EDITOR": absent}):
            self.edit(text, env=env, status=1, err=re.compile(nothing_changed + rb"\Z"))
            self.assertEqual(os.listdir(self.files), [])
        self.edit("sed -i /z/d $1; exit 1", "-q", status=1)
        self.check_entries()

    def test_a_refusal_loses_nothing(self):
        tap = self.tap()
        tap.refused.add(OK)
        self.edit("sed -i s/9/8/ $1", status=1, runtime_dir=tap.dir,
                  err=self.kept(rb"\AFailed to write /z: " + REFUSED + rb"Stopped after 0 "))
        self.assertEqual(self.left_file()[1][-1], b"/z = 8\n")

    def test_a_read_only_connection(self):
        self.edit("sed -i s/9/8/ $1", status=1, runtime_dir=self.read_only_directory(),
                  err=self.kept(rb"\AFailed to write /z: " + READ_ONLY))

    def test_others_are_not_overwritten(self):
        for theirs, mine in (("qubesdb-write /z 5", "s/9/8/"), ("qubesdb-rm /z", "s/9/8/"),
                             ("qubesdb-write /z 5", "/.z/d"), ("qubesdb-write /n 1", "$a /n = 2")):
            self.daemon.fill(self.entries)
            path = "/n" if "/n" in mine else "/z"
            with self.subTest(theirs=theirs, mine=mine):
                self.edit(f"{theirs}; sed -i '{mine}' $1", status=1, err=self.kept(
                    rb"\AFailed to edit %s: somebody else changed it " % path.encode()))
                os.unlink(self.left_file()[0])
        self.check_entries(n=b"1")

    def test_others_may_change_other_entries(self):
        self.edit("qubesdb-write /a 5 /m 7 /n 1; sed -i -e s/9/8/ -e '$a /n = 1' $1")
        self.check_entries(a=b"5", m=b"7", n=b"1", z=b"8")

    def test_the_daemon_may_be_restarted_meanwhile(self):
        tap = self.tap()
        begun, ended = (os.path.join(self.scratch, name) for name in ("begun", "ended"))
        os.mkfifo(begun)
        os.mkfifo(ended)
        process = self.begin(f"echo >{begun}; read x <{ended}; sed -i s/9/8/ $1",
                             runtime_dir=tap.dir)
        with open(begun, "rb") as fifo:
            fifo.read()
        tap.stop()
        tap.start()
        with open(ended, "wb") as fifo:
            fifo.write(b"\n")
        self.finish(process, 0)
        self.check_entries(z=b"8")

    def test_a_bad_prefix(self):
        self.edit("", "rel", status=1,
                  err=b"Failed to edit rel: the path does not begin with '/'\n")
        self.assertEqual(os.listdir(self.files), [])
