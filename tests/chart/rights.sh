#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The chart's rights are enough, and none is too many: a real API server, the agent as the chart's service account. With all of them
# it is refused nothing; without any one it says which it misses. A right that is new in the chart needs a line here.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lab/lib.sh"
# shellcheck source=tests/k8s/apiserver.sh
. "$top/tests/k8s/apiserver.sh"
kube=$(lab_dir)/kube
taint=sluice.dev/agent-not-ready
export SLUICE_EXTRA SLUICE_INTERFACES='{auto: true, prefixes: [eni]}'
SLUICE_EXTRA="kubernetes: {enabled: true, status: true, startupTaint: $taint, nodeName: node1, kubeconfig: $kube/agent.kubeconfig}"

# STEP VERB RESOURCE.GROUP[/NAME] and what the log says, an extended regular expression. Those of a step are missed by one agent: they
# are asked for independently. Before the step `absent` the kinds of policies are taken away. What takes longer than anybody waits here
# has a test of its own, and the step `elsewhere`.
table() {
	cat <<-'END'
		list list pods /api/v1/pods: .*403
		list list namespaces /api/v1/namespaces: .*403
		list list nodes /api/v1/nodes: .*403
		list list services /api/v1/services: .*403
		list list endpointslices.discovery.k8s.io /endpointslices: .*403
		list list networkpolicies.networking.k8s.io /networkpolicies: .*403
		list list servicecidrs.networking.k8s.io /servicecidrs: .*403
		list list ciliumnetworkpolicies.cilium.io /ciliumnetworkpolicies: .*403
		list list ciliumclusterwidenetworkpolicies.cilium.io /ciliumclusterwidenetworkpolicies: .*403
		list list ciliumcidrgroups.cilium.io /ciliumcidrgroups: .*403
		list list applicationnetworkpolicies.networking.k8s.aws /applicationnetworkpolicies: .*403
		list list clusternetworkpolicies.networking.k8s.aws /networking.k8s.aws/v1alpha1/clusternetworkpolicies: .*403
		list list clusternetworkpolicies.policy.networking.k8s.io /policy.networking.k8s.io/v1alpha2/clusternetworkpolicies: .*403
		list list configmaps /namespaces/kube-system/configmaps: .*403.*an uninstallation will not be heard of
		watch watch pods /api/v1/pods: .*403
		watch watch namespaces /api/v1/namespaces: .*403
		watch watch nodes /api/v1/nodes: .*403
		watch watch services /api/v1/services: .*403
		watch watch endpointslices.discovery.k8s.io /endpointslices: .*403
		watch watch networkpolicies.networking.k8s.io /networkpolicies: .*403
		watch watch servicecidrs.networking.k8s.io /servicecidrs: .*403
		watch watch ciliumnetworkpolicies.cilium.io /ciliumnetworkpolicies: .*403
		watch watch ciliumclusterwidenetworkpolicies.cilium.io /ciliumclusterwidenetworkpolicies: .*403
		watch watch ciliumcidrgroups.cilium.io /ciliumcidrgroups: .*403
		watch watch applicationnetworkpolicies.networking.k8s.aws /applicationnetworkpolicies: .*403
		watch watch clusternetworkpolicies.networking.k8s.aws /networking.k8s.aws/v1alpha1/clusternetworkpolicies: .*403
		watch watch clusternetworkpolicies.policy.networking.k8s.io /policy.networking.k8s.io/v1alpha2/clusternetworkpolicies: .*403
		watch watch configmaps /namespaces/kube-system/configmaps: .*403.*an uninstallation will not be heard of
		cnp patch ciliumnetworkpolicies/status.cilium.io conditions cannot be written: CiliumNetworkPolicy.cilium.io .*403
		ccnp patch ciliumclusterwidenetworkpolicies/status.cilium.io conditions cannot be written: CiliumClusterwideNetworkPolicy.cilium.io .*403
		anp patch applicationnetworkpolicies/status.networking.k8s.aws conditions cannot be written: ApplicationNetworkPolicy.networking.k8s.aws .*403
		aws patch clusternetworkpolicies/status.networking.k8s.aws conditions cannot be written: ClusterNetworkPolicy.networking.k8s.aws .*403
		k8s patch clusternetworkpolicies/status.policy.networking.k8s.io conditions cannot be written: ClusterNetworkPolicy.policy.networking.k8s.io .*403
		taint patch nodes the Node cannot be written: the taint sluice.dev/agent-not-ready stays: .*403
		create create events.events.k8s.io Events cannot be written: .*403
		elsewhere patch events.events.k8s.io of an Event that lasts half an hour: tests/unit/agent/test_kube_events.c
		held get leases.coordination.k8s.io/sluice Lease sluice: HTTP status 403
		take patch leases.coordination.k8s.io/sluice Lease sluice: HTTP status 403
		absent get customresourcedefinitions.apiextensions.k8s.io/ciliumnetworkpolicies.cilium.io /ciliumnetworkpolicies: .*403
		absent get customresourcedefinitions.apiextensions.k8s.io/ciliumclusterwidenetworkpolicies.cilium.io /ciliumclusterwidenetworkpolicies: .*403
		absent get customresourcedefinitions.apiextensions.k8s.io/ciliumcidrgroups.cilium.io /ciliumcidrgroups: .*403
		absent get customresourcedefinitions.apiextensions.k8s.io/applicationnetworkpolicies.networking.k8s.aws /applicationnetworkpolicies: .*403
		absent get customresourcedefinitions.apiextensions.k8s.io/clusternetworkpolicies.networking.k8s.aws /networking.k8s.aws/v1alpha1/clusternetworkpolicies: .*403
		absent get customresourcedefinitions.apiextensions.k8s.io/clusternetworkpolicies.policy.networking.k8s.io /policy.networking.k8s.io/v1alpha2/clusternetworkpolicies: .*403
	END
}

