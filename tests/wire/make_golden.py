#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Golden packets as Google's protobuf makes them: an implementation that shares no code with ours.

make_golden.py PROTO GOLDEN [PROTOC_C]          compare; 0, 1 on a difference, 77 without protobuf
make_golden.py --write PROTO GOLDEN [PROTOC_C]  write the bytes into GOLDEN
"""
import os
import re
import struct
import subprocess
import sys
import tempfile

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
except ImportError:
    print("skipped: no python3-protobuf")
    sys.exit(77)

TYPES = {name: number for number, name in enumerate(
    "HELLO PING DOMAIN_CREATE DOMAIN_ATTACH DOMAIN_GET DOMAIN_DESTROY REGION_CREATE REGION_GET "
    "REGION_DESTROY REGION_MAP ALLOCATE DISCARD CANCEL LIST STATS HOST EVICT WATCH "
    "POLICY MEMLOCK STEP_MEMORY REGION_BIND CONVERT STEP_DONE LAUNCH_START "
    "SOURCE POPULATE LAUNCH_FINISH LAUNCH_ABORT CONVERTED FD_BOX".split(), start=1)}
TYPES.update({"PROGRESS": 64, "DOMAIN_GONE": 65, "SHUTDOWN": 66, "NEWS": 67})
FLAGS = {"request": 0, "answer": 1, "refusal": 3, "event": 4}
SUFFIX = {"request": "Request", "answer": "Reply", "event": "Event"}
HEADER = re.compile(r"(\w+) (\w+) serial=(\d+) fds=(\d+)$")


def load_schema(proto, protoc):
    """Message classes by name, by way of a descriptor set."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "set")
        subprocess.run([protoc, "--descriptor_set_out=" + out, "-I", os.path.dirname(proto), proto],
                       check=True)
        with open(out, "rb") as file:
            files = descriptor_pb2.FileDescriptorSet.FromString(file.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return lambda name: factory.GetPrototype(pool.FindMessageTypeByName("gmem." + name))


def message_name(name, kind):
    if kind == "refusal":
        return "Status"
    return name.title().replace("_", "") + SUFFIX[kind]


def packet(schema, header, text):
    name, kind, serial, n_fds = HEADER.match(header).groups()
    body = text_format.Parse("\n".join(text), schema(message_name(name, kind))())
    data = body.SerializeToString(deterministic=True)
    return struct.pack("<HBBHHII", 0x6d67, 1, int(n_fds), TYPES[name], FLAGS[kind], int(serial),
                       len(data)) + data


def hex_lines(data):
    words = [data[i:i + 4].hex() for i in range(0, len(data), 4)]
    return ["= " + " ".join(words[i:i + 8]) for i in range(0, len(words), 8)]


def rewrite(lines, schema):
    """The same lines with the bytes of each packet as they should be."""
    out, header, text = [], None, []
    for line in lines + [""]:
        if line.startswith("="):
            continue
        if header and not line.startswith("  "):
            out += hex_lines(packet(schema, header, text))
            header, text = None, []
        if HEADER.match(line):
            header = line
        elif header:
            text.append(line)
        out.append(line)
    return out[:-1]


def main(args):
    write = args[0] == "--write"
    proto, golden = args[write], args[write + 1]
    protoc = args[write + 2] if len(args) > write + 2 else "protoc-c"
    with open(golden, encoding="ascii") as file:
        lines = file.read().splitlines()
    want = rewrite(lines, load_schema(os.path.abspath(proto), protoc))
    if write:
        with open(golden, "w", encoding="ascii") as file:
            file.write("\n".join(want) + "\n")
        return 0
    for number, (is_, should) in enumerate(zip(lines, want), start=1):
        if is_ != should:
            print(f"{golden}:{number}: is {is_!r}, should be {should!r}")
            return 1
    if len(lines) != len(want):
        print(f"{golden}: {len(lines)} lines, should be {len(want)}")
        return 1
    print(sum(1 for line in lines if HEADER.match(line)), "packets agree")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
