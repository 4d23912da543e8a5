#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Debian's own judge finds neither errors nor warnings.
# usage: check_lintian.sh PACKAGES_DIR
set -eu

command -v lintian >/dev/null || { echo "skipped: lintian is not installed"; exit 77; }
ls "$1"/*.deb >/dev/null 2>&1 || { echo "skipped: no packages were built"; exit 77; }
# No bug of Debian's list asks for these packages.
lintian --allow-root --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs \
	"$1"/*.deb
