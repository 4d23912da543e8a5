#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The kernel of the test machine: Debian's Linux 6.12, built once per machine and kept in a folder
# outside the tree.
#
#   build-kernel.sh          builds it unless it is there; prints its path
#   build-kernel.sh --find   prints its path if it is there, and builds nothing
#
# The folder is ${GMEMD_VM_CACHE:-${XDG_CACHE_HOME:-~/.cache}/gmemd}. A kernel is kept for each
# version of the package and each kernel.config; a new package alone is no reason to build again.
# Exit status 77, and why, when it cannot be had here.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
config=$here/kernel.config
package=linux-source-6.12
cache=${GMEMD_VM_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/gmemd}
key=$(sha256sum <"$config" | cut -c 1-16)
# What the unpacked source and the objects take, with some to spare.
space_mib=2500

say() { printf 'kernel: %s\n' "$*" >&2; }
why_not() {
	say "$*"
	exit 77
}

# find_kernel: the path of the newest one for this configuration.
find_kernel() {
	local found
	found=$(find "$cache" -maxdepth 1 -name "bzImage-*-$key" 2>/dev/null | sort -V | tail -n 1)
	[ -n "$found" ] && printf '%s\n' "$found"
}

need_tools() {
	local tool missing=()
	for tool in gcc ld make flex bison bc xz apt-get dpkg-deb flock; do
		command -v "$tool" >/dev/null || missing+=("$tool")
	done
	[ -e /usr/include/libelf.h ] || missing+=(libelf-dev)
	[ ${#missing[@]} -eq 0 ] || why_not "cannot be built without ${missing[*]}"
}

# candidate: the version of the package that apt would fetch.
candidate() { LC_ALL=C apt-cache policy "$package" 2>/dev/null | sed -n 's/^  Candidate: //p' | grep -v none; }

# fetch DIR: the package, unpacked.
fetch() {
	version=$(candidate) || {
		# A fresh machine has no lists yet; only root can get them.
		apt-get -qq update >"$1/update.log" 2>&1 || true
		version=$(candidate) || why_not "apt knows no package $package"
	}
	say "fetching $package $version"
	(cd "$1" && chmod 755 . && apt-get -qq download "$package=$version") >"$1/fetch.log" 2>&1 ||
		why_not "cannot be fetched: $(tail -n 1 "$1/fetch.log")"
	say 'unpacking'
	dpkg-deb -x "$1"/linux-source-*.deb "$1"
	rm "$1"/linux-source-*.deb
	# Most of what is left out is drivers that a machine without a PCI bus cannot have.
	tar -xf "$1/usr/src/$package.tar.xz" -C "$1" --exclude='*/drivers/gpu/*.[ch]' \
		--exclude='*/drivers/net/[ew]*/*.[ch]' --exclude='*/drivers/media/*.[ch]' \
		--exclude='*/sound/*.[ch]' --exclude='*.dts' --exclude='*.dtsi' --exclude='*.rst'
	rm -r "${1:?}/usr"
}

# check_config FILE: every line that we asked for has taken.
check_config() {
	local line bad=0
	while read -r line; do
		grep -qxF "$line" "$1" || { say "$line did not take"; bad=1; }
	done < <(grep '^CONFIG' "$config")
	return $bad
}

# progress LOG: a line now and then, until it is killed.
progress() {
	while sleep 15; do say "$(grep -c '^  [A-Z]' "$1") steps of about ${steps}"; done
}
steps=1530

build() {
	local dir=$1 log=$1/build.log teller failed=0
	cd "$dir/$package"
	if ! make KCONFIG_ALLCONFIG="$config" allnoconfig >"$log" 2>&1 || ! check_config .config; then
		tail -n 5 "$log" >&2
		say 'the configuration failed'
		exit 1
	fi
	say 'building'
	progress "$log" 9>&- &
	teller=$!
	make -j"$(nproc)" bzImage >>"$log" 2>&1 || failed=1
	kill "$teller"
	[ $failed -eq 0 ] || { grep -v '^  ' "$log" | tail -n 20 >&2; say 'the build failed'; exit 1; }
}

case "${1-}" in
--find) find_kernel || why_not "not built yet: $here/build-kernel.sh builds it"; exit ;;
'') ;;
*) sed -n '4,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

find_kernel && exit
need_tools
mkdir -p "$cache" 2>/dev/null || true
[ -w "$cache" ] || why_not "$cache cannot be written"
exec 9>"$cache/lock"
flock -n 9 || { say 'somebody else is building it; waiting'; flock 9; }
find_kernel && exit

rm -rf "$cache"/build.*	# Of one that was killed: we hold the lock.
free_mib=$(($(stat -f -c '%a * %S' "$cache") / 1048576))
[ $free_mib -ge $space_mib ] || why_not "$cache has $free_mib MiB free, the build takes $space_mib"
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
started=$SECONDS
fetch "$work"
build "$work"
mv "$work/$package/arch/x86/boot/bzImage" "$cache/bzImage-$version-$key"
say "built in $((SECONDS - started)) seconds"
find_kernel
