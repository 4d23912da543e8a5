#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# result.sh OUT NAME: what the test NAME said in the test machine, and its exit status.
out=$1
name=$2
if [ -e "$out/results/why-not" ]; then
	cat "$out/results/why-not"
	exit 77
fi
[ -e "$out/results/$name.rc" ] || { echo "the machine has no result of $name"; exit 1; }
cat "$out/results/$name.log"
exit "$(cat "$out/results/$name.rc")"
