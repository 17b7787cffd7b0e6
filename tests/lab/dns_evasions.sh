#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The ways round a list of names that lead through DNS, D1–D16 (dns/evasions.py): each with the answer the pod gets and the
# packets that reach a resolver, which for a denied query are none. Without Sluice each of them arrives.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# shellcheck source=tests/lab/dns/lib.sh
. "$tests_lab/dns/lib.sh"

dns_begin 'queryTimeout: 2s, queryTries: 2'
canary_start internet
canary_start dns
# Others a pod might turn to: a cache on the node, a resolver in a pod, and the attacker's.
node ip address add 169.254.20.10/32 dev lo
resolver_start node nodelocal 169.254.20.10 10.0.0.10
resolver_start "$NEIGHBOUR" podresolver 10.0.1.6
LIE=1 resolver_start internet attacker 192.0.2.44
d8="r.get('marker', '').lower().startswith('sluice-d8') or r.get('dport') in (853, 443)"

run_checks evasions.py control
equal "D8 control: packets to other protocols' ports arrive" 8 "$(canary_count internet "$d8 and r.get('src') == '10.0.1.5'" |
	awk '{print ($1 >= 8) ? 8 : $1}')"

sandbox_policy '{matchPattern: "*.ok.example"}' | sluice_policy sandbox.yaml
neighbour_policy '{matchName: neighbour.example}' | sluice_policy neighbour.yaml
both_pods
sluice_start
start=$(monotonic)
run_checks evasions.py enforced
equal "D8: packets to other protocols' ports" 0 "$(canary_count internet "r['time'] > $start and ($d8) and \
	r.get('src') == '10.0.1.5' and r.get('dst') not in ('203.0.113.10', '198.51.100.30')")"
equal "frames of the pods in the resolver's namespace" 0 \
	"$(canary_count dns "r['time'] > $start and r.get('src') in ('10.0.1.5', 'fd00::5', '10.0.1.6', 'fd00::6')")"
equal "frames to port 53 in the internet" 0 "$(canary_count internet "r['time'] > $start and r.get('dport') == 53")"

sluice_stop
sed -i 's|^dns: {|&denyPrivateAnswers: true, queryTypes: [A, AAAA, HTTPS], newNamesPerMinute: 120, |' "$(lab_dir)/sluice/sluice.yaml"
bpfctl cleanup --force >/dev/null
sluice_start
run_checks evasions.py settings
