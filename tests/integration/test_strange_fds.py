#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fds of strangers: whatever a client passes, or leaves unread, keeps nobody else waiting.

The worst that a socket can do to whoever closes it last is to linger. A file on FUSE is worse: its
server is asked at each close, and by fstatfs, and need not answer: whoever asked cannot be killed
meanwhile. Private memory of a VM is what fds are for; the fds here are not that. They come to workers
only, by way of boxes, from Linux 6.16 on.
"""
import contextlib
import ctypes
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import harness
from harness import MIB, gmem, pb

LINGER_S = 20
QUICK_S = 1.0
STUCK_MAX = 2  # processes of one tenant that look into boxes
BOX_S = 10


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

    @staticmethod
    def forget(full):
        """Closes it at once."""
        if full.family == socket.AF_INET:
            full.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        full.close()

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

    def close(self):
        """The end of the server answers everybody."""
        os.kill(self.server, signal.SIGKILL)
        os.waitpid(self.server, 0)
        libc.umount2(self.path.encode(), 2)
        self.folder.cleanup()


def probe(env):
    """Kinds with private memory that gmemd can have, and why it cannot have the first."""
    said = subprocess.run([harness.program("gmemd"), "--probe"], env={**os.environ, **env}, check=True,
                          capture_output=True, timeout=harness.PATIENCE).stdout
    kinds = [b for b in pb.HostReply.FromString(said).backends if b.kind in (b"sw-protected", b"snp")]
    return [b.kind.decode() for b in kinds if b.usable], kinds[0].reason.decode()


def pass_silent(report, path, kind, silent):
    """A process of its own: whatever closes the file waits for the server, also the end of a fork."""
    client = gmem.Client(path)
    domain, memory = new_region(client, kind)
    files, rules = [], []
    for _ in range(STUCK_MAX):
        files.append(os.open(silent, os.O_RDWR | os.O_CLOEXEC))
        memory.box = client.put_fd(domain, files[-1])
        rules.append(client.collect([client.start(memory)], timeout=QUICK_S)[0].rule)
    serial = client.start(pb.FdBoxRequest(domain=domain.id))
    report(rules)
    try:
        report(sorted(client.wait(serial).fds))
    except gmem.Disconnected:
        report("disconnected")
    return client, files


def new_region(client, kind):
    """A domain, and what reports the private memory of its region."""
    domain = client.domain_create(kind)
    answer = client.call(pb.RegionCreateRequest(domain=domain.id, size=MIB))
    answer.fds["memory"].close()
    return domain, pb.StepMemoryRequest(region=answer.reply.region, step=answer.reply.step.step)


class PrivateCase(unittest.TestCase):
    """On private memory of the host, or of the platform model on it; self.daemon is new_daemon()."""

    @classmethod
    def setUpClass(cls):
        cls.env, cls.args = {}, []
        cls.kinds, why_not = probe({})
        if not cls.kinds:
            if harness.SANITIZED:
                raise unittest.SkipTest(f"{why_not}; and sanitizers do not allow the model to be preloaded")
            cls.new_model()

    @classmethod
    def new_model(cls):
        folder = tempfile.mkdtemp(prefix="gmemd-it-")
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        machine = os.path.join(folder, "machine")
        platform = harness.program("gm-platform")
        subprocess.run([platform, "new", machine, "6.18"], check=True)
        cls.addClassCleanup(subprocess.run, [platform, "remove", machine], check=True)
        cls.env = {"GM_PLATFORM": machine,
                   "LD_PRELOAD": os.path.join(harness.BUILD, "lib", "libgm_platform.so")}
        cls.args = ["--cgroup-root", machine + ".d", "--sandbox", "off"]
        cls.kinds, why_not = probe(cls.env)
        if not cls.kinds:
            raise unittest.SkipTest(why_not)

    @classmethod
    def new_daemon(cls, *args):
        return harness.Daemon({name: "SevEsSlots=8\nSessionsMax=200\n" for name in ("acme", "rival")},
                              env=cls.env, args=[*cls.args, *args])

    def client(self, tenant="acme", **options):
        client = gmem.Client(self.daemon.socket(tenant), **options)
        self.addCleanup(client.close)
        return client

    def private_client(self, tenant="acme", **options):
        client = self.client(tenant, **options)
        return client, *new_region(client, self.kinds[0])

    def answer(self, client, request):
        """The answer to it, maybe a refusal, which comes within QUICK_S."""
        return client.collect([client.start(request)], timeout=QUICK_S)[0]

    def hand_in(self, client, domain, memory, fd):
        memory.box = client.put_fd(domain, fd)
        return self.answer(client, memory)

    @contextlib.contextmanager
    def silent_file(self):
        """A tenant has passed as many of such files as there may be; (what it got, its process)."""
        silent = SilentFile()
        try:
            peer = harness.Peer(pass_silent, self.daemon.socket("acme"), self.kinds[0], silent.path)
            self.addCleanup(peer.kill)
            self.assertEqual(peer.report(timeout=5), ["FD"] * STUCK_MAX)
            yield peer
        finally:
            silent.close()


class StrangeFds(PrivateCase, harness.DaemonCase):
    @classmethod
    def setUpClass(cls):
        PrivateCase.setUpClass.__func__(cls)
        cls.daemon = cls.new_daemon()
        cls.daemon.__enter__()
        cls.janitors = cls._hire_janitor()
        cls.fds_at_rest = cls.daemon.fds()

    def setUp(self):
        super().setUp()
        self.sockets = Sockets()
        self.addCleanup(self.sockets.close)
        self.neighbour = self.client("rival")

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

    def test_what_is_no_memory_is_refused_and_keeps_nobody_waiting(self):
        client, domain, memory = self.private_client()
        for _ in range(4):
            full = self.sockets.make()
            refused = self.hand_in(client, domain, memory, full)
            self.assertEqual((refused.code, refused.rule), ("INVALID", "FD"))
            self.sockets.forget(full)
        self.assert_quick()

    def test_memory_that_is_not_private_is_refused_by_gmemd_itself(self):
        client, domain, memory = self.private_client()
        fd = os.memfd_create("ordinary")
        try:
            refused = self.hand_in(client, domain, memory, fd)
        finally:
            os.close(fd)
        self.assertEqual((refused.code, refused.rule), ("INVALID", "FD"))
        self.assertIn("guest_memfd of the region's size", refused.text)

    def test_masses_of_fds_and_none_and_nothing_are_refused(self):
        client, domain, memory = self.private_client()
        null = os.open("/dev/null", os.O_RDONLY)
        self.addCleanup(os.close, null)
        for fds in ([null] * 253, [null] * 2, []):
            box, end = client.fd_box(domain)
            with end, socket.socket(fileno=os.dup(end.fileno())) as way:
                socket.send_fds(way, [b"x"], fds)
            memory.box = box
            refused = self.answer(client, memory)
            self.assertEqual((refused.code, refused.rule), ("INVALID", "FD"))
        box, end = client.fd_box(domain)
        end.close()
        memory.box = box
        self.assertIn("closed by its sender", self.answer(client, memory).text)

    def test_what_nobody_asks_for_keeps_nobody_waiting_when_the_client_goes(self):
        client, domain, _ = self.private_client()
        full = self.sockets.make()
        client.put_fd(domain, full)
        client.put_fd(domain, full)
        client.close()
        self.assert_quick()
        self.sockets.forget(full)

    def test_a_silent_server_keeps_a_workers_process_and_nobody_waits_for_it(self):
        with self.silent_file() as hostile:
            self.assert_quick()
            # Whatever of the tenant's takes no box goes on as ever, and so do the boxes of others.
            client = self.client()
            domain = client.domain_create()
            region = client.region_create(domain, 4 * MIB)
            self.assertEqual(client.allocate(region, [(0, 4 * MIB)], timeout=QUICK_S), 4 * MIB)
            region.memory.close()
            client.domain_destroy(domain)
            other, others, memory = self.private_client("rival")
            fd = os.memfd_create("ordinary")
            self.assertEqual(self.hand_in(other, others, memory, fd).rule, "FD")
            os.close(fd)
            self.daemon.wait_log("acme", "do not end", timeout=5)
            # It has as many as it may have, until the server lets go.
            with self.assertRaises(AssertionError):
                hostile.report(timeout=0)
        self.assertEqual(hostile.report(), ["box"])

    @contextlib.contextmanager
    def daemon_stopped(self):
        """Whoever closes its fds in here is not the last to: gmemd will be."""
        os.kill(self.daemon.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.daemon.pid, signal.SIGCONT)

    def pass_with_a_request(self, client, fds):
        try:
            client.send_frame(gmem.PING, 1000, b"", fds=[fd.fileno() for fd in fds])
        except PermissionError:
            for fd in fds:
                self.sockets.forget(fd)
            self.skipTest("this kernel sends no fds to gmemd (6.16)")

    def test_those_of_a_request_keep_nobody_waiting(self):
        client = self.client()
        full = [self.sockets.make() for _ in range(4)]
        with self.daemon_stopped():
            self.pass_with_a_request(client, full)
            for each in full:
                each.close()
        self.assert_quick()
        self.assertIsNone(client.receive_frame(timeout=QUICK_S))

    def test_unread_ones_keep_nobody_waiting_when_the_client_goes(self):
        client = self.client()
        full = [self.sockets.make() for _ in range(3)]
        with self.daemon_stopped():
            # The first ends the connection, so that those behind it stay unread.
            client.send_frame(99, 1000, b"")
            self.pass_with_a_request(client, full)
            for each in full:
                each.close()
        client.close()
        self.assert_quick()

    def test_without_boxes_no_fd_gets_in(self):
        for client in (self.client(), self.private_client()[0]):
            null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            try:
                client.send_frame(gmem.PING, 1000, b"", fds=[null])
            except PermissionError:
                client.ping()
                continue
            finally:
                os.close(null)
            # The kernel is older than 6.16: it has got in, and has cut the client off.
            self.assertIsNone(client.receive_frame(timeout=QUICK_S))


class SilentServer(PrivateCase):
    """gmemd while the server of a file that a tenant has passed keeps silent."""

    @contextlib.contextmanager
    def stuck_daemon(self, *args):
        with self.new_daemon(*args) as self.daemon, self.silent_file():
            yield self.daemon

    def took(self, what):
        start = time.monotonic()
        what()
        return time.monotonic() - start

    def test_gmemd_can_be_killed(self):
        with self.stuck_daemon() as daemon:
            self.assertLess(self.took(daemon.crash), QUICK_S)

    def test_gmemd_stops_when_asked(self):
        with self.stuck_daemon() as daemon:
            self.assertLess(self.took(daemon.stop), QUICK_S)
            self.assertEqual(daemon.process.returncode, 0)
            # What keeps the workers is not gmemd's.
            daemon.children = {}

    def test_a_killed_gmemd_is_back_in_its_usual_time_and_a_neighbour_notices_nothing(self):
        with self.stuck_daemon("--keep") as daemon:
            key = os.urandom(16)
            neighbour = self.client("rival", session_key=key)
            domain = neighbour.domain_create("memfd")
            region = neighbour.region_create(domain, MIB)
            [child] = [pid for pid, stat in harness.descendants(daemon.pid).items() if stat[1] == daemon.pid
                       and stat[0] == "gmemd"]
            os.kill(child, signal.SIGKILL)
            self.assertLess(self.took(lambda: self.assertTrue(neighbour.reconnect())), QUICK_S)
            self.assertEqual(neighbour.region_get(region.id).info.domain, domain.id)
            self.assertEqual(neighbour.allocate(region, [(0, MIB)], timeout=QUICK_S), MIB)
            region.memory.close()
            neighbour.domain_destroy(domain)
            daemon.admin.close()
            daemon.admin = None


if __name__ == "__main__":
    harness.main()
