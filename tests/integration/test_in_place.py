#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Memory that the kernel converts in place, on the platform model: a VMM on libgmem, gmemd and its workers.

No kernel at hand has KVM_SET_MEMORY_ATTRIBUTES2; the model answers it as the kernel's series does. What the model cannot
show (a touch of a private page is a SIGBUS; what a page holds after it was converted) is not looked at here.
"""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import harness
from manager import Manager

SW_PROTECTED = ("sw-protected", "1")
FOREVER = 1000000
SLOTS = "SevEsSlots=8\n"


class Vmm:
    """t_in_place, told what to do line by line."""

    def __init__(self, case, socket, kind, number):
        self.process = subprocess.Popen([os.path.join(harness.BUILD, "tests", "t_in_place"), socket, kind, number],
                                        env={**os.environ, **case.env}, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        case.addCleanup(self.end)
        self.said = self.process.stdout.readline().strip()

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self):
        return self.process.stdout.readline().strip()

    def ask(self, line):
        self.tell(line)
        return self.hear()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class InPlace(unittest.TestCase):
    def setUp(self):
        if harness.SANITIZED:
            self.skipTest("the model is preloaded, which sanitizers do not allow")
        self.folder = tempfile.mkdtemp(prefix="gmemd-it-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.machine = os.path.join(self.folder, "machine")
        self.env = {"GM_PLATFORM": self.machine,
                    "LD_PRELOAD": os.path.join(harness.BUILD, "lib", "libgm_platform.so")}
        self.platform("new", self.machine, "7.2", "in-place=1")
        self.addCleanup(self.platform, "remove", self.machine)

    def platform(self, *args):
        return subprocess.run([harness.program("gm-platform"), *args], check=True, text=True, capture_output=True,
                              timeout=harness.PATIENCE).stdout

    def set(self, setting):
        self.platform("set", self.machine, setting)

    def daemon(self, policy=""):
        daemon = harness.Daemon({"acme": SLOTS + policy}, env=self.env,
                                args=["--cgroup-root", self.machine + ".d", "--sandbox", "off"])
        return self.enterContext(daemon)

    def vmm(self, daemon, kind=SW_PROTECTED):
        vmm = Vmm(self, daemon.socket("acme"), *kind)
        if "guest_memfd" in vmm.said:
            self.skipTest(vmm.said)
        self.assertIn("bound", vmm.said)
        return vmm

    def assert_nothing_is_left(self, daemon):
        self.assertIsNotNone(harness.wait_until(daemon.books_are_empty), daemon.used("acme"))
        left = harness.wait_until(lambda: re.search(r"^vms 0\nguest_memfds 0\n", self.platform("show", self.machine),
                                                    re.MULTILINE))
        self.assertIsNotNone(left, self.platform("show", self.machine))


class Conversions(InPlace):
    def test_a_guest_has_one_file_which_is_converted_without_the_vmm(self):
        daemon = self.daemon()
        vmm = self.vmm(daemon)
        # A memfd of gmemd's would have the size too: the file is the VMM's own guest_memfd.
        self.assertIn("guest_memfds 1\n", self.platform("show", self.machine))
        self.assertEqual(vmm.ask("shared 0 4"), "ok")
        self.assertEqual(vmm.ask("fill 0 4 90"), "ok")
        self.assertEqual(vmm.ask("shared 8 2"), "ok")
        self.assertEqual(vmm.ask("private 8 1"), "ok")
        self.assertEqual(vmm.ask("check 0 4 90"), "ok")
        self.assertEqual(vmm.ask("map"), "map 0+4=shared 4+4=absent 8+1=private 9+1=shared 10+6=absent")
        self.assertTrue(daemon.admin.list_domains()[0].in_place)
        vmm.end()
        self.assert_nothing_is_left(daemon)

    def test_the_kind_says_that_it_is_converted_in_place(self):
        daemon = self.daemon()
        found = {b.kind: b for b in daemon.admin.host().backends}
        for kind in (b"sw-protected", b"snp", b"tdx"):
            self.assertIn(b"in-place-conversion", found[kind].capabilities)
            self.assertIn(b"converted in place", found[kind].reason)
        doctor = subprocess.run([harness.program("gmemctl"), "--address", daemon.socket("admin"), "doctor"], text=True,
                                env={**os.environ, **self.env}, capture_output=True, timeout=harness.PATIENCE,
                                check=False).stdout
        self.assertIn("converted in place", doctor)

    def test_a_policy_may_refuse_it(self):
        daemon = self.daemon("ConvertInPlace=no\n")
        vmm = Vmm(self, daemon.socket("acme"), *SW_PROTECTED)
        self.assertIn("ConvertInPlace", vmm.said)

    def test_a_vm_without_private_memory_gets_no_region(self):
        daemon = self.daemon()
        vmm = Vmm(self, daemon.socket("acme"), "sw-protected", "2")
        self.assertIn("needs one of type 1", vmm.said)
        vmm.end()
        self.assert_nothing_is_left(daemon)


class Held(InPlace):
    """Pages that somebody holds, as the model does for so many requests."""

    def held(self, daemon):
        vmm = self.vmm(daemon)
        self.assertEqual(vmm.ask("shared 0 16"), "ok")
        self.assertEqual(vmm.ask("fill 0 16 7"), "ok")
        return vmm

    def test_they_are_waited_for(self):
        vmm = self.held(self.daemon())
        self.set("busy=6")
        began = time.monotonic()
        self.assertEqual(vmm.ask("private 0 16"), "ok")
        # 1, 2, 4... 32 ms.
        self.assertGreater(time.monotonic() - began, 0.063)
        self.assertEqual(vmm.ask("map"), "map 0+16=private")

    def test_after_5_s_it_is_busy_and_all_is_as_it_was(self):
        vmm = self.held(self.daemon())
        self.set(f"busy={FOREVER}")
        began = time.monotonic()
        self.assertRegex(vmm.ask("private 4 8"), r"^busy/pages-held offset 4194304: ")
        took = time.monotonic() - began
        self.assertGreater(took, 4.9)
        self.assertLess(took, 8)
        self.set("busy=0")
        self.assertEqual(vmm.ask("map"), "map 0+16=shared")
        self.assertEqual(vmm.ask("private 4 8"), "ok")

    def test_a_worker_that_is_killed_over_them_is_followed_by_another(self):
        daemon = self.daemon()
        vmm = self.held(daemon)
        self.set(f"busy={FOREVER}")
        vmm.tell("private 0 16")
        for _ in range(2):
            self.assertIsNotNone(harness.wait_until(daemon.workers))
            worker = daemon.workers()[0]
            os.kill(worker, signal.SIGKILL)
            self.assertIsNotNone(harness.wait_until(lambda dead=worker: dead not in daemon.workers()))
        self.set("busy=0")
        self.assertEqual(vmm.hear(), "ok")
        self.assertEqual(vmm.ask("map"), "map 0+16=private")

    def test_a_vmm_that_dies_over_them_leaves_nothing(self):
        daemon = self.daemon()
        vmm = self.held(daemon)
        self.set(f"busy={FOREVER}")
        vmm.tell("private 0 16")
        harness.wait_until(daemon.workers)
        vmm.end()
        self.assert_nothing_is_left(daemon)


class Population(InPlace):
    SNP = ("snp", "4")

    def digest(self):
        return re.findall(r"\b[0-9a-f]{96}\b", self.platform("show", self.machine))

    def filled(self, daemon):
        vmm = self.vmm(daemon, self.SNP)
        self.assertEqual(vmm.ask("shared 0 2"), "ok")
        self.assertEqual(vmm.ask("fill 0 2 90"), "ok")
        return vmm

    def test_the_firmware_measures_what_the_pages_hold(self):
        daemon = self.daemon()
        vmm = self.vmm(daemon, self.SNP)
        self.assertEqual(vmm.ask("source 0 2 90"), "ok")
        wanted = self.digest()
        vmm.end()
        self.assert_nothing_is_left(daemon)
        vmm = self.filled(daemon)
        # In parts, as the kernel likes to: no source stays none.
        self.set("short=100")
        self.assertEqual(vmm.ask("populate 0 2"), "ok")
        self.assertEqual(self.digest(), wanted)
        self.assertEqual(vmm.ask("map"), "map 0+2=measured 2+14=absent")
        self.assertEqual(vmm.ask("finish"), "ok")
        shown = subprocess.run([harness.program("gmemctl"), "--address", daemon.socket("acme"), "show",
                                f"{daemon.admin.list_domains()[0].domain:016x}"], text=True, capture_output=True,
                               timeout=harness.PATIENCE, check=False).stdout
        self.assertIn("populated in place", shown)

    def test_a_policy_that_asks_for_a_measurement_refuses_it_before_anything_is_done(self):
        daemon = self.daemon("MeasurementAllow=" + 96 * "0" + "\n")
        vmm = self.filled(daemon)
        self.assertRegex(vmm.ask("populate 0 2"), r"^denied/MeasurementAllow ")
        self.assertEqual(vmm.ask("map"), "map 0+2=shared 2+14=absent")

    def test_a_page_that_was_private_before_is_refused(self):
        vmm = self.filled(self.daemon())
        self.assertEqual(vmm.ask("private 0 1"), "ok")
        self.assertRegex(vmm.ask("populate 0 1"), r"^wrong-state/page-state ")
        self.assertRegex(vmm.ask("populate 4 1"), r"^wrong-state/page-state ")
        self.assertEqual(vmm.ask("populate 1 1"), "ok")
        self.assertRegex(vmm.ask("populate 1 1"), r"^wrong-state/page-state ")

    def test_it_goes_on_with_the_next_daemon(self):
        manager = Manager(args=["--cgroup-root", self.machine + ".d"], sandbox="off", env=self.env)
        self.enterContext(manager)
        with open(manager.path("acme.policy"), "w", encoding="utf-8") as file:
            file.write("[X-Gmemd]\n" + SLOTS)
        manager.start()
        vmm = self.filled(manager)
        self.set(f"busy={FOREVER}")
        vmm.tell("populate 0 2")
        self.assertIsNotNone(harness.wait_until(lambda: harness.descendants(manager.pid)))
        time.sleep(0.1)
        manager.kill()
        self.set("busy=0")
        manager.start()
        self.assertEqual(vmm.hear(), "ok")
        self.assertEqual(vmm.ask("map"), "map 0+2=measured 2+14=absent")
        self.assertEqual(vmm.ask("finish"), "ok")


class Restart(InPlace):
    def test_a_conversion_goes_on_with_the_next_daemon(self):
        manager = self.enterContext(Manager(args=["--cgroup-root", self.machine + ".d"], sandbox="off", env=self.env))
        manager.start()
        vmm = self.vmm(manager)
        self.assertEqual(vmm.ask("shared 0 16"), "ok")
        self.assertEqual(vmm.ask("fill 0 16 7"), "ok")
        self.set(f"busy={FOREVER}")
        vmm.tell("private 0 12")
        self.assertIsNotNone(harness.wait_until(lambda: harness.descendants(manager.pid)))
        time.sleep(0.1)
        manager.kill()
        self.set("busy=0")
        manager.start()
        self.assertEqual(vmm.hear(), "ok")
        self.assertEqual(vmm.ask("map"), "map 0+12=private 12+4=shared")
        self.assertEqual(vmm.ask("shared 0 1"), "ok")
        vmm.end()


if __name__ == "__main__":
    harness.main()
