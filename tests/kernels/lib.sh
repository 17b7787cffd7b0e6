# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Debian's kernel of a series, and an initramfs for it. Sourced with series (6.1, 6.12) and work (a folder of the caller's)
# set. Ends the caller with 77 where neither can be had. prepare_kernel sets cache and release: the kernel is
# $cache/$series/boot/vmlinuz-$release.

: "${series:?}" "${work:?}"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sluice/kernels

skip() {
	echo "skipped: $*"
	exit 77
}

# A package list of our own, so that neither the machine's sources nor its lists are touched.
apt() {
	apt-get -qq -o Dir::Etc::SourceList="$cache/apt/sources.list" -o Dir::Etc::SourceParts=- \
		-o Dir::State::Lists="$cache/apt/lists" -o Dir::Cache="$cache/apt/cache" -o APT::Sandbox::User=root "$@"
}

apt_prepare() {
	mkdir -p "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial"
	cat >"$cache/apt/sources.list" <<-END
		deb http://deb.debian.org/debian bookworm main
		deb http://deb.debian.org/debian-security bookworm-security main
		deb http://deb.debian.org/debian bookworm-backports main
	END
	apt update >"$work/apt.log" 2>&1 || :
	[ -n "$(find "$cache/apt/lists" -maxdepth 1 -name '*_Packages*')" ]
}

# The newest package of the series, not a flavour's: linux-image-6.1.0-56-amd64.
kernel_package() {
	apt-cache -o Dir::Etc::SourceList="$cache/apt/sources.list" -o Dir::Etc::SourceParts=- \
		-o Dir::State::Lists="$cache/apt/lists" -o Dir::Cache="$cache/apt/cache" pkgnames "linux-image-$series" |
		grep -E "^linux-image-$(echo "$series" | sed 's/\./\\./')\.[0-9][^-]*(-[0-9]+|\+deb12)?-amd64$" |
		sort -V | tail -n 1
}

fetch_kernel() {
	[ "$(uname -m)" = x86_64 ] || skip "kernels are fetched for x86_64 only"
	command -v apt-get >/dev/null || skip "kernel packages come from Debian, and there is no apt-get"
	apt_prepare || skip "no package lists from Debian: $(tail -n 1 "$work/apt.log")"
	package=$(kernel_package)
	[ -n "$package" ] || skip "Debian has no kernel package of $series"
	(cd "$work" && apt download "$package" >"$work/apt.log" 2>&1) ||
		skip "cannot download $package: $(tail -n 1 "$work/apt.log")"
	dpkg -x "$work"/"$package"_*.deb "$work/kernel"
	find "$work/kernel" -name '*.ko.xz' -exec xz -d {} +
	mkdir -p "$cache"
	rm -rf "${cache:?}/$series"
	mv "$work/kernel" "$cache/$series"
}

# qemu and a static busybox.
need_tools() {
	missing=
	command -v qemu-system-x86_64 >/dev/null || missing="$missing qemu-system-x86"
	[ -x /bin/busybox ] && /bin/busybox --list | grep -qx modprobe && ! ldd /bin/busybox >/dev/null 2>&1 ||
		missing="$missing busybox-static"
	command -v cpio >/dev/null || missing="$missing cpio"
	command -v xz >/dev/null || missing="$missing xz-utils"
	[ -n "$missing" ] || return 0
	# shellcheck disable=SC2086 # a list of words
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >"$work/apt.log" 2>&1 ||
		skip "needs$missing: $(tail -n 1 "$work/apt.log")"
}

# $1 becomes the guest's first process; with the modules of $2… besides those of the bpf tests. Makes $work/initramfs.gz.
make_initramfs() {
	root=$work/initramfs
	init=$1
	shift
	mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/root" "$root/lib/modules/$release/kernel"
	cp /bin/busybox "$root/bin/"
	cp "$init" "$root/init"
	chmod 755 "$root/init"
	modules=$cache/$series/lib/modules/$release
	[ -d "$modules" ] || modules=$cache/$series/usr/lib/modules/$release
	for part in drivers/virtio drivers/net/veth.ko net/9p net/sched net/bridge net/802 net/llc net/netfilter net/ipv4/netfilter net/ipv6/netfilter fs/9p fs/netfs fs/fscache lib crypto arch/x86/crypto \
		"$@"; do
		[ -e "$modules/kernel/$part" ] || continue
		mkdir -p "$root/lib/modules/$release/kernel/$(dirname "$part")"
		cp -r "$modules/kernel/$part" "$root/lib/modules/$release/kernel/$(dirname "$part")/"
	done
	busybox depmod -b "$root" "$release" 2>/dev/null
	(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/initramfs.gz"
}

prepare_kernel() {
	need_tools
	[ -d "$cache/$series/boot" ] || fetch_kernel
	release=$(basename "$cache/$series"/boot/vmlinuz-*)
	release=${release#vmlinuz-}
}
