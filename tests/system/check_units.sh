#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# systemd has nothing to say about the units, and finds the service well confined.
# usage: check_units.sh BUILD_DIR UNITS_DIR
set -eu
build=$1
units=$2
here=$(dirname "$0")

command -v systemd-analyze >/dev/null || { echo "skipped: no systemd-analyze"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# The program as it is built: it need not be installed yet.
sed "s|^\(Exec[A-Za-z]*\)=[^ ]*/gmemd |\1=$build/bin/gmemd |" "$build/units/gmemd.service" \
	>"$work/gmemd.service"
cp "$units/gmemd@.socket" "$units/gmemd-admin.socket" "$units/gmemd.target" "$work/"
cp "$units/gmemd@.socket" "$work/gmemd@acme.socket"

SYSTEMD_UNIT_PATH="$work:" systemd-analyze verify --man=no "$work/gmemd.service" \
	"$work/gmemd@acme.socket" "$work/gmemd-admin.socket" "$work/gmemd.target" >"$work/said" 2>&1 ||
	{ cat "$work/said"; exit 1; }
[ ! -s "$work/said" ] || { cat "$work/said"; exit 1; }

# In tenths, as --threshold= takes it.
systemd-analyze security --offline=yes --threshold=15 --no-pager "$work/gmemd.service" \
	>"$work/points" || { grep -v '✓' "$work/points"; exit 1; }
tail -n 1 "$work/points"

systemd-analyze security --offline=yes --no-pager --json=short "$work/gmemd.service" |
	/usr/bin/python3 -B "$here/check_security.py" "$units/../SECURITY.md"
