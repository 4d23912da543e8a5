# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What quickstart and check share. Sourced, with the project's folder in $top and one for
# logs in $logs.
: "${top:?}" "${logs:?}"

# Other users, and the root of a test container, have to get at what is made here.
umask 022

if [ -t 1 ]; then
	bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else
	bold='' red='' green='' plain=''
fi

say() { printf '%s== %s%s\n' "$bold" "$*" "$plain"; }
good() { printf '%s   %s%s\n' "$green" "$*" "$plain"; }

die() {
	printf '%s!! %s%s\n' "$red" "$*" "$plain" >&2
	exit 1
}

# get_packages PURPOSE...: installs what is missing for these purposes. Asks the network only when
# something is missing. When it cannot: fails, with the reason in $why.
get_packages() {
	local package purpose want missing=()
	while read -r package purpose; do
		case "$package" in '' | '#'*) continue ;; esac
		for want in "$@"; do
			[ "$purpose" = "$want" ] || continue
			dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
				missing+=("$package")
		done
	done <"$top/.ci/packages"
	if [ ${#missing[@]} -eq 0 ]; then
		good "all packages are there"
		return
	fi
	why="not root, and these packages are missing: ${missing[*]}"
	[ "$(id -u)" -eq 0 ] || return 1
	say "installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	why="apt-get failed: see $logs/packages.log"
	{ apt-get -qq update && apt-get -qq install -y --no-install-recommends "${missing[@]}"; } \
		>"$logs/packages.log" 2>&1 || { tail -n 20 "$logs/packages.log"; return 1; }
}

# need_packages PURPOSE...: the same, and the end of it when they cannot be had.
need_packages() { get_packages "$@" || die "$why"; }

# logged FILE COMMAND...: runs it quietly; on failure shows the end of what it said.
logged() {
	local log=$logs/$1
	shift
	"$@" >"$log" 2>&1 || { tail -n 40 "$log"; die "failed: $* (all of it in $log)"; }
}
