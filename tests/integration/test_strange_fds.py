#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fds of strangers: whatever a client passes, or leaves unread, keeps nobody else waiting.

The worst that a socket can do to whoever closes it last is to linger. A file on FUSE is worse: its
server is asked at each close, and by fstatfs, and need not answer. Private memory of a VM is what fds
are for; the fds here are not that.
"""
import contextlib
import ctypes
import os
import signal
import socket
import struct
import tempfile
import time
import unittest

import harness
from harness import MIB, gmem, pb

LINGER_S = 20
QUICK_S = 1.0
KIND = "sw-protected"
CLOSING_MAX = 64


class Sockets:
    """TCP sockets full of data that nobody reads: the last close of each takes LINGER_S seconds."""

    def __init__(self):
        try:
            self.server = socket.create_server(("127.0.0.1", 0), backlog=64)
        except OSError:  # a kernel without a network: strange they are, but do not linger
            self.server = None

    def make(self, linger_s=LINGER_S):
        if self.server is None:
            mine, theirs = socket.socketpair()
            theirs.close()
            return mine
        full = socket.create_connection(self.server.getsockname())
        full.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, linger_s))
        full.setblocking(False)
        try:
            while True:
                full.send(bytes(65536))
        except BlockingIOError:
            pass
        full.setblocking(True)
        return full

    def close(self):
        if self.server is not None:
            self.server.close()


libc = ctypes.CDLL(None, use_errno=True)
FUSE_HEADER = struct.Struct("<IIQQIIII")  # fuse_in_header
FUSE_GETATTR, FUSE_OPEN, FUSE_RELEASE, FUSE_INIT = 3, 14, 18, 26


def fuse_attr():
    """struct fuse_attr of the only file."""
    return struct.pack("<QQQQQQIIIIIIIIII", 1, MIB, 0, 0, 0, 0, 0, 0, 0, 0o100600, 1, 0, 0, 0, 4096, 0)


def fuse_answer(opcode):
    """None: a question that is left without an answer."""
    if opcode == FUSE_INIT:
        return struct.pack("<IIIIHHIIHHI7I", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, 0, *[0] * 7)
    if opcode == FUSE_GETATTR:
        return struct.pack("<QII", 0, 0, 0) + fuse_attr()
    if opcode == FUSE_OPEN:
        return struct.pack("<QII", 1, 0, 0)
    if opcode == FUSE_RELEASE:
        return b""
    return None


class SilentFile:
    """A file on FUSE whose server lets it be opened and then says nothing to a close (FLUSH) or to
    fstatfs (STATFS): whoever asks waits until the server ends."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        # Its path is to say what only the kernel may say.
        self.path = os.path.join(self.folder.name, "[kvm-gmem]")
        open(self.path, "wb").close()
        try:
            self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise unittest.SkipTest(f"/dev/fuse: {error}") from error
        options = f"fd={self.device},rootmode=100600,user_id=0,group_id=0,allow_other"
        if libc.mount(b"silent", self.path.encode(), b"fuse", 0, options.encode()) < 0:
            os.close(self.device)
            raise unittest.SkipTest(f"mount: {os.strerror(ctypes.get_errno())}")
        self.server = os.fork()
        if self.server == 0:
            self._serve()
        os.close(self.device)

    def _serve(self):
        try:
            while True:
                request = os.read(self.device, 1 << 20)
                _, opcode, unique, *_ = FUSE_HEADER.unpack_from(request)
                body = fuse_answer(opcode)
                if body is not None:
                    os.write(self.device, struct.pack("<IiQ", 16 + len(body), 0, unique) + body)
        finally:
            os._exit(1)

    def open(self):
        return os.open(self.path, os.O_RDWR | os.O_CLOEXEC)

    def close(self):
        """The end of the server answers everybody."""
        os.kill(self.server, signal.SIGKILL)
        os.waitpid(self.server, 0)
        libc.umount2(self.path.encode(), 2)
        self.folder.cleanup()


