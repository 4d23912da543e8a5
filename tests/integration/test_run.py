#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""gmemctl run: a command on memory that outlives it, and never two commands on one memory."""
import os
import re
import signal
import stat
import time
import unittest

import harness
import runner
from harness import MIB

PYTHON = "/usr/bin/python3"
# Writes the word after it to the start of the memory; shows five bytes of it.
WRITE = (PYTHON, "-c", "import sys; open(sys.argv[1], 'r+b').write(sys.argv[2].encode())", "{mem}")
READ = ("head", "-c", "5", "{mem}")
# Counts SIGINT for a while.
COUNTER = """
n = 0
def count(*_):
    global n
    n += 1
signal.signal(signal.SIGINT, count)
os.write(1, b"ready\\n")
end = time.monotonic() + 0.5
while time.monotonic() < end:
    time.sleep(0.01)
os.write(1, b"%d\\n" % n)
"""


def sleeper(script="echo ready"):
    """A command that does the script and then sleeps, as one process."""
    return ("sh", "-c", f"{script}; : {{mem}}; exec sleep 1000")


class Words(runner.RunCase):
    def test_mem_fd_and_size_are_filled_in_wherever_they_stand(self):
        run = self.keep("echo", "a={mem},b", "{fd}{fd}", "size={size}", "{other}{", size="3M")
        self.assertEqual(run.wait(), 0, run.err())
        match = re.fullmatch(r"a=/proc/self/fd/(\d+),b (\d+) size=(\d+) \{other\}\{\n", run.out())
        self.assertTrue(match, run.out())
        self.assertEqual(match.group(2), match.group(1) * 2)
        self.assertEqual(int(match.group(3)), 3 * MIB)

    def test_mem_opens_memory_of_exactly_that_size(self):
        run = self.keep(PYTHON, "-c", "import os, sys; fd = os.open(sys.argv[1], os.O_RDWR);"
                        "print(os.fstat(fd).st_size == int(sys.argv[2]))", "{mem}", "{size}")
        self.assertEqual((run.wait(), run.out()), (0, "True\n"), run.err())

    def test_a_command_that_takes_no_memory_is_refused(self):
        run = self.keep("true")
        self.assertEqual(run.wait(), 2)
        self.assertIn("{mem}", run.err())
        self.assertEqual(self.domains(), {})

    def test_the_command_inherits_the_memory_and_the_lock_and_nothing_else(self):
        run = self.keep("sh", "-c", "exec readlink -f /proc/$$/fd/* # {mem}")
        self.assertEqual(run.wait(), 0, run.err())
        targets = [line for line in run.out().splitlines() if re.search("memfd:|lock$|socket", line)]
        self.assertEqual(len(targets), 2, run.out())
        self.assertIn(os.path.join(self.tokens, "vm1.lock"), targets)
        run = self.attach("ls", "/proc/self/fd/", "--ignore={mem}")
        self.assertEqual(run.wait(), 0)
        # 0, 1, 2, the memory, the lock, and what ls reads the folder with.
        self.assertEqual(len(run.out().split()), 6, run.out())

    def test_closed_standard_fds_are_never_the_memory(self):
        run = self.keep("sh", "-c", "readlink /proc/$$/fd/[012] >$1", "sh", self.folder + "/fds",
                        "{mem}", wrapper=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"))
        self.assertEqual(run.wait(), 0)
        with open(self.folder + "/fds", encoding="ascii") as file:
            self.assertNotIn("memfd", file.read())


class Kept(runner.RunCase):
    def test_the_next_command_finds_what_the_last_one_wrote(self):
        run = self.keep(*WRITE, "hello")
        self.assertEqual(run.wait(), 0, run.err())
        run = self.attach(*READ)
        self.assertEqual((run.wait(), run.out()), (0, "hello"), run.err())

    def test_a_killed_command_leaves_its_memory(self):
        first = self.keep("sh", "-c", f"{' '.join(WRITE[:2])} \"$1\" $2 hello; exec sleep 1000",
                          "sh", WRITE[2], "{mem}")
        pid = first.wait_command()
        self.assertIsNotNone(harness.wait_until(lambda: harness.process_stat(pid)[0] == "sleep"))
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(first.wait(), 128 + signal.SIGKILL)
        run = self.attach(*READ)
        self.assertEqual((run.wait(), run.out()), (0, "hello"), run.err())

    def test_the_token_is_kept_where_nobody_else_can_read_it(self):
        self.keep("true", "{mem}").wait()
        self.assertEqual(stat.S_IMODE(os.stat(self.tokens).st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(self.token_path()).st_mode), 0o600)
        self.assertEqual(self.token()[0], self.domains()["vm1"].domain)

    def test_a_name_that_is_kept_already_is_refused_with_the_way_out(self):
        self.keep("true", "{mem}").wait()
        before = self.token()
        run = self.keep("true", "{mem}")
        self.assertEqual(run.wait(), 1)
        self.assertIn("--attach vm1", run.err())
        self.assertEqual(self.token(), before)

    def test_the_token_of_a_domain_that_is_gone_is_set_aside(self):
        self.keep("true", "{mem}").wait()
        before = self.token()
        self.destroy_all()
        run = self.keep("true", "{mem}")
        self.assertEqual(run.wait(), 0, run.err())
        self.assertNotEqual(self.token(), before)
        with open(self.token_path() + ".old", encoding="ascii") as file:
            self.assertEqual(int(file.read().split()[0], 16), before[0])

    def test_attach_to_a_name_that_nobody_keeps(self):
        run = self.attach("true", "{mem}")
        self.assertEqual(run.wait(), 1)
        self.assertIn("--keep-domain", run.err())

    def test_a_name_cannot_lead_out_of_the_folder(self):
        for name in ("../x", ".x", "-x", "a/b", "", "x" * 65):
            with self.subTest(name=name):
                self.assertEqual(self.keep("true", "{mem}", name=name).wait(), 2)
        self.assertEqual(self.domains(), {})

    def test_a_folder_that_others_may_write_to_is_refused(self):
        os.mkdir(self.tokens)
        os.chmod(self.tokens, 0o777)
        run = self.keep("true", "{mem}")
        self.assertEqual(run.wait(), 1)
        self.assertIn("0777", run.err())
        self.assertEqual(self.domains(), {})

    def test_the_report_is_one_json_object(self):
        run = self.keep("true", "{mem}", before=("--json",))
        self.assertEqual((run.wait(), run.out()), (0, ""))
        report = runner.last_json(run.err())
        self.assertEqual(int(report["domain"], 16), self.token()[0])
        self.assertEqual((report["name"], report["size"]), ("vm1", 16 * MIB))
        self.assertGreater(report["fd"], 2)

    def test_allocate_has_every_page_there_before_the_command(self):
        run = self.keep("stat", "-L", "-c", "%b", "{mem}", options=("--allocate",))
        self.assertEqual((run.wait(), run.out()), (0, f"{16 * MIB // 512}\n"), run.err())


class Ends(runner.RunCase):
    def test_the_exit_status_is_the_commands(self):
        self.assertEqual(self.keep("sh", "-c", "exit 7 # {mem}").wait(), 7)

    def test_a_signal_that_ends_it_is_told_as_a_shell_does(self):
        self.assertEqual(self.keep("sh", "-c", "kill -USR1 $$ # {mem}").wait(),
                         128 + signal.SIGUSR1)

    def test_a_command_that_cannot_be_executed_leaves_no_domain(self):
        for command, status in (("./there-is-none", 127), ("there-is-none", 127),
                                ("/etc/passwd", 126), ("/", 126)):
            with self.subTest(command=command):
                run = self.keep(command, "{mem}")
                self.assertEqual(run.wait(), status)
                self.assertIn(command, run.err())
                self.assertEqual(self.domains(), {})
                self.assertFalse(os.path.exists(self.token_path()))

    def test_a_command_that_cannot_be_executed_leaves_the_domain_that_was_there(self):
        self.keep("true", "{mem}").wait()
        self.assertEqual(self.attach("there-is-none", "{mem}").wait(), 127)
        self.assertIn("vm1", self.domains())
        self.assertEqual(self.attach("true", "{mem}").wait(), 0)

    def test_a_region_that_is_refused_leaves_no_domain(self):
        run = self.keep("true", "{mem}", size="4097")
        self.assertEqual(run.wait(), 1)
        self.assertEqual(self.domains(), {})

    def test_signals_reach_the_command(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            with self.subTest(signal=number):
                run = self.keep(PYTHON, "-c", "import signal, sys\n"
                                f"signal.signal({int(number)}, lambda *_: sys.exit(42))\n"
                                "print('ready', flush=True)\n"
                                "while True: signal.pause()", "{mem}", name=f"vm{int(number)}")
                run.wait_out("ready")
                run.process.send_signal(number)
                self.assertEqual(run.wait(), 42, run.err())

    def press_interrupt(self, setup):
        """How often the command has SIGINT of the key ^C, after it has done its own setup."""
        master, slave = os.openpty()
        self.addCleanup(os.close, master)
        run = self.keep(PYTHON, "-c", "import os, signal, time\n" + setup + COUNTER, "{mem}",
                        wrapper=("setsid", "--ctty"), stdin=slave)
        os.close(slave)
        run.wait_out("ready\n")
        os.write(master, b"\x03")
        self.assertEqual(run.wait(), 0, run.err())
        return int(run.out().split()[-1])

    def test_a_key_reaches_the_command_by_the_terminal(self):
        self.assertEqual(self.press_interrupt(""), 1)

    def test_a_key_is_not_passed_on_for_a_second_time(self):
        """To a command that the terminal has left out, none comes at all."""
        self.assertEqual(self.press_interrupt("os.setpgid(0, 0)\n"), 0)

    def test_a_signal_that_was_ignored_is_not_passed_on(self):
        run = self.keep(PYTHON, "-c", "import os, signal, time\n"
                        + COUNTER.replace("SIGINT", "SIGHUP"), "{mem}", wrapper=("nohup",))
        run.wait_out("ready\n")
        run.process.send_signal(signal.SIGHUP)
        self.assertEqual((run.wait(), run.out().split()[-1]), (0, "0"))

    def test_a_signal_while_pages_are_allocated_ends_the_domain(self):
        run = self.keep("sh", "-c", "echo ran # {mem}", size="1G", options=("--allocate",))
        self.assertIsNotNone(harness.wait_until(self.domains, step=0.001))
        run.process.send_signal(signal.SIGTERM)
        self.assertEqual(run.wait(), 128 + signal.SIGTERM)
        self.assertEqual((self.domains(), run.out()), ({}, ""))
        self.assertFalse(os.path.exists(self.token_path()))

    def test_the_command_does_not_outlive_gmemctl(self):
        run = self.keep(*sleeper())
        pid = run.wait_command()
        run.kill()
        self.addCleanup(runner.end, pid)
        self.assertIsNotNone(harness.wait_until(lambda: not runner.is_alive(pid), 2.0))
        self.assertEqual(self.attach("true", "{mem}").wait(), 0)

    def test_complaints_that_nobody_reads_do_not_end_the_command(self):
        read_end, write_end = os.pipe()
        os.close(read_end)
        run = self.keep("sh", "-c", "sleep 0.2; exit 9 # {mem}", stderr=write_end)
        os.close(write_end)
        self.assertEqual(run.wait(), 9)

    def wait_for_fifo(self, daemon):
        """A command that runs until something is written to the fifo."""
        os.mkfifo(self.folder + "/fifo")
        run = self.keep("sh", "-c", "echo ready; read x <$1; exit 9 # {mem}", "sh",
                        self.folder + "/fifo", address=daemon.socket("acme"))
        run.wait_out("ready")
        return run

    def check_runs_on(self, run):
        time.sleep(0.2)
        self.assertIsNone(run.process.poll(), run.err())
        with open(self.folder + "/fifo", "w", encoding="ascii") as file:
            file.write("go\n")
        self.assertEqual(run.wait(), 9, run.err())

    def test_the_command_runs_on_without_gmemd(self):
        with harness.Daemon() as daemon:
            run = self.wait_for_fifo(daemon)
        self.check_runs_on(run)

    def test_the_command_runs_on_when_gmemd_comes_back_without_records(self):
        with harness.Daemon() as daemon:
            run = self.wait_for_fifo(daemon)
            daemon.crash()
            self.assertIsNotNone(harness.wait_until(lambda: "without this domain" in run.err()))
            self.check_runs_on(run)


class OneAtATime(runner.RunCase):
    def test_a_domain_in_use_is_refused(self):
        first = self.keep(*sleeper())
        first.wait_out("ready")
        run = self.attach("true", "{mem}")
        self.assertEqual(run.wait(), 1)
        self.assertIn("--take-over", run.err())
        self.assertIsNone(first.process.poll())

    def test_a_name_in_use_cannot_be_kept_again(self):
        first = self.keep(*sleeper())
        pid = first.wait_command()
        run = self.keep("true", "{mem}")
        self.assertEqual(run.wait(), 1)
        self.assertIn(f"pid {pid}", run.err())

    def test_taking_over_kills_the_loser_before_the_winner_starts(self):
        first = self.keep(*sleeper())
        pid = first.wait_command()
        run = self.attach("sh", "-c", f"kill -0 {pid} 2>/dev/null || echo dead # {{mem}}",
                          options=("--take-over",))
        self.assertEqual((run.wait(), run.out()), (0, "dead\n"), run.err())
        self.assertEqual(first.wait(), 128 + signal.SIGKILL)
        self.assertIn("taken over", first.err())

    def test_the_command_of_an_evicted_domain_is_killed(self):
        run = self.keep(*sleeper())
        run.wait_out("ready")
        self.daemon.admin.evict(self.token()[0])
        self.assertEqual(run.wait(), 128 + signal.SIGKILL)
        self.assertIn("ended by an operator", run.err())

    def test_a_command_that_the_kernel_did_not_kill_holds_off_the_next(self):
        """The kernel forgets to, after a change of user."""
        first = self.keep("setpriv", "--reuid", runner.NOBODY, "--clear-groups", *sleeper())
        first.wait_out("ready")
        pid = first.wait_command()
        self.addCleanup(runner.end, pid)
        first.kill()
        second = self.attach("echo", "started", "{mem}")
        time.sleep(0.5)
        self.assertTrue(runner.is_alive(pid))
        self.assertEqual(second.out(), "")
        self.assertIsNone(second.process.poll(), second.err())
        runner.end(pid)
        self.assertEqual(second.wait(), 0, second.err())

    def test_a_user_without_rights_needs_only_the_socket(self):
        os.chmod(self.folder, 0o777)
        os.chmod(self.daemon.socket("acme"), 0o666)
        user = runner.as_user(runner.NOBODY)
        runner.skip_unless_it_can_run(user)
        run = self.keep(*WRITE, "mine!", wrapper=user)
        self.assertEqual(run.wait(), 0, run.err())
        run = self.attach("sh", "-c", "id -u; exec head -c 5 {mem}", wrapper=user)
        self.assertEqual((run.wait(), run.out()), (0, f"{runner.NOBODY}\nmine!"), run.err())


class GuestMemfd(runner.RunCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        backend = [b for b in cls.daemon.admin.host().backends if b.kind == b"guest-memfd"][0]
        if not backend.usable:
            super().tearDownClass()
            raise unittest.SkipTest(backend.reason.decode())

    def test_mem_is_refused_because_it_cannot_be_opened(self):
        run = self.keep("true", "{mem}", options=("--kind", "guest-memfd"))
        self.assertEqual(run.wait(), 1)
        self.assertIn("{fd}", run.err())
        self.assertEqual(self.domains(), {})
        self.assertFalse(os.path.exists(self.token_path()))

    def test_taking_over_for_a_command_that_cannot_have_it_takes_nothing(self):
        first = self.keep("sh", "-c", "echo ready; : {fd}; exec sleep 1000",
                          options=("--kind", "guest-memfd"))
        first.wait_out("ready")
        self.assertEqual(self.attach("true", "{mem}", options=("--take-over",)).wait(), 1)
        time.sleep(0.1)
        self.assertIsNone(first.process.poll(), first.err())

    def test_the_inherited_fd_is_the_memory(self):
        program = (PYTHON, "-c", "import mmap, sys\nm = mmap.mmap(int(sys.argv[1]), "
                   "int(sys.argv[2]))\nprint(m[:5])\nm[:5] = b'hello'", "{fd}", "{size}")
        run = self.keep(*program, options=("--kind", "guest-memfd"))
        self.assertEqual((run.wait(), run.out()), (0, "b'\\x00\\x00\\x00\\x00\\x00'\n"), run.err())
        run = self.attach(*program)
        self.assertEqual((run.wait(), run.out()), (0, "b'hello'\n"), run.err())


class Usage(runner.RunCase):
    def test_options_that_do_not_go_together(self):
        for words in (["--", "echo", "{mem}"],
                      ["--keep-domain", "a", "--attach", "a", "--size", "4K", "--", "echo", "{mem}"],
                      ["--keep-domain", "a", "--", "echo", "{mem}"],
                      ["--keep-domain", "a", "--size", "4K", "--take-over", "--", "echo", "{mem}"],
                      ["--attach", "a", "--size", "4K", "--", "echo", "{mem}"],
                      ["--keep-domain", "a", "--size", "4X", "--", "echo", "{mem}"],
                      ["--keep-domain", "a", "--size", "4K"]):
            with self.subTest(words=words):
                self.assertEqual(self.start(*words).wait(), 2)
        self.assertEqual(self.domains(), {})

    def test_help_needs_no_daemon(self):
        run = runner.Run(self.folder, ["--help"], self.folder + "/none")
        self.assertEqual(run.wait(), 0)
        self.assertIn("{mem}", run.out())

    def test_memory_without_a_daemon_cannot_be_kept(self):
        run = self.keep("true", "{mem}", address="builtin:")
        self.assertEqual(run.wait(), 1)
        self.assertFalse(os.path.exists(self.token_path()))


if __name__ == "__main__":
    harness.main()
