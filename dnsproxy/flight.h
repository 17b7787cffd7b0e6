/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queries under way to a resolver: a fixed table, found by the id they were sent under, in the order in which they are
 * given up. One endpoint gets no more than its share.
 *
 * A query that asks what another one of the same policy is asking already waits for that one's answer. Each is charged
 * to its own endpoint; only the first is ever `sent`.
 */
#ifndef SLUICE_DNSPROXY_FLIGHT_H
#define SLUICE_DNSPROXY_FLIGHT_H

#include "dnsproxy/core.h"

#define FLIGHT_BUCKETS 4096

struct flight {
	uint64_t started;
	uint64_t deadline;
	struct core_asker asker;
	struct proxy_resolver resolver; /* where the present try went */
	uint64_t name;			/* a hash of it, and nobody else's to foresee */
	uint64_t policy;		/* and `first`: what equal questions have in common besides themselves */
	uint32_t transport;
	uint32_t epoch;	  /* of the settings that the resolver indexes are of */
	uint32_t tried;	  /* bit per resolver index */
	uint32_t refused; /* answered with an error: not asked again */
	uint16_t id;	  /* of the upstream query; valid while `sent` */
	uint16_t next;	  /* index + 1 in the list by deadline, or of free ones */
	uint16_t previous;
	uint16_t bucket;		      /* of those that may be waited on */
	uint16_t chain;			      /* the next in the bucket, index + 1 */
	uint16_t waiting_first, waiting_last; /* queries that wait on this one, index + 1 */
	uint16_t waiting_next;		      /* the next that waits on the same */
	uint16_t leader;		      /* the one it waits on */
	uint16_t younger, older;	      /* of the same endpoint; index + 1 */
	uint8_t first;			      /* the resolver it was to be asked of at first */
	uint8_t index;			      /* of the resolver */
	uint8_t tries;
	bool used;
	bool sent;
	bool tcp;	 /* the present try; the next two too */
	bool plain;	 /* without EDNS */
	bool cut;	 /* an answer by UDP was truncated, and the pod is on TCP already */
	bool downgraded; /* because the resolver has just refused it */
	struct wire_query query;
};

/* An endpoint's part of the table, in order of arrival. */
struct flight_share {
	uint16_t count;
	uint16_t oldest, youngest; /* index + 1 */
};

struct flights {
	uint32_t count;
	uint16_t free_list;   /* index + 1 */
	uint16_t fresh;	      /* slots from here on were never used: their memory is not touched */
	uint16_t first, last; /* by deadline; index + 1 */
	uint32_t nendpoints;
	struct flight_share *shares; /* per endpoint */
	uint16_t by_id[65536];	     /* index + 1 */
	uint16_t by_question[FLIGHT_BUCKETS];
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

/*
 * True: another query asks the same of `first` under `policy`, and `f` waits for its answer. False: `f` may be waited
 * on from now on. f->name is set.
 */
bool flight_join(struct flights *t, struct flight *f, uint64_t policy, uint8_t first);
/* Nobody joins it any more; flight_free does that too. Who waits already has to be freed by the caller. */
void flight_leave(struct flights *t, struct flight *f);
/* None of those under way is waited on by later ones. */
void flight_leave_all(struct flights *t);
/*
 * Whose place a new query of the endpoint takes when there is none for it: the longest waiting of who has most, which is
 * the endpoint itself if its share is full, or nobody has more. NULL: there is none.
 */
struct flight *flight_to_give_up(struct flights *t, uint32_t endpoint);
/*
 * Before `f` is freed alone: true, when others wait on it, and the first of them has its place now, sent as it is; then
 * there is nothing to free. False: nobody waits on it, nor does it on another any more.
 */
bool flight_hand_on(struct flights *t, struct flight *f);

/* Of `f`, who waits on it in turn of arrival; NULL: none (more). */
struct flight *flight_first_waiting(struct flights *t, const struct flight *f);
struct flight *flight_next_waiting(struct flights *t, const struct flight *f);

struct flight *flight_by_id(struct flights *t, uint16_t id);
struct flight *flight_first(struct flights *t); /* the next to give up; NULL: none */

#endif