class StrangeFds(harness.DaemonCase):
    TENANTS = {"acme": "SessionsMax=200\n", "rival": ""}

    def setUp(self):
        super().setUp()
        self.sockets = Sockets()
        self.addCleanup(self.sockets.close)
        self.neighbour = self.client("rival")
        usable = {b.kind.decode(): b for b in self.neighbour.host().backends}[KIND]
        self.why_not = None if usable.usable else usable.reason.decode()

    def private_client(self):
        if self.why_not:
            self.skipTest(f"{KIND}: {self.why_not}")
        client = self.client()
        domain = client.domain_create(KIND)
        answer = client.call(pb.RegionCreateRequest(domain=domain.id, size=MIB))
        for fd in answer.fds.values() if isinstance(answer.fds, dict) else answer.fds:
            fd.close()
        return client, answer.reply.region, answer.reply.step.step

    def step_memory(self, client, region, step, fd, serial):
        body = pb.StepMemoryRequest(region=region, step=step).SerializeToString()
        client.send_frame(gmem.STEP_MEMORY, serial, body, fds=[fd])

    @contextlib.contextmanager
    def daemon_stopped(self):
        """Whoever closes its fds in here is not the last to: gmemd will be."""
        os.kill(self.daemon.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.daemon.pid, signal.SIGCONT)

    def assert_quick(self):
        """While the strange fds are being closed, a neighbour is answered."""
        for _ in range(5):
            start = time.monotonic()
            self.neighbour.ping()
            self.assertLess(time.monotonic() - start, QUICK_S)
            time.sleep(0.05)

    def test_0_such_a_socket_keeps_whoever_closes_it_last(self):
        if self.sockets.server is None:
            self.skipTest("this kernel has no network")
        full = self.sockets.make(linger_s=1)
        start = time.monotonic()
        full.close()
        self.assertGreater(time.monotonic() - start, 0.9)

    def test_what_is_no_private_memory_is_refused_and_keeps_nobody_waiting(self):
        client, region, step = self.private_client()
        for n in range(12):
            full = self.sockets.make()
            with self.daemon_stopped():
                self.step_memory(client, region, step, full.fileno(), 1000 + n)
                full.close()
            frame = client.receive_frame(timeout=QUICK_S)
            self.assertEqual(frame.flags, gmem.ANSWER | gmem.REFUSED)
            status = pb.Status.FromString(frame.body)
            self.assertEqual((status.code, status.rule), (pb.CODE_INVALID, pb.RULE_FD))
        self.assert_quick()

    def test_a_faulty_packet_with_them_keeps_nobody_waiting(self):
        client, region, step = self.private_client()
        full = [self.sockets.make() for _ in range(4)]
        body = pb.StepMemoryRequest(region=region, step=step).SerializeToString()
        with self.daemon_stopped():
            client.send_frame(gmem.STEP_MEMORY, 1000, body, fds=[s.fileno() for s in full], n_fds=1)
            for each in full:
                each.close()
        self.assert_quick()
        self.assertIsNone(client.receive_frame(timeout=QUICK_S))

    def test_unread_ones_keep_nobody_waiting_when_the_client_goes(self):
        client, region, step = self.private_client()
        full = [self.sockets.make() for _ in range(3)]
        with self.daemon_stopped():
            # The first ends the connection, so that those behind it stay unread.
            client.send_frame(99, 1000, b"")
            for n, each in enumerate(full):
                self.step_memory(client, region, step, each.fileno(), 2000 + n)
                each.close()
        client.close()
        self.assert_quick()

    def pass_silent(self, silent, n):
        """Passes the file until gmemd has had enough. How many refusals there were."""
        client, region, step = self.private_client()
        refused = 0
        for serial in range(n):
            fd = silent.open()
            try:
                self.step_memory(client, region, step, fd, 1000 + serial)
            except gmem.Disconnected:
                break
            finally:
                # To close it asks the server, which will not answer.
                self.left.append(fd)
            frame = client.receive_frame(timeout=QUICK_S)
            if frame is None:
                break
            self.assertEqual(pb.Status.FromString(frame.body).rule, pb.RULE_FD)
            refused += 1
        return refused

    def close_left(self):
        for fd in self.left:
            # The server has gone: that is an error, and it is closed all the same.
            with contextlib.suppress(OSError):
                os.close(fd)

    def test_a_file_whose_server_is_silent_keeps_nobody_waiting(self):
        self.left = []
        silent = SilentFile()
        try:
            self.assertEqual(self.pass_silent(silent, 5), 5)
            self.assert_quick()
            self.daemon.wait_log("acme", "cannot close")
        finally:
            silent.close()
            self.close_left()
        self.client("acme").ping()

    def test_one_tenant_can_have_so_many_of_them_only(self):
        self.left = []
        silent = SilentFile()
        try:
            self.assertEqual(self.pass_silent(silent, 2 * CLOSING_MAX), CLOSING_MAX)
            # It gets no further connection. Its neighbour does.
            late = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            late.connect(self.daemon.socket("acme"))
            late.settimeout(QUICK_S)
            late.send(b"x")
            with self.assertRaises(TimeoutError):
                late.recv(1)
            late.close()
            self.client("rival").ping()
            self.assert_quick()
        finally:
            silent.close()
            self.close_left()
        self.client("acme").ping()

    def test_without_private_memory_no_fd_gets_in(self):
        client = self.client()
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        try:
            client.send_frame(gmem.PING, 1000, b"", fds=[null])
        except PermissionError:
            client.ping()
            return
        finally:
            os.close(null)
        # The kernel is older than 6.16: it has got in, and has cut the client off.
        self.assertIsNone(client.receive_frame(timeout=QUICK_S))


if __name__ == "__main__":
    harness.main()
