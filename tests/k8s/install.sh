#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The chart's life on a cluster: installed, the five outcomes in pods of both runtimes on both nodes, upgraded, given a
# configuration that cannot be, uninstalled, which leaves nothing on a node.
# shellcheck source=tests/k8s/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
k8s_begin
pods=(runc1 gvisor1 runc2 gvisor2)
crds=(--set crds.install.ciliumNetworkPolicy=auto --set crds.install.applicationNetworkPolicy=auto)
allowlist='allowlists=[{"template":"sandbox-llm-allowlist","dialect":"cilium","namespaces":["agent-sandboxes"]}]'

# What of Sluice is on a node: pins, filters, routing rules, files, the CNI plugin. Routes to pods come and go with them. The folders
# of its volumes are the kubelet's, who makes them and never takes them away: they stay, empty.
traces() { # NODE
	cluster exec "$1" sh -c "find /sys/fs/bpf /etc/cni /opt/cni -print 2>/dev/null
		find /run/sluice /var/lib/sluice -mindepth 1 2>/dev/null
		tc qdisc show | grep clsact
		ip rule; ip -6 rule; ip route show table all; ip -6 route show table all
		nft list tables 2>/dev/null" | grep -v -e ' eni' -e '^512:' | sort
}

five_outcomes() { # WANTED
	local p family
	for p in "${pods[@]}"; do
		for family in -4 -6; do
			equal "$p $family" "$1" "$(outcomes agent-sandboxes "$p" $family)"
		done
	done
}

answer() { k -n agent-sandboxes exec "$1" -- kdig +noall +header +answer "$2" A; } # POD NAME

in_force() { # NODE: pods of the test that are held to a policy there
	bpfctl "$1" -o json endpoint list | jq '[.[] | select(.namespace == "agent-sandboxes" and .mode == "enforce")] | length'
}
is_held() { [ "$(in_force "$1")" = 2 ]; }

runs_as() { # NODE CONTAINER FIELD: of /proc/PID/status
	cluster exec "$1" sh -c "grep -h '^$3:' /proc/\$(pgrep -x $2)/status" | awk '{print $2}'
}

before1=$(traces node1) before2=$(traces node2)
test_namespace agent-sandboxes
check "pods of both runtimes run on both nodes" test_pods agent-sandboxes "egress-tier: sandbox"
equal "without Sluice all is reached" "PASS PASS PASS REACHED REACHED" "$(outcomes agent-sandboxes runc1 -4)"

# ---- install ----

check "the chart is installed, and ready on both nodes" sluice_install "${crds[@]}"
check "with the kinds of policies that were not there" k wait --for=condition=Established --timeout=20s \
	crd/ciliumnetworkpolicies.cilium.io crd/applicationnetworkpolicies.networking.k8s.aws
equal "pods that nothing selects reach all" "PASS PASS PASS REACHED REACHED" "$(outcomes agent-sandboxes gvisor2 -4)"
for n in node1 node2; do
	equal "$n: sluiced keeps BPF, NET_ADMIN and PERFMON" 000000c000001000 "$(runs_as $n sluiced CapEff)"
	equal "$n: the proxy keeps no capability" 0000000000000000 "$(runs_as $n sluice-dnsproxy CapPrm)"
	equal "$n: and is nobody" 65534 "$(runs_as $n sluice-dnsproxy Uid)"
	check "$n: sluice-cni is called for every pod that starts" grep -q true < <(bpfctl $n -o json status | jq .agent.details.cni.in_force)
	equal "$n: both under seccomp" "2 2" "$(runs_as $n sluiced Seccomp) $(runs_as $n sluice-dnsproxy Seccomp)"
done

# ---- upgrade: the allowlist, as a value ----

check "the chart is upgraded with an allowlist" sluice_install "${crds[@]}" --set-json "$allowlist"
checked_within "node1's pods are held to it" 20 is_held node1
checked_within "node2's pods are held to it" 20 is_held node2
five_outcomes "PASS PASS PASS BLOCKED BLOCKED"
for p in runc1 gvisor2; do
	check "$p: an allowed name has its address" grep -q 203.0.113.10 < <(answer $p pypi.org)
	check "$p: a denied name has none" grep -q 'NOERROR.*\|ANSWER: 0' < <(answer $p blocked-example.example.com)
	check "$p: no answer to a denied name" not grep -q 'IN[[:space:]]*A[[:space:]]' < <(answer $p blocked-example.example.com)
done

# ---- upgrade: a value that only configures ----

restarts() { k -n kube-system get pods -l app.kubernetes.io/name=sluice -o json | jq '[.items[].status.containerStatuses[].restartCount] | add'; }
check "the chart is upgraded with deny.mode" sluice_install "${crds[@]}" --set-json "$allowlist" --set config.deny.mode=reject
refused_at_once() { # curl's 7: it was told no; 28: it waited in vain
	local status=0
	k -n agent-sandboxes exec runc1 -- curl -sS -m 5 https://8.8.8.8 || status=$?
	[ $status -eq 7 ]
}
checked_within "a denied connection is refused at once" 20 refused_at_once
equal "no container had to be started twice" 0 "$(restarts)"
refused=$(h upgrade sluice "$chart" -n kube-system -f "$tests_k8s/values.yaml" --set config.deny.mode=refuse 2>&1 || true)
check "a wrong value is refused with its place" grep -q '/config/deny/mode' <<<"$refused"

# ---- either may die alone ----

died() { # NODE NAME
	cluster exec "$1" sh -c "kill -9 \$(pgrep -x $2)"
}
died node1 sluice-dnsproxy
checked_within "the proxy killed: DNS is back" 20 sh -c "'$top/tools/cluster' kubectl -n agent-sandboxes exec runc1 -- kdig +short +timeout=1 +retry=0 pypi.org A | grep -q 203.0.113.10"
died node1 sluiced
equal "the agent killed: the five outcomes stay" "PASS PASS PASS BLOCKED BLOCKED" "$(outcomes agent-sandboxes gvisor1 -4)"
check "and it comes again" sluice_ready

# ---- uninstall ----

check "there is something to take away" [ "$(traces node1)" != "$before1" ]
check "uninstalled" sluice_uninstall
objects() {
	k get clusterrole,clusterrolebinding -l app.kubernetes.io/name=sluice -o name
	k -n kube-system get daemonset,configmap,serviceaccount,role,rolebinding,pod -l app.kubernetes.io/name=sluice -o name
}
nothing_of() { [ -z "$("$@")" ]; }
checked_within "its objects are gone, but for the policies' kinds" 60 nothing_of objects
check "the kinds of policies stay" k get crd ciliumnetworkpolicies.cilium.io
equal "nothing is left on node1" "$before1" "$(traces node1)"
equal "nothing is left on node2" "$before2" "$(traces node2)"
for p in "${pods[@]}"; do
	equal "$p: all is reached again" "PASS PASS PASS REACHED REACHED" "$(outcomes agent-sandboxes "$p" -4)"
done
