#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A client that lies about its steps: twice, wrong, out of order, with other ranges, with wrong fds. What it says
decides what is booked for its own region, and nothing else; and the books are right when it has gone.

On a real KVM where that has software-protected VMs, else on the platform model, below which the program runs itself
once more.
"""
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

import harness
from harness import MIB, gmem, pb

KIND = "sw-protected"
SIZE = 4 * MIB
PAGE = 4096
SW_PROTECTED_VM = 1
KVM_CREATE_VM, KVM_CHECK_EXTENSION, KVM_CREATE_GUEST_MEMFD = 0xae01, 0xae03, 0xc040aed4
KVM_CAP_VM_TYPES = 235
MODEL = "GM_PLATFORM" in os.environ


def has_such_vms():
    try:
        with open("/dev/kvm", "rb") as kvm:
            return fcntl.ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_VM_TYPES) & 1 << SW_PROTECTED_VM
    except OSError:
        return False


class Vm:
    """A VM with private memory, and guest_memfds of it."""

    def __init__(self):
        with open("/dev/kvm", "rb") as kvm:
            self.fds = [fcntl.ioctl(kvm, KVM_CREATE_VM, SW_PROTECTED_VM)]

    @property
    def fd(self):
        return self.fds[0]

    def memory(self, size=SIZE):
        fd = fcntl.ioctl(self.fd, KVM_CREATE_GUEST_MEMFD, bytearray(struct.pack("8Q", size, *[0] * 7)), True)
        self.fds.append(fd)
        return fd

    def close(self):
        for fd in self.fds:
            os.close(fd)


class Memory:
    """A region of a client that does its steps by hand: no VM is asked for anything but the guest_memfd."""

    def __init__(self, client, domain, gpa=0):
        self.client, self.domain = client, domain
        answer = client.call(pb.RegionCreateRequest(domain=domain.id, gpa=gpa, size=SIZE))
        self.id, self.step = answer.reply.region, answer.reply.step.step
        self.shared = answer.fds["memory"]
        self.ranges = []

    def send_memory(self, fd, step=None):
        """STEP_MEMORY; the Status where it is refused, None for success."""
        body = pb.StepMemoryRequest(region=self.id, step=step or self.step,
                                    box=self.client.put_fd(self.domain, fd)).SerializeToString()
        self.client.send_frame(gmem.STEP_MEMORY, 0x10000, body)
        frame = self.client.receive_frame(timeout=harness.PATIENCE)
        return pb.Status.FromString(frame.body) if frame.flags & gmem.REFUSED else None

    def bind(self):
        self.step = self.client.call(pb.RegionBindRequest(region=self.id)).reply.step.step

    def convert(self, *ranges, to=pb.PAGE_SHARED):
        self.ranges = [pb.Range(offset=offset, length=length) for offset, length in ranges]
        self.step = self.client.call(pb.ConvertRequest(region=self.id, ranges=self.ranges, to=to)).reply.step.step

    def report(self, step=None, ranges=None, sys_errno=0, done=0, client=None):
        return (client or self.client).call(pb.StepDoneRequest(
            region=self.id, step=self.step if step is None else step, sys_errno=sys_errno, done=done,
            ranges=self.ranges if ranges is None else ranges)).reply.bytes

    def map(self):
        return self.client.region_map(self.id)


SHARED, ABSENT = "SHARED", "ABSENT"


class Liar(harness.DaemonCase):
    ARGS = ("--sandbox", "off") if MODEL else ()

    def setUp(self):
        super().setUp()
        self.liar = self.client()
        usable = {b.kind.decode(): b for b in self.liar.host().backends}[KIND]
        if not usable.usable:
            self.skipTest(f"{KIND}: {usable.reason.decode()}")
        self.vm = Vm()
        self.addCleanup(self.vm.close)
        self.domain = self.liar.domain_create(KIND)

    def tearDown(self):
        # Whatever it was told, the daemon has what it gave, to a byte.
        info = self.liar.domain_get(self.domain)
        regions = self.liar.list_regions(self.domain.id)
        self.assertEqual(info.reserved_bytes, SIZE * len(regions))
        self.assertEqual(info.shared_bytes, sum(r.shared_bytes for r in regions))
        charged = harness.wait_until(lambda: self.daemon.used("acme").get("memory", 0) == SIZE * len(regions))
        self.assertIsNotNone(charged, self.daemon.used("acme"))

    def made(self, gpa=0):
        memory = Memory(self.liar, self.domain, gpa)
        self.addCleanup(memory.shared.close)
        self.assertIsNone(memory.send_memory(self.vm.memory()))
        return memory

    def bound(self, gpa=0):
        memory = self.made(gpa)
        memory.bind()
        memory.report()
        return memory

    def refused_step(self):
        return self.refused("INVALID", "STEP")

    # ---- reports

    def test_a_step_is_reported_once(self):
        memory = self.bound()
        with self.refused_step():
            memory.report()
        memory.convert((0, PAGE))
        self.assertEqual(memory.report(), PAGE)
        for _ in range(3):
            with self.refused_step():
                memory.report()
        self.assertEqual(memory.map(), [(0, PAGE, SHARED), (PAGE, SIZE - PAGE, ABSENT)])

    def test_a_step_of_another_number_or_another_region_is_none(self):
        memory, other = self.bound(), self.bound(gpa=SIZE)
        memory.convert((0, PAGE))
        other.convert((PAGE, PAGE))
        for step in (0, 1, memory.step ^ 1, memory.step + 1, other.step, 2**64 - 1):
            with self.refused_step():
                memory.report(step=step)
        with self.refused_step():
            memory.report(ranges=other.ranges)
        memory.report()
        other.report()
        self.assertEqual(other.map()[1], (PAGE, PAGE, SHARED))

    def test_other_ranges_than_were_ordered_are_refused_and_the_step_goes_on(self):
        memory = self.bound()
        memory.convert((0, PAGE), (4 * PAGE, 2 * PAGE))
        one, two = memory.ranges
        longer = pb.Range(offset=two.offset, length=3 * PAGE)
        for wrong in ([], [one], [one, two, longer], [two, one], [one, longer], [one, one], [two, two],
                      [one, pb.Range(offset=2**64 - PAGE, length=PAGE)], [one, two] * 500):
            with self.subTest(wrong=wrong[:3]), self.refused("INVALID"):
                memory.report(ranges=wrong)
        for done in (3, 2**32 - 1):
            with self.refused_step():
                memory.report(sys_errno=5, done=done)
        self.assertEqual(memory.map(), [(0, SIZE, ABSENT)])
        self.assertEqual(memory.report(sys_errno=5, done=1), PAGE)
        self.assertEqual(memory.map(), [(0, PAGE, SHARED), (PAGE, SIZE - PAGE, ABSENT)])

    def test_nothing_comes_before_its_time_and_nothing_twice(self):
        memory = Memory(self.liar, self.domain)
        self.addCleanup(memory.shared.close)
        convert = pb.ConvertRequest(region=memory.id, ranges=[pb.Range(offset=0, length=PAGE)], to=pb.PAGE_SHARED)
        bind = pb.RegionBindRequest(region=memory.id)
        allocate = pb.AllocateRequest(region=memory.id, ranges=convert.ranges)
        for early in (bind, convert, allocate, pb.RegionDestroyRequest(region=memory.id)):
            with self.refused("BUSY"):
                self.liar.call(early)
        with self.refused_step():  # made, but where is it?
            memory.report()
        self.assertIsNone(memory.send_memory(self.vm.memory()))
        self.assertEqual(memory.send_memory(self.vm.memory()).rule, pb.RULE_STEP)
        with self.refused("WRONG_STATE"):
            self.liar.call(convert)
        memory.bind()
        with self.refused("BUSY"):
            self.liar.call(bind)
        memory.report()
        with self.refused("WRONG_STATE"):
            self.liar.call(bind)
        memory.convert((0, PAGE))
        with self.refused("BUSY"):
            self.liar.call(convert)
        memory.report()

    def test_a_step_that_came_to_nothing_can_be_asked_for_again(self):
        memory = self.made()
        for _ in range(3):
            memory.bind()
            memory.report(sys_errno=12)
        memory.bind()
        memory.report()
        memory.convert((0, SIZE))
        self.assertEqual(memory.report(sys_errno=11, done=0), 0)
        self.assertEqual(memory.map(), [(0, SIZE, ABSENT)])

    def test_regions_of_others_are_not_there(self):
        memory = self.bound()
        memory.convert((0, PAGE))
        for tenant, code in (("acme", "BUSY"), ("rival", "NO_SUCH_OBJECT")):
            thief = self.client(tenant)
            for request in (pb.ConvertRequest(region=memory.id, ranges=memory.ranges, to=pb.PAGE_PRIVATE),
                            pb.RegionBindRequest(region=memory.id),
                            pb.StepDoneRequest(region=memory.id, step=memory.step, ranges=memory.ranges)):
                with self.subTest(tenant=tenant, request=type(request).__name__), self.refused(code):
                    thief.call(request)
        self.assertEqual(memory.report(), PAGE)

    # ---- what was said to be done, and was not

    def test_what_is_said_to_be_free_is_freed(self):
        memory = self.bound()
        os.pwrite(memory.shared.fileno(), b"x" * SIZE, 0)
        for round_ in range(3):
            memory.convert((0, SIZE))
            memory.report()
            os.pwrite(memory.shared.fileno(), b"x" * SIZE, 0)
            memory.convert((0, SIZE), to=pb.PAGE_PRIVATE)
            self.assertEqual(memory.report(), SIZE, round_)
            self.assertEqual(os.fstat(memory.shared.fileno()).st_blocks, 0)
        self.assertEqual(os.pread(memory.shared.fileno(), PAGE, 0), bytes(PAGE))

    def test_who_destroys_what_is_being_freed_is_told_to_wait_and_nothing_is_left(self):
        memory = self.bound()
        memory.convert((0, SIZE))
        memory.report()
        os.pwrite(memory.shared.fileno(), b"x" * SIZE, 0)
        memory.convert((0, SIZE), to=pb.PAGE_PRIVATE)
        report = self.liar.start(pb.StepDoneRequest(region=memory.id, step=memory.step, ranges=memory.ranges))
        destroy = self.liar.start(pb.RegionDestroyRequest(region=memory.id))
        answers = self.liar.collect([report, destroy])
        self.assertEqual(answers[0].reply.bytes, SIZE)
        if isinstance(answers[1], gmem.Refused):
            self.assertEqual(answers[1].code, "BUSY")
            self.liar.region_destroy(memory.id)
        self.assertEqual(self.liar.list_regions(self.domain.id), [])

    # ---- fds

    def wrong_fds(self, memory):
        """(what it is, fd)"""
        mine, theirs = socket.socketpair()
        read, write = os.pipe()
        plain = os.memfd_create("plain", os.MFD_CLOEXEC)
        os.ftruncate(plain, SIZE)
        poll = select.epoll()
        yield from (("a socket", mine.fileno()), ("a pipe", read), ("a pipe's end", write), ("a memfd", plain),
                    ("an epoll", poll.fileno()), ("the shared half", memory.shared.fileno()), ("a VM", self.vm.fd),
                    ("too small", self.vm.memory(SIZE - PAGE)), ("too big", self.vm.memory(SIZE + PAGE)))
        for path, flags in (("/dev/kvm", os.O_RDONLY), ("/dev/null", os.O_RDWR), ("/", os.O_RDONLY), ("/", os.O_PATH),
                            ("/proc/self/mem", os.O_RDONLY), (self.daemon.socket("acme"), os.O_PATH)):
            fd = os.open(path, flags | os.O_CLOEXEC)
            yield path, fd
            os.close(fd)
        for fd in (mine.detach(), theirs.detach(), read, write, plain):
            os.close(fd)
        poll.close()

    def test_what_is_no_private_memory_of_that_size_is_refused_and_the_step_goes_on(self):
        memory = Memory(self.liar, self.domain)
        self.addCleanup(memory.shared.close)
        for what, fd in self.wrong_fds(memory):
            with self.subTest(what=what):
                status = memory.send_memory(fd)
                self.assertEqual((status.code, status.rule), (pb.CODE_INVALID, pb.RULE_FD))
        self.assertIsNone(memory.send_memory(self.vm.memory()))

    def test_memory_that_a_region_has_is_not_taken_twice(self):
        first = Memory(self.liar, self.domain)
        self.addCleanup(first.shared.close)
        half = self.vm.memory()
        self.assertIsNone(first.send_memory(half))
        second = Memory(self.liar, self.domain, gpa=SIZE)
        self.addCleanup(second.shared.close)
        status = second.send_memory(half)
        self.assertEqual((status.code, status.rule), (pb.CODE_EXISTS, pb.RULE_FD))
        self.assertIsNone(second.send_memory(self.vm.memory()))


def on_the_model():
    """The same tests below the model: its exit status."""
    if harness.SANITIZED:
        print("skipped: the model is preloaded, which sanitizers do not allow")
        return 77
    tool = harness.program("gm-platform")
    with tempfile.TemporaryDirectory(prefix="gmemd-it-") as folder:
        machine = os.path.join(folder, "machine")
        subprocess.run([tool, "new", machine, "7.0"], check=True)
        env = dict(os.environ, GM_PLATFORM=machine,
                   LD_PRELOAD=os.path.join(harness.BUILD, "lib", "libgm_platform.so"))
        status = subprocess.run([sys.executable, "-B", *sys.argv], env=env, check=False).returncode
        subprocess.run([tool, "remove", machine], check=True)
    return status


if __name__ == "__main__":
    if MODEL or has_such_vms():
        harness.main()
    else:
        sys.exit(on_the_model())
