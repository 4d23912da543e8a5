#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# "cmake --install" into a DESTDIR puts there what the list says, and nothing else.
# usage: check_install_list.sh BUILD_DIR PREFIX LIBDIR PYTHONDIR LIST
set -eu
build=$1
prefix=$2
libdir=$3
pythondir=$4
list=$5
case $prefix in /usr) etc=/etc ;; *) etc=$prefix/etc ;; esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
DESTDIR=$work/root cmake --install "$build" >/dev/null

grep -v '^#' "$list" | sed "s|@ETC@|$etc|; s|@LIBDIR@|$libdir|; s|@PYTHON@|$prefix/$pythondir|
	s|@PREFIX@|$prefix|" | LC_ALL=C sort >"$work/expected"
# One file of CMake's is named after the type of the build.
(cd "$work/root" && find . ! -type d) | sed 's|^\.||; s|gmemTargets-[a-z]*\.cmake|gmemTargets-TYPE.cmake|' |
	LC_ALL=C sort >"$work/found"
diff -u "$work/expected" "$work/found" || { echo "if that is meant: $list"; exit 1; }

# No file of it names the folder that it was built in, and none is writable for others.
wrong=$(grep -rlIF -- "$build" "$work/root" || true)
[ -z "$wrong" ] || { echo "these name the build folder: $wrong"; exit 1; }
[ -z "$(find "$work/root" -type f -perm /022)" ] || { echo "writable for others"; exit 1; }
grep -q "^ExecStart=$prefix/sbin/gmemd " "$work/root$prefix/lib/systemd/system/gmemd.service"
