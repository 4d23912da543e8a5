#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whole launches by tinyvmm from gmemd, on the platform model, on every version of the kernel.

Three parties have a say in each digest: gmemd, which predicts it, the firmware of the model, and gmemctl measure,
which has seen nothing but the files. tests/integration/measure_model.py is a fourth.
"""
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
import unittest

import harness
import measure_model as model
from faults import Faults
from harness import pb
from manager import Manager

VERSIONS = ("6.11", "6.12", "6.16", "6.18", "7.0", "7.2")
NAPLES = 0x800f12
TDVF = ((0x2000, 0x2000, 2**32 - 0x2000, 0x2000, 0, 1), (0, 0x2000, 2**32 - 0x4000, 0x2000, 1, 0),
        (0, 0, 0x809000, 0x2000, 2, 0), (0, 0, 0x810000, 0x10000, 3, 0))
LONG = os.environ.get("GMEMD_LONG") == "1"
SLOTS = "SevEsSlots=8\nTdxSlots=8\n"


def versions_of(kind):
    return VERSIONS[2:] if kind == "tdx" else VERSIONS


class Launch(unittest.TestCase):
    def setUp(self):
        if harness.SANITIZED:
            self.skipTest("the model is preloaded, which sanitizers do not allow")
        self.folder = tempfile.mkdtemp(prefix="gmemd-it-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.machine = os.path.join(self.folder, "machine")
        self.env = {"GM_PLATFORM": self.machine,
                    "LD_PRELOAD": os.path.join(harness.BUILD, "lib", "libgm_platform.so")}

    def platform(self, *args):
        return subprocess.run([harness.program("gm-platform"), *args], check=True, text=True, capture_output=True,
                              timeout=harness.PATIENCE).stdout

    def new_machine(self, version, *settings):
        self.platform("new", self.machine, version, *settings)
        self.addCleanup(self.platform, "remove", self.machine)

    def daemon(self, policy=""):
        return harness.Daemon({"acme": SLOTS + policy}, env={**self.env, "GM_PLATFORM_CONFINED": "1"},
                              args=["--cgroup-root", self.machine + ".d"])

    def file(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def image(self, kind):
        if kind == "tdx":
            return self.file("tdvf", model.firmware(tdvf=TDVF))
        return self.file("ovmf", model.firmware(sections=model.USUAL))

    def vmm(self, daemon, kind, *args):
        return [harness.program("tinyvmm"), "--address", daemon.socket("acme"), "--kind", kind, "--size", "32M",
                "--firmware", self.image(kind), *args]

    def launch(self, daemon, kind, *args):
        return subprocess.run(self.vmm(daemon, kind, *args), env={**os.environ, **self.env}, text=True,
                              capture_output=True, timeout=harness.PATIENCE, check=False)

    def start(self, daemon, kind, *args):
        """A tinyvmm whose guest has been launched and stays: (process, digest)."""
        vmm = subprocess.Popen(self.vmm(daemon, kind, "--ticks", "1000000", *args), text=True,
                               env={**os.environ, **self.env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(lambda: (vmm.poll() is None and vmm.kill(), vmm.wait(), vmm.stdout.close()))
        said = ""
        for line in vmm.stdout:
            said += line
            found = re.search(r"launch running, measurement ([0-9a-f]+)$", line)
            if found:
                return vmm, found.group(1)
        self.fail(said)

    def measured(self, kind, *args):
        option = "--tdvf" if kind == "tdx" else "--ovmf"
        return subprocess.run([harness.program("gmemctl"), "measure", kind, option, self.image(kind), *args],
                              check=True, text=True, capture_output=True, timeout=harness.PATIENCE).stdout.strip()

    def models(self):
        """Digests that the model's firmware has now."""
        return re.findall(r"\b(?:[0-9a-f]{96}|[0-9a-f]{64})\b", self.platform("show", self.machine))

    def assert_nothing_is_left(self, daemon):
        self.assertIsNotNone(harness.wait_until(daemon.books_are_empty), daemon.used("acme"))
        left = harness.wait_until(lambda: re.search(r"^vms 0\nguest_memfds 0\n", self.platform("show", self.machine),
                                                    re.MULTILINE))
        self.assertIsNotNone(left, self.platform("show", self.machine))

    def assert_confined(self, daemon):
        """It is the real filter that launches get through."""
        with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as status:
            self.assertIn("\nSeccomp:\t2\n", status.read())

    def need(self, daemon, kind):
        """Skips where gmemd has no such kind, with its reason."""
        found = [b for b in daemon.admin.host().backends if b.kind == kind.encode()]
        if not found:
            self.skipTest(f"this gmemd has no kind {kind}")
        self.assertTrue(found[0].usable, found[0].reason)


    def usual(self, kind):
        """What gmemctl says of the guest that launch() and start() launch."""
        return self.measured(kind, *([] if kind == "tdx" else ["--vcpus", "3", "--vcpu-type", "EPYC"]))

    GUEST = ("--vcpus", "3", "--signature", str(NAPLES))

    def on_each(self, body, policy="", kinds=("snp", "tdx")):
        """body(daemon, kind), for each kind on each version that has it, on a machine that is empty again after it."""
        for kind in kinds:
            for version in versions_of(kind):
                with self.subTest(kind=kind, version=version):
                    self.on_machine(version, body, kind, policy)

    def on_machine(self, version, body, kind, policy="", settings=()):
        self.new_machine(version, *settings)
        with self.daemon(policy) as daemon:
            self.need(daemon, kind)
            self.assert_confined(daemon)
            body(daemon, kind)
            self.assert_nothing_is_left(daemon)

    def end(self, vmm):
        vmm.kill()
        vmm.wait()

    def assert_launches(self, daemon, kind):
        """A guest can be launched, and has the digest that it ought to have."""
        vmm, digest = self.start(daemon, kind, *self.GUEST)
        self.assertEqual(digest, self.usual(kind))
        self.end(vmm)

    def assert_refused(self, done, status, rule):
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn(f"[{status}/{rule}]", done.stderr)


