#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a hostile root in the pod sends to get round the policy: raw frames and crafted queries (frames.py, README.md has the
# table). Without Sluice each arrives where it should not; with it none does, and the counter that must rise rises.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

frames=$tests_lab/frames.py
mapfile -t cases < <(python3 "$frames" list)
declare -A where reason
for line in "${cases[@]}"; do
	IFS=$'\t' read -r name place why <<<"$line"
	where[$name]=$place reason[$name]=$why
done
mapfile -t cases < <(printf '%s\n' "${cases[@]}" | cut -f1)

# The pod's sender, one for each run: it reads a case's name, sends, and says how many frames it was.
sender_start() { # RUN
	local mac from to
	mac=$(node ip -br link show eni97a39772326 | awk '{print $3}')
	coproc SENDER { pod python3 "$frames" send "$1" "$mac"; }
	from=${SENDER[0]} to=${SENDER[1]}
	exec {sender_from}<&"$from" {sender_to}>&"$to" {from}<&- {to}>&-
	run=$1
}
sender_stop() {
	exec {sender_to}>&- {sender_from}<&-
	wait "$SENDER_PID" 2>/dev/null || true
}
send_case() { # CASE; sets $sent
	# In a subshell: a sender that has died is not our end.
	(echo "$1" >&"$sender_to") 2>/dev/null && read -r -t 20 sent <&"$sender_from" ||
		{ sent=0; fail "$1: the sender gave up"; }
}
peer() { # PORT DESTINATION-PORT: a datagram from the internet to the pod, both families
	lab exec internet python3 "$frames" peer 198.51.100.30 "$1" 10.0.1.5 "$2"
	lab exec internet python3 "$frames" peer 2001:db8:100::30 "$1" fd00::5 "$2"
}
send_pinholes() { # the peer speaks first, but for what was denied before it did
	"$1" I7-denied-before-4
	"$1" I7-denied-before-6
	peer 7777 4444
	peer 7779 4446
	for name in "${cases[@]}"; do
		[[ $name != I7-* ]] || "$1" "$name"
	done
}

# The cases of $run that arrived in places $@, sorted.
arrived() {
	local place
	sleep 0.3
	for place in "$@"; do
		[ "$place" != neighbours ] || continue
		grep -oiE "\"marker\": \"SLUICE-$run-[a-z0-9-]+" "$(lab_dir)/canary-$place.json" || true
	done | sed -E "s/.*SLUICE-$run-//I" | tr '[:upper:]' '[:lower:]' | sort -u
}
neighbour_known() { node ip neigh show dev eni97a39772326 | grep -q "^${where[$1]#neighbour } .*lladdr"; }

lab_begin
# A node that filters no source by itself: what stops a forged one is then Sluice.
node sh -c 'echo 0 >/proc/sys/net/ipv4/conf/eni97a39772326/rp_filter'
canary_start internet
canary_start dns
lab start node canary-node python3 "$frames" listen "$(lab_dir)/canary-node.json"
await 5 grep -q listening "$(lab_dir)/canary-node.json"

# ---- control ----

sender_start control
for name in "${cases[@]}"; do
	[[ $name == I7-* ]] || send_case "$name"
done
send_pinholes send_case
sender_stop
seen=$(arrived internet dns node)
for name in "${cases[@]}"; do
	case ${where[$name]} in
	neighbour*) neighbour_known "$name" ;;
	*) grep -qixF -- "$name" <<<"$seen" ;;
	esac || fail "control: $name does not arrive in ${where[$name]}: the case proves nothing"
done
[ "$failures" -gt 0 ] || pass "control: without Sluice all ${#cases[@]} cases arrive"
node ip neigh flush dev eni97a39772326 nud all

# ---- enforced ----

sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"
sluice_start

# One line: what is dropped in all, what was handed to the proxy, and the counter named: a drop reason or "dns COUNTER".
counters() {
	bpfctl -o json endpoint get "$POD_PATH" | json "'%d %d %d' % (x['dropped'], x['dns_assigned'], x['drops'].get('$1', 0))"
}
dns_counter() { bpfctl -o json status | json "x['dns_proxy']['counts']['$1']"; }

enforce_case() {
	local why=${reason[$1]} before after counter=0
	before=$(counters "$why")
	[[ $why != dns* ]] || counter=$(dns_counter "${why#dns }")
	send_case "$1"
	after=$(counters "$why")
	read -r dropped0 assigned0 reason0 <<<"$before"
	read -r dropped1 assigned1 reason1 <<<"$after"
	case $why in
	none) ;;
	assigned) check "$1: handed to the proxy" [ "$assigned1" -gt "$assigned0" ] ;;
	dns*)
		check "$1: handed to the proxy, $why" \
			[ $((assigned1 > assigned0 && $(dns_counter "${why#dns }") > counter)) = 1 ]
		;;
	*) check "$1: dropped, $why" [ $((dropped1 >= dropped0 + sent && reason1 > reason0)) = 1 ] ;;
	esac
}

sender_start enforced
for name in "${cases[@]}"; do
	[[ $name == I7-* ]] || enforce_case "$name"
done
send_pinholes enforce_case
sender_stop
seen=$(arrived internet dns node)
equal "of ${#cases[@]} cases, those that arrived: the answers to a peer that spoke first" "i7-answer-4 i7-answer-6" \
	"$(paste -sd' ' <<<"$seen")"
for name in "${cases[@]}"; do
	case ${where[$name]} in
	neighbour*) check "$name: the node believes none of it" not neighbour_known "$name" ;;
	esac
done
