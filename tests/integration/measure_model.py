# SPDX-License-Identifier: Apache-2.0
"""Launch digests once more, from the published algorithms and hashlib alone, for tests to compare with.

Nothing here is shared with the C code, and nothing is optimised: what it says is meant to be read.
"""
import hashlib
import struct
import uuid

PAGE = 4096
TYPES = {"normal": 1, "vmsa": 2, "zero": 3, "unmeasured": 4, "secrets": 5, "cpuid": 6}
VMSA_GPA = 0xfffffffff000
GUIDS = {"footer": "96b582de-1fb2-45f7-baea-a366c55a082d",
         "reset": "00f771de-1a7e-4fcb-890e-68c77e2fb44e",
         "hashes": "7255371f-3a3b-4b04-927b-1da6efa8d454",
         "sev": "dc886566-984a-4798-a75e-5585a7bf67cc",
         "tdvf": "e47a6535-984a-4798-865e-4685a7bf8ec2",
         "svsm": "a789a612-0597-4c4b-a49f-cbb1fe9d1ddd"}
SECTIONS = {1: "zero", 2: "secrets", 3: "cpuid", 4: "zero", 0x10: "zero"}


def sha384(data):
    return hashlib.sha384(data).digest()


def guid(text):
    return uuid.UUID(text).bytes_le


def pad(data, size):
    return data + bytes(size - len(data))


def snp(operations, seed=bytes(48)):
    """operations: (type, gpa, length, contents). The digest, in hex."""
    chain = seed
    for kind, gpa, length, contents in operations:
        contents = pad(contents, length)
        for at in range(0, length, PAGE):
            measured = kind in ("normal", "vmsa")
            content = sha384(contents[at:at + PAGE]) if measured else bytes(48)
            chain = sha384(chain + content + struct.pack("<HBBBBBBQ", 0x70, TYPES[kind], 0, 0, 0, 0,
                                                         0, gpa + at))
    return chain.hex()


def tdx(operations):
    """operations: (measured, gpa, length, contents)."""
    stream = hashlib.sha384()
    for measured, gpa, length, contents in operations:
        contents = pad(contents, length)
        for page in range(0, length, PAGE):
            stream.update(pad(pad(b"MEM.PAGE.ADD", 16) + struct.pack("<Q", gpa + page), 128))
            for at in range(page, page + PAGE if measured else page, 256):
                stream.update(pad(pad(b"MR.EXTEND", 16) + struct.pack("<Q", gpa + at), 128))
                stream.update(contents[at:at + 256])
    return stream.hexdigest()


def sev(parts):
    return hashlib.sha256(b"".join(parts)).hexdigest()


def kernel_hashes(kernel, initrd=b"", append=b""):
    def entry(name, data):
        return guid(name) + struct.pack("<H", 50) + hashlib.sha256(data).digest()
    table = (guid("9438d606-4f22-4cc9-b479-a793d411fd21") + struct.pack("<H", 168) +
             entry("97d02dd8-bd20-4c94-aa78-e7714d36ab2a", append + b"\0") +
             entry("44baf731-3a2f-4bd7-9af1-41e29169781d", initrd) +
             entry("4de79437-abd2-427f-b835-d5b172d2045b", kernel))
    return pad(table, 176)


