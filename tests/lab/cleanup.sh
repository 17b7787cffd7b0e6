#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# bpfctl cleanup leaves nothing: no pin, no program, no filter, no rule, no route, no run folder; and a start after it works.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# Everything of the node that Sluice could leave something in.
traces() {
	node sh -c '
		ip -4 rule show; ip -6 rule show
		ip -4 route show table all; ip -6 route show table all | grep -v " dev eni"
		tc qdisc show; for i in $(ls /proc/sys/net/ipv4/conf); do
			tc filter show dev $i ingress 2>/dev/null; tc filter show dev $i egress 2>/dev/null
		done
		ls /sys/fs/bpf /run' | grep -v noqueue
}

lab_begin
sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"
before=$(traces)
sluice_start
check "there is something to clean" [ "$(traces)" != "$before" ]
check "8.8.8.8:443 is closed" not connects 8.8.8.8 443
check "refuses while the agent runs" not quiet bpfctl cleanup
sluice_stop
check "stopped, it still enforces" not connects 8.8.8.8 443
check "cleanup" bpfctl cleanup
equal "what is left" "$before" "$(traces)"
check "nothing is enforced any more" connects 8.8.8.8 443
equal "DNS goes where it is sent" 6.6.6.6 "$(ask 8.8.8.8 pypi.org A)"
check "again, it has nothing to do" bpfctl cleanup
sluice_start
check "a new start enforces" not connects 8.8.8.8 443
