# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the tests of Sluice on a cluster begin with: sourced. A cluster (the one that is up, or one of the test's own, which
# goes down with it), Sluice's image on its nodes, the chart, and its end. README.md says what comes how.
# shellcheck source=tests/cluster/testlib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../cluster/testlib.sh"
tests_k8s=$top/tests/k8s
# shellcheck disable=SC2034 # the tests' own
manifests=$tests_k8s/manifests
chart=$top/charts/sluice

h() { cluster helm "$@" 2> >(grep -v 'found symbolic link' >&2); }

# Until a command succeeds; its last words when it does not. SECONDS COMMAND…
within() {
	local output end=$((SECONDS + $1))
	shift
	until output=$("$@" 2>&1); do
		[ "$SECONDS" -lt "$end" ] || { echo "not within the time: $output"; return 1; }
		sleep 0.3
	done
}
not() { ! "$@"; }
checked_within() { # DESCRIPTION SECONDS COMMAND…
	check "$1" within "${@:2}"
}

# ---- a cluster, and the image on it ----

k8s_begin() { # UP-OPTION…
	trap k8s_end EXIT
	if [ -e $folder/ready ]; then
		own_cluster=''
	else
		own_cluster=yes
		trap - EXIT
		cluster_test_begin "$@"
		trap k8s_end EXIT
		cluster up "$@" >"$(mktemp)" || { echo "FAIL tools/cluster up"; exit 1; }
	fi
	load_image
}

# Once for a cluster: SLUICE_BUILD is the folder of an optimised build to take the programs from.
load_image() {
	local work log
	[ ! -e $folder/sluice-image ] || return 0
	work=$(mktemp -d)
	log=$work/log
	if ! { "$top/tools/image" --output "$work" --tag test ${SLUICE_BUILD:+--build "$SLUICE_BUILD"} &&
		cluster load "$work"/sluice-*.tar; } >"$log" 2>&1; then
		tail -n 20 "$log"
		rm -rf "$work"
		echo "FAIL the image"
		exit 1
	fi
	rm -rf "$work"
	touch $folder/sluice-image
}

# Nothing of a test is left for the next one on the same cluster.
k8s_end() {
	local status=$?
	if [ -e $folder/ready ]; then
		[ "$failures" -eq 0 ] && [ "$status" -eq 0 ] || sluice_logs
		[ -n "$own_cluster" ] || k8s_clean >/dev/null 2>&1 || echo "cannot clean up" >&2
	fi
	if [ -n "$own_cluster" ]; then cluster down || true; fi
	[ "$status" -eq 0 ] || { echo "FAIL ended early with status $status"; exit 1; }
	[ "$failures" -eq 0 ] || { echo "$failures failed"; exit 1; }
}

k8s_clean() {
	k delete namespace -l sluice.dev/test=true --timeout=60s || true
	sluice_uninstall || true
	k delete crd -l app.kubernetes.io/name=sluice --timeout=30s || true
	nodes_clean
}

# What uninstalling leaves in force: the next test does not inherit it.
nodes_clean() {
	local n
	for n in node1 node2; do
		cluster exec $n "${SLUICE_BUILD:-$top/build/release}/bin/bpfctl" cleanup || true
		cluster exec $n rm -rf /run/sluice /var/lib/sluice
	done
}

sluice_logs() {
	local p
	k get pods -A -o wide || true
	for p in $(k -n kube-system get pods -l app.kubernetes.io/name=sluice -o name 2>/dev/null); do
		echo "--- $p"
		k -n kube-system describe "$p" | tail -n 15 || true
		k -n kube-system logs "$p" --all-containers --prefix --tail=40 || true
	done
}

# ---- the chart ----

sluice_install() { # HELM-OPTION…
	h upgrade --install sluice "$chart" --namespace kube-system -f "$tests_k8s/values.yaml" "$@" >/dev/null &&
		sluice_ready
}
sluice_ready() { k -n kube-system rollout status daemonset/sluice --timeout=120s; }
sluice_uninstall() { h uninstall sluice --namespace kube-system --wait --timeout 90s; }
sluice_pod() { # NODE
	k -n kube-system get pods -l app.kubernetes.io/name=sluice --field-selector "spec.nodeName=$1" -o name
}
sluice_exec() { # NODE COMMAND…: in the agent's container
	k -n kube-system exec "$(sluice_pod "$1")" -c agent -- "${@:2}"
}
bpfctl() { sluice_exec "$1" bpfctl "${@:2}"; } # NODE ARGUMENT…

# ---- pods ----

test_namespace() { # NAME
	k create namespace "$1" >/dev/null
	k label namespace "$1" sluice.dev/test=true >/dev/null
}

# Two of each runtime, one on each node: runc1 gvisor1 runc2 gvisor2, the reference agent's image and credentials.
test_pods() { # NAMESPACE LABELS
	local n r
	k -n "$1" create serviceaccount agent >/dev/null
	for n in 1 2; do
		for r in runc gvisor; do
			NAME=$r$n NODE=node$n RUNTIME=${r#runc} LABELS=$2 python3 -c 'import os, re, sys
sys.stdout.write(re.sub(r"\$(\w+)", lambda m: os.environ[m.group(1)], sys.stdin.read()))' <"$manifests/pod.yaml" |
				sed '/runtimeClassName: *$/d' | k -n "$1" apply -f - >/dev/null
		done
	done
	k -n "$1" wait --for=condition=Ready pod --all --timeout=90s
}

# The five outcomes in one line, of a pod: PASS PASS PASS BLOCKED BLOCKED under the default allowlist.
outcomes() { # NAMESPACE POD FAMILY
	k -n "$1" exec "$2" -- python3 /opt/lab/agent.py "$3" 2>&1 | sed -nE 's/^[1-5]\. ([A-Z]+):.*/\1/p' | paste -sd' '
}
