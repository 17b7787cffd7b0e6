# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What all parts of the cluster share: where things lie, addresses, and words with the user. Sourced by tools/cluster and init.
# shellcheck disable=SC2034 # the other parts' own

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
top=$(readlink -f "$here/../..")
# All that a running cluster writes lies here and goes with it.
dir=/var/lib/sluice-cluster
# What was built and fetched; stays.
cache=${SLUICE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/sluice}/cluster
cgroup=sluice-cluster
nodes=(1 2)

POD4=10.20.0.0/16 POD6=fd00:20::/48
SERVICE4=10.96.0.0/16 SERVICE6=fd00:96::/112
CLUSTER_DNS=10.96.0.10
API=https://10.10.0.11:6443

node4() { echo "10.10.0.1$1"; }
node6() { echo "fd00:10::1$1"; }
pods4() { echo "10.20.$1"; }    # .N/32
pods6() { echo "fd00:20:0:$1"; } # ::N/128

say() { printf 'cluster: %s\n' "$*"; }
die() {
	echo "cluster: $*" >&2
	exit 1
}

# $1 seconds at most, then a command (or function) until it succeeds.
await() {
	local i n=$(($1 * 10))
	shift
	for ((i = 0; i < n; i++)); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	echo "cluster: gave up waiting for: $*" >&2
	return 1
}

# The cgroup hierarchies of this machine: one (version 2), or several.
hierarchies() {
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo /sys/fs/cgroup; else ls -d /sys/fs/cgroup/*/; fi
}

# The pid (as seen from where $dir/init was written) and start time of a process in a file: prints the pid if it is still
# that process and not another one with a pid used again.
recorded_pid() { # FILE
	local pid start stat fields
	[ -e "$1" ] || return 1
	read -r pid start <"$1" || return 1
	stat=$(cat "/proc/$pid/stat" 2>/dev/null) || return 1
	read -r -a fields <<<"${stat##*) }"
	[ "${fields[19]}" = "$start" ] && [ "${fields[0]}" != Z ] && echo "$pid"
}
