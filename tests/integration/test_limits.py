#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Rates and grants on the real daemon: who is over a limit waits, or is told why; nobody else does."""
import resource
import time

import harness
from harness import MIB, gmem, pb


class Limits(harness.DaemonCase):
    TENANTS = {
        "slow": "RequestsRate=100\nAllocateRate=16M\n",
        "quick": "",
        "locker": "MemlockMax=1M\n",
    }

    def test_requests_over_the_rate_are_all_answered_later(self):
        slow = self.client("slow")
        began = time.monotonic()
        for _ in range(250):
            slow.ping()
        # A second's worth at once, the others at the rate.
        self.assertGreater(time.monotonic() - began, 1.2)

    def test_a_neighbour_does_not_wait(self):
        slow, quick = self.client("slow"), self.client("quick")
        serials = [slow.start(pb.PingRequest()) for _ in range(200)]
        began = time.monotonic()
        for _ in range(200):
            quick.ping()
        took = time.monotonic() - began
        for serial in serials:
            slow.wait(serial)
        # 100 of the other's had to wait for a second.
        self.assertGreater(time.monotonic() - began, 0.7)
        self.assertLess(took, 0.7)

    def test_bytes_over_the_rate_are_allocated_later(self):
        slow = self.client("slow")
        _, region = self.domain_and_region(slow, 16 * MIB)
        began = time.monotonic()
        for part in range(4):
            self.assertEqual(slow.allocate(region, [(part * 4 * MIB, 4 * MIB)]), 4 * MIB)
        self.assertLess(time.monotonic() - began, 0.9)
        slow.discard(region, [(0, 16 * MIB)])
        slow.allocate(region, [(0, 16 * MIB)])
        slow.discard(region, [(0, 16 * MIB)])
        slow.allocate(region, [(0, 4 * MIB)])
        self.assertGreater(time.monotonic() - began, 0.9)

    def test_locked_memory_is_granted_to_this_process_and_taken_back(self):
        locker = self.client("locker")
        domain = locker.domain_create()
        before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        if before[0] == resource.RLIM_INFINITY:
            self.skipTest("this process may lock all memory as it is")
        soft = min(before[0], 64 * 4096)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, before[1]))
        try:
            answer = locker.call(pb.MemlockRequest(domain=domain.id, bytes=8192))
            self.assertEqual(answer.reply.limit, soft + 8192)
            self.assertEqual(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0], soft + 8192)
            self.assertEqual(self.daemon.used("locker")["memlock"], 8192)
            with self.refused("OVER_LIMIT", "MEMLOCK_MAX", limit=MIB, asked=2 * MIB):
                locker.call(pb.MemlockRequest(domain=domain.id, bytes=2 * MIB))
            locker.domain_destroy(domain)
            self.assertEqual(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0], soft)
            self.assertNotIn("memlock", self.daemon.used("locker"))
        finally:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, before)

    def test_who_was_given_no_locked_memory_has_none(self):
        quick = self.client("quick")
        domain = quick.domain_create()
        with self.refused("OVER_LIMIT", "MEMLOCK_MAX", limit=0, asked=4096):
            quick.call(pb.MemlockRequest(domain=domain.id, bytes=4096))

    def test_a_slot_that_nobody_allows_is_refused(self):
        quick = self.client("quick")
        name = quick.call(pb.HostRequest()).reply.slots[0].name
        with self.refused("OVER_LIMIT", "SLOTS", limit=0, used=0, asked=1):
            quick.call(pb.DomainCreateRequest(kind=b"memfd", slot=name))


if __name__ == "__main__":
    harness.main()
