#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
set -eu
cd "$(dirname "$0")/../.."
git ls-files 'backends/*.c' 'client/*.c' 'daemon/*.c' 'proto/*.c' |
	cppcheck --file-list=- --std=c11 --language=c -j 2 --quiet --error-exitcode=1 \
		--enable=warning,performance,portability --inline-suppr -D_GNU_SOURCE \
		--library=tests/ci/cppcheck.cfg \
		--suppress=missingInclude --suppress=missingIncludeSystem