class Digests(Launch):
    def test_gmemd_the_firmware_and_gmemctl_have_one_digest(self):
        def launch(daemon, kind):
            vmm, digest = self.start(daemon, kind, *self.GUEST)
            self.assertEqual([digest], self.models())
            self.assertEqual(digest, self.usual(kind))
            self.end(vmm)
        self.on_each(launch)

    def test_hashes_of_a_kernel_are_in_it(self):
        kernel, append = self.file("kernel", b"vmlinuz"), "console=ttyS0"
        table = model.kernel_hashes(b"vmlinuz", append=append.encode())
        page = self.file("hashes", bytes(0xc00) + table)

        def launch(daemon, kind):
            vmm, digest = self.start(daemon, kind, *self.GUEST, "--hashes", page)
            self.assertEqual([digest], self.models())
            self.assertEqual(digest, self.measured(kind, "--vcpus", "3", "--vcpu-type", "EPYC", "--kernel", kernel,
                                                   "--append", append))
            self.end(vmm)
        self.on_machine("7.2", launch, "snp")

    def test_parts_signals_a_busy_firmware_and_corrections_do_not_change_it(self):
        def launch(daemon, kind):
            for setting in ("short=3", "interrupt=5", "busy=4", "correct-cpuid=1"):
                self.platform("set", self.machine, setting)
                self.assert_launches(daemon, kind)
                self.platform("set", self.machine, setting.split("=")[0] + "=0")
        self.on_each(launch)


    def test_memory_that_is_converted_in_place_does_not_change_it(self):
        for kind in ("snp", "tdx"):
            self.on_machine("7.2", self.assert_launches, kind, settings=("in-place=1",))


