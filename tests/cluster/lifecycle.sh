#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `tools/cluster down` leaves nothing: the machine is compared before `up` and after `down`, with pods of both runtimes running,
# after a `kill -9` of `up` half-way, and after the one who owned the cluster was killed.
# shellcheck source=tests/cluster/testlib.sh
. "$(dirname "$(readlink -f "$0")")/testlib.sh"
cluster_test_begin
trap cluster_test_end EXIT

# The cluster's processes: all below its first one. Each by pid and start time, so that it is known again.
members() {
	local first p
	read -r first _ <$folder/init
	ps -eo pid=,ppid= | awk -v first="$first" '
		{ parent[$1] = $2 }
		END { for (p in parent) { q = p; while (q > 1 && q != first) q = parent[q]; if (q == first) print p } }' |
		while read -r p; do echo "$p $(started "$p")"; done
}
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# Those of the file's processes that still run.
survivors() {
	local p start
	while read -r p start; do
		[ -z "$start" ] || [ "$(started "$p")" != "$start" ] || echo "process $p $(tr '\0' ' ' <"/proc/$p/cmdline")"
	done <"$1"
}

# All else that the cluster could leave behind, in the machine's own namespaces.
traces() {
	sed -nE 's/^[^ ]+ ([^ ]+) .*/mount \1/p' /proc/mounts
	ip -o link | awk '{ print "link", $2 }'
	ip netns list | sed 's/^/namespace /'
	find /sys/fs/cgroup -maxdepth 4 \( -name '*sluice-cluster*' -o -name 'kubepods*' \) 2>/dev/null | sed 's/^/cgroup /'
	find /var/lib /var/log /run /etc/cni /opt /tmp -maxdepth 2 \( -name '*kube*' -o -name '*containerd*' -o -name '*runsc*' \
		-o -name '*sluice-cluster*' -o -name pods -o -name cni -o -name 'mmdebstrap*' \) 2>/dev/null | sed 's/^/file /'
	sysctl vm.overcommit_memory kernel.panic kernel.panic_on_oops vm.panic_on_oom fs.inotify.max_user_instances \
		net.ipv4.ip_forward
}
compare() { # WHAT
	local got
	traces >"$work/after"
	got=$(survivors "$work/members"; diff "$work/before" "$work/after") || true
	equal "$1 leaves nothing" "" "$got"
}
# The comparison must see what is to be compared, or it would prove nothing.
note_members() { # AT-LEAST
	members >"$work/members"
	check "at least $1 processes of the cluster are known" test "$(survivors "$work/members" | wc -l)" -ge "$1"
}

work=$(mktemp -d)
tidy() { rm -rf "$work"; }
traces >"$work/before"

check "up" cluster up
k apply -f "$manifests/peers.yaml" >/dev/null
check "pods of both runtimes run" k wait --for=condition=Ready pod -l app=peer --timeout=90s
traces >"$work/during"
check "the comparison would notice a cluster" sh -c "! cmp -s '$work/before' '$work/during'"
note_members 40
check "down" cluster down
compare "down"
check "down when there is nothing" cluster down

# Half-way: after namespaces and links are there, before the nodes are Ready.
"$top/tools/cluster" up >"$work/up.log" 2>&1 &
up=$!
timeout 60 sh -c "until grep -qs 'two nodes' $folder/progress; do sleep 0.1; done"
kill -KILL $up
wait $up 2>/dev/null || true
note_members 5
check "a killed up is no cluster" sh -c "! '$top/tools/cluster' status"
check "down after it" cluster down
compare "down after kill -9 of up"

# The owner.
sleep 600 &
owner=$!
CLUSTER_OWNER=$owner cluster up >"$work/up.log" 2>&1 || fail "up with an owner: $(tail -n 3 "$work/up.log")"
note_members 30
kill -KILL $owner
wait $owner 2>/dev/null || true
check "the cluster ends with its owner" timeout 180 sh -c "while [ -e $folder ]; do sleep 0.2; done"
sleep 1
compare "the owner's end"
