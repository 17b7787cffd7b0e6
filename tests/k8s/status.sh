#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What users are told through a real API server: two agents, each a node of its own with nothing but its own rights, of which
# one writes for both. The second one runs on the other side of the node's uplink: two on one node would each put its programs
# before the other's.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lab/lib.sh"
# shellcheck source=tests/k8s/apiserver.sh
. "$(dirname "$(readlink -f "$0")")/apiserver.sh"
kube=$(lab_dir)/kube
export SLUICE_EXTRA SLUICE_INTERFACES='{auto: true, prefixes: [eni]}'
SLUICE_EXTRA="kubernetes: {enabled: true, status: true, startupTaint: sluice.dev/agent-not-ready, nodeName: node1, kubeconfig: $kube/agent.kubeconfig}"

release() {
	node env HOME="$kube" "$KUBE_BIN/helm" --kubeconfig "$kube/kubeconfig" -n kube-system "$1" sluice "$top/charts/sluice" \
		"${@:2}" 2> >(grep -v 'found symbolic link' >&2)
}
holder() { k -n kube-system get lease sluice -o 'jsonpath={.spec.holderIdentity}'; }
holder_is() { [ "$(holder)" = "$1" ]; }
condition() { # TYPE FIELD OBJECT…
	k get -n default "${@:3}" -o "jsonpath={.status.conditions[?(@.type==\"$1\")].$2}"
}
says() { # TYPE FIELD WANTED OBJECT…
	[ "$(condition "$1" "$2" "${@:4}")" = "$3" ]
}
valid() { k wait -n default --for=condition=Valid="${2:-true}" "$1" --timeout=20s; }

# FIELD NAME REASON: of the Events of an object.
event() {
	k get events.v1.events.k8s.io -n default -o json | python3 -c 'import json, sys
print(" ".join(str(e[sys.argv[1]]) for e in json.load(sys.stdin)["items"]
               if (e["regarding"]["name"], e["reason"]) == tuple(sys.argv[2:])))' "$@"
}
has_event() { [ -n "$(event note "$@")" ]; }

# Another node's agent: its own maps, sockets and processor of policies, the same rights.
second_start() {
	local d=$kube/second
	mkdir -p "$d/policies" "$d/run"
	cat >"$d/sluice.yaml" <<-END
		policyDir: $d/policies
		endpointsFile: $d/endpoints.yaml
		runDir: $d/run
		api: {socket: $d/run/sluice.sock}
		bpf: {pinPath: /sys/fs/bpf/second}
		metrics: {listen: ""}
		interfaces: {auto: false, prefixes: []}
		kubernetes: {enabled: true, status: true, startupTaint: sluice.dev/agent-not-ready, nodeName: node2, kubeconfig: $kube/second.kubeconfig}
	END
	sed 's|https://127.0.0.1:|https://10.0.0.10:|' "$kube/agent.kubeconfig" >"$kube/second.kubeconfig"
	lab start internet sluiced-second "$BUILD/bin/sluiced" --config "$d/sluice.yaml"
}

lab_begin >&2
sed -i '/^dns:/d' "$(lab_dir)/sluice/sluice.yaml"
cluster_start

# Exactly the chart's rights, kinds and Lease.
check "installed" quietly release install --set kubernetes.startupTaint=sluice.dev/agent-not-ready \
	--set "crds.install.ciliumNetworkPolicy=true,crds.install.ciliumClusterwideNetworkPolicy=true,crds.install.applicationNetworkPolicy=true,crds.install.awsClusterNetworkPolicy=true,crds.install.clusterNetworkPolicy=true"
k wait --for=condition=Established crd --all --timeout=20s >/dev/null
k -n kube-system create token sluice --duration=1h >"$kube/token"
cat >"$kube/agent.kubeconfig" <<-END
	current-context: lab
	clusters: [{name: lab, cluster: {server: "https://127.0.0.1:6443", certificate-authority: ca.pem}}]
	contexts: [{name: lab, context: {cluster: lab, user: agent}}]
	users: [{name: agent, user: {tokenFile: token}}]
