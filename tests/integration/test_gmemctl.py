#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""gmemctl: every command as text and as JSON, its exit statuses, and its way with errors."""
import json
import os
import pty
import re
import shlex
import signal
import stat
import subprocess
import threading

import harness
from harness import GIB, MIB, gmem

DONE, FAILED, USAGE, NO_DAEMON = 0, 1, 2, 3


class Gmemctl(harness.DaemonCase):
    TENANTS = {"acme": "MemoryMax=2G\n", "beta": ""}

    def ctl(self, *args, at="acme", status=DONE, **options):
        """Runs gmemctl: what it wrote to standard output."""
        address = self.daemon.path("admin") if at == "admin" else self.daemon.socket(at)
        done = subprocess.run([harness.program("gmemctl"), "--address", address, *args],
                              capture_output=True, text=True, timeout=harness.PATIENCE, check=False,
                              **options)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.err = done.stderr
        if status == DONE:
            self.assertEqual(done.stderr, "")
        else:
            self.assertEqual(done.stdout, "")
        return done.stdout

    def json(self, *args, **options):
        return json.loads(self.ctl("--json", *args, **options))

    def error(self, *args, status=FAILED, **options):
        self.ctl("--json", *args, status=status, **options)
        return json.loads(self.err)["error"]

    def token_file(self):
        path = self.daemon.path(f"token-{self.id()}")
        self.addCleanup(lambda: os.path.exists(path) and os.unlink(path))
        return path

    def create(self, *args, at="acme", size="64M"):
        """A persistent domain: what gmemctl says of it, and its token file."""
        path = self.token_file()
        made = self.json("create", "--size", size, "--token-file", path, *args, at=at)
        self.addCleanup(lambda: os.path.exists(path) and
                        self.ctl("destroy", "--token-file", path, at=at))
        return made, path

    # doctor

    def test_doctor_asks_the_daemon(self):
        text, tree = self.ctl("doctor"), self.json("doctor")
        host = self.daemon.admin.host()
        self.assertEqual(tree["asked"], "the daemon")
        self.assertEqual(tree["kernel"], host.kernel.decode())
        self.assertEqual([(b["kind"], b["usable"], b["reason"]) for b in tree["backends"]],
                         [(b.kind.decode(), b.usable, b.reason.decode()) for b in host.backends])
        for backend in host.backends:
            answer = "yes" if backend.usable else "no"
            self.assertRegex(text, rf"  {answer} +{backend.kind.decode()} ")
            self.assertIn(backend.reason.decode(), text)
        self.assertRegex(text, rf"  {'yes' if host.kvm else 'no'} +/dev/kvm")

    def test_doctor_finds_out_by_itself_where_there_is_no_daemon(self):
        for args, check in (((), str), (("--json",), json.loads)):
            done = subprocess.run([harness.program("gmemctl"), "--address",
                                   self.daemon.path("nobody"), *args, "doctor"],
                                  capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, DONE, done.stderr)
            self.assertTrue(check(done.stdout))
            self.assertIn("memfd", done.stdout)
            self.assertNotIn("asked the daemon", done.stdout)

    # list, show, stats

    def test_list_shows_domains_and_regions_and_who_has_them(self):
        made, _ = self.create("--name", "kept")
        client = self.client(name="vmm/1")
        domain, region = self.domain_and_region(client, MIB, name="live")

        rows = {row["domain"]: row for row in self.json("list")}
        self.assertEqual(set(rows), {made["domain"], gmem.format_id(domain.id)})
        kept, live = rows[made["domain"]], rows[gmem.format_id(domain.id)]
        self.assertEqual((kept["name"], kept["persistent"], kept["attached"], kept["pid"]),
                         ("kept", True, False, 0))
        self.assertEqual((live["name"], live["persistent"], live["attached"], live["pid"]),
                         ("live", False, True, os.getpid()))
        self.assertEqual((live["regions"], live["reserved_bytes"]), (1, MIB))
        text = self.ctl("list")
        self.assertRegex(text, rf"{made['domain']} +kept +memfd +persistent +orphaned, \d+min left")
        self.assertRegex(text, rf"{live['domain']} +live +memfd +bound +pid {os.getpid()} ")

        rows = {row["region"]: row for row in self.json("list", "regions")}
        self.assertEqual(rows[gmem.format_id(region.id)]["size"], MIB)
        self.assertEqual(rows[made["region"]]["size"], 64 * MIB)
        self.assertRegex(self.ctl("list", "regions"), rf"{made['region']} +{made['domain']} .* 64M ")
        sessions = self.json("list", "sessions")
        self.assertIn(("vmm/1", os.getpid(), 1),
                      {(s["client"], s["pid"], s["domains"]) for s in sessions})
        self.assertIn("vmm/1", self.ctl("list", "sessions"))

    def test_list_on_the_admin_socket_names_the_tenants(self):
        self.create("--name", "one")
        theirs = self.client("beta").domain_create(name="two")
        self.assertEqual({(d["tenant"], d["name"]) for d in self.json("list", at="admin")},
                         {("acme", "one"), ("beta", "two")})
        self.assertRegex(self.ctl("list", at="admin"), rf"{gmem.format_id(theirs.id)} +beta +two ")
        tenants = {t["tenant"]: t for t in self.json("list", "tenants", at="admin")}
        self.assertEqual(set(tenants), {"acme", "beta"})
        self.assertEqual((tenants["acme"]["memory"], tenants["beta"]["domains"]), (64 * MIB, 1))
        self.assertRegex(self.ctl("list", "tenants", at="admin"), r"acme +\d+ +1 +1 +64M")
        self.ctl("list", "tenants", status=FAILED)
        self.assertIn("admin socket", self.err)

    def test_a_tenant_sees_nothing_of_another(self):
        made, _ = self.create()
        self.assertEqual(self.json("list", at="beta"), [])
        for command in ("show", "map"):
            self.assertEqual(self.error(command, made["domain"], at="beta")["status"],
                             "no-such-object")

    def test_show_tells_all_of_a_domain_or_region(self):
        made, _ = self.create("--name", "shown", "--gpa", "4G")
        tree = self.json("show", made["domain"])
        self.assertEqual((tree["domain"], tree["name"], tree["kind"]),
                         (made["domain"], "shown", "memfd"))
        [region] = tree["region_list"]
        self.assertEqual((region["region"], region["gpa"], region["size"]),
                         (made["region"], 4 * GIB, 64 * MIB))
        self.assertEqual(self.json("show", made["region"]), region)
        for text in (self.ctl("show", made["domain"]), self.ctl("show", made["region"])):
            self.assertIn(made["region"], text)
            self.assertIn("67108864", text)

    def test_stats_are_the_daemons_books(self):
        self.create()
        account = self.daemon.account("acme")
        tree = self.json("stats")
        [mine] = tree["accounts"]
        self.assertEqual(mine["account"], "acme")
        for use in account.usage:
            got = mine["resources"][use.resource.decode()]
            if use.resource not in (b"sessions", b"fds"):
                self.assertEqual(got["used"], use.used)
            self.assertEqual(got["limit"], None if use.limit == 2**64 - 1 else use.limit)
        text = self.ctl("stats")
        self.assertRegex(text, r"(?m)^  memory +64M +2G$")
        self.assertRegex(text, r"(?m)^  fds +\d+ +none$")
        tree = self.json("stats", at="admin")
        self.assertEqual([a["account"] for a in tree["accounts"]], ["host", "acme", "beta"])
        self.assertGreater(tree["rss_bytes"], 0)
        text = self.ctl("stats", at="admin")
        for word in ("host: ", "acme: ", "beta: ", "resident "):
            self.assertIn(word, text)

    # map

    def test_map_draws_the_page_map(self):
        client = self.client()
        _, region = self.domain_and_region(client, 64 * 4096)
        client.allocate(region, [(0, 16 * 4096), (32 * 4096, 4096)])
        name = gmem.format_id(region.id)
        self.assertEqual([(r["offset"], r["length"], r["state"]) for r in self.json("map", name)],
                         [(o, l, s.lower()) for o, l, s in client.region_map(region)])
        drawn = self.ctl("map", name).splitlines()
        self.assertEqual(drawn[0].split(), ["0", "S" * 16 + "." * 16 + "S" + "." * 31])
        self.assertIn("one cell: 4K", drawn[-1])
        self.assertIn("S shared 68K", drawn[-1])
        self.assertIn(". absent 188K", drawn[-1])
        self.assertNotIn("\033", "".join(drawn))

    def test_map_of_a_big_region_stays_small(self):
        client = self.client()
        _, region = self.domain_and_region(client, GIB)
        client.allocate(region, [(0, 256 * MIB)])
        drawn = self.ctl("map", gmem.format_id(region.id)).splitlines()
        self.assertLess(len(drawn), 40)
        cells = "".join(line.split()[1] for line in drawn[:-1])
        self.assertEqual(cells, "S" * (len(cells) // 4) + "." * (len(cells) * 3 // 4))

    # create, hold, destroy, evict

    def test_create_leaves_a_domain_for_who_has_the_token_file(self):
        made, path = self.create("--name", "guest1", "--allocate")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with open(path, encoding="ascii") as file:
            name, token = file.read().split()
        self.assertEqual(name, made["domain"])
        client = self.client()
        attached = client.domain_attach(int(name, 16), bytes.fromhex(token))
        self.assertEqual([gmem.format_id(r) for r in attached.regions], [made["region"]])
        self.assertEqual(client.region_map(attached.regions[0]), [(0, 64 * MIB, "SHARED")])
        client.close()

    def test_create_never_overwrites_a_token(self):
        _, path = self.create()
        with open(path, encoding="ascii") as file:
            before = file.read()
        error = self.error("create", "--size", "1M", "--token-file", path)
        self.assertIn(path, error["text"])
        with open(path, encoding="ascii") as file:
            self.assertEqual(file.read(), before)
        self.assertEqual(len(self.json("list")), 1)

    def test_a_create_that_fails_leaves_no_domain_and_no_token(self):
        path = self.token_file()
        error = self.error("create", "--size", "4G", "--token-file", path)
        self.assertEqual((error["status"], error["rule"], error["object"]),
                         ("over-limit", "RegionMax", "tenant acme"))
        self.assertEqual((error["limit"], error["asked"]), (2 * GIB, 4 * GIB))
        self.assertFalse(os.path.exists(path))
        self.assertEqual(self.json("list"), [])
        self.ctl("create", "--size", "4G", "--token-file", path, status=FAILED)
        for number in ("limit 2.0G", "asked 4.0G", "tenant acme"):
            self.assertIn(number, self.err)
        self.ctl("create", "--size", "1M", "--token-file", "/no/such/folder/token", status=FAILED)
        self.assertEqual(self.json("list"), [])

    def test_the_progress_bar_is_for_terminals_and_never_on_standard_output(self):
        path = self.token_file()
        leader, follower = pty.openpty()
        seen = []

        def read():
            while True:
                try:
                    data = os.read(leader, 4096)
                except OSError:
                    return
                if not data:
                    return
                seen.append(data)

        reader = threading.Thread(target=read)
        reader.start()
        done = subprocess.run([harness.program("gmemctl"), "--address", self.daemon.socket("acme"),
                               "--json", "create", "--size", "2G", "--allocate", "--token-file", path],
                              stdout=subprocess.PIPE, stderr=follower, check=True)
        os.close(follower)
        reader.join()
        os.close(leader)
        self.assertRegex(b"".join(seen).decode(), r"allocating \[#*\.*\] .* of 2")
        self.assertEqual(json.loads(done.stdout)["size"], 2 * GIB)
        self.ctl("destroy", "--token-file", path)

    def test_hold_keeps_a_bound_domain_until_it_is_interrupted(self):
        for stop in (signal.SIGINT, signal.SIGTERM):
            holder = subprocess.Popen([harness.program("gmemctl"), "--address",
                                       self.daemon.socket("acme"), "hold", "--size", "8M"],
                                      stdout=subprocess.PIPE, text=True)
            self.addCleanup(holder.stdout.close)
            said = holder.stdout.readline()
            [row] = self.json("list")
            self.assertIn(row["domain"], said)
            self.assertEqual((row["persistent"], row["pid"]), (False, holder.pid))
            holder.send_signal(stop)
            self.assertEqual(holder.wait(harness.PATIENCE), DONE)
            self.assertEqual(self.json("list"), [])

    def test_hold_says_so_when_its_domain_is_evicted(self):
        holder = subprocess.Popen([harness.program("gmemctl"), "--address",
                                   self.daemon.socket("acme"), "hold", "--size", "8M"],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        holder.stdout.readline()
        [row] = self.json("list")
        self.ctl("evict", row["domain"], at="admin")
        _, err = holder.communicate(timeout=harness.PATIENCE)
        self.assertEqual(holder.returncode, FAILED)
        self.assertIn("evicted", err)

    def test_destroy_ends_the_domain_and_removes_the_token_file(self):
        made, path = self.create()
        self.ctl("destroy", "0123456789abcdef", "--token-file", path, status=USAGE)
        self.ctl("destroy", "--token-file", path, at="beta", status=FAILED)
        self.assertTrue(os.path.exists(path))
        self.assertEqual(self.ctl("destroy", made["domain"], "--token-file", path), "")
        self.assertFalse(os.path.exists(path))
        self.assertEqual(self.json("list"), [])
        self.ctl("destroy", "--token-file", path, status=FAILED)

    def test_evict_is_for_the_operator(self):
        made, path = self.create()
        error = self.error("evict", made["domain"])
        self.assertEqual((error["status"], error["rule"]), ("denied", "permission"))
        self.assertEqual(self.json("evict", made["domain"], at="admin"), {"bytes": 64 * MIB})
        os.unlink(path)
        made, path = self.create()
        self.assertIn("64M given back", self.ctl("evict", made["domain"], at="admin"))
        os.unlink(path)
        self.assertEqual(self.error("evict", made["domain"], at="admin")["status"],
                         "no-such-object")

    # usage and errors

    def test_wrong_usage_is_status_2(self):
        for args in (["nonsense"], [], ["list", "nothing"], ["show"], ["show", "xyz"], ["map"],
                     ["map", "1", "2"], ["create"], ["create", "--size", "64M"], ["hold"],
                     ["create", "--size", "lots", "--token-file", "/tmp/x"], ["destroy"], ["evict"],
                     ["evict", "0" * 17]):
            with self.subTest(args=args):
                self.ctl(*args, status=USAGE)
                self.assertTrue(self.err)

    def test_an_error_as_json_is_one_object_on_standard_error(self):
        error = self.error("show", "deadbeef")
        self.assertEqual((error["what"], error["status"]), ("show", "no-such-object"))
        self.assertEqual(set(error), {"what", "status", "rule", "object", "offset", "limit", "used",
                                      "asked", "errno", "text"})

    def test_no_daemon_is_status_3(self):
        for args in ((), ("--json",)):
            done = subprocess.run([harness.program("gmemctl"), "--address",
                                   self.daemon.path("nobody"), *args, "list"],
                                  capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stdout), (NO_DAEMON, ""))
            self.assertIn(self.daemon.path("nobody"), done.stderr)

    def test_the_address_may_come_from_the_environment(self):
        env = dict(os.environ, GMEM_ADDRESS=self.daemon.socket("beta"))
        done = subprocess.run([harness.program("gmemctl"), "stats"], env=env, capture_output=True,
                              text=True, check=True)
        self.assertIn("beta: ", done.stdout)

    def test_help_and_version_need_no_daemon(self):
        for args in (["--help"], ["--version"], ["list", "--help"], ["create", "--help"]):
            done = subprocess.run([harness.program("gmemctl"), "--address", "/nowhere", *args],
                                  capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (DONE, ""), args)
            self.assertTrue(done.stdout)

    def help_of(self, *command):
        return subprocess.run([harness.program("gmemctl"), *command, "--help"], capture_output=True,
                              text=True, check=True).stdout

    def commands(self):
        commands = set(re.findall(r"(?m)^  ([a-z]+) ", self.help_of())) - {"gmemctl"}
        self.assertIn("doctor", commands)
        return sorted(commands)

    def offered(self, *words):
        """What the completion offers after these words."""
        path = os.path.join(harness.SOURCE, "client", "gmemctl", "gmemctl.bash-completion")
        line = ["gmemctl", *words]
        script = f"""source {path}
            COMP_WORDS=({shlex.join(line)}) COMP_CWORD={len(words)} COMP_LINE={shlex.quote(" ".join(line))}
            COMP_POINT=${{#COMP_LINE}}
            $(complete -p gmemctl | sed 's/.*-F \\([^ ]*\\) .*/\\1/') gmemctl {shlex.join(line[:-3:-1])}
            echo "${{COMPREPLY[@]}}" """
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        return set(done.stdout.split())

    def options_of(self, *command):
        """Of gmemctl itself these are lines of their own, after those of the commands."""
        lines = [line for line in self.help_of(*command).splitlines()
                 if command or line.startswith("  --")]
        return set(re.findall(r"(?<!gmemd )(?<![\w-])--[a-z][a-z-]+", "\n".join(lines)))

    def test_the_completion_knows_every_command_and_option(self):
        self.assertLessEqual(set(self.commands()), self.offered(""))
        self.assertEqual(self.options_of(), self.offered("--"))
        for command in self.commands():
            with self.subTest(command=command):
                # gmemctl's own --json is told of in the help of some commands, and stands before them.
                self.assertEqual(self.options_of(command) - {"--json"},
                                 self.offered(command, "--") - {"--json", "--"})

    def test_the_manual_knows_every_command_and_option(self):
        path = os.path.join(harness.SOURCE, "client", "gmemctl", "gmemctl.1.scd")
        with open(path, encoding="utf-8") as file:
            told = set(" ".join(re.findall(r"\*([^*\n]+)\*", file.read())).split())
        for command in self.commands():
            with self.subTest(command=command):
                self.assertLessEqual({command} | self.options_of(command), told)
        self.assertLessEqual(self.options_of(), told)


if __name__ == "__main__":
    harness.main()
