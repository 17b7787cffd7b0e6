#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Pods made in a row, each sending from its first instant. With the agent alone: what gets out before an interface is closed,
# and when that is, are counted and shown. With sluice-cni nothing gets out, whether the agent runs, is stopped or dead.
#
#   many_pods.sh [COUNT [clsact]]     COUNT pods by announcement (50); by sluice-cni 100 with the agent dead, 20 otherwise
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

count=${1:-50}
with_cni=20 dead=100
[ "${2:-}" != clsact ] || export SLUICE_EXTRA='bpf: {attach: clsact}'
export SLUICE_INTERFACES='{auto: true, prefixes: [eni, vlan]}'
canary=$(lab_dir)/canary-internet.json
# What sluice-cni waits for comes from nobody here: these pods have no endpoint.
no_wait='{"waitSeconds": 0}'

make() { # NAME COUNT OPTION…
	node python3 "$tests_lab/many_pods.py" make "${@:2}" >"$(lab_dir)/pods-$1.json"
	sleep 0.5
}
report() { node python3 "$tests_lab/many_pods.py" report "$(lab_dir)/pods-$1.json" "$canary" "${@:2}"; }
no_barriers() { [ "$(node nft list table netdev sluice-barrier | grep -c pod-)" = 0 ]; }
nothing_left() { [ "$(node ls /sys/fs/bpf/sluice/links | wc -l)" -le 4 ]; }

lab_begin
# No check of the way back: a frame gets out at once, not only when there is a route to its pod.
node sh -c 'echo 0 >/proc/sys/net/ipv4/conf/default/rp_filter'
sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"
canary_start internet
make control 5
check "control, without Sluice: pods are never closed" not quiet report control
seen=$(canary_count internet "'SLUICE-p' in r.get('marker', '')")
check "control: the canary sees their frames ($seen)" [ "$seen" -gt 100 ]

make cni-first "$with_cni" --cni "$BUILD/bin/sluice-cni" --settings "$no_wait"
check "sluice-cni before any agent ever ran: nothing gets out of $with_cni pods" report cni-first --none

sluice_start
make announced "$count"
check "agent alone: each of $count pods is closed" report announced
interfaces() { bpfctl -o json status | json "x['agent']['details']['interfaces']['$1']"; }
echo "     from reading an announcement to the barrier, at worst: $(interfaces slowest_barrier_microseconds) us;" \
	"to its programs: $(interfaces slowest_microseconds) us; by the ordinary thread: $(interfaces closed_by_hand), two of before;" \
	"real-time: $(interfaces realtime)"
equal "none went without a barrier" 0 "$(interfaces without_barrier)"
check "nor is any left" await 5 no_barriers
check "they have gone, and so have their links" await 5 nothing_left
make cni-agent "$with_cni" --cni "$BUILD/bin/sluice-cni" --settings "$no_wait"
check "sluice-cni with the agent: nothing gets out of $with_cni pods" report cni-agent --none

lab signal sluiced STOP
make cni-stopped "$with_cni" --cni "$BUILD/bin/sluice-cni" --settings '{"waitSeconds": 0.05}'
check "the agent stopped: nothing gets out of $with_cni pods" report cni-stopped --none
lab signal sluiced CONT
lab signal sluiced KILL
check "the agent is dead" await 5 not lab alive sluiced
make cni-dead "$dead" --cni "$BUILD/bin/sluice-cni" --settings "$no_wait"
check "the agent dead: nothing gets out of $dead pods" report cni-dead --none
sluice_start_agent
check "agent back" await 15 agent_answers
check "links of what is gone are gone" await 10 nothing_left
bpfctl status | grep ^interfaces
