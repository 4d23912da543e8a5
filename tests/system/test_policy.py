#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Policies from units under a real systemd: gmemd applies what `systemctl cat` shows.

$GMEMD_BUILD is the build folder, $GMEMD_UNIT_CAT the program that prints units. $GMEMD_LAYOUTS is
how many layouts are compared, $GMEMD_SEED the first one's seed.
"""
import json
import os
import sys
import time
import unittest

import machine

BUILD = os.environ["GMEMD_BUILD"]
UNIT_CAT = os.environ["GMEMD_UNIT_CAT"]
SOURCE = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
UNITS = os.path.join(SOURCE, "units")
LAYOUTS = os.environ.get("GMEMD_LAYOUTS", "30")
INSIDE = "/run/gmemd-source/tests/system/"
GMEMCTL = "/run/gmemd-build/bin/gmemctl"
DROPIN = "/etc/systemd/system/gmemd@acme.socket.d/50-test.conf"
PATIENCE = 10.0


class PolicyUnderSystemd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(BUILD, "units", "gmemd.service"), encoding="utf-8") as file:
            service = file.read()
        line = next(line for line in service.splitlines() if line.startswith("ExecStart="))
        cls.machine = machine.Machine({
            line.removeprefix("ExecStart=").split()[0]: os.path.join(BUILD, "bin", "gmemd"),
            "/etc/systemd/system/gmemd.service": service,
            "/etc/systemd/system/gmemd@.socket": f"{UNITS}/gmemd@.socket",
            "/etc/systemd/system/gmemd-admin.socket": f"{UNITS}/gmemd-admin.socket",
            "/etc/systemd/system/gmemd.target": f"{UNITS}/gmemd.target",
            "/etc/sysusers.d/gmemd.conf": f"{UNITS}/gmemd.sysusers",
            "/etc/tmpfiles.d/gmemd.conf": f"{UNITS}/gmemd.tmpfiles",
        }, BUILD, SOURCE).__enter__()
        cls.addClassCleanup(cls.machine.__exit__)
        cls.run_in = cls.machine.run
        cls.run_in("systemd-sysusers", "/etc/sysusers.d/gmemd.conf")
        cls.run_in("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/gmemd.conf")
        cls.run_in("systemctl", "start", "gmemd@acme.socket", "gmemd-admin.socket")
        cls.ctl("list")

    @classmethod
    def ctl(cls, *words, check=True):
        return cls.run_in(GMEMCTL, "--address", "/run/gmemd/admin.sock", *words, check=check)

    def policy(self, *tenant):
        rows = json.loads(self.ctl("--json", "policy", "show", *tenant))["policy"]
        return {row["key"]: (row["value"], row["source"]) for row in rows}

    def write(self, path, text):
        self.run_in("sh", "-ec", f"mkdir -p $(dirname {path}); printf '%b' '{text}' > {path}")
        self.addCleanup(self.run_in, "rm", "-f", path)

    def reload(self):
        self.run_in("systemctl", "reload", "gmemd.service")

    def assert_reload_fails(self, why):
        pid = self.run_in("systemctl", "show", "-P", "MainPID", "gmemd.service")
        said = self.run_in("sh", "-c", "systemctl reload gmemd.service || echo failed: $?", check=False)
        self.assertIn("failed: 1", said)
        self.run_in("journalctl", "--sync")
        self.assertIn(why, self.run_in("journalctl", "-u", "gmemd.service", "-n", "20", "-o", "cat"))
        self.assertEqual(self.run_in("systemctl", "show", "-P", "MainPID", "gmemd.service"), pid)

    def wait_for(self, what, condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)

    def status(self):
        return self.run_in("systemctl", "show", "-P", "StatusText", "gmemd.service")

    def test_what_applies_is_what_systemctl_cat_shows(self):
        words = [os.environ["GMEMD_SEED"]] if "GMEMD_SEED" in os.environ else []
        process = self.machine.popen(
            "/usr/bin/python3", "-B", INSIDE + "layouts_inside.py",
            UNIT_CAT.replace(BUILD, "/run/gmemd-build"), GMEMCTL, LAYOUTS, *words, stdout=-1,
            stderr=-2, stdin=-3, text=True)
        output = process.communicate(timeout=120)[0]
        self.assertEqual(process.returncode, 0, output)
        result = json.loads(output.splitlines()[-1])
        self.assertIsNone(result["differs"])
        print(result["seen"])
        self.assertGreater(min(result["seen"][what] for what in ("loaded", "masked", "assigned")), 0)

    def test_a_reload_applies_a_drop_in_and_tells_where_it_is(self):
        self.write(DROPIN, "[X-Gmemd]\\n\\nDomainsMax=5\\n")
        self.reload()
        self.wait_for("the drop-in does not apply",
                      lambda: self.policy("acme")["DomainsMax"] == ("5", DROPIN + ":3"))

    def test_a_bad_value_is_found_by_a_check_and_a_reload_keeps_what_there_was(self):
        self.write(DROPIN, "[X-Gmemd]\\nDomainsMax=6\\n")
        self.reload()
        self.wait_for("the drop-in does not apply",
                      lambda: self.policy("acme")["DomainsMax"][0] == "6")
        self.assertEqual(self.ctl("policy", "check"), "a reload would succeed")
        self.write(DROPIN, "[X-Gmemd]\\nDomainsMax=7\\nMemoryMax=much\\n")
        said = self.ctl("policy", "check", "acme", check=False)
        self.assertIn(f"{DROPIN}:3: MemoryMax: ", said)
        self.assert_reload_fails(f"{DROPIN}:3: MemoryMax: ")
        self.assertEqual(self.policy("acme")["DomainsMax"][0], "6")
        # Nobody checks before a signal.
        self.run_in("systemctl", "kill", "--kill-who=main", "-s", "HUP", "gmemd.service")
        self.wait_for("nothing is said", lambda: f"{DROPIN}:3: MemoryMax: " in self.status())
        self.assertEqual(self.policy("acme")["DomainsMax"][0], "6")

    def test_a_reload_fails_for_a_fault_of_a_tenant_that_is_not_served_yet(self):
        dropin = "/etc/systemd/system/gmemd@later.socket.d/policy.conf"
        self.write(dropin, "[X-Gmemd]\\nDomainsMax=many\\n")
        self.assert_reload_fails(f"{dropin}:2: DomainsMax: ")
        self.run_in("rm", dropin)
        self.reload()

    def test_a_tenant_with_a_bad_unit_is_shut_out_at_a_start_and_comes_back(self):
        self.write(DROPIN, "[X-Gmemd]\\nMemoryMax=much\\n")
        self.run_in("systemctl", "restart", "gmemd.service")
        self.ctl("list")
        value, source = self.policy("acme")["SessionsMax"]
        self.assertEqual(value, "0")
        self.assertIn(DROPIN, source)
        self.run_in("rm", DROPIN)
        self.reload()
        self.wait_for("it stays shut out", lambda: self.policy("acme")["SessionsMax"][0] == "64")

    def test_the_hosts_limits_are_those_of_the_service_and_doctor_tells_them(self):
        path = "/run/systemd/system/gmemd.service.d/limits.conf"
        self.write(path, "[X-Gmemd]\\nMemoryMax=3G\\nJobsMax=11\\n")
        self.reload()
        self.wait_for("the limit does not apply",
                      lambda: self.policy()["MemoryMax"] == ("3G", path + ":2"))
        self.assertRegex(self.ctl("doctor"), rf"JobsMax +11 +{path}:3")
        stats = json.loads(self.ctl("--json", "stats"))["accounts"][0]
        self.assertEqual(stats["resources"]["memory"]["limit"], 3 << 30)
        self.run_in("rm", path)
        self.reload()
        self.wait_for("it stays", lambda: self.policy()["MemoryMax"][1] is None)


if __name__ == "__main__":
    machine.demand_what_is_needed()
    unittest.main(verbosity=2)
