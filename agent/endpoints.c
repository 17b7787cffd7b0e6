/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A slot is filled in an order that never opens: state 0 (quarantine), addresses, generation, then the interface's
 * entry, then the programs, and last the state word. It is freed in the reverse one. A generation is used once, so what
 * refers to an earlier owner of slot or interface finds nothing.
 *
 * An endpoint is the same as long as its name, interface (name and index) and addresses are. Changed labels only lead
 * to another policy. Changed addresses make it a new endpoint, for they cannot be exchanged in one store.
 *
 * What a previous agent left is adopted as it stands and goes on being enforced; the first endpoints file that can be
 * read confirms it or not.
 */
#include "agent/endpoints.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/apply.h"
#include "agent/cgroup_programs.h"
#include "agent/cgroup_watch.h"
#include "base/addr.h"
#include "base/cgroup.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "policy/array.h"

/* ---- places ------------------------------------------------------------------------------------------------------ */

static const char *place_name(const struct static_endpoint *w)
{
	return w->cgroup ? w->cgroup : w->interface;
}

static bool same_place(const struct endpoint_place *a, const struct endpoint_place *b)
{
	return a->ifindex == b->ifindex && a->cgroup == b->cgroup;
}

/* False: it is not there. */
static bool place_find(const struct static_endpoint *w, struct endpoint_place *ret)
{
	*ret = (struct endpoint_place){};
	if (w->cgroup)
		return cgroup_identify(w->cgroup, &ret->cgroup, &ret->level) == 0;
	ret->ifindex = if_nametoindex(w->interface);
	return ret->ifindex != 0;
}

static int place_attach(struct kernel *k, const struct endpoint *ep)
{
	const struct sluice_if owner = { ep->id, ep->generation };

	if (ep->place.cgroup)
		return cgroup_programs_attach(k, ep->wanted.cgroup, ep->place.cgroup, &owner);
	if (bpf_map_update_elem(k->ifindexes, &ep->place.ifindex, &owner, BPF_ANY) < 0)
		return -errno;
	return kernel_attach(k, ep->place.ifindex);
}

static void place_detach(struct kernel *k, const struct endpoint_place *place)
{
	if (place->cgroup)
		cgroup_programs_detach(k, place->cgroup);
	else if (place->ifindex)
		kernel_detach(k, place->ifindex);
}

