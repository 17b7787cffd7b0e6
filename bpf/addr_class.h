/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Which addresses never leave a pod, and which no DNS name may open (hazard 12). Shared by the kernel's verdict, the
 * proxy's answer filter and `explain`, so that they cannot disagree.
 */
#ifndef SLUICE_BPF_ADDR_CLASS_H
#define SLUICE_BPF_ADDR_CLASS_H

#include <linux/types.h>
#ifndef __bpf__
#include <stdbool.h>
#endif

#include "base/addr_type.h"

#ifdef __bpf__
#ifndef SLUICE_HAVE_BOOL
#define SLUICE_HAVE_BOOL
typedef _Bool bool;
#define true 1
#define false 0
#endif
#define SLUICE_INLINE __attribute__((always_inline)) inline
#define SLUICE_UNROLL _Pragma("clang loop unroll(full)")
#define SLUICE_LOOP   _Pragma("clang loop unroll(disable)") /* the verifier walks it as often as it runs */
#else
#define SLUICE_INLINE inline
#define SLUICE_UNROLL
#define SLUICE_LOOP
#endif

static SLUICE_INLINE bool addr_equal(const struct sluice_addr *a, const struct sluice_addr *b)
{
	return a->d[0] == b->d[0] && a->d[1] == b->d[1];
}

/* ::ffff:0:0/96, RFC 4291 section 2.5.5.2: how an IPv4 address is carried here. */
static SLUICE_INLINE bool addr_is_v4(const struct sluice_addr *a)
{
	return a->d[0] == 0 && a->b[8] == 0 && a->b[9] == 0 && a->b[10] == 0xff && a->b[11] == 0xff;
}

/* `v4` is four bytes in network order: 0/8, 127/8 (RFC 1122 section 3.2.1.3), 224/4, 240/4 with the broadcast address. */
static SLUICE_INLINE bool addr_v4_never_leaves(const __u8 *v4)
{
	return v4[0] == 0 || v4[0] == 127 || v4[0] >= 224;
}

static SLUICE_INLINE void addr_set_v4(struct sluice_addr *a, __u8 b0, __u8 b1, __u8 b2, __u8 b3)
{
	a->d[0] = 0;
	a->w[2] = 0;
	a->b[10] = 0xff;
	a->b[11] = 0xff;
	a->b[12] = b0;
	a->b[13] = b1;
	a->b[14] = b2;
	a->b[15] = b3;
}

/* 64:ff9b::/96 (RFC 6052) and 64:ff9b:1::/48 (RFC 8215). */
static SLUICE_INLINE bool addr_is_nat64(const struct sluice_addr *a)
{
	if (a->b[0] != 0x00 || a->b[1] != 0x64 || a->b[2] != 0xff || a->b[3] != 0x9b)
		return false;
	return (a->w[1] == 0 && a->w[2] == 0) || (a->b[4] == 0x00 && a->b[5] == 0x01);
}

/* ::ffff:0:0:0/96, "IPv4-translated": what the first stateless translators made of an IPv4 address (RFC 2765). */
static SLUICE_INLINE bool addr_is_translated(const struct sluice_addr *a)
{
	return a->d[0] == 0 && a->b[8] == 0xff && a->b[9] == 0xff && a->b[10] == 0 && a->b[11] == 0;
}

/* 2001::/32, RFC 4380. */
static SLUICE_INLINE bool addr_is_teredo(const struct sluice_addr *a)
{
	return a->b[0] == 0x20 && a->b[1] == 0x01 && a->b[2] == 0x00 && a->b[3] == 0x00;
}

/*
 * The IPv4 address that an IPv6 one stands for: NAT64, translated, 6to4 (RFC 3056) and Teredo's client, which is
 * stored inverted. Under the local-use NAT64 prefix the place is the network's choice; the usual one, the last four
 * bytes, is taken.
 */
static SLUICE_INLINE bool addr_embedded_v4(const struct sluice_addr *a, struct sluice_addr *ret)
{
	const __u8 *b = a->b;

	if (addr_is_nat64(a) || addr_is_translated(a))
		addr_set_v4(ret, b[12], b[13], b[14], b[15]);
	else if (b[0] == 0x20 && b[1] == 0x02)
		addr_set_v4(ret, b[2], b[3], b[4], b[5]);
	else if (addr_is_teredo(a))
		addr_set_v4(ret, b[12] ^ 0xff, b[13] ^ 0xff, b[14] ^ 0xff, b[15] ^ 0xff);
	else
		return false;
	return true;
}

