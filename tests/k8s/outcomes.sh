#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The five outcomes of every agent: sandboxes of charts/sluice/examples, by claim (from a warm pool, and cold) and by kro, in
# runc and gVisor, on both nodes. First without Sluice, where the last two are REACHED; then with it, in both dialects and both
# families, while what comes out of the nodes' uplinks is looked at frame by frame. Then the examples' tenants.
#
#   outcomes.sh [UP-OPTION…]    e.g. --agent-sandbox 0.5.6
# shellcheck source=tests/k8s/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# shellcheck source=tests/cluster/lib.sh
. "$top/tests/cluster/lib.sh"
# shellcheck source=tests/cluster/demo.sh
. "$top/tests/cluster/demo.sh"
administer() { cluster "$@"; }

# Where there are two of a kind, they must not share a node; and one pod waits in each pool, so that the next comes elsewhere.
# The namespaces are the test's: k8s_end finds them by the label.
example() { # NAME
	admin_kubectl kustomize --load-restrictor LoadRestrictionsNone "$here/examples/$1" |
		sed 's/ScheduleAnyway/DoNotSchedule/; s/replicas: 2/replicas: 1/
			s#^    agent-sandbox/egress: enforced#&\n    sluice.dev/test: "true"#'
}

# A second one of each, beside the examples'.
more_sandboxes() {
	local r
	k -n $sandboxes get sandboxclaim standard gvisor -o json | jq '.items[] |
		{apiVersion, kind, metadata: {name: (.metadata.name + "-2"), namespace: .metadata.namespace}, spec}' | apply -f - || return
	sed -E 's/name: composed-([a-z]+)/name: composed-\1-2/' "$examples/kro/instances.yaml" | apply -f - || return
	k -n $sandboxes wait --for=condition=Ready sandboxclaim --all --timeout=120s || return
	for r in runc gvisor; do
		await 60 k -n $sandboxes get pod composed-$r-2 || return
		k -n $sandboxes wait --for=condition=Ready pod/composed-$r-2 --timeout=90s || return
	done
}

# Both ways, both runtimes, both nodes: eight kinds.
every_kind() {
	equal "agents by claim and by kro, in both runtimes, on both nodes" \
		"claim gvisor node1,claim gvisor node2,claim runc node1,claim runc node2,kro gvisor node1,kro gvisor node2,kro runc node1,kro runc node2" \
		"$(agents | awk -F'\t' '{split($4, o, "/"); print o[1], $3, $2}' | sort -u | paste -sd,)"
}

everyone() { # WHAT FAMILY OUTCOMES
	local outcomes pod node runtime origin
	while IFS=$'\t' read -r outcomes pod node runtime origin; do
		equal "$1, $2: $origin, $runtime on $node" "$3" "$outcomes"
		[ "$outcomes" = "$3" ] || sed 's/^/    /' "$folder/demo/$pod.log"
	done < <(run_agents "$2")
}

# ---- what leaves the nodes ----

# Frames of the agents' addresses that went anywhere but to what the allowlist names, by port, and how many went there.
allowed='203.0.113.10 203.0.113.11 198.51.100.20 2001:db8:113::10 2001:db8:113::11 2001:db8:100::20'
frames() { # NAME stray|listed
	local pods listed kind='not '
	pods=$(words "$(k -n $sandboxes get pods -o jsonpath='{.items[*].status.podIPs[*].ip}')")
	listed="r['dst'] in {$(words "$allowed")} and r.get('proto') == 6 and r.get('dport') == 443"
	[ "$2" = stray ] || kind=
	uplinks_count "$1" "r.get('src') in {$pods} and $kind($listed)"
}
# As Python's strings.
words() { # TEXT
	# shellcheck disable=SC2086 # as many as there are
	printf "'%s', " $1
}
asked() { grep -c 'blocked-example' "$folder/log/unbound.log" || true; } # of the VPC's resolver

# ---- tenants ----

