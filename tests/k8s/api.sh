#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A real API server (etcd, kube-apiserver) on the lab's node, and the lab's pods as its objects: policies, labels and pods come
# and go through it, and it goes away itself. No kubelet: what one would write to a pod's status is written here.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lab/lib.sh"

# shellcheck source=tests/k8s/apiserver.sh
. "$(dirname "$(readlink -f "$0")")/apiserver.sh"
export SLUICE_EXTRA SLUICE_INTERFACES='{auto: true, prefixes: [eni]}'
SLUICE_EXTRA="kubernetes: {enabled: true, nodeName: node1, kubeconfig: $(lab_dir)/kube/kubeconfig}"

log() { cat "$(lab_dir)/log/sluiced.log"; }
in_log() { grep -qE "$1" <<<"$(log)"; }
policy() { endpoint_field policy_id; }
ready() { [ "$(node curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9964/readyz)" = "$1" ]; }

is() { # MODE [POD]
	[ "$(endpoint_field mode "${2:-$POD_PATH}")" = "$1" ]
}
as_listed() {
	ask 172.20.0.10 pypi.org A >/dev/null
	check "$1: what is listed works" connects 203.0.113.10 443
	check "$1: the rest is denied" not connects 8.8.8.8 443
}

# ---- the agent meets an empty cluster ----

lab_begin >&2
sed -i '/^dns:/d' "$(lab_dir)/sluice/sluice.yaml"
cluster_start
make_dns_service
quietly k create namespace agent-sandboxes
sluice_start_agent
await 10 agent_answers
check "ready, once the API was heard whole" await 20 ready 200
sluice_start_proxy
check "the proxy runs" await 10 proxy_runs
equal "the cluster's DNS Service is the resolver" "172.20.0.10:53" \
	"$(bpfctl -o json status | json 'x["agent"]["details"]["resolvers"][0]')"
unknown() { bpfctl -o json status | json 'x["agent"]["details"]["interfaces"]["unknown"]'; }
check "interfaces of no known pod are in quarantine" [ "$(unknown)" = 2 ]
check "and nothing gets out of them" not connects 203.0.113.10 443

# ---- a pod, a policy, a label ----

quietly make_pod agent-sandboxes sandbox-agent "egress-tier: sandbox"
sleep 1
check "a pod without an address has no interface yet" not is open
quietly run_pod agent-sandboxes sandbox-agent 10.0.1.5 fd00::5
check "a pod that nothing selects is open" await 10 is open
check "it reaches anything" connects 8.8.8.8 443
quietly crd ciliumnetworkpolicies CiliumNetworkPolicy cilium.io v2 Namespaced
await 10 quiet k get ciliumnetworkpolicies -A
quietly k apply -f "$MANIFESTS/sandbox-cnp.yaml"
check "a kind that is installed later is found, and its policy enforced" await 40 is enforce
as_listed "policy by the API"
equal "five outcomes" "PASS PASS PASS BLOCKED BLOCKED" "$(outcomes)"
quietly k label pod -n agent-sandboxes sandbox-agent egress-tier-
check "a label taken off leads to another policy" await 5 is open
quietly k label pod -n agent-sandboxes sandbox-agent egress-tier=sandbox
check "and put on again, back" await 5 is enforce

# ---- refused ----

before=$(policy)
quietly k patch ciliumnetworkpolicy -n agent-sandboxes sandbox-llm-allowlist --type json \
	-p '[{"op": "add", "path": "/spec/egress/1/toFQDNs/1", "value": {"matchNames": "a.example.com"}}]'
check "a refused edit is told by its path in the object" await 5 in_log 'sandbox-llm-allowlist: spec\.egress\[1\]\.toFQDNs\[1\]'
equal "its last good text stays in force" "$before" "$(policy)"
check "policy get says so" grep -q 'toFQDNs\[1\]' < <(bpfctl -o json policy get)
quietly k apply -f "$MANIFESTS/sandbox-cnp.yaml"

# ---- the API goes away ----

