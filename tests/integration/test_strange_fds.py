#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fds of strangers: whatever a client passes, or leaves unread, keeps nobody else waiting.

The worst that a socket can do to whoever closes it last is to linger. Private memory of a VM is what
fds are for; the fds here are not that.
"""
import os
import socket
import struct
import time

import harness
from harness import MIB, gmem, pb

LINGER_S = 20
QUICK_S = 1.0
KIND = "sw-protected"


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
        client.send_frame(gmem.STEP_MEMORY, 1000, body, fds=[s.fileno() for s in full], n_fds=1)
        for each in full:
            each.close()
        self.assert_quick()
        self.assertIsNone(client.receive_frame(timeout=QUICK_S))

    def test_unread_ones_keep_nobody_waiting_when_the_client_goes(self):
        client, region, step = self.private_client()
        full = [self.sockets.make() for _ in range(3)]
        # The first ends the connection, so that those behind it stay unread.
        client.send_frame(99, 1000, b"")
        for n, each in enumerate(full):
            try:
                self.step_memory(client, region, step, each.fileno(), 2000 + n)
            except gmem.Disconnected:
                pass
            each.close()
        client.close()
        self.assert_quick()

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
