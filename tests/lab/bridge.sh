#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Pods on a bridge. bpf_sk_assign does not take the frame away: the bridge forwards it to whatever station the pod wrote, so
# what is not for the port itself must end there, and the next pod must see nothing of it: no query, allowed or not, no
# packet to an address that is open, none to the neighbour's own.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

port=eni97a39772326
send_to_mac() { # MAC RUN: raw frames, each to that station
	pod python3 - "$1" "$2" "$tests_lab" <<-'END'
		import socket, sys
		mac, run = bytes.fromhex(sys.argv[1].replace(":", "")), sys.argv[2]
		sys.path.insert(0, sys.argv[3])
		sys.dont_write_bytecode = True
		from packets import ip4, ip6, name, query, tcp, udp
		sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
		sock.bind(("eth0", 0))
		own = sock.getsockname()[4]
		def mark(case):
		    return f"SLUICE-{run}-{case}".encode()
		def send(kind, packet):
		    sock.send(mac + own + kind + packet)
		s, d, s6, d6 = "10.0.1.5", "8.8.8.8", "fd00::5", "2001:4860:4860::8888"
		q = query(name(mark("query"), b"pypi", b"org"))
		send(b"\x08\x00", ip4(s, d, 17, udp(s, d, 4000, 53, q)))
		send(b"\x86\xdd", ip6(s6, d6, 17, udp(s6, d6, 4000, 53, query(name(mark("query6"), b"pypi", b"org")))))
		send(b"\x08\x00", ip4(s, d, 6, tcp(s, d, 4001, 53, 2, mark("query-tcp"))))
		send(b"\x08\x00", ip4(s, "198.51.100.30", 17, udp(s, "198.51.100.30", 4002, 7000, mark("open"))))
		send(b"\x08\x00", ip4(s, "10.0.1.6", 17, udp(s, "10.0.1.6", 4003, 7000, mark("neighbour"))))
	END
}
seen_by_neighbour() { # RUN
	sleep 0.3
	grep -oiE "\"marker\": \"SLUICE-$1-[a-z0-9-]+" "$(lab_dir)/canary-neighbour.json" | sort -u | wc -l
}

lab_begin
node sh -ec "ip link add br0 address 02:00:00:00:00:b0 type bridge && ip link set br0 up
	for i in $port \$(ip -br link | sed -nE 's/^(eni[0-9a-f]+)@.*/\1/p'); do ip link set \$i master br0; done
	for a in 10.0.1.5 10.0.1.6; do ip route replace \$a/32 dev br0 src 10.0.0.10; done
	for a in fd00::5 fd00::6; do ip -6 route replace \$a/128 dev br0; done"
canary_start neighbour
mac=$(lab exec neighbour ip -br link show eth0 | awk '{print $3}')

send_to_mac "$mac" control
equal "control: without Sluice the bridge takes all five to the neighbour" 5 "$(seen_by_neighbour control)"

sluice_policy echo.yaml <<-END
	apiVersion: cilium.io/v2
	kind: CiliumNetworkPolicy
	metadata: {name: echo, namespace: agent-sandboxes}
	spec:
	  endpointSelector: {matchLabels: {egress-tier: sandbox}}
	  egress:
	  - toFQDNs: [{matchName: pypi.org}]
	  - toCIDR: [198.51.100.30/32]
END
sluice_start
check "through the port's own station an allowed address is reached" connects 198.51.100.30 7000
check "and no other" not connects 8.8.8.8 443
# A query does not come through to the proxy over a bridge, so names open nothing there; it goes nowhere else either.
canary_start dns
pod kdig +time=1 +retry=0 @172.20.0.10 pypi.org >"$(lab_dir)/log/kdig.log" 2>&1 || true
check "a query is not answered" grep -q "failed to query" "$(lab_dir)/log/kdig.log"
equal "and reaches no resolver" 0 "$(canary_count dns "r.get('src') == '10.0.1.5'")"
l2_drops() { bpfctl -o json endpoint get "$POD_PATH" | json "x['drops'].get('INVALID_DESTINATION_MAC', 0)"; }
before=$(l2_drops)
assigned=$(endpoint_field dns_assigned)
send_to_mac "$mac" enforced
equal "frames the neighbour sees" 0 "$(seen_by_neighbour enforced)"
send_to_mac "$(node ip -br link show br0 | awk '{print $3}')" bridge
check "each, and each to the bridge's own station, is a drop for its station" [ $(($(l2_drops) - before)) -ge 10 ]
equal "queries handed to the proxy" "$assigned" "$(endpoint_field dns_assigned)"
