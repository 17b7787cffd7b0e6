/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One packet's working memory. It lies in a per-CPU map, not on the 512-byte stack; TC programs run with bottom halves
 * off and never nest on a CPU, so one element is enough. The verifier knows nothing about what is read back from map
 * memory, which also keeps loops over headers from multiplying its states: a cursor kept here is just "some number"
 * at every turn.
 */
#ifndef SLUICE_BPF_WORK_H
#define SLUICE_BPF_WORK_H

#include "bpf/clock.h"
#include "bpf/kernel.h"
#include "bpf/tables.h"

enum fragment {
	FRAGMENT_NONE = 0,
	FRAGMENT_FIRST,
	FRAGMENT_LATER, /* carries no ports */
};

struct packet {
	struct sluice_addr src;
	struct sluice_addr dst;
	__u32 cursor;	  /* offset of the next header; where the parser stopped: of the transport header */
	__u32 end;	  /* offset of the end of the IP datagram */
	__u32 frag_id;	  /* as on the wire */
	__be16 sport;	  /* ICMP echo: the identifier */
	__be16 dport;	  /* ICMP: 0 */
	__be16 rule_port; /* what rules are asked for: dport; ICMP: type in the upper byte */
	__u16 ethertype;  /* host order */
	__u8 proto;
	__u8 frag_proto; /* of the fragment header; equal in all fragments */
	__u8 fragment;	 /* enum fragment */
	__u8 tcp_flags;	 /* byte 13 of the header */
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 hop_limit;
	__u8 pkt_type;	  /* PACKET_HOST, ... */
	__u8 ip_known;	  /* src and dst are valid */
	__u8 options;	  /* IPv4: bytes of options */
	__u8 gso;	  /* a segment train: the length fields may be 0 */
	__u8 mapped_dst;  /* an IPv6 header with a v4-mapped destination */
	__u8 frag_header; /* IPv6: a fragment header was walked, an atomic one too */
	__u8 pad[3];
};

/* What reject.h answers with, without the Ethernet header: multiples of four bytes, as bpf_csum_diff wants them. */
struct sluice_reject_icmp4 {
	struct iphdr ip;
	struct icmp_header icmp;
	__u8 quote[sizeof(struct iphdr) + 8];
};

struct sluice_reject_icmp6 {
	struct ipv6hdr ip;
	struct icmp_header icmp;
	__u8 quote[sizeof(struct ipv6hdr) + 8];
};

union sluice_reject {
	struct {
		struct iphdr ip;
		struct tcphdr tcp;
	} tcp4;
	struct {
		struct ipv6hdr ip;
		struct tcphdr tcp;
	} tcp6;
	struct sluice_reject_icmp4 icmp4;
	struct sluice_reject_icmp6 icmp6;
};

struct work {
	__u64 now;   /* coarse CLOCK_MONOTONIC ns */
	__u64 state; /* the endpoint's state word, read once */
	__u32 endpoint;
	__u32 generation;
	__u32 ifindex;
	__u32 length; /* skb->len */
	struct packet packet;
	struct sluice_tables tables; /* what was found for the flow's remote address */
	struct sluice_decision decision;
	struct sluice_decision best; /* while leases are judged */
	struct sluice_flow flow;     /* .key is the packet's; the rest is filled when a flow is written */
	struct sluice_frag frag;
	union sluice_reject reject;
	struct sluice_asker_key asker_key; /* of a cgroup's question; here because 6.1's 512 bytes of stack are short */
	struct sluice_asker asker;
	__u64 stray_bucket; /* of events about frames that belong to no endpoint; outlives the packet */
	__u8 audited;	    /* a packet of a flow that passes under audit only, reported when it opened */
};

/* Byte 13 of the TCP header, RFC 9293 section 3.1. */
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct work);
} work SEC(".maps");

static SLUICE_INLINE void work_clear(struct work *w)
{
	w->now = clock_now();
	w->state = 0;
	w->endpoint = 0;
	w->generation = 0;
	w->ifindex = 0;
	w->length = 0;
	w->audited = 0;
	w->decision = (struct sluice_decision){};
	__builtin_memset(&w->packet, 0, sizeof(w->packet));
}

static SLUICE_INLINE void work_set_skb(struct work *w, const struct __sk_buff *skb)
{
	work_clear(w);
	w->ifindex = skb->ifindex;
	w->length = skb->len;
	w->packet.pkt_type = skb->pkt_type;
	w->packet.gso = skb->gso_size != 0;
}

static SLUICE_INLINE struct work *work_get(const struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct work *w = bpf_map_lookup_elem(&work, &zero);

	if (w)
		work_set_skb(w, skb);
	return w;
}

/* A TCP segment that asks for a new connection. */
static SLUICE_INLINE bool packet_is_syn(const struct packet *p)
{
	return p->proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static SLUICE_INLINE bool packet_is_echo_request(const struct packet *p)
{
	return (p->proto == IPPROTO_ICMP && p->icmp_type == ICMP4_ECHO_REQUEST) ||
	       (p->proto == IPPROTO_ICMPV6 && p->icmp_type == ICMPV6_ECHO_REQUEST);
}

#endif
