#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sluice when something goes wrong: agents and proxies die or are stopped, pods come meanwhile, pods of one name follow each
# other, labels and policies change, a node is drained, its daemons die, it reboots, the API server is away. All the time pods
# send what their policy does not list, and a canary at the nodes' uplinks counts what of it gets out: nothing. And what it
# lists works with the first packet of each pod.
# shellcheck source=tests/k8s/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
k8s_begin
values=(--set cni.install=true)

f() { k -n faults "$@"; }

# ---- pods that send ---------------------------------------------------------------------------------------------------

# NAME NODE RUNTIME HELD: is it held to the policy?
sender() {
	NAME=$1 NODE=$2 RUNTIME=$3 HELD=$4 python3 -c 'import os, re, sys
sys.stdout.write(re.sub(r"\$(\w+)", lambda m: os.environ[m.group(1)], sys.stdin.read()))' <"$manifests/sender.yaml" |
		sed '/runtimeClassName: *$/d' | f apply -f - >/dev/null
}

# The first connection of each pod of those, in one line: "ok ok" where a pod's first packets met its policy.
firsts() { # POD…
	local p
	for p in "$@"; do
		within 40 first_is_known "$p" >/dev/null || :
		f logs "$p" 2>/dev/null | sed -nE 's/^[0-9.]+ first ([a-z]+).*/\1/p' | head -n 1
	done | paste -sd' '
}
first_is_known() { f logs "$1" | grep -q ' first '; }

# Does an allowed connection from the pod work now?
works() { # POD
	f exec "$1" -- python3 -c 'import socket; socket.create_connection(("pypi.org", 443), 2)'
}

# What left the nodes since the last call although no policy lists it.
leaks() {
	local n now=0
	sleep 0.3 # the canary's own buffer
	for n in 1 2; do
		now=$((now + $(uplink_count $n 'r.get("dst") in ("6.6.6.6", "2001:db8:666::6")')))
	done
	echo $((now - leaked))
	leaked=$now
}
leaked=0
nothing_leaked() { equal "nothing unlisted left the nodes: $1" 0 "$(leaks)"; }

process() { # NODE SIGNAL NAME…
	local node=$1 signal=$2 p
	shift 2
	for p in "$@"; do
		cluster exec "$node" sh -c "kill -$signal \$(pgrep -x $p)"
	done
}

settle() { check "$1: all is ready again" sluice_ready; }

# ---- begin ------------------------------------------------------------------------------------------------------------

test_namespace faults
f create configmap sender --from-file="$tests_k8s/sender.py" >/dev/null
uplinks_start
sender control node1 '' yes
check "the control's first connection works" test "$(firsts control)" = ok
check "without Sluice the canary sees what it sends" test "$(leaks)" -gt 0
f delete pod control --wait >/dev/null

check "the chart is installed" sluice_install --set crds.install.ciliumNetworkPolicy=auto "${values[@]}"
f apply -f "$manifests/senders.yaml" >/dev/null
leaks >/dev/null

pods=(runc1 gvisor1 runc2 gvisor2)
all_senders() { for p in "${pods[@]}"; do r=${p%[12]}; sender "$p" "node${p#"$r"}" "${r#runc}" yes; done; }
all_senders
equal "the first connection of each works" "ok ok ok ok" "$(firsts "${pods[@]}")"
nothing_leaked "pods begin"

# ---- either process dies, or both; pods begin meanwhile -----------------------------------------------------------------

process node1 KILL sluiced
sender late1 node1 '' yes
sender late1g node1 gvisor yes
equal "pods that began while the agent was dead" "ok ok" "$(firsts late1 late1g)"
settle "agent killed"
process node1 KILL sluice-dnsproxy
settle "proxy killed"
process node2 KILL sluiced sluice-dnsproxy
settle "both killed"
process node2 STOP sluiced sluice-dnsproxy
sender late2 node2 '' yes
sleep 8
process node2 CONT sluiced sluice-dnsproxy
check "a pod that began while both were stopped works once they go on" within 30 works late2
for p in "${pods[@]}"; do check "$p still works" within 10 works "$p"; done
nothing_leaked "agents and proxies killed and stopped"

