#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The chart before a real API server, without nodes: what it renders to is taken by the server; helm installs, upgrades and
# uninstalls it; and the agent runs with exactly the rights that the chart gives it, of which it misses each when it is gone.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lab/lib.sh"
# shellcheck source=tests/k8s/apiserver.sh
. "$top/tests/k8s/apiserver.sh"
kube=$(lab_dir)/kube
export SLUICE_EXTRA SLUICE_INTERFACES='{auto: true, prefixes: [eni]}'
SLUICE_EXTRA="kubernetes: {enabled: true, status: true, nodeName: node1, kubeconfig: $kube/agent.kubeconfig}"

h() {
	node env HOME="$kube" "$KUBE_BIN/helm" --kubeconfig "$kube/kubeconfig" -n kube-system "$@" \
		2> >(grep -v 'found symbolic link' >&2)
}
release() { h "$1" sluice "$top/charts/sluice" "${@:2}"; }
crd_names() { k get crd -o name | sed 's,.*/,,' | sort | tr '\n' ' '; }
log() { cat "$(lab_dir)/log/sluiced.log"; }
told() { log | grep -qE "$1"; }
ready() { [ "$(node curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9964/readyz)" = "$1" ]; }

kinds=(ciliumNetworkPolicy ciliumClusterwideNetworkPolicy ciliumCIDRGroup applicationNetworkPolicy awsClusterNetworkPolicy
	clusterNetworkPolicy)
all_kinds=$(printf 'crds.install.%s=auto,' "${kinds[@]}")
all_kinds=${all_kinds%,}

lab_begin >&2
sed -i '/^dns:/d' "$(lab_dir)/sluice/sluice.yaml"
cluster_start

# ---- what is rendered is what a server takes ----