# The roles of the chart ($kube/roles.json) as one rule for each right: without those of a step, or only their names.
roles() { # without STEP | names
	table >"$kube/table"
	python3 - "$kube/roles.json" "$kube/table" "$@" <<-'END'
		import itertools, json, sys
		roles, table = json.load(open(sys.argv[1]))["items"], [line.split(" ", 3) for line in open(sys.argv[2])]
		gone = {(verb, what) for step, verb, what, _ in table if sys.argv[3] == "without" and step == sys.argv[4]}
		names = []
		for role in roles:
		    rules, role["rules"] = role["rules"], []
		    role["metadata"] = {key: role["metadata"][key] for key in ("name", "namespace") if key in role["metadata"]}
		    for rule in rules:
		        for group, resource, verb, name in itertools.product(
		                rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames", [""])):
		            what = (verb, resource + (group and "." + group) + (name and "/" + name))
		            names.append(" ".join(what))
		            if what not in gone:
		                role["rules"].append({"apiGroups": [group], "resources": [resource], "verbs": [verb],
		                                      **({"resourceNames": [name]} if name else {})})
		if sys.argv[3] == "names":
		    print("\n".join(sorted(names)))
		else:
		    print(json.dumps({"apiVersion": "v1", "kind": "List", "items": roles}))
	END
}

# Of the table what the chart's values bring here.
rows() { awk 'NR == FNR {has[$0]; next} ($2 " " $3) in has' <(roles names) <(table); }

log() { cat "$(lab_dir)/log/sluiced.log"; }
said() { grep -qE -- "$1" < <(log); }
ready() { [ "$(node curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9964/readyz)" = "$1" ]; }
agent_without() { # STEP
	roles without "$1" | quietly k replace -f -
	: >"$(lab_dir)/log/sluiced.log"
	sluice_start_agent
	await 10 agent_answers
}
agent_ends() {
	lab signal sluiced TERM
	await 10 not lab alive sluiced
}
# Policies of every kind, anew: of those that are there it has been said already whether they are valid.
policies() {
	quietly k delete cnp,ccnp,applicationnetworkpolicies,clusternetworkpolicies.networking.k8s.aws,clusternetworkpolicies.policy.networking.k8s.io -A --all
	quietly k create -f - <<-END
		{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: cnp, namespace: default}, spec: {endpointSelector: {}, egress: [{toCIDR: [203.0.113.10/32]}]}}
		---
		{apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {name: ccnp}, spec: {endpointSelector: {}, egress: [{toCIDR: [203.0.113.10/32]}]}}
		---
		{apiVersion: networking.k8s.aws/v1alpha1, kind: ApplicationNetworkPolicy, metadata: {name: anp, namespace: default}, spec: {podSelector: {}}}
		---
		{apiVersion: networking.k8s.aws/v1alpha1, kind: ApplicationNetworkPolicy, metadata: {name: refused, namespace: default},
		 spec: {podSelector: {}, egress: [{to: [{futureMember: 1}]}]}}
		---
		{apiVersion: networking.k8s.aws/v1alpha1, kind: ClusterNetworkPolicy, metadata: {name: aws}, spec: {tier: Admin, priority: 1, subject: {namespaces: {}}}}
		---
		{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: k8s}, spec: {tier: Admin, priority: 1, subject: {namespaces: {}}}}
	END
}
# The step's rights are missed, each by name.
step() { # STEP
	local verb what text
	[ "$1" = absent ] || policies
	quietly k taint node node1 "$taint=true:NoSchedule" --overwrite
	agent_without "$1"
	while read -r _ verb what text; do
		check "without $verb of $what it says so" await 30 said "$text"
	done < <(rows | grep "^$1 ")
	case $1 in
	list | absent) check "without $1: not ready" ready 503 ;;
	watch) ;;
	*) check "without $1: ready all the same" await 20 ready 200 ;;
	esac
	agent_ends
}

