/* SPDX-License-Identifier: GPL-2.0 */
/*
 * From a frame to struct packet, in three steps, so that the source address can be judged before what follows it:
 * link layer, network header, then the way to the transport header and the transport header itself.
 *
 * Theory of operation
 * -------------------
 * Bytes are copied with bpf_skb_load_bytes, which reads paged parts too: a header beyond the linear part is found like
 * any other, and one that is not there at all is SLUICE_REASON_MALFORMED, never a pass. Nothing is read beyond the IP
 * datagram's own end, since the stack trims what lies behind it.
 *
 * Every step returns SLUICE_REASON_NONE or the reason to drop.
 */
#ifndef SLUICE_BPF_PARSE_H
#define SLUICE_BPF_PARSE_H

#include "bpf/work.h"

#define PARSE_MAX_EXTENSIONS   8
#define PARSE_MAX_OPTION_BYTES 40

/* Options that choose the packet's way, RFC 791 section 3.1. */
#define IP_OPTION_END	       0
#define IP_OPTION_NOP	       1
#define IP_OPTION_LOOSE_ROUTE  131
#define IP_OPTION_STRICT_ROUTE 137

/* frag_off, RFC 791 section 3.1 and RFC 8200 section 4.5. */
#define IP_MORE_FRAGMENTS    0x2000
#define IP_FRAGMENT_OFFSET   0x1fff
#define IPV6_MORE_FRAGMENTS  0x0001
#define IPV6_FRAGMENT_OFFSET 0xfff8

