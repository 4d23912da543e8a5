#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""gmemd under a real systemd, with the units that are installed: what happens to it, and to the
memory that its guests have, when systemd or anybody else ends it.

$GMEMD_BUILD is the build folder.
"""
import contextlib
import json
import os
import subprocess
import sys
import time
import unittest

import machine

BUILD = os.environ["GMEMD_BUILD"]
SOURCE = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
UNITS = os.path.join(SOURCE, "units")
ACME = "/run/gmemd/acme.sock"
KEPT = "/root/kept"
SERVICE = "gmemd.service"
# Of systemd's own: from a death to the next start.
PATIENCE = 20.0


def service_unit():
    """(text of the unit, the path of the program that it starts)"""
    with open(os.path.join(BUILD, "units", SERVICE), encoding="utf-8") as file:
        text = file.read()
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    return text, line.removeprefix("ExecStart=").split()[0]


class UnderSystemd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        text, cls.program = service_unit()
        cls.machine = machine.Machine({
            cls.program: os.path.join(BUILD, "bin", "gmemd"),
            f"/etc/systemd/system/{SERVICE}": text,
            "/etc/systemd/system/gmemd@.socket": f"{UNITS}/gmemd@.socket",
            "/etc/systemd/system/gmemd-admin.socket": f"{UNITS}/gmemd-admin.socket",
            "/etc/systemd/system/gmemd.target": f"{UNITS}/gmemd.target",
            "/etc/sysusers.d/gmemd.conf": f"{UNITS}/gmemd.sysusers",
            "/etc/tmpfiles.d/gmemd.conf": f"{UNITS}/gmemd.tmpfiles",
            "/usr/lib/systemd/catalog/gmemd.catalog": f"{UNITS}/gmemd.catalog",
        }, BUILD, SOURCE).__enter__()
        cls.addClassCleanup(cls.machine.__exit__)
        cls.run_in = cls.machine.run
        cls.run_in("systemd-sysusers", "/etc/sysusers.d/gmemd.conf")
        cls.run_in("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/gmemd.conf")
        cls.run_in("systemctl", "start", "gmemd@acme.socket", "gmemd-admin.socket")

    def setUp(self):
        self.run_in("systemctl", "stop", SERVICE)
        self.run_in("journalctl", "--sync")
        self.cursor = self.run_in("journalctl", "-n", "0", "--show-cursor").split("cursor: ")[-1]
        self.addCleanup(self.show_log_of_a_failure)

    def show_log_of_a_failure(self):
        outcome = self._outcome.result
        if any(test is self for test, _ in outcome.failures + outcome.errors):
            sys.stderr.write(self.log() + "\n")

    def log(self):
        """What gmemd, and systemd about it, have said since this test began."""
        self.run_in("journalctl", "--sync")
        return self.run_in("journalctl", "--no-pager", "-o", "cat", f"--after-cursor={self.cursor}",
                           "-u", SERVICE)

    def show(self, key):
        return self.run_in("systemctl", "show", "-P", key, SERVICE)

    def client(self, action, address=ACME):
        output = self.run_in("/usr/bin/python3", "-B", "/run/gmemd-source/tests/system/inside.py",
                             action, address, KEPT)
        return json.loads(output.splitlines()[-1])

    def main_pid(self):
        return int(self.show("MainPID"))

    def kill(self, name):
        self.run_in("kill", f"-{name}", str(self.main_pid()))

    def wait_for(self, what, condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)

    def wait_for_another(self, old):
        self.wait_for("no new main process", lambda: self.main_pid() not in (0, old))

    def start_with_memory(self):
        kinds = self.client("create")["kinds"]
        self.assertIn("memfd", kinds)
        self.n_domains = len(kinds)

    def assert_memory_is_back(self, after):
        found = self.client("check")
        self.assertEqual((found["domains"], found["same"]), (self.n_domains, self.n_domains))
        print(f"{after}: {self.show('NFileDescriptorStore')} fds stored, "
              f"first answer after {found['ms']} ms of waiting")

    @contextlib.contextmanager
    def load(self, comes_back=True):
        """Clients that ask all the time: each is answered, once, whatever the block does."""
        process = self.machine.popen("/usr/bin/python3", "-B",
                                     "/run/gmemd-source/tests/system/inside.py", "load", ACME,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline().strip(), "busy")
        yield
        result = json.loads(process.communicate(timeout=PATIENCE)[0].splitlines()[-1])
        self.assertEqual(result["errors"], [])
        if comes_back:
            self.assertGreater(min(result["comebacks"]), 0)

    def test_the_first_connection_of_a_tenant_starts_the_daemon(self):
        self.assertEqual(self.show("ActiveState"), "inactive")
        self.assertEqual(self.client("hello")["tenant"], "acme")
        self.assertEqual(self.show("ActiveState"), "active")
        self.assertIn("1 tenant", self.log())

    def test_the_daemon_keeps_no_privilege_but_those_with_a_reason(self):
        dac_override, sys_resource = 1 << 1, 1 << 24
        self.client("hello")
        status = self.run_in("cat", f"/proc/{self.main_pid()}/status")
        lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        for name, most in (("CapPrm", sys_resource), ("CapEff", sys_resource), ("CapAmb", 0),
                           ("CapBnd", sys_resource | dac_override)):
            self.assertEqual(int(lines[name], 16) & ~most, 0, f"{name}: {lines[name]}")
        self.assertNotIn("0", lines["Uid"].split())

    def test_memory_comes_back_after_a_restart(self):
        self.start_with_memory()
        with self.load():
            old = self.main_pid()
            self.run_in("systemctl", "restart", SERVICE)
            self.assertNotEqual(self.main_pid(), old)
        self.assert_memory_is_back("restart")

    def test_memory_comes_back_after_a_kill(self):
        self.start_with_memory()
        with self.load():
            old = self.main_pid()
            self.kill("KILL")
            self.wait_for_another(old)
        self.assert_memory_is_back("kill -9")

    def test_memory_comes_back_after_a_hang(self):
        self.start_with_memory()
        old = self.main_pid()
        self.run_in("mkdir", "-p", f"/run/systemd/system/{SERVICE}.d")
        self.run_in("sh", "-c", f"printf '[Service]\\nWatchdogSec=500ms\\n' > "
                    f"/run/systemd/system/{SERVICE}.d/watchdog.conf")
        self.addCleanup(self.run_in, "systemctl", "daemon-reload")
        self.addCleanup(self.run_in, "rm", "-r", f"/run/systemd/system/{SERVICE}.d")
        self.run_in("systemctl", "daemon-reload")
        self.run_in("systemctl", "restart", SERVICE)
        old = self.main_pid()
        with self.load():
            self.kill("STOP")
            self.wait_for_another(old)
        self.assertIn("Watchdog timeout", self.log())
        self.assert_memory_is_back("watchdog")

    def test_memory_stays_when_systemd_starts_itself_anew(self):
        self.start_with_memory()
        old = self.main_pid()
        with self.load():
            self.run_in("systemctl", "daemon-reexec")
            self.assertEqual(self.main_pid(), old)
            self.kill("KILL")
            self.wait_for_another(old)
        self.assert_memory_is_back("daemon-reexec and kill -9")

    def test_memory_goes_over_to_another_build(self):
        self.start_with_memory()
        # A program may be followed by anything: another file, and the same code.
        self.run_in("sh", "-ec", f"cp {self.program} {self.program}.new; "
                    f"echo another build >> {self.program}.new; "
                    f"mv {self.program}.new {self.program}")
        with self.load():
            self.run_in("systemctl", "restart", SERVICE)
            self.run_in("cmp", self.program, f"/proc/{self.main_pid()}/exe")
        self.assert_memory_is_back("another build")

    def test_deaths_in_a_row_reach_no_limit(self):
        self.start_with_memory()
        for _ in range(12):
            old = self.main_pid()
            self.kill("KILL")
            self.wait_for_another(old)
            self.wait_for_another(old)
        self.assert_memory_is_back("12 deaths")

    def test_an_entry_of_the_journal_has_its_fields_and_its_explanation(self):
        self.run_in("journalctl", "--update-catalog")
        # A unit of its own: the entry names it.
        self.run_in("systemd-run", "--wait", "--quiet", "--unit=vmm-7.service", "/usr/bin/python3", "-B",
                    "/run/gmemd-source/tests/system/inside.py", "create", ACME, KEPT)
        self.run_in("journalctl", "--sync")
        read = ("journalctl", "--no-pager", f"--after-cursor={self.cursor}", "-u", SERVICE,
                "TENANT=acme", "MESSAGE_ID=924da563478c4521892599d0f73dd9f3")
        lines = self.run_in(*read, "-o", "json").splitlines()
        self.assertTrue(lines)
        for line in lines:
            entry = json.loads(line)
            self.assertEqual(entry["PEER_UNIT"], "vmm-7.service")
            self.assertEqual(entry["PEER_UID"], "0")
            self.assertRegex(entry["DOMAIN"], "^[0-9a-f]{16}$")
            self.assertRegex(entry["REGION"], "^[0-9a-f]{16}$")
            self.assertGreater(int(entry["BYTES"]), 0)
        text = self.run_in(*read, "-x")
        self.assertIn("Subject: gmemd has granted guest memory to acme", text)
        self.assertIn(f"region {entry['REGION']} of domain {entry['DOMAIN']}", text)

    def test_stopping_gives_everything_back(self):
        self.start_with_memory()
        self.assertGreater(int(self.show("NFileDescriptorStore")), 0)
        self.run_in("systemctl", "stop", SERVICE)
        self.assertEqual(self.show("NFileDescriptorStore"), "0")
        self.assertEqual(self.show("Result"), "success")
        self.assertEqual(self.client("hello")["tenant"], "acme")

    def test_a_tenant_comes_in_while_guests_have_memory(self):
        self.start_with_memory()
        self.addCleanup(self.run_in, "systemctl", "disable", "--now", "gmemd@beta.socket")
        self.run_in("systemctl", "enable", "gmemd@beta.socket")
        self.run_in("systemctl", "restart", "gmemd.target")
        self.assertEqual(self.client("hello", "/run/gmemd/beta.sock")["tenant"], "beta")
        self.assert_memory_is_back("a new tenant")

    def test_a_reload_reads_the_policies_again(self):
        self.client("hello")
        old = self.main_pid()
        self.run_in("systemctl", "reload", SERVICE)
        self.wait_for("no word of it", lambda: "policies read again" in self.log())
        self.assertEqual(self.main_pid(), old)


if __name__ == "__main__":
    machine.demand_what_is_needed()
    unittest.main(verbosity=2)
