#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What cannot be had is refused with the rule and the numbers, and nothing is charged for it."""
import contextlib
import mmap
import unittest

import harness
from harness import GIB, KIB, MIB, gmem, pb

TOP = 1 << 52


class Refusals(harness.DaemonCase):
    TENANTS = {
        "small": "Kinds=memfd\nMemoryMax=64M\nRegionMax=32M\nRegionsMax=4\nDomainsMax=2\n"
                 "SessionsMax=3\nJobsMax=1\nNUMANodes=0\nPersistent=no\n",
        "huge": "HugePages=2M:8M\n",
        "many": "RegionsMax=10000\n",
        "far": "NUMANodes=63\n",
        "guests": "Kinds=guest-memfd\n",
        "shut": "SessionsMax=0\n",
    }

    @contextlib.contextmanager
    def refused(self, code, rule=None, tenant="small", **fields):
        """Refused like this, and charged to nobody."""
        before = self.daemon.used(tenant), self.daemon.used("host")
        with super().refused(code, rule, **fields) as caught:
            yield caught
        self.assertEqual((self.daemon.used(tenant), self.daemon.used("host")), before)
        self.assertTrue(caught.exception.text)

    def setUp(self):
        super().setUp()
        self.small = self.client("small")

    # Sizes and addresses.

    def test_size_0(self):
        domain = self.small.domain_create()
        with self.refused("INVALID", "SIZE", limit=4096, asked=0,
                          object=f"domain {gmem.format_id(domain.id)}"):
            self.small.region_create(domain, 0)

    def test_a_size_that_is_no_multiple_of_the_page_size(self):
        domain = self.small.domain_create()
        for size in (1, 4095, 4097, MIB + 512):
            with self.refused("INVALID", "SIZE", limit=4096, asked=size):
                self.small.region_create(domain, size)

    def test_an_address_that_is_no_multiple_of_the_page_size(self):
        domain = self.small.domain_create()
        with self.refused("INVALID", "OFFSET", limit=4096):
            self.small.region_create(domain, MIB, gpa=512)

    def test_an_end_over_2_to_the_52(self):
        domain = self.small.domain_create()
        for gpa in (TOP, TOP - MIB + 4096, 2**64 - 4096):
            with self.refused("INVALID", "OVERFLOW"):
                self.small.region_create(domain, MIB, gpa=gpa)
        self.small.region_create(domain, MIB, gpa=TOP - MIB).memory.close()

    def test_addresses_that_another_region_has(self):
        domain = self.small.domain_create()
        first = self.small.region_create(domain, MIB, gpa=GIB)
        for gpa, size in ((GIB, 4096), (GIB - 4096, 8192), (GIB + MIB - 4096, MIB), (0, 2 * MIB)):
            if gpa + size <= GIB:
                gpa = GIB - MIB
            with self.refused("EXISTS", "ADDRESS", object=f"region {gmem.format_id(first.id)}"):
                self.small.region_create(domain, size, gpa=gpa)
        self.small.region_create(domain, 4096, gpa=GIB - 4096)
        self.small.region_create(domain, 4096, gpa=GIB + MIB)

    # Limits of the policy.

    def test_memory_max(self):
        domain = self.small.domain_create()
        self.small.region_create(domain, 32 * MIB)
        self.small.region_create(domain, 16 * MIB, gpa=GIB)
        with self.refused("OVER_LIMIT", "MEMORY_MAX", object="tenant small", limit=64 * MIB,
                          used=48 * MIB, asked=16 * MIB + 4096):
            self.small.region_create(domain, 16 * MIB + 4096, gpa=2 * GIB)
        self.small.region_create(domain, 16 * MIB, gpa=2 * GIB)

    def test_region_max(self):
        domain = self.small.domain_create()
        with self.refused("OVER_LIMIT", "REGION_MAX", object="tenant small", limit=32 * MIB,
                          asked=32 * MIB + 4096):
            self.small.region_create(domain, 32 * MIB + 4096)

    def test_a_region_of_4_pib(self):
        domain = self.small.domain_create()
        with self.refused("OVER_LIMIT", "REGION_MAX", asked=TOP - 4096):
            self.small.region_create(domain, TOP - 4096)

    def test_regions_max(self):
        domain = self.small.domain_create()
        for i in range(4):
            self.small.region_create(domain, MIB, gpa=i * MIB)
        with self.refused("OVER_LIMIT", "REGIONS_MAX", object="tenant small", limit=4, used=4,
                          asked=1):
            self.small.region_create(domain, MIB, gpa=GIB)

    def test_4096_regions_in_one_domain(self):
        client = self.client("many")
        domain = client.domain_create()
        for start in range(0, 4096, 256):
            serials = [client.start(pb.RegionCreateRequest(domain=domain.id, gpa=i * 4096,
                                                           size=4096))
                       for i in range(start, start + 256)]
            for answer in client.collect(serials):
                answer.fds["memory"].close()
        with self.refused("OVER_LIMIT", "REGIONS_MAX", tenant="many", limit=4096, used=4096,
                          asked=1, object=f"domain {gmem.format_id(domain.id)}"):
            client.region_create(domain, 4096, gpa=GIB)

    def test_domains_max(self):
        for _ in range(2):
            self.small.domain_create()
        with self.refused("OVER_LIMIT", "DOMAINS_MAX", object="tenant small", limit=2, used=2,
                          asked=1):
            self.small.domain_create()

    def test_sessions_max(self):
        self.client("small"), self.client("small")
        with self.refused("OVER_LIMIT", "SESSIONS_MAX", object="tenant small", limit=3, used=3,
                          asked=1):
            gmem.Client(self.daemon.socket("small"))
        self.small.ping()

    def test_sessions_max_0_shuts_a_tenant_out_and_says_why(self):
        with self.refused("OVER_LIMIT", "SESSIONS_MAX", tenant="shut", limit=0, used=0, asked=1):
            gmem.Client(self.daemon.socket("shut"))

    def test_jobs_max(self):
        _, region = self.domain_and_region(self.small, 32 * MIB)
        before = self.daemon.used("small")
        both = [self.small.start_allocate(region, [(0, 32 * MIB)]) for _ in range(2)]
        first, second = self.small.collect(both)
        self.assertEqual(first.reply.bytes, 32 * MIB)
        self.assertEqual((second.code, second.rule, second.object, second.limit, second.used,
                          second.asked), ("OVER_LIMIT", "JOBS_MAX", "tenant small", 1, 1, 1))
        self.assertEqual(self.daemon.used("small"), before)

    # Hugepages and nodes.

    def test_hugepages_that_the_policy_does_not_give(self):
        domain = self.small.domain_create()
        with self.refused("DENIED", "HUGE_PAGES", object="tenant small"):
            self.small.region_create(domain, 2 * MIB, page_size=2 * MIB)

    def test_hugepages_over_the_policy(self):
        client = self.client("huge")
        domain = client.domain_create()
        with self.refused("OVER_LIMIT", "HUGE_PAGES", tenant="huge", object="tenant huge",
                          limit=8 * MIB, used=0, asked=10 * MIB):
            client.region_create(domain, 10 * MIB, page_size=2 * MIB)

    def test_hugepages_that_the_host_has_not_free(self):
        with harness.hugepages(2):
            client = self.client("huge")
            domain = client.domain_create()
            pool = next(p for p in client.host().pools if p.page_size == 2 * MIB)
            free = (pool.free - pool.reserved) * 2 * MIB
            if free >= 8 * MIB:
                self.skipTest("others have put more hugepages into the pool")
            with self.refused("NO_RESOURCE", "HUGE_PAGES_FREE", tenant="huge", object="pool 2M",
                              asked=free + 2 * MIB):
                client.region_create(domain, free + 2 * MIB, page_size=2 * MIB)
            region = client.region_create(domain, free, page_size=2 * MIB)
            with mmap.mmap(region.memory.fileno(), free) as memory:
                memory[free - 1] = 1
            region.memory.close()
            client.region_destroy(region)

    def test_nodes_that_the_policy_does_not_give(self):
        client = self.client("far")
        domain = client.domain_create()
        with self.refused("DENIED", "NUMA_NODES", tenant="far", object="tenant far"):
            client.region_create(domain, MIB, numa_nodes=[0])

    def test_nodes_that_are_not_there(self):
        client = self.client("far")
        domain = client.domain_create()
        with self.refused("INVALID", "NUMA_NODES", tenant="far", object="host", asked=63):
            client.region_create(domain, MIB, numa_nodes=[63])

    def test_no_node_asked_for_and_none_of_the_policy_there(self):
        client = self.client("far")
        domain = client.domain_create()
        with self.refused("DENIED", "NUMA_NODES", tenant="far", object="tenant far"):
            client.region_create(domain, MIB)

    def test_nodes_that_cannot_be(self):
        client = self.client("many")
        domain = client.domain_create()
        for nodes in ([64], [2**32 - 1], [0, 64]):
            with self.refused("INVALID", "NUMA_NODES", tenant="many"):
                client.region_create(domain, MIB, numa_nodes=nodes)

    # Kinds, page sizes, names, flags.

    def test_a_kind_that_nobody_knows(self):
        for kind in ("", "nonsense", "a" * 64):
            with self.refused("UNSUPPORTED", "KIND"):
                self.small.domain_create(kind)

    def test_a_kind_that_the_policy_does_not_give(self):
        with self.refused("DENIED", "KINDS", object="tenant small"):
            self.small.domain_create("guest-memfd")
        client = self.client("guests")
        with self.refused("DENIED", "KINDS", tenant="guests", object="tenant guests"):
            client.domain_create("memfd")

    def test_a_page_size_that_the_kind_has_not(self):
        domain = self.small.domain_create()
        for page_size in (1, 4097, 8192, 4 * MIB, 2**63):
            with self.refused("INVALID", "PAGE_SIZE"):
                self.small.region_create(domain, 4 * MIB, page_size=page_size)

    def test_a_persistent_domain_that_the_policy_does_not_give(self):
        with self.refused("DENIED", "PERSISTENT", object="tenant small"):
            self.small.domain_create(persistent=True)

    def test_names_that_are_none(self):
        for name in (b"", b"a" * 65, b"a b", b"a/b", b"a\0b", b"\xc3\xa4"):
            with self.refused("INVALID", "NAME"):
                self.small.domain_create(name=name)
        domain = self.small.domain_create(name="a" * 64)
        for name in (b"", b"a" * 65, b"a\nb"):
            with self.refused("INVALID", "NAME"):
                self.small.region_create(domain, 4096, name=name)

    def test_a_client_name_that_is_none(self):
        with self.refused("INVALID", "NAME"):
            gmem.Client(self.daemon.socket("small"), name="no good")
        self.client("small", name="vmm/1.0")

    def test_a_name_that_another_domain_of_the_tenant_has(self):
        first = self.small.domain_create(name="guest1")
        with self.refused("EXISTS", "NAME_TAKEN", object=f"domain {gmem.format_id(first.id)}"):
            self.small.domain_create(name="guest1")
        self.client("many").domain_create(name="guest1")
        self.small.domain_destroy(first)
        self.small.domain_create(name="guest1")

    def test_enum_values_that_nobody_knows(self):
        for type, body in ((gmem.DOMAIN_CREATE, b"\x12\x05memfd\x18\x07"),
                           (gmem.DOMAIN_CREATE, b"\x12\x05memfd\x20\x63"),
                           (gmem.LIST, b"\x08\x63")):
            self.small.send_frame(type, 4_000_000_000, body)
            frame = self.small.receive_frame()
            self.assertEqual(frame.flags, gmem.ANSWER | gmem.REFUSED)
            status = pb.Status.FromString(frame.body)
            self.assertEqual((status.code, status.rule), (pb.CODE_INVALID, pb.RULE_FLAGS))

    def test_a_device_asked_for_twice(self):
        with self.refused("INVALID", "FLAGS"):
            self.small.domain_create(devices=[pb.DEVICE_KVM, pb.DEVICE_KVM])

    # Ranges.

    def test_ranges(self):
        domain, region = self.domain_and_region(self.small)
        end = region.size
        for rule, ranges in {
            "RANGES": ([], [(0, 8192), (4096, 4096)], [(8192, 4096), (0, 4096), (4096, 8192)]),
            "SIZE": ([(0, 0)], [(0, 4095)], [(0, 4096), (4096, 1)]),
            "OFFSET": ([(1, 4096)], [(2048, 4096)]),
            "OVERFLOW": ([(2**64 - 4096, 8192)], [(4096, 2**64 - 4096)]),
            "RANGE": ([(0, end + 4096)], [(end, 4096)], [(0, 4096), (end - 4096, 8192)]),
        }.items():
            for wrong in ranges:
                for job in (self.small.allocate, self.small.discard):
                    with self.subTest(rule=rule, ranges=wrong, job=job.__name__):
                        with self.refused("INVALID", rule):
                            job(region, wrong)
        self.assertEqual(self.small.region_map(region), [(0, end, "ABSENT")])

    def test_the_offset_of_the_first_range_that_is_wrong_is_told(self):
        _, region = self.domain_and_region(self.small)
        with self.refused("INVALID", "RANGE", offset=region.size):
            self.small.allocate(region, [(0, 4096), (region.size, 4096)])

    def test_the_page_map_from_beyond_its_end(self):
        _, region = self.domain_and_region(self.small)
        self.assertEqual(self.small.region_map_page(region, region.size), ([], region.size))
        with self.refused("INVALID", "RANGE"):
            self.small.region_map_page(region, region.size + 4096)
        with self.refused("INVALID", "OFFSET"):
            self.small.region_map_page(region, 100)

    # Tokens, attachment, cursors.

    def test_a_token_that_is_not_32_bytes(self):
        domain = self.small.domain_create()
        for token in (b"", b"a" * 31, b"a" * 33):
            with self.refused("INVALID", "TOKEN"):
                self.small.domain_attach(domain, token)
            with self.refused("INVALID", "TOKEN"):
                self.small.domain_destroy(domain, token)

    def test_a_domain_that_another_session_of_the_tenant_has(self):
        domain, region = self.domain_and_region(self.small)
        other = self.client("small")
        name = f"domain {gmem.format_id(domain.id)}"
        self.assertEqual(other.domain_get(domain).regions, 1)
        self.assertEqual(other.region_get(region).size, region.size)
        self.assertEqual(other.region_map(region), [(0, region.size, "ABSENT")])
        for forbidden in (lambda: other.region_create(domain, 4096, gpa=GIB),
                          lambda: other.region_get(region, with_fd=True),
                          lambda: other.region_destroy(region),
                          lambda: other.allocate(region, [(0, 4096)]),
                          lambda: other.discard(region, [(0, 4096)]),
                          lambda: other.domain_destroy(domain),
                          lambda: other.domain_attach(domain, domain.token)):
            with self.refused("BUSY", "ATTACHED", object=name):
                forbidden()

    def test_a_cursor_of_nobody_or_of_another_session(self):
        with self.refused("INVALID", "CURSOR"):
            self.small.list_page(pb.LIST_DOMAINS, cursor=12345)

    def test_regions_or_domains_with_jobs_under_way(self):
        domain, region = self.domain_and_region(self.small, 32 * MIB)
        job = self.small.start_allocate(region, [(0, 32 * MIB)])
        tries = [self.small.start(pb.RegionDestroyRequest(region=region.id)),
                 self.small.start(pb.DomainDestroyRequest(domain=domain.id))]
        for refusal in self.small.collect(tries):
            self.assertEqual((refusal.code, refusal.rule), ("BUSY", "JOBS_UNDER_WAY"))
        self.assertEqual(self.small.wait(job).reply.bytes, 32 * MIB)
        self.small.region_destroy(region)

    def test_every_refusal_is_counted(self):
        before = self.daemon.account("small").refusals
        for _ in range(5):
            with self.assertRaises(gmem.Refused):
                self.small.domain_get(1)
        self.assertEqual(self.daemon.account("small").refusals, before + 5)


