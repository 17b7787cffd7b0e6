# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What every test of the cluster begins with: sourced. Checks that print one line each, the exit code, and a cluster that goes
# down with the test, however that ends.

set -Eeuo pipefail
[ "$(id -u)" = 0 ] || { echo "skipped: needs root"; exit 77; }
tests_cluster=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
top=$(readlink -f "$tests_cluster/../..")
# shellcheck disable=SC2034 # the tests' own
manifests=$tests_cluster/manifests
folder=/var/lib/sluice-cluster

failures=0
pass() { echo "ok   $*"; }
fail() {
	echo "FAIL $*"
	failures=$((failures + 1))
}

# DESCRIPTION COMMAND…: the command must succeed.
check() {
	local what=$1 output
	shift
	if output=$("$@" 2>&1); then pass "$what"; else fail "$what: $(tail -n 3 <<<"$output")"; fi
}

# DESCRIPTION WANTED GOT
equal() {
	if [ "$2" = "$3" ]; then pass "$1"; else fail "$1: wanted '$2', got '$3'"; fi
}

cluster() { "$top/tools/cluster" "$@"; }
k() { cluster kubectl "$@"; }

# For a test that brings a cluster up. Somebody's running one is left alone.
cluster_test_begin() { # UP-OPTION…
	[ ! -e $folder ] || { echo "skipped: a cluster is up here already"; exit 77; }
	cluster_test_build "$@"
	export CLUSTER_OWNER=$$
}

# Builds, or skips where that cannot be done.
cluster_test_build() { # UP-OPTION…
	local log
	[ "$(uname -m)" = x86_64 ] || { echo "skipped: only tried on x86-64"; exit 77; }
	log=$(mktemp)
	if ! cluster build "$@" >"$log" 2>&1; then
		tail -n 5 "$log"
		rm -f "$log"
		# Without the package archives there is no cluster; whatever else went wrong is a failure.
		timeout 20 curl -sf -o "$log" https://proxy.golang.org/golang.org/toolchain/@v/list ||
			{ rm -f "$log"; echo "skipped: cannot fetch what the cluster is built from"; exit 77; }
		rm -f "$log"
		echo "FAIL tools/cluster build"
		exit 1
	fi
	cat "$log" # what had to be built, and how long it took
	rm -f "$log"
}

show_logs() {
	local l
	[ -e $folder ] || return 0
	cluster kubectl get pods -A -o wide || true
	for l in up addons; do
		[ ! -s $folder/log/$l.log ] || { echo "--- $l.log"; tail -n 25 $folder/log/$l.log; }
	done
}

cluster_test_end() {
	local status=$?
	[ "$failures" -eq 0 ] && [ "$status" -eq 0 ] || show_logs
	cluster down || true
	[ "$status" -eq 0 ] || { echo "FAIL ended early with status $status"; exit 1; }
	[ "$failures" -eq 0 ] || { echo "$failures failed"; exit 1; }
}
