# SPDX-License-Identifier: Apache-2.0
"""A client in the container, for one action: inside.py ACTION ADDRESS FILE. FILE has what is to be
remembered between actions. Prints one line of JSON."""
import hashlib
import json
import mmap
import random
import sys
import time

sys.path[:0] = ["/run/gmemd-source/client/python", "/run/gmemd-build/python"]

import gmem  # noqa: E402  (needs the path above)

SIZE = 16 << 20


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


def main(action, address, path=None):
    start = time.monotonic()
    with gmem.Client(address) as client:
        answered = time.monotonic()
        result = {"hello": hello, "create": create, "check": check}[action](client, path)
    print(json.dumps({**result, "ms": round((answered - start) * 1e3, 1)}))


main(*sys.argv[1:])