static int place_attached(const struct kernel *k, const struct endpoint_place *place)
{
	return place->cgroup ? cgroup_programs_attached(k, place->cgroup) : kernel_attached(k, place->ifindex);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void adopted_clear(struct endpoint *ep)
{
	free(ep->wanted.namespace_name);
	free(ep->wanted.name);
}

void endpoints_freep(struct endpoints **e)
{
	if (!*e)
		return;
	for (size_t i = 0; i < (*e)->count; i++) {
		if ((*e)->items[i].phase == ENDPOINT_ADOPTED)
			adopted_clear(&(*e)->items[i]);
	}
	free((*e)->items);
	endpoints_file_freep(&(*e)->wanted);
	free((*e)->file);
	cluster_clear(&(*e)->cluster);
	free(*e);
	*e = NULL;
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

static void store_state(struct kernel *k, uint32_t id, uint64_t state)
{
	__atomic_store_n(&k->endpoints[id].state, state, __ATOMIC_RELEASE);
}

static void put_label(struct kernel *k, const struct endpoint *ep)
{
	struct sluice_label label = { .generation = ep->generation };

	snprintf(label.interface, sizeof(label.interface), "%s", ep->wanted.interface);
	snprintf(label.namespace_name, sizeof(label.namespace_name), "%s", ep->wanted.namespace_name);
	snprintf(label.name, sizeof(label.name), "%s", ep->wanted.name);
	bpf_map_update_elem(k->labels, &ep->id, &label, BPF_ANY);
}

/* 0: the table is full. */
static uint32_t free_slot(const struct kernel *k)
{
	for (uint32_t id = 1; id < k->nendpoints; id++) {
		if (k->endpoints[id].generation == 0)
			return id;
	}
	return 0;
}

/* The programs stay on the interface, and without a slot they drop everything: taking them off is the caller's word. */
static void slot_release(struct kernel *k, uint32_t id)
{
	struct sluice_endpoint *slot = &k->endpoints[id];
	uint32_t ifindex = slot->ifindex;
	struct sluice_if link;

	store_state(k, id, 0);
	if (ifindex && bpf_map_lookup_elem(k->ifindexes, &ifindex, &link) == 0 && link.endpoint == id)
		bpf_map_delete_elem(k->ifindexes, &ifindex);
	__atomic_store_n(&slot->generation, 0, __ATOMIC_RELEASE);
}

static void slot_fill(struct kernel *k, const struct endpoint *ep)
{
	struct sluice_endpoint *slot = &k->endpoints[ep->id];

	store_state(k, ep->id, 0);
	memset(&k->runtime[ep->id], 0, sizeof(k->runtime[0]));
	slot->cgroup = ep->place.cgroup;
	slot->level = ep->place.level;
	slot->ifindex = ep->place.ifindex;
	memcpy(slot->addrs, ep->wanted.addrs, sizeof(slot->addrs));
	slot->naddrs = (uint32_t)ep->wanted.naddrs;
	put_label(k, ep);
	__atomic_store_n(&slot->generation, ep->generation, __ATOMIC_RELEASE);
}

/* The endpoint gets a slot and its place the programs. 0 or -errno; what came so far of the programs stays, closed. */
static int endpoint_enter(struct endpoints *e, struct endpoint *ep, const struct endpoint_place *place)
{
	int r;

	ep->id = free_slot(e->k);
	if (ep->id == 0)
		return -ENOSPC;
	ep->place = *place;
	ep->generation = e->k->settings->next_generation++;
	slot_fill(e->k, ep);
	r = place_attach(e->k, ep);
	if (r < 0) {
		slot_release(e->k, ep->id);
		ep->id = 0;
		return r;
	}
	ep->phase = ENDPOINT_READY;
	return 0;
}

static void endpoint_leave(struct endpoints *e, struct endpoint *ep)
{
	if (ep->id)
		slot_release(e->k, ep->id);
	if (ep->policy)
		published_unref(ep->policy, e->now);
	ep->policy = NULL;
	ep->key = 0;
	ep->id = ep->generation = 0;
	ep->place = (struct endpoint_place){};
	ep->phase = ENDPOINT_WAITING;
}

/* ---- adoption ---------------------------------------------------------------------------------------------------- */

/* The index may be another interface's by now. A cgroup's programs are renewed with the file, which has its path. */
static void adopt_interface(struct endpoints *e, const struct endpoint *ep)
{
	int r;

	if (if_nametoindex(ep->wanted.interface) != ep->place.ifindex)
		log_info("%s/%s: its interface %s has gone", ep->wanted.namespace_name, ep->wanted.name,
			 ep->wanted.interface);
	else if ((r = kernel_attach(e->k, ep->place.ifindex)) < 0)
		log_error("%s/%s: the programs on %s cannot be renewed, the old ones go on: %s",
			  ep->wanted.namespace_name, ep->wanted.name, ep->wanted.interface, strerror(-r));
}

static int adopt_slot(struct endpoints *e, uint32_t id)
{
	const struct sluice_endpoint *slot = &e->k->endpoints[id];
	struct sluice_label label = {};
	struct endpoint *ep;

	if (slot->generation == 0)
		return 0;
	ep = array_push(&e->items, &e->count, sizeof(*ep));
	if (!ep)
		return -ENOMEM;
	bpf_map_lookup_elem(e->k->labels, &id, &label);
	*ep = (struct endpoint){
		.phase = ENDPOINT_ADOPTED,
		.id = id,
		.generation = slot->generation,
		.place = { slot->ifindex, slot->cgroup, slot->level },
		.policy = publisher_find(e->p, SLUICE_STATE_POLICY(slot->state)),
	};
	ep->wanted.namespace_name = strndup(label.namespace_name, sizeof(label.namespace_name) - 1);
	ep->wanted.name = strndup(label.name, sizeof(label.name) - 1);
	snprintf(ep->wanted.interface, sizeof(ep->wanted.interface), "%.15s", label.interface);
	memcpy(ep->wanted.addrs, slot->addrs, sizeof(slot->addrs));
	ep->wanted.naddrs = slot->naddrs < SLUICE_ENDPOINT_ADDRS ? slot->naddrs : SLUICE_ENDPOINT_ADDRS;
	if (ep->policy)
		published_ref(ep->policy);
	if (!ep->wanted.namespace_name || !ep->wanted.name)
		return -ENOMEM;
	if (SLUICE_STATE_EPOCH(slot->state) > e->epoch)
		e->epoch = SLUICE_STATE_EPOCH(slot->state);
	if (ep->place.ifindex)
		adopt_interface(e, ep);
	return 0;
}

int endpoints_open(struct kernel *k, struct publisher *p, struct endpoints **ret)
{
	CLEANUP(endpoints_freep) struct endpoints *e = calloc(1, sizeof(*e));
	int r = 0;

	if (!e)
		return -ENOMEM;
	e->k = k;
	e->p = p;
	for (uint32_t id = 1; r == 0 && id < k->nendpoints; id++)
		r = adopt_slot(e, id);
	if (r == 0 && e->count)
		log_info("taken over %zu endpoint(s) as they stand", e->count);
	if (r == 0)
		*ret = TAKE_PTR(e);
	return r;
}

/* ---- what is wanted ---------------------------------------------------------------------------------------------- */

static bool same_addresses(const struct static_endpoint *a, const struct static_endpoint *b)
{
	if (a->naddrs != b->naddrs)
		return false;
	for (size_t i = 0; i < a->naddrs; i++) {
		size_t k = 0;

		while (k < b->naddrs && addr_compare(&a->addrs[i], &b->addrs[k]) != 0)
			k++;
		if (k == b->naddrs)
			return false;
	}
	return true;
}

/* An adopted cgroup endpoint has no path, only the cgroup itself. */
static bool same_endpoint(const struct endpoint *a, const struct static_endpoint *b)
{
	const struct static_endpoint *w = &a->wanted;
	struct endpoint_place place;

	if (strcmp(w->name, b->name) != 0 || strcmp(w->namespace_name, b->namespace_name) != 0 ||
	    (a->place.cgroup != 0) != (b->cgroup != NULL))
		return false;
	if (b->cgroup)
		return place_find(b, &place) && same_place(&place, &a->place);
	return strcmp(w->interface, b->interface) == 0 && same_addresses(w, b);
}

static struct endpoint *find_same(struct endpoint *items, size_t count, const struct static_endpoint *wanted)
{
	for (size_t i = 0; i < count; i++) {
		if (items[i].id && same_endpoint(&items[i], wanted))
			return &items[i];
	}
	return NULL;
}

/* The old record's slot goes to the new one. */
static void endpoint_keep(struct kernel *k, struct endpoint *ep, struct endpoint *old)
{
	int r = 0;

	ep->phase = ENDPOINT_READY;
	ep->id = old->id;
	ep->generation = old->generation;
	ep->place = old->place;
	memcpy(ep->escape, old->escape, sizeof(ep->escape));
	ep->policy = TAKE_PTR(old->policy);
	ep->key = old->key;
	if (old->phase == ENDPOINT_ADOPTED && ep->place.cgroup)
		r = place_attach(k, ep);
	if (r < 0)
		log_error("%s/%s: the programs on %s cannot be renewed, the old ones go on: %s",
			  ep->wanted.namespace_name, ep->wanted.name, place_name(&ep->wanted), strerror(-r));
	old->id = 0;
}

static bool wants_place(const struct static_endpoints *list, const struct endpoint_place *place)
{
	struct endpoint_place wanted;

	for (size_t i = 0; i < list->count; i++) {
		if (place_find(&list->items[i], &wanted) && same_place(&wanted, place))
			return true;
	}
	return false;
}

void endpoints_want(struct endpoints *e, struct endpoints_file *wanted, const char *file)
{
	const struct static_endpoints *list = &wanted->endpoints;
	struct endpoint *items = list->count ? calloc(list->count, sizeof(*items)) : NULL;

	if (list->count && !items) {
		log_error("out of memory; the endpoints stay as they are");
		endpoints_file_freep(&wanted);
		return;
	}
	for (size_t i = 0; i < list->count; i++) {
		struct endpoint *old = find_same(e->items, e->count, &list->items[i]);

		items[i].wanted = list->items[i];
		if (old)
			endpoint_keep(e->k, &items[i], old);
	}
	for (size_t i = 0; i < e->count; i++) {
		struct endpoint *old = &e->items[i];
		struct endpoint_place place = old->id ? old->place : (struct endpoint_place){};

		endpoint_leave(e, old);
		/* Where another endpoint takes its place the programs stay: nothing passes in between. */
		if (!wants_place(list, &place))
			place_detach(e->k, &place);
		if (e->wanted == NULL)
			adopted_clear(old);
	}
	free(e->items);
	endpoints_file_freep(&e->wanted);
	free(e->file);
	e->items = items;
	e->count = list->count;
	e->wanted = wanted;
	e->file = strdup(file);
	e->changed = true;
}

/* ---- interfaces -------------------------------------------------------------------------------------------------- */

static void tell_missing(const struct endpoints *e, struct endpoint *ep, const char *what)
{
	if (!ep->told)
		log_warning("%s:%u:%u: %s/%s: %s %s: %s", e->file ? e->file : "", ep->wanted.line, ep->wanted.column,
			    ep->wanted.namespace_name, ep->wanted.name, ep->wanted.cgroup ? "cgroup" : "interface",
			    place_name(&ep->wanted), what);
	ep->told = true;
}

static bool reconcile_one(struct endpoints *e, struct endpoint *ep)
{
	struct endpoint_place place;
	bool there = place_find(&ep->wanted, &place), changed = false;
	int r;

	if (ep->id && !same_place(&ep->place, &place)) {
		log_info("%s/%s: %s has gone", ep->wanted.namespace_name, ep->wanted.name, place_name(&ep->wanted));
		/* Renamed rather than gone, it keeps the programs and is closed. */
		endpoint_leave(e, ep);
		changed = true;
	}
	if (ep->id)
		return changed;
	if (!there) {
		tell_missing(e, ep, "it is not there; nothing is enforced for it until it comes");
		return changed;
	}
	r = endpoint_enter(e, ep, &place);
	if (r < 0) {
		tell_missing(e, ep, r == -ENOSPC ? "the table of endpoints is full (limits.endpoints)" : strerror(-r));
		return changed;
	}
	ep->told = false;
	log_info("%s/%s: endpoint %u on %s", ep->wanted.namespace_name, ep->wanted.name, ep->id,
		 place_name(&ep->wanted));
	return true;
}

bool endpoints_reconcile(struct endpoints *e)
{
	bool changed = e->changed;

	e->changed = false;
	/* Nothing is known yet of what should be: what was adopted stays. */
	if (!e->wanted)
		return changed;
	for (size_t i = 0; i < e->count; i++)
		changed = reconcile_one(e, &e->items[i]) || changed;
	if (changed)
		kernel_prune_links(e->k);
	return changed;
}

unsigned int endpoints_repair(struct endpoints *e)
{
	unsigned int repaired = 0;

	for (size_t i = 0; i < e->count; i++) {
		struct endpoint *ep = &e->items[i];
		struct endpoint_place place;

		if (ep->id == 0 || place_attached(e->k, &ep->place) != 0 || !place_find(&ep->wanted, &place) ||
		    !same_place(&place, &ep->place))
			continue;
		log_warning("%s/%s: the programs on %s were taken off; they are put back", ep->wanted.namespace_name,
			    ep->wanted.name, place_name(&ep->wanted));
		repaired += place_attach(e->k, ep) == 0;
	}
	return repaired;
}

bool endpoints_waiting(const struct endpoints *e)
{
	struct endpoint_place place;

	for (size_t i = 0; i < e->count; i++) {
		if (e->items[i].phase == ENDPOINT_WAITING && place_find(&e->items[i].wanted, &place))
			return true;
	}
	return false;
}

bool endpoints_moved(const struct endpoints *e)
{
	for (size_t i = 0; i < e->count; i++) {
		const struct endpoint *ep = &e->items[i];
		struct endpoint_place place;

		if (!ep->wanted.cgroup)
			continue;
		if (place_find(&ep->wanted, &place) != (ep->id != 0) || (ep->id && !same_place(&place, &ep->place)))
			return true;
	}
	return false;
}

void endpoints_watch_cgroups(struct endpoints *e)
{
	for (size_t i = 0; i < e->count; i++) {
		struct endpoint *ep = &e->items[i];
		char found[sizeof(ep->escape)] = "";

		if (!ep->wanted.cgroup || ep->id == 0)
			continue;
		if (cgroup_watch_escape(ep->wanted.cgroup, found, sizeof(found)) < 0)
			continue;
		if (found[0] && !ep->escape[0])
			log_warning("%s/%s: not enforceable: %s, and could get past the programs on %s",
				    ep->wanted.namespace_name, ep->wanted.name, found, ep->wanted.cgroup);
		memcpy(ep->escape, found, sizeof(ep->escape));
	}
}

size_t endpoints_count(const struct endpoints *e)
{
	return e->count;
}

const struct endpoint *endpoints_at(const struct endpoints *e, size_t i)
{
	return &e->items[i];
}

const struct endpoint *endpoints_find(const struct endpoints *e, uint32_t id, uint32_t generation)
{
	for (size_t i = 0; i < e->count; i++) {
		if (e->items[i].id == id && e->items[i].generation == generation)
			return &e->items[i];
	}
	return NULL;
}
