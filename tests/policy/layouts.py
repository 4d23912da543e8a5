# SPDX-License-Identifier: Apache-2.0
"""Layouts of unit files, made at random, and what systemd makes of them, told as simply as can be.

A layout is {path: text, or ("link", target)}. The model knows systemd.unit(5) and nothing of the
code under test: it lists, sorts and looks names up in the plainest way.
"""
import os
import posixpath
import random

# In order of precedence. Generators write into folders of their own, which a reload empties.
DIRS = ["/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient",
        "/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system"]
FRAGMENT_DIRS = DIRS[3:]
MASK = ("link", "/dev/null")

SOCKET = "[Unit]\nDescription=A test\n[Socket]\nListenSequentialPacket=/run/gmemd/%i.sock\n" \
    "FileDescriptorName=%i\nSocketMode=0660\nService=gmemd.service\n"

VALUES = {
    "DomainsMax": ["1", "22", "333", "infinity"],
    "SessionsMax": ["7", "77", "infinity"],
    "MemoryMax": ["64M", "1G", "infinity"],
    "PersistentTTL": ["10min", "1h 30s", "2d"],
    "Persistent": ["yes", "no", "true", "off"],
    "Kinds": ["memfd", "guest-memfd", "memfd guest-memfd", "%p", "%i"],
    "HugePages": ["2M", "1G", "2M:64M 1G:2G", "2M:0"],
}


def section(rng):
    """A text with an [X-Gmemd] section, or without."""
    lines = []
    if rng.random() < 0.3:
        lines += ["# a comment \\", "[Unit]", "Documentation=man:x(1)"]
    for _ in range(rng.randrange(0, 3)):
        lines.append("[X-Gmemd]")
        for _ in range(rng.randrange(0, 4)):
            lines += assignment(rng)
        if rng.random() < 0.2:
            lines += ["[X-Other]", "DomainsMax=666"]
    return "\n".join(lines) + "\n" if rng.random() < 0.9 else "\n".join(lines)


def assignment(rng):
    key = rng.choice(list(VALUES))
    if rng.random() < 0.2:
        return [key + "="]
    value = rng.choice(VALUES[key])
    blank = rng.choice(["", " ", "\t"])
    if " " in value and rng.random() < 0.5:
        head, tail = value.split(" ", 1)
        middle = ["; in between"] if rng.random() < 0.5 else []
        return [f"{blank}{key}={blank}{head} \\"] + middle + [f"   {tail}"]
    return [f"{key}{blank}={blank}{value}{blank}"]


def shorter(unit):
    """Names that are less specific by their dashes."""
    stem, kind = unit.rsplit(".", 1)
    prefix, at, instance = stem.partition("@")
    if at and not instance:
        at = ""  # systemd has the plain unit for a template here
    parts = prefix.rstrip("-").split("-")
    return [f"{'-'.join(parts[:n])}-{at}{instance}.{kind}" for n in range(len(parts) - 1, 0, -1)]


def names_for_dropins(unit):
    stem, kind = unit.rsplit(".", 1)
    names = []
    for name in [unit] + shorter(unit):
        names.append(name)
        base, at, instance = name.rsplit(".", 1)[0].partition("@")
        if at and instance:
            template = f"{base}@.{kind}"
            names += [template] + shorter(template)
    return names


def make(rng, unit):
    """A layout for the unit, an instance."""
    stem, kind = unit.rsplit(".", 1)
    template = stem.partition("@")[0] + "@." + kind
    other = "other@" + stem.partition("@")[2] + "." + kind
    layout = {}
    for folder in rng.sample(FRAGMENT_DIRS, rng.randrange(1, 3)):
        layout[f"{folder}/{template}"] = SOCKET + section(rng)
    if rng.random() < 0.3:
        layout[f"{rng.choice(FRAGMENT_DIRS)}/{unit}"] = rng.choice(
            [SOCKET + section(rng), SOCKET + section(rng), MASK, ""])
    if rng.random() < 0.15:
        layout[f"{rng.choice(FRAGMENT_DIRS)}/{template}"] = MASK
    if rng.random() < 0.3:
        # Another name of the unit, whose drop-ins count, too.
        layout[f"/etc/systemd/system/{other}"] = ("link", rng.choice([unit, template]))
    folders = names_for_dropins(unit) + names_for_dropins(other) + [kind]
    for _ in range(rng.randrange(0, 9)):
        path = f"{rng.choice(DIRS)}/{rng.choice(folders)}.d/{rng.choice(FILES)}"
        layout[path] = rng.choice([section(rng), section(rng), section(rng), MASK, ""])
    return layout


