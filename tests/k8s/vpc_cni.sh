#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Pods as the Amazon VPC CNI wires them where that is special: one on a branch ENI (security groups for pods, strict mode), with
# a route table of its own and the local table moved behind it; one with a second interface for the other IP family; and AWS's
# network policy agent on the same interfaces. $1 "clsact": attached the way kernels before 6.6 need it.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lab/lib.sh"

# shellcheck source=tests/k8s/apiserver.sh
. "$(dirname "$(readlink -f "$0")")/apiserver.sh"
export SLUICE_EXTRA SLUICE_INTERFACES='{auto: false, prefixes: [eni, vlan]}'
SLUICE_EXTRA="kubernetes: {enabled: true, nodeName: node1, kubeconfig: $(lab_dir)/kube/kubeconfig}"
[ "${1:-}" != clsact ] || SLUICE_EXTRA+=$'\nbpf: {attach: clsact}'

n() { node ip "$@"; }
inet() { lab exec internet ip "$@"; }
hash_of() { printf '%s.%s' "$1" "$2" | sha1sum | cut -c 1-11; }
mac() { sed 's/.*ether \([^ ]*\).*/\1/' <<<"$("$1" -o link show "$2")"; }

# NAMESPACE NAME ADDRESS…: a running pod, as the API has it.
k8s_pod() {
	local ips
	quietly k apply -f - <<-END
		apiVersion: v1
		kind: Pod
		metadata: {name: $2, namespace: $1, labels: {app: held}}
		spec: {nodeName: node1, containers: [{name: c, image: none}]}
	END
	ips=$(printf '{"ip":"%s"},' "${@:3}")
	quietly k patch pod -n "$1" "$2" --type merge --subresource status -p \
		"{\"status\":{\"phase\":\"Running\",\"podIP\":\"$3\",\"podIPs\":[${ips%,}]}}"
}
tries() { # POD CASE ARGUMENT…: of tests/lab/command.py
	lab pod "$1" python3 "$tests_lab/command.py" "${@:2}"
}
mode_on() { bpfctl -o json endpoint list | json "''.join(o['mode'] for o in x if o['interface'] == '$1')"; }
has_mode() { [ "$(mode_on "$1")" = "$2" ]; }
as_policy() { # WHAT POD RESOLVER DENIED…
	local a
	equal "$1: a name that is listed, UDP" "rcode=0 answers=1 peer=same" "$(tries "$2" dns_connected echo.example.com "$3")"
	equal "$1: and over TCP" "rcode=0 answers=1 peer=same" "$(tries "$2" dns_tcp echo.example.com "$3")"
	equal "$1: a name that is not" "rcode=0 answers=0 peer=same" "$(tries "$2" dns_connected attacker.example "$3")"
	equal "$1: what the name opened" ok "$(tries "$2" tcp 198.51.100.30 7000)"
	for a in "${@:4}"; do equal "$1: the rest ($a)" timeout "$(tries "$2" tcp "$a" 443)"; done
}

# ---- a branch ENI ----

# Its VLAN device on the trunk is a bridge here (not every kernel has VLANs): what the VPC sends to the pod arrives there.
branch_up() { # NAMESPACE NAME ADDRESS4 ADDRESS6
	local host f i
	host=vlan$(hash_of "$1" "$2")
	lab add "$@"
	n link set "eni${host#vlan}" down
	n link set "eni${host#vlan}" name "$host"
	n link set "$host" up
	sed -i "s/ eni[^ ]*\$/ $host/" "$(lab_dir)/pods/$2/pod"
	n link add vlan.eth.1 type bridge
	n link add trunk1 mtu 9001 type veth peer name branch1 mtu 9001 netns internet
	n link set trunk1 up master vlan.eth.1
	n link set vlan.eth.1 up
	inet address add 10.0.9.1/24 dev branch1
	inet address add fd00:9::1/64 dev branch1 nodad
	inet link set branch1 up
	for f in "$3" "$4"; do inet neigh replace "$f" lladdr "$(mac n vlan.eth.1)" dev branch1 nud permanent; done
	for f in 10.0.9.1 fd00:9::1; do n neigh replace "$f" lladdr "$(mac inet branch1)" dev vlan.eth.1 nud permanent; done
	for f in -4 -6; do
		n $f rule add pref 20 lookup local
		n $f rule delete pref 0
		for i in vlan.eth.1 "$host"; do n $f rule add pref 10 iif "$i" lookup 101; done
	done
	n rule delete pref 512 to "$3"
	n -6 rule delete pref 512 to "$4"
	for f in "$3" "$4"; do
		n route flush table main "$f"
		n route add "$f" dev "$host" table 101
	done
	for f in 10.0.9.1 fd00:9::1; do
		n route add "$f" dev vlan.eth.1 table 101
		n route add default via "$f" dev vlan.eth.1 table 101
	done
	n route replace 10.0.9.0/24 via 10.0.0.1 # the subnet is the VPC's: the node itself goes by its own ENI
}

