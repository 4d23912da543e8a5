#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up ctest's JUnit files: prints why tests were skipped, what failed, and the totals."""

import sys
import xml.etree.ElementTree as ElementTree


def last_words(case):
    output = (case.findtext("system-out") or "").strip().splitlines()
    said = [line for line in output if "skip" in line.lower()]
    return (said or output or ["no reason given"])[-1].strip()


def main(paths):
    passed = failed = skipped = 0
    for path in paths:
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            name, status = case.get("name"), case.get("status")
            if status == "run":
                passed += 1
            elif status in ("notrun", "disabled") or case.find("skipped") is not None:
                skipped += 1
                print(f"skipped: {name}: {last_words(case)}")
            else:
                failed += 1
                print(f"failed: {name} ({path})")
    print(passed, failed, skipped)


main(sys.argv[1:])