# ---- pods of one name, labels, policies -----------------------------------------------------------------------------------

for held in no yes no yes; do
	f delete pod late1 --wait --grace-period=0 >/dev/null 2>&1
	[ $held = yes ] || f label pod --all again- >/dev/null 2>&1
	leaks >/dev/null
	sender late1 node1 '' $held
	equal "late1 anew, held: $held" ok "$(firsts late1)"
	if [ $held = yes ]; then nothing_leaked "the held one of two pods of one name"; else
		check "nothing holds the other" test "$(leaks)" -gt 0; fi
done
f label pod runc1 held=no --overwrite >/dev/null
checked_within "a label less: nothing holds it" 5 sh -c "'$top/tools/cluster' kubectl -n faults exec runc1 -- curl -sS -m 2 -o /dev/null http://203.0.113.10"
f label pod runc1 held=yes --overwrite >/dev/null
checked_within "the label again: held" 5 not f exec runc1 -- curl -sS -m 1 -o /dev/null http://203.0.113.10
sleep 0.5
leaks >/dev/null
f patch cnp one-name --type=json -p '[{"op": "replace", "path": "/spec/egress/1/toFQDNs/0/matchName", "value": "files.pythonhosted.org"}]' >/dev/null
checked_within "the policy lists another name: the first is refused" 5 not works gvisor1
f patch cnp one-name --type=json -p '[{"op": "replace", "path": "/spec/egress/1/toFQDNs/0/matchName", "value": "pypi.org"}]' >/dev/null
checked_within "and allowed again" 5 works gvisor1
nothing_leaked "labels and policies change"

# ---- the node's daemons, and the API server -------------------------------------------------------------------------------

cluster kill node2 kubelet
cluster kill node2 containerd
cluster start node2 containerd
cluster start node2 kubelet
cluster kill node1 kube-apiserver
sleep 10
for p in runc1 gvisor1; do check "$p works without the API server" cluster exec node1 true; done
cluster start node1 kube-apiserver
check "the API server is back" within 60 k get --raw /readyz
settle "kubelet, containerd, API server"
sender late3 node2 gvisor yes
equal "a pod afterwards" ok "$(firsts late3)"
f label pod runc2 held=no --overwrite >/dev/null
checked_within "the agent hears of labels again" 20 sh -c "'$top/tools/cluster' kubectl -n faults exec runc2 -- curl -sS -m 2 -o /dev/null http://203.0.113.10"
f label pod runc2 held=yes --overwrite >/dev/null
checked_within "both ways" 5 not f exec runc2 -- curl -sS -m 1 -o /dev/null http://203.0.113.10
sleep 0.5
leaks >/dev/null

# ---- drain, reboot --------------------------------------------------------------------------------------------------------

movers() { f get pods -l app=mover -o jsonpath="{.items[*].$1}"; }
check "node2 is drained" k drain node2 --pod-selector=app=mover --ignore-daemonsets --delete-emptydir-data --timeout=60s
check "its pods are on node1" within 30 sh -c "[ \"\$('$top/tools/cluster' kubectl -n faults get pods -l app=mover -o jsonpath='{.items[*].spec.nodeName}')\" = 'node1 node1' ]"
# shellcheck disable=SC2046 # names of pods
equal "and their first connections work there" "ok ok" "$(firsts $(movers metadata.name))"
k uncordon node2 >/dev/null
nothing_leaked "a node is drained"

cluster reboot node2
check "rebooted node2 is ready" sluice_ready
check "pods on it begin again" within 60 restarted runc2 gvisor2
for p in runc2 gvisor2; do check "$p works" within 30 works "$p"; done
nothing_leaked "a node reboots, and its pods begin before the agent"

check "uninstalled" sluice_uninstall
