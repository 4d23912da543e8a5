#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Units of generated layouts: this project's reader and a naive model of systemd.unit(5) agree.

test_layouts.py UNIT_CAT [SEED]
"""
import random
import shutil
import subprocess
import sys
import tempfile

import layouts

UNITS = ["gmemd@acme.socket", "gm-em-d@acme.socket", "a-b-@x-y.socket"]
COUNT = 150


def ask(unit_cat, root, unit):
    output = subprocess.run([unit_cat, root, unit], capture_output=True, text=True,
                            check=False).stdout.splitlines()
    return output[0].split(": ", 1)[1], output[1:]


def main(unit_cat, seed=None):
    states = {}
    for seed in layouts.seeds(COUNT, int(seed) if seed else None):
        rng = random.Random(seed)
        unit = rng.choice(UNITS)
        layout = layouts.make(rng, unit)
        root = tempfile.mkdtemp(prefix="gm-layout-")
        try:
            layouts.place(layout, root)
            got, want = ask(unit_cat, root, unit), layouts.model(layout, unit)
        finally:
            shutil.rmtree(root)
        # Of a masked unit no file has a text.
        if got != want:
            print(f"seed {seed}: {unit}\n  is        {got}\n  should be {want}")
            for path, content in sorted(layout.items()):
                print("   ", path, "" if isinstance(content, str) else content[1])
            return 1
        states[got[0]] = states.get(got[0], 0) + 1
    print(f"{COUNT} layouts agree: {states}")
    return 0 if len(states) > 1 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
