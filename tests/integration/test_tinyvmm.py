#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""tinyvmm, without rights of its own, runs a guest on memory that outlives it."""
import os
import re
import shutil
import signal
import subprocess
import tempfile

import harness
from harness import MIB

NOBODY = 65534


class TinyVmm(harness.DaemonCase):
    TENANTS = {"acme": ""}

    def setUp(self):
        super().setUp()
        os.chown(self.daemon.socket("acme"), 0, NOBODY)
        self.home = tempfile.mkdtemp(prefix="gmemd-it-")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        os.chown(self.home, NOBODY, NOBODY)
        self.token = os.path.join(self.home, "token")

    def need(self, kind, kvm=True):
        host = self.daemon.admin.host()
        backend = next(b for b in host.backends if b.kind == kind.encode())
        if not backend.usable:
            self.skipTest(f"no {kind}: {backend.reason.decode()}")
        if kvm and not host.kvm:
            self.skipTest(f"no KVM: {host.kvm_reason.decode()}")

    def start(self, log, *args):
        """A tinyvmm that is nobody: (process, path of what it says)."""
        path = os.path.join(self.home, log)
        with open(path, "wb") as out:
            vmm = subprocess.Popen(
                [harness.program("tinyvmm"), "--address", self.daemon.socket("acme"),
                 "--tick-ms", "2", *args],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.home,
                user=NOBODY, group=NOBODY, extra_groups=[])
        self.addCleanup(lambda: (vmm.poll() is None and vmm.kill(), vmm.wait()))
        return vmm, path

    def said(self, path):
        with open(path, encoding="utf-8") as file:
            return file.read()

    def wait_said(self, path, words):
        self.assertIsNotNone(harness.wait_until(lambda: words in self.said(path)), self.said(path))

    def ticks(self, path):
        return [int(n) for n in re.findall(r"^guest: tick (\d+)$", self.said(path), re.MULTILINE)]

    def survive(self, *args):
        """kill -9 in mid-run; the next one goes on from the counter, with all pages intact."""
        first, log = self.start("first", "--size", "64M", "--name", "guest1", "--token-file",
                                self.token, *args)
        self.wait_said(log, "guest: tick 20\n")
        [row] = self.daemon.admin.list_domains("acme")
        self.assertEqual((row.name, row.owner_pid, row.owner_uid, row.reserved_bytes),
                         (b"guest1", first.pid, NOBODY, 64 * MIB))
        first.send_signal(signal.SIGKILL)
        first.wait()
        self.assertIsNotNone(harness.wait_until(
            lambda: not self.daemon.admin.domain_get(row.domain).attached))

        second, again = self.start("second", "--attach", "--token-file", self.token, "--ticks", "5",
                                   *args)
        self.assertEqual(second.wait(harness.PATIENCE), 0, self.said(again))
        ticks = self.ticks(log)
        self.assertEqual(ticks, list(range(1, len(ticks) + 1)))
        found = re.search(r"guest: my memory is back, counter was (\d+), "
                          r"pages checked and intact: (\d+)\n", self.said(again))
        counter, intact = map(int, found.groups())
        # The counter may be one ahead of what reached the log.
        self.assertIn(counter - ticks[-1], (0, 1))
        self.assertEqual(intact, counter)
        self.assertEqual(self.ticks(again), list(range(counter + 1, counter + 6)))
        with open(self.token, encoding="ascii") as file:
            name, token = file.read().split()
        self.client().domain_destroy(int(name, 16), bytes.fromhex(token))
        return self.said(log)

    def test_a_guest_on_guest_memfd_survives_its_vmm(self):
        self.need("guest-memfd")
        said = self.survive("--kind", "guest-memfd")
        self.assertIn(f"I am uid {NOBODY}; opening /dev/kvm myself:", said)
        self.assertIn("64 MiB of guest-memfd from gmemd", said)
        self.assertIn("and an open /dev/kvm", said)

    def test_a_guest_on_memfd_survives_its_vmm(self):
        self.need("memfd")
        self.survive("--kind", "memfd")

    def test_a_process_in_the_guests_part_survives_its_vmm(self):
        self.need("memfd", kvm=False)
        self.survive("--kind", "memfd", "--process")

    def test_a_guest_whose_memory_is_allocated_first_runs_too(self):
        self.need("guest-memfd")
        vmm, log = self.start("log", "--size", "64M", "--allocate", "--ticks", "3")
        self.assertEqual(vmm.wait(harness.PATIENCE), 0, self.said(log))
        self.assertEqual(self.ticks(log), [1, 2, 3])

    def test_a_bound_guest_leaves_nothing_behind(self):
        self.need("memfd", kvm=False)
        vmm, log = self.start("log", "--kind", "memfd", "--process")
        self.wait_said(log, "guest: tick 3\n")
        vmm.kill()
        vmm.wait()
        self.assertIsNotNone(harness.wait_until(self.daemon.books_are_empty, harness.AT_ONCE))

    def test_a_guest_with_private_memory_converts_its_own_pages(self):
        self.need("sw-protected")
        vmm, log = self.start("log", "--kind", "sw-protected", "--size", "64M", "--ticks", "50")
        self.assertEqual(vmm.wait(harness.PATIENCE), 0, self.said(log))
        said = self.said(log)
        self.assertEqual(self.ticks(log), list(range(1, 51)), said)
        self.assertEqual(said.count("was private, then shared, then private again"), 50, said)
        # Nothing of a private page, and what the guest writes to a shared one.
        seen = re.findall(r"has its page I see (\w+)$", said, re.MULTILINE)
        self.assertEqual(seen, ["0", "0x5a5a5a5a"] * 50, said)

    def test_the_vmm_can_do_without_dev_kvm(self):
        self.need("guest-memfd")
        if os.stat("/dev/kvm").st_mode & 0o006:
            self.skipTest("/dev/kvm is open to everybody on this host")
        vmm, log = self.start("log", "--ticks", "1")
        self.assertEqual(vmm.wait(harness.PATIENCE), 0, self.said(log))
        self.assertIn("opening /dev/kvm myself: Permission denied", self.said(log))

    def test_a_wrong_token_gets_nothing(self):
        with open(self.token, "w", encoding="ascii") as file:
            file.write("0123456789abcdef " + "00" * 32 + "\n")
        os.chown(self.token, NOBODY, NOBODY)
        vmm, log = self.start("log", "--attach", "--token-file", self.token)
        self.assertEqual(vmm.wait(harness.PATIENCE), 1)
        self.assertIn("attach: domain: there is no such object", self.said(log))

    def test_who_may_not_open_the_socket_is_not_the_tenant(self):
        os.chown(self.daemon.socket("acme"), 0, 0)
        vmm, log = self.start("log")
        self.assertEqual(vmm.wait(harness.PATIENCE), 1)
        self.assertIn("Permission denied", self.said(log))


if __name__ == "__main__":
    harness.main()
