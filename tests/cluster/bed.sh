#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The cluster itself, without Sluice: nodes, pods of both runtimes on both nodes, services, names, the lab's internet; sandboxes
# by claim and by KRO; the reference agent, which reaches all it tries to reach. That is the control for every test that
# wants something stopped here.
#
#   bed.sh [UP-OPTION…]         e.g. --proxy nftables --agent-sandbox 0.5.6
# shellcheck source=tests/cluster/testlib.sh
. "$(dirname "$(readlink -f "$0")")/testlib.sh"
cluster_test_begin "$@"
trap cluster_test_end EXIT

sandboxes=0.4.6
case " $* " in *' --agent-sandbox 0.5.6 '*) sandboxes=0.5.6 ;; esac
nodes_are_as_they_should() {
	local n
	equal "two nodes are Ready" "True True" \
		"$(k get nodes -o jsonpath='{.items[*].status.conditions[?(@.type=="Ready")].status}')"
	equal "Kubernetes is 1.34" v1.34.4 "$(k get node node2 -o jsonpath='{.status.nodeInfo.kubeletVersion}')"
	equal "no interface of a node leads to this machine" "br0 eth0 lo up1 up2 " \
		"$(for n in node1 node2 fabric; do cluster exec $n ip -j link; done | jq -r '.[].ifname' | grep -v '^eni' | sort -u | tr '\n' ' ')"
}

# As the VPC CNI lays them out.
pods_are_wired() {
	local host address
	host=eni$(printf default.runc1 | sha1sum | head -c 11)
	address=$(k get pod runc1 -o jsonpath='{.status.podIP}')
	equal "the host's end is $host, without an address" '[]' \
		"$(cluster exec node1 ip -j address show "$host" | jq -c '.[0].addr_info')"
	check "a /32 route leads to it" sh -c "'$top/tools/cluster' exec node1 ip route show $address | grep -q 'dev $host scope link'"
	check "rule 512 leads to main" sh -c "'$top/tools/cluster' exec node1 ip rule | grep -q '^512:.*to $address lookup main'"
	equal "the pod's gateway is 169.254.1.1" "default via 169.254.1.1 dev eth0" \
		"$(k exec runc1 -- ip route show default | sed 's/ *$//')"
}

peers=(runc1 gvisor1 runc2 gvisor2)
peers_reach_each_other() {
	local from address targets=() out
	for address in $(k get pods -l app=peer -o jsonpath='{.items[*].status.podIPs[*].ip}'); do
		case $address in *:*) targets+=("http://[$address]:8080") ;; *) targets+=("http://$address:8080") ;; esac
	done
	equal "each pod has an address of each family" 8 ${#targets[@]}
	for from in "${peers[@]}"; do
		out=$(k exec "$from" -- curl -gsS -m 5 "${targets[@]}" 2>&1 | sort | tr '\n' ' ')
		equal "$from reaches every pod, IPv4 and IPv6" "gvisor1 gvisor1 gvisor2 gvisor2 runc1 runc1 runc2 runc2 " "$out"
	done
	check "gVisor pods are in gVisor" sh -c "'$top/tools/cluster' kubectl exec gvisor1 -- dmesg | grep -q 'Starting gVisor'"
	equal "runc pods are on this machine's kernel" "$(uname -r)" "$(k exec runc1 -- uname -r)"
	check "gVisor pods are not" sh -c "'$top/tools/cluster' kubectl exec gvisor1 -- uname -r | grep -qvx '$(uname -r)'"
}

