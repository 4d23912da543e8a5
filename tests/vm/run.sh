#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Boots the test machine (README.md beside this file) and collects what its tests say.
#
#   run.sh BUILD [NAME...]   runs these tests, or all; shows what failed. Exit status 1 if some did.
#   run.sh --all BUILD       the same with all, for ctest: the exit status says whether the machine
#                            ran them to the end.
#   run.sh --shell BUILD     a shell in it instead; "exit" ends it.
#
# Results are BUILD/vm/results/NAME.log and NAME.rc. Exit status 77, and why, where there can be no
# machine; with GMEMD_VM=insist that is 1. GMEMD_VM_TIMEOUT: seconds for everything (600, with
# GMEMD_LONG 5400).
set -eu
here=$(cd "$(dirname "$0")" && pwd)

mode=some
case "${1-}" in
--all | --shell) mode=${1#--}; shift ;;
-* | '') sed -n '4,15s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
build=$(cd "$1" && pwd)
shift
out=$build/vm
results=$out/results
rm -rf "$results"
mkdir -p "$results"

why_not() {
	printf 'no test machine: %s\n' "$*" | tee "$results/why-not"
	[ "${GMEMD_VM-}" != insist ] || exit 1
	exit 77
}

# select_tests NAME...: the machine's list.
select_tests() {
	local name
	[ $# -gt 0 ] || { cat "$out/tests"; return; }
	for name; do
		grep "^$name " "$out/tests" || { echo "there is no test $name" >&2; return 1; }
	done
}

# split FILE: the machine's report, a file for each test; says what it thinks of each.
split() {
	awk -v dir="$results" '
		{ sub(/\r$/, "") }
		$1 == "GMTEST-START" { name = $2; log_file = dir "/" name ".log"; printf "" >log_file; next }
		$1 == "GMTEST" {
			print $3 >(dir "/" $2 ".rc")
			word = $3 == 0 ? "passed" : $3 == 77 ? "skipped" : "FAILED (" $3 ")"
			printf "%-12s %-40s %6.1f s\n", word, $2, $4 / 1000
			failed += $3 != 0 && $3 != 77
			name = ""
			next
		}
		$1 == "GMTEST-END" { complete = 1; next }
		name != "" { sub(/^\| /, ""); print >log_file }
		END {
			if (!complete)
				print "the machine did not come to its end" (name == "" ? "" : ", it was in " name)
			exit !complete ? 2 : failed ? 1 : 0
		}' "$1"
}

command -v qemu-system-x86_64 >/dev/null || why_not 'there is no qemu-system-x86_64'
command -v cpio >/dev/null || why_not 'there is no cpio'
kernel=$("$here/build-kernel.sh" --find 2>"$results/kernel") || why_not "$(cat "$results/kernel")"

select_tests "$@" >"$out/selected"
"$here/make-initrd.sh" "$build" "$out/initrd"

# An old AMD processor of the emulator's own: it brings nested virtualisation on any host.
machine=(qemu-system-x86_64 -accel "tcg,thread=multi" -machine q35 -cpu "EPYC,+svm,+npt" -smp 2
	-m 2048 -nodefaults -display none -no-reboot -kernel "$kernel" -initrd "$out/initrd")
# The clock is one whose rate is known. That of the TSC is measured at boot, and where the emulator
# stood still meanwhile, time has been seen to go four times too fast.
parameters='console=ttyS0 panic=-1 reboot=t quiet rdinit=/init numa=fake=2 clocksource=hpet tsc=unstable'

if [ "$mode" = shell ]; then
	exec "${machine[@]}" -serial mon:stdio -append "$parameters gmvm=shell"
fi

patience=${GMEMD_VM_TIMEOUT:-${GMEMD_LONG:+5400}}
patience=${patience:-600}
rc=0
timeout "$patience" "${machine[@]}" -serial "file:$out/console" \
	-serial "file:$out/report" -append "$parameters" </dev/null 2>"$out/emulator" || rc=$?
[ $rc -ne 124 ] || echo "the machine was stopped after $patience seconds"
rc=0
split "$out/report" || rc=$?
if [ $rc -eq 2 ]; then
	echo "--- its console (all of it in $out/console)"
	tail -n 30 "$out/console"
	exit 1
fi
[ "$mode" = all ] && exit
for file in "$results"/*.rc; do
	grep -qxE '0|77' "$file" || { echo "--- ${file##*/}"; cat "${file%.rc}.log"; }
done
exit $rc
