/* SPDX-License-Identifier: GPL-2.0 */
/* decide.h's four look-ups over the kernel's maps. */
#ifndef SLUICE_BPF_TABLES_H
#define SLUICE_BPF_TABLES_H

#include "bpf/cluster_quiet.h"
#include "bpf/dest_page.h"
#include "bpf/lease_line.h"
#include "bpf/maps.h"

/*
 * The kernel has one set of tables. What the context holds is what dests_search found, since a call from within the
 * verdict would take more than the 512 bytes that the frames of egress, verdict and search may have together.
 */
struct sluice_tables {
	__u32 dest4; /* SLUICE_DEST_PACK of the IPv4 destination, or of the one that an IPv6 one embeds; 0: no entry */
	__u32 dest6; /* of the IPv6 destination */
};

__u32 dests_find4(__u64 policy, __u32 addr);
__u32 dests_find6(__u64 policy, __u64 upper, __u64 lower);

/*
 * SLUICE_DEST_PACK; 0: no entry. `addr`: four words as in a page's `first`, of IPv4 the last. The key is compared last: had
 * the page been recycled while we read it, nothing read from it may speak. The root is written last, so a page below it
 * that is missing was taken away.
 */
static SLUICE_INLINE __u32 dests_walk(__u64 policy, __u32 root, const __u32 *addr)
{
	__u32 number = root;

	SLUICE_LOOP for (int level = 0; level < SLUICE_DEST_LEVELS; level++)
	{
		__u64 key = SLUICE_DEST_KEY(policy, number);
		const struct sluice_dest_page *page = bpf_map_lookup_elem(&dests, &key);
		__u32 kind;

		if (!page)
			return level ? DEST_BROKEN : 0;
		number = root == SLUICE_DEST_ROOT4 ? dest_page_find4(page, addr[3]) : dest_page_find6(page, addr);
		kind = page->kind;
		barrier();
		if (page->key != key)
			return DEST_BROKEN;
		if (kind == SLUICE_DEST_LEAF)
			return number;
	}
	return DEST_BROKEN;
}

SLUICE_GLOBAL __u32 dests_find4(__u64 policy, __u32 addr)
{
	const __u32 words[4] = { [3] = addr };

	return dests_walk(policy, SLUICE_DEST_ROOT4, words);
}

SLUICE_GLOBAL __u32 dests_find6(__u64 policy, __u64 upper, __u64 lower)
{
	const __u32 words[4] = { upper >> 32, (__u32)upper, lower >> 32, (__u32)lower };

	return dests_walk(policy, SLUICE_DEST_ROOT6, words);
}

/* What a verdict on that destination will ask for. */
static SLUICE_INLINE void dests_search(__u64 policy, const struct sluice_addr *remote, struct sluice_tables *ret)
{
	struct sluice_addr v4 = *remote;

	ret->dest4 = ret->dest6 = 0;
	if (!addr_is_v4(remote)) {
		ret->dest6 = dests_find6(policy, bpf_be64_to_cpu(remote->d[0]), bpf_be64_to_cpu(remote->d[1]));
		if (!addr_embedded_v4(remote, &v4))
			return;
	}
	ret->dest4 = dests_find4(policy, bpf_ntohl(v4.w[3]));
}

static SLUICE_INLINE bool tables_find_dest(const struct sluice_tables *t, __u64 policy, const struct sluice_addr *addr,
					   struct sluice_dest *ret)
{
	__u32 found = addr_is_v4(addr) ? t->dest4 : t->dest6;

	(void)policy;
	ret->set = SLUICE_DEST_SET(found);
	ret->cluster_set = SLUICE_DEST_CLUSTER_SET(found);
	return found != 0;
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

/* 0: the line is for that policy and address. */
static SLUICE_INLINE __u64 line_differs(const volatile struct sluice_lease_line *l, __u64 policy,
					const struct sluice_addr *addr)
{
	return (l->key.policy ^ policy) | (l->key.addr.d[0] ^ addr->d[0]) | (l->key.addr.d[1] ^ addr->d[1]);
}

/* Copied before it is looked at, as it may be written meanwhile. */
static SLUICE_INLINE bool line_read(const volatile struct sluice_lease_line *l, __u64 policy,
				    const struct sluice_addr *addr, __u64 secret, struct sluice_lease_slot *ret)
{
	struct sluice_lease_line line;

	line.key.policy = policy;
	line.key.addr = *addr;
	line.slot.expires = l->slot.expires;
	line.slot.name = l->slot.name;
	line.slot.set = l->slot.set;
	line.slot.generation = l->slot.generation;
	*ret = line.slot;
	return l->check == lease_line_check(&line, secret);
}

/*
 * The slot of the lease's line; false: it has none, or none to be believed. Both places are read before the first is
 * judged, so that they are waited for together.
 */
static SLUICE_INLINE bool lines_find(__u64 policy, const struct sluice_addr *addr, struct sluice_lease_slot *ret)
{
	__u32 zero = 0, first, second;
	const struct sluice_settings *s = bpf_map_lookup_elem(&settings, &zero);
	const struct sluice_lease_line *a, *b;
	__u64 not_a, not_b;

	if (!s)
		return false;
	first = lease_line_index(s->lease_lines, policy, addr);
	second = lease_line_other(first);
	a = bpf_map_lookup_elem(&lease_lines, &first);
	b = bpf_map_lookup_elem(&lease_lines, &second);
	if (!a || !b)
		return false;
	not_a = line_differs(a, policy, addr);
	not_b = line_differs(b, policy, addr);
	if (!not_a)
		return line_read(a, policy, addr, s->name_key[0], ret);
	return !not_b && line_read(b, policy, addr, s->name_key[0], ret);
}

/* What lines_find will read is fetched meanwhile: what is read here nobody waits for. */
static SLUICE_INLINE void lines_touch(__u64 policy, const struct sluice_addr *addr)
{
	__u32 zero = 0, first, second;
	const struct sluice_settings *s = bpf_map_lookup_elem(&settings, &zero);
	const volatile struct sluice_lease_line *a, *b;

	if (!s)
		return;
	first = lease_line_index(s->lease_lines, policy, addr);
	second = lease_line_other(first);
	a = bpf_map_lookup_elem(&lease_lines, &first);
	b = bpf_map_lookup_elem(&lease_lines, &second);
	if (!a || !b)
		return;
	(void)a->key.policy;
	(void)b->key.policy;
}

static SLUICE_INLINE bool tables_in_cluster(const struct sluice_tables *t, const struct sluice_addr *addr)
{
	__u32 group = cluster_group(addr), word = cluster_group_word(group), found;
	const volatile __u64 *quiet = bpf_map_lookup_elem(&cluster_quiet, &word);

	(void)t;
	if (quiet && (*quiet & cluster_group_bit(group)))
		return false;
	found = bpf_map_lookup_elem(&cluster, addr) != NULL;
	/* Or clang joins two answers by or-ing the pointers, which the verifier refuses. */
	asm volatile("" : "+r"(found));
	return found;
}

#include "bpf/decide.h"

#endif
