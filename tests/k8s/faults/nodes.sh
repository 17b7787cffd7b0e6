# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh and senders.sh
# What a node stands on goes away. Sourced by faults.sh.

restarted() { # NODE DAEMON
	cluster kill "$1" "$2" && sleep 3 && cluster start "$1" "$2"
}
node_ready() { # NODE
	[ "$(k get node "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')" = True ]
}
newcomers() { # WHAT
	local name=new-$((++newcomer))
	check "$1: new pods run" senders $name "${allowed[@]}" "${forbidden[@]}"
	all_is_well "$1: new pods" app=$name 4
	check "$1: their first packets were answered" all_tell app=$name 4 "$first"
	k -n $space delete pod -l app=$name --wait=false >/dev/null
}
newcomer=0

step_kubelet() {
	local n d before
	before=$(tally app=all)
	for d in kubelet containerd; do
		for n in node1 node2; do check "$n: $d is killed and started" restarted $n $d; done
	done
	for n in node1 node2; do checked_within "$n is Ready" 120 node_ready $n; done
	check "Sluice is" sluice_ready
	all_is_well "after kubelet and containerd" app=all 4
	cost "and nothing of that is counted" "$before" "$(tally app=all)" lost dns forbidden
	newcomers "after kubelet and containerd"
}

api_answers() { k get --raw /readyz; }

step_api() {
	local before
	before=$(tally app=all)
	check "the API server is killed" cluster kill node1 kube-apiserver
	sleep $away
	check "and started after $away s" cluster start node1 kube-apiserver
	checked_within "it answers" 60 api_answers
	all_is_well "after that" app=all 4
	cost "and nothing of that is counted" "$before" "$(tally app=all)" lost dns forbidden
	opens back "app: all" $X
	newcomers "after that"
	closes back
}

# Its pods start with the agent, not after it: until it knows them they are closed.
step_reboot() {
	local since
	since=$(date +%s)
	check "node2's power is lost, and comes back" cluster reboot node2
	checked_within "node2 is Ready" 120 node_ready node2
	checked_within "its pods run again" 180 all_tell app=all 4 ".started > $since or (.pod | endswith(\"1\"))"
	checked_within "Sluice is ready" 180 sluice_ready
	all_is_well "after that" app=all 4
	newcomers "after that"
}