END

# ---- one node writes ----

quietly k apply -f - <<-END
	apiVersion: cilium.io/v2
	kind: CiliumNetworkPolicy
	metadata: {name: good, namespace: default}
	spec: {endpointSelector: {}, egress: [{toFQDNs: [{matchName: example.com}]}]}
	---
	apiVersion: cilium.io/v2
	kind: CiliumNetworkPolicy
	metadata: {name: bad, namespace: default}
	spec: {endpointSelector: {}, egress: [{toCIDR: [192.0.2.0/24]}, {toFQDNs: [{matchName: a.example.com}, {matchRegex: a}]}]}
	---
	apiVersion: cilium.io/v2
	kind: CiliumClusterwideNetworkPolicy
	metadata: {name: wide}
	spec: {endpointSelector: {matchLabels: {a: b}}, egress: [{toFQDNs: [{matchName: example.com}]}]}
	---
	apiVersion: networking.k8s.aws/v1alpha1
	kind: ApplicationNetworkPolicy
	metadata: {name: names, namespace: default}
	spec: {podSelector: {}, policyTypes: [Egress], egress: [{to: [{domainNames: [example.com]}]}]}
	---
	apiVersion: networking.k8s.aws/v1alpha1
	kind: ClusterNetworkPolicy
	metadata: {name: aws}
	spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [{action: Deny, to: [{networks: [192.0.2.0/24]}]}]}
	---
	apiVersion: policy.networking.k8s.io/v1alpha2
	kind: ClusterNetworkPolicy
	metadata: {name: upstream}
	spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [{action: Deny, to: [{networks: [192.0.2.0/24]}]}]}
END
sluice_start_agent
await 10 agent_answers
check "the first node takes the Lease" await 20 holder_is node1
second_start
for o in cnp/good ccnp/wide applicationnetworkpolicy/names clusternetworkpolicies.networking.k8s.aws/aws \
	clusternetworkpolicies.policy.networking.k8s.io/upstream; do
	check "kubectl wait sees $o Valid" quietly valid "$o"
	check "and Enforced" says Enforced status True "$o"
done
check "a refused one is not" quietly valid cnp/bad false
check "and says where" grep -q '^spec\.egress\[1\]\.toFQDNs\[1\]' < <(condition Valid message cnp/bad)
check "nor is it enforced" says Enforced status False cnp/bad
equal "the column of kubectl get" "good True" "$(k get cnp -n default good --no-headers | awk '{print $1, $2}')"

check "an Event says so too" await 20 has_event bad Refused
check "with the place" grep -q '^spec\.egress\[1\]\.toFQDNs\[1\]' < <(event note bad Refused)
check "kubectl describe shows it" grep -q 'Warning *Refused' < <(k describe -n default cnp bad)
check "a valid one has none" not has_event good Refused

# ---- a pod in quarantine ----

quietly k apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: lost, namespace: default}
	spec: {nodeName: node1, containers: [{name: c, image: none}]}
END
sleep 8
check "a pod that has no address yet is no trouble" not has_event lost Quarantined
quietly k patch pod -n default lost --type merge --subresource status -p \
	'{"status":{"phase":"Running","podIP":"10.0.1.77","podIPs":[{"ip":"10.0.1.77"}]}}'
check "one that stays in quarantine has an Event" await 20 has_event lost Quarantined
equal "which says why" "Everything that the pod sends is denied: no interface of the node is known to have its addresses" \
	"$(event note lost Quarantined)"
check "of its uid, for kubectl describe" grep -q 'Warning *Quarantined' < <(k describe -n default pod lost)

# ---- what changes, and what does not ----

since=$(condition Valid lastTransitionTime applicationnetworkpolicy/names)
sleep 1.1
quietly k patch -n default applicationnetworkpolicy names --type json \
	-p '[{"op": "replace", "path": "/spec/egress/0/to/0/domainNames/0", "value": "other.example.com"}]'
