#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""gmemd --keep: whoever dies, clients find somebody at the socket, and their memory."""
import hashlib
import mmap
import os
import select
import signal
import time
import unittest

import harness
from harness import MIB, gmem

# Of one keeper: the first costs no wait, the others 10, 20, 40, ... ms.
DEATHS = 5
# A death, a start and an answer; sanitizers and other tests make everything slower.
FIRST_ANSWER_MS = 5000 if harness.SANITIZED else 500


class KeeperCase(unittest.TestCase):
    ARGS = ()

    def setUp(self):
        self.keeper = harness.Daemon(args=self.ARGS)
        self.keeper.__enter__()
        self.addCleanup(self.keeper.__exit__, None, None, None)
        # Its connection does not outlive the daemon behind it.
        self.keeper.admin.close()
        self.keeper.admin = None

    def daemon_pid(self):
        found = [pid for pid, stat in harness.descendants(self.keeper.pid).items()
                 if stat[1] == self.keeper.pid]
        return found[0] if found else 0

    def client(self):
        client = gmem.Client(self.keeper.socket("acme"))
        self.addCleanup(client.close)
        return client

    def kill_daemon(self):
        """Returns when it is dead."""
        pid = self.daemon_pid()
        pidfd = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        select.select([pidfd], [], [], harness.PATIENCE)
        os.close(pidfd)
        return pid


class Kept(KeeperCase):
    ARGS = ["--keep"]

    def test_after_each_death_a_client_is_answered(self):
        waits = []
        for _ in range(DEATHS):
            start = time.monotonic()
            self.kill_daemon()
            with gmem.Client(self.keeper.socket("acme")) as client:
                client.ping()
            waits.append((time.monotonic() - start) * 1e3)
        print("ms from SIGKILL to the first answer, death by death:",
              *(f"{wait:.1f}" for wait in waits))
        self.assertLess(waits[0], FIRST_ANSWER_MS)

    def test_memory_comes_back_with_its_bytes(self):
        with self.client() as client:
            domain = client.domain_create("memfd", persistent=True)
            region = client.region_create(domain, 16 * MIB)
            with mmap.mmap(region.memory.fileno(), 16 * MIB) as memory:
                memory[:] = os.urandom(16 * MIB)
                before = hashlib.sha256(memory).hexdigest()
            self.kill_daemon()
        with self.client() as client:
            client.domain_attach(domain.id, domain.token)
            again = client.region_get(region.id, with_fd=True)
            with mmap.mmap(again.memory.fileno(), 16 * MIB) as memory:
                self.assertEqual(hashlib.sha256(memory).hexdigest(), before)
            self.assertEqual(os.fstat(again.memory.fileno()).st_ino,
                             os.fstat(region.memory.fileno()).st_ino)
            client.domain_destroy(domain)

    def test_the_death_is_said_with_its_reason(self):
        pid = self.kill_daemon()
        self.keeper.wait_log(f"pid {pid}", "killed by signal 9")

    def test_the_daemon_has_the_options_but_not_the_keepers_and_its_name(self):
        pid = self.daemon_pid()
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
        self.assertNotIn(b"--keep", words)
        self.assertIn(b"--listen", words)
        self.assertEqual(harness.process_stat(pid)[0], "gmemd")

    def test_a_keeper_is_small(self):
        # Files of the program that are mapped count too.
        self.assertLess(self.keeper.rss(), (100 if harness.SANITIZED else 8) * MIB)

    def test_sighup_reaches_the_daemon(self):
        os.kill(self.keeper.pid, signal.SIGHUP)
        self.keeper.wait_log("policies read again")

    def test_the_keeper_ends_with_a_daemon_that_was_asked_to_end(self):
        os.kill(self.daemon_pid(), signal.SIGTERM)
        self.assertEqual(self.keeper.process.wait(harness.PATIENCE), 0)
        self.assertFalse(os.path.exists(self.keeper.socket("acme")))


class Watched(KeeperCase):
    ARGS = ["--keep", "--watchdog", "1"]

    def test_a_daemon_that_hangs_is_replaced(self):
        pid = self.daemon_pid()
        os.kill(pid, signal.SIGSTOP)
        with self.client() as client:
            client.ping()
        self.assertNotEqual(self.daemon_pid(), pid)
        self.keeper.wait_log(f"pid {pid}", "not been heard of")


class BadStart(unittest.TestCase):
    def test_a_bad_policy_is_not_tried_again(self):
        with self.assertRaisesRegex(AssertionError, "ended with 3"):
            with harness.Daemon({"acme": "MemoryMax=much\n"}, args=["--keep"]):
                pass


if __name__ == "__main__":
    harness.main()