struct ipv6_fragment {
	__u8 nexthdr;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

/* Bytes before the network header: a program that is given none says so before it includes this. */
#ifndef PARSE_LINK
#define PARSE_LINK sizeof(struct ethhdr)
#endif

/* The two places where nearly every transport header is: no options, no extension headers. */
#define PARSE_PLAIN4 (PARSE_LINK + sizeof(struct iphdr))
#define PARSE_PLAIN6 (PARSE_LINK + sizeof(struct ipv6hdr))

/*
 * At an offset that is a constant: the bytes that bpf_skb_load_bytes gives, without the call where they are in the linear
 * part. `type`'s alignment tells clang to copy by words; both targets read at any address. The barrier keeps clang from
 * adding to the context pointer, which the verifier refuses.
 */
#define PARSE_LOAD(skb, offset, type, to)                                                                              \
	({                                                                                                             \
		struct __sk_buff *parse_skb = (skb);                                                                   \
		const __u8 *parse_data;                                                                                \
		bool parse_done = true;                                                                                \
                                                                                                                       \
		asm volatile("" : "+r"(parse_skb));                                                                    \
		parse_data = (void *)(long)parse_skb->data;                                                            \
		if (parse_data + (offset) + sizeof(type) <= (const __u8 *)(long)parse_skb->data_end)                   \
			*(to) = *(const type *)(parse_data + (offset));                                                \
		else                                                                                                   \
			parse_done = bpf_skb_load_bytes(parse_skb, offset, to, sizeof(type)) == 0;                     \
		parse_done;                                                                                            \
	})

/* Loads `len` bytes at the cursor and leaves it there. */
static SLUICE_INLINE bool parse_peek(struct __sk_buff *skb, const struct packet *p, void *to, __u32 len)
{
	return p->cursor + len <= p->end && bpf_skb_load_bytes(skb, p->cursor, to, len) == 0;
}

/* The same for a TCP header, which is what most packets have there. */
static SLUICE_INLINE bool parse_peek_tcp(struct __sk_buff *skb, const struct packet *p, struct tcphdr *to)
{
	if (p->cursor + sizeof(*to) > p->end)
		return false;
	if (p->cursor == PARSE_PLAIN4)
		return PARSE_LOAD(skb, PARSE_PLAIN4, struct tcphdr, to);
	if (p->cursor == PARSE_PLAIN6)
		return PARSE_LOAD(skb, PARSE_PLAIN6, struct tcphdr, to);
	return bpf_skb_load_bytes(skb, p->cursor, to, sizeof(*to)) == 0;
}

static SLUICE_INLINE __u8 parse_link(struct __sk_buff *skb, struct packet *p)
{
	__be16 type;

	/* The outer tag is out of band by now: the frame itself no longer shows it. */
	if (skb->vlan_present)
		return SLUICE_REASON_VLAN;
	if (!PARSE_LOAD(skb, __builtin_offsetof(struct ethhdr, h_proto), __be16, &type))
		return SLUICE_REASON_MALFORMED;
	p->ethertype = bpf_ntohs(type);
	p->cursor = sizeof(struct ethhdr);
	p->end = skb->len;
	if (p->ethertype == ETH_P_8021Q || p->ethertype == ETH_P_8021AD)
		return SLUICE_REASON_VLAN;
	if (p->ethertype != ETH_P_IP && p->ethertype != ETH_P_IPV6 && p->ethertype != ETH_P_ARP)
		return SLUICE_REASON_ETHERTYPE;
	return SLUICE_REASON_NONE;
}

/*
 * Trusts a length field only within the frame. A segment train longer than 64 kB carries 0 (BIG TCP, Linux 5.19 and
 * 6.3), as the stack itself reads it.
 */
static SLUICE_INLINE bool parse_set_end(struct packet *p, __u32 start, __u32 length, __u32 frame)
{
	if (length == 0 && p->gso)
		length = frame - start;
	if (length > frame - start)
		return false;
	p->end = start + length;
	return true;
}

static SLUICE_INLINE void packet_set_v4(struct sluice_addr *a, __be32 v4)
{
	a->d[0] = 0;
	a->w[2] = bpf_htonl(0xffff);
	a->w[3] = v4;
}

static SLUICE_INLINE __u8 parse_ipv4(struct __sk_buff *skb, struct packet *p)
{
	struct iphdr ip;
	__u32 header, start = p->cursor;
	__u16 offset;

	if (!PARSE_LOAD(skb, PARSE_LINK, struct iphdr, &ip))
		return SLUICE_REASON_MALFORMED;
	header = ip.ihl * 4;
	if (ip.version != 4 || header < sizeof(ip) || !parse_set_end(p, start, bpf_ntohs(ip.tot_len), skb->len) ||
	    start + header > p->end)
		return SLUICE_REASON_MALFORMED;
	packet_set_v4(&p->src, ip.saddr);
	packet_set_v4(&p->dst, ip.daddr);
	p->ip_known = 1;
	p->proto = ip.protocol;
	p->frag_proto = ip.protocol;
	p->hop_limit = ip.ttl;
	p->options = header - sizeof(ip);
	p->cursor = start + sizeof(ip);
	p->frag_id = ip.id;
	offset = bpf_ntohs(ip.frag_off);
	if (offset & IP_FRAGMENT_OFFSET)
		p->fragment = FRAGMENT_LATER;
	else if (offset & IP_MORE_FRAGMENTS)
		p->fragment = FRAGMENT_FIRST;
	return SLUICE_REASON_NONE;
}

/* A v4-mapped source would equal an address of the endpoint's IPv4 side: it is nobody's on the wire. */
static SLUICE_INLINE __u8 parse_ipv6(struct __sk_buff *skb, struct packet *p)
{
	struct ipv6hdr ip;
	__u32 start = p->cursor + sizeof(ip);

	if (!PARSE_LOAD(skb, PARSE_LINK, struct ipv6hdr, &ip))
		return SLUICE_REASON_MALFORMED;
	if (ip.version != 6 || !parse_set_end(p, start, bpf_ntohs(ip.payload_len), skb->len))
		return SLUICE_REASON_MALFORMED;
	__builtin_memcpy(&p->src, &ip.saddr, sizeof(p->src));
	__builtin_memcpy(&p->dst, &ip.daddr, sizeof(p->dst));
	p->ip_known = 1;
	p->proto = ip.nexthdr;
	p->hop_limit = ip.hop_limit;
	p->cursor = start;
	p->mapped_dst = addr_is_v4(&p->dst);
	return addr_is_v4(&p->src) ? SLUICE_REASON_SOURCE : SLUICE_REASON_NONE;
}

static SLUICE_INLINE __u8 parse_network(struct __sk_buff *skb, struct packet *p)
{
	return p->ethertype == ETH_P_IP ? parse_ipv4(skb, p) : parse_ipv6(skb, p);
}

/* One option at the cursor. Moves the cursor behind it; at the list's end to `end`. */
static SLUICE_INLINE __u8 parse_option(struct __sk_buff *skb, struct packet *p, __u32 end)
{
	__u8 option[2];
	__u32 at = p->cursor;

	if (bpf_skb_load_bytes(skb, at, option, 1))
		return SLUICE_REASON_MALFORMED;
	if (option[0] == IP_OPTION_END)
		at = end;
	else if (option[0] == IP_OPTION_NOP)
		at++;
	else if (option[0] == IP_OPTION_LOOSE_ROUTE || option[0] == IP_OPTION_STRICT_ROUTE)
		return SLUICE_REASON_IP_OPTION;
	else if (bpf_skb_load_bytes(skb, at, option, 2) || option[1] < 2 || at + option[1] > end)
		return SLUICE_REASON_MALFORMED;
	else
		at += option[1];
	p->cursor = at;
	return SLUICE_REASON_NONE;
}

static SLUICE_INLINE __u8 parse_options(struct __sk_buff *skb, struct packet *p)
{
	__u32 end = p->cursor + p->options;
	__u8 reason;

	SLUICE_UNROLL for (int i = 0; i < PARSE_MAX_OPTION_BYTES; i++)
	{
		if (p->cursor >= end)
			break;
		reason = parse_option(skb, p, end);
		if (reason)
			return reason;
	}
	return SLUICE_REASON_NONE;
}

/* One fragment header, RFC 8200 section 4.5. An atomic one (RFC 6946) is a whole datagram. */
static SLUICE_INLINE __u8 parse_ipv6_fragment(struct __sk_buff *skb, struct packet *p)
{
	struct ipv6_fragment f;
	__u16 offset;

	if (p->frag_header)
		return SLUICE_REASON_EXTENSION;
	if (!parse_peek(skb, p, &f, sizeof(f)))
		return SLUICE_REASON_MALFORMED;
	offset = bpf_ntohs(f.offset);
	p->frag_header = 1;
	p->frag_id = f.id;
	p->frag_proto = f.nexthdr;
	p->proto = f.nexthdr;
	p->cursor += sizeof(f);
	if (offset & IPV6_FRAGMENT_OFFSET)
		p->fragment = FRAGMENT_LATER;
	else if (offset & IPV6_MORE_FRAGMENTS)
		p->fragment = FRAGMENT_FIRST;
	return SLUICE_REASON_NONE;
}

static SLUICE_INLINE bool proto_is_extension(__u8 proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_DSTOPTS || proto == IPPROTO_ROUTING ||
	       proto == IPPROTO_FRAGMENT || proto == IPPROTO_AH;
}

/* Steps over one extension header. Routing and authentication headers are never walked. */
static SLUICE_INLINE __u8 parse_extension(struct __sk_buff *skb, struct packet *p, bool first)
{
	__u8 header[2];

	if (p->proto == IPPROTO_FRAGMENT)
		return parse_ipv6_fragment(skb, p);
	if (p->proto == IPPROTO_ROUTING || p->proto == IPPROTO_AH || (p->proto == IPPROTO_HOPOPTS && !first))
		return SLUICE_REASON_EXTENSION;
	if (!parse_peek(skb, p, header, sizeof(header)))
		return SLUICE_REASON_MALFORMED;
	p->proto = header[0];
	p->cursor += (header[1] + 1) * 8;
	return SLUICE_REASON_NONE;
}

static SLUICE_INLINE __u8 parse_extensions(struct __sk_buff *skb, struct packet *p)
{
	__u8 reason;

	SLUICE_UNROLL for (int i = 0; i < PARSE_MAX_EXTENSIONS; i++)
	{
		if (p->fragment == FRAGMENT_LATER || !proto_is_extension(p->proto))
			return SLUICE_REASON_NONE;
		reason = parse_extension(skb, p, i == 0);
		if (reason)
			return reason;
	}
	if (p->fragment != FRAGMENT_LATER && proto_is_extension(p->proto))
		return SLUICE_REASON_EXTENSION;
	return SLUICE_REASON_NONE;
}

/* Flag sets no TCP sends (RFC 9293 section 3.10.7): they only probe what a filter makes of them. */
static SLUICE_INLINE bool tcp_flags_are_nonsense(__u8 flags)
{
	if ((flags & TCP_SYN) && (flags & (TCP_FIN | TCP_RST)))
		return true;
	return !(flags & (TCP_SYN | TCP_RST | TCP_ACK));
}

static SLUICE_INLINE __u8 parse_tcp(struct __sk_buff *skb, struct packet *p)
{
	struct tcphdr tcp;

	if (!parse_peek_tcp(skb, p, &tcp))
		return SLUICE_REASON_MALFORMED;
	if (tcp.doff * 4 < sizeof(tcp) || p->cursor + tcp.doff * 4 > p->end)
		return SLUICE_REASON_MALFORMED;
	p->sport = tcp.source;
	p->dport = tcp.dest;
	p->rule_port = tcp.dest;
	p->tcp_flags = ((const __u8 *)&tcp)[13];
	return tcp_flags_are_nonsense(p->tcp_flags) ? SLUICE_REASON_TCP_STATE : SLUICE_REASON_NONE;
}

/* UDP and SCTP begin alike; SCTP's common header (RFC 9260 section 3.1) is 12 bytes long. */
static SLUICE_INLINE __u8 parse_udp_sctp(struct __sk_buff *skb, struct packet *p)
{
	struct udphdr udp;
	__u32 length;

	if (!parse_peek(skb, p, &udp, sizeof(udp)))
		return SLUICE_REASON_MALFORMED;
	p->sport = udp.source;
	p->dport = udp.dest;
	p->rule_port = udp.dest;
	if (p->proto == IPPROTO_SCTP)
		return p->cursor + 12 <= p->end ? SLUICE_REASON_NONE : SLUICE_REASON_MALFORMED;
	length = bpf_ntohs(udp.len);
	if (p->fragment || p->gso)
		return SLUICE_REASON_NONE;
	return length >= sizeof(udp) && p->cursor + length <= p->end ? SLUICE_REASON_NONE : SLUICE_REASON_MALFORMED;
}

/* RFC 792: the types that quote a packet. RFC 4443 section 2.1: every type below 128. */
static SLUICE_INLINE bool icmp_is_error(__u8 proto, __u8 type)
{
	if (proto == IPPROTO_ICMPV6)
		return type < 128;
	return type == ICMP4_DEST_UNREACH || type == ICMP4_SOURCE_QUENCH || type == ICMP4_REDIRECT ||
	       type == ICMP4_TIME_EXCEEDED || type == ICMP4_PARAMETER_PROBLEM;
}

static SLUICE_INLINE bool icmp_is_echo(__u8 proto, __u8 type)
{
	if (proto == IPPROTO_ICMPV6)
		return type == ICMPV6_ECHO_REQUEST || type == ICMPV6_ECHO_REPLY;
	return type == ICMP4_ECHO_REQUEST || type == ICMP4_ECHO_REPLY;
}

/* Router and neighbour solicitation and advertisement, redirect: RFC 4861 section 4. */
static SLUICE_INLINE bool packet_is_nd(const struct packet *p)
{
	return p->proto == IPPROTO_ICMPV6 && p->icmp_type >= 133 && p->icmp_type <= 137;
}

static SLUICE_INLINE __u8 parse_icmp(struct __sk_buff *skb, struct packet *p)
{
	struct icmp_header icmp;

	if (!parse_peek(skb, p, &icmp, sizeof(icmp)))
		return SLUICE_REASON_MALFORMED;
	p->icmp_type = icmp.type;
	p->icmp_code = icmp.code;
	p->rule_port = bpf_htons(icmp.type << 8);
	if (icmp_is_error(p->proto, icmp.type))
		return SLUICE_REASON_ICMP_ERROR;
	if (packet_is_nd(p))
		return SLUICE_REASON_NONE;
	if (!icmp_is_echo(p->proto, icmp.type))
		return SLUICE_REASON_PROTOCOL;
	p->sport = icmp.id;
	return SLUICE_REASON_NONE;
}

static SLUICE_INLINE __u8 parse_transport(struct __sk_buff *skb, struct packet *p)
{
	bool v6 = p->ethertype == ETH_P_IPV6;
	__u8 reason = v6 ? parse_extensions(skb, p) : parse_options(skb, p);

	if (reason || p->fragment == FRAGMENT_LATER)
		return reason;
	if (p->proto == IPPROTO_TCP)
		return parse_tcp(skb, p);
	if (p->proto == IPPROTO_UDP || p->proto == IPPROTO_SCTP)
		return parse_udp_sctp(skb, p);
	if (p->proto == (v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return parse_icmp(skb, p);
	return SLUICE_REASON_PROTOCOL;
}

#endif
