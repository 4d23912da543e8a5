#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# man.sh BUILD: the manual pages are there and mandoc finds no fault above style in them.
set -eu
for page in gmemd.8 gmemd-policy.5 gmemctl.1 libgmem.3; do
	[ -s "$1/man/$page" ] || { echo "$page was not built"; exit 1; }
	mandoc -T lint -W warning "$1/man/$page"
done
