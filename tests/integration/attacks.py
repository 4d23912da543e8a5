# SPDX-License-Identifier: Apache-2.0
"""What a hostile tenant does. Each attack runs in a process of its own: attack(report, path, ...)."""
import contextlib
import os
import random
import select
import socket
import struct
import time

import harness
from harness import KIB, MIB, gmem, pb

CORPORA = os.path.join(harness.SOURCE, "tests", "fuzz", "corpus")
HELLO = pb.HelloRequest(min_version=1, max_version=1, client=b"hostile").SerializeToString()
TROUBLE = (OSError, gmem.Disconnected, gmem.Refused, gmem.ProtocolError, TimeoutError)


def join(attack):
    """The process goes into the control group that its last argument names before it attacks."""
    def run(report, *arguments):
        *arguments, group = arguments
        if group:
            group.join()
        return attack(report, *arguments)
    return run


def corpus(name):
    folder = os.path.join(CORPORA, name)
    for file in sorted(os.listdir(folder)):
        with open(os.path.join(folder, file), "rb") as data:
            yield data.read()


# ---- malformed packets

def runs_of(data):
    """The packets of a seed of fz_dispatch: (whose, type, body)."""
    while len(data) >= 4:
        who, kind, length = struct.unpack_from("<BBH", data)
        yield who & 3, kind, data[4:4 + length]
        data = data[4 + length:]


def connect(path, greet=True):
    connection = gmem.Connection(path, timeout=harness.PATIENCE)
    if greet:
        connection.send_frame(gmem.HELLO, 1, HELLO)
        connection.receive_frame()
    return connection


def take_in(connection, timeout=0.0):
    """All answers that are there. Whether the connection still is."""
    while True:
        try:
            if connection.receive_frame(timeout) is None:
                return False
        except TimeoutError:
            return True


def send_raw(path, packet, greet):
    with connect(path, greet) as connection:
        connection.send_packet(packet)
        # Whatever it was, the daemon answers a ping after it, or has closed the connection.
        connection.send_frame(gmem.PING, 0x7fffffff)
        while True:
            frame = connection.receive_frame()
            if frame is None or frame.serial == 0x7fffffff:
                return


def play(path, data):
    """A seed of fz_dispatch, on two sessions. Each packet is followed by what it has brought about."""
    sessions = [connect(path), connect(path)]
    serial = 1
    for who, kind, body in runs_of(data):
        serial += 1
        who %= 2
        try:
            sessions[who].send_frame(kind, serial, body)
            if not take_in(sessions[who]):
                raise gmem.Disconnected
        except gmem.Disconnected:
            sessions[who].close()
            sessions[who] = connect(path)
    for session in sessions:
        session.close()


def mutate(chance, data):
    data = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(4)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at:at] = chance.randbytes(chance.randint(1, 16))
        elif kind == 2:
            del data[at:at + chance.randint(1, 16)]
        elif at < len(data):
            data[at] = chance.choice((0, 1, 127, 128, 255))
    return bytes(data)


@join
def malformed(report, path, seconds, seed):
    """Every seed of the fuzzers as it is, and then changed, until the time is over."""
    chance = random.Random(seed)
    frames = list(corpus("fz_frame"))
    frames += [gmem.pack_frame(data[0], 2, data[1:]) for data in corpus("fz_msg") if data]
    runs = list(corpus("fz_dispatch"))
    sent, end = 0, time.monotonic() + seconds

    def attack(packet):
        nonlocal sent
        sent += 1
        with contextlib.suppress(*TROUBLE):
            send_raw(path, packet, greet=sent % 4 != 0)

    for packet in frames:
        attack(packet)
    for data in runs:
        with contextlib.suppress(*TROUBLE):
            play(path, data)
    report(("seeds", sent, len(runs)))
    while time.monotonic() < end:
        attack(mutate(chance, chance.choice(frames)))
        with contextlib.suppress(*TROUBLE):
            play(path, mutate(chance, chance.choice(runs)))
    report(("all", sent))


# ---- fds

STRANGE = ("null", "memfd", "pipe", "its own connection", "socket", "cycle", "epoll", "event",
           "folder", "path", "process")


def strange_fds(connection):
    """{name: fd} of what no daemon wants to be given."""
    left, right = socket.socketpair()
    right.close()
    pipe = os.pipe()
    inner = socket.socketpair()
    # A socket that is under way in itself: only the kernel's garbage collector gets rid of it.
    socket.send_fds(inner[0], [b"x"], [inner[1].fileno()])
    inner[1].close()
    with select.epoll() as epoll:
        watched = os.dup(epoll.fileno())
    return {
        "null": os.open("/dev/null", os.O_RDWR), "memfd": os.memfd_create("hostile"),
        "pipe": pipe[0], "pipe's other end": pipe[1], "its own connection": connection.fileno(), "socket": left.detach(),
        "cycle": inner[0].detach(), "epoll": watched,
        "event": os.eventfd(0), "folder": os.open("/", os.O_RDONLY),
        "path": os.open("/", os.O_PATH), "process": os.pidfd_open(os.getpid()),
    }


@join
def send_fds(report, path, seconds):
    """Packets with fds of all sorts and numbers, where none is wanted and where one is."""
    end, sent, kernel_refused = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end or sent == 0:
        for name in STRANGE:
            for count, told, kind in ((1, 1, gmem.PING), (1, 0, gmem.PING), (253, 8, gmem.PING),
                                      (2, 1, gmem.STEP_MEMORY), (1, 1, gmem.STEP_MEMORY),
                                      (8, 8, gmem.HELLO)):
                with contextlib.suppress(*TROUBLE), connect(path, kind != gmem.HELLO) as connection:
                    fds = strange_fds(connection)
                    body = HELLO if kind == gmem.HELLO else b""
                    sent += 1
                    try:
                        connection.send_frame(kind, 9, body, fds=[fds[name]] * count, n_fds=told)
                    except PermissionError:
                        kernel_refused += 1
                    finally:
                        for what, fd in fds.items():
                            if what != "its own connection":
                                os.close(fd)
                    take_in(connection)
    report((sent, kernel_refused))


