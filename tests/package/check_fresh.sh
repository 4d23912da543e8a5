#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# On a Debian that has nothing but its essential packages, the packages install with what they say
# that they depend on, work, and go away again.
# usage: check_fresh.sh PACKAGES_DIR
set -eu

[ -n "${GMEMD_LONG-}" ] || { echo "skipped: takes a minute and a half; GMEMD_LONG=1 runs it"; exit 77; }
[ "$(id -u)" -eq 0 ] || { echo "skipped: only root can make a Debian in a folder"; exit 77; }
for tool in mmdebstrap unshare; do
	command -v $tool >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
ls "$1"/*.deb >/dev/null 2>&1 || { echo "skipped: no packages were built"; exit 77; }
release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir "$work/packages"
cp "$1"/gmemd_*.deb "$1"/libgmem0_*.deb "$work/packages/"
cat >"$work/packages/try" <<'END'
set -eux
apt-get -qq install -y --no-install-recommends /packages/*.deb
getent passwd gmemd
gmemd --listen acme=/run/gmemd/acme.sock --log-level warning &
daemon=$!
for i in $(seq 100); do [ ! -S /run/gmemd/acme.sock ] || break; sleep 0.1; done
gmemctl --address /run/gmemd/acme.sock create --size 1M --kind memfd --token-file /root/token
gmemctl --address /run/gmemd/acme.sock list | grep memfd
kill $daemon
wait $daemon
apt-get -qq purge -y gmemd libgmem0
left=$(find /etc /usr /var/lib/systemd /run/gmemd -name '*gmem*' 2>/dev/null || true)
[ -z "$left" ] || { echo "left: $left"; exit 1; }
END
# In a mount namespace: what mmdebstrap mounts is gone however this ends.
# shellcheck disable=SC2016  # the hook has a shell, and its $1, of its own
unshare -m mmdebstrap --quiet --mode=root --variant=minbase --aptopt='Acquire::Languages "none"' \
	--customize-hook="touch '$work/made'" \
	--customize-hook="copy-in '$work/packages' /" \
	--customize-hook='chroot "$1" sh /packages/try' \
	--customize-hook="touch '$work/tried'" "$release" /dev/null >"$work/log" 2>&1 || true
[ -e "$work/made" ] || { tail -n 3 "$work/log"; echo "skipped: no Debian to be had"; exit 77; }
[ -e "$work/tried" ] || { tail -n 60 "$work/log"; exit 1; }
echo "on $release: installed, used and purged"
