/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reject mode: the denied packet, turned into the answer that tells its sender. TCP gets a reset, UDP and echo requests an
 * ICMP error "administratively prohibited".
 *
 * Theory of operation
 * -------------------
 * The frame is overwritten where it lies and goes to the pod's end of the veth by bpf_redirect_peer: it never passes
 * to_pod, which therefore needs no mark to tell it from a peer's (hazard 2). A pod's end in this very network namespace
 * is no pod's, and the helper drops.
 *
 * It carries nothing the pod did not write itself, but the address it wrote to. Never answered (RFC 1122 section
 * 3.2.2, RFC 4443 section 2.4): fragments, resets, ICMP that is no echo request; group addresses end before, as
 * NEVER_LEAVES or L2. Packets with options or extension headers are dropped without a word: no honest program waits for
 * that answer.
 *
 * A veth carries segments whose checksum nobody has computed yet: the field holds the pseudo header's sum and the buffer
 * says so (CHECKSUM_PARTIAL), which a program can neither read nor clear. Whoever computes it later sums up all from the
 * transport header on and writes the result where that field was. So a reset is left in the state its segment came in, and
 * an ICMP message is made such that its checksum is right before and after: where a UDP header has its checksum, this one
 * has unused bytes. With F in them when the sum is taken, -F is what the message then sums up to, so F has to be the
 * pseudo header's sum, which for ICMP over IPv4 is 0. SCTP's CRC knows no such way, and is not answered.
 */
#ifndef SLUICE_BPF_REJECT_H
#define SLUICE_BPF_REJECT_H

#include "bpf/bucket.h"
#include "bpf/events.h"
#include "bpf/work.h"

#define REJECT_HOPS	     64
#define IP_DONT_FRAGMENT     0x4000
#define ICMP4_ADMIN_PROHIB   13 /* RFC 1812 section 5.2.7.1 */
#define ICMPV6_UNREACHABLE   1
#define ICMPV6_ADMIN_PROHIB  1 /* RFC 4443 section 3.1 */
#define TCP_MIN_HEADER_WORDS 5

int reject_answer(struct __sk_buff *skb, struct work *w);

static SLUICE_INLINE __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)(sum + (sum >> 16));
}

/* Of the pseudo header, RFC 9293 section 3.1 and RFC 8200 section 8.1: either way round, the sum is the same. */
static SLUICE_INLINE __u32 csum_pseudo(const struct packet *p, __u32 length)
{
	__be32 rest[2] = { bpf_htonl(length), bpf_htonl(p->proto) };
	__u32 sum = bpf_csum_diff(NULL, 0, rest, sizeof(rest), 0);

	/* An IPv4 address's coat is 96 bits whose sum, 0xffff, is nothing in this arithmetic. */
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&p->src, sizeof(p->src), sum);
	return bpf_csum_diff(NULL, 0, (__be32 *)&p->dst, sizeof(p->dst), sum);
}

/* ---- network headers --------------------------------------------------------------------------------------------- */

static SLUICE_INLINE void reject_ipv4(const struct packet *p, struct iphdr *ip, __u8 proto, __u16 length)
{
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tot_len = bpf_htons(length);
	ip->frag_off = bpf_htons(IP_DONT_FRAGMENT);
	ip->ttl = REJECT_HOPS;
	ip->protocol = proto;
	ip->saddr = p->dst.w[3];
	ip->daddr = p->src.w[3];
	ip->check = ~csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0));
}

static SLUICE_INLINE void reject_ipv6(const struct packet *p, struct ipv6hdr *ip, __u8 proto, __u16 length)
{
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 6;
	ip->payload_len = bpf_htons(length);
	ip->nexthdr = proto;
	ip->hop_limit = REJECT_HOPS;
	__builtin_memcpy(&ip->saddr, &p->dst, sizeof(p->dst));
	__builtin_memcpy(&ip->daddr, &p->src, sizeof(p->src));
}

