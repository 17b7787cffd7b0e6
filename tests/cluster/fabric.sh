# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# The network around the nodes, all of it one namespace, `fabric`: the VPC's router, the VPC's resolver, the instance
# metadata, and the internet of tools/lab (public addresses, nginx, knot). No link leads from here to the machine.
#
#   node1 eth0 ── up1 ┐
#                     ├ br0 fabric: 10.10.0.1 router, 10.10.0.2 resolver (unbound), 10.10.0.53 authority (knot)
#   node2 eth0 ── up2 ┘      lo: 169.254.169.254, fd00:ec2::254; 8.8.8.8, pypi.org's, …
#
# Sourced by init.

# shellcheck source=tools/lab/topology.sh
. "$top/tools/lab/topology.sh" # in_ns, new_ns, INTERNET4, INTERNET6
# shellcheck source=tools/lab/services.sh
. "$top/tools/lab/services.sh" # certificates, web_up, knot_up, unbound_up, spawn

# The lab's cluster DNS plays the VPC's resolver here; the cluster's own is CoreDNS.
KUBE_DNS4=10.10.0.2 KUBE_DNS6=fd00:10::2
UPSTREAM4=10.10.0.53 UPSTREAM6=fd00:10::53
IMDS4=169.254.169.254 IMDS6=fd00:ec2::254
LAB_STS_PORT=8091

fabric_links() {
	local n a
	new_ns fabric
	# By these names the lab's services know where they live.
	ln -s fabric /run/netns/internet
	ln -s fabric /run/netns/dns
	in_ns fabric sh -ec '
		echo 1 >/proc/sys/net/ipv4/ip_forward
		echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
	ip -n fabric link add br0 mtu 9001 type bridge
	for a in 10.10.0.1/24 $KUBE_DNS4/32 $UPSTREAM4/32; do ip -n fabric address add $a dev br0; done
	for a in fd00:10::1/64 $KUBE_DNS6/128 $UPSTREAM6/128; do ip -n fabric address add $a dev br0 nodad; done
	ip -n fabric link set br0 up
	for a in $IMDS4 "${INTERNET4[@]}"; do ip -n fabric address add "$a/32" dev lo; done
	for a in $IMDS6 "${INTERNET6[@]}"; do ip -n fabric address add "$a/128" dev lo nodad; done
	for n in "${nodes[@]}"; do node_link "$n"; done
}

node_link() { # NUMBER
	ip -n fabric link add "up$1" mtu 9001 type veth peer name "to$1" mtu 9001
	ip -n fabric link set "up$1" master br0 up
	node_plug "$1"
	ip -n fabric route add "$(pods4 "$1").0/24" via "$(node4 "$1")"
	ip -n fabric -6 route add "$(pods6 "$1")::/64" via "$(node6 "$1")"
}

# The node's network is made anew; the cable stays, and with it whatever counts frames at its far end.
node_plug() { # NUMBER
	local ns=node$1
	new_ns "$ns"
	ip -n fabric link set "to$1" netns "$ns" name eth0
	ip -n "$ns" address add "$(node4 "$1")/24" dev eth0
	ip -n "$ns" address add "$(node6 "$1")/64" dev eth0 nodad
	ip -n "$ns" link set eth0 up
	ip -n "$ns" route add default via 10.10.0.1
	ip -n "$ns" -6 route add default via fd00:10::1
}

node_unplug() { # NUMBER
	ip -n "node$1" link set eth0 netns fabric name "to$1"
	ip netns delete "node$1"
}

# certificates must have been called: the cluster's own are signed with the same CA.
fabric_services() {
	web_up
	spawn fabric sts env -i PATH="$PATH" HOME="$dir" PYTHONPATH="$(sts_dir)" PYTHONDONTWRITEBYTECODE=1 \
		python3 -m moto.server -H 127.0.0.1 -p $LAB_STS_PORT
	spawn fabric imds "$here/imds.py" $IMDS4 $IMDS6
	knot_up fabric authority 203.0.113.10 2001:db8:113::10 $UPSTREAM4 $UPSTREAM6
	knot_up fabric rogue 6.6.6.6 2001:db8:666::6 8.8.8.8 2001:4860:4860::8888 6.6.6.6 2001:db8:666::6
	unbound_up
}

sts_answers() {
	in_ns fabric env -i PATH="$PATH" curl -sf -m 2 -o "$dir/sts.check" "http://127.0.0.1:$LAB_STS_PORT/moto-api/data.json"
}

fabric_ready() {
	await 15 resolves fabric $UPSTREAM4 203.0.113.10
	await 15 resolves fabric $KUBE_DNS4 203.0.113.10
	await 15 resolves fabric 8.8.8.8 6.6.6.6
	await 15 serves 203.0.113.10
	await 30 sts_answers
}
