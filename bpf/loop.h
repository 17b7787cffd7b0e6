/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ways a cgroup endpoint and the DNS proxy meet, both being sockets of one network namespace.
 *
 * Theory of operation
 * -------------------
 * connect and sendmsg to port 53 are turned to the proxy's own loopback address, and what the program meant to ask is
 * kept under the socket's cookie: so recvmsg and getpeername can say what the program expects, and the egress program
 * can tell the proxy. The proxy's address is read off its sockets in the hand-over table, so it moves with them.
 */
#ifndef SLUICE_BPF_LOOP_H
#define SLUICE_BPF_LOOP_H

#include "bpf/maps.h"
#include "bpf/work.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SLUICE_MAX_ASKERS);
	__type(key, struct sluice_asker_key);
	__type(value, struct sluice_asker);
} dns_askers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SLUICE_MAX_ASKERS);
	__type(key, __u64);
	__type(value, struct sluice_addr);
} dns_servers SEC(".maps");

/* 127/8 and ::1. The parser has refused v4-mapped destinations in IPv6 headers. */
static SLUICE_INLINE bool loop_address(const struct sluice_addr *a)
{
	if (addr_is_v4(a))
		return a->b[12] == 127;
	return a->d[0] == 0 && a->w[2] == 0 && a->w[3] == bpf_htonl(1);
}

struct loop_place {
	struct sluice_addr addr;
	__be16 port;
};

/* Where the proxy listens on loopback. False: it does not. Volatile: see to_resolver in proxy.bpf.c. */
static SLUICE_INLINE bool loop_proxy(bool tcp, bool v6, struct loop_place *ret)
{
	__u32 slot =
		tcp ? (v6 ? SLUICE_SOCK_LOOP_TCP6 : SLUICE_SOCK_TCP4) : (v6 ? SLUICE_SOCK_LOOP_UDP6 : SLUICE_SOCK_UDP4);
	struct bpf_sock *sk = bpf_map_lookup_elem(&dns_sockets, &slot);
	const volatile struct bpf_sock *s = sk;
	__u32 v4;

	if (!sk)
		return false;
	v4 = s->src_ip4;
	ret->addr.w[0] = s->src_ip6[0];
	ret->addr.w[1] = s->src_ip6[1];
	ret->addr.w[2] = s->src_ip6[2];
	ret->addr.w[3] = s->src_ip6[3];
	ret->port = bpf_htons(s->src_port);
	bpf_sk_release(sk);
	if (!v6) {
		ret->addr.d[0] = 0;
		ret->addr.w[2] = bpf_htonl(0xffff);
		ret->addr.w[3] = v4;
	}
	return true;
}

static SLUICE_INLINE bool loop_is_proxy(bool tcp, const struct sluice_addr *addr, __be16 port)
{
	struct loop_place proxy;

	return loop_address(addr) && loop_proxy(tcp, !addr_is_v4(addr), &proxy) && proxy.port == port &&
	       addr_equal(&proxy.addr, addr);
}

#endif