/* ---- TCP --------------------------------------------------------------------------------------------------------- */

/* RFC 9293 section 3.10.7.1: what the segment's sender takes for an answer to it. */
static SLUICE_INLINE void reject_reset(const struct packet *p, const struct tcphdr *in, struct tcphdr *out)
{
	__u32 length = p->end - p->cursor - in->doff * 4 + in->syn + in->fin;

	__builtin_memset(out, 0, sizeof(*out));
	out->source = in->dest;
	out->dest = in->source;
	out->doff = TCP_MIN_HEADER_WORDS;
	out->rst = 1;
	if (in->ack) {
		out->seq = in->ack_seq;
		return;
	}
	out->ack = 1;
	out->ack_seq = bpf_htonl(bpf_ntohl(in->seq) + length);
}

static SLUICE_INLINE bool reject_tcp(struct __sk_buff *skb, struct work *w, struct tcphdr *out)
{
	const struct packet *p = &w->packet;
	struct tcphdr in;
	__u32 pseudo = csum_pseudo(p, sizeof(*out));

	if (bpf_skb_load_bytes(skb, p->cursor, &in, sizeof(in)))
		return false;
	reject_reset(p, &in, out);
	if (in.check == csum_fold(csum_pseudo(p, p->end - p->cursor)))
		out->check = csum_fold(pseudo);
	else
		out->check = ~csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)out, sizeof(*out), pseudo));
	return true;
}

/* ---- ICMP -------------------------------------------------------------------------------------------------------- */

/* The least an error quotes, and all it needs to: the header and the eight bytes that hold the ports. */
static SLUICE_INLINE bool reject_icmp4(struct __sk_buff *skb, struct work *w)
{
	struct sluice_reject_icmp4 *r = &w->reject.icmp4;

	if (bpf_skb_load_bytes(skb, sizeof(struct ethhdr), r->quote, sizeof(r->quote)))
		return false;
	r->icmp = (struct icmp_header){};
	r->icmp.type = ICMP4_DEST_UNREACH;
	r->icmp.code = ICMP4_ADMIN_PROHIB;
	r->icmp.checksum =
		~csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&r->icmp, sizeof(r->icmp) + sizeof(r->quote), 0));
	reject_ipv4(&w->packet, &r->ip, IPPROTO_ICMP, sizeof(*r));
	return true;
}

/* Whether its checksum is still to be computed; the program that says so of a whole datagram only fools itself. */
static SLUICE_INLINE bool reject_udp_is_partial(struct __sk_buff *skb, const struct packet *p)
{
	struct udphdr udp;

	return p->proto == IPPROTO_UDP && bpf_skb_load_bytes(skb, p->cursor, &udp, sizeof(udp)) == 0 &&
	       udp.check == csum_fold(csum_pseudo(p, p->end - p->cursor));
}

static SLUICE_INLINE bool reject_icmp6(struct __sk_buff *skb, struct work *w)
{
	struct sluice_reject_icmp6 *r = &w->reject.icmp6;
	bool partial = reject_udp_is_partial(skb, &w->packet);
	__u32 pseudo;

	if (bpf_skb_load_bytes(skb, sizeof(struct ethhdr), r->quote, sizeof(r->quote)))
		return false;
	r->icmp = (struct icmp_header){};
	r->icmp.type = ICMPV6_UNREACHABLE;
	r->icmp.code = ICMPV6_ADMIN_PROHIB;
	w->packet.proto = IPPROTO_ICMPV6;
	pseudo = csum_pseudo(&w->packet, sizeof(r->icmp) + sizeof(r->quote));
	if (partial)
		r->icmp.sequence = csum_fold(pseudo);
	r->icmp.checksum =
		~csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&r->icmp, sizeof(r->icmp) + sizeof(r->quote), pseudo));
	reject_ipv6(&w->packet, &r->ip, IPPROTO_ICMPV6, sizeof(r->icmp) + sizeof(r->quote));
	return true;
}

