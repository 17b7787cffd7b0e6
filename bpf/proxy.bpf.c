// SPDX-License-Identifier: GPL-2.0
/*
 * What the DNS proxy's cgroup lets out (hazard 23): queries to the trusted resolvers, answers to endpoints, nothing else.
 *
 * Theory of operation
 * -------------------
 * A Service's address is turned into a backend's before a packet passes here, so a query is known by what its socket is
 * connected to, not by its header. So that the two agree, no socket but those on port 53 may name a destination per
 * datagram (sendmsg4, sendmsg6). Those on port 53 speak to pods: they get no further than an endpoint's veth, whatever
 * they are connected to.
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

/* <sys/socket.h> has no BPF form. */
#define AF_INET	 2
#define AF_INET6 10

#define DNS_PORT 53
#define PASS	 1
#define REFUSE	 0

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
	if (sk->src_port == DNS_PORT)
		return bpf_map_lookup_elem(&ifindexes, &ifindex) ? PASS : refuse();
	return to_resolver(sk) ? PASS : refuse();
}

static SLUICE_INLINE int sendmsg(const struct bpf_sock_addr *ctx)
{
	const struct bpf_sock *sk = ctx->sk;

	return sk && sk->src_port == DNS_PORT ? PASS : refuse();
}

SEC("cgroup/sendmsg4")
int proxy_sendmsg4(struct bpf_sock_addr *ctx)
{
	return sendmsg(ctx);
}

SEC("cgroup/sendmsg6")
int proxy_sendmsg6(struct bpf_sock_addr *ctx)
{
	return sendmsg(ctx);
}

char LICENSE[] SEC("license") = "GPL";
