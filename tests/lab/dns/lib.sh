# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the dns_*.sh share, on top of tests/lab/lib.sh: a resolver that answers what a test wants (upstream.py) and is the
# only trusted one, two pods under different policies, and programs that run on the node and reach into any namespace.

: "${tests_lab:?source tests/lab/lib.sh first}"
tests_dns=$tests_lab/dns
UPSTREAM=10.0.2.99 UPSTREAM6=fd00:20::99 # what upstream.py answers on; a second address of each to lie from
UPSTREAM_TOO=10.0.2.98
# shellcheck disable=SC2034 # the tests' own
NEIGHBOUR=neighbour NEIGHBOUR_PATH=default/neighbour
export LAB_UPSTREAM=$UPSTREAM LAB_UPSTREAM6=$UPSTREAM6 LAB_BPFCTL=$BUILD/bin/bpfctl

seen_log() { echo "$(lab_dir)/seen-$1.jsonl"; }

# NAMESPACE NAME ADDRESS…: a scripted resolver there, which writes down what it is asked; with $LIE it lies.
resolver_start() {
	lab start "$1" "resolver-$2" python3 "$tests_dns/upstream.py" ${LIE:+--lie} "$(seen_log "$2")" "${@:3}"
	await 5 grep -q listening "$(seen_log "$2")"
}

# $1: what follows in dns: {…} of sluice.yaml; the resolvers are said already. $SLUICE_EXTRA as in sluice_configure.
# shellcheck disable=SC2120
dns_begin() {
	lab up
	sluice_configure
	sed -i "s|^dns: .*|dns: {resolvers: [$UPSTREAM, \"$UPSTREAM6\"]${1:+, $1}}|" "$(lab_dir)/sluice/sluice.yaml"
	lab exec dns ip address add "$UPSTREAM/24" dev eth0
	lab exec dns ip address add "$UPSTREAM_TOO/24" dev eth0
	lab exec dns ip address add "$UPSTREAM6/64" dev eth0 nodad
	resolver_start dns upstream "$UPSTREAM" "$UPSTREAM_TOO" "$UPSTREAM6"
}

# Both pods are endpoints, with those IPv4 addresses or their own.
# shellcheck disable=SC2120
both_pods() {
	sluice_endpoints <<-END
		endpoints:
		- {name: sandbox-agent, namespace: agent-sandboxes, labels: {egress-tier: sandbox}, interface: eni97a39772326, addresses: [${1:-10.0.1.5}, "fd00::5"]}
		- {name: neighbour, namespace: default, labels: {app: neighbour}, interface: $(interface_of neighbour), addresses: [${2:-10.0.1.6}, "fd00::6"]}
	END
}
interface_of() { cut -d' ' -f5 "$(lab_dir)/pods/$1/pod"; } # POD

# NAMESPACE LABEL NAMES [FURTHER-RULES]: NAMES are the members of toFQDNs, opened on ports 443 and 7000.
names_policy() {
	cat <<-END
		apiVersion: cilium.io/v2
		kind: CiliumNetworkPolicy
		metadata: {name: names, namespace: $1}
		spec:
		  endpointSelector: {matchLabels: {$2}}
		  egress:
		  - toFQDNs: [$3]
		    toPorts: [{ports: [{port: "443", protocol: ANY}, {port: "7000", protocol: ANY}]}]
	END
	[ -z "${4:-}" ] || printf '  %s\n' "${4//$'\n'/$'\n'  }"
}
sandbox_policy() { names_policy agent-sandboxes "egress-tier: sandbox" "$@"; }
neighbour_policy() { names_policy default "app: neighbour" "$@"; }

# A program of tests/lab/dns in the node; its lines "ok …" and "FAIL …" are checks of ours.
run_checks() {
	local status=0
	node python3 "$tests_dns/$1" "${@:2}" || status=$?
	[ "$status" -eq 0 ] || failures=$((failures + status))
}

# How many queries whose text matches $2 a scripted resolver saw.
seen_count() {
	sleep 0.2
	python3 -c 'import json, re, sys
rows = (json.loads(line) for line in open(sys.argv[1]) if "\"raw\"" in line)
print(sum(bool(re.search(sys.argv[2].encode(), bytes.fromhex(r["raw"]), re.I | re.S)) for r in rows))' "$(seen_log "$1")" "$2"
}

dns_count() { bpfctl -o json status | json "x['dns_proxy']['counts']['$1']"; }
proxy_pid() { cut -d' ' -f1 "$(lab_dir)/run/sluice-dnsproxy"; }
# $1: a name under which labdns.switch finds the policy on standard input.
prepare() { cat >"$(lab_dir)/policy-$1.yaml"; }

# Asks in the background: NAME POD RATE SECONDS; then load_result NAME FIELD, which waits for it.
load_start() { lab start node "load-$1" python3 "$tests_dns/load.py" "$2" "$3" "$4" "$(lab_dir)/load-$1.json"; }
load_result() {
	await 40 [ -s "$(lab_dir)/load-$1.json" ] || { tail -n 5 "$(lab_dir)/log/load-$1.log" >&2; echo none; return; }
	json "x['$2']" <"$(lab_dir)/load-$1.json"
}
load_show() {
	load_result "$1" sent >/dev/null
	echo "     $1: $(tr -d '{}"' <"$(lab_dir)/load-$1.json")"
}