lab_begin >&2
sed -i '/^dns:/d' "$(lab_dir)/sluice/sluice.yaml"
cluster_start
quietly node env HOME="$kube" "$KUBE_BIN/helm" --kubeconfig "$kube/kubeconfig" -n kube-system install sluice "$top/charts/sluice" \
	--set "crds.install.ciliumNetworkPolicy=true,crds.install.ciliumClusterwideNetworkPolicy=true,crds.install.ciliumCIDRGroup=true" \
	--set "crds.install.applicationNetworkPolicy=true,crds.install.awsClusterNetworkPolicy=true,crds.install.clusterNetworkPolicy=true" \
	--set "kubernetes.startupTaint=$taint" 2>/dev/null
k wait --for=condition=Established crd --all --timeout=20s >/dev/null
k -n kube-system create token sluice --duration=1h >"$kube/token"
cat >"$kube/agent.kubeconfig" <<-END
	current-context: lab
	clusters: [{name: lab, cluster: {server: "https://127.0.0.1:6443", certificate-authority: ca.pem}}]
	contexts: [{name: lab, context: {cluster: lab, user: agent, namespace: kube-system}}]
	users: [{name: agent, user: {tokenFile: token}}]
END
k get clusterrole/sluice -o json >"$kube/clusterrole.json"
k -n kube-system get role/sluice -o json | python3 -c 'import json, sys
print(json.dumps({"items": [json.load(open(sys.argv[1])), json.load(sys.stdin)]}))' "$kube/clusterrole.json" >"$kube/roles.json"
equal "no right of the chart is not tried here" "" "$(comm -23 <(roles names) <(table | awk '{print $2, $3}' | sort))"

quietly k create -f - <<-END
	{apiVersion: v1, kind: Node, metadata: {name: node1}, spec: {taints: [{key: $taint, effect: NoSchedule}]}}
END
policies
agent_without none
check "with all of them the agent is ready" await 20 ready 200
for p in cnp/cnp ccnp/ccnp applicationnetworkpolicy/anp clusternetworkpolicies.networking.k8s.aws/aws \
	clusternetworkpolicies.policy.networking.k8s.io/k8s; do
	check "and has written of $p" quietly k -n default wait --for=condition=Valid --timeout=20s "$p"
done
tainted() { grep -qF "$taint" < <(k get node node1 -o json); }
check "and has taken the startup taint away" await 20 not tainted
check "and was refused nothing" not said '403|orbidden'
agent_ends

for s in $(rows | awk '{print $1}' | grep -vx elsewhere | uniq); do
	[ "$s" != absent ] || quietly k delete crd --all
	step "$s"
done