lab signal kube-apiserver KILL
as_listed "API server away"
lab signal sluiced TERM
await 10 not lab alive sluiced
sluice_start_agent
await 10 agent_answers
check "an agent that starts meanwhile is not ready" ready 503
as_listed "API server away, agent new"
check "what is in force stays" is enforce
lab add default late 10.0.1.7 fd00::7
check "a new pod is in quarantine" await 5 [ "$(unknown)" -ge 1 ]
check "and nothing gets out of it" not quiet lab pod late python3 -c 'import socket
socket.create_connection(("203.0.113.10", 443), timeout=2)'
api_start
check "the API is back: ready" await 60 ready 200
as_listed "API server back"
quietly make_pod default late "app: late"
quietly run_pod default late 10.0.1.7 fd00::7
check "the new pod is known now" await 10 is open default/late

# ---- a pod of the same name ----

quietly k delete pod -n agent-sandboxes sandbox-agent --grace-period=0 --force --wait=false
check "a deleted pod's interface is in quarantine" await 10 not is enforce
check "and nothing gets out of it" not connects 203.0.113.10 443
quietly make_pod agent-sandboxes sandbox-agent "app: other"
sleep 1
check "another pod of that name is not put on it before its address is known" not is open
quietly run_pod agent-sandboxes sandbox-agent 10.0.1.99 fd00::99
sleep 1
check "nor when its address is another" not connects 203.0.113.10 443
quietly run_pod agent-sandboxes sandbox-agent 10.0.1.5 fd00::5
check "only when a route leads to it" await 10 is open

# ---- by the CNI's word, before the kubelet tells the address ----

cni_add() { cni_add_pod default late "$1" "$2" 10.0.1.7 fd00::7; } # UID WAIT
first_packet() { first_packet_of late "$@"; }
rewire() { # a new sandbox of that name, with the interface name and addresses of the one before
	unwire late 10.0.1.7 fd00::7
	lab add default late 10.0.1.7 fd00::7
}
has_policy() { grep -q "$1" < <(bpfctl -o json policy get); }
claimed() { [ "$(bpfctl -o json status | json "x['agent']['details']['kubernetes']['claimed']")" = "$1" ]; }

quietly k apply -f - <<-END
	apiVersion: cilium.io/v2
	kind: CiliumNetworkPolicy
	metadata: {name: late, namespace: default}
	spec:
	  endpointSelector: {matchLabels: {app: strict}}
	  egress: [{toCIDR: [203.0.113.10/32]}]
END
quietly k delete pod -n default late --grace-period=0 --force --wait=false
quietly make_pod default late "app: strict"
uid=$(uid_of default late)
rewire
equal "ADD waits for no status.podIP" "" "$(cni_add "$uid" 20)"
check "the first packet that its policy allows gets through" first_packet 203.0.113.10 443
check "and what it does not allow does not" not first_packet 8.8.8.8 443
check "status says that it was claimed" claimed 1
before=$(endpoint_field generation default/late)
quietly run_pod default late 10.0.1.7 fd00::7
sleep 1
equal "what the kubelet tells later changes nothing" "$before" "$(endpoint_field generation default/late)"
quietly run_pod default late 10.0.1.77 fd00::7
check "another address by the API: in quarantine" await 5 not is enforce default/late
check "and it is said" in_log 'default/late: the API has other addresses'
check "nothing gets out" not first_packet 203.0.113.10 443
quietly run_pod default late 10.0.1.7 fd00::7
check "and back" await 5 is enforce default/late