# ---- a second interface, for IPv4 in a cluster of IPv6 ----

# egress-cni's: its end here has a name by chance, a host route leads to it, and what leaves the node has the node's address.
second_up() { # POD
	n route delete 10.0.1.8/32
	n rule delete pref 512 to 10.0.1.8
	n link add veth9f3c1a mtu 9001 type veth peer name v4if0 mtu 9001 netns "$1"
	n link set veth9f3c1a up
	n address add 169.254.172.1/32 dev veth9f3c1a
	n route add 169.254.172.2/32 dev veth9f3c1a
	lab exec "$1" ip address flush dev eth0 scope global
	lab exec "$1" ip -6 address add "$2/128" dev eth0 nodad
	lab exec "$1" ip -6 route replace fe80::1 dev eth0
	lab exec "$1" ip -6 route replace default via fe80::1 dev eth0
	lab exec "$1" ip address add 169.254.172.2/22 dev v4if0
	lab exec "$1" ip link set v4if0 up
	lab exec "$1" ip route replace 169.254.172.1 dev v4if0
	lab exec "$1" ip route replace default via 169.254.172.1 dev v4if0
	node nft 'add table ip egress; add chain ip egress post { type nat hook postrouting priority 100; }
		add rule ip egress post ip saddr 169.254.172.0/22 oifname "wan0" masquerade
		add rule ip egress post ip saddr 169.254.172.0/22 oifname "dns0" masquerade'
}

# ---- AWS's network policy agent ----

# On clsact, handle 1, priority 1, for all protocols, direct action; what it lets pass ends the classification (TC_ACT_OK). This
# one drops TCP to port 443 of IPv4.
npa='8,40 0 0 12,21 0 5 2048,48 0 0 23,21 0 3 6,40 0 0 36,21 0 1 443,6 0 0 2,6 0 0 0'
npa_attach() { # INTERFACE
	node tc qdisc add dev "$1" clsact 2>/dev/null || true
	node tc filter add dev "$1" ingress pref 1 handle 1 protocol all bpf da bytecode "$npa"
}
npa_detach() { node tc filter delete dev "$1" ingress pref 1 handle 1 protocol all bpf; }
first_filter() { node tc filter show dev "$1" ingress | sed -nE 's/.* bpf .*handle (0x[0-9a-f]+).*/\1/p' | head -n 1; }
ours_first() { [ "$(first_filter "$1")" != 0x1 ]; }

lab_begin >&2
sed -i '/^dns:/d' "$(lab_dir)/sluice/sluice.yaml"
branch_up hosts branch 10.0.9.5 fd00:9::5
lab add hosts second 10.0.1.8 fd00::8
second_up second fd00::8
lab add hosts both 10.0.1.9 fd00::9
both=eni$(hash_of hosts both)
branch=vlan$(hash_of hosts branch)
npa_attach "$both"
cluster_start
make_dns_service
quietly k create namespace hosts
quietly crd ciliumnetworkpolicies CiliumNetworkPolicy cilium.io v2 Namespaced
await 10 quiet k get ciliumnetworkpolicies -A
canary_start internet
equal "control: the branch pod reaches all" ok "$(tries branch tcp 8.8.8.8 443)"
equal "control: by IPv6 too" ok "$(tries branch tcp 2001:4860:4860::8888 443)"
equal "control: the second interface leads out" ok "$(tries second tcp 8.8.8.8 443)"
equal "control: AWS's agent drops its port" timeout "$(tries both tcp 8.8.8.8 443)"
equal "control: and no other" ok "$(tries both tcp 198.51.100.30 7000)"

