#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
# PID 1 of the guest, in an initramfs: the host's root arrives read-only on 9p and the tests named on the kernel command
# line run in it. Every line for the host starts with "sluice-kernels:"; what the tests print goes to the console as is.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

say() {
	echo "sluice-kernels: $*"
}

stop() {
	say "$1"
	sync
	poweroff -f
}

arg() {
	sed -n "s/.*[[:space:]]$1=\([^[:space:]]*\).*/\1/p" /proc/cmdline
}

# The last are what the lab's tools would load, if the root they run in had this kernel's modules.
for module in virtio_pci 9pnet_virtio 9p veth bridge sch_ingress cls_bpf crc32c_generic nf_conntrack nf_conntrack_netlink \
	nf_tables nft_ct nft_nat nft_chain_nat nft_compat iptable_nat ip6table_nat xt_nat xt_tcpudp; do
	modprobe "$module" || say "no module $module"
done
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose root /root || stop "no root"
for dir in tmp run; do
	mount -t tmpfs tmpfs "/root/$dir"
done
mount -t proc proc /root/proc
mount -t sysfs sys /root/sys
mount -t devtmpfs dev /root/dev
mount -t bpf bpf /root/sys/fs/bpf
mkdir -p /root/dev/pts /root/dev/shm
ln -s /proc/self/fd /root/dev/fd
mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
bin=$(arg sluice.bin)
say "kernel $(uname -r)"
for test in $(arg sluice.tests | tr , ' '); do
	say "start $test"
	case $test in
	*.sh) command=$(arg sluice.lab)/$test ;;
	*) command=$bin/$test ;;
	esac
	chroot /root /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin SLUICE_UNDER_EMULATION=1 BUILD="${bin%/bin}" \
		"$command"
	say "result $test $?"
done
stop "all done"
