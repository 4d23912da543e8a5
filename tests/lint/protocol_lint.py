#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""PROTOCOL.md is normative: its tables and examples say what the schema, headers and golden packets do.

protocol_lint.py ROOT              0, or 1 with a line for each difference
protocol_lint.py --self-test ROOT  changes one thing at a time and requires that it is found
"""
import os
import re
import sys

FILES = {
    "page": "proto/PROTOCOL.md",
    "schema": "proto/gmem.proto",
    "frame": "proto/wire/gm_frame.h",
    "version": "proto/wire/gm_version.h",
    "fdset": "proto/base/gm_fdset.h",
    "golden": "tests/wire/golden.txt",
}
LIMITS = {
    "body": "GM_BODY_MAX",
    "fds in one packet": "GM_FDSET_MAX",
    "ranges in ALLOCATE, DISCARD": "GM_RANGES_MAX",
    "unanswered requests of a session": "GM_REQUESTS_MAX",
    "`numa_nodes`": "GM_NUMA_NODES_MAX",
    "`devices`": "GM_DEVICES_MAX",
    "name, client name": "GM_NAME_MAX",
    "PING payload": "GM_PING_MAX",
    "runs in REGION_MAP": "GM_RUNS_MAX",
}


def section(page, number):
    match = re.search(rf"^## {number}\. .*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return match.group(0) if match else ""


def numbered_rows(text, header):
    """{name: number} of the table whose header row begins with @header."""
    table = re.search(rf"^{re.escape(header)}.*?(?=^$|\Z)", text, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| *(\d+) *\| *(\w+) *\|", table.group(0) if table else "", re.MULTILINE)
    return {name: int(number) for number, name in rows}


def proto_enum(schema, name):
    body = re.search(rf"^enum {name} {{(.*?)^}}", schema, re.MULTILINE | re.DOTALL).group(1)
    return {key: int(value) for key, value in
            re.findall(rf"^ *{name.upper()}_(\w+) = (\d+);", body, re.MULTILINE)}


def message_types(frame):
    return {name: int(number) for name, number in
            re.findall(r"^\tGM_(?:MSG|EVENT)_(\w+) = (\d+),", frame, re.MULTILINE)}


def constants(text):
    values = {}
    for name, value in re.findall(r"^#define (GM_\w+) \(?(\d+(?: \* \d+)?)\)?$", text, re.MULTILINE):
        product = 1
        for factor in value.split(" * "):
            product *= int(factor)
        values[name] = product
    return values


def compare(what, page, code):
    for name in sorted(page.keys() | code.keys()):
        if page.get(name) != code.get(name):
            yield f"{what} {name}: {page.get(name)} on the page, {code.get(name)} in the code"


def check_limits(text, values):
    for row, name in LIMITS.items():
        match = re.search(rf"^\| {re.escape(row)} \| (\d+)", text, re.MULTILINE)
        if not match or int(match.group(1)) != values[name]:
            yield f"limit '{row}': {match and match.group(1)} on the page, {values[name]} is {name}"


def check_examples(text, golden):
    examples = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    if not examples:
        yield "there are no examples"
    for example in examples:
        if "\n" + example not in golden:
            yield f"no golden packet is the example '{example.splitlines()[0]}'"


def lint(files):
    page = files["page"]
    codes = proto_enum(files["schema"], "Code")
    del codes["OK"]
    status = section(page, 10)
    problems = list(compare("code", numbered_rows(status, "| n | code"), codes))
    problems += compare("rule", numbered_rows(status, "| n | rule"),
                        proto_enum(files["schema"], "Rule"))
    problems += compare("type", numbered_rows(section(page, 7), "| type"),
                        message_types(files["frame"]))
    problems += check_limits(section(page, 9), constants(files["version"] + files["fdset"]))
    problems += check_examples(section(page, 15), files["golden"])
    return problems


def load(root):
    files = {}
    for key, path in FILES.items():
        with open(os.path.join(root, path), encoding="utf-8") as file:
            files[key] = file.read()
    return files


def self_test(files):
    changes = [
        ("page", "| 5 | OVER_LIMIT |", "| 6 | OVER_LIMIT |"),
        ("page", "| 36 | CURSOR |", "| 36 | CURSER |"),
        ("schema", "RULE_CURSOR = 36;", "RULE_CURSOR = 37;"),
        ("frame", "GM_MSG_EVICT = 17,", "GM_MSG_EVICT = 18,"),
        ("page", "| 66 | SHUTDOWN |", "| 67 | SHUTDOWN |"),
        ("version", "#define GM_RANGES_MAX 1024", "#define GM_RANGES_MAX 1025"),
        ("page", "| PING payload | 256 ", "| PING payload | 255 "),
        ("golden", "676d0100 01000000", "676d0100 02000000"),
    ]
    for key, old, new in changes:
        assert old in files[key], old
        assert lint({**files, key: files[key].replace(old, new)}), new
    print(len(changes), "planted differences found")


def main(args):
    if args[0] == "--self-test":
        self_test(load(args[1]))
        return 0
    problems = lint(load(args[0]))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
