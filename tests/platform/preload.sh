#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# preload.sh TOOL LIBRARY PROGRAM: a program that knows nothing of the model launches a guest on a
# machine that another process has made.
set -eu
tool=$1 library=$2 program=$3
folder=$(mktemp -d)
machine=$folder/machine
trap '"$tool" remove "$machine"; rmdir "$folder"' EXIT

"$tool" new "$machine" 7.0 sev-es-asids=1
GM_PLATFORM=$machine LD_PRELOAD=$library "$program"
grep -q '^sev_es 1$' "$machine.d/misc.capacity"
# It has ended: its id is free, and the machine has seen its requests.
"$tool" show "$machine" | grep -q '^sev_es 0 of 1$'
"$tool" show "$machine" | grep -q '^calls [1-9]'
# Full is full for every process.
"$tool" set "$machine" full=1
if GM_PLATFORM=$machine LD_PRELOAD=$library "$program" 2>/dev/null; then
	echo "launched on a machine that is full" >&2
	exit 1
fi