class Rules(Launch):
    def test_a_host_without_room_is_the_same_answer_on_every_kernel(self):
        def launch(daemon, kind):
            self.platform("set", self.machine, "full=1")
            self.assert_refused(self.launch(daemon, kind, *self.GUEST), "no-resource", "firmware")
            self.platform("set", self.machine, "full=0")
            self.assert_launches(daemon, kind)
        self.on_each(launch)

    def test_a_firmware_that_refuses_is_the_same_answer_on_every_kernel(self):
        def launch(daemon, kind):
            self.platform("set", self.machine, "firmware-error=26")
            done = self.launch(daemon, kind, *self.GUEST)
            self.assert_refused(done, "failed", "firmware")
            self.assertIn("INVALID_PAGE_STATE (0x1a)", done.stderr)
            self.assert_launches(daemon, kind)
        self.on_each(launch, kinds=("snp",))

    def test_what_the_firmware_said_is_the_answer_to_whatever_is_asked_later(self):
        def launch(daemon, kind):
            code, name = (26, "INVALID_PAGE_STATE (0x1a)") if kind == "snp" else (0x80000800, "(0x80000800)")
            with harness.gmem.Client(daemon.socket("acme"), name="unlucky") as client:
                domain = client.domain_create(kind).id
                start = pb.LaunchStartRequest(domain=domain, parameters=bytes(64))
                step = client.call(start).reply.step.step
                client.call(pb.StepDoneRequest(domain=domain, step=step, sys_errno=5, firmware_error=code))
                for request in (start, pb.LaunchFinishRequest(domain=domain)):
                    with self.assertRaises(harness.gmem.Refused) as refused:
                        client.call(request)
                    self.assertEqual((refused.exception.status.code, refused.exception.status.rule),
                                     (pb.CODE_WRONG_STATE, pb.RULE_FIRMWARE))
                    self.assertEqual((refused.exception.status.firmware_error, refused.exception.status.sys_errno),
                                     (code, 5))
                    self.assertIn(name, refused.exception.status.text.decode())
                self.assertIn(name, client.domain_get(domain).measurement_reason.decode())
            self.assertRegex(daemon.log(), r"a launch has failed: the start: firmware error .*" + re.escape(name))
        for kind in ("snp", "tdx"):
            self.on_machine("7.2", launch, kind)

    def test_a_digest_that_is_not_allowed_is_not_finished(self):
        def launch(daemon, kind):
            self.assert_refused(self.launch(daemon, kind, *self.GUEST), "denied", "MeasurementAllow")
        self.on_each(launch, "MeasurementAllow=" + "00" * 48 + "\n")

    def test_a_digest_that_is_allowed_is_finished(self):
        for kind in ("snp", "tdx"):
            self.on_machine("7.0", self.assert_launches, kind, f"MeasurementAllow={self.usual(kind)}\n")

    def id_block(self, digest):
        """Options for an ID block that asks for that digest."""
        return ("--id-block", self.file("id-block", bytes.fromhex(digest) + bytes(48)),
                "--id-auth", self.file("id-auth", bytes(4096)))

    def test_where_id_blocks_are_required_a_launch_is_finished_with_the_right_one(self):
        def launch(daemon, kind):
            vmm, digest = self.start(daemon, kind, *self.GUEST, *self.id_block(self.usual(kind)))
            self.assertEqual([digest], self.models())
            self.end(vmm)
        self.on_each(launch, "RequireIdBlock=yes\n", kinds=("snp",))

    def test_where_id_blocks_are_required_a_launch_without_one_is_not_finished(self):
        def launch(daemon, kind):
            self.assert_refused(self.launch(daemon, kind, *self.GUEST), "denied", "RequireIdBlock")
        for kind in ("snp", "tdx"):
            self.on_machine("7.0", launch, kind, "RequireIdBlock=yes\n")

    def test_an_id_block_for_another_launch_is_refused_before_the_firmware_is_asked(self):
        def launch(daemon, kind):
            done = self.launch(daemon, kind, *self.GUEST, *self.id_block("00" * 48))
            self.assert_refused(done, "invalid", "RequireIdBlock")
            self.assertIn(f"this one will be {self.usual(kind)}", done.stderr)
        for policy in ("", "RequireIdBlock=yes\n"):
            self.on_machine("7.0", launch, "snp", policy)

    def test_an_id_block_that_is_too_short_is_refused(self):
        def launch(daemon, kind):
            with harness.gmem.Client(daemon.socket("acme"), name="short") as client:
                domain = client.domain_create(kind).id
                start = pb.LaunchStartRequest(domain=domain, parameters=bytes(64))
                step = client.call(start).reply.step.step
                client.call(pb.StepDoneRequest(domain=domain, step=step))
                for block, auth in ((95, 4096), (96, 4095), (96, 0), (0, 4096), (97, 4096)):
                    with self.assertRaises(harness.gmem.Refused) as refused:
                        client.call(pb.LaunchFinishRequest(domain=domain, id_block=bytes(block), id_auth=bytes(auth)))
                    self.assertEqual((refused.exception.code, refused.exception.rule),
                                     ("INVALID", "REQUIRE_ID_BLOCK"))
                    self.assertIn(refused.exception.limit, (96, 4096))
        self.on_machine("7.0", launch, "snp", "RequireIdBlock=yes\n")

    def test_one_guest_more_than_there_are_slots_is_refused_in_advance(self):
        def launch(daemon, kind):
            vmm, _ = self.start(daemon, kind, *self.GUEST)
            done = self.launch(daemon, kind, *self.GUEST)
            self.assert_refused(done, "over-limit", "slots")
            self.assertRegex(done.stderr, "limit 1, used 1, asked 1")
            self.assertIn("vms 1\n", self.platform("show", self.machine))
            self.end(vmm)
            self.assertIsNotNone(harness.wait_until(daemon.books_are_empty))
            self.assert_launches(daemon, kind)
        self.on_each(launch, "SevEsSlots=1\nTdxSlots=1\n")


