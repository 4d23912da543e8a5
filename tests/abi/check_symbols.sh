#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# libgmem.so exports exactly the symbols, with the versions, that the list says, and needs no
# libraries but those. After an intended addition: check_symbols.sh LIBRARY LIST --update
# usage: check_symbols.sh LIBRARY LIST
set -u
library=$1
list=$2
work=$(mktemp) || exit 1
trap 'rm -f "$work"' EXIT

{
	readelf -dW "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/soname \1/p'
	readelf -dW "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/needs \1/p' | LC_ALL=C sort
	nm -D --defined-only --with-symbol-versions "$library" | awk '$2 != "A" { print $2, $3 }' |
		LC_ALL=C sort -k 2
} >"$work"
if [ "${3-}" = --update ]; then
	cp "$work" "$list"
	exit
fi
diff -u "$list" "$work"
