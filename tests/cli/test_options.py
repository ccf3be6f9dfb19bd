# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the command line is taken apart; nothing here depends on what the commands do."""
import os
import re

from harness import ADDED, COMMANDS, CommandTest, listen
import harness

USAGE = re.compile(rb"^Usage: qubesdb-", re.M)


class WithoutConnection(CommandTest):
    """Everything that ends before there is a connection."""

    def check_unconnected(self, command, *args, status, err=USAGE, **how):
        runtime_dir = self.directory()
        with listen(os.path.join(runtime_dir, "qubesdb.sock")) as listener:
            self.check(command, *args, status=status, err=err, runtime_dir=runtime_dir, **how)
            listener.setblocking(False)
            with self.assertRaises(BlockingIOError, msg="a connection was made"):
                listener.accept()

    def test_no_argument_is_usage(self):
        for name in COMMANDS + ["cmd"]:
            with self.subTest(name):
                self.check_unconnected(name, status=0)

    def test_help_is_usage(self):
        for name in COMMANDS + ADDED + ["cmd"]:
            self.check_unconnected(name, "-h", status=0)
        for name in ADDED:
            for words in [name], ["cmd", name]:
                self.check_unconnected(*words, "-h", status=0,
                                       err=re.compile(rb"\AUsage: qubesdb-%s " % name.encode()))
        self.check_unconnected("read", "/a", "-qh", status=0)
        self.check_unconnected("cmd", "-c", "read", "-h", status=0)

    def test_long_help_is_output(self):
        for words in [[name] for name in COMMANDS + ADDED + ["cmd"]] + [["cmd", "ls"]]:
            usage = self.start(*words, "-h").communicate()[1]
            for option in "--help", "--he":
                with self.subTest(words=words, option=option):
                    self.check_unconnected(*words, option, status=0, out=usage, err=b"")
        with open("/dev/full", "wb") as full:
            self.check_unconnected("ls", "--help", status=1, out=None, stdout=full,
                                   err=re.compile(b"Failed to write output"))

    def test_usage_names_the_command(self):
        self.check_unconnected("list", status=0, err=re.compile(
            rb"\AUsage: qubesdb-list \[.*\] PATH\n\Z"))
        self.check_unconnected("cmd", status=0, err=re.compile(
            rb"qubesdb-read .*\n.*qubesdb-write .*\n.*qubesdb-rm .*\n.*qubesdb-list .*\n"
            rb".*qubesdb-multiread .*\n.*qubesdb-watch "))

    def test_unknown_command_is_usage(self):
        self.check_unconnected("cmd", "-c", "frob", "/a", status=0)
        self.check_unconnected("cmd", "-c", "cmd", "/a", status=0)
        self.check_unconnected("cmd", "-c", "", "/a", status=0)
        self.check_unconnected("cmd", "/a", status=0)
        self.check_unconnected("cmd", "-q", status=0)
        self.check_unconnected("cmd", "--", "-c", "read", status=0)
        for name in ("qubesdb-frob", "qubesdb", "qubesdb-read-", "read-rad"):
            link = os.path.join(self.directory(), name)
            os.symlink(f"{harness.client_dir}/direct/qubesdb-cmd", link)
            with self.subTest(name):
                self.check_unconnected(link, "/a", status=0)

    def test_a_suggestion_follows(self):
        for typed, meant in (("raed", b"read"), ("lst", b"list"), ("multi", b"multiread"),
                             ("restor", b"restore"), ("dumpp", b"dump"), ("wtach", b"watch")):
            link = os.path.join(self.directory(), f"qubesdb-{typed}")
            os.symlink(f"{harness.client_dir}/direct/qubesdb-cmd", link)
            for args in (["cmd", "-c", typed, "/a"], ["cmd", typed], [link, "/a"]):
                with self.subTest(args):
                    self.check_unconnected(*args, status=0, err=re.compile(
                        rb"\AUsage: (.*\n)+qubesdb-cmd: there is no command '%s'; "
                        rb"did you mean '%s'\?\n\Z" % (typed.encode(), meant)))
        for typed in ("frobnicate", "x", "", "x" * 1000):
            self.check_unconnected("cmd", "-c", typed, "/a", status=0, err=re.compile(
                rb"there is no command '%s'\n\Z" % typed.encode()))

    def test_deployed_commands_are_not_arguments(self):
        for name in COMMANDS:
            self.check_unconnected("cmd", name, "/a", status=0, err=re.compile(
                rb"did you mean '-c %s', or qubesdb-%s\?\n\Z" % (2 * (name.encode(),))))

    def test_added_commands_count_their_arguments(self):
        for name in ADDED:
            if name == "exists":
                continue
            self.check_unconnected(name, "/a", "/b", "/c", status=1,
                                   err=re.compile(rb"too many arguments\nUsage: qubesdb-"))

    def test_unknown_option_fails_with_usage(self):
        for name in COMMANDS + ADDED + ["cmd"]:
            for option in ("-z", "--frob", "--defaults=x", "-1"):
                with self.subTest(name=name, option=option):
                    self.check_unconnected(name, option, "/a", status=1)
        self.check_unconnected("write", "/a", "-1", status=1)

    def test_missing_option_argument_fails_with_usage(self):
        for args in (["read", "-d"], ["read", "-e"], ["read", "--default"], ["read", "/a", "-qe"],
                     ["watch", "-n"], ["cmd", "-c"], ["cmd", "-c", "read", "/a", "-d"]):
            with self.subTest(args):
                self.check_unconnected(*args, status=1)

    def test_command_option_has_one_place(self):
        for name in COMMANDS:
            with self.subTest(name):
                self.check_unconnected(name, "-c", name, "/a", status=1)
        self.check_unconnected("cmd", "-c", "read", "-c", "read", "/a", status=1)
        self.check_unconnected("cmd", "/a", "-c", "read", status=1)
        self.check_unconnected("cmd", "-q", "/a", "-c", "read", status=1)

    def test_default_and_number_belong_to_one_command(self):
        for args in (["cmd", "-e", "D", "-c", "read", "/a"],
                     ["cmd", "--default=D", "-c", "read", "/a"],
                     ["cmd", "-n", "1", "-c", "watch", "/a"],
                     ["cmd", "-e", "D", "/a"], ["cmd", "-n", "1", "/a"],
                     ["cmd", "-c", "write", "-e", "D", "/a", "v"],
                     ["cmd", "-c", "read", "-n", "1", "/a"]):
            with self.subTest(args):
                self.check_unconnected(*args, status=1)
        for name in COMMANDS:
            if name != "read":
                self.check_unconnected(name, "-e", "D", "/a", "v", status=1)
            if name != "watch":
                self.check_unconnected(name, "-n", "1", "/a", "v", status=1)
            self.check_unconnected(name, "--exact", "/a", "v", status=1,
                                   err=re.compile(rb": option --exact is not allowed here\n"))
        for name in ADDED:
            for given, named in (("-eD", "-e"), ("-n1", "-n"), ("--default=D", "-e"),
                                 ("--values", "--values"), ("--timestamps", "--timestamps")):
                self.check_unconnected(name, given, "/a", status=1, err=re.compile(
                    rb": option %s is not allowed here\nUsage: qubesdb-%s "
                    % (named.encode(), name.encode())))

    def test_number_is_a_number(self):
        for text in ("", "x", "1x", "9" * 30):
            with self.subTest(text):
                self.check_unconnected("watch", "-n", text, "/a", status=1)