mkdir "$kube/rendered"
/usr/bin/python3 "$top/tests/chart/templates.py" "$KUBE_BIN/helm" --render "$kube/rendered"
release template --kube-version 1.34.4 --set "$all_kinds" -s templates/crds/crds.yaml >"$kube/crds.yaml"
quietly k create -f "$kube/crds.yaml"
k wait --for=condition=Established crd --all --timeout=20s >/dev/null
for f in "$kube"/rendered/*.yaml; do
	check "the server takes: $(basename "$f" .yaml | tr - ' ')" \
		quietly k apply --server-side --force-conflicts --dry-run=server -f "$f"
done
quietly k delete -f "$kube/crds.yaml"

# ---- kinds of policies that somebody else has installed ----

quietly k create -f - <<-END
	apiVersion: apiextensions.k8s.io/v1
	kind: CustomResourceDefinition
	metadata: {name: ciliumnetworkpolicies.cilium.io, annotations: {whose: cilium}}
	spec:
	  group: cilium.io
	  scope: Namespaced
	  names: {kind: CiliumNetworkPolicy, plural: ciliumnetworkpolicies, singular: ciliumnetworkpolicy}
	  versions:
	  - {name: v2, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
END
check "installed, with the kinds that are not there" quietly release install --set "$all_kinds"
equal "five kinds came" 5 "$(k get crd -l app.kubernetes.io/name=sluice -o name | wc -l)"
equal "Cilium's stays Cilium's" cilium "$(k get crd ciliumnetworkpolicies.cilium.io -o jsonpath='{.metadata.annotations.whose}')"
check "upgraded, they stay the release's" quietly release upgrade --set "$all_kinds"
equal "five still" 5 "$(k get crd -l app.kubernetes.io/name=sluice -o name | wc -l)"
quietly k apply -f "$top/policy/templates/anp/sandbox-llm-allowlist.yaml"
equal "a member the schema does not know is kept, for the agent to refuse" '{"futureMember":1}' "$(
	k create -o json -f - <<-END | python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["spec"]["egress"][0]["to"][0]).replace(" ", ""))'
		apiVersion: networking.k8s.aws/v1alpha1
		kind: ApplicationNetworkPolicy
		metadata: {name: future, namespace: default}
		spec: {podSelector: {}, egress: [{to: [{futureMember: 1}]}]}
	END
)"
wrong() { # FIELD MANIFEST
	grep -q "$1" < <(k create -f - 2>&1 <<<"$2")
}
check "a wrong action is refused by the server" wrong 'spec.egress\[0\].action' '
apiVersion: networking.k8s.aws/v1alpha1
kind: ClusterNetworkPolicy
metadata: {name: wrong}
spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [{action: Allow, to: [{networks: [10.0.0.0/8]}]}]}'

# ---- uninstall: the word, before the DaemonSet goes ----

lab start node watch-configmaps "$KUBE_BIN/kubectl" --kubeconfig "$kube/kubeconfig" -n kube-system get configmaps -w \
	--output-watch-events -l sluice.dev/uninstall=true -o 'jsonpath={.type} {.object.metadata.annotations.helm\.sh/hook}{"\n"}'
lab start node watch-daemonsets "$KUBE_BIN/kubectl" --kubeconfig "$kube/kubeconfig" -n kube-system get daemonsets -w \
	--output-watch-events -o 'jsonpath={.type}{"\n"}'
await 10 grep -q ADDED "$(lab_dir)/log/watch-daemonsets.log"
check "uninstalled" quietly h uninstall sluice
sleep 0.5
equal "the agents are told, and the word goes after it" "ADDED pre-delete DELETED pre-delete ADDED post-delete DELETED post-delete " \
	"$(tr '\n' ' ' <"$(lab_dir)/log/watch-configmaps.log")"
check "the DaemonSet went" grep -q DELETED "$(lab_dir)/log/watch-daemonsets.log"
equal "nothing of the release stays in its namespace" "" \
	"$(k -n kube-system get daemonset,configmap,serviceaccount,role,rolebinding -l app.kubernetes.io/name=sluice -o name)"
equal "nor in the cluster" "" "$(k get clusterrole,clusterrolebinding -l app.kubernetes.io/name=sluice -o name)"
equal "the kinds of policies stay" 6 "$(crd_names | wc -w)"
check "and with them the policies" quietly k -n agent-sandboxes get applicationnetworkpolicy sandbox-llm-allowlist
lab signal watch-configmaps TERM
lab signal watch-daemonsets TERM

# ---- the agent's rights: enough ----

check "installed again, its own kinds found" quietly release install --set "$all_kinds"
k -n kube-system create token sluice --duration=1h >"$kube/token"
cat >"$kube/agent.kubeconfig" <<-END
	current-context: lab
	clusters: [{name: lab, cluster: {server: "https://127.0.0.1:6443", certificate-authority: ca.pem}}]
	contexts: [{name: lab, context: {cluster: lab, user: agent}}]
	users: [{name: agent, user: {tokenFile: token}}]
END
collections=(pods namespaces nodes services endpointslices servicecidrs networkpolicies ciliumnetworkpolicies
	ciliumclusterwidenetworkpolicies ciliumcidrgroups applicationnetworkpolicies aws/v1alpha1/clusternetworkpolicies
	io/v1alpha2/clusternetworkpolicies)

k get clusterrole sluice -o json >"$kube/role.json"
# The chart's rules without a verb: PATTERN of the resources that lose it.
rights_without() { # VERB
	python3 -c 'import json, sys
role = json.load(open(sys.argv[1]))
role["metadata"] = {"name": role["metadata"]["name"]}
for rule in role["rules"]:
    rule["verbs"] = [v for v in rule["verbs"] if v != sys.argv[2]]
role["rules"] = [r for r in role["rules"] if r["verbs"]]
print(json.dumps(role))' "$kube/role.json" "$1" | quietly k replace -f -
}
agent_with() { # RIGHTS-WITHOUT-VERB
	rights_without "$1"
	: >"$(lab_dir)/log/sluiced.log"
	sluice_start_agent
	await 10 agent_answers
}
agent_ends() {
	lab signal sluiced TERM
	await 10 not lab alive sluiced
}
refused() { # COLLECTION: that it may not is in the log
	grep -qE "[/.]$1: .*(403|orbidden)" "$(lab_dir)/log/sluiced.log"
}

agent_with none
check "with the chart's rights the agent is ready" await 20 ready 200
sleep 1
check "and is refused nothing" not grep -qE '403|orbidden' "$(lab_dir)/log/sluiced.log"
check "it has a policy" await 10 grep -q sandbox-llm-allowlist < <(bpfctl policy get)
check "and says so" quietly k -n agent-sandboxes wait --for=condition=Valid anp/sandbox-llm-allowlist --timeout=20s
agent_ends

# ---- and none too many: without a verb it says what it may not ----

agent_with list
for c in "${collections[@]}"; do check "without list of $c" await 10 refused "$c"; done
check "it is not ready" ready 503
agent_ends

agent_with watch
for c in "${collections[@]}"; do check "without watch of $c" await 10 refused "$c"; done
agent_ends

# Conditions of the ApplicationNetworkPolicy are there already; of this one, which is refused, they are not.
quietly k create -f - <<-END
	apiVersion: networking.k8s.aws/v1alpha1
	kind: ApplicationNetworkPolicy
	metadata: {name: untold, namespace: default}
	spec: {podSelector: {}, egress: [{to: [{futureMember: 1}]}]}
END
agent_with create
check "without create of Events it says so" await 30 told 'Events cannot be written: .*HTTP status 403'
agent_ends
sed -i 's/status: true/&, startupTaint: sluice.dev\/agent-not-ready/' "$(lab_dir)/sluice/sluice.yaml"
quietly k create -f - <<-END
	apiVersion: v1
	kind: Node
	metadata: {name: node1}
	spec: {taints: [{key: sluice.dev/agent-not-ready, value: "true", effect: NoSchedule}]}
END
agent_with none
check "without patch of Nodes, which is not in the chart without the taint, it says so" \
	await 20 told 'the taint sluice.dev/agent-not-ready stays: HTTP status 403'
agent_ends
quietly k -n default delete anp untold
quietly k create -f - <<-END
	apiVersion: networking.k8s.aws/v1alpha1
	kind: ApplicationNetworkPolicy
	metadata: {name: untold, namespace: default}
	spec: {podSelector: {}, egress: [{to: [{domainNames: [example.com]}]}]}
END
agent_with patch
check "without patch of a policy's status it says so" await 20 told 'ApplicationNetworkPolicy.*untold: HTTP status 403'
check "and is ready all the same" ready 200
agent_ends
for verb in get patch; do
	k -n kube-system get role sluice -o json >"$kube/lease-role.json"
	python3 -c 'import json, sys
role = json.load(open(sys.argv[1]))
for rule in role["rules"]:
    if rule["resources"] == ["leases"]:
        rule["verbs"].remove(sys.argv[2])
print(json.dumps(role))' "$kube/lease-role.json" $verb | quietly k replace -f -
	agent_with none
	check "without $verb of the Lease it says so" await 20 told 'Lease sluice: HTTP status 403'
	agent_ends
	python3 -c 'import json, sys
role = json.load(open(sys.argv[1]))
del role["metadata"]["resourceVersion"]
print(json.dumps(role))' "$kube/lease-role.json" | quietly k replace -f -
done

quietly k delete crd --all
agent_with none
check "no kinds installed: ready all the same" await 20 ready 200
agent_ends
agent_with get
sleep 3
for c in "${collections[@]:7}"; do check "without get of its CRD: $c" await 10 refused "$c"; done
check "not ready: a kind may be there and only not answered for" ready 503
agent_ends
