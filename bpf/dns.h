/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The hand-over of port 53 to the proxy.
 *
 * Theory of operation
 * -------------------
 * bpf_sk_assign attaches a socket of ours to the packet, and the mark makes the `ip rule` deliver it locally whatever
 * its destination. For UDP that is the whole of it. For TCP the socket depends on how far the connection is: a look-up
 * finds the proxy's own connection or half-open request by the packet's addresses; everything else gets the listener,
 * not only SYNs, since with SYN cookies the first packet that finds a socket is the ACK (hazard 19).
 *
 * The look-up sees every socket of this network namespace: a node-local resolver's, or one from before the policy. Only
 * those with the proxy's socket mark count; a foreign one is let go and the packet goes to the listener, which resets
 * it. Whatever fails, the caller drops: a query never falls through.
 */
#ifndef SLUICE_BPF_DNS_H
#define SLUICE_BPF_DNS_H

#include "bpf/bucket.h"
#include "bpf/events.h"
#include "bpf/work.h"

#define DNS_PORT 53

/* An endpoint with name rules asks the proxy, whoever it addresses. */
static SLUICE_INLINE bool dns_is_query(const struct work *w)
{
	const struct packet *p = &w->packet;

	return (w->state & SLUICE_STATE_NAMES) && p->dport == bpf_htons(DNS_PORT) && p->fragment != FRAGMENT_LATER &&
	       (p->proto == IPPROTO_UDP || p->proto == IPPROTO_TCP);
}

/*
 * A train of UDP segments (UDP_SEGMENT in the pod) is cut into queries only behind us: up to 128 for the price of one,
 * and the number in the frame is the pod's own word. No resolver sends one.
 */
static SLUICE_INLINE bool dns_within_rate(const struct work *w, struct sluice_runtime *rt)
{
	const struct sluice_settings *s = settings_get();

	if (w->packet.gso && w->packet.proto == IPPROTO_UDP)
		return false;
	return s && bucket_take(&rt->dns_bucket, s->dns_rate, s->dns_burst, w->now);
}

static SLUICE_INLINE bool dns_assign_slot(struct __sk_buff *skb, __u32 slot)
{
	struct bpf_sock *sk = bpf_map_lookup_elem(&dns_sockets, &slot);
	long err;

	if (!sk)
		return false;
	err = bpf_sk_assign(skb, sk, 0);
	bpf_sk_release(sk);
	return err == 0;
}

/*
 * May the packet go to this socket? A full one must be the proxy's and not a listener (ours is in the map). A request
 * belongs to whom its listener belongs. A TIME_WAIT has lost its mark, but can do no more than acknowledge, unless a
 * SYN reopens it: that would look for a listener by address and could find somebody else's.
 */
static SLUICE_INLINE bool dns_socket_is_ours(struct bpf_sock *sk, const struct packet *p)
{
	struct bpf_sock *other;

	if (sk->state == BPF_TCP_LISTEN)
		return false;
	if (sk->state == BPF_TCP_TIME_WAIT)
		return !packet_is_syn(p);
	if (sk->state == BPF_TCP_NEW_SYN_RECV)
		other = bpf_get_listener_sock(sk);
	else
		other = bpf_sk_fullsock(sk);
	return other && (other->mark & SLUICE_SOCK_MARK);
}

static SLUICE_INLINE struct bpf_sock *dns_find_connection(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_sock_tuple tuple = {};

	if (p->ethertype == ETH_P_IP) {
		tuple.ipv4.saddr = p->src.w[3];
		tuple.ipv4.daddr = p->dst.w[3];
		tuple.ipv4.sport = p->sport;
		tuple.ipv4.dport = p->dport;
		return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	__builtin_memcpy(tuple.ipv6.saddr, &p->src, sizeof(p->src));
	__builtin_memcpy(tuple.ipv6.daddr, &p->dst, sizeof(p->dst));
	tuple.ipv6.sport = p->sport;
	tuple.ipv6.dport = p->dport;
	return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
}

static SLUICE_INLINE bool dns_assign_tcp(struct __sk_buff *skb, const struct packet *p, bool v6)
{
	struct bpf_sock *sk = dns_find_connection(skb, p);
	long err = -1;

	if (sk) {
		if (dns_socket_is_ours(sk, p))
			err = bpf_sk_assign(skb, sk, 0);
		bpf_sk_release(sk);
	}
	return err == 0 || dns_assign_slot(skb, v6 ? SLUICE_SOCK_TCP6 : SLUICE_SOCK_TCP4);
}

/* True: the packet is the proxy's. */
static SLUICE_INLINE bool dns_hand_over(struct __sk_buff *skb, const struct packet *p)
{
	bool v6 = p->ethertype == ETH_P_IPV6;
	bool done;

	if (p->proto == IPPROTO_TCP)
		done = dns_assign_tcp(skb, p, v6);
	else
		done = dns_assign_slot(skb, v6 ? SLUICE_SOCK_UDP6 : SLUICE_SOCK_UDP4);
	if (done)
		skb->mark |= SLUICE_FWMARK;
	return done;
}

#endif
