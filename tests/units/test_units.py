#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The units, without a running systemd: its own tools look at them, and daemons run under the filter
of system calls that they ask for.
"""
import errno
import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "integration"))
from harness import DAEMON, Case, run, unsanitized
from test_start import SYSCALLS, forbid

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "units")
UNITS = os.environ.get("QUBESDB_UNITS", "units")
NUMBERS = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
# What systemd before 254 says of the delay that grows.
NEWER = r"^.*: Unknown key '(RestartSteps|RestartMaxDelaySec)' in section \[Service\], ignoring\.\n"
# In tenths, as systemd-analyze takes it: 0 is no exposure, 100 no restriction at all.
MOST_EXPOSED = 20


def tool(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, env={**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_EMOJI": "0"})


def unit_names():
    return sorted(os.path.basename(path) for path in glob.glob(os.path.join(UNITS, "*.service")))


def settings(name, key):
    with open(os.path.join(UNITS, name), encoding="ascii") as f:
        return re.findall(rf"^{key}=(.*)$", f.read(), re.M)


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is missing")
class Analyzed(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.TemporaryDirectory(prefix="qdb.")
        self.addCleanup(self.home.cleanup)
        for name in unit_names():
            with open(os.path.join(UNITS, name), encoding="ascii") as f:
                text = re.sub(r"/\S+/qubesdb-daemon", os.path.abspath(DAEMON), f.read())
            self.add(name, text)

    def add(self, name, text):
        with open(os.path.join(self.home.name, name), "w", encoding="ascii") as f:
            f.write(text)

    def verify(self, *names):
        return tool("systemd-analyze", "verify", "--man=no",
                    *(os.path.join(self.home.name, name) for name in names))

    def test_all_are_there(self):
        self.assertEqual(unit_names(),
                         ["qubes-db-dom0.service", "qubes-db.service", "qubes-db@.service"])

    def test_verify(self):
        for name in unit_names():
            with self.subTest(unit=name):
                done = self.verify(name)
                self.assertEqual(done.returncode, 0)
                self.assertEqual(re.sub(NEWER, "", done.stdout, flags=re.M), "")

    def test_verify_sees_mistakes(self):
        self.add("qubes-db.service", "[Service]\nType=notify\nExecStart=/nonexistent\nRestrt=no\n")
        self.assertRegex(self.verify("qubes-db.service").stdout, "Restrt")

    def early(self):
        """What mounts file systems by what the VM has been told, and comes before all of that."""
        self.add("mounts.service", "[Unit]\nDefaultDependencies=no\nAfter=qubes-db.service\n"
                 "Requires=qubes-db.service\nBefore=local-fs.target sysinit.target\n"
                 "[Service]\nType=oneshot\nExecStart=/bin/true\n")
        self.add("early.target", "[Unit]\nDescription=the boot\nDefaultDependencies=no\n"
                 "Requires=mounts.service sysinit.target local-fs.target "
                 "systemd-tmpfiles-setup.service\n")
        return self.verify("early.target", "mounts.service", "qubes-db.service").stdout

    def test_no_ordering_cycle(self):
        self.assertNotIn("cycle", self.early())

    def test_ordering_cycles_are_seen(self):
        with open(os.path.join(self.home.name, "qubes-db.service"), encoding="ascii") as f:
            text = f.read()
        self.add("qubes-db.service", text.replace(
            "After=systemd-modules-load.service", "After=systemd-tmpfiles-setup.service"))
        self.assertIn("cycle", self.early())

    def test_security(self):
        for name in unit_names():
            with self.subTest(unit=name):
                done = tool("systemd-analyze", "security", "--offline=true", "--no-pager",
                            f"--threshold={MOST_EXPOSED}", os.path.join(self.home.name, name))
                print(done.stdout.strip().splitlines()[-1], file=sys.stderr)
                self.assertEqual(done.returncode, 0, done.stdout)


class Template(unittest.TestCase):
    def test_instance(self):
        """Its name is taken apart by a shell, and no shell looks into the parts."""
        line = settings("qubes-db@.service", "ExecStart")[0]
        for instance, expected in (("5:work", ["5", "work"]), ("12:sys-net", ["12", "sys-net"]),
                                   ("7:$(id)", ["7", "$(id)"])):
            words = shlex.split(line.replace("$$", "$").replace("%i", shlex.quote(instance))
                                .replace("%%", "%"))
            words[2] = re.sub(r"exec \S+", "printf '%s\\\\n'", words[2])
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
            self.assertEqual(done.stdout.split(), expected)


@unittest.skipUnless(os.path.exists(NUMBERS) and os.uname().machine == "x86_64",
                     "the numbers of the system calls are not known")
@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is missing")
@unsanitized  # they make calls of their own
class Filtered(Case):
    """All that the unit's filter does not let through fails."""

    def names(self, group):
        done = tool("systemd-analyze", "syscall-filter", group).stdout
        for word in done.split("\n"):
            word = word.strip()
            if word.startswith("@") and word != group:
                yield from self.names(word)
            elif re.fullmatch(r"[a-z0-9_]+", word):
                yield word

    def allowed(self, unit):
        allowed = set()
        for line in settings(unit, "SystemCallFilter"):
            takes_away = line.startswith("~")
            for word in line.lstrip("~").split():
                names = self.names(word) if word.startswith("@") else [word]
                (allowed.difference_update if takes_away else allowed.update)(names)
        return allowed

    def setUp(self):
        super().setUp()
        with open(NUMBERS, encoding="ascii") as f:
            numbers = re.findall(r"#define __NR_(\w+)\s+(\d+)", f.read())
        SYSCALLS.update((name, int(number)) for name, number in numbers)

    def prepare(self, unit):
        denied = sorted(SYSCALLS.keys() - self.allowed(unit))
        self.assertIn("mount", denied)
        self.assertNotIn("read", denied)
        return lambda: forbid(denied, errno.EPERM)

    def check_in_sandbox(self, daemon):
        self.assertEqual(daemon._field("status", "Seccomp"), 2)
        self.assertGreaterEqual(daemon._field("status", "Seccomp_filters"), 2)
        self.assertNotIn("restricted", daemon.output())

    def test_dom0(self):
        daemon = self.dom0(domid=0, name="dom0", prepare=self.prepare("qubes-db-dom0.service"))
        with self.connect(daemon) as client:
            client.write("/a", "1")
            self.assertEqual(client.read("/a"), b"1")
        self.check_in_sandbox(daemon)

    def test_pair(self):
        first = self.dom0(prepare=self.prepare("qubes-db@.service"))
        self.connect(first).write("/a", "1")
        second = self.dom0(prepare=self.prepare("qubes-db@.service"))
        self.assertEqual(first.wait(), 0)
        vm = self.vm(prepare=self.prepare("qubes-db.service"))
        self.assertEqual(self.connect(vm).read("/a"), b"1")
        for daemon in second, vm:
            self.check_in_sandbox(daemon)


