/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Groups of addresses that hold nobody of the cluster: a bit for each, in a table that stays in a CPU's cache, so that most
 * destinations outside need no look-up in `cluster`, which does not. A group is a /24, or of IPv6 a /80, which is what
 * the VPC CNI gives a node; those of one hash share a bit.
 *
 * A bit that is not set says nothing: the agent takes it away before it writes an address of the group to `cluster`, and
 * sets it when the last has been taken out. Zeros are never wrong, only slower: that is what an agent starts from, since
 * one that knew nothing of these bits may have written to `cluster` meanwhile.
 */
#ifndef SLUICE_BPF_CLUSTER_QUIET_H
#define SLUICE_BPF_CLUSTER_QUIET_H

#include "bpf/abi.h"
#include "bpf/addr_class.h"

/* Of a group's number the upper bits say which word, the lower six which bit of it. */
static SLUICE_INLINE __u32 cluster_group(const struct sluice_addr *addr)
{
	struct sluice_addr net = *addr;
	__u64 x;

	if (addr_is_v4(addr))
		net.b[15] = 0;
	else
		net.w[3] = net.b[10] = net.b[11] = 0;
	x = (net.d[0] ^ net.d[0] >> 32) * 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 29 ^ net.d[1]) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 32) * 0x9e3779b97f4a7c15ull;
	return (__u32)(x >> 32) % (64 * SLUICE_CLUSTER_QUIET_WORDS);
}

static SLUICE_INLINE __u32 cluster_group_word(__u32 group)
{
	return group / 64;
}

static SLUICE_INLINE __u64 cluster_group_bit(__u32 group)
{
	return 1ull << group % 64;
}

#endif
