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

# A test's own, of what it made besides; what it comes to is of no interest.
tidy() { :; }

cluster_test_end() {
	local status=$?
	tidy || true
	[ "$failures" -eq 0 ] && [ "$status" -eq 0 ] || show_logs
	cluster down || true
	[ "$status" -eq 0 ] || { echo "FAIL ended early with status $status"; exit 1; }
	[ "$failures" -eq 0 ] || { echo "$failures failed"; exit 1; }
}

# ---- what comes out of the nodes' uplinks ----

# Writes every frame of it down from now on, under a name.
uplinks_start() { # NAME
	local n
	rm -f $folder/canary-"$1"-[12].json
	for n in 1 2; do
		cluster exec fabric python3 "$top/tools/lab/canary.py" "$folder/canary-$1-$n.json" up$n </dev/null >/dev/null 2>&1 &
	done
	for n in 1 2; do
		timeout 20 sh -c "until grep -qs listening $folder/canary-$1-$n.json; do sleep 0.1; done"
	done
}

# What is still under way is waited for; afterwards a count fails where frames were lost.
uplinks_stop() { # NAME
	local n
	sleep 0.5
	for n in 1 2; do
		cluster exec fabric kill "$(head -n 1 "$folder/canary-$1-$n.json" | jq .pid)"
		timeout 20 sh -c "until tail -n 1 $folder/canary-$1-$n.json | grep -q ended; do sleep 0.1; done"
	done
}

# How many of them satisfy the Python expression over r (tools/lab/canary.py).
uplink_count() { # NAME NODE-NUMBER EXPRESSION
	python3 "$top/tools/lab/canary.py" --count "$folder/canary-$1-$2.json" "$3"
}

# Of both nodes together.
uplinks_count() { # NAME EXPRESSION
	local one two
	one=$(uplink_count "$1" 1 "$2") && two=$(uplink_count "$1" 2 "$2") || { echo unknown; return 1; }
	echo $((one + two))
}
