#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Many pods come and go, in waves, of both runtimes, on both nodes: each tries what is allowed and what is not from its first
# instruction on. No frame may leave that is not allowed, and no first packet that is may be lost. Before that, so that these
# zeros say something: what four of them count without Sluice; where no CNI plugin closes their interfaces and the agent is stopped;
# and with a first packet that nothing allows.
#
#   crowd.sh [PODS [AT-ONCE [ONE-OF]]]   500, 32, and one of 2 of them in gVisor; ctest: 24 12
# shellcheck source=tests/k8s/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# shellcheck source=tests/k8s/senders.sh
. "$tests_k8s/senders.sh"
pods=${1:-500} wave=${2:-32} gvisor=${3:-2}

# Few of each, so that the machine is left to those that start.
each=(udp/198.51.100.30/7000 udp/2001:db8:100::30/7000 "dns/$resolver/pypi.org" -udp/198.51.100.20/7000 -tcp/8.8.8.8/443)
few=("${each[@]}")
come() { # WAVE HOW-MANY
	local i r
	for ((i = 0; i < $2; i++)); do
		r=runc
		[ $((i / 2 % gvisor)) -ne 0 ] || r=gvisor
		sender_pod "wave$1-$i" "{\"app\": \"wave$1\"}" $r node$((i % 2 + 1)) --every 2 "${few[@]}"
	done | k apply -f - >/dev/null
	k -n $space wait --for=condition=Ready pod -l app="wave$1" --timeout=300s
}
# Of all that the pods of a wave told, by jq, into files: pods, first packets, those lost, later ones lost, forbidden that were
# answered; and which the lost ones were.
every_tried='all($t[]; .tried > 0)'
note() { # WAVE
	told app="wave$1" >"$folder/told"
	jq -src '[.[].targets | to_entries[]] as $t | ($t | map(select(.key | startswith("-") | not) | .value)) as $ok |
		[length, ($ok | length), ($ok | map(select(.first | not)) | length), ($ok | map(.lost) | add),
		 ($t | map(select(.key | startswith("-")) | .value.answered) | add)] | @tsv' "$folder/told" >>"$folder/crowd"
	jq -r '.pod as $pod | .targets | to_entries[] | select((.key | startswith("-") | not) and (.value.first | not)) |
		"\($pod) \(.key): tried \(.value.tried), lost \(.value.lost)"' "$folder/told" >>"$folder/crowd-lost"
}
forget() {
	: >"$folder/crowd"
	: >"$folder/crowd-lost"
}
sum() { awk -v c="$1" '{ s += $c } END { print s + 0 }' "$folder/crowd"; } # COLUMN

late() { cat $folder/log/node[12].containerd.log | grep -c 'sluice-cni: .*starts closed' || true; }

# NAME TARGET…: four of both runtimes, and what they count.
four() {
	forget
	few=("${@:2}")
	check "$1: 4 pods run" come "$1" 4
	checked_within "$1: each has tried everything" 120 all_tell app="wave$1" 4 "$every_tried"
	note "$1"
	k -n $space delete pod -l app="wave$1" --wait >/dev/null
	few=("${each[@]}")
}
without_sluice() {
	uplinks_start bare
	four bare "${each[@]}"
	uplinks_stop bare
	equal "without Sluice no first packet is lost" 0 "$(sum 3)"
	check "what is forbidden is reached" [ "$(sum 5)" -gt 0 ]
	check "and its frames are seen" [ "$(uplinks_count bare "$beyond and not $listed")" -gt 0 ]
}
on_agents() { # SIGNAL
	local n
	for n in node1 node2; do cluster exec $n sh -c "kill -s $1 \$(pgrep -x sluiced)"; done
}
without_plugin() {
	check "the chart is installed, without its CNI plugin" sluice_install --set crds.install.ciliumNetworkPolicy=true \
		--set cni.install=false
	senders_policy
	four unheld "${each[@]}"
	echo "without the plugin, of $(sum 2) first packets lost: $(sum 3); of what is forbidden, reached: $(sum 5)"
	on_agents STOP
	four unclosed "${each[@]}"
	on_agents CONT
	check "with the agents stopped, too, what is forbidden is reached" [ "$(sum 5)" -gt 0 ]
}
with_plugin() {
	four nowhere "udp/$X/7000" "${each[@]}"
	equal "a first packet that nothing allows is counted as lost, of each" 4 "$(sum 3)"
	equal "and none of what is forbidden as reached" 0 "$(sum 5)"
}

k8s_begin
late_before=$(late)
senders_begin
without_sluice
without_plugin
# However long an agent waits for the processor: what starts closed after all is told apart below.
check "the chart is installed" sluice_install --set crds.install.ciliumNetworkPolicy=true --set cni.install=true \
	--set cni.waitSeconds=60
with_plugin
uplinks_start crowd
[ "$failures" -eq 0 ] || exit 1
forget
started=$SECONDS
for ((number = 0; number * wave < pods; number++)); do
	n=$((pods - number * wave < wave ? pods - number * wave : wave))
	check "wave $number: $n pods run" come $number $n
	checked_within "wave $number: each has tried everything" 120 all_tell app=wave$number $n "$every_tried"
	note $number
	k -n $space delete pod -l app=wave$number --wait=false >/dev/null
done
echo "$(sum 1) pods in $((SECONDS - started)) s"
uplinks_stop crowd
equal "so many told" "$pods" "$(sum 1)"
equal "pods that started closed, since the agent was late" 0 $(($(late) - late_before))
equal "of $(sum 2) first packets that are allowed, lost" 0 "$(sum 3)"
cat "$folder/crowd-lost"
equal "of later ones, lost" 0 "$(sum 4)"
equal "what is forbidden, reached" 0 "$(sum 5)"
equal "frames beyond the uplinks that no policy allows" 0 "$(uplinks_count crowd "$beyond and not $listed")"
check "and there were such as it allows" [ "$(uplinks_count crowd "$beyond and $listed")" -ge "$((2 * pods))" ]
