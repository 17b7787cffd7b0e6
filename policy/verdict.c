/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/verdict.h"

const struct sluice_lease *tables_find_lease(const struct sluice_tables *t, __u64 policy,
					     const struct sluice_addr *addr)
{
	for (size_t i = 0; i < t->v.nleases; i++) {
		const struct sluice_lease *lease = &t->v.leases[i];

		if (lease->key.policy == policy && addr_equal(&lease->key.addr, addr))
			return lease;
	}
	return NULL;
}

bool tables_in_cluster(const struct sluice_tables *t, const struct sluice_addr *addr)
{
	for (size_t i = 0; i < t->v.ncluster; i++)
		if (addr_equal(&t->v.cluster[i], addr))
			return true;
	return false;
}

struct sluice_decision verdict_decide(const struct verdict_tables *t, const struct sluice_query *q)
{
	const struct sluice_tables tables = { .v = *t };

	return decide(&tables, q);
}

struct sluice_decision verdict_decide_dns(const struct verdict_tables *t, const struct sluice_query *q)
{
	const struct sluice_tables tables = { .v = *t };

	return decide_dns(&tables, q);
}
