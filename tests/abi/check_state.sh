#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# libgmem.so has no state of its own: no object of ours lies in writable memory. (.data.rel.ro is
# read-only once the library is loaded; the three names are the C runtime's.)
# usage: check_state.sh LIBRARY
set -u
found=$(objdump -t "$1" |
	awk '/ \.(data|bss|tdata|tbss)\t/ && $NF !~ /^(\.data|\.bss|completed\.0|__dso_handle|__TMC_END__)$/')
objdump -t "$1" | grep -q ' \.text' || { echo "no symbol table: nothing to look at"; exit 77; }
[ -z "$found" ] || { echo "writable objects:"; echo "$found"; exit 1; }
