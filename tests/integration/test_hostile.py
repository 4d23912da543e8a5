#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two tenants, one hostile. The other runs a guest throughout, and sees nothing.

After each attack the books, the control groups, /proc/meminfo, fds and processes agree: nothing of
the hostile tenant is left, and nothing of the other's is missing.

GMEMD_HOSTILE: seconds that each attack goes on (1; 60 for the long form). GMEMD_SEED: of what is sent.
"""
import contextlib
import os
import random
import re
import signal
import tempfile
import time
import unittest

import attacks
import harness
import victim
from control_group import ControlGroup, find_root
from harness import BIG, KIB, MIB, gmem, pb

SECONDS = float(os.environ.get("GMEMD_HOSTILE", "1"))
SEED = int(os.environ.get("GMEMD_SEED", "4711"))
IN_VM = "GMEMD_VM" in os.environ
SLOWER = 5 if IN_VM or harness.SANITIZED else 1
# Hostile processes and their workers have a right to the host's CPUs, too.
PAUSE_MAX = 1.0 * SLOWER
GRANT_FACTOR, GRANT_FLOOR = 10, 0.005 * SLOWER
# What a tenant may make the daemon say in one attack, however long that is: see log_stderr.
LOG_LINES_MAX = 200 + 20 * int(SECONDS)
RSS_GROWTH_MAX = (256 if harness.SANITIZED else 16) * MIB
POLICY = (f"SessionsMax=12\nDomainsMax=8\nRegionsMax=40\nMemoryMax={BIG + 64 * MIB}\n"
          "HugePages=2M:2M\nMemlockMax=64K\nWorkersMax=2\nJobsMax=16\nPersistent=no\n")
# What the fields of requests are called that name an object, and what else has a meaning there.
IDS = ("domain", "region", "session")


def kinds_of(fds):
    """Other daemons, other numbers."""
    return [re.sub(r"\d+", "N", name) for name in fds]


def fill(request, values):
    """Sets every field: to what `values` has under its name, or to something of its type."""
    for field in request.DESCRIPTOR.fields:
        value = values.get(field.name)
        if field.label == field.LABEL_REPEATED:
            if field.message_type:
                fill(getattr(request, field.name).add(), {"offset": 0, "length": 4096})
        elif value is not None:
            setattr(request, field.name, value)
        elif field.type == field.TYPE_BYTES:
            setattr(request, field.name, b"x")
        elif field.type != field.TYPE_MESSAGE:
            setattr(request, field.name, 1)
    return request


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.groups = None
        if find_root() is not None:
            cls.groups = [ControlGroup(f"gm-{name}") for name in ("daemon", "victim", "hostile")]
            for group in cls.groups:
                cls.addClassCleanup(group.remove)
        cls.daemon = harness.Daemon({"victim": "Persistent=yes\n", "hostile": POLICY}, ["--keep"])
        cls.addClassCleanup(cls.daemon.__exit__, None, None, None)
        cls.daemon.__enter__()
        if cls.groups:
            cls.addClassCleanup(ControlGroup.leave)
            for pid in (cls.daemon.pid, *harness.descendants(cls.daemon.pid)):
                cls.groups[0].write("cgroup.procs", pid)
        cls.hire_janitor()
        home = tempfile.TemporaryDirectory(prefix="gmemd-it-")
        cls.addClassCleanup(home.cleanup)
        # The victim's client is in this process, which goes to the victim's group for that.
        if cls.groups:
            cls.groups[1].join()
        cls.victim = victim.Tenant(cls.daemon, "victim", os.path.join(home.name, "token"),
                                   cls.groups[1] if cls.groups else None)
        cls.addClassCleanup(cls.end_victim)
        cls.take_stock()
        began = time.monotonic()
        time.sleep(1)
        cls.quiet = cls.victim.grants(began)

    @classmethod
    def hire_janitor(cls):
        """The process that closes big regions: it comes with the first of them, and stays."""
        with gmem.Client(cls.daemon.socket("hostile")) as client:
            client.region_create(client.domain_create(), 64 * MIB).memory.close()
        harness.wait_until(cls.daemon.books_are_empty)
        time.sleep(0.1)

    @classmethod
    def daemon_pid(cls):
        return next(pid for pid, stat in harness.descendants(cls.daemon.pid).items()
                    if stat[1] == cls.daemon.pid)

    @classmethod
    def daemon_fds(cls):
        """Without sockets: workers have one each, and stay for some seconds with nothing to do. A session
        has a pidfd, too, and a region its memory."""
        folder = f"/proc/{cls.daemon_pid()}/fd"
        names = []
        for fd in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                names.append(os.readlink(os.path.join(folder, fd)))
        return sorted(name for name in names if not name.startswith("socket:"))

    @classmethod
    def take_stock(cls):
        """What there is when nobody is hostile."""
        cls.fds = min((cls.daemon_fds() for _ in range(20)), key=len)
        if not cls.groups:
            return
        cls.other_shared = cls.steady(cls.unaccounted)
        cls.own_files = cls.steady(lambda: cls.own_shared() - cls.victims_memory())

    @staticmethod
    def steady(figure):
        """A figure of control groups once it has stayed the same for as long as it may be old: the
        kernel brings up to date every two seconds what has changed by a few pages only."""
        value = since = None

        def is_steady():
            nonlocal value, since
            now, before = figure(), value
            if now != before:
                value, since = now, time.monotonic()
            return time.monotonic() - since > 2.5
        assert harness.wait_until(is_steady, 60, step=0.1) is not None, value
        return value

    @classmethod
    def unaccounted(cls):
        """Bytes of /proc/meminfo's Shmem that are in none of the three groups."""
        if not IN_VM:
            return 0
        with open("/proc/sys/vm/stat_refresh", "w", encoding="ascii") as file:
            file.write("1")
        return harness.shared_memory() - sum(group.shared_memory() for group in cls.groups)

    @classmethod
    def own_shared(cls):
        return cls.groups[1].shared_memory()

    @classmethod
    def victims_memory(cls):
        """What the books say that memfds of the victim have."""
        return sum(row.allocated_bytes for row in cls.daemon.admin.list_domains("victim")
                   if row.kind == b"memfd")

    @classmethod
    def end_victim(cls):
        ticks, counter, intact = cls.victim.end()
        assert counter - ticks in (0, 1), (ticks, counter)
        # It writes to one page after the other, all but the last 1 MiB of its memory.
        assert intact == min(counter, (victim.GUEST_SIZE - MIB) // 4096), (intact, counter)
        assert harness.wait_until(cls.daemon.books_are_empty) is not None, cls.daemon.admin.stats()
        print(f"the guest has ticked {ticks} times, all {intact} pages that it wrote are intact")

    def setUp(self):
        self.log_lines = len(self.lines())
        self.rss = self.daemon_rss()
        self.began = time.monotonic()
        self.addCleanup(self.check_that_nothing_is_left)
        self.addCleanup(self.check_victim)

    def daemon_rss(self):
        with open(f"/proc/{self.daemon_pid()}/status", encoding="utf-8") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) * KIB

    def lines(self):
        return self.daemon.log_lines("TENANT=hostile")

    def attack(self, attack, *arguments):
        peer = harness.Peer(attack, self.daemon.socket("hostile"), *arguments,
                            self.groups[2] if self.groups else None)
        self.addCleanup(peer.kill)
        return peer

    def eventually(self, condition, say):
        if harness.wait_until(condition, 10 * SLOWER, step=0.02) is None:
            self.fail(say())

    def check_victim(self):
        """Run before the attackers are killed."""
        # Some grants at least must have been tried.
        time.sleep(max(0, self.began + 0.3 - time.monotonic()))
        pause = self.victim.guest.longest_pause(self.began)
        median, longest = self.victim.grants(self.began)
        print(f"{self._testMethodName}: guest's longest pause {pause * 1e3:.0f} ms, grants "
              f"{median * 1e6:.0f} us (quiet {self.quiet[0] * 1e6:.0f}), longest {longest * 1e3:.0f} ms")
        self.assertLess(pause, PAUSE_MAX, "the guest stood still")
        self.assertLess(median, max(GRANT_FACTOR * self.quiet[0], GRANT_FLOOR), "grants are slow")
        self.assertLess(longest, PAUSE_MAX, "a grant has waited")
        self.assertEqual([line for line in self.victim.guest.said if "out of order" in line], [])
        self.assertIsNone(self.victim.guest.process.poll(), self.victim.guest.said)
        self.assertEqual(self.victim.hash_memory(), self.victim.hash)
        self.assertLess(self.daemon_rss() - self.rss, RSS_GROWTH_MAX)
        lines = self.lines()[self.log_lines:]
        self.assertLess(len(lines), LOG_LINES_MAX, "\n".join(lines[-20:]))

    def check_that_nothing_is_left(self):
        """Run when the attackers are dead."""
        daemon = self.daemon
        self.eventually(lambda: daemon.used("hostile") == {}, lambda: daemon.used("hostile"))
        self.assertEqual(list(daemon.admin.list_domains("hostile")), [])
        self.eventually(lambda: kinds_of(self.daemon_fds()) == kinds_of(self.fds),
                        lambda: f"{self.daemon_fds()} are open, {self.fds} before")
        [row] = [r for r in daemon.admin.list_regions(tenant="victim")
                 if r.region == self.victim.region.id]
        blocks = os.fstat(self.victim.region.memory.fileno()).st_blocks * 512
        self.assertEqual((row.allocated_bytes, blocks), (victim.KEPT_SIZE, victim.KEPT_SIZE))
        print(f"{time.monotonic() - self.began:.1f} s")
        if not self.groups:
            return
        hostile = self.groups[2]
        self.eventually(lambda: not hostile.pids(), lambda: f"processes {hostile.pids()}")
        self.eventually(lambda: hostile.shared_memory() == 0,
                        lambda: f"{hostile.shared_memory()} bytes of the hostile tenant's are left")
        self.eventually(lambda: self.own_shared() - self.own_files == self.victims_memory(),
                        lambda: f"the victim's group has {self.own_shared()} bytes, of them "
                        f"{self.own_files} of files; the books say {self.victims_memory()}")
        self.eventually(lambda: self.unaccounted() == self.other_shared,
                        lambda: f"{self.unaccounted() - self.other_shared} bytes are nobody's")

    # ---- the other's ids, tokens, names

    def ask(self, connection, type, body):
        """(flags, body) of the answer; None: the connection was closed."""
        connection.send_frame(type, random.getrandbits(30) | 1, body)
        frame = connection.receive_frame()
        return frame and (frame.flags, frame.body)

    def probes(self, request_class):
        """Requests about the victim's objects, each with the same about what never was."""
        theirs = {"domain": self.victim.domain.id, "region": self.victim.region.id,
                  "session": self.daemon.admin.list_sessions("victim")[0].session,
                  "token": self.victim.domain.token, "tenant": b"victim", "name": b"kept-by-victim",
                  "kind": b"memfd", "serial": 1, "step": 1, "box": 1, "client": b"victim", "bytes": 4096,
                  "session_key": self.victim.client.session_key, "take_over": True, "size": MIB}
        nobodys = {**theirs, "token": os.urandom(32), "name": b"kept-by-nobody",
                   **{name: random.getrandbits(64) | 1 for name in IDS}}
        names = [field.name for field in request_class.DESCRIPTOR.fields]
        yield [fill(request_class(), values) for values in (theirs, nobodys)]
        for chosen in ([name for name in names if name in theirs],
                       *([name] for name in names if name in theirs),
                       *([name, "token"] for name in names if name in IDS and "token" in names)):
            yield [request_class(**{name: values[name] for name in chosen})
                   for values in (theirs, nobodys)]
        for what in range(4) if "what" in names else ():
            yield [request_class(what=what, domain=values["domain"]) for values in (theirs, nobodys)]

    def test_every_verb_on_what_is_the_others(self):
        path, tried = self.daemon.socket("hostile"), 0
        secrets = self.victim.secrets()
        for type, (request_class, _) in gmem.VERBS.items():
            names_object = any(f.name in IDS for f in request_class.DESCRIPTOR.fields)
            for theirs, nobodys in self.probes(request_class):
                with attacks.connect(path, greet=type != gmem.HELLO) as connection:
                    mine = self.ask(connection, type, theirs.SerializeToString())
                with attacks.connect(path, greet=type != gmem.HELLO) as connection:
                    other = self.ask(connection, type, nobodys.SerializeToString())
                tried += 1
                if mine is None:
                    self.assertIsNone(other, theirs)
                    continue
                flags, body = mine
                if names_object and any(theirs.HasField(f) for f in IDS if f in theirs.DESCRIPTOR.fields_by_name):
                    self.assertEqual(mine, other, theirs)
                    self.assertEqual(flags, gmem.ANSWER | gmem.REFUSED, theirs)
                told = [secret for secret in secrets if secret in body]
                self.assertEqual(told, [], (theirs, body))
        print(f"{tried} requests of {len(gmem.VERBS)} verbs")
        self.assertEqual(self.victim.client.domain_get(self.victim.domain).attached, True)

    def test_there_is_no_verb_that_was_not_tried(self):
        with attacks.connect(self.daemon.socket("hostile")) as connection:
            connection.send_frame(max(gmem.VERBS) + 1, 2)
            self.assertIsNone(connection.receive_frame())
        self.assertEqual(sorted(gmem.VERBS), list(range(1, max(gmem.VERBS) + 1)))

    # ---- nonsense

    def test_every_malformed_packet_that_the_fuzzers_have(self):
        peer = self.attack(attacks.malformed, SECONDS, SEED)
        what, packets, runs = peer.report(60 * SLOWER)
        self.assertEqual(what, "seeds")
        self.assertGreater(min(packets // 50, runs // 10), 0)
        print(packets, "packets and", runs, "runs as they are,",
              peer.report(60 * SLOWER + SECONDS)[1], "with those that were changed, seed", SEED)

    def test_fds_that_nobody_wants(self):
        peer = self.attack(attacks.send_fds, SECONDS)
        print(*peer.report(60 * SLOWER + SECONDS), "packets with fds, refused by the kernel")

    # ---- too much of everything

    def test_all_that_there_is_only_so_much_of(self):
        with harness.hugepages(2) if os.access("/proc/sys/vm/nr_hugepages", os.W_OK) else \
                contextlib.nullcontext():
            peer = self.attack(attacks.take_all)
            met = peer.report(60 * SLOWER)
            time.sleep(SECONDS)
            for use in self.daemon.account("hostile").usage:
                self.assertLessEqual(use.used, use.limit, use.resource)
            self.check_victim()
            peer.kill()
            self.check_that_nothing_is_left()
        self.assertLessEqual({"SESSIONS_MAX", "DOMAINS_MAX", "REGIONS_MAX", "MEMORY_MAX", "WATCHERS",
                              "MEMLOCK_MAX", "SLOTS", "JOBS_MAX"}, met)
        self.assertTrue(met & {"HUGE_PAGES", "HUGE_PAGES_FREE"}, met)

    def test_page_maps_that_are_as_broken_up_as_can_be(self):
        peer = self.attack(attacks.break_up_page_maps)
        # Two bits for each page, and what holds them together.
        self.assertLess(peer.report(60 * SLOWER), MIB)

    def flood(self, *floods):
        peers = [self.attack(flood) for flood in floods]
        for peer in peers:
            peer.report(60 * SLOWER)
        time.sleep(SECONDS + 0.5)
        for peer in peers:
            self.assertIsNotNone(harness.process_stat(peer.pid), "the flood has dried up")

    def test_workers_without_end(self):
        self.flood(attacks.flood_workers, attacks.flood_workers)
        self.assertLessEqual(self.daemon.used("hostile").get("workers", 0), 2)

    def test_requests_and_lines_of_log_without_end(self):
        self.flood(attacks.flood_requests, attacks.flood_violations)

    def test_answers_news_and_fds_that_nobody_reads(self):
        self.flood(attacks.never_read, attacks.never_read)

    # ---- deaths

    def test_a_worker_that_is_killed_for_memory(self):
        if not self.groups:
            self.skipTest("no memory controller")
        hostile = self.groups[2]
        self.addCleanup(hostile.set_limit, None)
        size = min(BIG, 1 << 30) if not IN_VM else 256 * MIB
        peer = self.attack(attacks.be_killed_for_memory, size, hostile)
        how, booked, blocks, _, text = peer.report(60 * SLOWER)
        self.assertEqual(how, "WORKER_LOST/MEMORY_CGROUP", text)
        self.assertIn("out of memory in cgroup /gm-hostile.", text)
        self.assertEqual(booked, blocks)
        self.assertGreater(hostile.oom_kills(), 0)

    def test_policies_that_change_under_it(self):
        self.addCleanup(self.check_that_policy_is_back)
        self.addCleanup(self.reload, POLICY)
        for flood in (attacks.flood_workers, attacks.flood_requests):
            self.attack(flood).report(60 * SLOWER)
        end = time.monotonic() + SECONDS
        policies = ["MemoryMax=1M\nSessionsMax=1\nDomainsMax=1\nJobsMax=1\n", "MemoryMax=lots\n",
                    "Kinds=guest-memfd\n", "RequestsRate=100\nAllocateRate=1M\nWorkersMax=1\n", POLICY]
        n = 0
        while time.monotonic() < end or n < len(policies):
            self.reload(policies[n % len(policies)])
            n += 1

    def check_that_policy_is_back(self):
        [sessions] = [use for use in self.daemon.account("hostile").usage if use.resource == b"sessions"]
        self.assertEqual(sessions.limit, 12)

    def reload(self, policy):
        self.daemon.write_policy("hostile", policy)
        os.kill(self.daemon.pid, signal.SIGHUP)
        # How often it has been read is not to be seen: those lines are rationed, too.
        time.sleep(0.1 * SLOWER)

    def test_a_daemon_that_is_killed_under_it(self):
        for flood in (attacks.flood_workers, attacks.flood_requests, attacks.flood_violations):
            self.attack(flood).report(60 * SLOWER)
        for _ in range(3):
            time.sleep(SECONDS / 3)
            os.kill(self.daemon_pid(), signal.SIGKILL)
            self.daemon.admin.close()
            self.victim.client.reconnect()
            self.daemon.admin = gmem.Client(self.daemon.path("admin"), name="harness")
            self.daemon.admin.stats()
        self.rss = self.daemon_rss()
        self.log_lines = len(self.lines())


if __name__ == "__main__":
    harness.main()