class Example(Launch):
    """client/examples/launch/launch.c does what it says, and says what a manager of guests can act on."""

    def run_example(self, daemon, kind, image):
        return subprocess.run([os.path.join(harness.BUILD, "bin", "example-launch"), daemon.socket("acme"), kind, image],
                              env={**os.environ, **self.env}, text=True, capture_output=True, check=False,
                              timeout=harness.PATIENCE)

    def predicted(self, kind, image):
        if kind == "tdx":
            return model.tdx([(True, 0, 8192, image)])
        vcpu = model.vmsa(0xfffffff0, 0x600, 1, vmm="kvm")
        return model.snp([("normal", 0, 8192, image), ("vmsa", model.VMSA_GPA, 4096, vcpu)])

    def test_its_guest_has_the_digest_that_it_ought_to_have(self):
        image = b"no firmware" * 500

        def launch(daemon, kind):
            done = self.run_example(daemon, kind, self.file("image", image))
            self.assertEqual((done.stderr, done.stdout), ("", self.predicted(kind, image) + "\n"))
        self.on_each(launch)

    def test_its_exit_status_is_the_kind_of_the_error(self):
        path = self.file("image", b"no firmware")

        def launch(daemon, kind):
            self.platform("set", self.machine, "full=1")
            self.assert_ends(self.run_example(daemon, kind, path), os.EX_TEMPFAIL, "no-resource/firmware")
            self.platform("set", self.machine, "full=0")
            self.assert_ends(self.run_example(daemon, kind, path), os.EX_NOPERM, "denied/MeasurementAllow")
            if kind == "snp":
                self.platform("set", self.machine, "firmware-error=26")
                self.assert_ends(self.run_example(daemon, kind, path), os.EX_PROTOCOL, "failed/firmware")
        for kind in ("snp", "tdx"):
            self.on_machine("7.2", launch, kind, "MeasurementAllow=" + "00" * 48 + "\n")

    def assert_ends(self, done, status, error):
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertIn(f"[{error}]", done.stderr)


