/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/flight.h"

#include <string.h>

static uint16_t number(const struct flights *t, const struct flight *f)
{
	return (uint16_t)(f - t->slots + 1);
}

static struct flight *at(struct flights *t, uint16_t n)
{
	return n ? &t->slots[n - 1] : NULL;
}

/* ---- shares ------------------------------------------------------------------------------------------------------ */

static void share_add(struct flights *t, struct flight *f)
{
	struct flight_share *s = &t->shares[f->asker.endpoint];

	f->older = s->youngest;
	f->younger = 0;
	*(s->youngest ? &at(t, s->youngest)->younger : &s->oldest) = number(t, f);
	s->youngest = number(t, f);
	s->count++;
}

static void share_remove(struct flights *t, struct flight *f)
{
	struct flight_share *s = &t->shares[f->asker.endpoint];

	*(f->older ? &at(t, f->older)->younger : &s->oldest) = f->younger;
	*(f->younger ? &at(t, f->younger)->older : &s->youngest) = f->older;
	s->count--;
}

/* `by` stands where `f` stood. */
static void share_replace(struct flights *t, const struct flight *f, struct flight *by)
{
	struct flight_share *s = &t->shares[f->asker.endpoint];

	by->older = f->older;
	by->younger = f->younger;
	*(f->older ? &at(t, f->older)->younger : &s->oldest) = number(t, by);
	*(f->younger ? &at(t, f->younger)->older : &s->youngest) = number(t, by);
}

struct flight *flight_to_give_up(struct flights *t, uint32_t endpoint)
{
	uint32_t most = endpoint;

	for (uint32_t i = 0; i < t->nendpoints; i++)
		if (t->shares[i].count > t->shares[most].count)
			most = i;
	return at(t, t->shares[most].oldest);
}

struct flight *flight_new(struct flights *t, const struct core_asker *asker, const struct wire_query *query)
{
	struct flight *f;

	if (t->shares[asker->endpoint].count >= CORE_FLIGHTS_PER_ENDPOINT ||
	    (t->free_list == 0 && t->fresh == CORE_FLIGHTS))
		return NULL;
	if (t->free_list) {
		f = &t->slots[t->free_list - 1];
		t->free_list = f->next;
	} else {
		f = &t->slots[t->fresh++];
	}
	f->asker = *asker;
	f->query = *query;
	f->used = true;
	f->sent = f->tcp = f->plain = f->cut = f->downgraded = false;
	f->tries = 0;
	f->tried = f->refused = 0;
	f->next = f->previous = 0;
	f->bucket = f->chain = 0;
	f->waiting_first = f->waiting_last = f->waiting_next = f->leader = 0;
	share_add(t, f);
	t->count++;
	return f;
}

static void free_slot(struct flights *t, struct flight *f)
{
	t->count--;
	f->used = false;
	f->next = t->free_list;
	t->free_list = number(t, f);
}

void flight_free(struct flights *t, struct flight *f)
{
	flight_unsent(t, f);
	flight_leave(t, f);
	share_remove(t, f);
	free_slot(t, f);
}

/* ---- equal questions --------------------------------------------------------------------------------------------- */

/* The way the pod asks counts too: one that came by TCP is not answered with a truncated answer. */
static bool same_question(const struct flight *a, const struct flight *b)
{
	return a->policy == b->policy && a->first == b->first && a->query.qtype == b->query.qtype &&
	       a->query.dnssec_ok == b->query.dnssec_ok && a->asker.tcp == b->asker.tcp &&
	       wire_name_equal(&a->query.name, &b->query.name);
}

bool flight_join(struct flights *t, struct flight *f, uint64_t policy, uint8_t first)
{
	uint16_t *bucket, n = number(t, f);
	struct flight *other;

	f->policy = policy;
	f->first = first;
	f->bucket = (uint16_t)((f->name ^ f->query.qtype * 0x9e5u) % FLIGHT_BUCKETS);
	bucket = &t->by_question[f->bucket];
	for (other = at(t, *bucket); other && !same_question(f, other); other = at(t, other->chain))
		;
	if (!other) {
		f->chain = *bucket;
		*bucket = n;
		return false;
	}
	if (other->waiting_last)
		at(t, other->waiting_last)->waiting_next = n;
	else
		other->waiting_first = n;
	other->waiting_last = n;
	f->leader = number(t, other);
	return true;
}

static void stop_waiting(struct flights *t, struct flight *f)
{
	struct flight *leader = at(t, f->leader), *before = NULL;

	for (struct flight *w = at(t, leader->waiting_first); w != f; w = at(t, w->waiting_next))
		before = w;
	*(before ? &before->waiting_next : &leader->waiting_first) = f->waiting_next;
	if (leader->waiting_last == number(t, f))
		leader->waiting_last = before ? number(t, before) : 0;
	f->leader = f->waiting_next = 0;
}

bool flight_hand_on(struct flights *t, struct flight *f)
{
	struct flight *w = at(t, f->waiting_first);

	if (f->leader)
		stop_waiting(t, f);
	if (!w)
		return false;
	f->waiting_first = w->waiting_next;
	if (!f->waiting_first)
		f->waiting_last = 0;
	share_remove(t, f);
	f->asker = w->asker;
	f->query = w->query;
	f->started = w->started;
	share_replace(t, w, f);
	free_slot(t, w);
	return true;
}

void flight_leave(struct flights *t, struct flight *f)
{
	uint16_t *link = &t->by_question[f->bucket];

	while (*link && *link != number(t, f))
		link = &at(t, *link)->chain;
	if (*link)
		*link = f->chain;
}

void flight_leave_all(struct flights *t)
{
	memset(t->by_question, 0, sizeof(t->by_question));
}

struct flight *flight_first_waiting(struct flights *t, const struct flight *f)
{
	return at(t, f->waiting_first);
}

struct flight *flight_next_waiting(struct flights *t, const struct flight *f)
{
	return at(t, f->waiting_next);
}

/* ---- sent -------------------------------------------------------------------------------------------------------- */

uint16_t flight_pick_id(const struct flights *t, uint16_t start)
{
	/* 4096 of 65536 at most are taken, so a few steps find one. */
	while (t->by_id[start])
		start++;
	return start;
}

void flight_sent(struct flights *t, struct flight *f, uint16_t id, uint64_t deadline)
{
	uint16_t n = number(t, f), before = t->last;

	f->id = id;
	t->by_id[f->id] = n;
	f->deadline = deadline;
	f->sent = true;
	/* Nearly always the last: every query waits for the same time. */
	while (before && t->slots[before - 1].deadline > deadline)
		before = t->slots[before - 1].previous;
	f->previous = before;
	f->next = before ? t->slots[before - 1].next : t->first;
	if (before)
		t->slots[before - 1].next = n;
	else
		t->first = n;
	if (f->next)
		t->slots[f->next - 1].previous = n;
	else
		t->last = n;
}

void flight_unsent(struct flights *t, struct flight *f)
{
	if (!f->sent)
		return;
	t->by_id[f->id] = 0;
	f->sent = false;
	if (f->previous)
		t->slots[f->previous - 1].next = f->next;
	else
		t->first = f->next;
	if (f->next)
		t->slots[f->next - 1].previous = f->previous;
	else
		t->last = f->previous;
	f->next = f->previous = 0;
}

struct flight *flight_by_id(struct flights *t, uint16_t id)
{
	return t->by_id[id] ? &t->slots[t->by_id[id] - 1] : NULL;
}

struct flight *flight_first(struct flights *t)
{
	return t->first ? &t->slots[t->first - 1] : NULL;
}
