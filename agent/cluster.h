/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's table of cluster addresses: this node's own, every endpoint's, and those of the inventory. */
#ifndef SLUICE_AGENT_CLUSTER_H
#define SLUICE_AGENT_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/kernel.h"

struct cluster_entry {
	struct sluice_addr addr;
	struct sluice_cluster value;
};

/*
 * What is wanted; `= {}` is an empty list. Of an address given twice the strongest claim counts: this
 * node's own, a node's, a pod's, a Service's.
 */
struct cluster {
	struct cluster_entry *items;
	size_t count;
	bool failed; /* an allocation failed */
};

void cluster_add(struct cluster *c, const struct sluice_addr *addr, enum sluice_cluster_kind kind, bool local);
void cluster_clear(struct cluster *c);

/*
 * Makes the table so. `ret_added` says whether an address is new in it or changed its kind: that may turn an allow into
 * a deny (hazard 7). Addresses that are wanted no more are only taken out by cluster_prune, which is for after the
 * policies changed. `there`: what the table holds, as an earlier call left it; NULL: not known, and the kernel is asked.
 * 0; -errno when the table is full.
 */
int cluster_sync(const struct kernel *k, struct cluster *wanted, const struct cluster *there, bool *ret_added);
void cluster_prune(const struct kernel *k, const struct cluster *wanted, const struct cluster *there);

#endif