class FewFds(unittest.TestCase):
    """A daemon that may open 2048 files only."""

    def test_fds_max_is_refused_before_the_daemon_runs_out_and_the_operator_gets_in(self):
        with harness.Daemon({"acme": "", "beta": ""}, wrapper=["prlimit", "--nofile=2048:2048"]) as daemon:
            limit = next(u.limit for u in daemon.account("host").usage if u.resource == b"fds")
            self.assertLess(limit, 2048)
            with gmem.Client(daemon.socket("acme")) as client:
                domain = client.domain_create()
                with self.assertRaises(gmem.Refused) as caught:
                    for i in range(2048):
                        client.region_create(domain, 4096, gpa=i * 4096).memory.close()
                got = caught.exception
                self.assertEqual((got.code, got.rule, got.object), ("OVER_LIMIT", "FDS_MAX", "host"))
                self.assertEqual((got.limit, got.used, got.asked), (limit, limit, 1))
                with gmem.Client(daemon.path("admin")) as operator:
                    self.assertEqual(gmem.usage(operator.stats("acme").accounts[0])["fds"], limit)
                with self.assertRaises(gmem.Refused) as caught:
                    gmem.Client(daemon.socket("beta"))
                self.assertEqual(caught.exception.rule, "FDS_MAX")
                client.domain_destroy(domain)
                gmem.Client(daemon.socket("beta")).close()


if __name__ == "__main__":
    harness.main()
