#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Settings of the node under which handed-over DNS would fail (hazard 29): mended, put back, or said. The same for pins.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# shellcheck disable=SC2120 # options of kdig are optional
resolves() { [ "$(ask 8.8.8.8 pypi.org A "$@")" = 203.0.113.10 ]; }
rules() { node ip rule show fwmark 0x1000/0x1000 | wc -l; }
whole() { [ "$(rules)" = 3 ] && [ "$(node ip -6 rule show fwmark 0x1000/0x1000 | wc -l)" = 1 ] && resolves; }

status_says() { bpfctl status | grep -q "$1"; }

lab_begin
sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"
sluice_start
check "names resolve" resolves
node sh -c 'echo 1 >/proc/sys/net/ipv4/conf/all/src_valid_mark'
check "with src_valid_mark too" resolves
check "and over TCP" resolves +tcp

lab signal sluiced STOP
node ip rule delete pref 4
check "control: it is the rule past the table that mends it" not resolves
lab signal sluiced CONT
check "it is put back" await 10 whole

node ip rule delete pref 5
node ip -6 rule delete pref 5
check "rules that somebody deletes are put back" await 10 whole
node ip route flush table 2053
node ip -6 route flush table 2053
check "routes too" await 10 whole
check "the log says so" grep -q 'put back' "$(lab_dir)/log/sluiced.log"

node sh -c 'echo 1 >/proc/sys/net/ipv4/tcp_fwmark_accept'
check "tcp_fwmark_accept is reported" await 15 status_says tcp_fwmark_accept
node sh -c 'echo 0 >/proc/sys/net/ipv4/tcp_fwmark_accept'

node rm /sys/fs/bpf/sluice/names
node mv /sys/fs/bpf/sluice/leases /sys/fs/bpf/sluice/names
check "pins that lead elsewhere are put back" await 15 node test -e /sys/fs/bpf/sluice/leases
check "and reported" await 5 status_says 'led to others'

# ---- what the node's own packet filter drops ------------------------------------------------------------------------

status_quiet() { ! status_says "$1"; }
asks() { for _ in 1 2 3 4 5; do ask 8.8.8.8 pypi.org A +time=1 +retry=0 "$@" >/dev/null || true; done; }
# Asked again: what comes in one second with what arrived, or while the proxy had no processor, is not gone by.
noticed() { # WORDS OPTION…
	asks "${@:2}"
	status_says "$1"
}
mended() { # WORDS
	asks
	status_quiet "$1"
}
# A filter as an administrator writes one: what is not admitted drops.
admit_only() { node "$1" -A INPUT -i lo -j ACCEPT && node "$1" -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT && node "$1" -P INPUT DROP; }
restart_agent() {
	lab signal sluiced TERM
	await 10 not_alive
	sluice_start_agent
	await 10 agent_answers
}
not_alive() { ! lab alive sluiced; }

if ! command -v nft iptables iptables-legacy >/dev/null; then
	echo "note: no nft or iptables here: the filter's part is not run"
	exit
fi
check "control: nothing is reported of a filter" status_quiet 'nf_tables\|iptables'
admit_only iptables
check "an input policy of drop by iptables-nft: DNS fails" not resolves
check "what does not arrive is reported" await 25 noticed 'queries by UDP were handed to the proxy and did not arrive'
check "and the chain that may be why" status_says 'chain ip filter INPUT drops'
check "connections too" await 25 noticed 'connections by TCP were handed to the proxy and did not arrive' +tcp
node iptables -I INPUT -m mark --mark 0x1000/0x1000 -j ACCEPT
check "what the report asks for mends it" resolves
check "over TCP" resolves +tcp
check "and ends the report" await 15 mended 'did not arrive\|nf_tables'
restart_agent
check "a new agent tells before anybody asks" status_says 'chain ip filter INPUT drops'
check "and no more once something arrives" await 15 mended nf_tables
node iptables -F
node iptables -P INPUT ACCEPT

node nft 'add table inet f; add chain inet f in { type filter hook input priority filter; policy accept; }; add rule inet f in udp dport 53 drop'
check "a rule that drops is found by what does not arrive" await 25 noticed 'queries by UDP were handed to the proxy'
check "TCP is not reported, as it does" status_quiet 'connections by TCP'
node nft delete table inet f
check "and no more without it" await 15 mended 'did not arrive'

node sh -c 'iptables -A OUTPUT -p udp --dport 53 -j ACCEPT; iptables -A OUTPUT -o lo -j ACCEPT; iptables -P OUTPUT DROP'
check "control: an output policy of drop: DNS fails" not resolves
check "answers that it drops are reported" await 25 noticed 'answers to pods were dropped by this node'
check "and the chain that may be why" status_says 'chain ip filter OUTPUT drops'
check "and the mark it must admit" status_says 'OUTPUT.*mark 0x2000/0x2000'
node iptables -I OUTPUT -m mark --mark 0x2000/0x2000 -j ACCEPT
check "what the report asks for mends it" resolves
check "and ends the report" await 25 mended 'answers to pods\|OUTPUT'
node iptables -F
node iptables -P OUTPUT ACCEPT

admit_only iptables-legacy
check "iptables-legacy: what does not arrive is reported" await 25 noticed 'did not arrive'
check "and that its filter is not looked into" status_says 'iptables-legacy: there is a filter'
node iptables-legacy -P INPUT ACCEPT
node iptables-legacy -F
check "it all works again" resolves

# ---- settings of one interface ----------------------------------------------------------------------------------------

conf=/proc/sys/net/ipv4/conf/eni97a39772326
node sh -c "echo 0 >/proc/sys/net/ipv4/conf/all/src_valid_mark; echo 1 >$conf/src_valid_mark"
check "src_valid_mark of the interface alone" resolves
node sh -c "echo 1 >$conf/rp_filter"
check "with a strict rp_filter of its own" resolves
check "and over TCP" resolves +tcp
lab signal sluiced STOP
node ip rule delete pref 4
check "control: it is the rule past the table that mends that too" not resolves
lab signal sluiced CONT
check "which is put back" await 10 whole
