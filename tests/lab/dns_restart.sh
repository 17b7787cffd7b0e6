#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The DNS proxy replaced and killed under load: a new one started beside the old takes its place and no query is lost; after
# a kill none is lost beyond the client's own first retry. Never is one answered wrongly.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# shellcheck source=tests/lab/dns/lib.sh
. "$tests_lab/dns/lib.sh"

RATE=300

dns_begin
sandbox_policy '{matchPattern: "*.ok.example"}' | sluice_policy sandbox.yaml
neighbour_policy '{matchPattern: "*.near.example"}' | sluice_policy neighbour.yaml
both_pods
sluice_start
pid_now() { bpfctl -o json status | json "x['dns_proxy']['pid']"; }

# TITLE: what must hold of any load.
judge_load() {
	load_show "$1"
	equal "$1: queries lost after the client's own retry" 0 "$(load_result "$1" lost)"
	equal "$1: wrong answers" 0 "$(load_result "$1" wrong)"
}

load_start control "$NEIGHBOUR" $RATE 3
judge_load control
equal "control: queries that needed a retry" 0 "$(load_result control retried)"

# A new proxy beside the old, as an upgrade does it, twice.
old=$(pid_now)
load_start hand-over "$NEIGHBOUR" $RATE 8
run_checks restart.py "$(lab_dir)/over" &
connection=$!
sleep 2
lab start node sluice-dnsproxy-2 "$BUILD/bin/sluice-dnsproxy"
await 10 grep -q serving "$(lab_dir)/log/sluice-dnsproxy-2.log"
: >"$(lab_dir)/over"
new=$(pid_now)
check "hand-over: another process serves ($old, then $new)" [ "$new" != "$old" ]
judge_load hand-over
equal "hand-over: queries that needed a retry" 0 "$(load_result hand-over retried)"
equal "hand-over: SERVFAIL" 0 "$(load_result hand-over servfail)"
wait $connection || fail "hand-over: the old proxy's connection"
check "hand-over: the old one ends when it has drained" await 15 not lab alive sluice-dnsproxy
check "hand-over: the new one stays" lab alive sluice-dnsproxy-2

# Killed, and started again by whoever did so, a second later.
load_start kill "$NEIGHBOUR" $RATE 6
sleep 2
lab signal sluice-dnsproxy-2 KILL
sleep 1
sluice_start_proxy
judge_load kill
echo "     kill: $(load_result kill retried) queries of $(load_result kill seconds_without_answers) s had to be asked again"
check "kill control: the load saw it" [ "$(load_result kill retried)" -gt 0 ]

# Told to end, with its successor already there.
load_start term "$NEIGHBOUR" $RATE 5
sleep 1
lab start node sluice-dnsproxy-3 "$BUILD/bin/sluice-dnsproxy"
await 10 grep -q serving "$(lab_dir)/log/sluice-dnsproxy-3.log"
# It may have drained and ended by itself meanwhile: nothing waits for it any more.
lab signal sluice-dnsproxy TERM 2>/dev/null || not lab alive sluice-dnsproxy
judge_load term
equal "a successor, then TERM: queries that needed a retry" 0 "$(load_result term retried)"
equal "of denied names, packets at the resolver" 0 "$(seen_count upstream 'load\x04evil')"
lab signal sluice-dnsproxy-3 TERM
check "TERM ends it" await 10 not lab alive sluice-dnsproxy-3
