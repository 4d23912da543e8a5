#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A small project outside the tree finds the installed library both by pkg-config and by CMake,
# builds, and gets memory.
# usage: check_install.sh BUILD_DIR PROJECT_DIR CC CMAKE
set -eu
build=$1
project=$2
cc=$3
cmake=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for component in libgmem0 libgmem-dev; do
	"$cmake" --install "$build" --component $component --prefix "$work/root" >/dev/null
done
libdir=$(dirname "$(find "$work/root" -name 'libgmem.so')")

echo "== pkg-config"
export PKG_CONFIG_PATH="$libdir/pkgconfig"
flags=$(pkg-config --define-variable=prefix="$work/root" --cflags --libs gmem)
# shellcheck disable=SC2086
"$cc" -Wall -Werror -o "$work/by-pkg-config" "$project/main.c" $flags
LD_LIBRARY_PATH=$libdir "$work/by-pkg-config"

echo "== CMake"
"$cmake" -G Ninja -S "$project" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/root" \
	-DCMAKE_C_COMPILER="$cc" >/dev/null
"$cmake" --build "$work/build" >/dev/null
"$work/build/outside"

echo "== versions"
[ "$(pkg-config --modversion gmem)" = "$(sed -n 's/^set(PACKAGE_VERSION "\(.*\)")/\1/p' \
	"$libdir/cmake/gmem/gmemConfigVersion.cmake")" ]
