#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# on_model.sh TOOL LIBRARY STORM...: a storm on the platform model, whose kernel has everything. With
# GM_IN_PLACE=1 in the environment it converts in place.
set -eu
tool=$1 library=$2
shift 2
folder=$(mktemp -d)
machine=$folder/machine
trap '"$tool" remove "$machine"; rmdir "$folder"' EXIT

"$tool" new "$machine" 7.0
"$tool" set "$machine" sev-es-asids=64
"$tool" set "$machine" tdx-keys=64
"$tool" set "$machine" "in-place=${GM_IN_PLACE-0}"
GM_PLATFORM=$machine GM_PLATFORM_TOOL=$tool LD_PRELOAD=$library "$@" && exit
# What it looked like, for whoever wants to know why.
"$tool" show "$machine"
exit 1
