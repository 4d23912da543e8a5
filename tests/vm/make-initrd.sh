#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# make-initrd.sh BUILD OUTPUT: the root file system of the test machine, a cpio archive.
# Everything is at the same place as here: our programs in BUILD, the scripts in the source, the
# tools below /usr. BUILD/vm/files names what the tests want besides.
set -eu
umask 022
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
build=$(cd "${1:?}" && pwd)
output=${2:?}

# The programs of these packages, and what alternatives lead to.
packages=(bash coreutils dash findutils grep hostname libcap2-bin mawk mount procps sed util-linux)
tools=(/usr/bin/awk)
# Of Python, without what no test imports and what is big.
python_left_out='/(test|idlelib|lib2to3|ensurepip|distutils|tkinter|turtledemo|pydoc_data|dist-packages|config-[^/]*)(/|$)'

root=$(mktemp -d)
# It becomes "/", which is for every user.
chmod 755 "$root"
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

# put: the files and folders whose names are read, at the same place; links as what they lead to.
put() { sort -u | xargs -r -d '\n' cp -rL --parents -t "$root"; }

# The links of a merged /usr first, or their targets would be split over two folders.
for link in /bin /sbin /lib /lib64; do
	[ -L "$link" ] || continue
	mkdir -p "$root/usr/${link#/}"
	ln -s "usr/${link#/}" "$root$link"
done

# Not the python3 of PATH: the tests name Debian's.
stdlib=$(/usr/bin/python3 -c 'import os; print(os.path.dirname(os.__file__))')
{
	for package in "${packages[@]}"; do
		dpkg -L "$package" 2>/dev/null | grep -E '^(/usr)?/s?bin/.' || true
	done
	printf '%s\n' "${tools[@]}" /usr/bin/python3 /usr/lib/python3/dist-packages/google
	find "$stdlib" -type f | grep -Ev "$python_left_out"
	printf '%s\n' "$build"/{bin,lib,python} "$source"/{tests/integration,client/python}
	cat "$build/vm/files"
} | put
# What all that is linked to, by the dynamic linker's own word.
find "$root" -type f \( -perm -u=x -o -name '*.so*' \) -print0 | xargs -0 ldd 2>/dev/null |
	sed -n 's/.* => \(\/.*\) (.*/\1/p; s/^\t\(\/.*\) (.*/\1/p' | grep -vF "$root" |
	sed 's|^/lib/|/usr/lib/|' | put

mkdir -p "$root$build/tests" "$root/vm" "$root/etc" "$root/proc" "$root/sys" "$root/dev"
cp "$here/init" "$root/init"
chmod 755 "$root/init"
cp "$build/vm/selected" "$root/vm/tests"
printf 'export GMEMD_BUILD=%q\n' "$build" >"$root/vm/environment"
printf 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
(cd "$root" && find . -print0 | cpio --null --create --format=newc --owner=0:0 --quiet) >"$output.new"
mv "$output.new" "$output"
