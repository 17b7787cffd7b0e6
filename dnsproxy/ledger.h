/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds which lease, so that a full table takes from whoever has most of it.
 *
 * Theory of operation
 * -------------------
 * Each lease is charged to the endpoint that asked for it first. While there is room nobody is bounded. When the kernel's
 * table is full, one lease goes: one that has run out, or one of the endpoint that holds most. So no endpoint can be
 * brought below the table's size divided by the number of endpoints that hold leases, whatever the others ask, and one
 * that floods the table floods its own part.
 *
 * Of that endpoint's, the idlest goes, and last what lives: leases that another endpoint asked for too, and those that a
 * flow has just used (bpf/lease_use.h). A flow outlives its lease, but a policy change judges it by that. If an endpoint
 * has nothing but live ones it gets no more for itself, but gives to others.
 *
 * The ledger is this process's memory. What the agent carried over to a new policy, and what an earlier proxy wrote, it
 * learns by a walk over the table, when that is full and the ledger does not say why. What the agent has collected it
 * takes for expired, which it was.
 */
#ifndef SLUICE_DNSPROXY_LEDGER_H
#define SLUICE_DNSPROXY_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "dnsproxy/maps.h"

struct ledger;

struct ledger_asker {
	uint32_t endpoint;
	uint32_t generation;
};

/* For maps->nleases leases. The memory is touched as it fills. 0 or -ENOMEM. */
int ledger_new(const struct maps *m, struct ledger **ret);
void ledger_freep(struct ledger **l);

/* The asker has asked, and the lease is in the kernel until `expires`. Returns its place; 0: it has none. */
uint32_t ledger_note(struct ledger *l, const struct sluice_lease_key *key, struct ledger_asker by, uint64_t expires,
		     uint64_t now);
/* The same of a place that ledger_note gave. False: that lease has gone. */
bool ledger_touch(struct ledger *l, uint32_t place, const struct sluice_lease_key *key, struct ledger_asker by,
		  uint64_t now);

/* Takes one lease out of the kernel's table for `by`. False: there is none that may go. */
bool ledger_make_room(struct ledger *l, struct ledger_asker by, uint64_t now);

/* How many the endpoint is charged with. */
uint32_t ledger_held(const struct ledger *l, uint32_t endpoint);

#endif