check "the generation that it is of is said" await 10 says Valid observedGeneration 2 applicationnetworkpolicy/names
equal "a transition's time stays while there is none" "$since" \
	"$(condition Valid lastTransitionTime applicationnetworkpolicy/names)"
quietly k patch -n default cnp bad --type json -p '[{"op": "remove", "path": "/spec/egress/1/toFQDNs/1"}]'
check "mended, it is valid" quietly valid cnp/bad
before=$(k get cnp -n default good -o 'jsonpath={.metadata.resourceVersion}')
k annotate cnp -n default good a=b >/dev/null
sleep 1
equal "what is as it should be is not written" 1 \
	"$(k get cnp -n default good -o json --show-managed-fields | json '[m["manager"] for m in x["metadata"]["managedFields"]].count("sluice-valid")')"
check "though it changed" [ "$before" != "$(k get cnp -n default good -o 'jsonpath={.metadata.resourceVersion}')" ]

# ---- other writers ----

quietly k apply -f - <<-END
	apiVersion: cilium.io/v2
	kind: CiliumNetworkPolicy
	metadata: {name: theirs, namespace: default}
	spec: {endpointSelector: {matchLabels: {to: nobody}}, egress: [{toFQDNs: [{matchRegex: a}]}]}
END
theirs='{"status":{"conditions":[{"type":"Valid","status":"True","message":"Policy validation succeeded"},
	{"type":"Ready","status":"True"}]}}'
check "first refused" quietly valid cnp/theirs false
quietly k patch cnp -n default theirs --subresource status --type merge -p "$theirs"
sleep 2
equal "what another writer says of Valid stays" "True Policy validation succeeded" \
	"$(condition Valid status cnp/theirs) $(condition Valid message cnp/theirs)"
equal "and so do conditions of other types" True "$(condition Ready status cnp/theirs)"
check "Enforced, which that took away, is there again" await 20 says Enforced reason RefusedBySluice cnp/theirs

# ---- the startup taint ----

has_taint() { grep -qwF "$2" < <(k get node "$1" -o 'jsonpath={.spec.taints[*].key}'); } # NODE KEY
ours=sluice.dev/agent-not-ready
for n in node1 node2 node3; do
	quietly k apply -f - <<-END
		apiVersion: v1
		kind: Node
		metadata: {name: $n}
		spec:
		  taints:
		  - {key: example.com/other, effect: NoSchedule}
		  - {key: $ours, value: "true", effect: NoSchedule}
		  - {key: $ours, value: "true", effect: NoExecute}
	END
done
check "the startup taint goes" await 20 not has_taint node1 $ours
check "of each agent's own node" await 20 not has_taint node2 $ours
check "those of others stay" has_taint node1 example.com/other
check "and the server's own" has_taint node1 node.kubernetes.io/not-ready
quietly k taint node node1 $ours=true:NoSchedule
check "when it is there again, it goes again" await 20 not has_taint node1 $ours
check "a node without an agent keeps it" has_taint node3 $ours

# ---- where Services have their addresses ----

quietly k label pod -n default lost to=world
quietly k patch pod -n default lost --type merge --subresource status -p \
	'{"status":{"phase":"Running","podIP":"10.0.1.5","podIPs":[{"ip":"10.0.1.5"},{"ip":"fd00::5"}]}}'
quietly k apply -f - <<-END
	apiVersion: cilium.io/v2
	kind: CiliumNetworkPolicy
	metadata: {name: world, namespace: default}
	spec: {endpointSelector: {matchLabels: {to: world}}, egress: [{toEntities: [world]}]}
	---
	apiVersion: cilium.io/v2
	kind: CiliumNetworkPolicy
	metadata: {name: good, namespace: default}
	spec: {endpointSelector: {matchLabels: {to: nobody}}, egress: [{toFQDNs: [{matchName: example.com}]}]}
