#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The reference agent's five steps: IPv4, IPv6, names over TCP, both policy dialects. The control without Sluice must
# reach what enforcement then blocks, and nothing of the blocked may arrive in the internet. $1 "clsact": attached the way
# kernels before 6.6 need it; "gvisor", "kata": the pod under that runtime (runtimes.sh).
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# shellcheck source=tests/lab/runtimes.sh
. "$tests_lab/runtimes.sh"

want="PASS PASS PASS BLOCKED BLOCKED"
blocked="r.get('dst') in ('8.8.8.8', '2001:4860:4860::8888', '192.0.2.44', '2001:db8:2::44')"

if [ "${1:-}" = clsact ]; then
	export SLUICE_EXTRA='bpf: {attach: clsact}'
fi
lab_begin
case "${1:-}" in gvisor | kata) runtime_start "$1" ;; esac
canary_start internet
equal "control, IPv4" "PASS PASS PASS REACHED REACHED" "$(outcomes -4)"
equal "control, IPv6" "PASS PASS PASS REACHED REACHED" "$(outcomes -6)"
control=$(canary_count internet "$blocked")
check "the canary sees the control's frames ($control)" [ "$control" -gt 0 ]

sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"
sluice_start
if [ "${1:-}" = clsact ]; then
	check "attached by clsact" grep -q bpf <(node tc filter show dev eni97a39772326 ingress)
fi
start=$(monotonic)
resolver_log=$(lab_dir)/log/unbound.log
check "control: the resolver's log shows the unlisted name" grep -q blocked-example "$resolver_log"
asked=$(wc -l <"$resolver_log")
equal "CiliumNetworkPolicy, IPv4" "$want" "$(outcomes -4)"
equal "CiliumNetworkPolicy, IPv6" "$want" "$(outcomes -6)"
equal "names over TCP, IPv4" "$want" "$(RES_OPTIONS=use-vc outcomes -4)"
equal "names over TCP, IPv6" "$want" "$(RES_OPTIONS=use-vc outcomes -6)"
check "change to the ApplicationNetworkPolicy" sluice_switch sandbox.yaml <"$MANIFESTS/sandbox-anp.yaml"
equal "ApplicationNetworkPolicy, IPv4" "$want" "$(outcomes -4)"
equal "ApplicationNetworkPolicy, IPv6" "$want" "$(outcomes -6)"
equal "frames of the blocked steps that left the node" 0 "$(canary_count internet "r['time'] > $start and $blocked")"
equal "queries for the unlisted name that left the node" 0 \
	"$(tail -n "+$((asked + 1))" "$resolver_log" | grep -c blocked-example || true)"
sleep 0.5
log=$(flow_log)
check "the flow log has the empty DNS answer" grep -q 'DROPPED.*blocked-example\.example\.com' <<<"$log"
check "the flow log has the dropped connection" grep -q 'DROPPED.*8\.8\.8\.8.*443/TCP' <<<"$log"
check "the flow log has the package index" grep -q 'FORWARDED.*pypi\.org.*443/TCP' <<<"$log"
check "hubble's shape" json "x['flow']['verdict'] and x['time'] and 1" < <(bpfctl -o json observe -n 1 | head -n 1)