class Accepted(CommandTest):
    def setUp(self):
        super().setUp()
        self.daemon.put(b"/a", b"1")
        self.daemon.put(b"/b", b"2")

    def test_options_but_no_path(self):
        for name in COMMANDS:
            status = 1 if name == "list" else 0
            err = None if name == "list" else b""
            for args in (["-q"], ["-f"], ["--"], ["-d", harness.NAME]):
                with self.subTest(name=name, args=args):
                    self.check(name, *args, status=status, err=err)
        self.check("read", "-w")
        self.check("read", "-e", "D")
        self.check("watch", "-n", "-1")
        self.check("cmd", "-c", "read")
        self.check("cmd", "-c", "list", status=1, err=None)

    def test_options_and_arguments_mix(self):
        self.check("read", "/a", "-f", out=b"/a = 1\n")
        self.check("read", "/a", "-f", "/b", out=b"/a = 1\n/b = 2\n")
        self.check("read", "/a", "-f", "--", "/b", out=b"/a = 1\n/b = 2\n")
        self.check("read", "/a", "-f", env={"POSIXLY_CORRECT": "1"}, out=b"/a = 1\n")
        self.check("write", "/c", "-q", "v")
        self.assertEqual(self.daemon.get(b"/c"), b"v")

    def test_end_of_options(self):
        self.check("write", "--", "/c", "-1")
        self.assertEqual(self.daemon.get(b"/c"), b"-1")
        self.check("write", "/c", "--", "-q")
        self.assertEqual(self.daemon.get(b"/c"), b"-q")
        self.check("write", "/c", "--", "--")
        self.assertEqual(self.daemon.get(b"/c"), b"--")
        self.check("read", "--", "/a", out=b"1\n")
        self.check("write", "/c", "-")
        self.assertEqual(self.daemon.get(b"/c"), b"-")

    def test_forms_of_default(self):
        for form in (["-e", "D"], ["-eD"], ["--default", "D"], ["--default=D"], ["--def=D"],
                     ["--d", "D"], ["-qeD"]):
            with self.subTest(form):
                self.check("read", *form, "/none", out=b"D\n")
                self.check("read", "/none", *form, out=b"D\n")
                self.check("cmd", "-c", "read", *form, "/none", out=b"D\n")
                self.check("cmd", "-c", "read", "/none", *form, out=b"D\n")

    def test_forms_of_command(self):
        for form in (["-c", "read"], ["-cread"], ["-qc", "read"], ["-qcread"], ["-q", "-c", "read"],
                     ["-d", harness.NAME, "-c", "read"]):
            with self.subTest(form):
                self.check("cmd", *form, "/a", out=b"1\n")
                self.check("cmd", *form, "/a", "-f", out=b"/a = 1\n")

    def test_every_command_by_option_and_by_name(self):
        for args, out in ((["read", "/a"], b"1\n"), (["write", "/c", "3"], b""),
                          (["list", "/"], b"a\nb\nc\n"),
                          (["multiread", "/c"], b" = 3\n"), (["rm", "/c"], b""),
                          (["watch", "-n", "0", "/a"], b"")):
            with self.subTest(args):
                self.check(*args, out=out)
                self.check("cmd", "-c", *args, out=out)
                if args[0] == "rm":
                    self.assertIsNone(self.daemon.get(b"/c"))

    def test_every_added_command_by_option_name_and_argument(self):
        for form in (["dump"], ["cmd", "-c", "dump"], ["cmd", "dump"],
                     ["cmd", "-d", harness.NAME, "dump"]):
            with self.subTest(form):
                self.check(*form, out=b"/a = 1\n/b = 2\n")
                self.check(*form, "/b", out=b"/b = 2\n")
                self.check(*form, "-q", "--", "/b", out=b"/b = 2\n")

    def test_the_name_is_what_follows_the_last_dash_of_the_base_name(self):
        for name in ("qubesdb-read", "a-b-read", "read", "-read"):
            link = os.path.join(self.directory(), name)
            os.symlink(f"{harness.client_dir}/direct/qubesdb-cmd", link)
            with self.subTest(name):
                self.check(link, "/a", out=b"1\n")

    def test_domain(self):
        self.check("read", "-d", harness.NAME, "/a", out=b"1\n")
        self.check("read", "/a", f"-d{harness.NAME}", out=b"1\n")
        self.check("write", "-d", harness.NAME, "/c", "3")
        self.assertEqual(self.daemon.get(b"/c"), b"3")

    def test_options_without_meaning_are_ignored(self):
        self.check("write", "-frwx", "/c", "v")
        self.assertEqual(self.daemon.get(b"/c"), b"v")
        self.check("list", "-rwx", "/a", out=b"\n")
