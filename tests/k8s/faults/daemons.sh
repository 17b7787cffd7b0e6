# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh and senders.sh
# The agent and the proxy are killed and stopped, on both nodes at once. Sourced by faults.sh.

on_nodes() { # SIGNAL PROGRAM…
	local n
	for n in node1 node2; do
		# shellcheck disable=SC2016 # the node's shell
		cluster exec $n sh -c 's=$1; shift; for p; do kill -s "$s" $(pgrep -x "$p"); done' sh "$@"
	done
}
started_again() { # PROGRAM COUNT-BEFORE
	local container=agent
	[ "$1" = sluiced ] || container=dnsproxy
	[ "$(container_starts $container)" -gt "$2" ]
}
container_starts() { # CONTAINER
	k -n kube-system get pods -l app.kubernetes.io/name=sluice -o json |
		jq --arg c "$1" '[.items[].status.containerStatuses[] | select(.name == $c) | .restartCount] | add'
}

# What a fault may cost: of UDP nothing, of DNS nothing where the proxy lives. KIND of the tally.
part() { sed -nE "s/.*\b$1 ([0-9]+).*/\1/p" <<<"$2"; }
cost() { # WHAT BEFORE AFTER KIND…
	local kind
	for kind in "${@:4}"; do equal "$1: $kind" "$(part "$kind" "$2")" "$(part "$kind" "$3")"; done
}

killed() { # WHAT PROGRAM…
	local before starts=() p i=0 kinds=(lost forbidden)
	[ "$*" != "the agent is killed sluiced" ] || kinds+=(dns)
	before=$(tally app=all)
	starts=("$(container_starts agent)" "$(container_starts dnsproxy)")
	on_nodes KILL "${@:2}"
	for p in "${@:2}"; do
		[ "$p" = sluiced ] && i=0 || i=1
		checked_within "$1: kubelet starts $p again" 120 started_again "$p" "${starts[$i]}"
	done
	check "$1: ready again" sluice_ready
	all_is_well "$1" app=all 4
	cost "$1, and nothing of that is counted" "$before" "$(tally app=all)" "${kinds[@]}"
}

step_killed() {
	killed "the agent is killed" sluiced
	killed "the proxy is killed" sluice-dnsproxy
	killed "both are killed" sluiced sluice-dnsproxy
}

# A pod that starts meanwhile is closed until the agent goes on.
step_stopped() {
	local before
	before=$(tally app=all)
	on_nodes STOP sluiced
	sender_pod late '{"app": "late"}' runc node2 "${allowed[@]}" "${forbidden[@]}" | k apply -f - >/dev/null
	sleep $away
	checked_within "a pod starts meanwhile" 90 all_tell app=late 1 'all($t | to_entries[] | select(.key | startswith("-tcp")); .value.tried > 3)'
	check "and reaches nothing" all_tell app=late 1 'all($t[]; .answered == 0)'
	cost "the agent stopped for $away s, and nothing of that is counted" "$before" "$(tally app=all)" lost dns forbidden
	on_nodes CONT sluiced
	all_is_well "a pod that started meanwhile" app=late 1
	k -n $space delete pod late --wait=false >/dev/null
	before=$(tally app=all)
	on_nodes STOP sluice-dnsproxy sluiced
	sleep $away
	on_nodes CONT sluice-dnsproxy sluiced
	check "ready again" sluice_ready
	all_is_well "both stopped for $away s" app=all 4
	cost "both stopped for $away s, and nothing of that is counted" "$before" "$(tally app=all)" lost forbidden
}
