/* SPDX-License-Identifier: Apache-2.0 */
/* A policy image in the kernel's tables, under a policy id: put there, taken away, and its leases moved to another. */
#ifndef SLUICE_AGENT_TABLES_H
#define SLUICE_AGENT_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/kernel.h"
#include "policy/image.h"

/* 0; -errno when a table is full: what was put is taken away again. */
int tables_fill(const struct kernel *k, uint64_t policy, const struct image *img);
void tables_clear(const struct kernel *k, uint64_t policy, const struct image *img);

/* Every entry of `dests` and `rules`, and every lease, whose policy `keep` says no to. */
typedef bool tables_keep_fn(uint64_t policy, void *context);
void tables_clear_others(const struct kernel *k, tables_keep_fn *keep, void *context);
/* The leases alone. */
void tables_clear_leases(const struct kernel *k, tables_keep_fn *keep, void *context);

struct tables_move {
	uint64_t from;
	uint64_t to;
	const struct image *img; /* of `to` */
};
/*
 * Copies the leases of each `from` to its `to` as far as the new image still opens the name: expiry, name and asker
 * stay, the rule set is the new image's. Slots that are there already are left alone, so it may be run again for what
 * came meanwhile. Returns how many leases could not be written.
 */
size_t tables_carry_leases(const struct kernel *k, const struct tables_move *moves, size_t count);

#endif