/* Never a unicast destination beyond the node. A v4-mapped address in an IPv6 header is refused by the parser. */
static SLUICE_INLINE bool addr_never_leaves(const struct sluice_addr *a)
{
	struct sluice_addr v4;

	if (addr_is_v4(a))
		return addr_v4_never_leaves(a->b + 12);
	if (a->b[0] == 0xff)
		return true;
	if (addr_embedded_v4(a, &v4))
		return addr_v4_never_leaves(v4.b + 12);
	return a->d[0] == 0 && a->w[2] == 0; /* ::/96 holds ::, ::1 and the deprecated v4-compatible form */
}

/* Four bytes in network order as a number. */
static SLUICE_INLINE __u32 addr_number(const __u8 *b)
{
	return (__u32)b[0] << 24 | (__u32)b[1] << 16 | (__u32)b[2] << 8 | b[3];
}

/*
 * A cloud's own services to its machines: metadata with the node's credentials, agents, keys. Most clouds have them at
 * 169.254.169.254; these are the others, one address each, as beside them are other people's.
 */
static SLUICE_INLINE bool addr_v4_is_platform(const __u8 *v4)
{
	__u32 n = addr_number(v4);

	return n == 0xa83f8110 || /* 168.63.129.16, Azure's wire server */
	       n == 0x646464c8 || /* 100.100.100.200, Alibaba */
	       n == 0xc00000c0;	  /* 192.0.0.192, Oracle's Classic */
}

/* The same by IPv6, of unique local addresses: AWS has a whole prefix (IMDS, Pod Identity, DNS), others one address. */
static SLUICE_INLINE bool addr_v6_is_platform(const struct sluice_addr *a)
{
	__u32 n[4];

	if (a->b[0] != 0xfd)
		return false;
	for (int i = 0; i < 4; i++)
		n[i] = addr_number(a->b + 4 * i);
	if (n[0] == 0xfd000ec2) /* fd00:ec2::/32 */
		return true;
	if (n[0] == 0xfd00a9fe) /* fd00:a9fe:a9fe::1, Akamai */
		return n[1] == 0xa9fe0000 && n[2] == 0 && n[3] == 1;
	if (n[1] || n[2])
		return false;
	return (n[0] == 0xfd2000ce && n[3] == 0x254) ||	     /* fd20:ce::254, Google */
	       (n[0] == 0xfd0000c1 && n[3] == 0xa9fea9fe) || /* fd00:c1::a9fe:a9fe, Oracle */
	       (n[0] == 0xfd000100 && n[3] == 0x1000200) ||  /* fd00:100::100:200, Alibaba */
	       (n[0] == 0xfd000042 && n[3] == 0x42);	     /* fd00:42::42, Scaleway */
}

static SLUICE_INLINE bool addr_v4_no_name_opens(const __u8 *v4)
{
	return addr_v4_never_leaves(v4) || (v4[0] == 169 && v4[1] == 254) || addr_v4_is_platform(v4);
}

/*
 * The static classes of hazard 12, seen through the forms that carry an IPv4 address inside an IPv6 one. The local-use
 * NAT64 prefix can embed it at places we cannot know, and Teredo carries a server's beside the client's, so these two
 * are refused whole. Node, Service and API server addresses are not static: the `cluster` map holds them. An address rule
 * opens any of these as it says: what is refused is that a name's owner chooses them.
 */
static SLUICE_INLINE bool addr_no_name_opens(const struct sluice_addr *a)
{
	const __u8 *b = a->b;
	struct sluice_addr v4;

	if (addr_never_leaves(a))
		return true;
	if (addr_is_v4(a))
		return addr_v4_no_name_opens(b + 12);
	if (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) /* fe80::/10 */
		return true;
	if (addr_v6_is_platform(a))
		return true;
	if (addr_is_teredo(a) || (addr_is_nat64(a) && b[5] == 0x01))
		return true;
	return addr_embedded_v4(a, &v4) && addr_v4_no_name_opens(v4.b + 12);
}

#endif
