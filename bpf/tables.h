/* SPDX-License-Identifier: GPL-2.0 */
/* decide.h's four look-ups over the kernel's maps, and the verdict as one function of the packet at hand. */
#ifndef SLUICE_BPF_TABLES_H
#define SLUICE_BPF_TABLES_H

#include "bpf/maps.h"

/* The kernel has one set of tables; the context other users of decide.h need is empty here. */
struct sluice_tables {
	__u8 unused;
};

static SLUICE_INLINE bool tables_find_dest(const struct sluice_tables *t, __u64 policy, const struct sluice_addr *addr,
					   struct sluice_dest *ret)
{
	struct sluice_dest_key key = {
		.prefixlen = SLUICE_DEST_FIXED_BITS + 128,
		.policy_hi = policy >> 32,
		.policy_lo = (__u32)policy,
		.addr = { addr->w[0], addr->w[1], addr->w[2], addr->w[3] },
	};
	const struct sluice_dest *dest = bpf_map_lookup_elem(&dests, &key);

	(void)t;
	if (!dest)
		return false;
	*ret = *dest;
	return true;
}

static SLUICE_INLINE bool tables_find_rule(const struct sluice_tables *t, __u64 policy, __u32 set, __u8 proto,
					   __be16 port, struct sluice_rule *ret)
{
	struct sluice_rule_key key = {
		.prefixlen = SLUICE_RULE_FIXED_BITS + 16,
		.policy_hi = policy >> 32,
		.policy_lo = (__u32)policy,
		.set = set,
		.proto = proto,
		.port = port,
	};
	const struct sluice_rule *rule = bpf_map_lookup_elem(&rules, &key);

	(void)t;
	if (!rule)
		return false;
	*ret = *rule;
	return true;
}

static SLUICE_INLINE const struct sluice_lease *tables_find_lease(const struct sluice_tables *t, __u64 policy,
								  const struct sluice_addr *addr)
{
	struct sluice_lease_key key = { .policy = policy, .addr = *addr };

	(void)t;
	return bpf_map_lookup_elem(&leases, &key);
}

static SLUICE_INLINE bool tables_in_cluster(const struct sluice_tables *t, const struct sluice_addr *addr)
{
	__u32 found = bpf_map_lookup_elem(&cluster, addr) != NULL;

	(void)t;
	/* Or clang joins two answers by or-ing the pointers, which the verifier refuses. */
	asm volatile("" : "+r"(found));
	return found;
}

#include "bpf/decide.h"

#endif
