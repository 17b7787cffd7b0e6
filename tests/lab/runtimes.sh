# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The sandbox-agent pod under other runtimes, sourced after lib.sh: from runtime_start on, `pod` runs its command in a
# gVisor sandbox with its own network stack, or in a guest machine's kernel. The node's end of the veth is as before.

: "${tests_lab:?}" "${top:?}"
# shellcheck source=tools/lab/topology.sh
. "$top/tools/lab/topology.sh"
RUNTIME=
# How frames.py sends there.
# shellcheck disable=SC2034 # the tests' own
FRAMES_WAY=frames

# ---- gVisor --------------------------------------------------------------------------------------------------------

gvisor_folder() { echo "$(lab_dir)/gvisor"; }

# runsc's state is found by its folder, its sandbox only from the network namespace that it sits in. Debian's runsc takes
# any namespace with this file for the machine's own, where it would not want to take addresses away.
runsc() { # OPTION… COMMAND…
	# shellcheck disable=SC2016 # expanded by the inner shell
	lab "${runsc_by[@]}" unshare --mount --propagation private sh -c '
		mount -t tmpfs tmpfs /proc/sys/net/core
		exec runsc "$@"' runsc --root "$(gvisor_folder)/state" --ignore-cgroups --network=sandbox --net-raw \
		--platform=ptrace "$@"
}

# A container as Kubernetes would describe it: this machine's files, read-only, but the pod's own name resolution.
gvisor_bundle() {
	python3 - "$(lab_dir)/pods/$POD" "/run/netns/$POD" >"$(gvisor_folder)/config.json" <<-'END'
		import json, sys
		pod, netns = sys.argv[1:]
		mounts = [{"destination": d, "type": t, "source": t} for d, t in
		          (("/proc", "proc"), ("/sys", "sysfs"), ("/dev", "tmpfs"), ("/tmp", "tmpfs"))]
		mounts += [{"destination": "/etc/" + f, "type": "bind", "source": f"{pod}/{f}", "options": ["bind"]}
		           for f in ("resolv.conf", "hosts", "nsswitch.conf")]
		namespaces = [{"type": t} for t in ("pid", "ipc", "uts", "mount")] + [{"type": "network", "path": netns}]
		process = {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["/bin/sleep", "infinity"], "env": []}
		print(json.dumps({"ociVersion": "1.0.0", "root": {"path": "/", "readonly": True}, "process": process,
		                  "hostname": "sandbox-agent", "mounts": mounts, "linux": {"namespaces": namespaces}}))
	END
}

gvisor_pod() {
	local -a environment runsc_by=(exec "$POD")
	mapfile -t environment < <(pod_environment "$(lab_dir)")
	runsc exec --cap CAP_NET_RAW --cap CAP_NET_ADMIN pod /usr/bin/env -i "${environment[@]}" "$@"
}

gvisor_start() {
	local -a runsc_by=(start "$POD" gvisor)
	command -v runsc >/dev/null || { echo "skipped: no runsc"; exit 77; }
	mkdir -p "$(gvisor_folder)"
	gvisor_bundle
	runsc run --bundle "$(gvisor_folder)" pod
	pod() { gvisor_pod "$@"; }
	# shellcheck disable=SC2034 # evasions.sh's
	FRAMES_WAY=sockets
	await 30 pod true || { cat "$(lab_dir)/log/gvisor.log"; return 1; }
	check "the pod is gVisor's" grep -q gVisor < <(pod dmesg)
}

# ---- Kata ----------------------------------------------------------------------------------------------------------

kata_folder() { echo "$(lab_dir)/kata"; }

# A guest's kernel, its modules and its first process, into the lab's folder; 77 where there is no such kernel.
kata_kernel() {
	(
		# shellcheck disable=SC2034 # kernels/lib.sh's own
		series=6.1 work=$(kata_folder)
		# shellcheck source=tests/kernels/lib.sh
		. "$tests_lab/../kernels/lib.sh"
		prepare_kernel
		make_initramfs "$tests_lab/guest_init.sh" drivers/net/virtio_net.ko drivers/net/net_failover.ko \
			net/core/failover.ko drivers/char/virtio_console.ko
		cp "$cache/$series/boot/vmlinuz-$release" "$work/kernel"
	)
}

# The layout of Kata Containers: the pod's eth0 without addresses, and a tap beside it that has the guest behind it; what
# arrives on either goes out of the other (tc mirred).
kata_network() {
	# shellcheck disable=SC2016 # expanded by the inner shell
	lab exec "$POD" sh -ec '
		ip address flush dev eth0
		ip tuntap add tap0 mode tap vnet_hdr
		ip link set tap0 mtu 9001 up
		for pair in "eth0 tap0" "tap0 eth0"; do
			set -- $pair
			tc qdisc add dev $1 ingress
			tc filter add dev $1 parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev $2
		done'
}

kata_pod() {
	local -a environment
	mapfile -t environment < <(pod_environment "$(lab_dir)")
	python3 "$tests_lab/guest.py" run "$(kata_folder)/commands" /usr/bin/env -i "${environment[@]}" "$@"
}

kata_start() {
	local d own gateway a4 a6 host
	mkdir -p "$(kata_folder)"
	kata_kernel || exit
	d=$(kata_folder)
	read -r _ _ a4 a6 host <"$(lab_dir)/pods/$POD/pod"
	own=$(lab exec "$POD" ip -br link show eth0 | awk '{print $3}')
	gateway=$(node ip -br link show "$host" | awk '{print $3}')
	kata_network
	lab start "$POD" kata qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp 1 -m 1024 -nodefaults -no-reboot \
		-display none -serial "file:$d/console" -kernel "$d/kernel" -initrd "$d/initramfs.gz" \
		-append "console=ttyS0 quiet panic=-1 sluice.lab=$(lab_dir) sluice.pod=$POD sluice.guest=$tests_lab/guest.py \
sluice.address4=$a4 sluice.address6=$a6 sluice.gateway=$gateway end" \
		-fsdev local,id=root,path=/,security_model=none,readonly=on,multidevs=remap \
		-device virtio-9p-pci,fsdev=root,mount_tag=root \
		-netdev tap,id=net,ifname=tap0,script=no,downscript=no,vhost=off \
		-device "virtio-net-pci,netdev=net,mac=$own,host_mtu=9001" \
		-device virtio-serial-pci -chardev "socket,id=commands,path=$d/commands,server=on,wait=off" \
		-device virtserialport,chardev=commands,name=commands
	pod() { kata_pod "$@"; }
	# What is sent before the guest listens waits in the port.
	await 10 test -S "$d/commands" || { cat "$(lab_dir)/log/kata.log"; return 1; }
	timeout 180 python3 "$tests_lab/guest.py" run "$d/commands" /bin/true </dev/null || { cat "$d/console"; return 1; }
	check "the pod is a guest machine's: $(pod uname -r)" [ "$(pod uname -r)" != "$(uname -r)" ]
}

runtime_start() { # gvisor|kata, or nothing: an ordinary pod
	RUNTIME=${1:-}
	[ -z "$RUNTIME" ] || "${RUNTIME}_start"
}
