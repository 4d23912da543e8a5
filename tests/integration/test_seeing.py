#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What an operator sees: lines of the log, events, metrics, top; and that none of it stops gmemd."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
import unittest

import harness
import openmetrics
from harness import MIB, gmem, pb

HOSTILE = "MemoryMax=64M\n"


class Watcher:
    """gmemctl watch as a process; its lines as they come."""

    def __init__(self, address, *args):
        self.process = subprocess.Popen(
            [harness.program("gmemctl"), "--address", address, "watch", *args],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._rest = b""

    def line(self, timeout=harness.PATIENCE):
        end = time.monotonic() + timeout
        while b"\n" not in self._rest:
            if not select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError("no line in time")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise AssertionError("no more lines: " + self.process.stderr.read().decode())
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return json.loads(line)

    def close(self):
        self.process.kill()
        self.process.communicate()


class Seeing(harness.DaemonCase):
    TENANTS = {"acme": "", "rival": HOSTILE, "flood": "", "audited": ""}

    def address(self, at):
        return self.daemon.path("admin") if at == "admin" else self.daemon.socket(at)

    def ctl(self, *args, at="acme"):
        return subprocess.run([harness.program("gmemctl"), "--address", self.address(at), *args],
                              capture_output=True, text=True, timeout=harness.PATIENCE, check=True).stdout

    def watch(self, at="acme", *args):
        watcher = Watcher(self.address(at), *args)
        self.addCleanup(watcher.close)
        # Its WATCH has been answered when another session can see that the news are told.
        client = self.client("acme" if at == "admin" else at, name="poker")
        def told():
            client.domain_destroy(client.domain_create())
            return select.select([watcher.process.stdout], [], [], 0.05)[0]
        self.assertIsNotNone(harness.wait_until(told))
        last = client.domain_create()
        while watcher.line().get("domain") != gmem.format_id(last.id):
            pass
        client.domain_destroy(last)
        self.assertEqual(watcher.line()["kind"], "end")
        client.close()
        return watcher

    # the log

    def test_every_decision_is_a_line_with_its_fields(self):
        client = self.client("audited", name="vmm/7")
        domain, region = self.domain_and_region(client, 4 * MIB)
        who = f"PEER_PID={os.getpid()} PEER_UID=0"
        names = f"TENANT=audited DOMAIN={gmem.format_id(domain.id)}"
        client.allocate(region, [(0, region.size)])
        with self.refused("NO_SUCH_OBJECT"):
            client.region_get(12345)
        client.domain_destroy(domain)
        for text, *words in (("a domain was made", names),
                             ("a region was granted", names, "BYTES=4194304",
                              f"REGION={gmem.format_id(region.id)}"),
                             ("a job was done", "VERB=ALLOCATE", "BYTES=4194304"),
                             ("REGION_GET refused", "TENANT=audited"),
                             ("a domain was destroyed", names)):
            lines = self.daemon.wait_log(text, "CLIENT=vmm/7", *words)
            self.assertTrue(all(who in line for line in lines), lines)
            # The id is the journal's.
            self.assertFalse([line for line in lines if "MESSAGE_ID" in line])

    def test_a_flood_of_refusals_is_rationed_and_the_rest_is_counted(self):
        client = self.client("flood", name="hostile")
        for _ in range(500):
            with self.refused("NO_SUCH_OBJECT"):
                client.region_get(1)
        lines = self.daemon.log_lines("REGION_GET refused", "TENANT=flood ")
        self.assertLessEqual(len(lines), 10)
        # Nothing more comes from the tenant: the count is said all the same.
        told = self.daemon.wait_log("more refusals of flood were not logged", timeout=15)
        self.assertEqual(int(re.search(r"gmemd: (\d+) more", told[0]).group(1)), 500 - len(lines))

    def test_no_secret_is_in_the_log_or_in_an_event(self):
        watcher = self.watch("admin")
        client = self.client(name="keeper")
        domain = client.domain_create(persistent=True)
        client.domain_destroy(domain)
        token = bytes(domain.token)
        self.assertEqual(len(token), 32)
        events = [watcher.line(), watcher.line()]
        self.assertEqual([e["kind"] for e in events], ["domain", "end"])
        for text in (json.dumps(events), self.daemon.log()):
            self.assertNotIn(token.hex(), text.lower())
            self.assertNotIn(repr(token)[2:-1], text)

    # watching

    def test_watch_tells_a_tenant_what_is_its_own(self):
        watcher = self.watch("acme")
        theirs = self.client("rival").domain_create()
        client = self.client(name="vmm/8")
        domain, region = self.domain_and_region(client, MIB)
        made, granted = watcher.line(), watcher.line()
        self.assertEqual((made["kind"], made["domain"]), ("domain", gmem.format_id(domain.id)))
        self.assertEqual((granted["kind"], granted["region"], granted["bytes"], granted["pid"],
                          granted["client"], granted["lost"]),
                         ("grant", gmem.format_id(region.id), MIB, os.getpid(), "vmm/8", 0))
        self.assertNotIn("tenant", granted)
        self.assertNotEqual(theirs.id, domain.id)

    def test_watch_on_the_admin_socket_tells_of_all(self):
        watcher = self.watch("admin")
        with self.refused("OVER_LIMIT", "REGION_MAX"):
            self.domain_and_region(self.client("rival", name="greedy"), 128 * MIB)
        made, refused = watcher.line(), watcher.line()
        self.assertEqual((made["tenant"], made["kind"]), ("rival", "domain"))
        self.assertEqual((refused["tenant"], refused["kind"], refused["rule"], refused["status"],
                          refused["verb"]),
                         ("rival", "refusal", "RegionMax", "over-limit", "REGION_CREATE"))

    def test_watch_tells_of_a_violation_and_of_an_eviction(self):
        watcher = self.watch("admin")
        client = self.client(name="victim")
        domain = client.domain_create()
        self.assertEqual(watcher.line()["kind"], "domain")
        self.daemon.admin.evict(domain.id)
        self.assertEqual(watcher.line()["kind"], "evict")
        connection = self.connection("rival")
        connection.send_frame(gmem.PING, 1, b"")
        self.assertIsNone(connection.receive_frame())
        event = watcher.line()
        self.assertEqual((event["kind"], event["tenant"], event["text"]),
                         ("violation", "rival", "a message before HELLO"))

    def test_watch_ends_after_so_many_lines_and_when_it_is_told_to(self):
        for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            watcher = self.watch()
            watcher.process.send_signal(signo)
            self.assertEqual(watcher.process.wait(harness.PATIENCE), 0)
            self.assertEqual(watcher.process.stderr.read(), b"")
            watcher.close()
        watcher = Watcher(self.address("acme"), "--count", "2")
        client = self.client()
        self.assertIsNotNone(harness.wait_until(
            lambda: client.domain_destroy(client.domain_create()) or
            watcher.process.poll() is not None))
        out, err = watcher.process.communicate()
        self.assertEqual((len(out.splitlines()), err, watcher.process.returncode), (2, b"", 0))

    def test_watch_ends_when_nobody_reads_it(self):
        watcher = self.watch()
        watcher.process.stdout.close()
        self.assertEqual(watcher.process.wait(harness.PATIENCE), 0)
        self.assertEqual(watcher.process.stderr.read(), b"")

    def test_a_watcher_that_does_not_read_loses_events_and_is_told_how_many(self):
        watcher = self.client(name="sleeper")
        watcher.call(pb.WatchRequest())
        client = self.client("acme", name="busy")
        before = self.daemon.rss()
        for _ in range(4000):
            client.domain_destroy(client.domain_create())
        events = []
        while not any(event.lost for event in events):
            # The one that says what is lost is the first that had room again.
            client.domain_destroy(client.domain_create())
            watcher.ping()
            events += [event.body for event in watcher.events if event.type == gmem.NEWS]
            watcher.events.clear()
        lost = [i for i, event in enumerate(events) if event.lost]
        self.assertEqual(len(lost), 1)
        # Told, lost, and told again: none is missing in the account.
        made = sum(1 for event in events if event.kind == pb.NEWS_DOMAIN)
        self.assertGreater(events[lost[0]].lost, 4000)
        self.assertEqual((len(events) + events[lost[0]].lost) % 2, 0)
        self.assertGreater(made, 100)
        if not harness.SANITIZED:
            self.assertLess(self.daemon.rss() - before, 4 * MIB)

    def test_so_many_sessions_watch_and_no_more(self):
        clients = [self.client() for _ in range(5)]
        for client in clients[:4]:
            client.call(pb.WatchRequest())
        with self.refused("OVER_LIMIT", "WATCHERS", limit=4, used=4, asked=1):
            clients[4].call(pb.WatchRequest())

    # metrics

    def metrics(self, *args, at="acme"):
        return openmetrics.parse(self.ctl("metrics", *args, at=at))

    def test_metrics_of_a_tenant(self):
        client = self.client()
        before = self.metrics()
        domain, region = self.domain_and_region(client, 8 * MIB)
        client.allocate(region, [(0, region.size)])
        with self.refused("NO_SUCH_OBJECT"):
            client.region_get(1)
        after = self.metrics()
        def rise(family, suffix="_total", **labels):
            def of(families):
                try:
                    return families["gmemd_tenant_" + family].value(suffix, tenant="acme", **labels)
                except KeyError:
                    return 0
            return of(after) - of(before)
        self.assertEqual(rise("used_bytes", "", resource="memory"), 8 * MIB)
        self.assertEqual(rise("used", "", resource="regions"), 1)
        self.assertEqual(rise("allocated_bytes", ""), 8 * MIB)
        self.assertEqual(rise("answers", code="no-such-object"), 1)
        self.assertEqual(rise("events", kind="grant"), 1)
        self.assertEqual(rise("events", kind="job"), 1)
        self.assertEqual(rise("grant_latency_seconds", "_count"), 1)
        self.assertEqual(rise("job_latency_seconds", "_count"), 1)
        self.assertGreater(rise("job_latency_seconds", "_sum"), 0)
        self.assertLess(rise("grant_latency_seconds", "_sum"), 1)
        self.assertNotIn("gmemd_host_requests", after)
        self.assertNotIn("gmemd_resident_memory_bytes", after)

    def test_metrics_of_the_host_and_of_every_tenant(self):
        with self.refused("OVER_LIMIT"):
            self.domain_and_region(self.client("rival"), 128 * MIB)
        families = self.metrics(at="admin")
        self.assertEqual({s.labels["tenant"] for s in families["gmemd_tenant_requests"].samples},
                         set(self.TENANTS))
        tenants = sum(s.value for s in families["gmemd_tenant_refusals"].samples
                      if s.labels["rule"] == "RegionMax")
        self.assertGreaterEqual(tenants, 1)
        self.assertEqual(families["gmemd_host_refusals"].value("_total", rule="RegionMax"), tenants)
        self.assertGreater(families["gmemd_resident_memory_bytes"].value(), MIB)
        self.assertEqual(families["gmemd_tenant_limit_bytes"].value(tenant="rival", resource="memory"),
                         64 * MIB)
        one = self.metrics("--tenant", "rival", at="admin")
        self.assertEqual({s.labels["tenant"] for s in one["gmemd_tenant_requests"].samples}, {"rival"})
        self.assertNotIn("gmemd_host_requests", one)

    def test_metrics_as_json_says_the_same(self):
        tree = json.loads(self.ctl("--json", "metrics", at="admin"))
        families = self.metrics(at="admin")
        for account in tree["accounts"][1:]:
            self.assertEqual(account["resources"]["memory"]["limit"],
                             families["gmemd_tenant_limit_bytes"].value(tenant=account["account"],
                                                                        resource="memory"))

    def test_metrics_of_another_are_not_for_a_tenant(self):
        done = subprocess.run([harness.program("gmemctl"), "--address", self.address("acme"),
                               "metrics", "--tenant", "rival"], capture_output=True, text=True,
                              check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("admin socket", done.stderr)

    # top

    def test_top_once_lists_tenants_by_memory(self):
        self.domain_and_region(self.client("rival"), 8 * MIB)
        self.domain_and_region(self.client("acme"), 16 * MIB)
        rows = json.loads(self.ctl("--json", "top", "--once", at="admin"))
        self.assertEqual([r["account"] for r in rows][:3], ["host", "acme", "rival"])
        self.assertEqual([r["memory"] for r in rows][:3], [24 * MIB, 16 * MIB, 8 * MIB])
        text = self.ctl("top", "--once", at="admin")
        self.assertRegex(text, r"(?m)^acme +16M ")
        self.assertNotIn("\033", text)

    def top_on_a_terminal(self, terminal):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        process = subprocess.Popen([harness.program("gmemctl"), "--address", self.address("admin"),
                                    "top", "--interval", "1"], stdin=slave, stdout=slave,
                                   stderr=slave, env=dict(os.environ, TERM=terminal))
        self.addCleanup(process.kill)
        os.close(slave)
        return master, process

    def read_until(self, fd, pattern):
        data = b""
        end = time.monotonic() + harness.PATIENCE
        while not re.search(pattern, data):
            if not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(data)
            data += os.read(fd, 65536)
        return data

    def test_top_on_a_terminal_looks_again_and_q_ends_it(self):
        master, process = self.top_on_a_terminal("xterm")
        data = self.read_until(master, rb"(?s)rival.*\033\[H\033\[J.*rival")
        self.assertIn(b"q ends", data)
        os.write(master, b"q")
        self.assertEqual(process.wait(harness.PATIENCE), 0)

    def test_top_on_a_dumb_terminal_is_plain_text_and_ends_by_a_signal(self):
        master, process = self.top_on_a_terminal("dumb")
        self.assertNotIn(b"\033", self.read_until(master, rb"(?s)rival.*rival"))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(harness.PATIENCE), 0)

    # help and completion

    def commands(self):
        return re.findall(r"(?m)^  (?!gmemctl)([a-z]+) ", self.ctl("--help"))

    def complete(self, *words):
        script = os.path.join(harness.SOURCE, "client", "gmemctl", "gmemctl.bash-completion")
        code = ("source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); "
                "_gmemctl; printf '%s\\n' \"${COMPREPLY[@]}\"")
        done = subprocess.run(["bash", "-c", code, "bash", script, "gmemctl", *words],
                              capture_output=True, text=True, check=True,
                              env=dict(os.environ, PATH=harness.BUILD + "/bin:" + os.environ["PATH"]))
        return done.stdout.split()

    def test_every_command_and_option_of_the_help_can_be_completed(self):
        top = self.complete("")
        self.assertGreater(len(self.commands()), 10)
        for command in self.commands():
            self.assertIn(command, top)
            text = self.ctl(command, "--help")
            options = set(re.findall(r"(?m)^  (--[a-z-]+)", text)) - {"--help"}
            self.assertEqual(options - set(self.complete(command, "--")), set(), command)
        for option in re.findall(r"(?m)^  (--[a-z-]+)", self.ctl("--help")):
            self.assertIn(option, self.complete("--"))

    def test_every_command_is_in_the_manual(self):
        with open(os.path.join(harness.SOURCE, "client", "gmemctl", "gmemctl.1.scd"),
                  encoding="utf-8") as file:
            manual = file.read()
        for command in self.commands():
            self.assertRegex(manual, rf"(?m)^\*{command}\b", command)


class Pages(unittest.TestCase):
    def test_every_one_of_256_tenants_has_its_metrics(self):
        tenants = {f"tenant-with-a-long-name-{i:040d}": "" for i in range(256)}
        with harness.Daemon(tenants) as daemon:
            text = subprocess.run([harness.program("gmemctl"), "--address", daemon.path("admin"),
                                   "metrics"], capture_output=True, text=True, check=True).stdout
            families = openmetrics.parse(text)
            self.assertEqual({s.labels["tenant"] for s in families["gmemd_tenant_requests"].samples},
                             set(tenants))


class BlockedLog(unittest.TestCase):
    """stderr is a pipe that nobody reads, and that is full."""

    def test_the_daemon_goes_on_and_says_later_what_was_lost(self):
        read_end, write_end = os.pipe()
        fcntl.fcntl(read_end, fcntl.F_SETFL, os.O_NONBLOCK)
        fcntl.fcntl(write_end, fcntl.F_SETFL, os.O_NONBLOCK)
        with harness.Daemon(pass_fds=(write_end,),
                            wrapper=["sh", "-c", f'exec "$@" 2>&{write_end}', "sh"]) as daemon:
            os.set_blocking(write_end, True)
            flags = fcntl.fcntl(write_end, fcntl.F_GETFL)
            os.set_blocking(write_end, False)
            try:
                while True:
                    os.write(write_end, b"x" * 4096)
            except BlockingIOError:
                pass
            os.set_blocking(write_end, True)
            with gmem.Client(daemon.socket("acme"), name="vmm/1") as client:
                for _ in range(20):
                    client.domain_destroy(client.domain_create())
                client.ping()
                self.assertEqual(fcntl.fcntl(write_end, fcntl.F_GETFL), flags,
                                 "others who share the pipe are concerned")
                while True:
                    try:
                        os.read(read_end, 65536)
                    except BlockingIOError:
                        break
                client.domain_create()
                said = os.read(read_end, 65536).decode()
            self.assertRegex(said, r"^gmemd: lines lost here because nobody read them: 4\d\n"
                                   r"gmemd: a domain was made")
        os.close(read_end)
        os.close(write_end)


if __name__ == "__main__":
    harness.main()
