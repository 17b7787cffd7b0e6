/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/lease.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/siphash.h"
#include "bpf/addr_class.h"

uint64_t lease_length(uint32_t ttl, uint32_t min_ttl, uint32_t max_ttl, uint32_t grace)
{
	uint64_t seconds = ttl > max_ttl ? max_ttl : ttl;

	if (seconds < min_ttl)
		seconds = min_ttl;
	return (seconds + grace) * NSEC_PER_SEC;
}

uint64_t lease_name_id(const struct maps *m, const struct wire_name *name)
{
	uint64_t id = siphash24(name->text, name->len, (const uint64_t *)m->settings->name_key);

	return id ? id : 1;
}

static int put_name(const struct maps *m, const struct lease_request *req)
{
	struct sluice_name entry = { .id = req->name, .len = req->text->len };

	memcpy(entry.text, req->text->text, req->text->len);
	return m->put_name(m->context, &entry);
}

/*
 * The slot for (set, name): its own; a free one; the one that ran out first; then one of the same set under another
 * name, which opens the same and only tells another name. A slot that still opens another set is never taken.
 */
static struct sluice_lease_slot *choose_slot(struct sluice_lease *l, const struct lease_request *req, uint32_t set)
{
	struct sluice_lease_slot *free_slot = NULL, *expired = NULL, *same_set = NULL;

	for (int i = 0; i < SLUICE_LEASE_SLOTS; i++) {
		struct sluice_lease_slot *slot = &l->slots[i];

		if (slot->set == set && slot->name == req->name)
			return slot;
		if (slot->set == 0)
			free_slot = free_slot ? free_slot : slot;
		else if (slot->expires <= req->now)
			expired = expired && expired->expires <= slot->expires ? expired : slot;
		else if (slot->set == set)
			same_set = same_set && same_set->expires <= slot->expires ? same_set : slot;
	}
	return free_slot ? free_slot : expired ? expired : same_set;
}

/* Answers from a resolver's cache move the end by the time passed since; a write per query would gain nothing. */
static bool unchanged(uint64_t expires, uint32_t generation, const struct lease_request *req)
{
	return expires + NSEC_PER_SEC >= req->expires && expires > req->now && generation >= req->by.generation;
}

/* 1: the slot changed, 0: it says so already, -ENOSPC. */
static int fill_slot(struct sluice_lease *l, const struct lease_request *req, uint32_t set, struct lease_result *res)
{
	struct sluice_lease_slot *slot = choose_slot(l, req, set);

	if (!slot)
		return -ENOSPC;
	if (slot->set == set && slot->name == req->name) {
		res->expires = slot->expires;
		res->generation = slot->generation;
		if (unchanged(slot->expires, slot->generation, req))
			return 0;
	} else if (slot->set != 0) {
		res->reused++;
	}
	/*
	 * An earlier answer's promise stands: one that is shorter, or given to an older endpoint, does not take it back. Who
	 * profits from both has lived when each was given (abi.h).
	 */
	if (slot->set != set)
		slot->expires = slot->generation = 0;
	if (slot->expires < req->expires)
		slot->expires = req->expires;
	if (slot->generation < req->by.generation)
		slot->generation = req->by.generation;
	slot->set = set;
	slot->name = req->name;
	res->expires = slot->expires;
	res->generation = slot->generation;
	return 1;
}

/* Each time room is made someone else may take it: the agent, or a proxy that is being replaced. */
#define ROOM_TRIES 8

static int put_lease(const struct maps *m, struct ledger *l, const struct lease_request *req,
		     const struct sluice_lease *lease, struct lease_result *res)
{
	int r = m->put_lease(m->context, lease);

	for (int i = 0; r == -E2BIG && i < ROOM_TRIES && ledger_make_room(l, req->by, req->now); i++) {
		res->evicted++;
		r = m->put_lease(m->context, lease);
	}
	return r;
}

