/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * When an address that a name opened was last of use to a flow: one word for (policy, address), in a table that the kernel
 * programs write as flows open and the agent renews while they live. Two that share a word keep each other, no more.
 */
#ifndef SLUICE_BPF_LEASE_USE_H
#define SLUICE_BPF_LEASE_USE_H

#include "bpf/abi.h"
#include "bpf/addr_class.h"

/* ns; longer than two of the agent's sweeps, so that a late one ends no use. */
#define LEASE_USE_FRESH 15000000000ull

/* Every bit of `x` comes to every bit of the result: addresses differ in the last bits of either half. */
static SLUICE_INLINE __u64 lease_mix(__u64 x)
{
	x = (x ^ x >> 32) * 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9ull;
	return x ^ x >> 32;
}

static SLUICE_INLINE __u32 lease_hash(__u64 policy, const struct sluice_addr *addr)
{
	return (__u32)lease_mix(lease_mix(addr->d[0] ^ policy) ^ addr->d[1]);
}

static SLUICE_INLINE __u32 lease_use_index(__u64 policy, const struct sluice_addr *addr)
{
	return lease_hash(policy, addr) % SLUICE_LEASE_USE_WORDS;
}

static SLUICE_INLINE bool lease_use_is_fresh(__u64 word, __u64 now)
{
	return word + LEASE_USE_FRESH > now;
}

#endif