# Prints what comes of a connection: reached, or no.
connects() { # NAMESPACE HOST PORT
	k -n "$1" exec "$(k -n "$1" get pods -l egress-tier=sandbox -o jsonpath='{.items[0].metadata.name}')" -- python3 -c 'import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()
    print("reached")
except OSError:
    print("no")' "$2" "$3"
}
model=bedrock-runtime.us-west-2.amazonaws.com
cache() { k -n tenant-build get pods -o jsonpath='{.items[0]'"$1}"; } # .FIELD: of the pod with the packages
tenants_up() {
	local t
	example tenants | apply -f - || return
	for t in research build; do
		k -n tenant-$t wait --for=condition=Ready sandboxclaim/$t --timeout=90s || return
	done
	k -n tenant-build exec "$(cache .metadata.name)" -- sh -c 'cd /tmp && (python3 -m http.server 8080 >/dev/null 2>&1 &)'
	within 20 tenants_reach reached reached reached reached
}
# WANTED…, in this order: research → model, build → model, build → packages, research → build.
tenants_reach() {
	local a got
	got=$(for a in "research $model 443" "build $model 443" "build pypi.org 443" "research $(cache .status.podIP) 8080"; do
		# shellcheck disable=SC2086 # three words
		connects tenant-$a
	done | paste -sd' ')
	[ "$got" = "$*" ] || { echo "$got"; return 1; }
}
# Whatever a tenant allows itself: here, all of the cluster.
tenant_opens() {
	case $1 in
	cilium) echo '{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: own, namespace: tenant-research},
		spec: {endpointSelector: {}, egress: [{toEntities: [cluster]}]}}' ;;
	aws) echo '{apiVersion: networking.k8s.aws/v1alpha1, kind: ApplicationNetworkPolicy,
		metadata: {name: own, namespace: tenant-research}, spec: {podSelector: {}, policyTypes: [Egress],
		egress: [{to: [{namespaceSelector: {}}]}]}}' ;;
	esac | apply -f -
}
tenants_under() { # DIALECT
	local kind=ccnp
	[ "$1" = cilium ] || kind=clusternetworkpolicies.networking.k8s.aws
	apply -f "$examples/tenants/$1.yaml"
	tenant_opens "$1"
	checked_within "$1: each tenant has its own allowlist, and none reaches another whatever it allows itself" 20 \
		tenants_reach reached no reached no
	k delete $kind tenant-research-apart >/dev/null
	checked_within "$1: without the administrator's policy it would" 20 tenants_reach reached no reached reached
	k delete -f "$examples/tenants/$1.yaml" --ignore-not-found >/dev/null
}

under() { # DIALECT
	local family other=aws before
	[ "$1" = cilium ] || other=cilium
	check "$1: the examples' policies are taken" policies_up "$1"
	policies_down $other
	check "$1: and in force on every sandbox" policies_in_force "$1"
	before=$(asked)
	uplinks_start "$1"
	for family in -4 -6; do everyone "$1" $family PASS,PASS,PASS,BLOCKED,BLOCKED; done
	uplinks_stop "$1"
	equal "$1: frames beyond the uplinks that no policy allows" 0 "$(frames "$1" stray)"
	check "$1: and there were such as it allows" [ "$(frames "$1" listed)" -gt 100 ]
	equal "$1: nobody asked the resolver for the unlisted name" "$before" "$(asked)"
	tenants_under "$1"
}

k8s_begin "$@"
check "the examples' sandboxes come up" sandboxes_up
check "and a second one of each" more_sandboxes
every_kind
check "tenants' sandboxes come up" tenants_up
uplinks_start control
everyone "without Sluice" -4 PASS,PASS,PASS,REACHED,REACHED
uplinks_stop control
check "the canaries saw frames that no policy would allow" [ "$(frames control stray)" -gt 10 ]
check "and the resolver was asked for the unlisted name" [ "$(asked)" -gt 0 ]
check "the chart is installed" sluice_install --set crds.install.ciliumNetworkPolicy=true \
	--set crds.install.ciliumClusterwideNetworkPolicy=true --set crds.install.applicationNetworkPolicy=true \
	--set crds.install.awsClusterNetworkPolicy=true
[ "$failures" -eq 0 ] || exit 1
for dialect in cilium aws; do under $dialect; done
