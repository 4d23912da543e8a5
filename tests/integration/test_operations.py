#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What an operator does with gmemd: starts it, looks, changes policies, evicts, stops it."""
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import unittest

import harness
from harness import BIG, GIB, MIB, gmem, pb

# Becomes gmemd with the fds named in $INHERIT at 3 and up, as a service manager passes them.
SERVICE_MANAGER = """
import os, sys
fds = [os.dup(int(fd)) for fd in os.environ.pop("INHERIT").split()]
for number, fd in enumerate(fds, 3):
    os.dup2(fd, number)
    os.set_inheritable(number, True)
os.environ.update(LISTEN_FDS=str(len(fds)), LISTEN_PID=str(os.getpid()))
os.closerange(3 + len(fds), 256)
os.execv(sys.argv[1], sys.argv[1:])
"""


def run_gmemd(*args):
    """Runs a gmemd that is expected to end by itself: (exit status, what it said)."""
    sandbox = ["--sandbox", "off"] if harness.SANITIZED else []
    done = subprocess.run([harness.program("gmemd"), *sandbox, *args], capture_output=True,
                          timeout=harness.PATIENCE, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


class Starting(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="gmemd-it-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name, text=None):
        path = os.path.join(self.folder, name)
        if text is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return path

    def test_bad_usage_is_status_2(self):
        for args in (["--nonsense"], ["--listen", "acme"], ["--listen", "a/b=" + self.path("s")],
                     ["--listen", "admin=" + self.path("s")], ["--sandbox", "maybe"],
                     ["--listen", "a=" + self.path("s"), "--workers", "-1"], ["extra"]):
            with self.subTest(args=args):
                self.assertEqual(run_gmemd(*args)[0], 2)

    def test_a_bad_policy_is_status_3_with_file_and_line(self):
        policy = self.path("policy", "[X-Gmemd]\nKinds=memfd\nMemoryMax=lots\n")
        for args in (["--check-policy", policy],
                     ["--listen", "a=" + self.path("s"), "--policy", policy]):
            status, said = run_gmemd(*args)
            self.assertEqual(status, 3, said)
            self.assertRegex(said, re.escape(f"{policy}:3: MemoryMax: "))
        self.assertFalse(os.path.exists(self.path("s")))

    def test_a_good_policy_is_status_0(self):
        policy = self.path("policy", "[Unit]\nWhat=ever\n[X-Gmemd]\nMemoryMax=1G\nHugePages=2M:1G\n")
        self.assertEqual(run_gmemd("--check-policy", policy)[0], 0)

    def test_all_units_are_checked_wherever_a_tenant_is_named(self):
        units = os.path.join(self.folder, "etc", "systemd", "system")
        os.makedirs(os.path.join(units, "gmemd.target.wants"))
        os.makedirs(os.path.join(units, "gmemd@.socket.d"))
        os.makedirs(os.path.join(units, "gmemd@drop.socket.d"))
        os.symlink("../gmemd@.socket", os.path.join(units, "gmemd.target.wants", "gmemd@on.socket"))
        good, bad = "[X-Gmemd]\n", "[X-Gmemd]\nMemoryMax=lots\n"
        names = ("gmemd.service", "gmemd@own.socket", "gmemd@.socket.d/all.conf",
                 "gmemd@drop.socket.d/a.conf")
        paths = [self.path(os.path.join(units, name), good) for name in names]
        self.path(os.path.join(units, "gmemd@.socket"), "[Socket]\n")
        check = ("--unit-root", self.folder, "--check-policy", "all")
        self.assertEqual(run_gmemd(*check), (0, "all: ok\n"))
        for path in paths:
            self.path(path, bad)
            status, said = run_gmemd(*check)
            self.assertEqual(status, 3, path)
            self.assertIn(f"{path.removeprefix(self.folder)}:2: MemoryMax: ", said)
            self.path(path, good)

    def test_nothing_to_listen_on_or_an_address_in_use_is_status_4(self):
        self.assertEqual(run_gmemd()[0], 4)
        self.assertEqual(run_gmemd("--listen", "a=" + self.path("no/such/folder"))[0], 4)
        with harness.Daemon() as daemon:
            status, said = run_gmemd("--listen", "a=" + daemon.socket("acme"))
            self.assertEqual(status, 4, said)
            self.assertIn(daemon.socket("acme"), said)
            gmem.Client(daemon.socket("acme")).close()

    def test_a_file_that_is_no_socket_is_never_replaced(self):
        precious = self.path("precious", "data")
        self.assertEqual(run_gmemd("--listen", "a=" + precious)[0], 4)
        with open(precious, encoding="utf-8") as file:
            self.assertEqual(file.read(), "data")

    def test_a_socket_that_nobody_listens_on_is_replaced(self):
        path = self.path("acme.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
            dead.bind(path)
        with harness.Daemon({}, ["--listen", f"acme={path}"]):
            gmem.Client(path).close()
        self.assertFalse(os.path.exists(path))

    def test_sockets_have_the_modes_that_were_asked_for(self):
        with harness.Daemon(args=["--socket-mode", "0606"]) as daemon:
            def mode(path):
                return stat.S_IMODE(os.stat(path).st_mode)
            self.assertEqual(mode(daemon.socket("acme")), 0o606)
            self.assertEqual(mode(daemon.path("admin")), 0o600)
        with harness.Daemon() as daemon:
            self.assertEqual(stat.S_IMODE(os.stat(daemon.socket("acme")).st_mode), 0o660)

    def test_probe_writes_the_hosts_answer(self):
        done = subprocess.run([harness.program("gmemd"), "--probe"], capture_output=True,
                              timeout=harness.PATIENCE, check=True)
        host = pb.HostReply.FromString(done.stdout)
        self.assertEqual([b.kind for b in host.backends][:2], [b"memfd", b"guest-memfd"])
        self.assertGreater(host.memory_total, 0)

    def listener(self, name, type=socket.SOCK_SEQPACKET):
        sock = socket.socket(socket.AF_UNIX, type)
        self.addCleanup(sock.close)
        sock.bind(self.path(name))
        sock.listen(16)
        return sock

    def inherit(self, sockets, names):
        return {"wrapper": [sys.executable, "-c", SERVICE_MANAGER],
                "pass_fds": [s.fileno() for s in sockets],
                "env": {"INHERIT": " ".join(str(s.fileno()) for s in sockets),
                        "LISTEN_FDNAMES": ":".join(names)}}

    def test_sockets_of_a_service_manager_are_served_and_left_in_place(self):
        sockets = [self.listener(name) for name in ("acme", "beta", "operator")]
        names = ["gmemd@acme.socket", "beta", "gmemd-admin.socket"]
        with harness.Daemon({"acme": "MemoryMax=8M\n"}, listen=False,
                            **self.inherit(sockets, names)) as daemon:
            with gmem.Client(self.path("acme")) as acme, gmem.Client(self.path("beta")) as beta, \
                    gmem.Client(self.path("operator")) as operator:
                self.assertEqual((acme.limits.tenant, acme.limits.admin), (b"acme", False))
                self.assertEqual((beta.limits.tenant, beta.limits.admin), (b"beta", False))
                self.assertTrue(operator.limits.admin)
                self.assertEqual([t.account for t in operator.list_tenants()], [b"acme", b"beta"])
                with self.assertRaises(gmem.Refused) as caught:
                    acme.region_create(acme.domain_create(), 16 * MIB)
                self.assertEqual(caught.exception.limit, 8 * MIB)
            self.assertEqual(daemon.used("acme"), {})
        self.assertTrue(os.path.exists(self.path("acme")), "the service manager's socket is gone")

    def test_a_socket_of_a_wrong_type_is_not_taken(self):
        sockets = [self.listener("stream", socket.SOCK_STREAM)]
        with self.assertRaisesRegex(AssertionError, "ended with 2"):
            with harness.Daemon({}, listen=False, **self.inherit(sockets, ["acme"])):
                pass

    def test_the_service_manager_is_told_of_every_stage(self):
        with harness.Daemon(env={"WATCHDOG_USEC": "200000"}) as daemon:
            self.assertTrue(daemon.notify.seen("READY=1"))
            self.assertIsNotNone(harness.wait_until(lambda: sum(
                "WATCHDOG=1" in m for m in daemon.notify.messages) >= 3, 2.0))
            self.assertIsNotNone(harness.wait_until(
                lambda: any("STATUS=" in m for m in daemon.notify.messages)))
            self.assertFalse(daemon.notify.seen("STOPPING=1"))
            daemon.stop()
            self.assertIsNotNone(harness.wait_until(lambda: daemon.notify.seen("STOPPING=1")))

    def test_no_watchdog_is_fed_where_none_was_asked_for(self):
        with harness.Daemon() as daemon:
            self.assertFalse(daemon.notify.seen("WATCHDOG=1"))

    def test_the_daemon_keeps_no_rights_that_it_does_not_need(self):
        if harness.SANITIZED:
            self.skipTest("sanitizers need system calls that the sandbox has not")
        with harness.Daemon() as daemon:
            with open(f"/proc/{daemon.pid}/status", encoding="ascii") as file:
                status = dict(re.findall(r"^(\w+):\s+(.*)$", file.read(), re.MULTILINE))
            self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
            # CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SETUID
            self.assertEqual(int(status["CapEff"], 16) & (1 << 21 | 1 << 19 | 1 << 16 | 1 << 17 | 1 << 7),
                             0)


class Stopping(unittest.TestCase):
    def job(self, daemon, size=BIG // 2):
        client = gmem.Client(daemon.socket("acme"))
        self.addCleanup(client.close)
        region = client.region_create(client.domain_create(), size)
        job = client.start_allocate(region, [(0, size)])
        client.wait_event(gmem.PROGRESS)
        return client, region, job

    def test_sigterm_lets_a_job_end_tells_everybody_and_ends_with_0(self):
        with harness.Daemon() as daemon:
            client, region, job = self.job(daemon)
            idle = gmem.Client(daemon.socket("acme"))
            self.addCleanup(idle.close)
            daemon.process.send_signal(signal.SIGTERM)
            for session in (client, idle):
                self.assertGreater(session.wait_event(gmem.SHUTDOWN).drain_ms, 0)
            for late in (client.domain_create, lambda: client.allocate(region, [(0, 4096)])):
                with self.assertRaises(gmem.Refused) as caught:
                    late()
                self.assertEqual((caught.exception.code, caught.exception.rule),
                                 ("SHUTTING_DOWN", "DRAINING"))
            self.assertEqual(client.wait(job).reply.bytes, region.size)
            self.assertIsNone(client.receive_frame())
            with self.assertRaises(gmem.Disconnected):
                idle.ping()
            self.assertEqual(daemon.process.wait(harness.PATIENCE), 0)

    def test_who_comes_while_it_stops_gets_no_session(self):
        with harness.Daemon() as daemon:
            client, region, job = self.job(daemon)
            daemon.process.send_signal(signal.SIGTERM)
            client.wait_event(gmem.SHUTDOWN)
            try:
                gmem.Client(daemon.socket("acme")).close()
                self.fail("a new session while stopping")
            except gmem.Refused as refused:
                self.assertEqual((refused.code, refused.rule), ("SHUTTING_DOWN", "DRAINING"))
            except (ConnectionRefusedError, FileNotFoundError, gmem.Disconnected):
                pass
            self.assertEqual(client.wait(job).reply.bytes, region.size)

    def test_a_second_sigterm_ends_the_wait_for_jobs(self):
        with harness.Daemon() as daemon:
            client, _, job = self.job(daemon, 2 * BIG)
            daemon.process.send_signal(signal.SIGTERM)
            client.wait_event(gmem.SHUTDOWN)
            daemon.process.send_signal(signal.SIGTERM)
            try:
                client.wait(job)
                self.fail("the job ended in time")
            except (gmem.Refused, gmem.Disconnected):
                pass
            self.assertIsNotNone(harness.wait_until(lambda: daemon.process.poll() is not None, 4))
            self.assertIn(daemon.process.returncode, (0, 1))
            daemon.exit_status = daemon.process.returncode

    def test_persistent_domains_end_with_the_daemon_and_memory_stays_with_who_has_it(self):
        with harness.Daemon() as daemon:
            client = gmem.Client(daemon.socket("acme"))
            self.addCleanup(client.close)
            region = client.region_create(client.domain_create(persistent=True), MIB)
            daemon.stop()
            self.assertEqual(os.fstat(region.memory.fileno()).st_size, MIB)


class Policies(harness.DaemonCase):
    TENANTS = {"acme": "MemoryMax=64M\n", "beta": "MemoryMax=64M\n"}

    def setUp(self):
        super().setUp()
        self.addCleanup(self.reload, "MemoryMax=64M\n")

    def reload(self, text):
        """Writes acme's policy, sends SIGHUP, and returns the new lines of the log."""
        before = len(self.daemon.log())
        self.daemon.write_policy("acme", text)
        self.daemon.process.send_signal(signal.SIGHUP)
        self.assertIsNotNone(harness.wait_until(
            lambda: re.search(r"polic", self.daemon.log()[before:])), self.daemon.log())
        return self.daemon.log()[before:]

    def limit(self, tenant="acme", resource=b"memory"):
        return next(u.limit for u in self.daemon.account(tenant).usage if u.resource == resource)

    def test_sighup_applies_new_limits_to_new_requests_and_keeps_what_was_granted(self):
        client = self.client()
        domain, region = self.domain_and_region(client, 32 * MIB)
        self.reload("MemoryMax=16M\n")
        self.assertEqual(self.limit(), 16 * MIB)
        with self.refused("OVER_LIMIT", "MEMORY_MAX", limit=16 * MIB, used=32 * MIB, asked=4096):
            client.region_create(domain, 4096, gpa=GIB)
        self.assertEqual(client.allocate(region, [(0, 32 * MIB)]), 32 * MIB)
        self.assertEqual(client.region_get(region, with_fd=True).size, 32 * MIB)
        self.reload("MemoryMax=128M\n")
        client.region_create(domain, 64 * MIB, gpa=GIB)
        client.close()

    def test_a_bad_policy_keeps_the_old_one_of_every_tenant_and_names_the_line(self):
        self.daemon.write_policy("beta", "MemoryMax=1M\n")
        said = self.reload("# comment\nMemoryMax=-5\n")
        self.assertIn(f"{self.daemon.path('acme.policy')}:3: MemoryMax: ", said)
        self.assertEqual(self.limit("acme"), 64 * MIB)
        self.assertEqual(self.limit("beta"), 64 * MIB)
        self.daemon.write_policy("beta", "MemoryMax=64M\n")
        client = self.client()
        self.domain_and_region(client, MIB)

    def test_a_misspelt_key_is_a_fault(self):
        self.assertIn(":2: MemroyMax: ", self.reload("MemroyMax=1M\n"))
        self.assertEqual(self.limit(), 64 * MIB)

    def test_a_policy_that_is_not_there_any_more_keeps_the_old_one(self):
        os.unlink(self.daemon.path("acme.policy"))
        before = len(self.daemon.log())
        self.daemon.process.send_signal(signal.SIGHUP)
        self.assertIsNotNone(harness.wait_until(
            lambda: "acme.policy" in self.daemon.log()[before:]))
        self.assertEqual(self.limit(), 64 * MIB)

    def test_a_tenant_can_be_shut_out_without_losing_its_guests(self):
        client = self.client()
        _, region = self.domain_and_region(client, MIB)
        self.reload("SessionsMax=0\n")
        with self.refused("OVER_LIMIT", "SESSIONS_MAX", limit=0):
            gmem.Client(self.daemon.socket("acme"))
        self.assertEqual(client.allocate(region, [(0, MIB)]), MIB)


class Operator(harness.DaemonCase):
    TENANTS = {"acme": "", "beta": ""}

    def setUp(self):
        super().setUp()
        self.admin = self.daemon.admin
        self.acme, self.beta = self.client("acme"), self.client("beta")

    def test_the_operator_sees_all_tenants_and_what_they_have(self):
        domain, region = self.domain_and_region(self.acme, MIB, name="guest1")
        other = self.beta.domain_create(name="guest1")
        self.assertEqual([t.account for t in self.admin.list_tenants()], [b"acme", b"beta"])
        self.assertEqual({(d.tenant, d.domain) for d in self.admin.list_domains()},
                         {(b"acme", domain.id), (b"beta", other.id)})
        self.assertEqual([d.domain for d in self.admin.list_domains("beta")], [other.id])
        self.assertEqual([(r.tenant, r.region) for r in self.admin.list_regions()],
                         [(b"acme", region.id)])
        self.assertEqual({(s.tenant, s.pid, s.domains) for s in self.admin.list_sessions()
                          if s.tenant}, {(b"acme", os.getpid(), 1), (b"beta", os.getpid(), 1)})
        info = self.admin.region_get(region).info
        self.assertEqual((info.tenant, info.domain, info.size), (b"acme", domain.id, MIB))
        self.assertEqual(self.admin.domain_get(domain).tenant, b"acme")
        self.assertEqual(self.admin.region_map(region), [(0, MIB, "ABSENT")])

    def test_the_operators_stats_add_up(self):
        self.domain_and_region(self.acme, MIB)
        self.domain_and_region(self.beta, 2 * MIB)
        accounts = {a.account: gmem.usage(a) for a in self.admin.stats().accounts}
        self.assertEqual(set(accounts), {b"host", b"acme", b"beta"})
        for resource in ("memory", "regions", "domains", "sessions", "fds"):
            self.assertEqual(accounts[b"host"][resource],
                             accounts[b"acme"][resource] + accounts[b"beta"][resource], resource)
        stats = self.admin.stats()
        self.assertLess(abs(stats.rss_bytes - self.daemon.rss()), 4 * MIB)
        self.assertGreater(stats.uptime_ms, 0)
        self.assertEqual([a.account for a in self.admin.stats("beta").accounts], [b"beta"])
        with self.refused("NO_SUCH_OBJECT"):
            self.admin.stats("nobody")

    def test_an_evicted_domain_ends_at_once_and_its_vmm_is_told(self):
        domain, region = self.domain_and_region(self.acme, 16 * MIB, persistent=True)
        self.acme.allocate(region, [(0, MIB)])
        self.assertEqual(self.admin.evict(domain), (16 * MIB, 0))
        gone = self.acme.wait_event(gmem.DOMAIN_GONE)
        self.assertEqual((gone.domain, gone.why), (domain.id, pb.FAREWELL_EVICTED))
        with self.refused("NO_SUCH_OBJECT"):
            self.acme.region_get(region)
        self.assertNotIn("memory", self.daemon.used("acme"))
        with self.refused("NO_SUCH_OBJECT"):
            self.admin.evict(domain)
        self.assertTrue(self.daemon.log_lines("TENANT=acme", "evict"))
        self.acme.ping()

    def test_an_evicted_domain_takes_its_jobs_along(self):
        domain, region = self.domain_and_region(self.acme, BIG)
        job = self.acme.start_allocate(region, [(0, BIG)])
        self.acme.wait_event(gmem.PROGRESS)
        [worker] = self.workers()
        os.kill(worker, signal.SIGSTOP)
        self.assertEqual(self.admin.evict(domain), (BIG, 1))
        with self.refused("NO_SUCH_OBJECT"):
            self.acme.domain_get(domain)
        with self.refused("NO_SUCH_OBJECT"):
            self.acme.region_get(region)
        self.assertEqual(self.admin.list_domains(), [])
        os.kill(worker, signal.SIGCONT)
        with self.refused("CANCELLED"):
            self.acme.wait(job)
        self.assertEqual(self.acme.wait_event(gmem.DOMAIN_GONE).domain, domain.id)

    def test_an_orphan_can_be_evicted(self):
        domain, _ = self.domain_and_region(self.acme, MIB, persistent=True)
        self.acme.close()
        self.assertEqual(self.admin.evict(domain), (MIB, 0))

    def test_verbs_that_only_tenants_have_are_denied_to_the_operator(self):
        domain, region = self.domain_and_region(self.acme, MIB)
        for verb in (self.admin.domain_create,
                     lambda: self.admin.domain_attach(domain, domain.token),
                     lambda: self.admin.domain_destroy(domain, domain.token),
                     lambda: self.admin.region_create(domain, MIB),
                     lambda: self.admin.region_destroy(region),
                     lambda: self.admin.allocate(region, [(0, 4096)]),
                     lambda: self.admin.discard(region, [(0, 4096)]),
                     lambda: self.admin.cancel(1)):
            with self.refused("DENIED", "PERMISSION"):
                verb()

    def test_the_operator_never_gets_memory(self):
        _, region = self.domain_and_region(self.acme, MIB)
        with self.refused("BUSY", "ATTACHED"):
            self.admin.region_get(region, with_fd=True)
        self.assertIsNone(self.admin.region_get(region).memory)

    def test_verbs_that_only_the_operator_has_are_denied_to_tenants(self):
        domain = self.acme.domain_create()
        for verb in (self.acme.list_tenants, lambda: self.acme.evict(domain),
                     lambda: self.acme.stats("acme"), lambda: self.acme.list_domains("acme")):
            with self.refused("DENIED", "PERMISSION"):
                verb()

    def test_no_token_gets_into_the_log(self):
        domain = self.acme.domain_create(persistent=True)
        for token in (domain.token, domain.token[::-1]):
            with self.assertRaises(gmem.Refused):
                self.beta.domain_attach(domain, token)
        self.acme.domain_destroy(domain, domain.token)
        log = self.daemon.log()
        self.assertNotIn(domain.token.hex(), log)
        self.assertNotIn(domain.token[:8].hex(), log)


if __name__ == "__main__":
    harness.main()
