#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
# PID 1 of the guest machine that stands for a Kata pod (runtimes.sh): the node's files read-only over 9p, the pod's addresses
# on a virtio interface, commands over a serial port (guest.py).
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

arg() {
	sed -n "s/.*[[:space:]]$1=\([^[:space:]]*\).*/\1/p" /proc/cmdline
}

for module in virtio_pci virtio_net virtio_console 9pnet_virtio 9p; do
	modprobe "$module" || echo "guest: no module $module"
done
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose root /root || poweroff -f
mount -t tmpfs -o mode=1777 tmpfs /root/tmp
mount -t proc proc /root/proc
mount -t sysfs sys /root/sys
mount -t devtmpfs dev /root/dev
lab=$(arg sluice.lab)
for f in resolv.conf hosts nsswitch.conf; do
	mount --bind "/root$lab/pods/$(arg sluice.pod)/$f" "/root$(chroot /root /usr/bin/readlink -m "/etc/$f")"
done

# As pod_up of tools/lab/topology.sh does it.
gateway=$(arg sluice.gateway)
chroot /root /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -ec "
	for i in all default eth0; do
		echo 0 >/proc/sys/net/ipv6/conf/\$i/accept_ra
		echo 0 >/proc/sys/net/ipv6/conf/\$i/accept_dad
	done
	ip link set lo up
	ip address add $(arg sluice.address4)/32 dev eth0
	ip address add $(arg sluice.address6)/128 dev eth0 nodad
	ip link set eth0 mtu 9001 up
	for a in 169.254.1.1 fe80::1; do ip neigh replace \$a lladdr $gateway dev eth0 nud permanent; done
	ip route add 169.254.1.1 dev eth0 scope link
	ip route add default via 169.254.1.1 dev eth0
	ip -6 route add fe80::1 dev eth0
	ip -6 route add default via fe80::1 dev eth0" || echo "guest: no network"
chroot /root /usr/bin/python3 "$(arg sluice.guest)" serve
echo "guest: ended"
poweroff -f
