#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Launches that gmemd carries out itself, on the platform model, on every version of the kernel.

A worker launches the guest on a VM of its own; tinyvmm's VM takes over what came of it. Guests are small: what a worker
may pin ends at the hard limit of this host where gmemd may not raise it.
"""
import os
import resource
import subprocess
import time
import unittest

import harness
import test_launch
from harness import pb
from manager import Manager
from test_launch import NAPLES, VERSIONS, Launch

KINDS = ("sev", "sev-es")
MEASURED_AS = {"sev": "sev", "sev-es": "seves"}
POLICY = "SevSlots=8\nSevEsSlots=8\nMemlockMax=64M\n"
CAP_SYS_RESOURCE = 24


def may_raise_limits():
    with open("/proc/self/status", encoding="utf-8") as file:
        effective = int(next(line for line in file if line.startswith("CapEff:")).split()[1], 16)
    return bool(effective >> CAP_SYS_RESOURCE & 1)


def without_tests(case):
    """What the tests of @case are made with, for others."""
    return type(case.__name__, (case,), {name: None for name in dir(case) if name.startswith("test_")})


class OwnLaunch(Launch):
    GUEST = ("--vcpus", "3", "--signature", str(NAPLES))
    SIZE = "4M"

    def daemon(self, policy=""):
        """The sandbox logs and lets pass: in a worker the model makes files, which no filter allows. t_sandbox has
        the requests that a worker may make."""
        return harness.Daemon({"acme": POLICY + policy}, env=self.env,
                              args=["--cgroup-root", self.machine + ".d", "--sandbox", "log"])

    def vmm(self, daemon, kind, *args):
        found = super().vmm(daemon, kind, *args)
        found[found.index("--size") + 1] = self.SIZE
        return found

    def measured(self, kind, *args):
        return super().measured(MEASURED_AS[kind], *args)

    def usual(self, kind):
        return self.measured(kind, *([] if kind == "sev" else ["--vcpus", "3", "--vcpu-type", "EPYC"]))

    def on_each(self, body, policy="", kinds=KINDS):
        for kind in kinds:
            for version in VERSIONS:
                with self.subTest(kind=kind, version=version):
                    self.on_machine(version, body, kind, policy)

    def on_all(self, body, policy="", version="7.0"):
        for kind in KINDS:
            with self.subTest(kind=kind):
                self.on_machine(version, body, kind, policy)


class Digests(OwnLaunch):
    def test_gmemd_the_firmware_and_gmemctl_have_one_digest(self):
        def launch(daemon, kind):
            vmm, digest = self.start(daemon, kind, *self.GUEST)
            self.assertEqual([digest], self.models())
            self.assertEqual(digest, self.usual(kind))
            self.end(vmm)
        self.on_each(launch)

    def test_a_busy_firmware_does_not_change_it(self):
        def launch(daemon, kind):
            self.platform("set", self.machine, "busy=4")
            self.assert_launches(daemon, kind)
        self.on_all(launch)

    def test_the_owner_sees_state_and_digest(self):
        def launch(daemon, kind):
            vmm, digest = self.start(daemon, kind, *self.GUEST)
            domain, = daemon.admin.list_domains()
            info = daemon.admin.call(pb.DomainGetRequest(domain=domain.domain)).reply.info
            self.assertEqual(info.launch, pb.LAUNCH_RUNNING)
            self.assertEqual(info.measurement.hex(), digest)
            self.assertEqual(info.allocated_bytes, info.reserved_bytes)
            self.end(vmm)
        self.on_all(launch)


class Rules(OwnLaunch):
    def test_a_host_without_room_is_the_same_answer_on_every_kernel(self):
        def launch(daemon, kind):
            self.platform("set", self.machine, "full=1")
            self.assert_refused(self.launch(daemon, kind, *self.GUEST), "no-resource", "firmware")
            self.platform("set", self.machine, "full=0")
            self.assert_launches(daemon, kind)
        self.on_each(launch)

    def test_a_firmware_that_refuses_is_told_by_name(self):
        def launch(daemon, kind):
            self.platform("set", self.machine, "firmware-error=7")
            done = self.launch(daemon, kind, *self.GUEST)
            self.assert_refused(done, "failed", "firmware")
            self.assertIn("LAUNCH_START: firmware error POLICY_FAILURE (0x7)", done.stderr)
            self.assert_launches(daemon, kind)
        self.on_each(launch)

    def test_a_digest_that_is_not_allowed_is_not_launched(self):
        def launch(daemon, kind):
            self.assert_refused(self.launch(daemon, kind, *self.GUEST), "denied", "MeasurementAllow")
        self.on_all(launch, "MeasurementAllow=" + "00" * 32 + "\n")

    def test_a_digest_that_is_allowed_is_launched(self):
        for kind in KINDS:
            self.on_machine("7.0", self.assert_launches, kind, f"MeasurementAllow={self.usual(kind)}\n")

    def test_an_id_block_is_refused_to_those_that_can_have_none(self):
        def launch(daemon, kind):
            self.assert_refused(self.launch(daemon, kind, *self.GUEST), "denied", "RequireIdBlock")
        self.on_all(launch, "RequireIdBlock=yes\n")

    def test_one_guest_more_than_there_are_slots_is_refused_in_advance(self):
        def launch(daemon, kind):
            vmm, _ = self.start(daemon, kind, *self.GUEST)
            self.assert_refused(self.launch(daemon, kind, *self.GUEST), "over-limit", "slots")
            self.end(vmm)
            self.assertIsNotNone(harness.wait_until(daemon.books_are_empty))
            self.assert_launches(daemon, kind)
        self.on_all(launch, "SevSlots=1\nSevEsSlots=1\n")

    def test_memory_is_charged_as_locked_when_it_is_made(self):
        def launch(daemon, kind):
            self.assert_refused(self.launch(daemon, kind, *self.GUEST), "over-limit", "MemlockMax")
        self.on_all(launch, "MemlockMax=4M\n")

    def test_what_cannot_be_pinned_is_refused_with_its_reason(self):
        hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
        if hard == resource.RLIM_INFINITY or may_raise_limits():
            self.skipTest("a worker may pin as much as it likes here")
        self.SIZE = str(hard // 2**20 + 8) + "M"

        def launch(daemon, kind):
            done = self.launch(daemon, kind, *self.GUEST)
            self.assert_refused(done, "no-resource", "rlimit")
            self.assertIn("KVM_MEMORY_ENCRYPT_REG_REGION", done.stderr)
        self.on_all(launch)

    def test_a_persistent_domain_is_refused(self):
        def ask(daemon, kind):
            with harness.gmem.Client(daemon.socket("acme"), name="vmm") as client:
                with self.assertRaises(harness.gmem.Refused) as caught:
                    client.domain_create(kind, persistent=True)
                self.assertEqual(caught.exception.status.rule, pb.RULE_PERSISTENT)
        self.on_all(ask, "Persistent=yes\n")


class Planned(OwnLaunch, without_tests(test_launch.Plans)):
    """What differs from the plan is named here as well. (What others test of plans is the same for all kinds.)"""

    def policy(self, kind, *_args):
        vcpus = [] if kind == "sev" else ["--vcpus", "3", "--vcpu-type", "EPYC"]
        digest = self.measured(kind, *vcpus, "--plan", self.plans)
        return f"MeasurementAllow={digest}\nLaunchPlans={self.plans}\n"

    def test_the_planned_launch_is_finished(self):
        for kind in KINDS:
            self.on_machine("7.0", self.assert_launches, kind, self.policy(kind))
            self.forget_plans()

    def test_the_first_page_that_differs_is_named(self):
        for kind in KINDS:
            self.changed = None
            self.refused(kind, r"step 1, normal page 0x[0-9a-f]+: contents", before=self.change_a_page(0x1234))
            self.forget_plans()

    def test_registers_and_number_of_vcpus_are_named(self):
        self.refused("sev-es", r"vCPU 0: other registers than planned", "--vcpus", "3", "--signature", str(0xa00f11))
        self.forget_plans()
        self.refused("sev-es", "2 vCPUs, then the plan has a vCPU", "--vcpus", "2", "--signature", str(NAPLES))


class Neighbours(OwnLaunch):
    def test_a_vmm_that_dies_anywhere_leaves_nothing_and_disturbs_nobody(self):
        def launch(daemon, kind):
            neighbour, digest = self.start(daemon, kind, *self.GUEST)
            for ms in range(1, 30, 3):
                vmm = subprocess.Popen(self.vmm(daemon, kind, *self.GUEST), env={**os.environ, **self.env},
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(ms / 1000)
                self.end(vmm)
            self.assert_launches(daemon, kind)
            self.assertIn(digest, self.models())
            self.end(neighbour)
        self.on_all(launch)


class Restarts(OwnLaunch, without_tests(test_launch.Restarts)):
    """A launch under way has failed after a restart, with its reason; one that was finished is handed over."""

    def manager(self, policy=""):
        manager = Manager(args=["--cgroup-root", self.machine + ".d"], sandbox="log",
                          program=os.path.join(harness.BUILD, "tests", "gmemd-faults"),
                          env={**self.env, "GMEMD_FAULTS_FILE": self.faults.path})
        self.enterContext(manager)
        with open(manager.path("acme.policy"), "w", encoding="utf-8") as file:
            file.write("[X-Gmemd]\n" + POLICY + policy)
        manager.start()
        return manager

    def die_at(self, manager, kind, point, visit):
        """What tinyvmm says of its launch in the middle of which gmemd is killed."""
        kills = self.faults.kills()
        self.faults.arm(point, visit)
        vmm = subprocess.Popen(self.vmm(manager, kind, "--ticks", "1000000", *self.GUEST), text=True,
                               env={**os.environ, **self.env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = ""
        try:
            died = harness.wait_until(lambda: self.faults.kills() > kills)
            self.assertIsNotNone(died, f"{point} is not visited {visit} times")
            manager.reap()
            manager.start()
            for line in vmm.stdout:
                said += line
                if "launch running" in line:
                    self.assertIn(self.usual(kind), line)
                    self.assertEqual(self.models(), [self.usual(kind)])
                    break
        finally:
            self.faults.disarm()
            self.end(vmm)
            vmm.stdout.close()
        self.gone(manager)
        return said

    def visits(self, manager, kind):
        """(point, visit) to die at: all that are about launches and answers, and one instruction of each sort."""
        for point, (greeted, n) in sorted(self.launch_visits(manager, kind).items()):
            if test_launch.LONG or point.startswith(("launch:", "answer: recorded")):
                # How many entries the log has differs a little from run to run.
                yield from ((point, visit) for visit in range(greeted + 1, min(n, 20) + 1))
            else:
                yield point, (greeted + n + 1) // 2

    def test_a_gmemd_that_is_killed_anywhere_in_a_launch_goes_on_with_its_digest(self):
        for kind in KINDS if test_launch.LONG else KINDS[1:]:
            self.new_machine("7.0")
            manager = self.manager(f"MeasurementAllow={self.usual(kind)}\n")
            went_on = {}
            for point, visit in self.visits(manager, kind):
                with self.subTest(kind=kind, point=point, visit=visit):
                    said = self.die_at(manager, kind, point, visit)
                    went_on[point, visit] = "launch running" in said
                    # Before HELLO is answered there is nothing to come back to.
                    if not went_on[point, visit] and "closed the connection" not in said:
                        self.assertIn("[wrong-state/launch-state]", said)
                        self.assertIn("when the daemon was started again", said)
            # The last but one answer is that to LAUNCH_FINISH: what was launched is handed over all the same.
            last = max(visit for point, visit in went_on if point == "answer: recorded")
            self.assertTrue(went_on["answer: recorded", last - 1])
            self.assertFalse(went_on["job: submitted", 1])
            self.assert_launches(manager, kind)


if __name__ == "__main__":
    unittest.main(verbosity=2)
