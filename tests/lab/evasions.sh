#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a hostile root in the pod sends to get round the policy: raw frames and crafted queries (frames.py, README.md has the
# table). Without Sluice each arrives where it should not; with it none does, and the counter that must rise rises. $1
# "gvisor", "kata": from under that runtime (runtimes.sh).
# In an emulated machine (tests/kernels), where a process takes a second to start, the frames without Sluice are left out,
# and the counters are read once, after all cases.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# shellcheck source=tests/lab/runtimes.sh
. "$tests_lab/runtimes.sh"

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
	coproc SENDER { pod python3 "$frames" send "$1" "$mac" "$FRAMES_WAY"; }
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
neighbour_known() { grep -q "^${where[$1]#neighbour } .*lladdr" <<<"$(node ip neigh show dev eni97a39772326)"; }

lab_begin
runtime_start "${1:-}"
# A node that filters no source by itself: what stops a forged one is then Sluice.
node sh -c 'echo 0 >/proc/sys/net/ipv4/conf/eni97a39772326/rp_filter'
canary_start internet
canary_start dns
lab start node canary-node python3 "$frames" listen "$(lab_dir)/canary-node.json"
await 5 grep -q listening "$(lab_dir)/canary-node.json"

# ---- control ----

# What a runtime's stack does not put on the wire. gVisor's sends no source but its own, and to no IPv6 group unasked.
declare -A unsent=()
[ "$RUNTIME" != gvisor ] || for name in L3-neighbour-4 L3-stranger-4 L7-multicast-6; do unsent[$name]=1; done

control() {
	sender_start control
	for name in "${cases[@]}"; do
		[[ $name == I7-* ]] || send_case "$name"
		[ "$sent" != 0 ] || [ "$FRAMES_WAY" = frames ] || unsent[$name]=1
		[[ ${where[$name]} != neighbour* || -n "${unsent[$name]:-}" ]] || await 3 neighbour_known "$name" ||
			fail "control: $name leaves no trace in the node's neighbour table: the case proves nothing"
	done
	send_pinholes send_case
	sender_stop
	seen=$(arrived internet dns node)
	mapfile -t cases < <(for name in "${cases[@]}"; do [ -n "${unsent[$name]:-}" ] || echo "$name"; done)
	check "control: cases that $FRAMES_WAY can send, ${#cases[@]}" [ ${#cases[@]} -ge 90 ]
	for name in "${cases[@]}"; do
		[[ ${where[$name]} == neighbour* ]] || grep -qixF -- "$name" <<<"$seen" ||
			fail "control: $name does not arrive in ${where[$name]}: the case proves nothing"
	done
	[ "$failures" -gt 0 ] || pass "control: without Sluice all ${#cases[@]} cases arrive"
	node ip neigh flush dev eni97a39772326 nud all
}
[ -n "${SLUICE_UNDER_EMULATION:-}" ] || control

# ---- enforced ----

sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"
sluice_start

# What grew by how much between two readings of both pages, for reason $5: all drops, hand-overs, drops for the reason, or the
# proxy's counter "dns COUNTER".
growth() { # ENDPOINT-BEFORE ENDPOINT-NOW STATUS-BEFORE STATUS-NOW REASON
	python3 -c 'import json, sys
pages, reason = [json.loads(text) for text in sys.argv[1:5]], sys.argv[5]
def numbers(endpoint, status):
    counts = status["dns_proxy"]["counts"] if reason.startswith("dns ") else endpoint["drops"]
    return endpoint["dropped"], endpoint["dns_assigned"], counts.get(reason.removeprefix("dns "), 0)
print(*(now - was for was, now in zip(numbers(pages[0], pages[2]), numbers(pages[1], pages[3]))))' "$@"
}

# Every case is compared with what was there after the one before it.
endpoint() { bpfctl -o json endpoint get "$POD_PATH"; }
status() { bpfctl -o json status; }
enforce_case() {
	local why=${reason[$1]} endpoint_before=$endpoint_now status_before=$status_now dropped assigned counted
	send_case "$1"
	if [ -n "${SLUICE_UNDER_EMULATION:-}" ]; then
		wanted[$why]=$((${wanted[$why]:-0} + 1))
		return
	fi
	endpoint_now=$(endpoint)
	[[ $why != assigned && $why != dns* ]] || status_now=$(status)
	read -r dropped assigned counted \
		< <(growth "$endpoint_before" "$endpoint_now" "$status_before" "$status_now" "$why")
	case $why in
	none) ;;
	assigned) check "$1: handed to the proxy" [ "$assigned" -ge 1 ] ;;
	dns*) check "$1: handed to the proxy, $why" [ $((assigned >= 1 && counted >= 1)) = 1 ] ;;
	*) check "$1: dropped, $why" [ $((dropped >= sent && counted >= 1)) = 1 ] ;;
	esac
}

declare -A wanted
endpoint_now=$(endpoint)
status_now=$(status)
sender_start enforced
for name in "${cases[@]}"; do
	[[ $name == I7-* ]] || enforce_case "$name"
done
send_pinholes enforce_case
sender_stop
for why in "${!wanted[@]}"; do
	read -r dropped assigned counted < <(growth "$endpoint_now" "$(endpoint)" "$status_now" "$(status)" "$why")
	case $why in
	none) ;;
	assigned) check "handed to the proxy: ${wanted[$why]} cases" [ "$assigned" -ge "${wanted[$why]}" ] ;;
	*) check "$why: ${wanted[$why]} cases" [ "$counted" -ge "${wanted[$why]}" ] ;;
	esac
done
seen=$(arrived internet dns node)
equal "of ${#cases[@]} cases, those that arrived: the answers to a peer that spoke first" "i7-answer-4 i7-answer-6" \
	"$(paste -sd' ' <<<"$seen")"
for name in "${cases[@]}"; do
	[[ ${where[$name]} != neighbour* ]] || check "$name: the node believes none of it" not neighbour_known "$name"
done