def vmsa(eip, rdx, features, vmm="qemu", boot=True, fpu=True, svsm=False):
    page = bytearray(PAGE)

    def put(at, size, value):
        page[at:at + size] = value.to_bytes(size, "little")

    def segment(at, attrib, selector=0, limit=0xffff, base=0):
        page[at:at + 16] = struct.pack("<HHIQ", selector, attrib, limit, base)
    data, code, stack, task = {"qemu": (0x93, 0x9b, 0x93, 0x8b), "gce": (0x93, 0x9b, 0x93, 0x8b),
                               "ec2": (0x93, 0x9a if boot else 0x9b, 0x92, 0x83),
                               "kvm": (0x92, 0x9a, 0x92, 0x83)}[vmm]
    for at in (0x00, 0x30, 0x40, 0x50):
        segment(at, data)
    segment(0x10, code, 0xf000, base=eip & 0xffff0000)
    segment(0x20, stack)
    segment(0x90, task)
    rip, cr0 = eip & 0xffff, 0x10
    if svsm:
        for at in (0x00, 0x20, 0x30, 0x40):
            segment(at, 0xc93, 0x10, 0xffffffff)
        segment(0x10, 0xc9b, 8, 0xffffffff)
        segment(0x50, 0x93)
        segment(0x90, 0x8b)
        rip, cr0 = eip, 0x11
    for at, attrib in ((0x60, 0), (0x70, 0x82), (0x80, 0)):
        segment(at, attrib)
    for at, value in ((0xd0, 0x1000), (0x148, 0x40), (0x158, cr0), (0x160, 0x400), (0x168, 0xffff0ff0),
                      (0x170, 2), (0x178, rip), (0x310, rdx), (0x3b0, features), (0x3e8, 1),
                      (0x268, 0x70106 if vmm == "gce" and not svsm else 0x7040600070406)):
        put(at, 8, value)
    if fpu:
        put(0x408, 4, 0x1f80)
        put(0x410, 2, 0x37f)
    return bytes(page)


def firmware(size=0x4000, sections=(), fill=0x5a, reset=0x80b004, hashes=0x810c00, tdvf=(), svsm=None):
    """An image of @size with the tables that its arguments ask for."""
    image = bytearray((fill + i // PAGE) & 0xff for i in range(size))
    entries = []
    if reset is not None:
        entries.append((GUIDS["reset"], struct.pack("<I", reset)))
    if hashes is not None:
        entries.append((GUIDS["hashes"], struct.pack("<II", hashes, 0x400)))
    if svsm is not None:
        entries.append((GUIDS["svsm"], struct.pack("<I", svsm)))
    if sections:
        table = b"ASEV" + struct.pack("<III", 16 + 12 * len(sections), 1, len(sections))
        table += b"".join(struct.pack("<III", *section) for section in sections)
        image[0x100:0x100 + len(table)] = table
        entries.append((GUIDS["sev"], struct.pack("<I", size - 0x100)))
    if tdvf:
        table = b"TDVF" + struct.pack("<III", 16 + 32 * len(tdvf), 1, len(tdvf))
        table += b"".join(struct.pack("<IIQQII", *section) for section in tdvf)
        image[0x800:0x800 + len(table)] = table
        entries.append((GUIDS["tdvf"], struct.pack("<I", size - 0x800)))
    table = b""
    for name, data in entries:
        table = data + struct.pack("<H", len(data) + 18) + guid(name) + table
    table += struct.pack("<H", len(table) + 18) + guid(GUIDS["footer"])
    image[size - 0x20 - len(table):size - 0x20] = table
    return bytes(image)


USUAL = ((0x800000, 0x9000, 1), (0x80a000, 0x3000, 1), (0x80d000, 0x1000, 2), (0x80e000, 0x1000, 3),
         (0x80f000, 0x1000, 4), (0x810000, 0x1000, 0x10), (0x811000, 0xf000, 1))


def snp_guest(image, sections, vcpus, hashes=None, vmm="qemu", seed=None, vmsa_gpa=VMSA_GPA):
    """hashes: the table, which is at 0xc00 of its page; vcpus: the pages of their registers."""
    operations = [] if seed else [("normal", 2**32 - len(image), len(image), image)]
    cpuid = []
    for gpa, size, kind in sections:
        name, contents = SECTIONS[kind], b""
        if kind == 1 and vmm == "gce":
            name = "unmeasured"
        if kind == 0x10 and hashes:
            name, contents = "normal", bytes(0xc00) + hashes
        late = cpuid if kind == 3 and vmm == "ec2" else operations
        late.append((name, gpa, size, contents))
    operations += cpuid + [("vmsa", vmsa_gpa, PAGE, page) for page in vcpus]
    return snp(operations, seed or bytes(48))
