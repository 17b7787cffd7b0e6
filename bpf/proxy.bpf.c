// SPDX-License-Identifier: GPL-2.0
/*
 * What the DNS proxy's cgroup lets out (hazard 23): queries to the trusted resolvers, answers to endpoints, nothing else.
 *
 * Theory of operation
 * -------------------
 * A Service's address is turned into a backend's before a packet passes here, so a query is known by what its socket is
 * connected to, not by its header. So that the two agree, no socket but those on port 53 may name a destination per
 * datagram (sendmsg4, sendmsg6). Those on port 53 speak to pods: they get no further than an endpoint's veth, or by
 * loopback to a cgroup endpoint that has asked, whatever they are connected to.
 */
#include "bpf/kernel.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SLUICE_MAX_ENDPOINTS);
	__type(key, __u32);
	__type(value, struct sluice_if);
} ifindexes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SLUICE_MAX_PROXY_PEERS);
	__type(key, struct sluice_proxy_peer);
	__type(value, __u32);
} proxy_peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLUICE_TOTAL_MAX);
	__type(key, __u32);
	__type(value, __u64);
} totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SLUICE_MAX_ASKERS);
	__type(key, struct sluice_asker_key);
	__type(value, struct sluice_asker);
} dns_askers SEC(".maps");

/* <sys/socket.h> has no BPF form. */
#define AF_INET	 2
#define AF_INET6 10

#define DNS_PORT	 53
#define LOOPBACK_IFINDEX 1
#define PASS		 1
#define REFUSE		 0

static SLUICE_INLINE int refuse(void)
{
	__u32 index = SLUICE_TOTAL_PROXY_BLOCKED;
	__u64 *count = bpf_map_lookup_elem(&totals, &index);

	if (count)
		++*count;
	return REFUSE;
}

/*
 * All is read before anything is decided, and volatile keeps it so: the compiler would choose between the two families'
 * fields by address, and the verifier lets nobody reckon with a socket's.
 */
static SLUICE_INLINE bool to_resolver(const volatile struct bpf_sock *sk)
{
	struct sluice_proxy_peer peer = { .port = bpf_ntohs(sk->dst_port) };
	__u32 v4 = sk->dst_ip4;

	peer.addr.w[0] = sk->dst_ip6[0];
	peer.addr.w[1] = sk->dst_ip6[1];
	peer.addr.w[2] = sk->dst_ip6[2];
	peer.addr.w[3] = sk->dst_ip6[3];
	if (sk->family == AF_INET)
		peer.addr = (struct sluice_addr){ .w = { 0, 0, bpf_htonl(0xffff), v4 } };
	return bpf_map_lookup_elem(&proxy_peers, &peer) != NULL;
}

/* By loopback answers go to cgroup endpoints: to an address and port that one of them has asked from. */
static SLUICE_INLINE bool to_asker(struct __sk_buff *skb, __u8 proto)
{
	struct sluice_asker_key key = { .proto = proto };
	struct ipv6hdr ip6;
	struct iphdr ip;
	__u32 at;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)) || ip.protocol != proto)
			return false;
		key.addr.w[2] = bpf_htonl(0xffff);
		key.addr.w[3] = ip.daddr;
		at = ip.ihl * 4;
	} else {
		if (bpf_skb_load_bytes(skb, 0, &ip6, sizeof(ip6)) || ip6.nexthdr != proto)
			return false;
		__builtin_memcpy(&key.addr, &ip6.daddr, sizeof(key.addr));
		at = sizeof(ip6);
	}
	/* The destination port is where TCP and UDP both have it. */
	if (bpf_skb_load_bytes(skb, at + 2, &key.port, sizeof(key.port)))
		return false;
	return bpf_map_lookup_elem(&dns_askers, &key) != NULL;
}

SEC("cgroup_skb/egress")
int proxy_egress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	__u32 ifindex = skb->ifindex;

	if (sk)
		sk = bpf_sk_fullsock(sk);
	if (!sk || (sk->family != AF_INET && sk->family != AF_INET6) ||
	    (sk->protocol != IPPROTO_UDP && sk->protocol != IPPROTO_TCP))
		return refuse();
	if (ifindex == LOOPBACK_IFINDEX && to_asker(skb, sk->protocol))
		return PASS;
	if (sk->src_port == DNS_PORT)
		return bpf_map_lookup_elem(&ifindexes, &ifindex) ? PASS : refuse();
	return to_resolver(sk) ? PASS : refuse();
}

static SLUICE_INLINE int sendmsg(const struct bpf_sock_addr *ctx)
{
	const struct bpf_sock *sk = ctx->sk;

	return sk && sk->src_port == DNS_PORT ? PASS : refuse();
}

/* The socket on ::1 has a port of the kernel's choosing; egress holds it to askers all the same. */
static SLUICE_INLINE bool is_on_loopback(const struct bpf_sock_addr *ctx)
{
	const volatile struct bpf_sock *sk = ctx->sk;

	if (!ctx->sk)
		return false;
	return (sk->src_ip6[0] | sk->src_ip6[1] | sk->src_ip6[2]) == 0 && sk->src_ip6[3] == bpf_htonl(1);
}

SEC("cgroup/sendmsg4")
int proxy_sendmsg4(struct bpf_sock_addr *ctx)
{
	return sendmsg(ctx);
}

SEC("cgroup/sendmsg6")
int proxy_sendmsg6(struct bpf_sock_addr *ctx)
{
	return is_on_loopback(ctx) ? PASS : sendmsg(ctx);
}

char LICENSE[] SEC("license") = "GPL";
