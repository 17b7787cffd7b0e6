#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The egress filter that the DNS proxy puts on its own cgroup (hazard 23): what a process in its place can still reach; and how
# the proxy finds that cgroup where a container's view of it is all it has.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

lab_begin
root=$(sed -nE 's/.* (\/[^ ]*) [^ ]* .*- cgroup2 .*/\1/p' /proc/self/mountinfo | head -n 1)
[ -n "$root" ] || { echo "no cgroup2 mounted here"; exit 77; }
own=$root/sluice-test-$$
tidy() {
	echo 1 >"$own/cgroup.kill" || true
	for _ in {1..40}; do
		rmdir "$own/sub/proxy" "$own/sub" "$own/runc" "$own" || true
		[ -d "$own" ] || break
		sleep 0.1
	done
}
mkdir -p "$own/sub/proxy"
log=$(lab_dir)/log/sluice-dnsproxy.log

# On the node, in the proxy's cgroup: what it could do if it were somebody else's.
place=$own/sub/proxy
within() {
	# shellcheck disable=SC2016 # expanded by the inner shell
	node sh -c 'echo 0 >"$1/cgroup.procs"; shift; exec "$@"' sh "$place" "$@"
}
reaches() { # tcp|udp ADDRESS PORT
	within /usr/bin/python3 - "$@" <<-'END' 2>/dev/null
		import socket, sys
		kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
		family = socket.AF_INET6 if ":" in address else socket.AF_INET
		if kind == "tcp":
		    socket.create_connection((address, port), timeout=2)
		else:
		    s = socket.socket(family, socket.SOCK_DGRAM)
		    s.settimeout(2)
		    # A query for pypi.org, A.
		    s.connect((address, port))
		    s.send(bytes.fromhex("1234010000010000000000000470797069036f72670000010001"))
		    s.recv(512)
	END
}
resolves() { [ "$(ask 8.8.8.8 pypi.org A "$@")" = 203.0.113.10 ]; }
filter_warned() { [[ $(bpfctl status) == *"dns proxy: no egress filter"* ]]; }
proxy_serves() { grep -q '^sluice-dnsproxy: serving' "$log" && proxy_runs; }

# In the cgroup $1, under the command $2….
proxy_in() {
	# shellcheck disable=SC2016 # expanded by the inner shell
	lab start node sluice-dnsproxy sh -c 'echo 0 >"$1/cgroup.procs"; shift; exec "$@"' sh "$@" "$BUILD/bin/sluice-dnsproxy"
	await 10 proxy_serves
}
# With a cgroup namespace of its own, as a container has, and what the shell command $1 leaves mounted.
contained() {
	# shellcheck disable=SC2016 # expanded by the inner shell
	proxy_in "$own/sub/proxy" unshare --cgroup --mount --propagation private sh -c "$1"'; exec "$0"'
}
proxy_stop() {
	lab signal sluice-dnsproxy TERM
	await 5 stopped
	: >"$log"
}
stopped() { ! lab alive sluice-dnsproxy; }
views() { sed -nE 's/.* (\/[^ ]*) [^ ]* .*- cgroup2? .*/\1/p' /proc/self/mountinfo | sort -r; }
hide_all() { for m in $(views); do echo "umount $m;"; done; }

sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"
sluice_start_agent
await 10 agent_answers

for kind in "tcp 6.6.6.6 443" "tcp 2001:db8:666::6 443" "udp 8.8.8.8 53" "udp 172.20.0.10 53"; do
	# shellcheck disable=SC2086 # words
	check "control: without a proxy in it the cgroup reaches $kind" reaches $kind
done

held() { # HOW
	check "$1: the filter is on the cgroup" grep -q "^sluice-dnsproxy: cgroup .* lets out queries to the resolvers" "$log"
	check "$1: names resolve by UDP" resolves
	check "$1: and by TCP" resolves +tcp
	check "$1: the trusted resolver can be asked" reaches udp 172.20.0.10 53
	for kind in "tcp 6.6.6.6 443" "tcp 2001:db8:666::6 443" "udp 8.8.8.8 53" "tcp 203.0.113.10 443"; do
		# shellcheck disable=SC2086 # words
		check "$1: no way to $kind" not reaches $kind
	done
	check "$1: status has nothing to say" not filter_warned
}

check "started as a unit is" proxy_in "$own/sub/proxy" env
held "unit"
proxy_stop

# What a container runtime gives a container on a machine with cgroup2 only.
check "started with a view of its own cgroup only" contained "$(hide_all) mount -t cgroup2 -o ro cgroup2 $root"
held "own view"
proxy_stop

check "started with the host's view, in a cgroup namespace" contained true
held "host's view"
proxy_stop

# A real one: runc where there is nothing but cgroup2, with the capabilities that the chart gives.
capabilities='"CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_BPF", "CAP_SETUID", "CAP_SETGID", "CAP_SYS_CHROOT"'
bundle() { # FOLDER
	mkdir -p "$1/rootfs"
	cat >"$1/config.json" <<-END
		{"ociVersion": "1.0.2",
		 "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/usr/sbin:/usr/bin"], "noNewPrivileges": true,
		  "args": ["$BUILD/bin/sluice-dnsproxy"],
		  "capabilities": {"bounding": [$capabilities], "effective": [$capabilities], "permitted": [$capabilities]}},
		 "root": {"path": "rootfs", "readonly": true},
		 "mounts": [
		  {"destination": "/proc", "type": "proc", "source": "proc"},
		  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
		  {"destination": "/sys", "type": "bind", "source": "/sys", "options": ["bind", "ro"]},
		  {"destination": "/sys/fs/bpf", "type": "bind", "source": "/sys/fs/bpf", "options": ["rbind", "rw"]},
		  {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
		  {"destination": "/run", "type": "bind", "source": "/run", "options": ["rbind", "ro"]}],
		 "linux": {"cgroupsPath": "/$(basename "$own")/runc",
		  "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "cgroup"}]}}
	END
}
if command -v runc >/dev/null; then
	bundle "$(lab_dir)/bundle"
	# shellcheck disable=SC2016 # expanded by the inner shell
	lab start node sluice-dnsproxy unshare --mount --propagation private sh -c "$(hide_all)"'
		mount -t cgroup2 none /sys/fs/cgroup
		cd "$1"
		mount --bind / rootfs
		exec runc --root "$1/state" run "$2"' sh "$(lab_dir)/bundle" "t-$$"
	check "started in a container of runc's" await 10 proxy_serves
	place=$own/runc
	held "runc"
	place=$own/sub/proxy
	echo 1 >"$own/runc/cgroup.kill"
	await 5 stopped
	: >"$log"
else
	echo "note: no runc here"
fi

# Where it cannot be, that is told. What an earlier proxy was held by goes with its cgroup.
rmdir "$own/sub/proxy"
mkdir "$own/sub/proxy"
check "started without any view" contained "$(hide_all) true"
check "the log says that there is no filter" grep -q 'no egress filter: no cgroup2 found' "$log"
check "status says it" filter_warned
check "names resolve all the same" resolves
check "control: nothing is held" reaches tcp 6.6.6.6 443
proxy_stop
rmdir "$own/sub/proxy"
lab start node other sh -c "echo 0 >$own/sub/cgroup.procs; exec sleep 100"
await 5 grep -q . "$own/sub/cgroup.procs"
check "started in a cgroup of others too" proxy_in "$own/sub" env
check "it leaves them alone and says so" grep -q "no egress filter: cgroup $own/sub is not the proxy's own" "$log"
check "status says that too" filter_warned
