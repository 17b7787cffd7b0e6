# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The lab's network. Sourced by init and pod, inside the lab.
#
#   pod ── eni… ┐                        ┌ internet: 8.8.8.8, 6.6.6.6, pypi.org, …
#   pod ── eni… ┴ node ── wan0 ──────────┘
#                   └──── dns0 ─────────── dns: kube-dns (unbound) and the authority behind it (knot)
#
# Pods are wired as the Amazon VPC CNI wires them: the host's end is eni + SHA1("namespace.name") without an address,
# a /32 and a /128 route lead to it, `ip rule` 512 puts main first, the pod's gateway is 169.254.1.1 or fe80::1 by
# a permanent neighbour entry, MTU 9001.

NODE4=10.0.0.10 NODE6=fd00:10::10
WAN4=10.0.0.1 WAN6=fd00:10::1
# What lives in `internet`. Documentation ranges, but for the addresses an agent really tries.
INTERNET4=(8.8.8.8 6.6.6.6 203.0.113.10 203.0.113.11 198.51.100.20 198.51.100.30 192.0.2.44)
INTERNET6=(2001:4860:4860::8888 2001:db8:666::6 2001:db8:113::10 2001:db8:113::11 2001:db8:100::20 2001:db8:100::30
	2001:db8:2::44)
# What lives in `dns`.
KUBE_DNS4=172.20.0.10 KUBE_DNS6=fd00:ac14::a
UPSTREAM4=10.0.2.53 UPSTREAM6=fd00:20::53

in_ns() { # NS COMMAND…; ip-netns-exec would mount another /sys and lose the BPF file system
	local ns=$1
	shift
	nsenter --net="/run/netns/$ns" -- "$@"
}

new_ns() {
	ip netns add "$1"
	in_ns "$1" sh -ec '
		ip link set lo up
		for i in all default; do
			echo 0 >/proc/sys/net/ipv6/conf/$i/accept_ra
			echo 0 >/proc/sys/net/ipv6/conf/$i/accept_dad
		done'
}

# The node routes. rp_filter is loose, as on an EKS node.
node_up() {
	new_ns node
	in_ns node sh -ec '
		echo 1 >/proc/sys/net/ipv4/ip_forward
		echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
		echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
		echo 2 >/proc/sys/net/ipv4/conf/default/rp_filter'
}

internet_up() {
	local a
	new_ns internet
	ip -n node link add wan0 mtu 9001 type veth peer name wan0 netns internet mtu 9001
	ip -n node address add $NODE4/24 dev wan0
	ip -n node address add $NODE6/64 dev wan0 nodad
	ip -n node link set wan0 up
	ip -n internet address add $WAN4/24 dev wan0
	ip -n internet address add $WAN6/64 dev wan0 nodad
	ip -n internet link set wan0 up
	for a in "${INTERNET4[@]}"; do ip -n internet address add "$a/32" dev lo; done
	for a in "${INTERNET6[@]}"; do ip -n internet address add "$a/128" dev lo nodad; done
	ip -n node route add default via $WAN4
	ip -n node -6 route add default via $WAN6
	ip -n internet route add default via $NODE4
	ip -n internet -6 route add default via $NODE6
}

dns_up() {
	new_ns dns
	ip -n node link add dns0 mtu 9001 type veth peer name eth0 netns dns mtu 9001
	ip -n node address add 10.0.2.1/24 dev dns0
	ip -n node address add fd00:20::1/64 dev dns0 nodad
	ip -n node link set dns0 up
	ip -n dns address add $UPSTREAM4/24 dev eth0
	ip -n dns address add $UPSTREAM6/64 dev eth0 nodad
	ip -n dns address add $KUBE_DNS4/32 dev lo
	ip -n dns address add $KUBE_DNS6/128 dev lo nodad
	ip -n dns link set eth0 up
	ip -n dns route add default via 10.0.2.1
	ip -n dns -6 route add default via fd00:20::1
	ip -n node route add $KUBE_DNS4/32 via $UPSTREAM4
	ip -n node -6 route add $KUBE_DNS6/128 via $UPSTREAM6
}

pod_interface() { # NAMESPACE NAME
	local sum
	sum=$(printf '%s.%s' "$1" "$2" | sha1sum)
	echo "eni${sum:0:11}"
}

pod_up() { # NAMESPACE NAME ADDRESS4 ADDRESS6
	local ns=$2 host mac
	host=$(pod_interface "$1" "$2")
	new_ns "$ns"
	ip -n node link add "$host" mtu 9001 type veth peer name eth0 netns "$ns" mtu 9001
	in_ns node sh -ec "echo 0 >/proc/sys/net/ipv6/conf/$host/accept_ra"
	ip -n node link set "$host" up
	mac=$(ip -n node -o link show "$host" | sed 's/.*ether \([^ ]*\).*/\1/')
	ip -n "$ns" address add "$3/32" dev eth0
	ip -n "$ns" address add "$4/128" dev eth0 nodad
	ip -n "$ns" link set eth0 up
	ip -n "$ns" neigh replace 169.254.1.1 lladdr "$mac" dev eth0 nud permanent
	ip -n "$ns" neigh replace fe80::1 lladdr "$mac" dev eth0 nud permanent
	ip -n "$ns" route add 169.254.1.1 dev eth0 scope link
	ip -n "$ns" route add default via 169.254.1.1 dev eth0
	ip -n "$ns" -6 route add fe80::1 dev eth0
	ip -n "$ns" -6 route add default via fe80::1 dev eth0
	ip -n node route add "$3/32" dev "$host" scope link
	ip -n node -6 route add "$4/128" dev "$host"
	ip -n node rule add pref 512 to "$3" lookup main
	ip -n node -6 rule add pref 512 to "$4" lookup main
	mkdir -p "$LAB_DIR/pods/$ns"
	printf 'nameserver %s\noptions timeout:2 attempts:1\n' $KUBE_DNS4 >"$LAB_DIR/pods/$ns/resolv.conf"
	printf 'hosts: files dns\n' >"$LAB_DIR/pods/$ns/nsswitch.conf"
	printf '127.0.0.1 localhost\n::1 localhost\n' >"$LAB_DIR/pods/$ns/hosts"
	echo "$1 $2 $3 $4 $host" >"$LAB_DIR/pods/$ns/pod"
}

# The environment of a pod's programs: none of this machine's certificates and settings. $1: the lab's folder.
pod_environment() {
	local ca=$1/tls/ca.pem name
	printf '%s\n' HOME=/tmp TMPDIR=/tmp LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	echo "TERM=${TERM:-dumb}"
	for name in LAB_CA SSL_CERT_FILE PIP_CERT REQUESTS_CA_BUNDLE AWS_CA_BUNDLE; do echo "$name=$ca"; done
}

topology_up() {
	node_up
	internet_up
	dns_up
	pod_up agent-sandboxes sandbox-agent 10.0.1.5 fd00::5
	pod_up default neighbour 10.0.1.6 fd00::6
}
