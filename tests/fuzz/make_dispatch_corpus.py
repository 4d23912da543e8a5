#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of fz_dispatch: runs of packets that reach every verb.

The fuzz target hands out ids 1, 2, 3, ... for every draw: three sessions draw 1 to 3, so the first
domain is 4 with the token 5, and what comes next is 6.
"""
import os
import struct
import sys

FINISH, LOSE, TIME, CLOSE, BACKEND = 0x04, 0x08, 0x10, 0x20, 0x40
(HELLO, PING, CREATE, ATTACH, GET, DESTROY, REGION, REGION_GET, REGION_DESTROY, MAP, ALLOCATE,
 DISCARD, CANCEL, LIST, STATS, HOST, EVICT) = range(1, 18)


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def u(field, n):
    return varint(field << 3) + varint(n)


def f64(field, n):
    return varint(field << 3 | 1) + struct.pack("<Q", n)


def b(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def packet(who, kind, body=b""):
    return struct.pack("<BBH", who, kind, len(body)) + body


def token(n):
    return struct.pack("<Q", n) + bytes(24)


def domain(lifetime=0, who=0):
    return packet(who, CREATE, b(1, b"vm1") + b(2, b"fake") + u(3, lifetime))


def region(dom, size=1 << 20, gpa=0, page=0, who=0):
    return packet(who, REGION, f64(1, dom) + u(2, gpa) + u(3, size) + u(4, page) + b(5, b"ram"))


def job(kind, reg, *ranges, who=0):
    return packet(who, kind, f64(1, reg) + b"".join(b(2, u(1, o) + u(2, n)) for o, n in ranges))


SEEDS = {
    "hello-ping": packet(0, PING, b(1, b"payload")) + packet(1, PING) + packet(0, HELLO),
    "region": domain() + region(4) + packet(0, REGION_GET, f64(1, 6) + u(2, 1))
    + packet(0, MAP, f64(1, 6) + u(2, 4096) + u(3, 9)) + packet(0, REGION_DESTROY, f64(1, 6)),
    "jobs": domain() + region(4) + job(ALLOCATE, 6, (0, 8192), (65536, 4096))
    + packet(FINISH, PING) + job(DISCARD, 6, (0, 4096)) + packet(LOSE, PING)
    + job(ALLOCATE, 6, (0, 4096)) + packet(0, CANCEL, u(1, 8)) + packet(0, CANCEL, u(1, 7)),
    "refused-region": domain() + region(4, size=5) + region(4, gpa=1) + region(4, page=12345)
    + region(4, size=1 << 60) + region(4, size=1 << 21, page=1 << 21) + region(99)
    + packet(0, REGION, f64(1, 4) + u(3, 4096) + u(6, 0) + u(6, 63)) + region(4, who=BACKEND),
    "persistent": domain(1) + region(4) + packet(CLOSE, HELLO, u(1, 1) + u(2, 1))
    + packet(0, ATTACH, f64(1, 4) + b(2, token(5))) + packet(0, GET, f64(1, 4))
    + packet(0, DESTROY, f64(1, 4) + b(2, token(5))),
    "expired": domain(1) + region(4) + packet(CLOSE | TIME, HELLO, u(1, 1) + u(2, 1))
    + packet(TIME, GET, f64(1, 4)),
    "foreign": domain() + region(4) + packet(1, GET, f64(1, 4)) + packet(1, REGION_GET, f64(1, 6))
    + packet(1, ATTACH, f64(1, 4) + b(2, token(5)) + u(3, 1)),
    "evict": domain() + region(4) + job(ALLOCATE, 6, (0, 4096)) + packet(2, EVICT, f64(1, 4))
    + packet(FINISH, GET, f64(1, 4)),
    "close-in-job": domain() + region(4) + job(ALLOCATE, 6, (0, 4096)) + packet(CLOSE, HELLO)
    + packet(1 | FINISH, PING),
    "look": domain() + region(4) + b"".join(
        packet(who, LIST, u(1, what)) for who in (0, 2) for what in range(5))
    + packet(2, LIST, u(1, 0) + b(4, b"acme")) + packet(0, LIST, u(1, 1) + f64(2, 4) + f64(3, 1))
    + packet(0, STATS) + packet(2, STATS) + packet(2, STATS, b(1, b"beta")) + packet(0, HOST),
    "devices": packet(0, CREATE, b(2, b"fake") + u(4, 1))
    + packet(0, CREATE, b(2, b"fake") + u(4, 1) + u(4, 1)) + packet(0, CREATE, b(2, b"magic")),
    "violation": domain() + packet(0, 99) + packet(0, PING, b"\xff") + packet(2, CREATE),
}


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for name, data in SEEDS.items():
        with open(os.path.join(folder, name), "wb") as out:
            out.write(data)


main()
