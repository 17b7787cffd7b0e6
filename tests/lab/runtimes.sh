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
	FRAMES_WAY=sockets
	await 30 pod true || { cat "$(lab_dir)/log/gvisor.log"; return 1; }
	check "the pod is gVisor's" grep -q gVisor < <(pod dmesg)
}

runtime_start() { # gvisor|kata, or nothing: an ordinary pod
	RUNTIME=${1:-}
	[ -z "$RUNTIME" ] || "${RUNTIME}_start"
}
