/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/ledger.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bpf/addr_class.h"
#include "bpf/lease_use.h"

#define EXAMINED     16			 /* leases of a holder before one of them goes, */
#define EXAMINED_MAX 256		 /* if it is in nobody's way; else as many as this */
#define HAND_STEPS   32			 /* of the whole ledger, for one that has run out */
#define RECENT	     (30 * NSEC_PER_SEC) /* who asked so lately may be about to connect */
#define WALK_PAUSE   (5 * NSEC_PER_SEC)
#define GONE_MAX     64 /* leases in a row that the agent has collected already, before the table is walked */
#define WALK_ANYWAY  16 /* a full table of which the ledger lacks more than this part is walked */

struct entry {
	struct sluice_lease_key key;
	uint64_t expires;
	uint64_t asked;
	uint32_t holder;
	uint32_t next, previous; /* of the same holder, the longest unasked first; index + 1 */
	uint32_t chain;		 /* of the bucket, or of free ones; index + 1 */
	bool used;
	bool shared; /* another endpoint has asked for it too */
	bool seen;   /* by the walk */
};

struct holder {
	uint32_t generation;
	uint32_t count;
	uint32_t first, last;
};

struct ledger {
	const struct maps *m;
	uint32_t capacity;
	uint32_t held;
	uint32_t fresh; /* entries from here on were never used */
	uint32_t free_list;
	uint32_t hand;
	uint32_t nobody; /* the holder of what dead endpoints have left: one past the endpoints */
	uint32_t bucket_mask;
	uint64_t walked;
	uint32_t *buckets;
	struct holder *holders;
	struct entry *entries;
};

/* In the order in which they go. */
enum worth {
	WORTH_NOTHING, /* run out, or nobody's */
	WORTH_IDLE,
	WORTH_RECENT,
	WORTH_SHARED,
	WORTH_LIVE, /* of use to a flow */
	WORTH_MAX,
};

int ledger_new(const struct maps *m, struct ledger **ret)
{
	struct ledger *l = calloc(1, sizeof(*l));
	uint32_t buckets = 1;

	if (!l)
		return -ENOMEM;
	while (buckets < m->nleases)
		buckets *= 2;
	l->m = m;
	l->capacity = m->nleases;
	l->nobody = m->nendpoints;
	l->bucket_mask = buckets - 1;
	l->buckets = calloc(buckets, sizeof(*l->buckets));
	l->holders = calloc(m->nendpoints + 1, sizeof(*l->holders));
	l->entries = calloc(m->nleases ? m->nleases : 1, sizeof(*l->entries));
	if (!l->buckets || !l->holders || !l->entries) {
		ledger_freep(&l);
		return -ENOMEM;
	}
	*ret = l;
	return 0;
}

void ledger_freep(struct ledger **l)
{
	if (*l) {
		free((*l)->buckets);
		free((*l)->holders);
		free((*l)->entries);
	}
	free(*l);
	*l = NULL;
}

