#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The distribution's QEMU on gmemd's memory: the guest's bytes outlive it, and so can the guest."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import unittest

import harness
import runner
from harness import MIB

QEMU = "qemu-system-x86_64"
GUEST = os.path.join(harness.lent_build(), "tests", "qemu_guest.bin")
SIZE = 64 * MIB
# What a device's state may take, whatever the memory's size.
STATE_MAX = 2 * MIB


def qemu(accelerator, memory, *more):
    """A machine with the test's firmware and a serial port on standard output, nothing else."""
    return [QEMU, "-no-user-config", "-nodefaults", "-display", "none", "-serial", "stdio",
            "-accel", accelerator, "-machine", "q35,memory-backend=m", "-m", f"{SIZE // MIB}M",
            "-object", memory, "-bios", GUEST, *more]


def why_no_kvm():
    """Runs the guest for a moment without gmemd; the reason why that does not work, or None."""
    if not os.path.exists("/dev/kvm"):
        return "there is no /dev/kvm"
    process = subprocess.Popen(qemu("kvm", f"memory-backend-ram,id=m,size={SIZE}"),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    try:
        said = b""
        os.set_blocking(process.stdout.fileno(), False)

        def ticks():
            nonlocal said
            said += process.stdout.read() or b""
            return b"tick 5\n" in said or process.poll() is not None
        harness.wait_until(ticks, 5.0)
        return None if b"tick 5\n" in said else f"this guest does not run under KVM here: {said!r}"
    finally:
        process.kill()
        process.communicate()


class Monitor:
    """QEMU's QMP socket."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(harness.PATIENCE)
        assert harness.wait_until(lambda: self._connect(path)) is not None, "no QMP socket"
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._lines.readline()
        self.call("qmp_capabilities")

    def _connect(self, path):
        try:
            self._socket.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def call(self, command, **arguments):
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            line = self._lines.readline()
            if not line:
                raise AssertionError(f"QEMU ended in {command}")
            answer = json.loads(line)
            if "error" in answer:
                raise AssertionError(f"{command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]

    def leave_memory_out(self):
        self.call("migrate-set-capabilities",
                  capabilities=[{"capability": "x-ignore-shared", "state": True}])

    def wait_migrated(self):
        def status():
            return self.call("query-migrate").get("status")
        harness.wait_until(lambda: status() in ("completed", "failed"))
        assert status() == "completed", self.call("query-migrate")

    def close(self):
        self._lines.close()
        self._socket.close()


def ticks(text):
    """The whole lines "tick N"."""
    return [int(n) for n in re.findall(r"^tick (\d+)\n", text, re.MULTILINE)]


class Tcg(runner.RunCase):
    ACCELERATOR = "tcg"
    WRAPPER = ()

    def setUp(self):
        super().setUp()
        os.chmod(self.folder, 0o777)
        os.chmod(self.daemon.socket("acme"), 0o666)
        self.qmp = os.path.join(self.folder, "qmp")

    def command(self, *more):
        return qemu(self.ACCELERATOR,
                    "memory-backend-file,id=m,size={size},share=on,mem-path={mem}",
                    "-qmp", f"unix:{self.qmp},server=on,wait=off", *more)

    def first(self, until=20):
        """A fresh guest that has come to some tick."""
        run = self.keep(*self.command(), size=SIZE, wrapper=self.WRAPPER)
        run.wait_out(f"^tick {until}$")
        self.assertTrue(run.out().startswith("fresh\ntick 1\n"), run.out())
        return run

    def second(self, *more):
        return self.attach(*self.command(*more), wrapper=self.WRAPPER)

    def monitor(self):
        monitor = Monitor(self.qmp)
        self.addCleanup(monitor.close)
        return monitor

    def check_back(self, first):
        """The next QEMU's guest finds its counter and its whole pattern, and goes on from there."""
        last = ticks(first.out())[-1]
        run = self.second()
        counter = int(run.wait_out(r"^back at (\d+)$").group(1))
        # The guest may have counted once more before its word was out.
        self.assertIn(counter, (last, last + 1))
        run.wait_out(f"^tick {counter + 10}$")
        self.assertNotIn("lost", run.out())
        self.assertEqual(ticks(run.out())[0], counter + 1)
        run.process.terminate()
        self.assertEqual(run.wait(), 0, run.err())

    def test_a_killed_qemu_leaves_the_guests_memory(self):
        run = self.first()
        os.kill(run.wait_command(), signal.SIGKILL)
        self.assertEqual(run.wait(), 128 + signal.SIGKILL)
        self.check_back(run)

    def test_qemu_ends_with_gmemctl_and_leaves_the_guests_memory(self):
        run = self.first()
        pid = run.wait_command()
        run.kill()
        self.assertIsNotNone(harness.wait_until(lambda: not runner.is_alive(pid), 2.0))
        self.check_back(run)

    def test_the_guests_memory_can_be_read_without_qemu(self):
        run = self.first()
        os.kill(run.wait_command(), signal.SIGKILL)
        run.wait()
        last = ticks(run.out())[-1]
        reader = self.attach("/usr/bin/python3", "-c", "import sys\n"
                             "with open(sys.argv[1], 'rb') as file:\n"
                             "    file.seek(0x20000)\n"
                             f"    print(file.read({last + 1}).hex())", "{mem}",
                             wrapper=self.WRAPPER)
        self.assertEqual(reader.wait(), 0, reader.err())
        self.assertEqual(reader.out().strip(),
                         bytes(n & 0xff ^ 0x5a for n in range(last + 1)).hex())

    def test_the_guest_and_its_hold_on_the_memory_outlive_a_killed_gmemd(self):
        with harness.Daemon(args=["--keep"]) as daemon:
            os.chmod(daemon.socket("acme"), 0o666)
            where = {"address": daemon.socket("acme"), "wrapper": self.WRAPPER}
            run = self.keep(*self.command(), size=SIZE, **where)
            run.wait_out("^tick 20$")
            gmemd = [pid for pid, stat in harness.descendants(daemon.pid).items()
                     if stat[1] == daemon.pid]
            self.assertEqual(len(gmemd), 1)
            os.kill(gmemd[0], signal.SIGKILL)
            run.wait_out(f"^tick {ticks(run.out())[-1] + 50}$")
            other = self.attach("true", "{mem}", **where)
            self.assertEqual(other.wait(), 1)
            self.assertIn("in use", other.err())
            run.process.terminate()
            self.assertEqual(run.wait(), 0, run.err())
            subprocess.run([harness.program("gmemctl"), "--address", daemon.socket("acme"),
                            "destroy", "--token-file", self.token_path()], check=True)

    def test_a_guest_moves_to_the_next_qemu_and_runs_on(self):
        first = self.first()
        state = os.path.join(self.folder, "state")
        monitor = self.monitor()
        monitor.leave_memory_out()
        monitor.call("stop")
        monitor.call("migrate", uri=f"exec:cat >{state}")
        monitor.wait_migrated()
        monitor.call("quit")
        self.assertEqual(first.wait(), 0, first.err())
        self.assertLess(os.path.getsize(state), STATE_MAX)

        second = self.second("-incoming", "defer")
        monitor = self.monitor()
        monitor.leave_memory_out()
        monitor.call("migrate-incoming", uri=f"exec:cat {state}")
        monitor.wait_migrated()
        self.assertEqual(second.out(), "")
        monitor.call("cont")
        last = ticks(first.out())[-1]
        harness.wait_until(lambda: f"tick {last + 20}\n" in first.out() + second.out())
        # Not a byte of what the guest says is missing or there twice.
        said = re.sub(r"[^\n]*\Z", "", first.out() + second.out())
        self.assertGreaterEqual(ticks(said)[-1], last + 20, said)
        self.assertEqual(said, "fresh\n" + "".join(f"tick {n}\n" for n in
                                                   range(1, ticks(said)[-1] + 1)))
        second.process.terminate()
        self.assertEqual(second.wait(), 0, second.err())


class Kvm(Tcg):
    ACCELERATOR = "kvm"

    @classmethod
    def setUpClass(cls):
        why = why_no_kvm()
        if why:
            raise unittest.SkipTest(why)
        super().setUpClass()


class Nobody(Tcg):
    """QEMU, and gmemctl with it, as a user without rights."""
    WRAPPER = runner.as_user(runner.NOBODY)

    @classmethod
    def setUpClass(cls):
        runner.skip_unless_it_can_run(cls.WRAPPER)
        super().setUpClass()


if __name__ == "__main__":
    if not shutil.which(QEMU):
        print(f"{QEMU} is not installed")
        sys.exit(77)
    if not os.path.exists(GUEST):
        print("the guest is only built on x86_64")
        sys.exit(77)
    harness.main()
