#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tidy.sh BUILD: clang-tidy over all C files of the project, with the checks of .clang-tidy.
set -eu
cd "$(dirname "$0")/../.."
# One file a run: with more, clang-tidy 14 takes every va_list but the first for uninitialised.
# The flag is what clang before 16 wants beside -ftrivial-auto-var-init=zero of a gcc build.
git ls-files -z 'backends/*.c' 'client/*.c' 'daemon/*.c' 'proto/*.c' |
	xargs -0 -n 1 -P 2 clang-tidy-14 -p "$1" --quiet --warnings-as-errors='*' \
		--extra-arg=-enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang
