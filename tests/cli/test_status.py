# SPDX-License-Identifier: LGPL-2.1-or-later
"""qubesdb-status: of one daemon and of all, as text, JSON and metrics."""
import json
import os
import pwd
import re
import threading

from harness import ERROR, NAME, OK, R_READ, WATCH, CommandTest, connect, listen, pack, receive

STATUS, TRACE = 65, 67


class Status(CommandTest):
    def json(self, *args, **how):
        process = self.start("status", "--json", *args, **how)
        out = process.communicate()[0]
        self.assertEqual(process.returncode, 0)
        return json.loads(out)

    def test_text(self):
        self.daemon.put(b"/a", b"some-secret")
        out = self.start("status", "-d", NAME).communicate()[0].decode()
        me = pwd.getpwuid(os.getuid()).pw_name
        for line in (rf"^{NAME}: process {self.daemon.process.pid}, version [0-9.]+, up \d\d:\d\d:",
                     r"^  state     kept in /.*\.state$", r"^  trace     off$",
                     r"^  requests  .*\d+ write", r"^  entries +1 +100000 +0% +0$",
                     rf"^ +\d+ +\d+ {me} +read-write +0 +1 +0  \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d$"):
            self.assertRegex(out, re.compile(line, re.M))
        self.assertNotIn("secret", out)
        self.assertNotIn("peer", out)
        self.assertTrue(self.start("status").communicate()[0].startswith(b"local: process"))

    def test_json(self):
        watcher = connect(self.daemon.socket_path)
        self.addCleanup(watcher.close)
        for _ in range(2):
            watcher.sendall(pack(WATCH, b"/a"))
            self.assertEqual(receive(watcher)[0], OK)
        self.daemon.put(b"/a", b"1")
        got = self.json("-d", NAME)
        self.assertEqual(got["daemon"]["pid"], self.daemon.process.pid)
        self.assertEqual(got["daemon"]["name"], NAME)
        self.assertIs(got["daemon"]["serving"], True)
        self.assertEqual(got["quota"]["entries"],
                         {"used": 1, "limit": 100000, "refused": got["quota"]["entries"]["refused"]})
        mine = [c for c in got["clients"].values() if c["watches"] == 2]
        self.assertEqual(mine[0], {"pid": os.getpid(), "uid": os.getuid(),
                                   "user": pwd.getpwuid(os.getuid()).pw_name, "access": "read-write",
                                   "watches": 2, "requests": 2, "unread": 0,
                                   "since": mine[0]["since"]})
        self.assertNotIn("peer", got)
        self.assertEqual(self.json("--format=json").keys(), got.keys())

    def test_read_only(self):
        got = self.json(runtime_dir=self.read_only_directory())
        self.assertEqual({c["access"] for c in got["clients"].values()}, {"read-only"})

    def test_all(self):
        where = self.directory([f"qubesdb.{NAME}.sock"])
        os.symlink(self.daemon.socket_path, os.path.join(where, "qubesdb.b-2.sock"))
        got = self.json("--all", runtime_dir=where)
        self.assertEqual(list(got), ["b-2", NAME])
        self.assertEqual(got["b-2"]["daemon"]["pid"], self.daemon.process.pid)
        out = self.start("status", "--all", runtime_dir=where).communicate()[0]
        self.assertEqual(re.findall(rb"^(\S+): process", out, re.M), [b"b-2", NAME.encode()])

    def test_all_with_one_that_is_gone(self):
        where = self.directory([f"qubesdb.{NAME}.sock"])
        os.symlink("/nowhere", os.path.join(where, "qubesdb.gone.sock"))
        process = self.start("status", "--all", "--json", runtime_dir=where)
        out, err = process.communicate()
        self.assertEqual(process.returncode, 1)
        self.assertEqual(list(json.loads(out)), [NAME])
        self.assertEqual(err, (
            f"Failed connect to gone daemon\n  {where}/qubesdb.gone.sock: No such file or directory;"
            f" does the VM run, and its qubesdb-daemon?\n"
            f"  {where}/qubesdb.gone.ro.sock: No such file or directory\n").encode())
        process = self.start("status", "-q", "--all", "--format=openmetrics", runtime_dir=where)
        out, err = process.communicate()
        self.assertEqual((process.returncode, err), (1, b""))
        self.assertIn(b'qubesdb_up{vm="gone"} 0\nqubesdb_up{vm="test"} 1\n', out)

    def test_none(self):
        where = self.directory()
        self.check("status", "--all", runtime_dir=where, status=1,
                   err=f"There is no daemon in {where} that serves a VM; "
                       "QUBESDB_RUNTIME_DIR chooses another directory\n".encode())
        self.check("status", "-d", "gone", status=1, err=re.compile(b"^Failed connect to gone "))
        self.check("status", "-d", NAME, "--all", status=1,
                   err=b"qubesdb-status: -d and --all exclude each other\n")

    def test_metrics(self):
        """Each family once, typed, its samples together and no sample twice; an end."""
        where = self.directory([f"qubesdb.{NAME}.sock"])
        os.symlink(self.daemon.socket_path, os.path.join(where, "qubesdb.b-2.sock"))
        out = self.start("status", "--all", "--format=openmetrics",
                         runtime_dir=where).communicate()[0].decode()
        self.assertTrue(out.endswith("\n# EOF\n"))
        families, samples, current = [], [], None
        for line in out.splitlines()[:-1]:
            if line.startswith("# TYPE "):
                current = line.split()[2:]
                families.append(current[0])
            elif line.startswith("# HELP "):
                self.assertEqual(line.split()[2], current[0])
            else:
                name, labels = re.fullmatch(r'(\w+)\{([^}]*)\} \d+', line).groups()
                suffix = {"counter": "_total", "info": "_info"}.get(current[1], "")
                self.assertEqual(name, current[0] + suffix)
                samples.append((name, labels))
        self.assertEqual(len(set(families)), len(families))
        self.assertEqual(len(set(samples)), len(samples))
        for label in ('vm="test",quota="entries"', 'vm="b-2",quota="entries"'):
            self.assertIn(("qubesdb_quota_used", label), samples)
        self.assertIn(("qubesdb_requests_total", 'vm="test",request="read"'), samples)
        self.assertIn(("qubesdb_clients", 'vm="test"'), samples)

    def test_metrics_of_the_peer(self):
        """None of what is not known."""
        for kind, legacy in (b"new", b"0"), (b"legacy", b"1"), (b"unknown", None):
            answers = [(66, b"/peer/kind", kind), (66, b"/peer/generation", b"00ff"), (66,)]
            process = self.start("status", "--format=openmetrics", runtime_dir=self.fake(*answers))
            out = process.communicate()[0]
            self.assertEqual(re.findall(rb'^qubesdb_peer_legacy\{vm="local"\} (.)$', out, re.M),
                             [legacy] if legacy else [])
            self.assertIn(b'\nqubesdb_peer_info{vm="local",generation="00ff"} 1\n', out)
            self.assertNotIn(b"qubesdb_state_kept{", out)

    def fake(self, *answers):
        """A daemon that answers the first request with these messages."""
        return self.scripted(((STATUS, b"@", b""), *answers))

    def scripted(self, *exchanges):
        """A daemon that expects a request, and sends messages, for each of these."""
        where = self.directory()
        listener = listen(os.path.join(where, "qubesdb.sock"))

        def serve():
            sock = listener.accept()[0]
            for request, *answers in exchanges:
                self.assertEqual(receive(sock), request)
                for answer in answers:
                    sock.sendall(pack(*answer))
            receive(sock)
            sock.close()
            listener.close()

        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)
        return where

    def test_deployed_daemon(self):
        self.check("status", status=1, runtime_dir=self.fake((ERROR,)),
                   err=b"Failed to get the status of the local daemon: not supported by this daemon\n")
        self.check("status", "-q", status=1, runtime_dir=self.fake((ERROR,)))
        self.check("status", status=1, runtime_dir=self.fake((R_READ, b"", b"x")),
                   err=re.compile(b"Protocol error"))

    def test_trace_of_a_deployed_daemon(self):
        where = self.scripted(((TRACE, b"on", b""), (ERROR, b"on")),
                              ((STATUS, b"@/daemon/tracing", b""), (ERROR, b"/daemon/tracing")))
        self.check("trace", "on", status=1, runtime_dir=where, err=b"Failed to switch the trace "
                   b"of the local daemon: not supported by this daemon\n")
        where = self.scripted(((TRACE, b"off", b""), (R_READ, b"off", b"x")))
        self.check("trace", "off", status=1, runtime_dir=where, err=re.compile(b"Protocol error"))

    def test_what_a_later_daemon_may_say(self):
        """Unknown items are in the JSON, and what is missing is no failure."""
        answers = [(66, b"/new/thing", b"a\nb"), (66, b"/daemon/name", b"123"), (66, b"/x", b"007"),
                   (66, b"/quota/q/limit", b"0"), (66, b"/clients/9/access", b"odd"), (66,)]
        process = self.start("status", "--json", runtime_dir=self.fake(*answers))
        self.assertEqual(json.loads(process.communicate()[0]), {
            "new": {"thing": "a\nb"}, "daemon": {"name": "123"}, "x": "007",
            "quota": {"q": {"limit": 0}}, "clients": {"9": {"access": "odd"}}})
        for args in [], ["--format=openmetrics"]:
            process = self.start("status", *args, runtime_dir=self.fake(*answers))
            process.communicate()
            self.assertEqual(process.returncode, 0)

    def test_what_a_mad_daemon_may_say(self):
        """Nothing reaches the terminal or the collector but text, and numbers that are some."""
        huge = b"9" * 3000
        answers = [(66, b"/daemon/now", b"9" * 30), (66, b"/daemon/started", b"-" + b"9" * 30),
                   (66, b"/daemon/version", b"\x1b[2J\xff"), (66, b"/peer/state", b"a\nb"),
                   (66, b"/peer/connected-since", huge), (66, b"/peer/links", b"1\nqubesdb_up 1"),
                   (66, b"/quota/q/limit", b"-0"), (66, b"/quota/q/used", huge),
                   (66, b"/clients/9/access", huge), (66, b"/clients/9/uid", huge),
                   (66, b"/clients//access", b""), (66, b"/a", b""),
                   (66, b"/a/b", b""), (66, b"/a/b", b"again"), (66,)]
        for form in "text", "openmetrics":
            process = self.start("status", f"--format={form}", runtime_dir=self.fake(*answers))
            out = process.communicate()[0]
            self.assertEqual(process.returncode, 0)
            self.assertRegex(out, rb"\A[\n -~]*\Z")
        self.assertNotIn(b"links_total", out)
        self.assertNotIn(huge, out)
        process = self.start("status", "--json", runtime_dir=self.fake(*answers))
        self.assertEqual(json.loads(process.communicate()[0])["peer"]["state"], "a\nb")

    def test_no_room_for_output(self):
        for form in "text", "json", "openmetrics":
            with open("/dev/full", "wb") as full:
                process = self.start("status", f"--format={form}", stdout=full)
                self.assertRegex(process.communicate()[1], b"Failed to write output")
                self.assertEqual(process.returncode, 1)

    def test_format_is_known(self):
        self.check("status", "--format=xml", status=1, err=re.compile(
            b": not text, json or openmetrics: xml\nUsage: "))


class Silent(CommandTest):
    def test_the_others_are_asked_though_one_does_not_answer(self):
        where = self.directory([f"qubesdb.{NAME}.sock"])
        listener = listen(os.path.join(where, "qubesdb.hung.sock"))
        self.addCleanup(listener.close)
        process = self.start("status", "--all", "--json", runtime_dir=where)
        out, err = process.communicate()
        self.assertEqual((process.returncode, list(json.loads(out))), (1, [NAME]))
        self.assertRegex(err, b"of the hung daemon: it does not answer; does it hang\\?\n")

    def test_connecting_is_given_up_too(self):
        where = self.full_directory("qubesdb.full.sock")
        for args in ["-d", "full"], ["--all"]:
            self.check("status", *args, status=1, runtime_dir=where, err=re.compile(
                b"^Failed connect to full daemon\n  .*/qubesdb.full.sock: "
                b"it takes no connections; does it hang\\?\n"))
