#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh native|arm64 BUILD: builds the image and runs what is in it, from its archive and nothing else. "native": of the
# optimised build BUILD (empty: one of its own), whose daemons then enforce in a lab. "arm64": cross-built in BUILD, the
# unit tests too, and run by qemu-user. Exit 77 where Debian's archive or the emulator cannot be had.
set -euo pipefail
top=$(readlink -f "$(dirname "$(readlink -f "$0")")/../..")
arch=$1
build=$2
cd "$top"
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 1' INT TERM
root=$work/root
failures=0
check() { # DESCRIPTION COMMAND…
	local what=$1
	shift
	if "$@" >"$work/check.log" 2>&1; then
		echo "ok   $what"
	else
		echo "FAIL $what"
		tail -n 20 "$work/check.log"
		failures=$((failures + 1))
	fi
}
not() { ! "$@"; }

# Is it the network's fault, and nobody's?
or_skip() {
	"$@" && return
	timeout 20 curl -sfo /dev/null http://deb.debian.org/debian/dists/bookworm/InRelease || {
		echo "skipped: Debian's archive cannot be reached"
		exit 77
	}
	echo "FAIL $*"
	exit 1
}

build_arm64() {
	or_skip tools/image --sysroot arm64
	cmake --preset arm64 -B "$build" >"$work/log" 2>&1 && cmake --build "$build" >>"$work/log" 2>&1 && return
	tail -n 60 "$work/log"
	echo "FAIL the build for arm64"
	exit 1
}

# Lays the archive's layers out and keeps its settings.
unpack() {
	python3 - "$1" "$root" "$work/config.json" <<-'END'
		import json, shutil, sys, tarfile
		archive, root, config = sys.argv[1:]
		with tarfile.open(archive) as image:
		    entry = json.load(image.extractfile("manifest.json"))[0]
		    with open(config, "wb") as out:
		        shutil.copyfileobj(image.extractfile(entry["Config"]), out)
		    for layer in entry["Layers"]:
		        tarfile.open(fileobj=image.extractfile(layer)).extractall(root, numeric_owner=True)
	END
}
setting() { python3 -c 'import json, sys; x = json.load(open(sys.argv[1])); sys.exit(not eval(sys.argv[2]))' \
	"$work/config.json" "$1"; }
unpacked_below() { [ "$(find "$root" -type f -printf '%s\n' | awk '{n += $1} END {printf "%d", n}')" -lt "$1" ]; }
finds() { [ -n "$(find "$root" "$@" -print -quit)" ]; }

# In the image's root, by the emulator where it takes one.
emulator=()
inside() { chroot "$root" "${emulator[@]}" "$@"; }
prints() { # PATTERN COMMAND…
	inside "${@:2}" | tee "$work/check.log" | grep -q -- "$1"
}

plugin_runs() {
	CNI_COMMAND=VERSION prints '"supportedVersions"' /usr/libexec/cni/sluice-cni <<<'{"cniVersion":"1.0.0"}'
}

look() { # DEBIAN-ARCHITECTURE
	check "$1: under 60 MB, unpacked" unpacked_below 60000000
	check "$1: its settings" setting "x['architecture'] == '$1' and x['config']['Cmd'] == ['/usr/sbin/sluiced']"
	check "$1: labels" setting "x['config']['Labels']['org.opencontainers.image.title'] == 'sluice'"
	check "$1: nothing gains privileges" not finds -perm /6000
	check "$1: nobody but root may write to it" not finds ! -type l -perm /022 ! -path "$root/tmp"
	check "$1: no shell" not finds -name sh -o -name bash -o -name dash
	check "$1: certificates" grep -q 'BEGIN CERTIFICATE' "$root/etc/ssl/certs/ca-certificates.crt"
	check "$1: the proxy's user" grep -q '^nobody:x:65534:65534:' "$root/etc/passwd"
	check "$1: scanners see Debian's packages" grep -q '^Version: 2.36' "$root/var/lib/dpkg/status.d/libc6"
	if [ "$1" != "$(dpkg --print-architecture)" ]; then
		cp "$(command -v qemu-aarch64-static)" "$root/emulator"
		emulator=(/emulator)
	fi
	local version
	version=$(sed -n 's/^project(sluice VERSION \([^ ]*\).*/\1/p' CMakeLists.txt)
	for program in sluiced sluice-dnsproxy bpfctl; do
		check "$1: $program --version" prints "$version" "/usr/sbin/$program" --version
	done
	check "$1: sluice-cni, for the node" plugin_runs
	cp tools/lab/manifests/sandbox-cnp.yaml "$root/tmp/good.yaml"
	sed 's/egress:/egres:/' "$root/tmp/good.yaml" >"$root/tmp/bad.yaml"
	check "$1: bpfctl reads a manifest" inside /usr/sbin/bpfctl policy check /tmp/good.yaml
	check "$1: and refuses one" not inside /usr/sbin/bpfctl policy check /tmp/bad.yaml
	check "$1: a template is there" finds -path '*/templates/cilium/*.yaml'
}

# Stand-ins for a build's programs that run the image's, with what a pod of Sluice has mounted.
stand_ins() {
	local program
	mkdir -p "$work/build/bin"
	for program in sluiced sluice-dnsproxy bpfctl; do
		cat >"$work/build/bin/$program" <<-END
			#!/bin/sh
			exec unshare --mount sh -c 'for d in run sys proc dev; do mount --rbind /\$d $root/\$d; done
			exec chroot $root /usr/sbin/$program "\$@"' $program "\$@"
		END
		chmod 755 "$work/build/bin/$program"
	done
}

case $arch in
native)
	want=$(dpkg --print-architecture)
	or_skip tools/install-deps image
	or_skip tools/image --arch "$want" --output "$work" ${build:+--build "$build"}
	;;
arm64)
	want=arm64
	or_skip tools/install-deps image
	build_arm64
	check "arm64: the unit tests, emulated" ctest --test-dir "$build" -L '^unit$' -j 2 --no-tests=error --output-on-failure
	or_skip tools/image --arch arm64 --output "$work" --build "$build"
	;;
*) exit 2 ;;
esac
archive=$(echo "$work"/sluice-*-"$want".tar)
unpack "$archive"
look "$want"
if [ "$arch" = native ]; then
	stand_ins
	check "$want: a pod of it enforces (five_outcomes.sh)" env -u LAB_OWNER BUILD="$work/build" tests/lab/five_outcomes.sh
fi
mkdir "$work/again"
check "$want: once more" tools/image --arch "$want" --output "$work/again" --build "${build:-$top/build/image-$want}"
check "$want: and every byte is the same" cmp "$archive" "$work/again/${archive##*/}"
[ "$failures" -eq 0 ] || { echo "$failures failed"; exit 1; }
