#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long domains live: bound ones with their VMM, persistent ones until their token comes back."""
import mmap
import os
import random
import signal
import time

import harness
from harness import AT_ONCE, MIB, gmem, pb

SIZE = 16 * MIB
TICK = 1.0  # gmemd looks for orphans whose time is over once a second


def make_domain(report, path, persistent, kind="memfd", pattern=b""):
    """A VMM: makes a domain and a region, writes into it, reports, and waits for its death."""
    client = gmem.Client(path, name="vmm")
    domain = client.domain_create(kind, persistent=persistent)
    region = client.region_create(domain, SIZE)
    if pattern:
        with mmap.mmap(region.memory.fileno(), SIZE) as memory:
            memory[:] = pattern
    report((domain.id, domain.token, region.id))
    return client


def make_domain_and_leave_the_socket_to_a_child(report, path):
    client = gmem.Client(path, name="vmm")
    domain = client.domain_create()
    client.region_create(domain, SIZE)
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    report(child)
    return client


class Life(harness.DaemonCase):
    TENANTS = {"acme": "PersistentTTL=1h\n", "short": "PersistentTTL=300ms\n", "rival": ""}

    def seconds_until_nothing_is_left(self):
        """From now until the books are at zero and the fds closed."""
        return harness.wait_until(lambda: self.daemon.books_are_empty() and
                                  self.daemon.fds() == self.fds_at_rest, step=0.002)

    def assert_gone_at_once(self):
        seconds = self.seconds_until_nothing_is_left()
        self.assertIsNotNone(seconds, "something stays behind")
        self.assertLess(seconds, AT_ONCE)

    def orphan(self, tenant="acme", **options):
        """A persistent domain whose VMM has been killed: (domain id, token, region id)."""
        peer = self.peer(make_domain, self.daemon.socket(tenant), True, *options.values())
        ids = peer.report()
        self.assertTrue(self.daemon.admin.domain_get(ids[0]).attached)
        peer.kill()
        self.assertIsNotNone(harness.wait_until(
            lambda: not self.daemon.admin.domain_get(ids[0]).attached))
        return ids

    # Bound domains.

    def test_a_bound_domain_ends_when_its_connection_closes(self):
        client = self.client()
        _, region = self.domain_and_region(client, persistent=False)
        region.memory.close()
        client.close()
        self.assert_gone_at_once()

    def test_a_bound_domain_ends_when_its_vmm_is_killed(self):
        peer = self.peer(make_domain, self.daemon.socket("acme"), False)
        domain, _, _ = peer.report()
        time.sleep(0.05)
        self.assertEqual(self.daemon.admin.domain_get(domain).owner_pid, peer.pid)
        peer.kill()
        self.assert_gone_at_once()

    def test_a_bound_domain_ends_with_its_vmm_though_a_child_still_has_the_socket(self):
        peer = self.peer(make_domain_and_leave_the_socket_to_a_child, self.daemon.socket("acme"))
        child = peer.report()
        self.addCleanup(os.kill, child, signal.SIGKILL)
        time.sleep(0.05)
        self.assertEqual(self.daemon.used("acme")["memory"], SIZE)
        peer.kill()
        self.assert_gone_at_once()
        os.kill(child, 0)

    def test_the_end_of_a_domain_does_not_take_the_memory_from_who_has_its_fd(self):
        client = self.client()
        domain, region = self.domain_and_region(client, SIZE)
        with mmap.mmap(region.memory.fileno(), SIZE) as memory:
            memory[:5] = b"alive"
            client.domain_destroy(domain)
            self.assertEqual(memory[:5], b"alive")
            memory[SIZE - 1] = 1

    def test_ended_memory_is_freed(self):
        for _ in range(3):
            # Others on this host take and free memory too.
            client = self.client()
            _, region = self.domain_and_region(client, 512 * MIB)
            client.allocate(region, [(0, 512 * MIB)])
            before = harness.shared_memory()
            region.memory.close()
            client.close()
            freed = harness.wait_until(lambda: harness.shared_memory() < before - 400 * MIB, 2.0)
            if freed is not None:
                return
        self.fail("the memory of ended domains stays")

    # Persistent domains.

    def test_a_persistent_domain_waits_for_its_token_with_its_memory_intact(self):
        for kind in ("memfd", "guest-memfd"):
            with self.subTest(kind=kind):
                usable = next(b for b in self.daemon.admin.host().backends if b.kind == kind.encode())
                if not usable.usable:
                    self.skipTest(usable.reason.decode())
                pattern = random.randbytes(SIZE)
                domain, token, region = self.orphan(kind=kind, pattern=pattern)
                info = self.daemon.admin.domain_get(domain)
                self.assertEqual((info.owner_pid, info.regions, info.reserved_bytes), (0, 1, SIZE))
                self.assertLessEqual(info.orphan_ttl_ms, 3_600_000)
                self.assertGreater(info.orphan_ttl_ms, 3_590_000)

                client = self.client()
                attached = client.domain_attach(domain, token)
                self.assertEqual(attached.regions, (region,))
                self.assertTrue(attached.info.attached)
                again = client.region_get(region, with_fd=True)
                with mmap.mmap(again.memory.fileno(), SIZE, prot=mmap.PROT_READ) as memory:
                    self.assertTrue(memory[:] == pattern, "the contents have changed")
                again.memory.close()
                client.domain_destroy(domain)

    def test_an_orphan_can_be_destroyed_with_its_token_without_attaching(self):
        domain, token, _ = self.orphan()
        self.client().domain_destroy(domain, token)

    def test_an_orphan_ends_when_its_time_is_over(self):
        domain, token, _ = self.orphan("short")
        seconds = self.seconds_until_nothing_is_left()
        self.assertIsNotNone(seconds)
        self.assertGreater(seconds, 0.2)
        self.assertLess(seconds, 0.3 + TICK + AT_ONCE)
        with self.refused("NO_SUCH_OBJECT"):
            self.client("short").domain_attach(domain, token)

    def test_attaching_stops_the_clock_and_leaving_starts_it_anew(self):
        domain, token, _ = self.orphan("short")
        client = self.client("short")
        client.domain_attach(domain, token)
        time.sleep(0.5)
        self.assertTrue(client.domain_get(domain).attached)
        client.close()
        time.sleep(0.1)
        self.assertFalse(self.daemon.admin.domain_get(domain).attached)
        self.assertIsNotNone(self.seconds_until_nothing_is_left())

    def test_a_wrong_token_attaches_nothing_and_leaves_the_domain_waiting(self):
        domain, token, _ = self.orphan()
        client = self.client()
        for tried in (bytes(32), token[::-1]):
            with self.refused("NO_SUCH_OBJECT"):
                client.domain_attach(domain, tried)
        with self.refused("NO_SUCH_OBJECT"):
            self.client("rival").domain_attach(domain, token)
        self.assertFalse(client.domain_get(domain).attached)
        client.domain_attach(domain, token)
        client.domain_destroy(domain)

    def test_an_orphan_needs_no_token_to_be_looked_at_but_one_to_be_used(self):
        domain, token, region = self.orphan()
        client = self.client()
        self.assertEqual(client.region_get(region).size, SIZE)
        with self.refused("BUSY", "ATTACHED"):
            client.region_get(region, with_fd=True)
        with self.refused("BUSY", "ATTACHED"):
            client.domain_destroy(domain)
        client.domain_destroy(domain, token)

    # Taking over.

    def test_who_takes_a_domain_over_has_it_and_the_loser_is_told(self):
        loser, winner = self.client(), self.client()
        domain, region = self.domain_and_region(loser)
        with self.refused("BUSY", "ATTACHED"):
            winner.domain_attach(domain, domain.token)
        with mmap.mmap(region.memory.fileno(), region.size) as memory:
            memory[:4] = b"kept"
            attached = winner.domain_attach(domain, domain.token, take_over=True)
            gone = loser.wait_event(gmem.DOMAIN_GONE)
            self.assertEqual((gone.domain, gone.why), (domain.id, pb.FAREWELL_TAKEN_OVER))
            self.assertEqual(memory[:4], b"kept")
        self.assertEqual(attached.regions, (region.id,))
        with self.refused("BUSY", "ATTACHED"):
            loser.allocate(region, [(0, 4096)])
        loser.close()
        self.assertEqual(winner.domain_get(domain).attached, True)
        self.assertEqual(winner.allocate(region, [(0, 4096)]), 4096)

    def test_a_bound_domain_taken_over_lives_as_long_as_its_new_session(self):
        loser, winner = self.client(), self.client()
        domain, _ = self.domain_and_region(loser)
        winner.domain_attach(domain, domain.token, take_over=True)
        loser.close()
        winner.ping()
        winner.close()
        self.assert_gone_at_once()

    def test_attaching_what_one_has_already_changes_nothing(self):
        client = self.client()
        domain, region = self.domain_and_region(client)
        self.assertEqual(client.domain_attach(domain, domain.token).regions, (region.id,))
        client.ping()
        self.assertEqual(list(client.events), [])

    def test_a_domain_with_jobs_under_way_is_not_taken_over(self):
        owner, other = self.client(), self.client()
        domain, region = self.domain_and_region(owner, 512 * MIB)
        job = owner.start_allocate(region, [(0, 512 * MIB)])
        owner.ping()
        with self.refused("BUSY", "JOBS_UNDER_WAY"):
            other.domain_attach(domain, domain.token, take_over=True)
        self.assertEqual(owner.wait(job).reply.bytes, 512 * MIB)
        other.domain_attach(domain, domain.token, take_over=True)

    def test_destroying_with_the_token_what_another_session_has_tells_it(self):
        owner, other = self.client(), self.client()
        domain, _ = self.domain_and_region(owner)
        other.domain_destroy(domain, domain.token)
        gone = owner.wait_event(gmem.DOMAIN_GONE)
        self.assertEqual((gone.domain, gone.why), (domain.id, pb.FAREWELL_TAKEN_OVER))
        with self.refused("NO_SUCH_OBJECT"):
            owner.domain_get(domain)

    # Devices.

    def test_a_vmm_gets_an_open_dev_kvm_again_when_it_attaches(self):
        if not self.daemon.admin.host().kvm:
            self.skipTest("no KVM on this host")
        client = self.client()
        domain = client.domain_create(persistent=True, devices=[pb.DEVICE_KVM])
        self.assertEqual(os.readlink(f"/proc/self/fd/{domain.fds['kvm'].fileno()}"), "/dev/kvm")
        client.close()
        domain.fds["kvm"].close()
        client = self.client()
        attached = client.domain_attach(domain, domain.token, devices=[pb.DEVICE_KVM])
        self.assertEqual(os.readlink(f"/proc/self/fd/{attached.fds['kvm'].fileno()}"), "/dev/kvm")
        client.domain_destroy(domain)


if __name__ == "__main__":
    harness.main()
