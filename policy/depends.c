/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A policy's print has two parts. Its peers: the sums of the pods that its selectors find, kept by the resolver, and prints
 * of what else they stand for. And the Services in its reach, whose frontends are judged by backends that its rules may
 * speak of: the reach (the rules' addresses) is kept, and while the peers are the same only the Services that came or went
 * are held against it.
 */
#include "policy/depends.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/siphash.h"
#include "base/strbuf.h"
#include "policy/array.h"
#include "policy/lower.h"
#include "policy/match.h"

/* ---- reach ------------------------------------------------------------------------------------------------------- */

/* Beyond so many single addresses a policy is taken to reach all pods. */
#define REACH_HOSTS 1024

struct reach {
	struct sluice_prefix *hosts; /* whole addresses, sorted */
	size_t nhosts;
	struct sluice_prefix *wide;
	size_t nwide;
	bool many;
};

static int compare_prefixes(const void *a, const void *b)
{
	return addr_compare(&((const struct sluice_prefix *)a)->addr, &((const struct sluice_prefix *)b)->addr);
}

static void reach_clear(struct reach *r)
{
	free(r->hosts);
	free(r->wide);
	*r = (struct reach){};
}

static int reach_build(const struct lowering *lo, struct reach *ret)
{
	for (size_t i = 0; i < lo->nrules; i++) {
		const struct addr_rule *rule = &lo->rules[i];
		bool whole = rule->prefix.bits == 128;
		struct sluice_prefix *slot;

		if (rule->grant.rule == 0)
			continue;
		ret->many = ret->many || (whole && ret->nhosts >= REACH_HOSTS);
		if (whole && ret->many)
			continue;
		slot = whole ? array_push(&ret->hosts, &ret->nhosts, sizeof(*slot))
			     : array_push(&ret->wide, &ret->nwide, sizeof(*slot));
		if (!slot)
			return -ENOMEM;
		*slot = rule->prefix;
	}
	if (ret->nhosts > 1)
		qsort(ret->hosts, ret->nhosts, sizeof(*ret->hosts), compare_prefixes);
	return 0;
}

static bool reaches(const struct reach *r, const struct sluice_addr *addr)
{
	const struct sluice_prefix key = { .addr = *addr };

	if (r->many || (r->nhosts && bsearch(&key, r->hosts, r->nhosts, sizeof(key), compare_prefixes)))
		return true;
	for (size_t i = 0; i < r->nwide; i++)
		if (prefix_contains(&r->wide[i], addr))
			return true;
	return false;
}

/* ---- Services in reach ------------------------------------------------------------------------------------------- */

struct depends {
	uint64_t serial;
	uint64_t peers;
	struct reach reach;
	struct picked services;
	bool names;
};

struct asked {
	const struct resolver *r;
	const struct depends *d;
};

static bool service_concerns(void *context, size_t index)
{
	const struct asked *a = context;
	const struct inventory_service *s = &a->r->index.inv->services[index];
	const struct members *m = service_members(&a->r->index, s);

	for (size_t i = 0; i < m->count; i++)
		if (reaches(&a->d->reach, &m->items[i].addr))
			return true;
	for (size_t i = 0; i < s->naddrs; i++)
		if (reaches(&a->d->reach, &s->addrs[i]))
			return true;
	return false;
}

static int find_services(struct depends *d, const struct resolver *r)
{
	struct asked a = { .r = r, .d = d };

	return picked_update(&d->services, &r->services, service_concerns, &a);
}

/* The rules of one policy, whoever is selected. */
static int find_reach(struct depends *d, const struct store *s, struct resolver *r, const struct policy *p)
{
	CLEANUP(lowering_clear) struct lowering lo = {};
	const struct selection sel = { .policies = &p, .count = 1 };
	int ret = lower_policies(&lo, s, &sel, r, NULL);

	reach_clear(&d->reach);
	picked_clear(&d->services);
	if (ret == 0)
		ret = reach_build(&lo, &d->reach);
	d->names = lo.nnames > 0;
	return ret;
}

/* ---- peers ------------------------------------------------------------------------------------------------------- */

struct summing {
	const struct store *store;
	struct resolver *r;
	struct strbuf *out;
};

static void put(struct summing *s, uint64_t n)
{
	strbuf_add(s->out, &n, sizeof(n));
}

static int put_pods(struct summing *s, const struct selector *selector, bool possible)
{
	const struct picked *pods;

	if (resolver_find(s->r, selector, possible, &pods) < 0)
		return -ENOMEM;
	put(s, pods->sum);
	return 0;
}

/* Those that a Pass is sure of pass, and the others do not. */
static int put_found(struct summing *s, const struct entry *e, const struct selector *selector)
{
	if (e->action == ACTION_PASS && put_pods(s, selector, false) < 0)
		return -ENOMEM;
	return put_pods(s, selector, e->action != ACTION_ALLOW);
}

static void put_groups(struct summing *s, const struct peer *peer)
{
	const struct policy *group;
	size_t at = 0;

	while ((group = select_group(s->store, peer, &at)))
		put(s, group->serial);
}

/* The Services a peer means, by their slots' effects. */
static void put_services(struct summing *s, const struct peer *peer)
{
	const struct inventory *inv = s->r->index.inv;
	const struct slot_table *t = &s->r->services;
	uint64_t sum = 0;

	for (size_t i = 0; i < inv->nservices; i++)
		if (peer->kind == PEER_APISERVER ? service_is_api_server(&inv->services[i])
						 : lower_service_fits(peer, &inv->services[i]))
			sum += t->items[t->of[i]].effect;
	put(s, sum);
}

static void put_name(struct summing *s, const struct peer *peer)
{
	bool pods = false, services = false;

	if (peer->pods)
		lower_name_meets(&s->r->index, &peer->name, &services, &pods);
	put(s, services ? s->r->every_service : 0);
	put(s, pods ? s->r->pods.every : 0);
}

static int put_peer(struct summing *s, const struct entry *e, const struct peer *peer)
{
	switch (peer->kind) {
	case PEER_ANY:
	case PEER_CLUSTER:
		return e->nnamed ? put_pods(s, NULL, false) : 0;
	case PEER_PODS:
		return put_found(s, e, &peer->selector);
	case PEER_CIDR_GROUP:
		put_groups(s, peer);
		return 0;
	case PEER_NODES:
		put(s, s->r->nodes);
		return 0;
	case PEER_APISERVER:
	case PEER_SERVICE:
		put_services(s, peer);
		return 0;
	case PEER_NAME:
		put_name(s, peer);
		return 0;
	case PEER_WORLD:
	case PEER_CIDR:
	case PEER_ASK:
		return 0;
	}
	return 0;
}

static int sum_peers(const struct store *store, struct resolver *r, const struct policy *p, uint64_t *ret)
{
	CLEANUP(strbuf_clear) struct strbuf b = {};
	struct summing s = { .store = store, .r = r, .out = &b };

	put(&s, p->serial);
	for (size_t i = 0; i < p->nentries; i++)
		for (size_t k = 0; k < p->entries[i].npeers; k++)
			if (put_peer(&s, &p->entries[i], &p->entries[i].peers[k]) < 0)
				return -ENOMEM;
	*ret = b.failed ? 0 : siphash24(b.data, b.len, r->seed);
	return b.failed ? -ENOMEM : 0;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static void depends_clear(struct depends *d)
{
	reach_clear(&d->reach);
	picked_clear(&d->services);
}

static struct depends *find(struct dependencies *d, uint64_t serial)
{
	struct depends *slot;
	uint32_t at;

	if (keymap_get(&d->by_serial, serial, &at))
		return &d->items[at];
	slot = array_push(&d->items, &d->count, sizeof(*slot));
	if (!slot || keymap_put(&d->by_serial, serial, (uint32_t)(d->count - 1)) < 0)
		return NULL;
	slot->serial = serial;
	return slot;
}

int dependencies_print(struct dependencies *d, const struct store *s, struct resolver *r, const struct policy *p,
		       uint64_t *ret)
{
	struct depends *slot = find(d, p->serial);
	uint64_t peers = 0;
	int result = 0;

	if (!slot)
		return -ENOMEM;
	if (slot->services.pass != r->services.pass) {
		result = sum_peers(s, r, p, &peers);
		if (result == 0 && peers != slot->peers)
			result = find_reach(slot, s, r, p);
		slot->peers = result == 0 ? peers : 0;
		if (result == 0)
			result = find_services(slot, r);
	}
	*ret = slot->peers + slot->services.sum + (slot->names ? r->api_server : 0);
	return result;
}

void dependencies_begin(struct dependencies *d, uint64_t pass)
{
	struct dependencies left = {};

	for (size_t i = 0; i < d->count; i++) {
		struct depends *slot = d->items[i].services.pass == pass ? find(&left, d->items[i].serial) : NULL;

		if (slot)
			*slot = d->items[i];
		else
			depends_clear(&d->items[i]);
	}
	free(d->items);
	keymap_clear(&d->by_serial);
	*d = left;
}

void dependencies_clear(struct dependencies *d)
{
	for (size_t i = 0; i < d->count; i++)
		depends_clear(&d->items[i]);
	free(d->items);
	keymap_clear(&d->by_serial);
	*d = (struct dependencies){};
}
