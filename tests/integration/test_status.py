#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a daemon tells of itself, asked by the wire: true in every state of the link."""
import os
import re
import time

from harness import Case, run, when
from qdb import ERROR, R_MULTIREAD, R_STATUS, READ, STATUS, Connection, pack

MAN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../man/qubesdb-daemon.8")


class Asking(Connection):
    """A program that wants to know what the daemon does."""

    def status(self, prefix=""):
        got = self.ask(STATUS, "@" + prefix)
        items = {m.path.decode(): m.data.decode() for m in got}
        if len(items) < len(got):
            raise AssertionError(f"an item twice in {got}")
        return items

    def item(self, name):
        return self.status(name).get(name)


class Status(Case):
    def ask(self, daemon, ro=False):
        connection = Asking(daemon.socket(ro))
        self.addCleanup(connection.close)
        return connection

    def until(self, connection, name, value):
        when(lambda: self.assertEqual(connection.item(name), value), AssertionError)

    def documented(self):
        """The names in the manual page, with N for that of a client."""
        names = set()
        with open(MAN, encoding="utf-8") as f:
            for line in re.findall(r"^\.It Pa (/(?:daemon|peer|backlog|state|quota|requests|errors|"
                                   r"events|clients)/.*)$", f.read(), re.M):
                first, *more = line.split(" , ")
                names |= {first} | {first.rpartition("/")[0] + "/" + m for m in more}
        return names

    def test_manual_page_names_every_item(self):
        dom0, vm = self.pair()
        said = set()
        for daemon in dom0, vm:
            said |= self.ask(daemon).status().keys()
        said = {re.sub(r"^/clients/\d+/", "/clients/N/", n) for n in said}
        said = {re.sub(r"^/quota/[^/]+/", "/quota/NAME/", n) for n in said}
        self.assertEqual(self.documented() - {"/peer/last-fault"}, said)

    def test_daemon(self):
        before = int(time.time())
        dom0, vm = self.pair()
        got = self.ask(dom0).status("/daemon/")
        self.assertEqual((got["/daemon/name"], got["/daemon/domid"], got["/daemon/role"]),
                         ("work", "5", "dom0"))
        self.assertEqual(got["/daemon/pid"], str(dom0.pid))
        self.assertLessEqual(before, int(got["/daemon/started"]))
        self.assertLessEqual(int(got["/daemon/started"]), int(got["/daemon/now"]))
        self.assertEqual(self.ask(vm).item("/daemon/role"), "vm")
        self.assertNotIn("/daemon/name", self.ask(vm).status())

    def test_link(self):
        dom0 = self.dom0()
        c = self.ask(dom0)
        self.assertEqual(c.item("/peer/state"), "down")
        self.assertIsNone(c.item("/peer/connected-since"))
        before = int(time.time())
        vm = self.vm()
        self.until(c, "/peer/state", "live")
        self.assertEqual(c.item("/peer/kind"), "new")
        self.assertEqual(c.item("/peer/links"), "1")
        for name in "/peer/connected-since", "/peer/last-resync":
            self.assertLessEqual(before, int(c.item(name)))
        v = self.ask(vm)
        self.assertEqual(v.item("/peer/generation"), c.item("/peer/generation"))
        self.assertEqual(v.item("/peer/instance"), c.item("/peer/instance"))
        vm.kill()
        self.until(c, "/peer/state", "down")
        self.assertEqual(c.item("/peer/kind"), "unknown")

    def test_deployed_vm(self):
        dom0 = self.dom0()
        c = self.ask(dom0)
        fake = self.fake_vm()
        self.until(c, "/peer/state", "connected")
        self.assertEqual(c.item("/peer/kind"), "unknown")
        fake.hello().dump()
        self.until(c, "/peer/state", "live")
        self.assertEqual(c.item("/peer/kind"), "legacy")
        for n in range(3):
            c.write(f"/a/{n}", "1")
        self.until(c, "/backlog/unanswered", "3")
        fake.send_raw(pack(READ, "/a"))
        self.until(c, "/peer/state", "down")
        self.assertIn("protocol", c.item("/peer/last-fault"))
        self.assertEqual(c.item("/backlog/owed"), "0", "the VM has had none of it")

    def test_waiting_for_the_first_dump(self):
        """Why nobody is answered in a VM is answered."""
        server = self.fake_dom0_server()
        vm = self.vm(ready=False)
        fake = self.accept(server)
        waiting = vm.connect_when_there()
        self.addCleanup(waiting.close)
        waiting.send(READ, "/a")
        c = self.ask(vm)
        self.assertEqual(c.item("/daemon/serving"), "no")
        self.assertEqual(c.item("/peer/state"), "connected")
        self.assertEqual(c.item("/quota/connections/used"), "2")
        self.assertEqual(c.status().get("/daemon/pid"), str(vm.pid))
        self.assertFalse(waiting.readable())
        fake.send(R_MULTIREAD, "/a", "1")
        self.until(c, "/peer/state", "dumping")
        fake.send(R_MULTIREAD)
        self.until(c, "/daemon/serving", "yes")
        self.assertEqual(waiting.answer().data, b"1")
        self.assertEqual(c.item("/peer/kind"), "legacy")

    def test_clients(self):
        dom0 = self.dom0()
        c, reader = self.ask(dom0), self.ask(dom0, ro=True)
        reader.watch("/a", "/b")
        got = c.status("/clients/")
        mine = {k.rpartition("/")[0] for k in got}
        self.assertEqual(len(mine), 2)
        for client in mine:
            self.assertEqual(got[f"{client}/pid"], str(os.getpid()))
            self.assertEqual(got[f"{client}/uid"], str(os.getuid()))
        other = next(m for m in mine if got[f"{m}/access"] == "read-only")
        self.assertEqual(got[f"{other}/watches"], "2")
        self.assertEqual(got[f"{other}/requests"], "2")
        self.assertEqual(reader.status("/peer/"), c.status("/peer/"), "anybody may ask")

    def test_crowd(self):
        """An answer of several pieces, to many who do not read it."""
        dom0 = self.dom0()
        crowd = [self.ask(dom0) for _ in range(400)]
        asking = self.ask(dom0)
        self.until(asking, "/quota/connections/used", "401")
        before = dom0.rss_kib()
        for c in crowd:
            c.send_raw(pack(STATUS, "@") * 20)
        asking.write("/a", "1")
        self.assertEqual(asking.item("/quota/connections/used"), "401")
        self.assertLess(dom0.rss_kib() - before, 400 * 300)
        got = {}
        while (message := crowd[0].answer()).path:
            got[message.path] = message.data
        self.assertEqual(sum(path.endswith(b"/uid") for path in got), 401)

    def test_state_file(self):
        dom0 = self.dom0()
        got = self.ask(dom0).status("/state/")
        self.assertEqual(got["/state/kept"], "yes")
        self.assertTrue(os.path.exists(got["/state/file"]))
        without = self.daemon("none", 6, "play", options=["--state=none"])
        self.assertEqual(self.ask(without).status("/state/"), {})

    def test_faults_leave_the_connection(self):
        c = self.ask(self.dom0())
        self.assertEqual(c.status("/none"), {})
        for path in "", "/", "/daemon/", "rel", "@rel", "@@", "@/bad path", "-":
            c.expect(ERROR, STATUS, path)
        c.expect(ERROR, STATUS, "@", b"data")
        c.expect(ERROR, R_STATUS, "@")
        self.assertIsNone(c.read("/a"))


if __name__ == "__main__":
    run()
