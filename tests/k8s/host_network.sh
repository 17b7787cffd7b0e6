#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Host-network pods on a cluster: the kubelet's own cgroups, containers by runc. The five outcomes in one that is labelled for it,
# and from its container's first instruction; others are listed with why they are not held.
# shellcheck source=tests/k8s/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
k8s_begin
allowlist='allowlists=[{"template":"sandbox-llm-allowlist","dialect":"cilium","namespaces":["hosts"]}]'

# NAME LABELS [EDIT]: the tests' pod, on node1's own network, all capabilities dropped; EDIT is jq's.
host_pod() {
	NAME=$1 NODE=node1 RUNTIME='' LABELS="egress-tier: sandbox${2:+, $2}" envsubst <"$manifests/pod.yaml" |
		sed '/runtimeClassName: *$/d' | k create -n hosts --dry-run=client -o json -f - |
		jq '.spec.hostNetwork = true | .spec.dnsPolicy = "ClusterFirstWithHostNet" |
			.spec.containers[0].securityContext.capabilities.drop = ["ALL"]'"${3:+ | $3}" | k -n hosts apply -f - >/dev/null
}
told() { # NAME
	bpfctl node1 -o json status | jq -r --arg name "$1" \
		'.agent.details.kubernetes.host_pods[] | select(.namespace == "hosts" and .name == $name) | "\(.state): \(.reason)"'
}
is_told() { grep -qF -- "$2" <<<"$(told "$1")"; }
first() { # a pod's first words: what became of a connection that its container's first instruction tried
	k -n hosts logs "$1" | head -n 1
}

test_namespace hosts
k -n hosts create serviceaccount agent >/dev/null
check "the chart is installed" sluice_install --set crds.install.ciliumNetworkPolicy=auto
check "and has an allowlist" sluice_install --set crds.install.ciliumNetworkPolicy=auto --set-json "$allowlist"
host_pod held "sluice.dev/host-network: enforce"
host_pod free ""
host_pod raw "sluice.dev/host-network: enforce" "del(.spec.containers[0].securityContext)"
check "they run" k -n hosts wait --for=condition=Ready pod --all --timeout=60s
case $(told held) in
"not enforceable: the node's pods are on cgroup v1") # this machine's kubelet keeps none in cgroup2
	pass "a node with cgroup v1 is told"
	equal "and its pods are not held" "PASS PASS PASS REACHED REACHED" "$(outcomes hosts held -4)"
	exit
	;;
esac
checked_within "the labelled one is enforced" 10 is_told held "enforced: "
for family in -4 -6; do equal "it, $family" "PASS PASS PASS BLOCKED BLOCKED" "$(outcomes hosts held $family)"; done
check "the one without is listed" is_told free "not enforced: it has no label sluice.dev/host-network: enforce"
equal "and reaches all" "PASS PASS PASS REACHED REACHED" "$(outcomes hosts free -4)"
check "one that keeps NET_RAW is told" is_told raw "not enforceable: container agent does not drop CAP_NET_RAW"
equal "and is denied what its programs see" "PASS PASS PASS BLOCKED BLOCKED" "$(outcomes hosts raw -4)"
check "Sluice's own is not held" grep -q "^not enforced" <<<"$(bpfctl node1 -o json status | jq -r \
	'.agent.details.kubernetes.host_pods[] | select(.namespace == "kube-system") | "\(.state)"')"
check "the node reaches all" cluster exec node1 curl -sko /dev/null -m 5 https://8.8.8.8

# shellcheck disable=SC2016 # jq's
try='.spec.containers[0].command = ["python3", "-c", "import socket, time\ntry:\n    socket.create_connection((\"8.8.8.8\", 443), 3)\n    print(\"reached\", flush=True)\nexcept OSError as e:\n    print(e.strerror or e, flush=True)\ntime.sleep(1e6)"]'
host_pod control "" "$try"
for i in 1 2 3 4 5; do host_pod "first$i" "sluice.dev/host-network: enforce" "$try"; done
k -n hosts wait --for=condition=Ready pod --all --timeout=60s >/dev/null
said() { [ -n "$(first "$1")" ]; }
within 10 said control
equal "control: a first instruction gets through" reached "$(first control)"
for i in 1 2 3 4 5; do
	within 10 said "first$i"
	equal "first$i: denied from the first instruction" "Operation not permitted" "$(first "first$i")"
done
k -n hosts label pod held sluice.dev/host-network- >/dev/null
checked_within "the label taken off: let go" 10 is_told held "not enforced"
equal "it reaches all" "PASS PASS PASS REACHED REACHED" "$(outcomes hosts held -4)"
