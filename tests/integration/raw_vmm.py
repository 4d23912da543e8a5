# SPDX-License-Identifier: Apache-2.0
"""A VMM for confidential guests in Python, with the wire and the kernel's requests in its own hands: for tests that
let it lie, skip, and die. It shares nothing with libgmem. What it does is done in methods do_...(), what it says in
say_...(), and whoever wants to can do one without the other."""
import contextlib
import ctypes
import fcntl
import mmap
import os
import struct

import harness
from harness import pb

PAGE = 4096
PAGES = 16
NORMAL = pb.PAGE_TYPE_NORMAL
F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE = 2, 4, 8, 16
SEALS = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW
CREATE_VM, CREATE_VCPU, ENCRYPT_OP = 0xae01, 0xae41, 0xc008aeba
CREATE_GUEST_MEMFD, SET_REGION2, SET_ATTRIBUTES = 0xc040aed4, 0x40a0ae49, 0x4020aed2
VM_TYPES = {"snp": 4, "tdx": 5}
INIT2, SNP_START, SNP_UPDATE, SNP_FINISH = 22, 100, 101, 102
TDX_INIT_VM, TDX_INIT_VCPU, TDX_INIT_MEM_REGION, TDX_FINALIZE_VM = 1, 2, 3, 4
# Page-aligned memory of this process's own, to populate from.
SOURCE = mmap.mmap(-1, PAGES * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def pages(first, count):
    """Contents that differ from page to page."""
    return b"".join(bytes([first + i + 1]) * PAGE for i in range(count))


def memfd(data, seals=SEALS):
    fd = harness.gmem.Fd(os.memfd_create("source", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
    os.write(fd.fileno(), data)
    fcntl.fcntl(fd.fileno(), fcntl.F_ADD_SEALS, seals)
    return fd


def punch(fd, first, length):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(fd, 3, ctypes.c_long(first), ctypes.c_long(length)) < 0:
        raise OSError(ctypes.get_errno(), "fallocate")


class Vmm:
    def __init__(self, client, kind):
        self.client, self.kind = client, kind
        self.domain = self.region = None
        self.fds = contextlib.ExitStack()
        self.vm = self.vcpu = self.device = self.memory = None
        self.operations = []

    def close(self):
        self.fds.close()

    def keep(self, fd):
        self.fds.callback(os.close, fd)
        return fd

    # What it does.

    def command(self, fd, number, data=b"", flags=0):
        """KVM_MEMORY_ENCRYPT_OP: the data as they come back."""
        buffer = ctypes.create_string_buffer(data, max(1, len(data)))
        address = ctypes.addressof(buffer)
        if self.kind == "snp":
            envelope = struct.pack("<IIQII", number, 0, address, 0, self.device or 0)
        else:
            envelope = struct.pack("<IIQQ", number, flags, address, 0)
        fcntl.ioctl(fd, ENCRYPT_OP, bytearray(envelope))
        return buffer.raw

    def do_vm(self):
        with open("/dev/kvm", "rb", buffering=0) as kvm:
            self.vm = self.keep(fcntl.ioctl(kvm, CREATE_VM, VM_TYPES[self.kind]))

    def do_start(self, initialise_only=False):
        if self.kind == "tdx":
            self.command(self.vm, TDX_INIT_VM, struct.pack("<QQ144x96xII", 0, 3, 0, 0))
        else:
            self.command(self.vm, INIT2, struct.pack("<QIHH32x", 0, 0, 2, 0))
        if initialise_only:
            return
        if self.kind == "tdx":
            self.vcpu = self.keep(fcntl.ioctl(self.vm, CREATE_VCPU, 0))
            self.command(self.vcpu, TDX_INIT_VCPU)
        else:
            self.command(self.vm, SNP_START, struct.pack("<Q16xH6x32x", 0x30000, 0))

    def do_memory(self, size=PAGES * PAGE):
        request = bytearray(struct.pack("<QQ48x", size, 0))
        self.memory = self.keep(fcntl.ioctl(self.vm, CREATE_GUEST_MEMFD, request))

    def do_bind(self):
        slot = struct.pack("<IIQQQQII112x", 0, 4, 0, PAGES * PAGE, 0, 0, self.memory, 0)
        fcntl.ioctl(self.vm, SET_REGION2, bytearray(slot))
        fcntl.ioctl(self.vm, SET_ATTRIBUTES, bytearray(struct.pack("<QQQQ", 0, PAGES * PAGE, 8, 0)))

    def do_populate(self, first, data):
        SOURCE[:len(data)] = data
        address = ctypes.addressof(ctypes.c_char.from_buffer(SOURCE))
        if self.kind == "tdx":
            self.command(self.vcpu, TDX_INIT_MEM_REGION,
                         struct.pack("<QQQ", address, first * PAGE, len(data) // PAGE), flags=1)
        else:
            self.command(self.vm, SNP_UPDATE,
                         struct.pack("<QQQBBHI32x", first, address, len(data), 1, 0, 0, 0))

    def do_finish(self):
        if self.kind == "tdx":
            self.command(self.vm, TDX_FINALIZE_VM)
        else:
            self.command(self.vm, SNP_FINISH, bytes(88))

    # What it says.

    def ask_start(self):
        """LAUNCH_START: the step."""
        parameters = bytes(8) + struct.pack("<Q", 3) + bytes(152) if self.kind == "tdx" else bytes(64)
        answer = self.client.call(pb.LaunchStartRequest(domain=self.domain, parameters=parameters))
        if answer.fds:
            self.device = self.keep(os.dup(answer.fds["sev"].fileno()))
            answer.fds["sev"].close()
        return answer.reply.step.step

    def ask_populate(self, first, count, source, source_offset=0, kind=NORMAL):
        return self.client.call(pb.PopulateRequest(region=self.region, offset=first * PAGE, length=count * PAGE,
                                                   type=kind, source=source,
                                                   source_offset=source_offset)).reply.step.step

    def ask_finish(self):
        return self.client.call(pb.LaunchFinishRequest(domain=self.domain)).reply.step.step

    def hand_in(self, data, seals=SEALS):
        """SOURCE: its number."""
        with memfd(data, seals) as fd:
            return self.client.call_with_fd(self.domain, pb.SourceRequest(domain=self.domain), fd).reply.source

    def tell_memory(self, request):
        """STEP_MEMORY, with what do_memory() has made."""
        return self.client.call_with_fd(self.domain, request, self.memory)

    def say(self, step, error=0):
        """STEP_DONE, of a step of the domain's."""
        self.client.call(pb.StepDoneRequest(domain=self.domain, step=step, sys_errno=error))

    def say_populated(self, step, first, count, done=None, error=0):
        self.client.call(pb.StepDoneRequest(region=self.region, step=step, sys_errno=error,
                                            done=count if done is None else done,
                                            ranges=[pb.Range(offset=first * PAGE, length=count * PAGE)]))

    # Both.

    def create(self):
        self.domain = self.client.domain_create(self.kind).id
        self.do_vm()

    def start(self):
        step = self.ask_start()
        self.do_start()
        self.say(step)

    def add_region(self):
        answer = self.client.call(pb.RegionCreateRequest(domain=self.domain, size=PAGES * PAGE))
        for fd in answer.fds.values():
            fd.close()
        self.region = answer.reply.region
        self.do_memory()
        self.tell_memory(pb.StepMemoryRequest(region=self.region, step=answer.reply.step.step))

    def bind(self):
        step = self.client.call(pb.RegionBindRequest(region=self.region)).reply.step.step
        self.do_bind()
        self.client.call(pb.StepDoneRequest(region=self.region, step=step))

    def populate(self, first, count):
        data = pages(first, count)
        step = self.ask_populate(first, count, self.hand_in(data))
        self.do_populate(first, data)
        self.say_populated(step, first, count)
        self.operations.append(("normal", first * PAGE, count * PAGE, data))

    def finish(self):
        step = self.ask_finish()
        self.do_finish()
        self.say(step)

    def launch(self, until="finish"):
        """By the rules, up to and with @until."""
        for name in ("create", "start", "add_region", "bind", "populate", "finish"):
            getattr(self, name)(*((0, 4) if name == "populate" else ()))
            if name == until:
                return

    def launch_on(self, *names):
        for name in names:
            getattr(self, name)()

    # What it sees.

    def info(self):
        return self.client.domain_get(self.domain)

    def state(self):
        return pb.LaunchState.Name(self.info().launch).removeprefix("LAUNCH_")

    def map(self):
        return [(offset // PAGE, length // PAGE, state) for offset, length, state in
                self.client.region_map(self.region)]
