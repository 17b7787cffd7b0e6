/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queries under way to a resolver: a fixed table, found by the id they were sent under, in the order in which they are
 * given up. One endpoint gets no more than its share.
 */
#ifndef SLUICE_DNSPROXY_FLIGHT_H
#define SLUICE_DNSPROXY_FLIGHT_H

#include "dnsproxy/core.h"

struct flight {
	uint64_t started;
	uint64_t deadline;
	struct core_asker asker;
	struct proxy_resolver resolver; /* where the present try went */
	uint32_t transport;
	uint32_t tried; /* bit per resolver index */
	uint16_t id;	/* of the upstream query; valid while `sent` */
	uint16_t next;	/* index + 1 in the list by deadline, or of free ones */
	uint16_t previous;
	uint8_t index; /* of the resolver */
	uint8_t tries;
	bool used;
	bool sent;
	bool tcp; /* the present try */
	struct wire_query query;
};

struct flights {
	uint32_t count;
	uint16_t free_list;   /* index + 1 */
	uint16_t fresh;	      /* slots from here on were never used: their memory is not touched */
	uint16_t first, last; /* by deadline; index + 1 */
	uint32_t nendpoints;
	uint16_t *per_endpoint;
	uint16_t by_id[65536]; /* index + 1 */
	struct flight slots[CORE_FLIGHTS];
};

/* NULL: the table, or the endpoint's share, is full. */
struct flight *flight_new(struct flights *t, const struct core_asker *asker, const struct wire_query *query);
void flight_free(struct flights *t, struct flight *f);

/* Under an id from flight_pick_id, which looks from a random start for one that nobody waits under. */
void flight_sent(struct flights *t, struct flight *f, uint16_t id, uint64_t deadline);
uint16_t flight_pick_id(const struct flights *t, uint16_t start);
/* Takes back what flight_sent gave. */
void flight_unsent(struct flights *t, struct flight *f);

struct flight *flight_by_id(struct flights *t, uint16_t id);
struct flight *flight_first(struct flights *t); /* the next to give up; NULL: none */

#endif