uint32_t ledger_held(const struct ledger *l, uint32_t endpoint)
{
	return l->holders[endpoint].count;
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

static struct entry *at(struct ledger *l, uint32_t n)
{
	return n ? &l->entries[n - 1] : NULL;
}

static uint32_t number(const struct ledger *l, const struct entry *e)
{
	return (uint32_t)(e - l->entries) + 1;
}

static bool same_key(const struct sluice_lease_key *a, const struct sluice_lease_key *b)
{
	return a->policy == b->policy && addr_equal(&a->addr, &b->addr);
}

static uint32_t *bucket_of(struct ledger *l, const struct sluice_lease_key *key)
{
	return &l->buckets[lease_hash(key->policy, &key->addr) & l->bucket_mask];
}

static void unlink_entry(struct ledger *l, struct entry *e)
{
	struct holder *h = &l->holders[e->holder];

	*(e->previous ? &at(l, e->previous)->next : &h->first) = e->next;
	*(e->next ? &at(l, e->next)->previous : &h->last) = e->previous;
	h->count--;
}

static void append_entry(struct ledger *l, struct entry *e, uint32_t holder)
{
	struct holder *h = &l->holders[holder];

	e->holder = holder;
	e->next = 0;
	e->previous = h->last;
	*(h->last ? &at(l, h->last)->next : &h->first) = number(l, e);
	h->last = number(l, e);
	h->count++;
}

static void move_entry(struct ledger *l, struct entry *e, uint32_t holder)
{
	unlink_entry(l, e);
	append_entry(l, e, holder);
}

/* Before all of its holder's: the first to go of those that are worth as much. */
static void move_to_front(struct ledger *l, struct entry *e)
{
	struct holder *h = &l->holders[e->holder];

	unlink_entry(l, e);
	e->previous = 0;
	e->next = h->first;
	*(h->first ? &at(l, h->first)->previous : &h->last) = number(l, e);
	h->first = number(l, e);
	h->count++;
}

static void forget(struct ledger *l, struct entry *e)
{
	uint32_t *link = bucket_of(l, &e->key);

	while (*link != number(l, e))
		link = &at(l, *link)->chain;
	*link = e->chain;
	unlink_entry(l, e);
	e->used = false;
	e->chain = l->free_list;
	l->free_list = number(l, e);
	l->held--;
}

/* ---- holders ----------------------------------------------------------------------------------------------------- */

static bool is_alive(const struct ledger *l, uint32_t endpoint)
{
	return endpoint != l->nobody &&
	       l->holders[endpoint].generation ==
		       __atomic_load_n(&l->m->endpoints[endpoint].generation, __ATOMIC_ACQUIRE);
}

/* A new endpoint in the slot of a dead one is charged with nothing of that. */
static void bury(struct ledger *l, uint32_t endpoint)
{
	while (l->holders[endpoint].first)
		move_entry(l, at(l, l->holders[endpoint].first), l->nobody);
}

static void asked_by(struct ledger *l, struct entry *e, struct ledger_asker by, uint64_t now)
{
	e->asked = now;
	if (by.endpoint < l->nobody && l->holders[by.endpoint].generation != by.generation) {
		bury(l, by.endpoint);
		l->holders[by.endpoint].generation = by.generation;
	}
	if (e->holder == by.endpoint)
		return;
	if (is_alive(l, e->holder)) {
		e->shared = true;
	} else {
		move_entry(l, e, by.endpoint);
		e->shared = false;
	}
}

/* ---- entries ----------------------------------------------------------------------------------------------------- */

static struct entry *next_of_hand(struct ledger *l)
{
	struct entry *e = l->fresh ? &l->entries[l->hand++ % l->fresh] : NULL;

	return e && e->used ? e : NULL;
}

static bool is_live(const struct ledger *l, const struct entry *e, uint64_t now)
{
	const __u64 *word = &l->m->lease_use[lease_use_index(e->key.policy, &e->key.addr)];

	return lease_use_is_fresh(__atomic_load_n(word, __ATOMIC_RELAXED), now);
}

/* NULL: none within a few steps. */
static struct entry *find_expired(struct ledger *l, uint64_t now)
{
	for (int i = 0; i < HAND_STEPS; i++) {
		struct entry *e = next_of_hand(l);

		if (e && e->expires <= now && !is_live(l, e, now))
			return e;
	}
	return NULL;
}

/* When the ledger is full the kernel's table is not, or nothing new could be in it: something here has been collected. */
static struct entry *new_entry(struct ledger *l, uint64_t now)
{
	struct entry *e;

	if (!l->free_list && l->fresh == l->capacity) {
		e = find_expired(l, now);
		if (e)
			forget(l, e);
	}
	e = at(l, l->free_list);
	if (e)
		l->free_list = e->chain;
	else if (l->fresh < l->capacity)
		e = &l->entries[l->fresh++];
	return e;
}

static struct entry *find(struct ledger *l, const struct sluice_lease_key *key)
{
	struct entry *e = at(l, *bucket_of(l, key));

	while (e && !same_key(&e->key, key))
		e = at(l, e->chain);
	return e;
}

uint32_t ledger_note(struct ledger *l, const struct sluice_lease_key *key, struct ledger_asker by, uint64_t expires,
		     uint64_t now)
{
	struct entry *e = find(l, key);
	uint32_t *bucket;

	if (!e) {
		e = new_entry(l, now);
		if (!e)
			return 0;
		bucket = bucket_of(l, key);
		*e = (struct entry){ .key = *key, .used = true, .chain = *bucket };
		*bucket = number(l, e);
		append_entry(l, e, l->nobody);
		l->held++;
	}
	e->expires = expires;
	asked_by(l, e, by, now);
	if (e->holder == by.endpoint)
		move_entry(l, e, by.endpoint);
	return number(l, e);
}

bool ledger_touch(struct ledger *l, uint32_t place, const struct sluice_lease_key *key, struct ledger_asker by,
		  uint64_t now)
{
	struct entry *e = at(l, place);

	if (!e || !e->used || !same_key(&e->key, key))
		return false;
	asked_by(l, e, by, now);
	return true;
}

/* ---- the walk ---------------------------------------------------------------------------------------------------- */

struct walk {
	struct ledger *l;
	uint64_t now;
	struct ledger_asker *living; /* by generation */
	uint32_t nliving;
};

static int compare_generation(const void *a, const void *b)
{
	uint32_t x = ((const struct ledger_asker *)a)->generation, y = ((const struct ledger_asker *)b)->generation;

	return x < y ? -1 : x > y;
}

static void note_found(const struct sluice_lease *lease, void *context)
{
	struct walk *w = context;
	struct ledger_asker youngest = { .endpoint = w->l->nobody };
	const struct ledger_asker *living = NULL;
	uint64_t expires = 0;
	struct entry *e;

	for (int i = 0; i < SLUICE_LEASE_SLOTS; i++) {
		const struct sluice_lease_slot *slot = &lease->slots[i];

		if (slot->set == 0)
			continue;
		if (slot->expires > expires)
			expires = slot->expires;
		if (slot->generation > youngest.generation)
			youngest.generation = slot->generation;
	}
	if (w->nliving)
		living = bsearch(&youngest, w->living, w->nliving, sizeof(youngest), compare_generation);
	e = find(w->l, &lease->key);
	if (!e) {
		e = at(w->l, ledger_note(w->l, &lease->key, living ? *living : youngest, expires, w->now - RECENT));
		/* Behind more recent ones than are examined it would not be found. */
		if (e)
			move_to_front(w->l, e);
	}
	if (e)
		e->seen = true;
}

static void forget_unseen(struct ledger *l)
{
	for (uint32_t i = 0; i < l->fresh; i++) {
		if (l->entries[i].used && !l->entries[i].seen)
			forget(l, &l->entries[i]);
		l->entries[i].seen = false;
	}
}

/* What is known of a lease already stays, since it is more than the table tells. */
static void walk(struct ledger *l, uint64_t now)
{
	struct walk w = { .l = l, .now = now, .living = calloc(l->nobody, sizeof(*w.living)) };

	l->walked = now;
	if (!w.living)
		return;
	for (uint32_t i = 0; i < l->nobody; i++) {
		uint32_t generation = __atomic_load_n(&l->m->endpoints[i].generation, __ATOMIC_ACQUIRE);

		if (generation)
			w.living[w.nliving++] = (struct ledger_asker){ i, generation };
	}
	qsort(w.living, w.nliving, sizeof(*w.living), compare_generation);
	if (l->m->each_lease(l->m->context, note_found, &w) == 0)
		forget_unseen(l);
	free(w.living);
}

/* ---- making room ------------------------------------------------------------------------------------------------- */

static enum worth worth_of(const struct ledger *l, const struct entry *e, uint64_t now)
{
	if (is_live(l, e, now))
		return WORTH_LIVE;
	if (e->expires <= now)
		return WORTH_NOTHING;
	if (e->shared)
		return WORTH_SHARED;
	if (e->holder == l->nobody)
		return WORTH_NOTHING;
	return e->asked + RECENT > now ? WORTH_RECENT : WORTH_IDLE;
}

/* Those that are passed over go to the list's end, so that the next search does not begin with them. */
static struct entry *least_worth(struct ledger *l, uint32_t holder, uint64_t now, enum worth *ret)
{
	struct entry *e = at(l, l->holders[holder].first), *best = NULL;

	*ret = WORTH_MAX;
	for (int i = 0; e && *ret > WORTH_NOTHING && i < (*ret > WORTH_RECENT ? EXAMINED_MAX : EXAMINED); i++) {
		struct entry *next = at(l, e->next);
		enum worth worth = worth_of(l, e, now);

		if (worth < *ret) {
			*ret = worth;
			best = e;
		}
		if (worth > WORTH_RECENT)
			move_entry(l, e, holder);
		e = next;
	}
	return best;
}

static uint32_t who_has_most(struct ledger *l, uint32_t asker)
{
	for (;;) {
		uint32_t most = asker;

		for (uint32_t i = 0; i < l->nobody; i++) {
			if (l->holders[i].count > l->holders[most].count)
				most = i;
		}
		if (is_alive(l, most) || l->holders[most].count == 0)
			return most;
		bury(l, most);
	}
}

static struct entry *choose(struct ledger *l, uint32_t asker, uint64_t now)
{
	struct entry *e = find_expired(l, now);
	uint32_t most = who_has_most(l, asker);
	enum worth worth;

	if (!e) {
		e = least_worth(l, l->nobody, now, &worth);
		if (worth != WORTH_NOTHING)
			e = NULL;
	}
	if (e)
		return e;
	e = least_worth(l, most, now, &worth);
	return worth == WORTH_LIVE && most == asker ? NULL : e;
}

static void walk_if_due(struct ledger *l, uint64_t now)
{
	if (l->walked == 0 || now - l->walked > WALK_PAUSE)
		walk(l, now);
}

bool ledger_make_room(struct ledger *l, struct ledger_asker by, uint64_t now)
{
	if (l->held < l->capacity - l->capacity / WALK_ANYWAY)
		walk_if_due(l, now);
	for (int i = 0; i < GONE_MAX; i++) {
		struct entry *e = choose(l, by.endpoint, now);
		int r = e ? l->m->delete_lease(l->m->context, &e->key) : -ENOSPC;

		if (r < 0 && r != -ENOENT)
			return false;
		forget(l, e);
		if (r == 0)
			return true;
	}
	walk_if_due(l, now);
	return true;
}