class Plans(Launch):
    """A launch that is not what was allowed is refused with the first thing that differs from its plan."""

    def setUp(self):
        super().setUp()
        self.changed = None
        self.plans = os.path.join(self.folder, "plans")
        os.mkdir(self.plans)

    def policy(self, kind, *args):
        """What allows the usual guest alone, and has its plan."""
        args = args or ([] if kind == "tdx" else ["--vcpus", "3", "--vcpu-type", "EPYC"])
        digest = self.measured(kind, *args, "--plan", self.plans)
        self.assertEqual(os.listdir(self.plans), [digest])
        return f"MeasurementAllow={digest}\nLaunchPlans={self.plans}\n"

    def forget_plans(self):
        for name in os.listdir(self.plans):
            os.unlink(os.path.join(self.plans, name))

    def refused(self, kind, says, *guest, before=lambda: None):
        policy = self.policy(kind)

        def launch(daemon, kind):
            before()
            done = self.launch(daemon, kind, *(guest or self.GUEST))
            self.assert_refused(done, "denied", "MeasurementAllow")
            self.assertRegex(done.stderr, says)
            daemon.wait_log("LAUNCH_FINISH refused", re.search(says, done.stderr).group(0))
        self.on_machine("7.0", launch, kind, policy)

    def image(self, kind):
        path = super().image(kind)
        if self.changed is not None:
            with open(path, "r+b") as file:
                file.seek(self.changed)
                file.write(b"other")
        return path

    def change_a_page(self, offset):
        """Of the firmware, from then on: once its plan has been made."""
        def change():
            self.changed = offset
        return change

    def test_the_planned_launch_is_finished(self):
        for kind in ("snp", "tdx"):
            self.on_machine("7.0", self.assert_launches, kind, self.policy(kind))
            self.forget_plans()

    def test_the_first_page_that_differs_is_named(self):
        base = 2**32 - len(model.firmware(sections=model.USUAL))
        self.refused("snp", rf"the measurement would be [0-9a-f]{{16}}\.\.\.: step 1, normal page {base + 0x1000:#x}: "
                     r"contents [0-9a-f]{16}\.\.\., not [0-9a-f]{16}\.\.\.", before=self.change_a_page(0x1234))

    def test_the_first_page_of_a_trust_domain_that_differs_is_named(self):
        self.refused("tdx", rf"step 1, normal page {2**32 - 0x1000:#x}: contents", before=self.change_a_page(0x3010))

    def test_a_page_of_another_type_is_named_with_the_planned_one(self):
        page = self.file("hashes", bytes(0xc00) + model.kernel_hashes(b"vmlinuz"))
        self.refused("snp", r"step \d+, normal page 0x[0-9a-f]+: the plan has zero page 0x[0-9a-f]+",
                     *self.GUEST, "--hashes", page)

    def test_registers_and_number_of_vcpus_are_named(self):
        self.refused("snp", r"vCPU 0: other registers than planned; told: qemu, signature 0xa00f11, entry 0x[0-9a-f]+, "
                     "features 0x1", "--vcpus", "3", "--signature", str(0xa00f11))
        self.forget_plans()
        self.refused("snp", "2 vCPUs, then the plan has a vCPU", "--vcpus", "2", "--signature", str(NAPLES))
        self.forget_plans()
        self.refused("snp", "after 3 of 4 vCPUs the plan has nothing more", "--vcpus", "4", "--signature", str(NAPLES))

    def test_a_launch_that_asks_again_and_again_is_not_explained_for_ever(self):
        def launch(daemon, kind):
            with harness.gmem.Client(daemon.socket("acme"), name="asker") as client:
                domain = client.domain_create(kind).id
                step = client.call(pb.LaunchStartRequest(domain=domain, parameters=bytes(64))).reply.step.step
                client.call(pb.StepDoneRequest(domain=domain, step=step))
                said = []
                for _ in range(10):
                    with self.assertRaises(harness.gmem.Refused) as refused:
                        client.call(pb.LaunchFinishRequest(domain=domain, vcpus=pb.Vcpus(
                            how=pb.VCPUS_MODEL, count=1, vmm=b"qemu")))
                    said.append("the launch ends before step 1: the plan has normal page" in
                                refused.exception.status.text.decode())
                self.assertEqual(said, 8 * [True] + 2 * [False])
        self.on_machine("7.0", launch, "snp", self.policy("snp"))

    def test_a_plan_that_others_may_write_is_not_read(self):
        policy = self.policy("snp")
        for name in os.listdir(self.plans):
            os.chmod(os.path.join(self.plans, name), 0o666)
        self.change_a_page(0x1234)()

        def launch(daemon, kind):
            done = self.launch(daemon, kind, *self.GUEST)
            self.assert_refused(done, "denied", "MeasurementAllow")
            self.assertRegex(done.stderr, "the measurement would be [0-9a-f]{96}, which is not allowed")
        self.on_machine("7.0", launch, "snp", policy)


