#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The profile is one that AppArmor's compiler takes, abstractions and all, and it is of the
# program that is installed. (Whether a kernel enforces it is seen on hosts that have AppArmor.)
# usage: check_apparmor.sh PROFILE PROGRAM
set -eu

command -v apparmor_parser >/dev/null || { echo "skipped: apparmor is not installed"; exit 77; }
# As for a kernel that has all that the profile asks for: then there is nothing to warn of.
said=$(apparmor_parser --skip-kernel-load --skip-cache --warn=all \
	--kernel-features=/etc/apparmor.d/abi/3.0 "$1" 2>&1) || { echo "$said"; exit 1; }
said=$(echo "$said" | grep -v '^Cache read/write disabled' || true)
[ -z "$said" ] || { echo "$said"; exit 1; }
names=$(apparmor_parser -N "$1" 2>/dev/null)
[ "$names" = gmemd ] || { echo "profiles: $names"; exit 1; }
grep -q "^profile gmemd $2 " "$1" || { echo "not a profile of $2"; exit 1; }

# Nothing that would let it out: no change of profile, no other program, no mount, no trace.
! grep -v '^ *#' "$1" | grep -E '^ *(change_profile|mount|ptrace|userns|pivot_root)|[uUpPcC]x,' || exit 1
grep -qsx Y /sys/module/apparmor/parameters/enabled ||
	echo "this kernel has no AppArmor: the profile was compiled, not loaded"
