# SPDX-License-Identifier: Apache-2.0
"""Each point that systemd-analyze takes off a unit has its reason in the table of SECURITY.md, with
its weight. usage: systemd-analyze security --json=short ... | check_security.py SECURITY.md"""
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    ROWS = file.read().replace("\\|", "|").splitlines()
POINTS = [(point["name"], point["exposure"]) for point in json.load(sys.stdin) if point["exposure"]]
MISSING = [f"{name} {weight}" for name, weight in POINTS
           if not any(row.startswith(f"| `{name}` | {weight} | ") for row in ROWS)]
if not POINTS or MISSING:
    sys.exit(f"{sys.argv[1]} gives no reason for {', '.join(MISSING) or 'anything'}")