quietly k apply -f - <<-END
	apiVersion: cilium.io/v2
	kind: CiliumNetworkPolicy
	metadata: {name: held, namespace: hosts}
	spec:
	  endpointSelector: {matchLabels: {app: held}}
	  egress:
	  - toFQDNs: [{matchName: echo.example.com}]
	    toPorts: [{ports: [{port: "7000", protocol: ANY}]}]
	  - toCIDR: [203.0.113.10/32]
END
sluice_start_agent
await 10 agent_answers
check "the branch pod's interface is closed" await 5 has_mode "$branch" quarantine
check "and the second one, which no prefix names" await 5 has_mode veth9f3c1a quarantine
k8s_pod hosts branch 10.0.9.5 fd00:9::5
k8s_pod hosts second fd00::8
k8s_pod hosts both 10.0.1.9 fd00::9
sluice_start_proxy
check "the proxy runs" await 30 proxy_runs
start=$(monotonic)

check "the branch pod is found by the route in its own table" await 10 has_mode "$branch" enforce
as_policy "branch" branch 172.20.0.10 8.8.8.8 2001:4860:4860::8888
equal "branch: names by IPv6" "rcode=0 answers=1 peer=same" "$(tries branch dns_connected echo.example.com fd00:ac14::a)"
check "the second interface is the pod's" await 10 has_mode veth9f3c1a enforce
as_policy "second" second 172.20.0.10 8.8.8.8 2001:4860:4860::8888
check "and what the pod's policy opens by address" [ "$(tries second tcp 203.0.113.10 443)" = ok ]
lab exec second ip address add 169.254.172.9/32 dev v4if0
equal "with another source nothing gets out" timeout "$(lab pod second python3 -c 'import socket
try:
    socket.create_connection(("203.0.113.10", 443), 2, ("169.254.172.9", 0))
except OSError as e:
    print("timeout" if isinstance(e, socket.timeout) else e)')"

check "beside AWS's agent: enforced" await 10 has_mode "$both" enforce
as_policy "beside it" both 172.20.0.10 8.8.8.8 2001:4860:4860::8888
both_decide() { # WHEN
	equal "$1: what it drops stays dropped, though Sluice allows it" timeout "$(tries both tcp 203.0.113.10 443)"
	equal "$1: what Sluice denies is denied, though it lets it pass" timeout "$(tries both tcp 6.6.6.6 80)"
	tries both dns_connected echo.example.com 172.20.0.10 >/dev/null # for as long as its answer holds
	equal "$1: what both allow" ok "$(tries both tcp 198.51.100.30 7000)"
}
both_decide "it came first"
npa_detach "$both"
equal "it detaches: its drop ends" ok "$(tries both tcp 203.0.113.10 443)"
equal "ours stays" timeout "$(tries both tcp 6.6.6.6 80)"
npa_attach "$both"
# Ours of TCX runs before any filter; with clsact what came last at a priority runs first, until ours is put before it.
if [ "${1:-}" = clsact ]; then check "it comes again, at the same priority: ours goes before it" await 10 ours_first "$both"; fi
both_decide "it came last"
equal "frames of what is denied that left the node" 0 "$(canary_count internet \
	"r['time'] > $start and r.get('dst') in ('8.8.8.8', '2001:4860:4860::8888', '6.6.6.6')")"

quietly k delete pod -n hosts second --grace-period=0 --force --wait=false 2>/dev/null
check "the pod gone, both of its interfaces are closed" await 10 has_mode veth9f3c1a quarantine

# ---- and off the node again ----

ours() { n rule show | grep -c 'lookup 205[34]' || true; n route show table 2054; n -6 route show table 2054; n address show dev "$branch" | grep 127.0.53.1 || true; }
lab signal sluiced TERM
lab signal sluice-dnsproxy TERM
await 10 not lab alive sluiced
quiet bpfctl cleanup
equal "bpfctl cleanup leaves no rule, route or address" 0 "$(ours)"
