#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every id of the journal's entries has its text in the catalogue, and no text is without an id.

catalog_lint.py ROOT         0, or 1 with a line for each fault; journalctl compiles it, too
catalog_lint.py --self-test  plants one fault of each kind and requires that it is found
"""
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile

HEADER = "daemon/sys/log_ids.h"
CATALOG = "units/gmemd.catalog"
FIELDS = {"TENANT", "DOMAIN", "REGION", "BYTES", "RULE", "VERB", "PEER_PID", "PEER_UID", "PEER_UNIT",
          "CLIENT"}


def entries(text):
    """(id, headers, body) of each entry."""
    for part in re.split(r"^-- ", text, flags=re.M)[1:]:
        name, rest = part.split("\n", 1)
        headers, body = rest.split("\n\n", 1)
        yield name.split()[0], dict(line.split(": ", 1) for line in headers.splitlines()), body.strip()


def faults(header, catalog):
    ids = re.findall(r'^#define GM_LOG_ID_(\w+) "([^"]*)"', header, flags=re.M)
    texts = list(entries(catalog))
    for name, number in ids:
        if not re.fullmatch(r"[0-9a-f]{32}", number):
            yield f"{HEADER}: {name} is not 32 hex digits"
    for what, numbers in ((HEADER, [n for _, n in ids]), (CATALOG, [e[0] for e in texts])):
        for number, count in collections.Counter(numbers).items():
            if count > 1:
                yield f"{what}: {number} is there {count} times"
    for name, number in ids:
        if number not in {entry[0] for entry in texts}:
            yield f"{CATALOG}: {name} ({number}) has no text"
    for number, headers, body in texts:
        if number not in {n for _, n in ids}:
            yield f"{CATALOG}: {number} is no id of {HEADER}"
        if not headers.get("Subject") or headers.get("Defined-By") != "gmemd":
            yield f"{CATALOG}: {number} has no subject, or is not gmemd's"
        # What has happened and what it means; then what to do.
        if len(body.split("\n\n")) < 2:
            yield f"{CATALOG}: {number} does not say what to do"
        for field in re.findall(r"@(\w+)@", headers.get("Subject", "") + body):
            if field not in FIELDS:
                yield f"{CATALOG}: {number} names the field {field}, which no entry has"


def compile_faults(path):
    """What journalctl has to say about the file."""
    if not shutil.which("journalctl"):
        return
    with tempfile.TemporaryDirectory() as root:
        folder = os.path.join(root, "usr/lib/systemd/catalog")
        os.makedirs(folder)
        os.makedirs(os.path.join(root, "var/lib/systemd/catalog"))
        shutil.copy(path, folder)
        run = lambda *args: subprocess.run(["journalctl", f"--root={root}", *args], text=True,
                                           capture_output=True, check=False)
        done = run("--update-catalog")
        if done.returncode != 0 or done.stderr.strip():
            yield f"{path}: {done.stderr.strip() or done.returncode}"


def check(root):
    with open(os.path.join(root, HEADER), encoding="utf-8") as file:
        header = file.read()
    path = os.path.join(root, CATALOG)
    with open(path, encoding="utf-8") as file:
        found = list(faults(header, file.read()))
    found += compile_faults(path)
    for fault in found:
        print(fault)
    return 1 if found else 0


def self_test():
    one, two = "0" * 32, "1" * 32
    define = '#define GM_LOG_ID_{} "{}"\n'.format
    text = "-- {}\nSubject: A\nDefined-By: gmemd\n\nIt is @TENANT@.\n\nDo it.\n".format
    assert not list(faults(define("A", one), text(one)))
    for header, catalog, word in (
            (define("A", "0"), text("0"), "hex digits"),
            (define("A", one) + define("B", one), text(one), "2 times"),
            (define("A", one), text(one) + text(one), "2 times"),
            (define("A", one), "", "has no text"),
            (define("A", one), text(one) + text(two), "is no id"),
            (define("A", one), text(one).replace("Subject", "Object"), "no subject"),
            (define("A", one), text(one).replace("\n\nDo it.", ""), "what to do"),
            (define("A", one), text(one).replace("TENANT", "GUEST"), "GUEST")):
        found = list(faults(header, catalog))
        assert len(found) >= 1 and any(word in fault for fault in found), (word, found)
    print("planted faults found")


if __name__ == "__main__":
    if sys.argv[1] == "--self-test":
        self_test()
        sys.exit(0)
    sys.exit(check(sys.argv[1]))