END
quietly k delete -n default cnp bad && quietly k delete -n default applicationnetworkpolicy names
quietly k delete clusternetworkpolicies.networking.k8s.aws/aws clusternetworkpolicies.policy.networking.k8s.io/upstream
reaches() { connects 203.0.113.10 443; }
check "an address of the world is reached" await 20 reaches
quietly k apply -f - <<-END
	apiVersion: networking.k8s.io/v1
	kind: ServiceCIDR
	metadata: {name: more}
	spec: {cidrs: [203.0.113.0/24]}
END
check "not when Services may have it" await 10 not reaches
quietly k delete servicecidr more
check "and again when they may not" await 10 reaches

# ---- AWS's network policy agent beside ours ----

problem() { grep -q "default/lost: AWS's network policy agent" < <(bpfctl -o json status); }
aws_node() { # VALUE of its switch
	quiet k delete pod -n kube-system aws-node-1 --grace-period=0 --force --ignore-not-found
	quietly k apply -f - <<-END
		apiVersion: v1
		kind: Pod
		metadata: {name: aws-node-1, namespace: kube-system, labels: {k8s-app: aws-node}}
		spec:
		  nodeName: node1
		  hostNetwork: true
		  containers:
		  - {name: aws-node, image: none}
		  - {name: aws-eks-nodeagent, image: none, args: [--enable-ipv6=false, --enable-network-policy=$1]}
	END
}
quietly k apply -f - <<-END
	apiVersion: networking.k8s.aws/v1alpha1
	kind: ApplicationNetworkPolicy
	metadata: {name: names, namespace: default}
	spec: {podSelector: {matchLabels: {to: world}}, policyTypes: [Egress], egress: [{to: [{domainNames: [example.com]}]}]}
END
aws_node false
sleep 3
check "with its switch off nothing is said" not problem
aws_node true
check "a pod that it drops everything of is among the problems of bpfctl status" await 10 problem
check "and has an Event" await 20 has_event lost DroppedByNetworkPolicyAgent
check "which says what to do" grep -q 'enableNetworkPolicy=false' < <(event note lost DroppedByNetworkPolicyAgent)
quietly k patch -n default applicationnetworkpolicy names --type json \
	-p '[{"op": "add", "path": "/spec/egress/0/to/1", "value": {"ipBlock": {"cidr": "192.0.2.0/24"}}}]'
check "one with addresses too is not" await 10 not problem

# ---- the holder goes ----

lab signal sluiced TERM
await 10 not lab alive sluiced
equal "the Lease is given back" "" "$(holder)"
check "the second node takes it" await 35 holder_is node2
quietly k apply -f - <<-END
	apiVersion: cilium.io/v2
	kind: CiliumNetworkPolicy
	metadata: {name: later, namespace: default}
	spec: {endpointSelector: {}, egress: [{toFQDNs: [{matchName: example.com}]}]}
END
check "and writes" quietly valid cnp/later
sluice_start_agent
await 10 agent_answers
lab signal sluiced-second KILL
killed=$(monotonic)
check "a holder that was killed is replaced" await 70 holder_is node1
check "not before its time" python3 -c 'import sys; sys.exit(float(sys.argv[2]) - float(sys.argv[1]) < 18)' "$killed" "$(monotonic)"
quietly k delete cnp -n default later
quietly k apply -f - <<-END
	apiVersion: cilium.io/v2
	kind: CiliumNetworkPolicy
	metadata: {name: last, namespace: default}
	spec: {endpointSelector: {}, egress: [{toFQDNs: [{matchName: example.com}]}]}
END
check "and conditions are written again" quietly valid cnp/last
sleep 4
equal "an Event is told once, whoever tells it" 1 "$(event reason theirs Refused | wc -w)"
equal "and of a pod, though its agent started anew" 1 "$(event reason lost Quarantined | wc -w)"
check "status says who writes" [ "$(bpfctl -o json status | json 'x["agent"]["details"]["kubernetes"]["report"]["holder"]')" = node1 ]
check "the agents were refused nothing" not grep -qE '403|orbidden' "$(lab_dir)/log/sluiced.log" "$(lab_dir)/log/sluiced-second.log"
