#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A public header compiles alone, without a warning, in every language that a VMM may be written in.
# usage: check_header.sh INCLUDE_DIR HEADER
set -u
include=$1
header=$2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
tried=0
failed=0

# compile COMPILER LANGUAGE STANDARD
compile() {
	command -v "$1" >/dev/null || { echo "skipped: no $1"; return; }
	tried=$((tried + 1))
	if ! echo "#include <$header>" | "$1" -x "$2" -std="$3" -pedantic-errors -Wall -Wextra \
		-Wundef -Werror -I "$include" -c -o "$work/out.o" -; then
		failed=$((failed + 1))
		echo "failed: $1 -std=$3"
	fi
}

for compiler in gcc clang-14; do
	for standard in c90 c99 c11 c17; do
		compile "$compiler" c "$standard"
	done
done
for compiler in g++ clang++-14; do
	for standard in c++11 c++17; do
		compile "$compiler" c++ "$standard"
	done
done
echo "$tried compilations, $failed failed"
[ "$tried" -gt 0 ] || exit 77
[ "$failed" -eq 0 ]
