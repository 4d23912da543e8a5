#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# man.sh BUILD: the manual pages are there and mandoc finds no error in them. (Its warnings are all
# about the empty paragraphs that scdoc writes.)
set -eu
for page in gmemd.8 gmemd-policy.5 gmemctl.1 libgmem.3; do
	[ -s "$1/man/$page" ] || { echo "$page was not built"; exit 1; }
	mandoc -T lint -W error "$1/man/$page"
done
