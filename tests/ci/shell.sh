#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
set -eu
cd "$(dirname "$0")/../.."
git ls-files -z '*.sh' quickstart check .ci/run tests/vm/init '*.bash-completion' | xargs -0 shellcheck -x
