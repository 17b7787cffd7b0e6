/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The short way: a packet in the middle of a flow that was judged under the state in force, in the plainest of headers.
 *
 * Theory of operation
 * -------------------
 * Nearly all packets are such, and the way of veth.bpf.c through working memory is long for them: what it touches is out of the
 * caches when a stream's bytes have gone through them. So this looks first, and lets pass only what that way would let
 * pass, for the same reasons (its steps in brackets). Whatever is not as expected is no verdict: false sends the packet the
 * long way, which knows all the reasons. Nothing is dropped, opened or judged here.
 */
#ifndef SLUICE_BPF_ESTABLISHED_H
#define SLUICE_BPF_ESTABLISHED_H

#include "bpf/dns.h"
#include "bpf/endpoint.h"
#include "bpf/flow.h"
#include "bpf/parse.h"

/* A plain packet, as its sender has it: `key.local` is its source. */
struct brief {
	struct sluice_flow_key key;
	__u8 tcp_flags; /* 0 in a datagram */
};

/* Headers that are looked at: of a datagram, too, as many bytes must be there as of a segment. */
#define BRIEF_TRANSPORT sizeof(struct tcphdr)

/* A segment that asks for no connection. */
static SLUICE_INLINE bool brief_tcp(const struct tcphdr *tcp, __u32 length, struct brief *b)
{
	b->tcp_flags = ((const __u8 *)tcp)[13];
	return (b->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN && !tcp_flags_are_nonsense(b->tcp_flags) &&
	       tcp->doff * 4 >= sizeof(*tcp) && tcp->doff * 4 <= length;
}

static SLUICE_INLINE bool brief_udp(const struct udphdr *udp, __u32 length, bool train)
{
	__u32 len = bpf_ntohs(udp->len);

	return train || (len >= sizeof(*udp) && len <= length);
}

/* `length`: of the datagram behind the network header, at most what the frame has. */
static SLUICE_INLINE bool brief_transport(const struct __sk_buff *skb, const void *header, __u32 length, __u8 proto,
					  struct brief *b)
{
	const struct tcphdr *ports = header;

	b->key.lport = ports->source;
	b->key.rport = ports->dest;
	b->key.proto = proto;
	if (length < BRIEF_TRANSPORT)
		return false;
	if (proto == IPPROTO_TCP)
		return brief_tcp(header, length, b);
	return proto == IPPROTO_UDP && brief_udp(header, length, skb->gso_size != 0);
}

/* No options, no fragment. The length of a train beyond 64 KB is 0, which is less than a header: the long way reads it. */
static SLUICE_INLINE bool brief_ipv4(const struct __sk_buff *skb, struct brief *b)
{
	const struct iphdr *ip = (void *)(long)skb->data + PARSE_LINK;
	__u32 length = bpf_ntohs(ip->tot_len);

	if (*(const __u8 *)ip != 0x45 || (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)) ||
	    length < sizeof(*ip) || length > skb->len - PARSE_LINK)
		return false;
	packet_set_v4(&b->key.local, ip->saddr);
	packet_set_v4(&b->key.remote, ip->daddr);
	return brief_transport(skb, ip + 1, length - sizeof(*ip), ip->protocol, b);
}

static SLUICE_INLINE bool brief_ipv6(const struct __sk_buff *skb, struct brief *b)
{
	const struct ipv6hdr *ip = (void *)(long)skb->data + PARSE_LINK;
	__u32 length = bpf_ntohs(ip->payload_len);

	if (ip->version != 6 || length > skb->len - PARSE_PLAIN6)
		return false;
	__builtin_memcpy(&b->key.local, &ip->saddr, sizeof(b->key.local));
	__builtin_memcpy(&b->key.remote, &ip->daddr, sizeof(b->key.remote));
	if (addr_is_v4(&b->key.local) || addr_is_v4(&b->key.remote))
		return false;
	return brief_transport(skb, ip + 1, length, ip->nexthdr, b);
}

/* Steps 2 and 4. */
static SLUICE_INLINE bool brief_parse(const struct __sk_buff *skb, struct brief *b)
{
	const struct ethhdr *eth = (void *)(long)skb->data;
	const void *end = (void *)(long)skb->data_end;

	if (skb->vlan_present)
		return false;
	if ((void *)eth + PARSE_PLAIN4 + BRIEF_TRANSPORT > end)
		return false;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return brief_ipv4(skb, b);
	return eth->h_proto == bpf_htons(ETH_P_IPV6) && (void *)eth + PARSE_PLAIN6 + BRIEF_TRANSPORT <= end &&
	       brief_ipv6(skb, b);
}

/* Whose interface it is; NULL as endpoint_find. */
static SLUICE_INLINE const struct sluice_endpoint *brief_endpoint(const struct __sk_buff *skb, struct brief *b,
								  __u64 *ret_state)
{
	struct sluice_if at = {};
	const struct sluice_endpoint *ep = endpoint_look(skb->ifindex, &at, ret_state);

	b->key.endpoint = at.endpoint;
	b->key.generation = at.generation;
	return ep;
}

/* Step 13, without audit and of what asks for nothing new. */
static SLUICE_INLINE bool brief_passes(const struct flow_view *view, __u64 state)
{
	__u8 origin = flow_view_origin(view);

	if (origin == SLUICE_ORIGIN_POD)
		return view->judged == SLUICE_STATE_JUDGED(state);
	return origin == SLUICE_ORIGIN_OUTSIDE || origin == SLUICE_ORIGIN_HOST;
}

/* True: it passes, and is counted. */
static SLUICE_INLINE bool established_from_pod(const struct __sk_buff *skb)
{
	struct brief b = {};
	const struct sluice_endpoint *ep;
	struct flow_view view = {};
	struct sluice_flow *flow;
	__u64 state;

	if (skb->pkt_type != PACKET_HOST || !brief_parse(skb, &b) || b.key.rport == bpf_htons(DNS_PORT))
		return false;
	ep = brief_endpoint(skb, &b, &state);
	if (!ep || SLUICE_STATE_MODE(state) != SLUICE_MODE_ENFORCE || !endpoint_owns(ep, &b.key.local) ||
	    addr_never_leaves(&b.key.remote))
		return false;
	flow = flow_find(&b.key, &view);
	if (!flow || !brief_passes(&view, state))
		return false;
	flow_count_tx(flow, clock_now(), skb->len, b.tcp_flags);
	count_forwarded(skb->len);
	return true;
}

/* The key of what is on its way to the pod, which is turned round. */
static SLUICE_INLINE void brief_turn(struct brief *b)
{
	struct sluice_addr from = b->key.local;
	__be16 port = b->key.lport;

	b->key.local = b->key.remote;
	b->key.remote = from;
	b->key.lport = b->key.rport;
	b->key.rport = port;
}

/* True: it is a live flow's, and counted there. */
static SLUICE_INLINE bool established_to_pod(const struct __sk_buff *skb)
{
	struct brief b = {};
	struct flow_view view = {};
	struct sluice_flow *flow;
	__u64 state;

	if (!brief_parse(skb, &b) || !brief_endpoint(skb, &b, &state))
		return false;
	brief_turn(&b);
	flow = flow_find(&b.key, &view);
	if (!flow || flow_view_origin(&view) == SLUICE_ORIGIN_TOMBSTONE)
		return false;
	flow_count_rx(flow, clock_now(), skb->len, b.tcp_flags);
	return true;
}

#endif
