/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ARP and neighbour discovery: a pod speaks for its own addresses and for nobody else, and only on its own link. An
 * advertisement to a global address would be routed, payload and all: a free channel out (seen under other agents).
 */
#ifndef SLUICE_BPF_NEIGHBOUR_H
#define SLUICE_BPF_NEIGHBOUR_H

#include "bpf/endpoint.h"
#include "bpf/parse.h"

#define ND_HOP_LIMIT 255

/*
 * What an honest message needs: a frame of Ethernet's least length, and two options (link-layer address, nonce) behind
 * the target. The rest would be payload for whoever else hears the frame on a bridge.
 */
#define ARP_MAX_FRAME  60
#define ND_MAX_OPTIONS 32

#define ND_SOLICITATION	 135
#define ND_ADVERTISEMENT 136

/* RFC 826 for Ethernet and IPv4. */
struct arp_frame {
	struct ethhdr eth;
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_len;
	__u8 protocol_len;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender_ip[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target_ip[4];
} __attribute__((packed));

#define ARP_HARDWARE_ETHERNET 1
#define ARP_REQUEST	      1
#define ARP_REPLY	      2

/* RFC 4861 sections 4.3 and 4.4; the target stands at the same place in both. */
struct nd_message {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 flags;
	struct sluice_addr target;
};

/* Byte by byte: clang turns a memcmp of six into a call, and there is nobody to call. */
static SLUICE_INLINE bool mac_equal(const __u8 *a, const __u8 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[4] == b[4] && a[5] == b[5];
}

static SLUICE_INLINE bool arp_is_sane(const struct arp_frame *arp)
{
	return arp->hardware == bpf_htons(ARP_HARDWARE_ETHERNET) && arp->protocol == bpf_htons(ETH_P_IP) &&
	       arp->hardware_len == ETH_ALEN && arp->protocol_len == 4 && mac_equal(arp->sender_mac, arp->eth.h_source);
}

/* An own sender address, or none at all in a request: an RFC 5227 probe. */
static SLUICE_INLINE __u8 neighbour_check_arp(struct __sk_buff *skb, const struct sluice_endpoint *ep,
					      const struct packet *p)
{
	struct arp_frame arp;
	struct sluice_addr sender;
	__be32 ip;

	if (p->pkt_type != PACKET_HOST && p->pkt_type != PACKET_BROADCAST)
		return SLUICE_REASON_L2;
	if (bpf_skb_load_bytes(skb, 0, &arp, sizeof(arp)))
		return SLUICE_REASON_MALFORMED;
	if (!arp_is_sane(&arp) || skb->len > ARP_MAX_FRAME)
		return SLUICE_REASON_NEIGHBOUR;
	__builtin_memcpy(&ip, arp.sender_ip, sizeof(ip));
	if (ip == 0)
		return arp.operation == bpf_htons(ARP_REQUEST) ? SLUICE_REASON_NONE : SLUICE_REASON_NEIGHBOUR;
	if (arp.operation != bpf_htons(ARP_REQUEST) && arp.operation != bpf_htons(ARP_REPLY))
		return SLUICE_REASON_NEIGHBOUR;
	packet_set_v4(&sender, ip);
	return endpoint_owns(ep, &sender) ? SLUICE_REASON_NONE : SLUICE_REASON_NEIGHBOUR;
}

static SLUICE_INLINE bool addr_is_link_local(const struct sluice_addr *a)
{
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

/* ff02::/16, RFC 4291 section 2.7. */
static SLUICE_INLINE bool addr_is_link_multicast(const struct sluice_addr *a)
{
	return a->b[0] == 0xff && a->b[1] == 0x02;
}

static SLUICE_INLINE bool addr_is_unspecified(const struct sluice_addr *a)
{
	return a->d[0] == 0 && a->d[1] == 0;
}

/* An address the sender may claim: one of the endpoint's, or the link-local one it also sends from. */
static SLUICE_INLINE bool nd_may_claim(const struct sluice_endpoint *ep, const struct packet *p,
				       const struct sluice_addr *addr)
{
	return endpoint_owns(ep, addr) || (addr_is_link_local(addr) && addr_equal(addr, &p->src));
}

/* Duplicate address detection, RFC 4862 section 5.4.2: from ::, for an own or any link-local address. */
static SLUICE_INLINE bool nd_is_probe(const struct sluice_endpoint *ep, const struct packet *p,
				      const struct nd_message *nd)
{
	return nd->type == ND_SOLICITATION && addr_is_link_multicast(&p->dst) &&
	       (endpoint_owns(ep, &nd->target) || addr_is_link_local(&nd->target));
}

/* On-link, whole, and one of the two kinds a host sends (RFC 4861 section 7.1, RFC 6980). */
static SLUICE_INLINE __u8 nd_check_headers(const struct packet *p)
{
	if (p->pkt_type != PACKET_HOST && p->pkt_type != PACKET_MULTICAST)
		return SLUICE_REASON_L2;
	if (p->fragment || p->hop_limit != ND_HOP_LIMIT || p->icmp_code != 0)
		return SLUICE_REASON_NEIGHBOUR;
	if (!addr_is_link_local(&p->dst) && !addr_is_link_multicast(&p->dst))
		return SLUICE_REASON_NEIGHBOUR;
	if (p->icmp_type != ND_SOLICITATION && p->icmp_type != ND_ADVERTISEMENT)
		return SLUICE_REASON_NEIGHBOUR;
	return SLUICE_REASON_NONE;
}

static SLUICE_INLINE __u8 neighbour_check_nd(struct __sk_buff *skb, const struct sluice_endpoint *ep,
					     const struct packet *p)
{
	struct nd_message nd;
	__u8 reason = nd_check_headers(p);

	if (reason)
		return reason;
	if (!parse_peek(skb, p, &nd, sizeof(nd)))
		return SLUICE_REASON_MALFORMED;
	if (p->end - p->cursor > sizeof(nd) + ND_MAX_OPTIONS)
		return SLUICE_REASON_NEIGHBOUR;
	if (addr_is_unspecified(&p->src))
		return nd_is_probe(ep, p, &nd) ? SLUICE_REASON_NONE : SLUICE_REASON_NEIGHBOUR;
	if (!endpoint_owns(ep, &p->src) && !addr_is_link_local(&p->src))
		return SLUICE_REASON_SOURCE;
	if (nd.type == ND_ADVERTISEMENT && !nd_may_claim(ep, p, &nd.target))
		return SLUICE_REASON_NEIGHBOUR;
	return SLUICE_REASON_NONE;
}

#endif
