# SPDX-License-Identifier: Apache-2.0
"""A client in the container, for one action: inside.py ACTION ADDRESS FILE. FILE has what is to be
remembered between actions. Prints one line of JSON.

The action "load" is many clients that ask all the time, until standard input ends; it prints a line
first when all of them are at it."""
import hashlib
import json
import mmap
import os
import random
import sys
import threading
import time

sys.path[:0] = ["/run/gmemd-source/client/python", "/run/gmemd-build/python"]

import gmem  # noqa: E402  (needs the path above)

SIZE = 16 << 20
CLIENTS = 4
MIB = 1 << 20


def digest(region):
    with mmap.mmap(region.memory.fileno(), SIZE) as memory:
        return hashlib.sha256(memory).hexdigest()


def hello(client, _):
    return {"tenant": client.limits.tenant.decode()}


def create(client, path):
    """A persistent domain with a region of each kind there is, full of a pattern."""
    kept = []
    for kind in ("memfd", "guest-memfd"):
        try:
            domain = client.domain_create(kind, persistent=True)
        except gmem.Refused:
            continue
        region = client.region_create(domain, SIZE)
        with mmap.mmap(region.memory.fileno(), SIZE) as memory:
            memory[:] = random.Random(region.id).randbytes(SIZE)
        kept.append({"domain": domain.id, "token": domain.token.hex(), "region": region.id,
                     "digest": digest(region), "kind": kind})
    with open(path, "w", encoding="ascii") as file:
        json.dump(kept, file)
    return {"kinds": [entry["kind"] for entry in kept]}


def check(client, path):
    """Attaches to all of them again. How many have the very bytes they had."""
    with open(path, encoding="ascii") as file:
        kept = json.load(file)
    same = 0
    for entry in kept:
        client.domain_attach(entry["domain"], bytes.fromhex(entry["token"]))
        region = client.region_get(entry["region"], with_fd=True)
        same += digest(region) == entry["digest"]
    return {"domains": len(kept), "same": same}


class Comer(gmem.Client):
    """Comes back to its session whenever gmemd is started again, as libgmem does."""
    comebacks = 0
    rounds = 0  # since the last time
    away = True
    asked = None

    def start(self, request, progress=None, timeout=None):
        self.asked = request
        return super().start(request, progress, timeout)

    def wait(self, serial, timeout=None):
        while True:
            try:
                return super().wait(serial, timeout)
            except gmem.Disconnected:
                if self.away:
                    raise
                self.come_back()
            except gmem.Refused as refused:
                # A gmemd that was asked to stop takes nothing new: the next one does.
                if self.away or refused.code != "SHUTTING_DOWN":
                    raise
                time.sleep(0.002)
                serial = self.start(self.asked)

    def come_back(self):
        asked, self.away = self.asked, True
        assert self.reconnect(), "the session was not resumed"
        self.asked, self.away = asked, False
        self.comebacks += 1
        self.rounds = 0


class Load(threading.Thread):
    def __init__(self, address, stop):
        super().__init__(daemon=True)
        self.address = address
        self.stop = stop
        self.busy = threading.Event()
        self.error = None

    def run(self):
        try:
            with Comer(self.address, session_key=os.urandom(16)) as self.client:
                self.client.away = False
                self.ask_on()
        except BaseException as error:
            self.error = repr(error)
        self.busy.set()

    def ask_on(self):
        """A guest whose memory must never change, and one region after another beside it."""
        domain = self.client.domain_create()
        region = self.client.region_create(domain, MIB)
        with mmap.mmap(region.memory.fileno(), MIB) as memory:
            memory[:] = random.Random(region.id).randbytes(MIB)
            before = hashlib.sha256(memory).digest()
            # After each death of gmemd at least one whole round.
            while not self.stop.is_set() or self.client.rounds == 0:
                self.round(domain)
                with self.client.region_get(region.id, with_fd=True).memory as again, \
                        mmap.mmap(again.fileno(), MIB) as found:
                    assert hashlib.sha256(found).digest() == before, "memory has changed"
                assert hashlib.sha256(memory).digest() == before, "memory has changed"
                self.client.rounds += 1
                self.busy.set()
        self.client.domain_destroy(domain)

    def round(self, domain):
        region = self.client.region_create(domain, MIB, gpa=1 << 30)
        self.client.allocate(region, [(0, MIB)])
        self.client.discard(region, [(0, MIB // 2)])
        states = [state for _, _, state in self.client.region_map(region)]
        assert len(states) == 2 and states[0] != states[1], f"the page map: {states}"
        region.memory.close()
        self.client.region_destroy(region)


def load(address):
    stop = threading.Event()
    clients = [Load(address, stop) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.busy.wait()
    print("busy", flush=True)
    sys.stdin.read()
    stop.set()
    for client in clients:
        client.join()
    print(json.dumps({"errors": [client.error for client in clients if client.error],
                      "comebacks": [client.client.comebacks for client in clients]}))


def main(action, address, path=None):
    if action == "load":
        load(address)
        return
    start = time.monotonic()
    with gmem.Client(address) as client:
        answered = time.monotonic()
        result = {"hello": hello, "create": create, "check": check}[action](client, path)
    print(json.dumps({**result, "ms": round((answered - start) * 1e3, 1)}))


main(*sys.argv[1:])
