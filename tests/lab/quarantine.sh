#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A pod's interface is closed when the kernel announces it, before anything is known of the pod; an endpoint opens it as far
# as its policy goes; gone again, it leaves nothing; another interface of its index inherits nothing. $1 "clsact": attached the
# way kernels before 6.6 need it.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ "${1:-}" != clsact ] || export SLUICE_EXTRA='bpf: {attach: clsact}'
export SLUICE_INTERFACES='{auto: true, prefixes: [eni, vlan]}'

from() { lab pod "$1" python3 -c 'import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1)' "$2" "$3" 2>/dev/null; }
one_endpoint='endpoints:
- {name: sandbox-agent, namespace: agent-sandboxes, labels: {egress-tier: sandbox}, interface: eni97a39772326, addresses: [10.0.1.5, "fd00::5"]}'
reason_of() { bpfctl -o json endpoint get "$1" | json "x['mode'] + ': ' + x['reason']"; }
drops_of() { bpfctl -o json endpoint get "$1" | json "x['dropped']"; }
interfaces() { bpfctl -o json status | json "x['agent']['details']['interfaces']['$1']"; }
links_of() { node ls /sys/fs/bpf/sluice/links | grep -c "^$1-" || true; }
index_of() { node ip -o link show "$1" | cut -d: -f1; }
reaches() { node python3 -c 'import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1)' "$1" "$2" 2>/dev/null; }
two_endpoints() { # the second one's interface
	sluice_endpoints <<-END
		endpoints:
		- {name: sandbox-agent, namespace: agent-sandboxes, labels: {egress-tier: sandbox}, interface: eni97a39772326, addresses: [10.0.1.5, "fd00::5"]}
		- {name: late, namespace: default, labels: {}, interface: $1, addresses: [10.0.1.7, "fd00::7"]}
	END
}
late=eni$(printf default.late | sha1sum | cut -c 1-11)
unknown="quarantine: no endpoint is known for the interface"

lab_begin
sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"
check "control: the neighbour gets out" from neighbour 8.8.8.8 443
sluice_start
check "the node's own way out stays open" reaches 8.8.8.8 443
check "and that to the cluster's DNS" reaches 172.20.0.10 53
check "a pod that was there before the agent is closed" await 5 not from neighbour 8.8.8.8 443
equal "and says why" "$unknown" "$(reason_of "eni$(printf default.neighbour | sha1sum | cut -c 1-11)")"
check "the endpoint's policy is in force all the same" [ "$(ask 172.20.0.10 pypi.org A)" = 203.0.113.10 ]

lab add default late 10.0.1.7 fd00::7
check "a new pod is closed" not from late 8.8.8.8 443
check "it has an entry" await 5 reason_of "$late"
equal "with the reason" "$unknown" "$(reason_of "$late")"
from late 8.8.8.8 443 || true
check "its drops are counted as its own" [ "$(drops_of "$late")" -gt 0 ]
lab start late echo python3 "$top/tools/lab/echo.py" 7000
check "the node's probes are answered in quarantine" await 5 reaches 10.0.1.7 7000
index=$(index_of "$late")
if [ "${1:-}" = clsact ]; then
	equal "no links" 0 "$(links_of "$index")"
else
	check "in a quiet moment filters become links" await 10 [ "$(sleep 2; links_of "$index")" = 2 ]
	equal "and no filter is left" "" "$(node tc filter show dev "$late" ingress)"
fi
check "closed still" not from late 8.8.8.8 443

two_endpoints "$late"
check "an endpoint that no policy selects is open" await 10 from late 8.8.8.8 443
check "the quarantine's own slot is free again" not reason_of "$late"
sluice_endpoints <<<"$one_endpoint"
check "no endpoint any more: closed again" await 10 not from late 8.8.8.8 443
check "in quarantine" await 5 reason_of "$late"

# The same index for another interface: nothing of the old one is there.
two_endpoints "$late"
check "open once more" await 10 from late 8.8.8.8 443
lab remove late
check "gone, its links are too" await 5 [ "$(sleep 0.5; links_of "$index")" = 0 ]
sluice_endpoints <<<"$one_endpoint" # the file would put its endpoint on whatever has the name
sleep 0.5
lab exec node ip link add "$late" index "$index" type veth peer name gone-peer
equal "a veth within the node is nobody's" "" "$(reason_of "$late" 2>/dev/null || true)"
lab exec node ip link delete "$late"

# auto: a random name, as the extra interface of the VPC CNI's egress plugin has; and a subnet on it shows a way out.
lab exec node ip netns add extra
lab exec node ip link add veth1a2b3c index "$index" type veth peer name v4if0 netns extra
lab exec node ip link set veth1a2b3c up
check "a random name, and an index used before: closed" await 5 reason_of veth1a2b3c
lab exec node ip address add 10.9.9.1/24 dev veth1a2b3c
check "with a subnet of the node's it is a way out, and let go" await 5 not reason_of veth1a2b3c

bpfctl endpoint list
bpfctl status | grep -E '^(interfaces|endpoints)'
equal "nothing failed" 0 "$(interfaces failed)"
lab signal sluiced KILL
check "agent dead: what is closed stays closed" not from neighbour 8.8.8.8 443
sluice_start_agent
check "agent back" await 15 agent_answers
check "and it is closed" not from neighbour 8.8.8.8 443
