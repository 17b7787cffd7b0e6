/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's verdict, asked of a policy image: bpf/decide.h with its look-ups answered by image.h and plain arrays.
 * Leases and cluster addresses are searched in order; this is for `bpfctl policy explain` and for tests.
 *
 * Includes bpf/decide.h, so a file that includes this one cannot define tables of its own.
 */
#ifndef SLUICE_POLICY_VERDICT_H
#define SLUICE_POLICY_VERDICT_H

#include <stddef.h>

#include "policy/image.h"

struct verdict_tables {
	const struct image *img;
	const struct sluice_lease *leases;
	size_t nleases;
	const struct sluice_addr *cluster; /* pods', nodes' and Services' addresses */
	size_t ncluster;
};

struct sluice_tables {
	struct verdict_tables v;
};

static inline bool tables_find_dest(const struct sluice_tables *t, __u64 policy, const struct sluice_addr *addr,
				    struct sluice_dest *ret)
{
	(void)policy;
	return image_find_dest(t->v.img, addr, ret);
}

static inline bool tables_find_rule(const struct sluice_tables *t, __u64 policy, __u32 set, __u8 proto, __be16 port,
				    struct sluice_rule *ret)
{
	(void)policy;
	return image_find_rule(t->v.img, set, proto, port, ret);
}

const struct sluice_lease *tables_find_lease(const struct sluice_tables *t, __u64 policy,
					     const struct sluice_addr *addr);
bool tables_in_cluster(const struct sluice_tables *t, const struct sluice_addr *addr);

#include "bpf/decide.h"

/* q->policy picks the leases; the image is the one of `t`, whatever id it is published under. */
struct sluice_decision verdict_decide(const struct verdict_tables *t, const struct sluice_query *q);
struct sluice_decision verdict_decide_dns(const struct verdict_tables *t, const struct sluice_query *q);

#endif
