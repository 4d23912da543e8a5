#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Each source says its licence, and none is left half done.

source_lint.py ROOT         0, or 1 with a line for each violation
source_lint.py --self-test  plants violations and requires that they are found
"""
import os
import re
import sys
import tempfile

FOLDERS = ("backends", "client", "cmake", "daemon", "proto", "tests", "units")
SCRIPTS = ("check", "quickstart", "CMakeLists.txt")
C_LINE = "/* SPDX-License-Identifier: Apache-2.0 */"
LINE = re.compile(r"^(#|//|\.\\\"|;) SPDX-License-Identifier: Apache-2\.0$")
C_FILES = (".c", ".h")
OTHER_FILES = (".py", ".sh", ".cmake", ".proto", "CMakeLists.txt")
# Spelt so that this file has none of them.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")


def sources(root):
    for name in SCRIPTS:
        if os.path.isfile(os.path.join(root, name)):
            yield name
    for folder in FOLDERS:
        for at, folders, files in os.walk(os.path.join(root, folder)):
            folders[:] = sorted(f for f in folders if f not in ("corpus", "__pycache__"))
            for name in sorted(files):
                if name.endswith(C_FILES + OTHER_FILES):
                    yield os.path.relpath(os.path.join(at, name), root)


def check(path, lines):
    if path.endswith(C_FILES):
        if lines[:1] != [C_LINE]:
            yield f"{path}:1: the first line is not {C_LINE}"
    elif not any(LINE.match(line) for line in lines[:2]):
        yield f"{path}:1: no SPDX line among the first two"
    for number, line in enumerate(lines, start=1):
        if UNFINISHED.search(line):
            yield f"{path}:{number}: unfinished: {line.strip()}"


def lint(root):
    violations = []
    paths = list(sources(root))
    for path in paths:
        with open(os.path.join(root, path), encoding="utf-8") as file:
            violations += check(path, file.read().splitlines())
    return violations if paths else [f"{root}: no sources"]


def plant(path, text):
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(os.path.join(root, os.path.dirname(path)))
        with open(os.path.join(root, path), "w", encoding="utf-8") as file:
            file.write(text)
        return lint(root)


def self_test():
    assert plant("daemon/x/a.c", C_LINE + "\nint a;\n") == []
    assert plant("tests/x/a.py", "#!/usr/bin/python3\n# SPDX-License-Identifier: Apache-2.0\n") == []
    assert len(plant("daemon/x/a.c", "int a;\n")) == 1
    assert len(plant("daemon/x/a.h", "")) == 1
    assert len(plant("daemon/x/a.c", "// SPDX-License-Identifier: Apache-2.0\n")) == 1
    assert len(plant("tests/x/CMakeLists.txt", "# SPDX-License-Identifier: MIT\n")) == 1
    assert len(plant("daemon/x/a.c", C_LINE + "\n/* TO" "DO */\n")) == 1
    assert len(plant("nowhere/x/a.c", "")) == 1
    print("planted violations found")


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