services_and_names() {
	local from service6 out
	service6=$(k get service peers -o jsonpath='{.spec.clusterIPs[1]}')
	for from in "${peers[@]}"; do
		check "$from reaches a service by name" k exec "$from" -- curl -sS -m 5 http://peers.default.svc.cluster.local
		check "$from reaches a service by its IPv6 address" k exec "$from" -- curl -gsS -m 5 "http://[$service6]"
		equal "$from learns the internet's names from CoreDNS" 203.0.113.10 "$(k exec "$from" -- kdig +short pypi.org A)"
		check "$from reaches the API server" k exec "$from" -- curl -sSk -m 5 https://kubernetes.default.svc/version
		out=$(k exec "$from" -- sh -c 'for h in 169.254.169.254 "[fd00:ec2::254]"; do
			t=$(curl -gsS -m 5 -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" "http://$h/latest/api/token")
			curl -gsS -m 5 -H "X-aws-ec2-metadata-token: $t" "http://$h/latest/meta-data/iam/security-credentials/"; echo
			done' 2>&1 | tr '\n' ' ')
		equal "$from reaches the instance's metadata, IPv4 and IPv6" "sluice-lab-node sluice-lab-node " "$out"
	done
	check "logs are to be had" sh -c "'$top/tools/cluster' kubectl logs runc2 | grep -q GET"
}

# Neither a pod nor a node gets an answer from beyond the fabric, and their frames end in it.
nothing_beyond() {
	local a from
	for a in 192.0.2.1 1.1.1.1 "[2606:4700:4700::1111]"; do
		for from in runc1 gvisor2; do
			check "$from gets no answer from $a" sh -c "! '$top/tools/cluster' kubectl exec $from -- curl -gsS -m 2 http://$a"
		done
		check "node1 gets no answer from $a" sh -c "! '$top/tools/cluster' exec node1 curl -gsS -m 2 http://$a"
	done
	equal "the fabric has no route out" "" "$(cluster exec fabric sh -c 'ip route show default; ip -6 route show default')"
	check "the canary saw those frames at node1's uplink" test "$(uplink_count bed 1 'r.get("dst") == "1.1.1.1"')" -gt 0
}

# The five outcomes in one line, of a pod.
outcomes() { # NAMESPACE POD FAMILY
	k -n "$1" exec "$2" -- python3 /opt/lab/agent.py "$3" 2>&1 | tee -a $folder/log/agent.log |
		sed -nE 's/^[1-5]\. ([A-Z]+):.*/\1/p' | paste -sd' '
}

agent_reaches_everything() { # WHAT NAMESPACE POD
	local family
	for family in -4 -6; do
		equal "the agent of $1, $family" "PASS PASS PASS REACHED REACHED" "$(outcomes "$2" "$3" $family)"
	done
}

by_claim() {
	local c pod was runtime
	k apply -f "$manifests/sandboxes-$sandboxes.yaml" >/dev/null
	for c in runc gvisor; do
		check "a warm pool of $c is ready" k -n agents wait --for=jsonpath='{.status.readyReplicas}'=1 sandboxwarmpool/$c --timeout=90s
	done
	was=$(k -n agents get pods -o jsonpath='{.items[*].metadata.uid}')
	k apply -f "$manifests/claims-$sandboxes.yaml" >/dev/null
	for c in runc-warm runc-cold gvisor-warm gvisor-cold; do
		check "claim $c is Ready" k -n agents wait --for=condition=Ready sandboxclaim/$c --timeout=90s
		pod=$(k -n agents get sandboxclaim $c -o jsonpath='{.status.sandbox.name}')
		case $c in *-warm)
			check "claim $c took a pod of the warm pool" grep -q "$(k -n agents get pod "$pod" -o jsonpath='{.metadata.uid}')" <<<"$was" ;;
		esac
		runtime=$(k -n agents get pod "$pod" -o jsonpath='{.spec.runtimeClassName}')
		equal "claim $c runs in ${c%-*}" "${c%-*}" "${runtime:-runc}"
		agent_reaches_everything "claim $c" agents "$pod"
	done
}

by_kro() {
	local r pod
	k apply -f "$manifests/kro-graph.yaml" >/dev/null
	check "KRO takes the graph" k wait --for=condition=Ready rgd/agentpool --timeout=60s
	k apply -f "$manifests/kro-pools.yaml" >/dev/null
	for r in runc gvisor; do
		check "KRO's instance of $r is Ready" k -n tenant-$r wait --for=condition=Ready agentpool/$r --timeout=90s
		check "its warm pool is" k -n tenant-$r wait --for=jsonpath='{.status.readyReplicas}'=1 sandboxwarmpool/$r --timeout=90s
		pod=$(k -n tenant-$r get pods -o jsonpath='{.items[0].metadata.name}')
		agent_reaches_everything "KRO's $r" tenant-$r "$pod"
	done
}

# STS was shown a token of the cluster's making, and what it gave for it is what Bedrock was asked with.
credentials_came_from_sts() {
	local claims
	claims=$(grep -o 'WebIdentityToken=[^&]*' $folder/log/sts-requests.log | head -n 1 | cut -d. -f2 | tr '_-' '/+' |
		sed 's/$/===/' | base64 -d 2>/dev/null | jq -r '"\(.sub) \(.aud[0])"') || true
	equal "STS was shown the pod's own token" "system:serviceaccount:agents:agent sts.amazonaws.com" "$claims"
	check "Bedrock was asked with STS's keys" grep -q 'answered ASIA' $folder/log/bedrock.log
	equal "and with no others" 0 "$(grep -c 'answered AKIA' $folder/log/bedrock.log)"
}

check "up" cluster up "$@"
[ "$failures" -eq 0 ] || exit 1
nodes_are_as_they_should
uplinks_start bed
k apply -f "$manifests/peers.yaml" >/dev/null
check "pods of both runtimes are Ready on both nodes" k wait --for=condition=Ready pod -l app=peer --timeout=90s
pods_are_wired
peers_reach_each_other
services_and_names
nothing_beyond
by_claim
[ "$sandboxes" != 0.4.6 ] || by_kro
credentials_came_from_sts
check "up again finds it up" cluster up "$@"
