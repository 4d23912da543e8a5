#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Debian packages on a host with a real systemd: what an operator types, and what comes of it.

$GMEMD_PACKAGES is the folder of the packages, $GMEMD_BUILD the build folder.
"""
import contextlib
import glob
import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.realpath(os.path.join(HERE, "..", ".."))
sys.path.insert(0, os.path.join(SOURCE, "tests", "system"))

import machine  # noqa: E402  (needs the path above)

BUILD = os.environ["GMEMD_BUILD"]
PACKAGES = os.environ["GMEMD_PACKAGES"]
INSIDE = "/run/gmemd-source/tests/system/inside.py"
SERVICE = "gmemd.service"
PATIENCE = 20.0


def package(name):
    found = glob.glob(os.path.join(PACKAGES, f"{name}_*.deb"))
    if len(found) != 1:
        machine.skip(f"no package {name} was built")
    return found[0]


def another_version(path, folder):
    """The package again, of a later version and with another program, which does the same."""
    tree = os.path.join(folder, "tree")
    result = os.path.join(folder, "another.deb")
    subprocess.run(["sh", "-ec", """
        dpkg-deb -R "$1" "$2"
        sed -i 's/^Version: .*/&+another1/' "$2/DEBIAN/control"
        echo another build >>"$2/usr/sbin/gmemd"
        cd "$2" && find usr etc -type f -exec md5sum {} + >DEBIAN/md5sums
        dpkg-deb --root-owner-group -b "$2" "$3" >/dev/null""", "sh", path, tree, result],
                   check=True)
    return result


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.machine = cls.enterClassContext(machine.Machine({
            "/root/gmemd.deb": package("gmemd"),
            "/root/libgmem0.deb": package("libgmem0"),
            "/root/python3-gmem.deb": package("python3-gmem"),
            "/root/another.deb": another_version(package("gmemd"), folder),
        }, BUILD, SOURCE))
        cls.run_in = cls.machine.run
        # Some images forbid packages to start anything.
        cls.run_in("rm", "-f", "/usr/sbin/policy-rc.d")
        # The index of manual pages is not what is tested, and takes its time.
        cls.run_in("rm", "-f", "/var/lib/man-db/auto-update")
        cls.run_in("useradd", "--system", "vmm-acme")
        cls.run_in("useradd", "--system", "vmm-beta")

    def setUp(self):
        self.dpkg("-i", "/root/libgmem0.deb", "/root/python3-gmem.deb", "/root/gmemd.deb")
        self.addCleanup(self.purge)
        self.addCleanup(self.show_log_of_a_failure)

    def dpkg(self, *arguments):
        return self.run_in("env", "DEBIAN_FRONTEND=noninteractive", "dpkg",
                           "--force-unsafe-io", *arguments)

    def purge(self):
        self.dpkg("-P", "gmemd", "python3-gmem", "libgmem0")
        self.run_in("sh", "-c", "rm -rf /etc/systemd/system/gmemd* /tmp/kept-*")
        self.run_in("systemctl", "daemon-reload")
        self.run_in("systemctl", "reset-failed")

    def show_log_of_a_failure(self):
        outcome = self._outcome.result
        if any(test is self for test, _ in outcome.failures + outcome.errors):
            sys.stderr.write(self.run_in("journalctl", "--no-pager", "-n", "40", "-u", "gmemd*")
                             + "\n")

    # What an operator types.

    def say_who(self, tenant, memory_max="1G"):
        self.run_in("sh", "-ec", f"""
            mkdir -p /etc/systemd/system/gmemd@{tenant}.socket.d
            printf '[Socket]\\nSocketUser=vmm-{tenant}\\n[X-Gmemd]\\nMemoryMax={memory_max}\\n' \
                >/etc/systemd/system/gmemd@{tenant}.socket.d/tenant.conf
            systemctl daemon-reload""")

    def add_first_tenant(self, tenant="acme"):
        self.say_who(tenant)
        self.run_in("systemctl", "enable", "--now", f"gmemd@{tenant}.socket")

    def add_tenant(self, tenant):
        self.say_who(tenant)
        self.run_in("systemctl", "enable", f"gmemd@{tenant}.socket")
        self.run_in("systemctl", "restart", "gmemd.target")

    # What a VMM does.

    def as_user(self, tenant, *command):
        return ("setpriv", f"--reuid=vmm-{tenant}", f"--regid=vmm-{tenant}", "--clear-groups",
                *command)

    def client(self, tenant, action, check=True):
        output = self.run_in(*self.as_user(tenant, "/usr/bin/python3", "-B", INSIDE, action,
                                           f"/run/gmemd/{tenant}.sock", f"/tmp/kept-{tenant}"),
                             check=check)
        return json.loads(output.splitlines()[-1]) if check else output

    @contextlib.contextmanager
    def guests(self, tenant):
        """Guests of the tenant that look at their memory all the time, whatever the block does."""
        process = self.machine.popen(*self.as_user(tenant, "/usr/bin/python3", "-B", INSIDE,
                                                   "load", f"/run/gmemd/{tenant}.sock"),
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline().strip(), "busy")
        yield
        result = json.loads(process.communicate(timeout=PATIENCE)[0].splitlines()[-1])
        self.assertEqual(result["errors"], [])

    def assert_same_memory(self, tenant):
        found = self.client(tenant, "check")
        self.assertGreater(found["domains"], 0)
        self.assertEqual(found["same"], found["domains"])

    def show(self, key, unit=SERVICE):
        return self.run_in("systemctl", "show", "-P", key, unit)

    def processes(self):
        group = "/sys/fs/cgroup" + self.show("ControlGroup")
        return self.run_in("sh", "-c", f"cat {group}/cgroup.procs").split()

    # What comes of it.

    def test_an_installation_starts_no_tenant(self):
        self.assertEqual(self.show("ActiveState"), "inactive")
        self.assertEqual(self.show("ActiveState", "gmemd-admin.socket"), "active")
        self.assertEqual(self.run_in("systemctl", "list-units", "--no-legend", "--plain",
                                     "gmemd@*.socket"), "")
        self.assertIn("gmemd", self.run_in("getent", "passwd", "gmemd"))
        self.assertEqual(self.run_in("stat", "-c", "%U %a", "/run/gmemd"), "root 755")

    def test_systemd_has_nothing_to_say_about_the_installed_units(self):
        said = self.run_in("systemd-analyze", "verify", "--recursive-errors=no", "gmemd.service",
                           "gmemd@acme.socket", "gmemd-admin.socket", "gmemd.target")
        self.assertEqual(said, "")
        # Its texts for the messages are in the catalogue.
        self.assertIn("gmemd", self.run_in("journalctl", "--no-pager", "--list-catalog"))

    def test_enabling_a_socket_is_all_it_takes(self):
        self.add_first_tenant()
        # With what was installed, and nothing of the build.
        said = self.run_in(*self.as_user(
            "acme", "/usr/bin/python3", "-c",
            "import gmem, mmap\n"
            "client = gmem.Client('/run/gmemd/acme.sock')\n"
            "region = client.region_create(client.domain_create('memfd'), 1 << 20)\n"
            "with mmap.mmap(region.memory.fileno(), 1 << 20) as memory:\n"
            "    memory[:4] = b'good'\n"
            "print(gmem.__file__, client.limits.tenant)"))
        self.assertEqual(said, "/usr/lib/python3/dist-packages/gmem.py b'acme'")
        self.assertRegex(self.run_in("gmemctl", "--address", "/run/gmemd/acme.sock", "stats"),
                         r"(?m)^ *sessions +1 ")

    def test_a_socket_is_for_its_user_only(self):
        self.add_first_tenant()
        said = self.run_in(*self.as_user("beta", "gmemctl", "--address", "/run/gmemd/acme.sock",
                                         "list"), check=False)
        self.assertIn("Permission denied", said)

    def policy(self, *action):
        return self.run_in("gmemctl", "--address", "/run/gmemd/admin.sock", "policy", *action,
                           check=False)

    def test_a_policy_is_looked_at_changed_and_reloaded(self):
        self.add_first_tenant()
        self.assertRegex(self.policy("show", "acme"),
                         r"(?m)^ *MemoryMax +1G +.*/gmemd@acme.socket.d/tenant.conf:4$")
        self.say_who("acme", memory_max="2G")
        self.run_in("systemctl", "reload", SERVICE)
        self.assertRegex(self.policy("show", "acme"), r"(?m)^ *MemoryMax +2G ")
        self.say_who("acme", memory_max="plenty")
        self.assertIn("tenant.conf:4: MemoryMax", self.policy("check"))
        self.run_in("systemctl", "reload", SERVICE, check=False)
        self.assertRegex(self.policy("show", "acme"), r"(?m)^ *MemoryMax +2G ")
        self.assertEqual(self.show("ActiveState"), "active")

    def test_tenants_come_and_go_while_a_guest_keeps_its_memory(self):
        self.add_first_tenant()
        self.client("acme", "create")
        with self.guests("acme"):
            self.add_tenant("beta")
            self.assertEqual(self.client("beta", "hello")["tenant"], "beta")
            self.assert_same_memory("acme")
            self.run_in("systemctl", "disable", "--now", "gmemd@beta.socket")
            self.run_in("systemctl", "restart", SERVICE)
            self.assertIn("No such file", self.client("beta", "hello", check=False))
            self.assert_same_memory("acme")

    def test_an_upgrade_keeps_all_memory(self):
        self.add_first_tenant()
        self.client("acme", "create")
        old = self.show("MainPID")
        with self.guests("acme"):
            self.dpkg("-i", "/root/another.deb")
            self.assertNotEqual(self.show("MainPID"), old)
            self.run_in("sh", "-c", f"tail -c 14 /proc/{self.show('MainPID')}/exe | "
                        "grep -qx 'another build'")
            self.assert_same_memory("acme")
            # And back.
            self.dpkg("-i", "/root/gmemd.deb")
            self.assert_same_memory("acme")

    def test_no_process_of_the_service_is_root(self):
        self.add_first_tenant()
        self.client("acme", "create")
        with self.guests("acme"):
            pids = self.processes()
            # The daemon, the spawner, and a worker at least.
            self.assertGreaterEqual(len(pids), 3)
            for pid in pids:
                text = self.run_in("cat", f"/proc/{pid}/status", check=False)
                if "No such file" in text:
                    continue
                lines = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
                self.assertNotIn("0", lines["Uid"].split(), text)
                self.assertNotIn("0", lines["Gid"].split(), text)
                self.assertEqual((lines["NoNewPrivs"], lines["Seccomp"]), ("1", "2"), text)

    def test_a_removal_stops_everything_and_a_purge_forgets_it(self):
        self.add_first_tenant()
        self.client("acme", "hello")
        self.dpkg("-r", "gmemd")
        self.assertEqual(self.run_in("pgrep", "-x", "gmemd", check=False), "")
        self.assertEqual(self.run_in("sh", "-c", "ls /run/gmemd 2>/dev/null", check=False), "")
        self.dpkg("-P", "gmemd")
        # The drop-in that the operator has written is not the package's.
        self.run_in("rm", "-r", "/etc/systemd/system/gmemd@acme.socket.d")
        left = self.run_in("find", "/etc", "/usr/lib", "/usr/sbin", "/usr/share", "/var/lib/systemd",
                           "/run/gmemd", "-name", "*gmemd*", check=False).splitlines()
        self.assertEqual([line for line in left if "No such file" not in line], [])

    def test_what_an_operator_has_disabled_stays_disabled(self):
        self.run_in("systemctl", "disable", "--now", "gmemd-admin.socket")
        self.dpkg("-i", "/root/another.deb")
        self.assertEqual(self.show("ActiveState", "gmemd-admin.socket"), "inactive")
        self.assertEqual(self.run_in("systemctl", "is-enabled", "gmemd-admin.socket", check=False),
                         "disabled")


if __name__ == "__main__":
    machine.demand_what_is_needed()
    unittest.main(verbosity=2)
