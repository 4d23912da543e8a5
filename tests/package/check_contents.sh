#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What lintian does not look at: each package has a list of checksums that hold, each file is in one
# package only, and the daemon's package asks for the libraries that its programs are linked with.
# usage: check_contents.sh PACKAGES_DIR
set -eu

ls "$1"/*.deb >/dev/null 2>&1 || { echo "skipped: no packages were built"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for package in "$1"/*.deb; do
	name=$(dpkg-deb -f "$package" Package)
	dpkg-deb -R "$package" "$work/$name"
	(cd "$work/$name" && md5sum --quiet -c DEBIAN/md5sums)
	(cd "$work/$name" && find . -path ./DEBIAN -prune -o ! -type d -print) >>"$work/files"
done
[ "$(find "$work" -mindepth 1 -maxdepth 1 -type d -printf . | wc -c)" -eq 4 ] || { echo "not four packages"; exit 1; }
twice=$(sort "$work/files" | uniq -d)
[ -z "$twice" ] || { echo "in two packages: $twice"; exit 1; }

depends=$(dpkg-deb -f "$1"/gmemd_*.deb Depends)
for library in $(objdump -p "$work/gmemd/usr/sbin/gmemd" "$work/gmemd/usr/bin/gmemctl" |
	sed -n 's/^ *NEEDED *//p' | sort -u); do
	case $library in
	libgmem.so.0) package=libgmem0 ;;
	*) package=$(dpkg-query -S "*/$library" | sed 's/:.*//; q') ;;
	esac
	case ", $depends," in
	*", $package ("* | *", $package,"*) ;;
	*) echo "needs $library, but does not depend on $package"; exit 1 ;;
	esac
done
readelf -d "$work/gmemd/usr/sbin/gmemd" | grep -q 'R.*PATH' && { echo "a path of libraries is in gmemd"; exit 1; }
readelf -S "$work/gmemd/usr/sbin/gmemd" | grep -q '\.debug_info' && { echo "gmemd is not stripped"; exit 1; }
exit 0