FILES = ["10-a.conf", "20-b.conf", "50-c.conf", "Z.conf", "9.conf", "10-a.conf~", "no.txt",
         ".hidden.conf"]


def place(layout, root=""):
    for path, content in layout.items():
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        if isinstance(content, tuple):
            os.symlink(content[1], root + path)
        else:
            with open(root + path, "w", encoding="utf-8", newline="") as file:
                file.write(content)


def is_mask(content):
    return content in ("", MASK)


def model(layout, unit):
    """(state, [paths that have a text]) of the unit."""
    stem, kind = unit.rsplit(".", 1)
    template = stem.partition("@")[0] + "@." + kind
    fragment = None
    for name in (unit, template):
        found = [f"{folder}/{name}" for folder in DIRS if f"{folder}/{name}" in layout]
        if found and not fragment:
            fragment = found[0]
    if not fragment:
        return "missing", []
    if is_mask(layout[fragment]):
        return "masked", []
    names = [unit]
    # A link to the template makes an instance an alias of that instance of it, unless that is a
    # unit of its own; a link to the instance is one in any case.
    for path, content in layout.items():
        name = posixpath.basename(path)
        if isinstance(content, tuple) and content != MASK and not path.endswith(".conf"):
            if content[1] == unit or fragment.endswith("/" + content[1]) or \
                    (content[1] == template and has_text(layout, template)):
                names.append(name)
    chosen = {}
    for name in names:
        for folder in DIRS:
            for dropins in names_for_dropins(name):
                choose(layout, f"{folder}/{dropins}.d", chosen)
    for folder in DIRS:
        choose(layout, f"{folder}/{kind}.d", chosen)
    paths = [fragment] + [chosen[name] for name in sorted(chosen)]
    return "loaded", [path for path in paths if not is_mask(layout[path])]


def has_text(layout, name):
    """Is the first file of the name a unit, and not a mask?"""
    found = [path for path in (f"{folder}/{name}" for folder in DIRS) if path in layout]
    return bool(found) and not is_mask(layout[found[0]])


def choose(layout, folder, chosen):
    for path in layout:
        name = posixpath.basename(path)
        if posixpath.dirname(path) == folder and name.endswith(".conf") and name[0] != ".":
            chosen.setdefault(name, path)


def policy(texts):
    """[(path, text)] -> {key: (value or list of words, "path:line")}, in order of assignment."""
    assigned = {}
    for path, text in texts:
        mine, start, joined = False, 0, ""
        for number, line in enumerate(text.split("\n"), start=1):
            if line.lstrip()[:1] in ("#", ";") and line.strip():
                continue
            if not joined:
                start = number
            if line.endswith("\\"):
                joined += line[:-1] + " "
                continue
            line, joined = (joined + line).strip(), ""
            if line.startswith("["):
                mine = line == "[X-Gmemd]"
            elif mine and "=" in line:
                key, value = (part.strip() for part in line.split("=", 1))
                assign(assigned, key, value, f"{path}:{start}")
    return assigned


def assign(assigned, key, value, source):
    if not value:
        assigned.pop(key, None)
    elif key in ("Kinds", "HugePages"):
        words = assigned.get(key, ([], None))[0] + value.split()
        assigned[key] = (words, source)
    else:
        assigned[key] = (value, source)


def seeds(count, start=None):
    start = random.SystemRandom().randrange(1 << 32) if start is None else start
    return range(start, start + count)
