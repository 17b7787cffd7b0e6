#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# sluice-cni by the CNI specification, and its hand-over to the agent: it waits for the policy, and the agent's program takes the
# place of its own.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

export SLUICE_INTERFACES='{auto: true, prefixes: [eni, vlan]}'
late=eni$(printf default.late | sha1sum | cut -c 1-11)
result() { # INTERFACE…
	printf '{"cniVersion":"1.0.0","interfaces":['
	printf '{"name":"%s"},' "$@"
	printf '{"name":"eth0","sandbox":"/var/run/netns/late"}],"ips":[{"address":"10.0.1.7/32","interface":1}],"dns":{}}'
}
config() { # MORE: prevResult and further keys
	printf '{"cniVersion":"1.0.0","name":"lab","type":"sluice-cni"%s}' "${1:+,$1}"
}
cni() { # COMMAND CONFIG
	node env CNI_COMMAND="$1" CNI_CONTAINERID=c1 CNI_NETNS=/var/run/netns/late CNI_IFNAME=eth0 CNI_PATH=/ \
		"$BUILD/bin/sluice-cni" <<<"$2"
}
code() { cni "$@" | json "x['code']"; }
from() { lab pod "$1" python3 -c 'import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1)' "$2" "$3" 2>/dev/null; }
# A lost first packet is sent again after a second, not before.
first_packet() { lab pod late python3 -c 'import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=0.8)' "$@" 2>/dev/null; }
rewire() {
	lab remove late
	node ip rule delete pref 512 to 10.0.1.7
	node ip -6 rule delete pref 512 to fd00::7
	lab add default late 10.0.1.7 fd00::7
}
ours="\"prevResult\":$(result "$late"),\"waitSeconds\":0"

lab_begin
sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"
lab add default late 10.0.1.7 fd00::7
check "control: the pod gets out" from late 8.8.8.8 443

equal "VERSION" "['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']" "$(cni VERSION '{"cniVersion":"1.0.0"}' | json "x['supportedVersions']")"
equal "another version" 1 "$(code ADD '{"cniVersion":"9.0.0","name":"lab","type":"sluice-cni"}')"
equal "no JSON" 6 "$(code ADD '{')"
equal "no prevResult" 7 "$(code ADD "$(config)")"
equal "a relative path" 7 "$(code ADD "$(config "$ours,\"socket\":\"x\"")")"
equal "an unknown command" 4 "$(code NONSENSE "$(config)")"
equal "no environment" 4 "$(node env -u CNI_COMMAND "$BUILD/bin/sluice-cni" 2>/dev/null </dev/null | json "x['code']")"
equal "no interface of this host: ADD fails" 100 "$(code ADD "$(config "\"prevResult\":$(result nothing0),\"waitSeconds\":0")")"
equal "CHECK before ADD" 100 "$(code CHECK "$(config "$ours")")"
equal "DEL before ADD" "" "$(cni DEL "$(config)")"

equal "ADD gives on what it got" "$(result dummy0 "$late")" "$(cni ADD "$(config "\"prevResult\":$(result dummy0 "$late"),\"waitSeconds\":0")")"
check "the pod is closed, without any agent" not from late 8.8.8.8 443
equal "CHECK" "" "$(cni CHECK "$(config "$ours")")"
equal "ADD again" "$(result "$late")" "$(cni ADD "$(config "$ours")")"
equal "DEL opens nothing" "" "$(cni DEL "$(config "$ours")")"
check "closed still" not from late 8.8.8.8 443

sluice_start
check "the agent takes it over, closed" not from late 8.8.8.8 443
check "its drops are counted now" await 5 [ "$(bpfctl -o json endpoint get "$late" | json "x['dropped']")" -gt 0 ]
equal "CHECK with the agent's program" "" "$(cni CHECK "$(config "$ours")")"
rewire
(
	sleep 1
	sluice_endpoints <<-END
		endpoints:
		- {name: sandbox-agent, namespace: agent-sandboxes, labels: {egress-tier: sandbox}, interface: eni97a39772326, addresses: [10.0.1.5, "fd00::5"]}
		- {name: late, namespace: default, labels: {}, interface: $late, addresses: [10.0.1.7, "fd00::7"]}
	END
) &
equal "ADD waits for the policy" "$(result "$late")" "$(cni ADD "$(config "\"prevResult\":$(result "$late"),\"waitSeconds\":20")" 2>&1)"
check "and when it returns, it is in force" from late 8.8.8.8 443
wait
rewire
equal "an interface that the agent is on already" "$(result "$late")" "$(cni ADD "$(config "\"prevResult\":$(result "$late"),\"waitSeconds\":20")" 2>&1)"
check "nothing of sluice-cni's runs before the agent's program then: the first packet gets out" first_packet 8.8.8.8 443

# With a new pod the plugin may come between the filter that closes it at its announcement and the agent's link: here, while the agent stands.
link=/sys/fs/bpf/sluice/links/$(node ip -o link show dev "$late" | cut -d: -f1)-from
if node test -e "$link"; then
	lab signal sluiced STOP
	node rm "$link"
	equal "ADD in the middle of it" "$(result "$late")" "$(cni ADD "$(config "$ours")")"
	lab signal sluiced CONT
	check "is exchanged" await 15 first_packet 8.8.8.8 443
	check "and is not taken for another's program" not grep -q 'runs before ours\|taken off' "$(lab_dir)/log/sluiced.log"
fi
