#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""10,000 regions in 1,000 domains over 100 connections: small, quick, and all gone at the end."""
import statistics
import time

import harness
from harness import KIB, MIB, gmem, pb

CONNECTIONS = 100
DOMAINS = 1000
REGIONS = 10_000
SIZE = 64 * KIB
RSS_MAX = 24 * MIB
RATIO_MAX = 1.5
END_MAX = 0.3
GRANTS = 400


class Scale(harness.DaemonCase):
    TENANTS = {"acme": f"RegionsMax={REGIONS + 100}\nDomainsMax={DOMAINS + 10}\n"
                       f"SessionsMax={CONNECTIONS + 10}\n"}

    def grant_time(self, client, domain):
        """Median of the seconds from asking for a region to having its fd."""
        times = []
        for _ in range(GRANTS):
            start = time.perf_counter()
            region = client.region_create(domain, SIZE, gpa=1 << 40)
            times.append(time.perf_counter() - start)
            region.memory.close()
            client.region_destroy(region)
        return statistics.median(times)

    def populate(self, clients):
        """Every connection gets its domains and regions, all requests pipelined."""
        for client in clients:
            creates = [client.start(pb.DomainCreateRequest(kind=b"memfd"))
                       for _ in range(DOMAINS // CONNECTIONS)]
            domains = [answer.reply.domain for answer in client.collect(creates)]
            grants = [client.start(pb.RegionCreateRequest(domain=domain, gpa=i * SIZE, size=SIZE))
                      for domain in domains for i in range(REGIONS // DOMAINS)]
            for answer in client.collect(grants):
                answer.fds["memory"].close()

    def test_ten_thousand_regions_cost_little_and_end_at_once(self):
        probe = self.client()
        domain, _ = self.domain_and_region(probe, SIZE)
        for i in range(1, 10):
            probe.region_create(domain, SIZE, gpa=i * SIZE)
        fds = self.daemon.fds()
        clients = [self.client() for _ in range(CONNECTIONS)]
        for _ in range(3):
            few = self.grant_time(probe, domain)
            self.populate(clients)
            self.assertEqual(self.daemon.used("acme")["regions"], REGIONS + 10)
            self.assertEqual(self.daemon.used("acme")["domains"], DOMAINS + 1)
            self.assertEqual(self.daemon.used("acme")["memory"], (REGIONS + 10) * SIZE)
            self.assertEqual(len(clients[0].list_regions()), REGIONS + 10)
            rss = self.daemon.rss()
            many = self.grant_time(probe, domain)
            print(f"rss {rss / MIB:.1f} MiB, a grant {few * 1e6:.0f} us with 10 regions, "
                  f"{many * 1e6:.0f} us with {REGIONS}")

            start = time.monotonic()
            for client in clients:
                client.close()
            gone = harness.wait_until(lambda: self.daemon.fds() == fds, step=0.01)
            self.assertIsNotNone(gone, f"{self.daemon.fds()} fds open, {fds} before")
            end = time.monotonic() - start
            self.assertEqual(self.daemon.used("acme")["regions"], 10)
            print(f"all gone after {end * 1e3:.0f} ms")
            if harness.SANITIZED:
                return
            self.assertLessEqual(rss, RSS_MAX)
            if many / few <= RATIO_MAX and end <= END_MAX:
                return
            clients = [self.client() for _ in range(CONNECTIONS)]
        self.fail(f"a grant takes {few} s with 10 regions, {many} s with {REGIONS}; the end {end} s")


if __name__ == "__main__":
    harness.main()
