#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Hazards 14–26, as far as dns_evasions.sh has not got them (dns/hazards.py): who asks, judged again at the answer, names
# that may be asked and open nothing, TCP under SYN cookies, denials, leases and their end, a full table.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# shellcheck source=tests/lab/dns/lib.sh
. "$tests_lab/dns/lib.sh"

anything='- toEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": kube-system, k8s-app: kube-dns}}]
  toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*"}]}}]'
some='- toCIDR: [198.51.100.0/24]
  toPorts: [{ports: [{port: "443", protocol: TCP}]}]'
names='{matchPattern: "*.ok.example"}, {matchName: deep.allowed.corp.internal}'

SLUICE_EXTRA='limits: {leases: 64}'
dns_begin 'minTTL: 2s, maxTTL: 12s, grace: 1s, queryTimeout: 5s, queryTries: 1'\
', searchDomains: [corp.internal], clusterDomain: cluster.local'
sandbox_policy "$names" | prepare base
sandbox_policy "$names" | sed 's/{port: "443", protocol: ANY}, //' | prepare port
sandbox_policy '{matchName: other.example}' | prepare narrow
sandbox_policy "$names" "$anything" | prepare askonly
sandbox_policy "$names" "$anything
$some" | prepare askfilter
prepare incluster <<-'END'
	apiVersion: networking.k8s.aws/v1alpha1
	kind: ApplicationNetworkPolicy
	metadata: {name: names, namespace: agent-sandboxes}
	spec:
	  podSelector: {matchLabels: {egress-tier: sandbox}}
	  policyTypes: [Egress]
	  egress:
	  - to: [{domainNames: [plain-0a000106.default.svc.cluster.local, plain-c633641e.default.svc.cluster.local]}]
	    ports: [{protocol: TCP, port: 443}]
END
neighbour_policy '{matchPattern: "*.near.example"}' | prepare near
neighbour_policy '{matchPattern: "*.near.example"}' | sed 's/app: neighbour/app: nobody/' | prepare none

sluice_policy sandbox-agent.yaml <"$(lab_dir)/policy-base.yaml"
sluice_policy neighbour.yaml <"$(lab_dir)/policy-near.yaml"
both_pods
sluice_start
for phase in asker denials lease_times expiry judged_again ask_only tcp trouble; do
	run_checks hazards.py "$phase"
done

# The neighbour is a pod behind a Service; behind another there is but an address that somebody wrote into its slice.
{
	cat "$(lab_dir)/sluice/endpoints.yaml"
	cat <<-'END'
		---
		apiVersion: v1
		kind: Pod
		metadata: {name: neighbour, namespace: default, labels: {app: neighbour}}
		status: {phase: Running, podIP: 10.0.1.6}
		---
		apiVersion: v1
		kind: Service
		metadata: {name: plain-0a000106, namespace: default}
		spec: {clusterIP: None, selector: {app: neighbour}, ports: [{port: 443}]}
		---
		apiVersion: v1
		kind: Service
		metadata: {name: plain-c633641e, namespace: default}
		spec: {clusterIP: None, ports: [{port: 443}]}
		---
		apiVersion: discovery.k8s.io/v1
		kind: EndpointSlice
		metadata: {name: plain-c633641e-1, namespace: default, labels: {kubernetes.io/service-name: plain-c633641e}}
		addressType: IPv4
		ports: [{port: 443, protocol: TCP}]
		endpoints: [{addresses: [198.51.100.30], conditions: {ready: true}}]
	END
} | sluice_endpoints
run_checks hazards.py cluster_names

# The same pod again, while a lease of the dead one lives, and another pod keeps their common policy in use.
lab add default twin 10.0.1.7 fd00::7
three_pods() {
	both_pods
	cat "$(lab_dir)/sluice/endpoints.yaml" - <<-END | sluice_endpoints
		- {name: twin, namespace: default, labels: {app: neighbour}, interface: $(interface_of twin), addresses: [10.0.1.7, "fd00::7"]}
	END
}
neighbour_mode_is() { [ "$(endpoint_field mode "$NEIGHBOUR_PATH")" = "$1" ]; }
three_pods
twin_enforced() { [ "$(endpoint_field mode default/twin)" = enforce ]; }
await 5 twin_enforced || fail "the third pod is not enforced"
run_checks hazards.py before_death
lab remove "$NEIGHBOUR"
node ip rule delete pref 512 to 10.0.1.6
node ip -6 rule delete pref 512 to fd00::6
await 5 not neighbour_mode_is enforce || fail "24: the agent does not notice that the pod has gone"
lab add default "$NEIGHBOUR" 10.0.1.6 fd00::6
await 5 neighbour_mode_is enforce || fail "24: the new pod is not enforced"
run_checks hazards.py inherit

# A node that filters no source by itself, and endpoints that have exchanged their IPv4 addresses.
node sh -c 'echo 0 >/proc/sys/net/ipv4/conf/eni97a39772326/rp_filter'
both_pods 10.0.1.6 10.0.1.5
addresses_swapped() { [ "$(endpoint_field addresses)" = "['10.0.1.6', 'fd00::5']" ]; }
await 5 addresses_swapped || fail "14: the addresses are not swapped: $(endpoint_field addresses)"
run_checks hazards.py swapped
both_pods
addresses_back() { [ "$(endpoint_field addresses)" = "['10.0.1.5', 'fd00::5']" ]; }
await 5 addresses_back || fail "14: the addresses are not swapped back"
run_checks hazards.py full

# A resolver that is trusted and runs in a pod under a name rule.
sluice_stop
sed -i 's|^dns: {resolvers: \[|&10.0.1.6, |' "$(lab_dir)/sluice/sluice.yaml"
resolver_start "$NEIGHBOUR" podresolver 10.0.1.6
sluice_start
sleep 1.5 # the proxy may have started with the settings of before; it looks for new ones every second
run_checks hazards.py own_resolver

# Audit: would-be denials pass and are told.
sluice_stop
echo 'enforcement: audit' >>"$(lab_dir)/sluice/sluice.yaml"
is_audited() { [ "$(endpoint_field mode)" = audit ]; }
sluice_start_agent
sluice_start_proxy
await 15 is_audited || fail "audit: the endpoint's mode is $(endpoint_field mode)"
sleep 1.5
run_checks hazards.py audit
