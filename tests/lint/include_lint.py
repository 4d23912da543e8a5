#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Arrows between layers, read from #include lines: a layer may include itself and what ARROWS names.

include_lint.py ROOT         0, or 1 with a line for each violation
include_lint.py --self-test  plants one violation of each rule and requires that it is found
"""
import os
import re
import sys
import tempfile

# Layer (a folder, with all below it that is no layer itself) -> what it may include besides itself.
ARROWS = {
    "proto/base": [],
    "proto/wire": ["proto/base"],
    "daemon/core": ["proto/base"],
    # Reads the host's unit files; knows the syntax, not what a key means.
    "daemon/unit": ["proto/base"],
    "daemon/conf": ["daemon/core", "daemon/unit", "proto/base"],
    "daemon/store": ["daemon/core", "proto/base"],
    "daemon/sys": ["proto/base"],
    "daemon/keep": ["daemon/sys", "proto/base"],
    "daemon/cgroup": ["proto/base"],
    # Workers are put where their work is to be charged, and exec looks whether there is room.
    "daemon/worker": ["daemon/cgroup", "backends/backend.h", "backends/launch_rules.h",
                      "backends/launch_plan.h", "proto/base"],
    "daemon/exec": ["daemon/core", "daemon/cgroup", "daemon/worker", "backends/backend.h",
                    "backends/launch_rules.h", "backends/launch_plan.h", "backends/slot.h", "proto/base"],
    "daemon/rpc": ["daemon/core", "daemon/exec", "backends/backend.h", "backends/launch_rules.h",
                   "backends/slot.h", "proto/base", "proto/wire"],
    "daemon/transport": ["proto/base", "proto/wire"],
    "daemon/main": ["daemon/core", "daemon/conf", "daemon/unit", "daemon/store", "daemon/sys",
                    "daemon/keep", "daemon/cgroup", "daemon/worker", "daemon/exec", "daemon/rpc",
                    "daemon/transport", "backends/backend.h", "backends/slot.h", "proto/base",
                    "proto/wire"],
    # Kinds with a launch know the digest that it will have; those that the daemon launches itself, what
    # the library's steps know of the platform.
    "backends": ["backends/measure", "backends/launch/firmware_names.h", "backends/launch/gmem_kinds.h",
                 "backends/launch/sev_abi.h", "proto/base"],
    # A layer of its own: gmemctl may have the calculator without the backends.
    "backends/measure": ["proto/base"],
    # The steps of a launch: carried out by libgmem in the VMM, never by the daemon.
    "backends/launch": ["proto/base"],
    # Of the platforms the library knows one table: what they ask of KVM stays behind it.
    "client": ["client/include", "backends/launch/launch_steps.h", "proto/base", "proto/wire"],
    "client/include": [],
    "client/gmemctl": ["client/include"],
    # The calculator works without a daemon: it is the one part of the client that does not ask one.
    "client/gmemctl/measure": ["client/gmemctl", "client/include", "backends/measure", "proto/base"],
    # A VMM for confidential guests knows its platform: the parameters of a launch are public.
    "client/examples": ["client/include", "backends/launch/gmem_kinds.h"],
}

# Header of a library -> the only folders that may include it.
LIBRARIES = [
    (r"event2/|event\.h$", ["daemon/transport"]),
    (r"systemd/", ["daemon/sys"]),
    (r"(linux/)?seccomp\.h$|cap-ng\.h$", ["daemon/sys"]),
    (r"protobuf-c/|gmem\.pb-c\.h$|gm_msg\.h$|gm_arena\.h$",
     ["proto", "daemon/rpc", "client"]),
    (r"json-c/", ["client/gmemctl"]),
    (r"openssl/", ["backends/measure"]),
]

# Where vendors may be named: what is theirs alone.
VENDOR_FOLDERS = ("backends", "client/gmemctl/measure", "client/examples/launch",
                  "client/examples/tinyvmm/launch")
VENDORS = re.compile(r"\b(sev|snp|tdx|intel|amd)\b", re.IGNORECASE)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
GENERATED = {"gmem.pb-c.h": "proto/wire"}
FOLDERS = ("proto", "daemon", "backends", "client")


def inside(path, folder):
    return path == folder or path.startswith(folder + "/")


def layer_of(path):
    layers = [layer for layer in ARROWS if inside(path, layer)]
    return max(layers, key=len) if layers else None


def sources(root):
    for folder in FOLDERS:
        for at, folders, files in os.walk(os.path.join(root, folder)):
            folders.sort()
            for name in sorted(files):
                if name.endswith((".c", ".h", ".proto")):
                    yield os.path.relpath(os.path.join(at, name), root)


def may_include(layer, header):
    return layer_of(header) == layer or any(inside(header, to) for to in ARROWS[layer])


def check_quoted(path, layer, name, headers):
    if ".." in name.split("/"):
        return f'"{name}" leads out of its folder'
    if name in GENERATED:
        candidates = [GENERATED[name] + "/" + name]
    else:
        own = os.path.join(os.path.dirname(path), name)
        candidates = [own] if own in headers else \
            [h for h in headers if h == name or h.endswith("/" + name)]
    if not candidates:
        return f'"{name}" is no header of this project'
    if not any(may_include(layer, header) for header in candidates):
        return f"{layer} may not include {' or '.join(candidates)}"
    return None


def check_library(path, name):
    for pattern, folders in LIBRARIES:
        if re.match(pattern, name) and not any(inside(path, folder) for folder in folders):
            return f"{name} is for {', '.join(folders)} only"
    return None


def check_line(path, layer, line, headers):
    if VENDORS.search(line) and not any(inside(path, folder) for folder in VENDOR_FOLDERS):
        yield f"vendor name outside backends: {line.strip()}"
    match = INCLUDE.match(line)
    if not match:
        return
    if layer is None:
        yield "is in no layer"
        return
    problems = [check_library(path, match.group(2))]
    if match.group(1) == '"':
        problems.append(check_quoted(path, layer, match.group(2), headers))
    yield from (problem for problem in problems if problem)


def lint(root):
    paths = list(sources(root))
    headers = {path for path in paths if path.endswith(".h")}
    violations = []
    for path in paths:
        with open(os.path.join(root, path), encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                for problem in check_line(path, layer_of(path), line, headers):
                    violations.append(f"{path}:{number}: {problem}")
    if not paths:
        violations.append(f"{root}: no sources")
    return violations


GOOD_TREE = {
    "proto/base/gm_num.h": "#include <stdint.h>\n",
    "proto/wire/gm_frame.h": '#include "gm_num.h"\n',
    "daemon/core/book.c": '#include "book.h"\n#include "gm_num.h"\n',
    "daemon/core/book.h": "",
    "daemon/exec/exec.h": '#include "book.h"\n#include "backend.h"\n',
    "daemon/rpc/service.c": '#include "exec.h"\n#include "gmem.pb-c.h"\n',
    "daemon/rpc/info.h": "",
    "daemon/transport/loop.c": "#include <event2/event.h>\n",
    "backends/backend.h": "/* SNP */\n",
    "backends/launch/launch_steps.h": '#include "gm_num.h"\n',
    "backends/launch/launch_call.h": '#include "launch_steps.h"\n',
    "client/info.c": '#include "info.h"\n#include "launch_steps.h"\n',
    "client/info.h": '#include "include/gmem.h"\n',
    "client/include/gmem.h": "",
    "backends/measure/gm_vmsa.h": "",
    "client/gmemctl/gmemctl.h": "",
    "client/gmemctl/measure/cmd.c": '/* SNP */\n#include "gm_vmsa.h"\n#include "gmemctl.h"\n',
    "client/gmemctl/main.c": '#include <json-c/json.h>\n#include "gmem.h"\n',
}

BAD_LINES = [
    ("daemon/core/book.c", '#include "exec.h"'),
    ("daemon/core/book.c", '#include "gm_frame.h"'),
    ("daemon/core/book.c", '#include "backend.h"'),
    ("daemon/core/book.c", "#include <protobuf-c/protobuf-c.h>"),
    ("daemon/transport/loop.c", '#include "service.h"'),
    ("daemon/transport/loop.c", '#include "gmem.pb-c.h"'),
    ("daemon/transport/loop.c", '#include "../core/book.h"'),
    ("daemon/rpc/service.c", "#include <event2/event.h>"),
    ("daemon/rpc/service.c", "#  include <systemd/sd-daemon.h>"),
    ("daemon/rpc/service.c", "#include <seccomp.h>"),
    ("daemon/rpc/service.c", "#include <cap-ng.h>"),
    ("daemon/rpc/service.c", '#include "nowhere.h"'),
    ("daemon/rpc/service.c", "/* only for TDX */"),
    ("backends/backend.h", '#include "book.h"'),
    ("client/info.c", '#include "backend.h"'),
    ("client/info.c", '#include "book.h"'),
    ("client/info.c", '#include "launch_call.h"'),
    ("backends/launch/launch_call.h", '#include "backend.h"'),
    ("client/info.c", "#include <json-c/json.h>"),
    ("client/gmemctl/main.c", '#include "gm_frame.h"'),
    ("proto/base/gm_num.h", '#include "gm_frame.h"'),
    ("client/gmemctl/main.c", '#include "gm_vmsa.h"'),
    ("backends/measure/gm_vmsa.h", '#include "backend.h"'),
    ("client/gmemctl/main.c", "/* SNP */"),
    ("proto/gmem.proto", "// intel"),
    ("daemon/stray.c", "#include <stdio.h>"),
]


def plant(tree):
    with tempfile.TemporaryDirectory() as root:
        for path, text in tree.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        return lint(root)


def self_test():
    headers = {"daemon/rpc/service.h": ""}
    good = plant({**GOOD_TREE, **headers})
    assert not good, good
    for path, line in BAD_LINES:
        tree = {**GOOD_TREE, **headers}
        tree[path] = tree.get(path, "") + line + "\n"
        found = plant(tree)
        assert len(found) >= 1 and all(v.startswith(path + ":") for v in found), (path, line, found)
    print(len(BAD_LINES), "planted violations found")


def main(args):
    if args == ["--self-test"]:
        self_test()
        return 0
    violations = lint(args[0])
    for violation in violations:
        print(violation)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
