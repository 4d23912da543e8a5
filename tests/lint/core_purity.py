#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""daemon/core decides and does nothing else: proved by the symbols that its library asks for.

core_purity.py CORE_ARCHIVE BASE_ARCHIVE  0, or 1 with a line for each symbol that is not allowed
core_purity.py --self-test CC             plants a system call in a core, and in a base below it

An object of the base library is looked at when something of the core leads to it: so the core may
compare tokens, and may not close an fd by way of a helper.
"""
import os
import subprocess
import sys
import tempfile

ALLOWED = set("""
    memcpy memmove memset memcmp memchr explicit_bzero
    strlen strnlen strcmp strncmp strchr strrchr strstr stpcpy strspn strcspn
    malloc calloc realloc reallocarray free
    snprintf vsnprintf qsort bsearch abort
    __memcpy_chk __memmove_chk __memset_chk __snprintf_chk __vsnprintf_chk __explicit_bzero_chk
    __assert_fail __stack_chk_fail _GLOBAL_OFFSET_TABLE_
""".split())
INSTRUMENTED = ("__asan_", "__ubsan_", "__tsan_", "__sanitizer_", "__gcov_")


def members(archive):
    """Object name -> (defined symbols, undefined symbols)."""
    out = subprocess.run(["nm", "-A", "-g", archive], check=True, capture_output=True, text=True)
    objects = {}
    for line in out.stdout.splitlines():
        where, rest = line.rsplit(":", 1)
        fields = rest.split()
        kind, symbol = fields[-2], fields[-1]
        defined, undefined = objects.setdefault(where, (set(), set()))
        (undefined if kind in "Uw" else defined).add(symbol)
    return objects


def impure(core, base):
    """(object, symbol) of everything that the core can reach and may not."""
    owner = {symbol: name for objects in (core, base)
             for name, (defined, _) in objects.items() for symbol in defined}
    objects = {**core, **base}
    seen, todo, found = set(), sorted(core), []
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for symbol in sorted(objects[name][1]):
            if symbol in owner:
                todo.append(owner[symbol])
            elif symbol not in ALLOWED:
                found.append((name, symbol))
    return found


def check(core_archive, base_archive):
    core, base = members(core_archive), members(base_archive)
    if not core:
        print(core_archive, "has no symbols")
        return 1
    symbols = {s for objects in (core, base) for _, undefined in objects.values() for s in undefined}
    if any(s.startswith(INSTRUMENTED) for s in symbols):
        print("skipped: the build is instrumented")
        return 77
    found = impure(core, base)
    for name, symbol in found:
        print(f"{name}: {symbol} is not for the core")
    return 1 if found else 0


def build(folder, compiler, name, text):
    source = os.path.join(folder, name + ".c")
    with open(source, "w", encoding="ascii") as file:
        file.write(text)
    subprocess.run([compiler, "-c", "-O1", source, "-o", source[:-1] + "o"], check=True)
    archive = os.path.join(folder, "lib" + name + ".a")
    subprocess.run(["ar", "cr", archive, source[:-1] + "o"], check=True)
    return archive


def self_test(compiler):
    pure = "void *memchr(const void *, int, unsigned long);\n" \
           "const void *base(const void *p) { return memchr(p, 1, 9); }\n"
    base_call = "int getpid(void); int base(void) { return getpid(); }\n"
    calls_base = "int base(void); int core(void) { return base(); }\n"
    calls_kernel = "int getpid(void); int core(void) { return getpid(); }\n"
    with tempfile.TemporaryDirectory() as folder:
        def result(core, base):
            return check(build(folder, compiler, "core", core), build(folder, compiler, "base", base))
        assert result(calls_base, pure) == 0
        assert result(calls_kernel, pure) == 1
        assert result(calls_base, base_call) == 1
        assert result("int core(void) { return 1; }\n", base_call) == 0
    print("planted system calls found")


def main(args):
    if args[0] == "--self-test":
        self_test(args[1])
        return 0
    return check(*args)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
