#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tidy.sh BUILD: clang-tidy over all C files of the project, with the checks of .clang-tidy.
set -eu
cd "$(dirname "$0")/../.."
git ls-files -z 'backends/*.c' 'client/*.c' 'daemon/*.c' 'proto/*.c' |
	xargs -0 -n 8 -P 2 clang-tidy-14 -p "$1" --quiet --warnings-as-errors='*'
