# SPDX-License-Identifier: Apache-2.0
"""In the container: unit files of generated layouts, as systemd and as gmemd read them.

layouts_inside.py UNIT_CAT GMEMCTL COUNT [SEED]   prints one line of JSON
"""
import json
import os
import random
import shutil
import subprocess
import sys
import time

sys.path.insert(0, "/run/gmemd-source/tests/policy")

import layouts  # noqa: E402  (needs the path above)

ACME = "gmemd@acme.socket"
UNITS = [ACME, ACME, "gm-em-d@acme.socket", "a-b-@x-y.socket"]
PATIENCE = 5.0


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def real(path):
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def systemctl_cat(unit):
    """(state, [(path, text)]) as systemd has it."""
    texts = []
    for line in run("systemctl", "cat", "--no-pager", unit).split("\n"):
        if line.startswith("# Unit ") and line.endswith(" is masked."):
            return "masked", []
        if line.startswith("# /"):
            texts.append((real(line[2:]), []))
        elif texts:
            texts[-1][1].append(line)
    # An empty line is between two files; a mask shows up as a name without a text.
    return ("loaded" if texts else "missing"), [(path, "\n".join(lines)) for path, lines in texts
                                                if os.stat(path).st_size]


def unit_cat(program, unit):
    output = run(program, "/", unit).splitlines()
    return output[0].split(": ", 1)[1], [real(path) for path in output[1:]]


def seconds(text):
    units = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}
    total = 0
    for word in text.split():
        digits = word.rstrip("abcdefghijklmnopqrstuvwxyz")
        total += int(digits) * units[word[len(digits):]]
    return total


def normal(key, value):
    """A value in one form, however it is written."""
    if key == "Kinds":
        words = value if isinstance(value, list) else value.split()
        words = [word.replace("%p", "gmemd").replace("%i", "acme") for word in words]
        return list(dict.fromkeys(words))
    if key == "HugePages":
        words = value if isinstance(value, list) else value.split()
        sizes = dict(word.partition(":")[::2] for word in words)
        return {page: size for page, size in sizes.items() if size != "0"}
    if key == "PersistentTTL":
        return seconds(value)
    if key == "Persistent":
        return value in ("yes", "true")
    return value


def show(gmemctl):
    output = run(gmemctl, "--address", "/run/gmemd/admin.sock", "--json", "policy", "show", "acme")
    if not output:
        return None
    return {row["key"]: (normal(row["key"], row["value"]), row["source"] or "")
            for row in json.loads(output)["policy"] if row["key"] in layouts.VALUES}


def expected(texts, defaults):
    want = dict(defaults)
    for key, (value, source) in layouts.policy(texts).items():
        want[key] = (normal(key, value), source)
    return want


def differ(got, want):
    if got is None:
        return "no answer"
    return {key: (got[key], want[key]) for key in want
            if got[key][0] != want[key][0] or
            (got[key][1] and real(got[key][1])) != (want[key][1] and real(want[key][1]))}


def compare_policy(gmemctl, state, texts, defaults):
    """What gmemd applies after a reload, which is not there at once."""
    run("systemctl", "reload", "gmemd.service")
    end = time.monotonic() + PATIENCE
    while True:
        got = show(gmemctl)
        if state == "masked":
            found = None if got and got["SessionsMax"][0] == "0" else got
        else:
            found = differ(got, expected(texts, defaults))
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.01)


def clean():
    for folder in layouts.DIRS:
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            # What a layout may have put there, and nothing of the host's.
            if name.startswith(("gmemd@", "gm-", "a-", "a@", "other@", "socket.d")):
                path = os.path.join(folder, name)
                if os.path.islink(path) or not os.path.isdir(path):
                    os.unlink(path)
                else:
                    shutil.rmtree(path)


# How much there was to compare: a test of nothing passes, too.
seen = {"loaded": 0, "masked": 0, "missing": 0, "assigned": 0}


def one(seed, program, gmemctl, defaults):
    """None, or what differs."""
    rng = random.Random(seed)
    unit = rng.choice(UNITS)
    clean()
    layouts.place(layouts.make(rng, unit))
    run("systemctl", "daemon-reload")
    state, texts = systemctl_cat(unit)
    seen[state] += 1
    got = unit_cat(program, unit)
    want = (state, [path for path, _ in texts])
    if got != want:
        return {"seed": seed, "unit": unit, "is": got, "should be": want}
    if unit == ACME:
        found = compare_policy(gmemctl, state, texts, defaults)
        seen["assigned"] += len(layouts.policy(texts))
        if found:
            return {"seed": seed, "policy": found, "texts": texts}
    return None


def main(program, gmemctl, count, seed=None):
    clean()
    layouts.place({"/etc/systemd/system/gmemd@.socket": layouts.SOCKET})
    run("systemctl", "daemon-reload")
    run("systemctl", "reload", "gmemd.service")
    time.sleep(0.2)
    defaults = show(gmemctl)
    for seed in layouts.seeds(int(count), int(seed) if seed else None):
        found = one(seed, program, gmemctl, defaults)
        if found:
            break
    clean()
    layouts.place({"/etc/systemd/system/gmemd@.socket": layouts.SOCKET})
    run("systemctl", "daemon-reload")
    print(json.dumps({"differs": found, "seen": seen}))


main(*sys.argv[1:])