class Cost(Launch):
    def test_what_gmemd_adds_to_a_launch(self):
        self.new_machine("7.0", "hash=0")
        with self.daemon() as daemon:
            self.need(daemon, "snp")
            ratios = []
            # gmem-bench has the gate of 1.2, on a quiet host. Here one quiet run of four is enough.
            while len(ratios) < 4 and min(ratios, default=2) > 1.4:
                done = subprocess.run([os.path.join(harness.BUILD, "tests", "t_launch_overhead"),
                                       daemon.socket("acme"), "5"], env={**os.environ, **self.env}, text=True,
                                      capture_output=True, timeout=60, check=True)
                rounds = [[float(word) for word in line.split()] for line in done.stdout.splitlines()]
                ratios.append(statistics.median((served - hashed) / bare for bare, served, hashed in rounds))
            print("64 MiB in 2 MiB populates, less hashing: " + ", ".join(f"{ratio:.2f}" for ratio in ratios))
            self.assertLessEqual(min(ratios), 1.4)


class Neighbours(Launch):
    """What one VMM does to its own launch, and what another sees of it: nothing."""

    def test_a_vmm_that_dies_anywhere_leaves_nothing_and_disturbs_nobody(self):
        def launch(daemon, kind):
            neighbour, digest = self.start(daemon, kind, *self.GUEST)
            for ms in range(1, 30, 2):
                vmm = subprocess.Popen(self.vmm(daemon, kind, *self.GUEST), env={**os.environ, **self.env},
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(ms / 1000)
                self.end(vmm)
            self.assert_launches(daemon, kind)
            self.assertIn(digest, self.models())
            self.end(neighbour)
        for kind in ("snp", "tdx"):
            self.on_machine("7.0", launch, kind)

    def refused(self, client, *requests):
        for request in requests:
            with self.assertRaises(harness.gmem.Refused):
                client.call(request)

    def lie(self, daemon, kind):
        """A client that reports steps that it has not done, and asks out of order and twice."""
        with harness.gmem.Client(daemon.socket("acme"), name="liar") as liar:
            domain = liar.domain_create(kind).id
            start = pb.LaunchStartRequest(domain=domain, parameters=bytes(64 if kind == "snp" else 168))
            finish = pb.LaunchFinishRequest(domain=domain)
            self.refused(liar, finish, pb.StepDoneRequest(domain=domain, step=1))
            step = liar.call(start).reply.step.step
            done = pb.StepDoneRequest(domain=domain, step=step)
            self.refused(liar, start, finish, pb.StepDoneRequest(domain=domain, step=step ^ 1))
            liar.call(done)
            self.refused(liar, start, done)
            step = liar.call(finish).reply.step.step
            liar.call(pb.StepDoneRequest(domain=domain, step=step))
            self.refused(liar, start, finish, pb.LaunchAbortRequest(domain=domain))

    def test_a_vmm_that_lies_about_its_steps_deceives_itself_alone(self):
        def launch(daemon, kind):
            neighbour, digest = self.start(daemon, kind, *self.GUEST)
            self.lie(daemon, kind)
            self.assert_launches(daemon, kind)
            self.assertIn(digest, self.models())
            self.end(neighbour)
        self.on_each(launch)


class Restarts(Launch):
    """A launch goes on over a restart, wherever the daemon was killed: gmemd's digest, the firmware's and that of
    gmemctl measure are one, as if nothing had happened."""

    def setUp(self):
        super().setUp()
        self.faults = Faults(os.path.join(self.folder, "faults"))
        self.addCleanup(self.faults.close)

    def manager(self, policy=""):
        manager = Manager(args=["--cgroup-root", self.machine + ".d"],
                          program=os.path.join(harness.BUILD, "tests", "gmemd-faults"),
                          env={**self.env, "GM_PLATFORM_CONFINED": "1", "GMEMD_FAULTS_FILE": self.faults.path})
        self.enterContext(manager)
        with open(manager.path("acme.policy"), "w", encoding="utf-8") as file:
            file.write("[X-Gmemd]\n" + SLOTS + policy)
        manager.start()
        return manager

    def launch_visits(self, manager, kind):
        """Of each fault point: how often a greeting passes it, and how often that and a launch do."""
        start = self.faults.visits()
        with manager.client():
            greeted = self.faults.visits()
        self.assertIsNotNone(harness.wait_until(lambda: self.faults.visits()["close: domains ended"] >
                                                start["close: domains ended"]))
        before = self.faults.visits()
        vmm, digest = self.start(manager, kind, *self.GUEST)
        after = self.faults.visits()
        self.assertEqual(digest, self.usual(kind))
        self.end(vmm)
        self.gone(manager)
        # Who is not greeted yet has nothing to go on with: these visits are no part of the launch.
        greeting = {name: n - start[name] for name, n in greeted.items()}
        return {name: (greeting[name], n - before[name]) for name, n in after.items()
                if n - before[name] > greeting[name]}

    def gone(self, manager):
        """The VMM of before has left, and gmemd has seen to it."""
        with manager.client(tenant="admin") as admin:
            self.assertIsNotNone(harness.wait_until(lambda: not admin.list_domains()))
        self.assertIsNotNone(harness.wait_until(lambda: self.models() == []))

    def die_at(self, manager, kind, point, visit):
        kills = self.faults.kills()
        self.faults.arm(point, visit)
        vmm = subprocess.Popen(self.vmm(manager, kind, "--ticks", "1000000", *self.GUEST), text=True,
                               env={**os.environ, **self.env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            died = harness.wait_until(lambda: self.faults.kills() > kills)
            self.assertIsNotNone(died, f"{point} is not visited {visit} times")
            manager.reap()
            manager.start()
            said = ""
            for line in vmm.stdout:
                said += line
                if "launch running" in line:
                    break
            self.assertIn(f"launch running, measurement {self.usual(kind)}", said)
            self.assertEqual(self.models(), [self.usual(kind)])
        finally:
            self.faults.disarm()
            self.end(vmm)
            vmm.stdout.close()
        self.gone(manager)

    def test_the_measurement_of_a_guest_that_runs_is_known_to_the_next_gmemd(self):
        self.new_machine("7.0")
        manager = self.manager()
        vmm, digest = self.start(manager, "snp", *self.GUEST)
        manager.restart()
        with manager.client(tenant="admin") as admin:
            domain, = admin.list_domains()
            self.assertEqual(admin.domain_get(domain.domain).measurement.hex(), digest)
        self.end(vmm)

    def test_a_gmemd_that_is_killed_anywhere_in_a_launch_goes_on_with_its_digest(self):
        for kind in ("snp", "tdx"):
            self.new_machine("7.0")
            manager = self.manager(f"MeasurementAllow={self.usual(kind)}\n")
            for point, (greeting, visits) in sorted(self.launch_visits(manager, kind).items()):
                # Each step once, and one instruction of each sort; all of them take some minutes. How often the last
                # ones are passed is a matter of time.
                thorough = LONG or point.startswith("launch:")
                last = visits if visits < 16 else visits - 8
                for visit in range(greeting + 1, last + 1) if thorough else [(greeting + visits + 1) // 2]:
                    with self.subTest(kind=kind, point=point, visit=visit):
                        self.die_at(manager, kind, point, visit)


if __name__ == "__main__":
    unittest.main(verbosity=2)