int lease_write(const struct maps *m, struct ledger *l, const struct lease_request *req, const struct sluice_addr *addr,
		struct lease_result *ret)
{
	struct sluice_lease lease = { .key = { .policy = req->policy, .addr = *addr } };
	struct sluice_lease_key key = lease.key;
	bool changed = false;
	int r = m->get_lease(m->context, &key, &lease);

	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT)
		memset(lease.slots, 0, sizeof(lease.slots));
	lease.key = key;
	for (uint32_t i = 0; i < req->nsets; i++) {
		/* The kernel takes no other sets from a lease (hazard 23). */
		if (!(req->sets[i] & SLUICE_SET_NAME))
			return -EINVAL;
		r = fill_slot(&lease, req, req->sets[i], ret);
		if (r < 0)
			return r;
		changed = changed || r > 0;
	}
	if (changed && !ret->named) {
		r = put_name(m, req);
		if (r < 0)
			return r;
		ret->named = true;
	}
	if (changed) {
		r = put_lease(m, l, req, &lease, ret);
		if (r < 0)
			return r;
		ret->written++;
	}
	ret->place = ledger_note(l, &key, req->by, ret->expires, req->now);
	return 0;
}

/* ---- remembered -------------------------------------------------------------------------------------------------- */

static size_t memo_set(const struct lease_request *req, const struct sluice_addr *addr)
{
	return (req->name ^ addr->d[0] ^ (uint64_t)addr->w[3] * 0x9e3779b1u ^ req->policy) % LEASE_MEMO_SETS;
}

static bool tells_of(const struct lease_memo_entry *e, const struct lease_request *req, const struct sluice_addr *addr)
{
	return e->name == req->name && e->set == req->sets[0] && e->policy == req->policy && addr_equal(&e->addr, addr);
}

const struct lease_memo_entry *lease_recall(const struct lease_memo *m, struct ledger *l,
					    const struct lease_request *req, const struct sluice_addr *addr)
{
	const struct lease_memo_entry *set = m->entries[memo_set(req, addr)];
	const struct sluice_lease_key key = { .policy = req->policy, .addr = *addr };

	for (int i = 0; req->nsets == 1 && i < LEASE_MEMO_WAYS; i++) {
		if (!tells_of(&set[i], req, addr))
			continue;
		if (req->now - set[i].seen > LEASE_MEMO_TIME)
			return NULL;
		return ledger_touch(l, set[i].place, &key, req->by, req->now) ? &set[i] : NULL;
	}
	return NULL;
}

bool lease_stands(const struct lease_memo_entry *e, const struct lease_request *req)
{
	return unchanged(e->expires, e->generation, req);
}

void lease_remember(struct lease_memo *m, const struct lease_request *req, const struct sluice_addr *addr,
		    const struct lease_result *result)
{
	struct lease_memo_entry *set = m->entries[memo_set(req, addr)], *e = &set[0];

	if (req->nsets != 1)
		return;
	m->used = true;
	for (int i = 0; i < LEASE_MEMO_WAYS; i++) {
		if (tells_of(&set[i], req, addr)) {
			e = &set[i];
			break;
		}
		if (set[i].seen < e->seen)
			e = &set[i];
	}
	*e = (struct lease_memo_entry){ .policy = req->policy,
					.addr = *addr,
					.name = req->name,
					.expires = result->expires,
					.seen = req->now,
					.set = req->sets[0],
					.generation = result->generation,
					.place = result->place };
}

bool lease_holds(const struct maps *m, uint64_t policy, uint32_t generation, const struct sluice_addr *addr,
		 uint64_t now)
{
	struct sluice_lease_key key = { .policy = policy, .addr = *addr };
	struct sluice_lease lease;

	if (m->get_lease(m->context, &key, &lease) < 0)
		return false;
	for (int i = 0; i < SLUICE_LEASE_SLOTS; i++)
		if ((lease.slots[i].set & SLUICE_SET_NAME) && lease.slots[i].expires > now &&
		    lease.slots[i].generation >= generation)
			return true;
	return false;
}
