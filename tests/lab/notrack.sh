#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# DNS to a Service's address where kube-proxy's rules translate it: handed-over queries and their answers are kept out of
# connection tracking by a table of Sluice's own, which is put back when it is gone and goes with `bpfctl cleanup`.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
for tool in nft iptables iptables-legacy conntrack; do
	command -v $tool >/dev/null || { echo "skipped: no $tool"; exit 77; }
done

SERVICE4=172.20.0.53 SERVICE6=fd00:ac14::53
resolves() { [ "$(ask "$1" pypi.org A "${@:2}")" = 203.0.113.10 ]; }
all_resolve() { resolves $SERVICE4 && resolves $SERVICE4 +tcp && resolves $SERVICE6 && resolves $SERVICE6 +tcp; }
table() { node nft list table inet sluice 2>/dev/null; }
has_rule() { [[ $(table) == *notrack* ]]; }
whole() { [ "$(table)" = "$wanted" ]; }
tracked() { # of the pod's DNS
	local n=0 f
	for f in "-f ipv4 -s 10.0.1.5" "-f ipv6 -s fd00::5"; do
		for p in udp tcp; do
			# shellcheck disable=SC2086 # options
			n=$((n + $(node conntrack -L $f -p $p --dport 53 2>/dev/null | wc -l)))
		done
	done
	echo $n
}

# As kube-proxy's modes do it.
translate_iptables() { # COMMAND
	local p
	for p in udp tcp; do
		node "$1" -t nat -A PREROUTING -d $SERVICE4 -p $p --dport 53 -j DNAT --to-destination 172.20.0.10:53
		node "${1/ip/ip6}" -t nat -A PREROUTING -d $SERVICE6 -p $p --dport 53 -j DNAT \
			--to-destination "[fd00:ac14::a]:53"
	done
}
translate_nft() {
	node nft -f - <<-END
		table inet kube-proxy {
			chain nat-prerouting {
				type nat hook prerouting priority dstnat
				ip daddr $SERVICE4 meta l4proto { tcp, udp } th dport 53 dnat ip to 172.20.0.10:53
				ip6 daddr $SERVICE6 meta l4proto { tcp, udp } th dport 53 dnat ip6 to [fd00:ac14::a]:53
			}
		}
	END
}
untranslate() {
	local c
	for c in iptables iptables-legacy ip6tables ip6tables-legacy; do node $c -t nat -F; done
	! node nft list table inet kube-proxy >/dev/null 2>&1 || node nft delete table inet kube-proxy
}

lab_begin
sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"
translate_nft
check "control: without Sluice the Service's address answers by the translation" \
	[ "$(ask $SERVICE4 echo.example.com A +tcp)" = "$(ask 172.20.0.10 echo.example.com A +tcp)" ]
untranslate
sluice_start
check "the table is there" has_rule
wanted=$(table)

for mode in "nft" "iptables iptables" "iptables iptables-legacy"; do
	# shellcheck disable=SC2086 # two words
	translate_$mode
	node conntrack -F 2>/dev/null
	check "$mode: UDP, IPv4" resolves $SERVICE4
	check "$mode: UDP, IPv6" resolves $SERVICE6
	check "$mode: TCP, IPv4" resolves $SERVICE4 +tcp
	check "$mode: TCP, IPv6" resolves $SERVICE6 +tcp
	check "$mode: any other server's address too" resolves 8.8.8.8 +tcp
	equal "$mode: entries of connection tracking" 0 "$(tracked)"

	lab signal sluiced STOP
	node nft delete table inet sluice
	check "$mode: control: without the table TCP fails" not resolves $SERVICE4 +tcp
	check "$mode: control: IPv6 too" not resolves $SERVICE6 +tcp
	resolves 8.8.8.8 || true
	check "$mode: control: and queries are tracked" [ "$(tracked)" -gt 0 ]
	lab signal sluiced CONT
	check "$mode: the table is put back" await 5 whole
	check "$mode: and everything resolves" all_resolve
	untranslate
done

node nft flush ruleset
check "flushed with all others, it is put back" await 5 whole
node nft flush chain inet sluice queries
check "without a rule" await 5 whole
node nft add rule inet sluice answers drop
check "with another rule" await 5 whole
node nft "delete table inet sluice; add table inet sluice { chain queries { type filter hook prerouting priority raw; policy drop; }; }"
check "somebody else's of the same name" await 5 whole
node nft "add table inet sluice { flags dormant; }"
check "put to sleep" await 5 whole
check "the log says so" grep -q 'put back' "$(lab_dir)/log/sluiced.log"
lines=$(grep -c 'put back' "$(lab_dir)/log/sluiced.log")
node nft add table inet other
sleep 2.5
equal "while it is whole it is left alone, whatever others change" "$lines" "$(grep -c 'put back' "$(lab_dir)/log/sluiced.log")"
node nft delete table inet other
translate_nft
check "everything resolves" all_resolve

lab signal sluiced KILL
handle=$(node nft -a list table inet sluice | sed -n 's/^table.*handle //p')
check "with the agent dead too" all_resolve
sluice_start_agent
check "it is back" await 10 agent_answers
equal "a new agent takes the table over as it is" "$handle" "$(node nft -a list table inet sluice | sed -n 's/^table.*handle //p')"

sluice_stop
check "cleanup says what it would do" grep -q 'would remove table: inet sluice' <(bpfctl cleanup -n)
check "cleanup" quiet bpfctl cleanup
check "leaves no table" not has_rule
check "and nobody else's goes" quiet node nft list table inet kube-proxy