# ---- everything that there is only so much of

def until_refused(act, rules, most=4096):
    """Repeats it until it is refused; the rule goes to the set."""
    for n in range(most):
        try:
            act(n)
        except gmem.Refused as refused:
            rules.add(refused.rule)
            return n
    return most


@join
def take_all(report, path):
    """Takes all that the policy allows, meets each limit, and holds what it has."""
    client, rules, held = gmem.Client(path), set(), []
    domain = client.domain_create()
    until_refused(lambda n: held.append(gmem.Client(path)), rules)
    for other in held[:8]:
        with contextlib.suppress(gmem.Refused):
            other.call(pb.WatchRequest())
    until_refused(lambda n: held[8 + n].call(pb.WatchRequest()) if n < 1 else
                  client.call(pb.WatchRequest()), rules, 3)
    until_refused(lambda n: client.call(pb.MemlockRequest(domain=domain.id, bytes=(n + 1) << 40)), rules)
    name = client.call(pb.HostRequest()).reply.slots[0].name
    until_refused(lambda n: client.call(pb.DomainCreateRequest(kind=b"memfd", slot=name)), rules)
    until_refused(lambda n: client.region_create(domain, 2 * MIB, gpa=(1 << 40) + (n << 21),
                                                 page_size=2 * MIB), rules)
    big = client.region_create(domain, 64 * MIB)
    until_refused(lambda n: client.region_create(domain, 1 << 30, gpa=(1 << 41) + (n << 30)), rules)
    until_refused(lambda n: client.region_create(domain, 4096, gpa=(1 << 45) + (n << 12)), rules)
    until_refused(lambda n: client.domain_create(), rules)
    jobs = client.collect([client.start_allocate(big, [(0, 64 * MIB)]) for _ in range(256)])
    rules |= {job.rule for job in jobs if isinstance(job, gmem.Refused)}
    report(rules)
    return held, client


@join
def break_up_page_maps(report, path):
    """Every second page of a region, so that its page map is as big as it can be."""
    client = gmem.Client(path)
    size = 64 * MIB
    region = client.region_create(client.domain_create(), size)
    for start in range(0, size, 8 * MIB):
        client.allocate(region, [(start + at, 4 * KIB) for at in range(0, 8 * MIB, 8 * KIB)])
    report(client.region_get(region).info.page_map_bytes)
    return client


# ---- floods, for ever

@join
def flood_workers(report, path):
    """Jobs in as many domains as there may be: each wants a worker."""
    report("started")
    while True:
        with contextlib.suppress(*TROUBLE):
            client = gmem.Client(path)
            regions = [client.region_create(client.domain_create(), 32 * MIB) for _ in range(6)]
            while True:
                client.collect([start(region, [(0, 32 * MIB)]) for region in regions
                                for start in (client.start_allocate, client.start_discard)])
        time.sleep(0.01)


@join
def flood_requests(report, path):
    """64 requests under way at all times, most of them refused, each refusal worth a line of log."""
    report("started")
    while True:
        with contextlib.suppress(*TROUBLE):
            client = gmem.Client(path)
            while True:
                client.collect([client.start(pb.DomainGetRequest(domain=n)) for n in range(1, 32)] +
                               [client.start(pb.DomainCreateRequest(kind=b"none"))] * 1 +
                               [client.start(pb.StatsRequest(detail=True)) for _ in range(16)] +
                               [client.start(pb.HostRequest()) for _ in range(16)])
        time.sleep(0.01)


@join
def flood_violations(report, path):
    """Each connection ends with a violation."""
    report("started")
    while True:
        with contextlib.suppress(*TROUBLE), connect(path) as connection:
            connection.send_frame(99, 2)
            connection.receive_frame()


@join
def never_read(report, path):
    """Watches itself, makes news, gets fds, and reads nothing."""
    report("started")
    while True:
        with contextlib.suppress(*TROUBLE):
            client = gmem.Client(path)
            client.call(pb.WatchRequest())
            region = client.region_create(client.domain_create(), MIB)
            packet = gmem.pack_frame(gmem.REGION_GET, 9, pb.RegionGetRequest(
                region=region.id, with_fd=True).SerializeToString())
            with contextlib.suppress(BlockingIOError):
                while True:
                    client.send_packet(packet)
            time.sleep(0.3)
            client.close()


# ---- memory

@join
def be_killed_for_memory(report, path, size, group):
    """Its control group gets tight while a worker allocates for it."""
    client = gmem.Client(path)
    region = client.region_create(client.domain_create(), size)
    serial = client.start_allocate(region, [(0, size)])
    while group.usage() < 48 * MIB:
        pass
    # A limit below the use is refused, or reclaimed for: the use grows meanwhile.
    while True:
        with contextlib.suppress(OSError):
            group.set_limit(group.usage() + 8 * MIB)
            break
    try:
        report(("done", client.wait(serial).reply.bytes, 0, 0, ""))
    except gmem.Refused as refused:
        booked = client.region_get(region).info.allocated_bytes
        report((refused.code + "/" + refused.rule, booked,
                os.fstat(region.memory.fileno()).st_blocks * 512, refused.limit, refused.text))
    return client, region
