#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Whichever resolver the pod asks, the trusted one answers, by policy; the lying ones see no query, and their answers
# open nothing (D6, D7, D16).
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

lab_begin
canary_start internet
canary_start dns
equal "control: 8.8.8.8 lies" 6.6.6.6 "$(ask 8.8.8.8 pypi.org A)"
equal "control: 6.6.6.6 lies over IPv6" 2001:db8:666::6 "$(ask 2001:db8:666::6 pypi.org AAAA)"
check "control: 6.6.6.6:443 is there" connects 6.6.6.6 443

sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"
sluice_start
start=$(monotonic)
for server in 8.8.8.8 6.6.6.6 172.20.0.10 10.0.2.53 192.0.2.200 2001:4860:4860::8888 fd00:ac14::a fd00:20::53; do
	for proto in +notcp +tcp; do
		equal "$server $proto: allowed name" 203.0.113.10 "$(ask "$server" pypi.org A $proto)"
		equal "$server $proto: allowed name, AAAA" 2001:db8:113::10 "$(ask "$server" pypi.org AAAA $proto)"
		equal "$server $proto: unlisted name" "" "$(ask "$server" blocked-example.example.com A $proto)"
	done
done
answer=$(pod kdig +time=2 +retry=0 @8.8.8.8 blocked-example.example.com A)
check "a denied name is NOERROR" grep -q 'status: NOERROR' <<<"$answer"
check "with an SOA" grep -q 'SOA' <<<"$answer"
check "the answer comes from the address that was asked" grep -q 'From 8.8.8.8@53' <<<"$answer"
equal "frames to port 53 in the internet" 0 "$(canary_count internet "r['time'] > $start and r.get('dport') == 53")"
equal "frames of the pod in the dns namespace" 0 \
	"$(canary_count dns "r['time'] > $start and r.get('src') in ('10.0.1.5', 'fd00::5')")"
check "the attacker's address stays closed" not connects 6.6.6.6 443
check "the real one is open" connects 203.0.113.10 443