/* ---- the frame --------------------------------------------------------------------------------------------------- */

/* The Ethernet header turned round, and `len` bytes of w->reject behind it: constants, for the verifier's sake. */
#define REJECT_WRITE(skb, w, member)                                                                                   \
	(bpf_skb_change_tail(skb, sizeof(struct ethhdr) + sizeof((w)->reject.member), 0) == 0 && reject_turn(skb) &&   \
	 bpf_skb_store_bytes(skb, sizeof(struct ethhdr), &(w)->reject.member, sizeof((w)->reject.member), 0) == 0)

static SLUICE_INLINE bool reject_turn(struct __sk_buff *skb)
{
	__u8 macs[2 * ETH_ALEN];

	return bpf_skb_load_bytes(skb, 0, macs + ETH_ALEN, ETH_ALEN) == 0 &&
	       bpf_skb_load_bytes(skb, ETH_ALEN, macs, ETH_ALEN) == 0 &&
	       bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0) == 0;
}

static SLUICE_INLINE bool reject_write4(struct __sk_buff *skb, struct work *w)
{
	if (w->packet.proto != IPPROTO_TCP)
		return reject_icmp4(skb, w) && REJECT_WRITE(skb, w, icmp4);
	reject_ipv4(&w->packet, &w->reject.tcp4.ip, IPPROTO_TCP, sizeof(w->reject.tcp4));
	return reject_tcp(skb, w, &w->reject.tcp4.tcp) && REJECT_WRITE(skb, w, tcp4);
}

static SLUICE_INLINE bool reject_write6(struct __sk_buff *skb, struct work *w)
{
	if (w->packet.proto != IPPROTO_TCP)
		return reject_icmp6(skb, w) && REJECT_WRITE(skb, w, icmp6);
	reject_ipv6(&w->packet, &w->reject.tcp6.ip, IPPROTO_TCP, sizeof(w->reject.tcp6.tcp));
	return reject_tcp(skb, w, &w->reject.tcp6.tcp) && REJECT_WRITE(skb, w, tcp6);
}

/* Does the packet get an answer at all? */
static SLUICE_INLINE bool reject_is_due(const struct packet *p)
{
	__u32 header = p->ethertype == ETH_P_IP ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);

	if (p->fragment || p->cursor != sizeof(struct ethhdr) + header || p->options)
		return false;
	if (p->proto == IPPROTO_TCP)
		return !(p->tcp_flags & TCP_RST);
	return p->proto == IPPROTO_UDP || packet_is_echo_request(p);
}

static SLUICE_INLINE bool reject_within_rate(const struct work *w, struct sluice_runtime *rt)
{
	const struct sluice_settings *s = settings_get();

	if (s && bucket_take(&rt->reject_bucket, s->reject_rate, s->reject_burst, w->now))
		return true;
	total_add(SLUICE_TOTAL_REJECTS_SUPPRESSED, 1);
	__sync_fetch_and_add(&rt->rejects_suppressed, 1);
	return false;
}

/* The verdict on a packet that policy denies: the way back, or the drop. Afterwards w->packet is not the packet's. */
SLUICE_GLOBAL int reject_answer(struct __sk_buff *skb, struct work *w)
{
	struct sluice_runtime *rt;

	if (!w)
		return VERDICT_DROP;
	rt = runtime_get(w);
	if (!rt || !reject_is_due(&w->packet) || !reject_within_rate(w, rt))
		return VERDICT_DROP;
	if (!(w->packet.ethertype == ETH_P_IP ? reject_write4(skb, w) : reject_write6(skb, w)))
		return VERDICT_DROP;
	total_add(SLUICE_TOTAL_REJECTED, 1);
	__sync_fetch_and_add(&rt->rejected, 1);
	return bpf_redirect_peer(skb->ifindex, 0);
}

#endif
