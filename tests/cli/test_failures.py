# SPDX-License-Identifier: LGPL-2.1-or-later
"""No connection, no output, and the reasons that a refusal is explained with."""
import os
import re
import shutil
import subprocess

import harness
from harness import COMMANDS, NAME, READ_ONLY, REFUSED, CommandTest, listen

ARGS = {"read": ["/a"], "write": ["/a", "v"], "rm": ["/a"], "list": ["/a"], "multiread": ["/a"],
        "watch": ["/a"], "dump": []}
TOO_LONG_PATH = "/" + "x" * 63


class NoConnection(CommandTest):
    def test_local(self):
        nowhere = self.directory()
        for name, args in ARGS.items():
            with self.subTest(name):
                self.check(name, *args, status=1, runtime_dir=nowhere,
                           err=self.no_connection(nowhere))

    def test_domain(self):
        for name, args in ARGS.items():
            with self.subTest(name):
                self.check(name, "-d", "nobody", *args, status=1,
                           err=self.no_connection(self.daemon.dir, "nobody"))
        self.check("dump", "-q", "-d", "nobody", status=1)

    def test_no_name(self):
        self.check("dump", "-d", "a/b", status=1,
                   err=b"Failed connect to a/b daemon\n  no VM's name has a '/' in it\n")
        self.check("dump", "-d", "x" * 200, status=1, err=re.compile(
            rb"daemon\n  .*: File name too long; the name or QUBESDB_RUNTIME_DIR is too long\n.*\n\Z"))
        self.check("dump", "-d", "", status=1,
                   err=b"Failed connect to  daemon\n  the name given is empty\n")

    def test_each_socket_has_its_own_reason(self):
        where = self.directory()
        listen(os.path.join(where, "qubesdb.ro.sock")).close()
        self.check("read", "/a", status=1, runtime_dir=where, err=(
            f"Failed connect to local daemon\n"
            f"  {where}/qubesdb.sock: No such file or directory; does qubesdb-daemon run?\n"
            f"  {where}/qubesdb.ro.sock: Connection refused\n").encode())

    def test_no_permission(self):
        where = self.directory(["qubesdb.sock"])
        os.chmod(where, 0)
        powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if not os.geteuid() else []
        self.check("/usr/bin/env", *powerless, f"{harness.client_dir}/qubesdb-read", "/a", status=1,
                   runtime_dir=where, err=re.compile(
                       rb"Permission denied; become a member of the group that may open it, or "))

    def test_the_default_is_not_used(self):
        self.check("read", "-e", "D", "/a", status=1, runtime_dir=self.directory(), err=None)

    def test_waiting_does_not_wait_for_a_first_connection(self):
        nowhere = self.directory()
        self.check("read", "-w", "/a", status=1, runtime_dir=nowhere,
                   err=self.no_connection(nowhere))

    def test_quiet(self):
        self.check("read", "-q", "/a", status=1, runtime_dir=self.directory())


class ReadOnlyConnection(CommandTest):
    def test_reading_works(self):
        self.daemon.put(b"/a", b"1")
        where = self.read_only_directory()
        self.check("read", "/a", out=b"1\n", runtime_dir=where)
        self.check("read", "-d", NAME, "/a", out=b"1\n", runtime_dir=where)
        self.check("list", "/", out=b"a\n", runtime_dir=where)
        self.check("multiread", "/", out=b"a = 1\n", runtime_dir=where)
        self.check("watch", "-n", "0", "/a", runtime_dir=where)

    def test_changing_is_refused_and_explained(self):
        self.daemon.put(b"/a", b"1")
        where = self.read_only_directory()
        reason = READ_ONLY
        for domain in ([], ["-d", NAME]):
            self.check("write", *domain, "/a", "v", status=1, runtime_dir=where,
                       err=b"Failed to write /a: " + reason)
            self.check("rm", *domain, "/a", status=1, runtime_dir=where,
                       err=b"Failed to rm /a: " + reason)
        self.assertEqual(self.daemon.get(b"/a"), b"1")

    def test_beside_a_dead_read_write_socket(self):
        where = self.read_only_directory()
        listen(os.path.join(where, "qubesdb.sock")).close()
        self.check("write", "/a", "v", status=1, runtime_dir=where,
                   err=b"Failed to write /a: " + READ_ONLY)

    def test_the_value_and_the_path_are_looked_at_first(self):
        where = self.read_only_directory()
        self.check("write", "/a", "x" * 3072, status=1, runtime_dir=where,
                   err=re.compile(rb"the value is longer"))
        self.check("write", "/d/", "x", status=1, runtime_dir=where,
                   err=re.compile(rb"names a directory"))