# Recreated; the watch has not heard it yet, and still has the old one with the address that leads to the new interface.
old_uid=$(uid_of default late)
rewire
check "control: by route alone the interface is the old pod's" await 5 is enforce default/late
rewire
check "a uid that the watch does not know waits" grep -q 'starts closed' <<<"$(cni_add 00000000-new 0.5)"
check "and has nothing of the pod of its name" not first_packet 203.0.113.10 443
quietly k delete pod -n default late --grace-period=0 --force --wait=false
quietly make_pod default late "app: late"
new_uid=$(uid_of default late)
check "the new pod has another uid" [ "$new_uid" != "$old_uid" ]
sleep 1
check "a claim of another uid is not the new pod's" not is open default/late
rewire
equal "its own is: ADD returns though nothing selects it" "" "$(cni_add "$new_uid" 20)"
check "open" first_packet 8.8.8.8 443
rewire
quietly k delete pod -n default late --grace-period=0 --force --wait=false
sleep 1
cni_add late-uid 0
check "a pod that the API does not have is in quarantine" not first_packet 8.8.8.8 443
check "nobody but root may claim" not quiet node setpriv --reuid 65534 --regid 65534 --clear-groups \
	python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])' /run/sluice/sluice.sock

# ---- addresses that go from one pod to another, without the CNI's word ----

# The claim of above may have reached the agent before its time was over, and goes with its interface.
rewire
# A finalizer keeps it, as a kubelet keeps a pod whose sandbox has gone.
quietly make_pod default late "app: late"
quietly k patch pod -n default late --type merge -p '{"metadata": {"finalizers": ["example.com/stay"]}}'
quietly run_pod default late 10.0.1.7 fd00::7
check "found by route" await 5 is open default/late
quietly k delete pod -n default late --grace-period=0 --force --wait=false 2>/dev/null
sleep 1
check "a pod that is being deleted keeps its interface" is open default/late
check "and reaches what it may" first_packet 8.8.8.8 443
rewire
sleep 1
check "another interface with its address is not its" not is open default/late
check "nothing gets out of it" not first_packet 8.8.8.8 443
quietly k patch pod -n default late --type merge -p '{"metadata": {"finalizers": null}}'
quietly make_pod default heir "app: strict"
quietly run_pod default heir 10.0.1.7 fd00::7
check "but of the pod that has the address now" await 5 is enforce default/heir
quietly make_pod default twin "app: late"
quietly run_pod default twin 10.0.1.7 fd00::7
check "one address, two pods: in quarantine" await 5 not is enforce default/heir
check "nothing gets out" not first_packet 203.0.113.10 443
check "and nothing of the other's" not first_packet 8.8.8.8 443
quietly k delete pod -n default twin --grace-period=0 --force --wait=false 2>/dev/null
check "and back" await 5 is enforce default/heir

# ---- a namespace that is heard of after its pod ----

quietly crd ciliumclusterwidenetworkpolicies CiliumClusterwideNetworkPolicy cilium.io v2 Cluster
await 10 quiet k get ciliumclusterwidenetworkpolicies
quietly k apply -f - <<-END
	apiVersion: cilium.io/v2
	kind: CiliumClusterwideNetworkPolicy
	metadata: {name: tenants}
	spec:
	  endpointSelector: {matchLabels: {k8s:io.cilium.k8s.namespace.labels.tenant: a}}
	  egress: [{toCIDR: [203.0.113.10/32]}]
END
# A kind that is not there is asked for every 10 to 20 s.
check "the policy of a kind that came is heard" await 30 has_policy tenants
quietly k delete pod -n default heir --grace-period=0 --force --wait=false 2>/dev/null
quietly make_pod tenant-a late "app: late"
quietly run_pod tenant-a late 10.0.1.7 fd00::7
sleep 1
check "a pod of a namespace that is not known yet is not open" not is open tenant-a/late
check "nothing gets out" not first_packet 8.8.8.8 443
quietly k apply -f - <<<'{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant-a", "labels": {"tenant": "a"}}}'
check "its namespace's labels are known: enforced" await 5 is enforce tenant-a/late
check "by its policy" not first_packet 8.8.8.8 443

# ---- a policy goes ----

quietly k label pod -n agent-sandboxes sandbox-agent egress-tier=sandbox
check "enforced" await 5 is enforce
quietly k delete ciliumnetworkpolicy -n agent-sandboxes sandbox-llm-allowlist
check "a policy that is deleted ends" await 5 is open
check "status tells of the cluster" [ "$(bpfctl -o json status | json 'x["agent"]["details"]["kubernetes"]["synced"]')" = True ]