class Restart(unittest.TestCase):
    def test_delay(self):
        """It grows, and is not none where systemd cannot let it; nothing ends the attempts."""
        for name in unit_names():
            with self.subTest(unit=name):
                for key, expected in (("Restart", "on-failure"), ("RestartSec", "1s"),
                                      ("RestartSteps", "8"), ("RestartMaxDelaySec", "30s"),
                                      ("StartLimitIntervalSec", "0")):
                    self.assertEqual(settings(name, key), [expected])

    def test_reload(self):
        for name in unit_names():
            self.assertEqual(settings(name, "ExecReload"), ["/bin/kill -HUP $MAINPID"])


@unittest.skipUnless(shutil.which("systemd-tmpfiles") and shutil.which("systemd-sysusers") and
                     os.geteuid() == 0, "systemd's tools or the right to give away are missing")
class Directories(unittest.TestCase):
    def setUp(self):
        root = tempfile.TemporaryDirectory(prefix="qdb.")
        self.addCleanup(root.cleanup)
        self.root = root.name
        os.mkdir(os.path.join(self.root, "etc"))
        self.run_tool("systemd-sysusers", f"{SOURCE}/qubesdb.sysusers")
        with open(os.path.join(self.root, "etc/group"), encoding="ascii") as f:
            self.group = int(re.search(r"^qubes:[^:]*:(\d+):", f.read(), re.M)[1])

    def run_tool(self, name, *arguments):
        done = tool(name, f"--root={self.root}", *arguments)
        self.assertEqual(done.returncode, 0, done.stdout)

    def check(self, name, mode, group):
        found = os.stat(os.path.join(self.root, name))
        self.assertEqual((found.st_uid, found.st_gid, found.st_mode & 0o7777), (0, group, mode))

    def test_dom0(self):
        self.run_tool("systemd-tmpfiles", "--create", f"{SOURCE}/qubesdb.tmpfiles")
        self.check("run/qubes", 0o2770, self.group)
        self.check("var/log/qubes", 0o2775, self.group)

    def test_vm(self):
        """The unit has made it, for everybody."""
        mode = int(settings("qubes-db.service", "RuntimeDirectoryMode")[0], 8)
        self.assertEqual((settings("qubes-db.service", "RuntimeDirectory"), mode & 0o005),
                         (["qubes"], 0o005))
        path = os.path.join(self.root, "run/qubes")
        os.makedirs(path)
        os.chown(path, 0, self.group)
        os.chmod(path, mode)
        self.run_tool("systemd-tmpfiles", "--create", f"{SOURCE}/qubesdb.tmpfiles")
        self.check("run/qubes", mode, self.group)


if __name__ == "__main__":
    run()