class Reasons(CommandTest):
    def check_reason(self, command, *args, path, reason):
        self.check(command, *args, status=1, err=(f"Failed to {command} {path}: {reason}\n").encode())
        self.check(command, "-q", *args, status=1)

    def test_value_too_long(self):
        for size in (3072, 100000):
            self.check_reason("write", "/a", "x" * size, path="/a",
                              reason="the value is longer than 3071 bytes")
        self.assertIsNone(self.daemon.get(b"/a"))

    def test_path(self):
        for path, reason in (
                ("rel", "the path does not begin with '/'"),
                ("", "the path does not begin with '/'"),
                ("-a", "the path does not begin with '/'"),
                (TOO_LONG_PATH, "the path is longer than 63 characters"),
                ("/a b", "the path has a character other than a-z A-Z 0-9 _ / . : @ -"),
                ("/a\n", "the path has a character other than a-z A-Z 0-9 _ / . : @ -"),
                ("/ü", "the path has a character other than a-z A-Z 0-9 _ / . : @ -")):
            for name in COMMANDS:
                args = ["--", path, "v"] if name == "write" else ["--", path]
                with self.subTest(name=name, path=path):
                    self.check_reason(name, *args, path=path, reason=reason)

    def test_longest_path(self):
        path = TOO_LONG_PATH[:63]
        self.check("write", path, "1")
        self.check("read", path, out=b"1\n")
        self.check("list", path, out=b"\n")

    def test_every_allowed_character(self):
        path = "/azAZ09_.:@-"
        self.check("write", path, "1")
        self.check("read", path, out=b"1\n")

    def test_write_to_a_directory(self):
        self.check_reason("write", "/d/", "v", path="/d/",
                          reason="the path ends in '/', so it names a directory")

    def test_an_empty_directory_is_none(self):
        """QUBESDB_RUNTIME_DIR= means /var/run/qubes, here in a /run of its own."""
        tap = self.tap()
        tap.refused.add(b"/a")
        inside = [shutil.which("unshare") or "/unshare", "--map-root-user", "--mount", "sh", "-ec",
                  "mount -t tmpfs none /run; mkdir -p /var/run/qubes; ln -s \"$0\"/* /var/run/qubes;"
                  "QUBESDB_RUNTIME_DIR= exec \"$@\"", tap.dir]
        try:
            subprocess.run([*inside, "true"], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            self.skipTest("no mounts of its own here")
        self.check(*inside, f"{harness.client_dir}/qubesdb-write", "/a", "v", status=1,
                   err=b"Failed to write /a: " + REFUSED)

    def test_refused_otherwise(self):
        tap = self.tap()
        tap.refused.add(b"/a")
        for name in ("read", "write", "rm", "watch"):
            for domain in ([], ["-d", NAME]):
                with self.subTest(name=name, domain=domain):
                    self.check(name, *domain, *ARGS[name], status=1, runtime_dir=tap.dir,
                               err=b"Failed to %s /a: " % name.encode() +
                               REFUSED.replace(b"local", domain[1].encode() if domain else b"local"))


class Output(CommandTest):
    def setUp(self):
        super().setUp()
        self.daemon.put(b"/a", b"1")
        self.daemon.put(b"/b", b"2")

    def check_output_fails(self, process, err):
        got = process.communicate()[1]
        self.assertEqual((process.returncode, got), (1, err))

    def test_full_device(self):
        for args in (["read", "/a", "/b"], ["read", "/none", "/a"], ["read", "-e", "D", "/none"],
                     ["list", "/"], ["multiread", "/", "/"]):
            with self.subTest(args), open("/dev/full", "wb") as full:
                self.check_output_fails(self.start(args[0], "-q", *args[1:], stdout=full), b"")
        with open("/dev/full", "wb") as full:
            self.check_output_fails(self.start("read", "/a", "/b", stdout=full),
                                    b"Failed to write output: No space left on device\n")

    def test_full_device_ends_a_watch(self):
        tap = self.tap()
        with open("/dev/full", "wb") as full:
            process = self.start("watch", "-qn", "-1", "/a", stdout=full, runtime_dir=tap.dir)
        tap.wait_for_answer(7, b"/a")
        self.daemon.put(b"/a", b"2")
        self.check_output_fails(process, b"")

    def test_no_standard_output(self):
        """The connection must not take the place of a closed descriptor."""
        tap = self.tap()
        process = self.start("read", "-q", "/a", stdout=None, runtime_dir=tap.dir,
                             preexec_fn=lambda: os.close(1))
        self.check_output_fails(process, b"")
        self.assertEqual(len(tap.requests), 1)
        process = self.start("rm", "/a", stdout=None, preexec_fn=lambda: os.closerange(0, 2))
        process.communicate()
        self.assertEqual(process.returncode, 0)
        self.assertIsNone(self.daemon.get(b"/a"))

    def test_line_by_line_into_a_pipe(self):
        tap = self.tap()
        process = self.start("read", "-wf", "/a", "/b", "/c", runtime_dir=tap.dir)
        self.assertEqual(process.stdout.readline(), b"/a = 1\n")
        self.assertEqual(process.stdout.readline(), b"/b = 2\n")
        self.assertIsNone(process.poll())
        self.daemon.put(b"/c", b"3")
        self.finish(process, 0, b"/c = 3\n")
