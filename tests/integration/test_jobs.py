#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ALLOCATE and DISCARD do to the memory what they say, and the page map says what they did."""
import contextlib
import ctypes
import mmap
import os
import re
import signal
import struct
import time

import harness
from control_group import ControlGroup, find_root
from harness import AT_ONCE, BIG, MIB, gmem

SYS_CACHESTAT = 451
libc = ctypes.CDLL(None, use_errno=True)


def present_bytes(fd, offset=0, length=0):
    """Bytes of a file that are in memory, as the kernel counts them: cachestat(2)."""
    where = ctypes.create_string_buffer(struct.pack("QQ", offset, length))
    found = ctypes.create_string_buffer(40)
    if libc.syscall(SYS_CACHESTAT, fd.fileno(), where, found, 0) != 0:
        raise OSError(ctypes.get_errno(), "cachestat")
    return struct.unpack_from("Q", found)[0] * 4096


def allocate_without_end(report, path):
    client = gmem.Client(path)
    domain = client.domain_create()
    region = client.region_create(domain, BIG)
    client.start_allocate(region, [(0, BIG)])
    client.wait_event(gmem.PROGRESS)
    report(region.id)
    return client


def shared(runs):
    return sum(length for _, length, state in runs if state == "SHARED")


class Jobs(harness.DaemonCase):
    TENANTS = {"acme": "MemoryMax=16G\nHugePages=2M:64M\n",
               "whole": "HugePages=2M\nPreallocate=yes\n"}

    def kinds(self):
        yield from harness.plain_kinds(self.daemon.admin)

    def check_balance(self):
        # Workers are allowed to stay a while for the next job of a domain, not without a domain.
        super().check_balance()
        self.assertIsNotNone(harness.wait_until(lambda: not self.workers(), 2.0))

    def test_ranges_that_touch_are_as_good_as_one(self):
        client = self.client()
        _, region = self.domain_and_region(client, 64 * MIB)
        ranges = [(n * MIB, MIB) for n in range(8)]
        self.assertEqual(client.allocate(region, ranges), 8 * MIB)
        self.assertEqual(shared(client.region_map(region)), 8 * MIB)
        self.assertEqual(client.discard(region, ranges), 8 * MIB)

    def test_allocate_makes_the_pages_present_and_discard_gives_them_back(self):
        for kind in self.kinds():
            with self.subTest(kind=kind):
                client = self.client()
                _, region = self.domain_and_region(client, 64 * MIB, kind)
                self.assertEqual(present_bytes(region.memory), 0)
                self.assertEqual(client.allocate(region, [(MIB, 32 * MIB)]), 32 * MIB)
                self.assertEqual(present_bytes(region.memory), 32 * MIB)
                self.assertEqual(present_bytes(region.memory, MIB, 32 * MIB), 32 * MIB)
                self.assertEqual(client.region_map(region),
                                 [(0, MIB, "ABSENT"), (MIB, 32 * MIB, "SHARED"),
                                  (33 * MIB, 31 * MIB, "ABSENT")])
                self.assertEqual(client.discard(region, [(2 * MIB, 4096), (8 * MIB, 25 * MIB)]),
                                 25 * MIB + 4096)
                self.assertEqual(present_bytes(region.memory), 7 * MIB - 4096)
                self.assertEqual(client.region_map(region),
                                 [(0, MIB, "ABSENT"), (MIB, MIB, "SHARED"),
                                  (2 * MIB, 4096, "ABSENT"),
                                  (2 * MIB + 4096, 6 * MIB - 4096, "SHARED"),
                                  (8 * MIB, 56 * MIB, "ABSENT")])
                self.assertEqual(client.region_get(region).info.allocated_bytes, 7 * MIB - 4096)
                self.assertEqual(self.daemon.account("acme").allocated_bytes, 7 * MIB - 4096)
                client.close()

    def test_a_memfd_has_the_blocks_that_were_allocated(self):
        client = self.client()
        _, region = self.domain_and_region(client, 64 * MIB)
        client.allocate(region, [(0, 64 * MIB)])
        self.assertEqual(os.fstat(region.memory.fileno()).st_blocks * 512, 64 * MIB)
        client.discard(region, [(0, 64 * MIB)])
        self.assertEqual(os.fstat(region.memory.fileno()).st_blocks, 0)

    def test_hugepages_come_out_of_the_pool(self):
        with harness.hugepages(8):
            client = self.client()
            domain = client.domain_create()
            region = client.region_create(domain, 8 * MIB, page_size=2 * MIB)

            def free():
                return next(p.free for p in client.host().pools if p.page_size == 2 * MIB)

            before = free()
            self.assertEqual(client.allocate(region, [(0, 8 * MIB)]), 8 * MIB)
            self.assertEqual(free(), before - 4)
            client.discard(region, [(2 * MIB, 4 * MIB)])
            self.assertEqual(free(), before - 2)
            with self.refused("INVALID", "OFFSET"):
                client.discard(region, [(4096, 2 * MIB)])
            region.memory.close()
            client.domain_destroy(domain)
            self.assertIsNotNone(harness.wait_until(lambda: free() == before, 2.0))

    @contextlib.contextmanager
    def in_group_with_hugepages(self, limit):
        if find_root("hugetlb") is None:
            self.skipTest("no hugetlb controller")
        group = ControlGroup("gm-huge", "hugetlb")
        self.addCleanup(group.remove)
        group.write("hugetlb.2MB.max", limit)
        with harness.hugepages(8):
            group.join()
            try:
                yield
            finally:
                ControlGroup.leave("hugetlb")

    def test_hugepages_over_the_limit_of_who_asks_are_refused_with_the_figures(self):
        with self.in_group_with_hugepages(4 * MIB):
            with self.client() as client:
                region = client.region_create(client.domain_create(), 8 * MIB, page_size=2 * MIB)
                with self.refused("NO_RESOURCE", "MEMORY_CGROUP") as caught:
                    client.allocate(region, [(0, 8 * MIB)])
                self.assertIn("out of hugepages in cgroup /gm-huge.", caught.exception.text)
                self.assertEqual((caught.exception.limit, caught.exception.used,
                                  caught.exception.asked), (4 * MIB, 0, 8 * MIB))
                self.assertEqual(os.fstat(region.memory.fileno()).st_blocks, 0)
                client.allocate(region, [(0, 4 * MIB)])
                # What is there already needs no room.
                client.allocate(region, [(0, 4 * MIB)])
                with self.refused("NO_RESOURCE", "MEMORY_CGROUP") as caught:
                    client.allocate(region, [(4 * MIB, 2 * MIB)])
                self.assertEqual(caught.exception.used, 4 * MIB)
                region.memory.close()

    def test_hugepages_that_a_tenant_is_granted_allocated_can_all_be_touched(self):
        with self.in_group_with_hugepages(4 * MIB), self.client("whole") as client:
            domain = client.domain_create()
            with self.refused("NO_RESOURCE", "MEMORY_CGROUP"):
                client.region_create(domain, 6 * MIB, page_size=2 * MIB)
            self.assertEqual(list(client.list_regions(domain.id)), [])
            region = client.region_create(domain, 4 * MIB, page_size=2 * MIB)
            # There is no room for another page in the group.
            with mmap.mmap(region.memory.fileno(), 4 * MIB) as memory:
                memory[:] = b"x" * (4 * MIB)
            region.memory.close()

    def test_allocate_keeps_what_was_written_and_discard_makes_it_zero(self):
        for kind in self.kinds():
            with self.subTest(kind=kind):
                client = self.client()
                _, region = self.domain_and_region(client, MIB, kind)
                with mmap.mmap(region.memory.fileno(), MIB) as memory:
                    memory[:] = b"\xa5" * MIB
                    client.allocate(region, [(0, MIB)])
                    self.assertTrue(memory[:] == b"\xa5" * MIB)
                    client.discard(region, [(4096, 4096)])
                    self.assertEqual(memory[4096:8192], bytes(4096))
                    self.assertEqual(memory[:4096] + memory[8192:], b"\xa5" * (MIB - 4096))
                client.close()

    def test_jobs_may_be_repeated(self):
        client = self.client()
        _, region = self.domain_and_region(client, MIB)
        for _ in range(2):
            self.assertEqual(client.allocate(region, [(0, MIB)]), MIB)
        for _ in range(2):
            self.assertEqual(client.discard(region, [(0, MIB)]), MIB)
        self.assertEqual(client.region_map(region), [(0, MIB, "ABSENT")])

    def test_a_batch_of_1024_ranges_in_any_order_makes_the_map_that_it_says(self):
        client = self.client()
        _, region = self.domain_and_region(client, 16 * MIB)
        ranges = [(8192 * i, 4096) for i in range(1024)]
        self.assertEqual(client.allocate(region, ranges[::-1]), 4 * MIB)
        expected = []
        for offset, length in ranges:
            expected += [(offset, length, "SHARED"), (offset + length, 4096, "ABSENT")]
        expected[-1] = (expected[-1][0], 16 * MIB - expected[-1][0], "ABSENT")
        for runs_max in (0, 1000, 7):
            self.assertEqual(client.region_map(region, runs_max), expected)
        page, next_offset = client.region_map_page(region, 0, 7)
        self.assertEqual((len(page), next_offset), (7, page[-1][0] + page[-1][1]))
        for offset, length in ranges[:3]:
            self.assertEqual(present_bytes(region.memory, offset, length), 4096)
            self.assertEqual(present_bytes(region.memory, offset + 4096, 4096), 0)

    def test_a_long_job_tells_how_far_it_is(self):
        client = self.client()
        _, region = self.domain_and_region(client, BIG // 2)
        seen = []
        self.assertEqual(client.allocate(region, [(0, BIG // 2)], progress=lambda *n: seen.append(n)),
                         BIG // 2)
        self.assertTrue(seen)
        done = [d for d, _ in seen]
        self.assertEqual(done, sorted(done))
        self.assertEqual({total for _, total in seen}, {BIG // 2})
        self.assertLessEqual(done[-1], BIG // 2)
        client.ping()
        self.assertEqual(list(client.events), [])

    def test_a_cancelled_job_says_so_and_the_map_tells_how_far_it_came(self):
        client = self.client()
        _, region = self.domain_and_region(client, BIG)
        job = client.start_allocate(region, [(0, BIG)])
        client.wait_event(gmem.PROGRESS)
        self.assertTrue(client.cancel(job))
        with self.refused("CANCELLED"):
            client.wait(job)
        done = shared(client.region_map(region))
        self.assertGreater(done, 0)
        self.assertLess(done, BIG)
        self.assertEqual(present_bytes(region.memory), done)
        self.assertEqual(client.region_get(region).info.allocated_bytes, done)
        self.assertFalse(client.cancel(job))
        self.assertEqual(client.allocate(region, [(0, 16 * MIB)]), 16 * MIB)

    def test_there_is_nothing_to_cancel_where_no_job_is(self):
        client = self.client()
        for serial in (0, 1, 12345, 2**32 - 1):
            self.assertFalse(client.cancel(serial))

    def test_a_small_job_does_not_wait_for_a_big_one_of_another_domain(self):
        client = self.client()
        _, big = self.domain_and_region(client, BIG // 2)
        _, small = self.domain_and_region(client, MIB)
        first = client.start_allocate(big, [(0, BIG // 2)])
        second = client.start_allocate(small, [(0, MIB)])
        client.wait(second)
        self.assertLess(shared(client.region_map(big)), BIG // 2)
        self.assertTrue(client.cancel(first))
        with self.refused("CANCELLED"):
            client.wait(first)

    def test_all_that_a_client_held_is_back_when_it_dies_in_a_job(self):
        peer = self.peer(allocate_without_end, self.daemon.socket("acme"))
        peer.report()
        peer.kill()
        seconds = harness.wait_until(self.daemon.books_are_empty)
        self.assertIsNotNone(seconds)
        self.assertLess(seconds, AT_ONCE)

    def test_a_worker_that_is_killed_is_told_and_replaced(self):
        client = self.client()
        _, region = self.domain_and_region(client, BIG)
        job = client.start_allocate(region, [(0, BIG)])
        client.wait_event(gmem.PROGRESS)
        [worker] = self.workers()
        os.kill(worker, signal.SIGKILL)
        with self.refused("WORKER_LOST") as caught:
            client.wait(job)
        self.assertIn(caught.exception.rule, ("WORKER", "MEMORY_CGROUP"))
        done = shared(client.region_map(region))
        self.assertLessEqual(done, present_bytes(region.memory))
        self.assertGreater(done, 0)

        self.assertEqual(client.discard(region, [(0, BIG)]), BIG)
        self.assertEqual(present_bytes(region.memory), 0)
        self.assertEqual(client.allocate(region, [(0, MIB)]), MIB)
        self.assertNotEqual(self.workers(), [worker])

    def test_a_worker_that_stands_still_is_ended_when_its_job_is_cancelled(self):
        client = self.client()
        _, region = self.domain_and_region(client, BIG)
        job = client.start_allocate(region, [(0, BIG)])
        client.wait_event(gmem.PROGRESS)
        [worker] = self.workers()
        os.kill(worker, signal.SIGSTOP)
        client.cancel(job)
        start = time.monotonic()
        with self.assertRaises(gmem.Refused) as caught:
            client.wait(job)
        self.assertIn(caught.exception.code, ("CANCELLED", "WORKER_LOST"))
        self.assertLess(time.monotonic() - start, 4)
        self.assertIsNone(harness.process_stat(worker))

    def test_a_worker_has_no_rights_and_no_fd_but_those_of_its_job(self):
        client = self.client()
        _, region = self.domain_and_region(client, MIB)
        client.allocate(region, [(0, MIB)])
        [worker] = self.workers()
        with open(f"/proc/{worker}/status", encoding="ascii") as file:
            status = dict(re.findall(r"^(\w+):\s+(.*)$", file.read(), re.MULTILINE))
        kinds = [os.readlink(f"/proc/{worker}/fd/{fd}") for fd in os.listdir(f"/proc/{worker}/fd")]
        self.assertFalse([kind for kind in kinds if "memfd" in kind or "kvm" in kind], kinds)
        if harness.SANITIZED:
            self.skipTest("sanitizers need system calls that the sandbox has not")
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Seccomp"], "2")
        self.assertEqual(int(status["CapEff"], 16) | int(status["CapPrm"], 16), 0)


if __name__ == "__main__":
    harness.main()
