# SPDX-License-Identifier: Apache-2.0
"""A tenant that minds its own business: a guest that counts, and a client that is granted memory.

Both say when they did what, so that a test can tell whether they were held up.
"""
import contextlib
import hashlib
import mmap
import os
import re
import signal
import statistics
import struct
import subprocess
import threading
import time

import harness
from harness import MIB, gmem

GUEST_SIZE = 64 * MIB
KEPT_SIZE = 16 * MIB
SAMPLE = struct.Struct("dd")


class Guest:
    """tinyvmm, with KVM where there is some. What it says is noted with the time."""

    def __init__(self, daemon, tenant, token, group):
        host = daemon.admin.host()
        usable = {backend.kind for backend in host.backends if backend.usable}
        self.kind = "guest-memfd" if host.kvm and b"guest-memfd" in usable else "memfd"
        self.args = [harness.program("tinyvmm"), "--address", daemon.socket(tenant), "--kind",
                     self.kind, "--size", f"{GUEST_SIZE // MIB}M", "--token-file", token,
                     *([] if host.kvm else ["--process"])]
        self.group = group
        self.times, self.said = [], []
        self.process = self._start("--name", "guest-of-" + tenant, "--allocate", "--tick-ms", "2")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert harness.wait_until(lambda: len(self.times) > 20, 60), self.said

    def _start(self, *args):
        return subprocess.Popen(self.args + list(args), stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                preexec_fn=self.group.join if self.group else None)

    def _read(self):
        for line in self.process.stdout:
            tick = re.match(r"guest: tick (\d+)$", line)
            if not tick:
                self.said.append(line)
            elif int(tick.group(1)) != len(self.times) + 1:
                self.said.append(f"out of order: {line}")
            else:
                self.times.append(time.monotonic())

    def longest_pause(self, since):
        times = [since, *(t for t in self.times if t > since), time.monotonic()]
        return max(later - earlier for earlier, later in zip(times, times[1:]))

    def end(self):
        """Kills it; another goes on with its memory. (ticks seen, counter in memory, pages intact)"""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._thread.join()
        self.process.stdout.close()
        with self._start("--attach", "--ticks", "1") as again:
            said = again.stdout.read()
        found = re.search(r"counter was (\d+), pages checked and intact: (\d+)\n", said)
        assert found, said
        return len(self.times), int(found.group(1)), int(found.group(2))


def be_granted(path, group, pipe):
    """Makes and ends small regions for ever, and says when and how long each took."""
    if group:
        group.join()
    client = gmem.Client(path, session_key=os.urandom(16))
    domain = client.domain_create()
    while True:
        began = time.monotonic()
        with contextlib.suppress(gmem.Disconnected):
            region = client.region_create(domain, 65536)
            os.write(pipe, SAMPLE.pack(began, time.monotonic() - began))
            region.memory.close()
            client.region_destroy(region)
            time.sleep(0.002)
            continue
        client.reconnect()
        for region in client.list_regions(domain.id):
            client.region_destroy(region.region)


class Tenant:
    """Its guest, its grants, and memory whose bytes are known."""

    def __init__(self, daemon, name, token, group):
        self.daemon, self.name, self.group = daemon, name, group
        self.guest = Guest(daemon, name, token, group)
        self.client = gmem.Client(daemon.socket(name), session_key=os.urandom(16))
        self.domain = self.client.domain_create("memfd", name=b"kept-by-" + name.encode(),
                                                persistent=True)
        self.region = self.client.region_create(self.domain, KEPT_SIZE)
        self.client.allocate(self.region, [(0, KEPT_SIZE)])
        with mmap.mmap(self.region.memory.fileno(), KEPT_SIZE) as memory:
            memory[:] = os.urandom(KEPT_SIZE)
        self.hash = self.hash_memory()
        self.granted = []
        self._pipe, pipe = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                be_granted(daemon.socket(name), group, pipe)
            finally:
                os._exit(1)
        os.close(pipe)
        threading.Thread(target=self._read, daemon=True).start()
        assert harness.wait_until(lambda: self.granted, 60)

    def _read(self):
        while True:
            data = os.read(self._pipe, SAMPLE.size)
            if not data:
                return os.close(self._pipe)
            self.granted.append(SAMPLE.unpack(data))

    def hash_memory(self):
        with mmap.mmap(self.region.memory.fileno(), KEPT_SIZE, prot=mmap.PROT_READ) as memory:
            return hashlib.sha256(memory).hexdigest()

    def grants(self, since):
        """(median, longest) seconds that a grant took; one that is still waited for counts."""
        taken = [took for began, took in self.granted if began > since]
        last = self.granted[-1][0] if self.granted else since
        waiting = time.monotonic() - max(last, since)
        return (statistics.median(taken) if taken else waiting), max([*taken, waiting])

    def secrets(self):
        """What nobody else may ever be told."""
        rows = self.daemon.admin.list_domains(self.name)
        ids = [row.domain for row in rows] + [
            row.region for row in self.daemon.admin.list_regions(tenant=self.name)]
        return [struct.pack("<Q", id) for id in ids] + [gmem.format_id(id).encode() for id in ids] + [
            row.name for row in rows if row.name] + [self.domain.token, self.client.session_key]

    def end(self):
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self.region.memory.close()
        with contextlib.suppress(gmem.Disconnected):
            self.client.ping()
        if self.client.fileno() < 0:
            self.client.reconnect()
        self.client.domain_destroy(self.domain)
        self.client.close()
        result = self.guest.end()
        with open(self.guest.args[self.guest.args.index("--token-file") + 1], encoding="ascii") as file:
            domain, token = file.read().split()
        with gmem.Client(self.daemon.socket(self.name)) as client:
            client.domain_destroy(int(domain, 16), bytes.fromhex(token))
        return result
