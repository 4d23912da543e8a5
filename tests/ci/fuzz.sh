#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh FUZZER SECONDS: live fuzzing from the committed corpus; finds stay in a scratch folder.
set -eu
name=$(basename "$1")
corpus=$(cd "$(dirname "$0")/.." && pwd)/fuzz/corpus/${name%-live}
scratch=$(mktemp -d /tmp/gmemd-fuzz.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
"$1" -max_total_time="$2" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	-artifact_prefix="$scratch/" "$scratch" "$corpus" || {
	echo "the input that did it:"
	for find in "$scratch"/crash-* "$scratch"/timeout-* "$scratch"/oom-* "$scratch"/leak-*; do
		[ -e "$find" ] && od -A x -t x1z "$find" | head -n 40
	done
	exit 1
}
