#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The Debian packages, as README.md says to build them.
# usage: build_packages.sh SOURCE_DIR BUILD_DIR CMAKE-ARGUMENT...
set -eu
source=$1
build=$2
shift 2

for tool in cpack dpkg-deb dpkg-shlibdeps; do
	command -v $tool >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
cmake -S "$source" -B "$build" -G Ninja -DCMAKE_INSTALL_PREFIX=/usr -DGMEMD_TESTS=OFF "$@" \
	>/dev/null
ninja -C "$build" | tail -n 1
rm -rf "$build/_CPack_Packages" "$build"/*.deb "$build"/*.ddeb
cd "$build"
cpack
