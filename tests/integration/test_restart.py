#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""gmemd is killed and is back: everything is as it was, and nothing is done twice or not at all.

GMEMD_KILLS: how often the last test kills it.
"""
import mmap
import os
import random
import signal
import subprocess
import threading
import time

import harness
from harness import KIB, MIB, gmem
from manager import Manager

KILLS = int(os.environ.get("GMEMD_KILLS", "200"))
SIZE = 4 * MIB


def kinds(client):
    return harness.plain_kinds(client)


def pattern(number):
    return f"pattern of region {number:5d}.".encode() * 64


class Session:
    """A client that comes back."""

    def __init__(self, manager, tenant="acme", **options):
        self.client = manager.client(tenant, session_key=os.urandom(16), **options)
        self.resumed = 0

    def wait(self, serial):
        """The answer, or the refusal, however often gmemd dies meanwhile."""
        while True:
            try:
                return self.client.wait(serial)
            except gmem.Refused as refused:
                return refused
            except gmem.Disconnected:
                self.come_back()

    def come_back(self):
        assert self.client.reconnect(), "the session was not resumed"
        self.resumed += 1

    def call(self, request):
        answer = self.wait(self.client.start(request))
        if isinstance(answer, gmem.Refused):
            raise answer
        return answer

    def close(self):
        self.client.close()


class Guest:
    """A region with contents that are known."""

    def __init__(self, client, domain, number, size=SIZE):
        self.number = number
        self.region = client.region_create(domain, size, gpa=number * size)
        self.memory = mmap.mmap(self.region.memory.fileno(), size)
        for offset in (0, size // 2, size - len(pattern(number))):
            self.memory[offset:offset + len(pattern(number))] = pattern(number)

    def check(self, client):
        found = client.region_get(self.region, with_fd=True)
        with mmap.mmap(found.memory.fileno(), self.region.size) as again:
            for offset in (0, self.region.size // 2, self.region.size - len(pattern(self.number))):
                assert again[offset:offset + len(pattern(self.number))] == pattern(self.number)
        assert os.fstat(found.memory.fileno()).st_ino == \
            os.fstat(self.region.memory.fileno()).st_ino
        found.memory.close()


def view(client):
    """All that a tenant can see of itself, but what time changes."""
    domains = [(d.domain, d.name, d.kind, d.lifetime, d.attached, d.owner_pid, d.regions,
                d.reserved_bytes, d.allocated_bytes, d.quarantined)
               for d in client.list_domains()]
    regions = [(r.region, r.domain, r.name, r.gpa, r.size, r.page_size, r.allocated_bytes,
                r.quarantined, client.region_map(r.region)) for r in client.list_regions()]
    return domains, regions, harness.holdings(client.stats().accounts[0])


class Restart(harness.unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.manager = Manager(("acme", "rival"))
        self.manager.__enter__()
        self.addCleanup(lambda: self.manager.__exit__(None, None, None))
        self.manager.start()

    def session(self, tenant="acme"):
        session = Session(self.manager, tenant)
        self.addCleanup(session.close)
        return session

    def populate(self, client):
        guests = []
        for kind in kinds(client):
            for persistent in (False, True):
                domain = client.domain_create(kind, name=f"{kind}-{persistent}",
                                              persistent=persistent)
                guests += [Guest(client, domain, len(guests)), Guest(client, domain, len(guests) + 1)]
                client.allocate(guests[-1].region, [(64 * KIB, 128 * KIB), (MIB, 2 * MIB)])
                client.discard(guests[-1].region, [(MIB + 4 * KIB, 4 * KIB)])
        return guests

    def check(self, session, guests, before):
        self.assertEqual(view(session.client), before)
        for guest in guests:
            guest.check(session.client)

    def test_all_is_as_it_was(self):
        session = self.session()
        guests = self.populate(session.client)
        before = view(session.client)
        for _ in range(3):
            self.manager.restart()
            session.come_back()
            self.check(session, guests, before)

    def test_a_mapping_needs_no_daemon(self):
        session = self.session()
        guest = self.populate(session.client)[0]
        stop, pauses = threading.Event(), []

        def run():
            last = time.monotonic()
            while not stop.is_set():
                guest.memory[100 * KIB] = (guest.memory[100 * KIB] + 1) & 255
                now = time.monotonic()
                pauses.append(now - last)
                last = now
                time.sleep(0.0005)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            for _ in range(3):
                self.manager.restart()
                session.come_back()
        finally:
            stop.set()
            thread.join()
        self.assertGreater(len(pauses), 20)

    def test_a_stop_keeps_everything_for_the_next(self):
        session = self.session()
        guests = self.populate(session.client)
        before = view(session.client)
        self.assertEqual(self.manager.restart(signal.SIGTERM), 0)
        self.assertRaises(gmem.Disconnected, session.client.ping)
        self.assertIn(gmem.SHUTDOWN, [event.type for event in session.client.events])
        session.come_back()
        self.check(session, guests, before)

    def test_without_a_key_bound_domains_end_with_the_daemon(self):
        with self.manager.client() as client:
            bound = client.domain_create()
            client.region_create(bound, SIZE)
            kept = client.domain_create(persistent=True)
            client.region_create(kept, SIZE)
            self.manager.restart()
        with self.manager.client() as client:
            self.assertEqual([d.domain for d in client.list_domains()], [kept.id])
            self.assertEqual(len(client.domain_attach(kept, kept.token).regions), 1)
            client.domain_destroy(kept)
        self.assertEqual(self.manager.stored(), ["+maps", "+state"])

    def test_a_vmm_that_dies_while_the_daemon_is_away_takes_its_bound_domains_along(self):
        path = self.manager.socket("acme")

        def vmm(report):
            client = gmem.Client(path, session_key=os.urandom(16))
            bound, kept = client.domain_create(), client.domain_create(persistent=True)
            client.region_create(bound, SIZE), client.region_create(kept, SIZE)
            report((bound.id, kept.id, kept.token))
            return client, bound, kept

        peer = harness.Peer(vmm)
        self.addCleanup(peer.kill)
        bound, kept, token = peer.report()
        self.assertEqual(len(self.manager.stored("+p")), 1)
        self.manager.kill()
        peer.kill()
        self.manager.start()
        with self.manager.client() as client:
            gone = harness.wait_until(
                lambda: [d.domain for d in client.list_domains()] == [kept], harness.AT_ONCE)
            self.assertIsNotNone(gone, f"{bound:x} is still there")
            client.domain_attach(kept, token)

    def test_a_session_without_a_domain_ends_with_its_process_while_the_daemon_is_away(self):
        path = self.manager.socket("acme")

        def vmm(report):
            client = gmem.Client(path, session_key=os.urandom(16))
            client.domain_destroy(client.domain_create())
            report(client.session_key)
            return client

        def sessions(client):
            return gmem.usage(client.stats().accounts[0])["sessions"]

        peer = harness.Peer(vmm)
        self.addCleanup(peer.kill)
        peer.report()
        self.manager.restart()
        with self.manager.client() as client:
            self.assertEqual(sessions(client), 2)
        self.manager.kill()
        peer.kill()
        self.manager.start()
        with self.manager.client() as client:
            self.assertEqual(sessions(client), 1)

    def test_a_vmm_that_dies_after_the_restart_does_too(self):
        path = self.manager.socket("acme")

        def vmm(report):
            client = gmem.Client(path, session_key=os.urandom(16))
            domain = client.domain_create()
            client.region_create(domain, SIZE)
            report(domain.id)
            return client, domain

        peer = harness.Peer(vmm)
        self.addCleanup(peer.kill)
        domain = peer.report()
        self.manager.restart()
        with self.manager.client() as client:
            self.assertEqual([d.domain for d in client.list_domains()], [domain])
            peer.kill()
            self.assertIsNotNone(harness.wait_until(
                lambda: gmem.usage(client.stats().accounts[0])["memory"] == 0, harness.AT_ONCE))
        self.assertEqual(self.manager.stored(), ["+maps", "+state"])

    def test_another_tenant_cannot_resume_with_the_key(self):
        session = self.session()
        domain = session.client.domain_create()
        self.manager.restart()
        with self.manager.client("rival", session_key=session.client.session_key) as thief:
            self.assertFalse(thief.resumed)
            self.assertEqual(thief.list_domains(), [])
        session.come_back()
        session.client.domain_get(domain)

    def test_no_key_is_ever_logged(self):
        session = self.session()
        self.populate(session.client)
        self.manager.restart()
        session.come_back()
        log = self.manager.log()
        self.assertNotIn(session.client.session_key.hex(), log)
        self.assertNotIn(repr(session.client.session_key)[2:-1], log)

    def test_memory_that_was_lost_is_quarantined_and_the_rest_is_back(self):
        session = self.session()
        domain = session.client.domain_create()
        lost, sound = Guest(session.client, domain, 0), Guest(session.client, domain, 1)
        self.manager.kill()
        name, fd = next(entry for entry in self.manager.store if entry[0].startswith("+r"))
        self.manager.store.remove((name, fd))
        os.close(fd)
        self.manager.start()
        session.come_back()
        self.assertTrue(session.client.region_get(lost.region).info.quarantined)
        listed = subprocess.run([harness.program("gmemctl"), "--address",
                                 self.manager.socket("acme"), "list", "regions"],
                                capture_output=True, text=True, check=True).stdout.splitlines()
        self.assertEqual([line.split()[-1] for line in listed], ["STATE", "quarantined", "sound"])
        with self.assertRaises(gmem.Refused) as caught:
            session.client.region_get(lost.region, with_fd=True)
        self.assertEqual((caught.exception.code, caught.exception.rule),
                         ("WRONG_STATE", "QUARANTINE"))
        sound.check(session.client)
        self.assertEqual(gmem.usage(session.client.stats().accounts[0])["memory"], 2 * SIZE)
        session.client.region_destroy(lost.region)
        self.assertEqual(gmem.usage(session.client.stats().accounts[0])["memory"], SIZE)

    def refuse_to_start(self, *words):
        """A gmemd that does not start, and says why, takes nothing from the store."""
        names = self.manager.stored()
        self.manager.start(wait=False)
        self.assertEqual(self.manager.reap(), 1)
        self.assertEqual(self.manager.stored(), names)
        said = self.manager.log().splitlines()[-1]
        for word in (*words, "left untouched"):
            self.assertIn(word, said)

    def test_a_record_that_cannot_be_used_is_left_untouched(self):
        session = self.session()
        guest = Guest(session.client, session.client.domain_create(), 0)
        self.manager.kill()
        state = dict(self.manager.store)["+state"]
        header = os.pread(state, 80, 0)
        for offset, wrong, word in ((12, b"\x63", "version 99"), (0, b"?", "cannot be read"),
                                    (16, b"\0" * 8, "cannot be read")):
            os.pwrite(state, wrong, offset)
            self.refuse_to_start(word)
            self.assertEqual(os.pread(state, len(wrong), offset), wrong)
            os.pwrite(state, header, 0)
        self.manager.start()
        session.come_back()
        guest.check(session.client)

    def test_a_record_that_another_daemon_uses_is_left_untouched(self):
        session = self.session()
        guest = Guest(session.client, session.client.domain_create(), 0)
        first = self.manager.pid
        self.refuse_to_start("another gmemd uses the record")
        self.manager.pid = first
        guest.check(session.client)
        # What a dead one had is free at once.
        self.manager.restart()
        session.come_back()
        guest.check(session.client)

    def test_memory_without_a_record_is_left_untouched(self):
        session = self.session()
        guest = Guest(session.client, session.client.domain_create(), 0)
        self.manager.kill()
        state = next(entry for entry in self.manager.store if entry[0] == "+state")
        self.manager.store.remove(state)
        self.refuse_to_start("no record of whose it is")
        self.manager.store.append(state)
        self.manager.start()
        session.come_back()
        guest.check(session.client)

    def test_status_tells_what_was_restored(self):
        session = self.session()
        self.populate(session.client)
        self.manager.restart()
        count = len(kinds_of(self.manager))
        self.assertTrue(any(f"restored {2 * count} domains, {4 * count} regions, 0 quarantined"
                            in message for message in self.manager.messages),
                        self.manager.messages)


def kinds_of(manager):
    with manager.client("rival") as client:
        return kinds(client)


class Killer(threading.Thread):
    """Kills gmemd after times that nobody knows, and starts it again."""

    def __init__(self, manager, times, rng):
        super().__init__(daemon=True)
        self.manager, self.times, self.rng, self.error = manager, times, rng, None

    def run(self):
        try:
            for _ in range(self.times):
                time.sleep(self.rng.choice((0.0005, 0.002, 0.01, 0.03)) * self.rng.random())
                self.manager.restart()
        except BaseException as error:
            self.error = error


class Model:
    """What there must be: the outcome of every answer is applied exactly once."""

    def __init__(self, session, rng):
        self.session, self.rng = session, rng
        self.kinds = kinds(session.client)
        self.domains = {}  # id: {region id: (gpa, size, set of allocated 64K pieces)}
        self.gpa = 0

    def choose(self):
        """A request and what its answer does to the model."""
        rng = self.rng
        regions = [(d, r) for d, rs in self.domains.items() for r in rs]
        what = rng.random()
        if not self.domains or (what < 0.15 and len(self.domains) < 6):
            request = gmem.pb.DomainCreateRequest(kind=rng.choice(self.kinds).encode(),
                                                  lifetime=rng.randrange(2))
            return request, lambda a: self.domains.update({a.reply.domain: {}})
        if what < 0.22:
            domain = rng.choice(list(self.domains))
            self.leaving.add(domain)
            return (gmem.pb.DomainDestroyRequest(domain=domain),
                    lambda a: self.domains.pop(domain))
        if not regions or what < 0.5 and len(regions) < 24:
            domain, gpa, size = rng.choice(list(self.domains)), self.gpa, 64 * KIB * rng.randint(1, 32)
            self.gpa += 64 * MIB
            return (gmem.pb.RegionCreateRequest(domain=domain, gpa=gpa, size=size),
                    lambda a: self.domains[domain].update({a.reply.region: (gpa, size, set())}))
        domain, region = rng.choice(regions)
        gpa, size, pieces = self.domains[domain][region]
        if what < 0.65:
            self.leaving.add(region)
            return (gmem.pb.RegionDestroyRequest(region=region),
                    lambda a: self.domains[domain].pop(region))
        first = rng.randrange(size // (64 * KIB))
        chosen = set(range(first, rng.randint(first + 1, size // (64 * KIB))))
        ranges = [gmem.pb.Range(offset=first * 64 * KIB, length=len(chosen) * 64 * KIB)]
        self.leaving.add(region)
        if what < 0.85:
            return (gmem.pb.AllocateRequest(region=region, ranges=ranges),
                    lambda a: pieces.update(chosen))
        return (gmem.pb.DiscardRequest(region=region, ranges=ranges),
                lambda a: pieces.difference_update(chosen))

    def turn(self):
        """A few requests at once, no two of them on one object."""
        self.leaving = set()
        batch = []
        for _ in range(self.rng.randint(1, 6)):
            before = set(self.leaving)
            request, apply = self.choose()
            ids = {getattr(request, f, 0) for f in ("domain", "region")} - {0}
            if ids & before or any(self.owner(i) in before for i in ids) or \
                    any(i in self.domains and set(self.domains[i]) & before for i in ids):
                continue
            self.leaving |= ids
            batch.append((request, apply))
        started = [(self.session.client.start(request), request, apply)
                   for request, apply in batch]
        for serial, request, apply in started:
            answer = self.session.wait(serial)
            if isinstance(answer, gmem.Refused) and answer.rule == "FDS_MAX":
                # The manager was too slow to take the fd: nothing has been done.
                continue
            if isinstance(answer, gmem.Refused):
                raise AssertionError(f"{request}: {answer}")
            for fd in answer.fds.values():
                fd.close()
            apply(answer)

    def owner(self, region):
        return next((d for d, rs in self.domains.items() if region in rs), 0)

    def expected(self):
        return {d: {r: (gpa, size, len(pieces) * 64 * KIB)
                    for r, (gpa, size, pieces) in rs.items()} for d, rs in self.domains.items()}

    def found(self):
        client = self.session.client
        state = {d.domain: {} for d in client.list_domains()}
        for r in client.list_regions():
            assert not r.quarantined
            state[r.domain][r.region] = (r.gpa, r.size, r.allocated_bytes)
        return state

    def compare(self):
        while True:
            try:
                found = self.found()
                use = gmem.usage(self.session.client.stats().accounts[0])
                break
            except gmem.Disconnected:
                self.session.come_back()
            except gmem.Refused as refused:
                if refused.rule != "CURSOR":
                    raise
        expected = self.expected()
        assert found == expected, f"\nfound    {found}\nexpected {expected}"
        sizes = [size for rs in expected.values() for _, size, _ in rs.values()]
        assert (use["memory"], use["regions"], use["domains"], use["sessions"]) == \
            (sum(sizes), len(sizes), len(expected), 1), use


class Storm(harness.unittest.TestCase):
    def test_requests_are_done_exactly_once_however_often_it_is_killed(self):
        seed = int(os.environ.get("GM_TEST_SEED", time.time_ns() % 1000000))
        rng = random.Random(seed)
        with Manager() as manager:
            manager.start()
            session = Session(manager)
            model = Model(session, rng)
            killer = Killer(manager, KILLS, random.Random(seed + 1))
            killer.start()
            turns = 0
            try:
                while killer.is_alive():
                    model.turn()
                    if turns % 8 == 0:
                        model.compare()
                    turns += 1
            except BaseException:
                print(f"GM_TEST_SEED={seed}")
                killer.join()
                raise
            self.assertIsNone(killer.error)
            model.compare()
            regions = sum(map(len, model.domains.values()))
            self.assertEqual(len(manager.stored("+r")), regions)
            print(f"{KILLS} kills, {turns} turns, {session.resumed} reconnections")
            session.close()
            with manager.client("admin") as admin:
                self.assertIsNotNone(harness.wait_until(
                    lambda: gmem.usage(admin.stats().accounts[0])["sessions"] == 0))


if __name__ == "__main__":
    harness.main()
