/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * An endpoint gets its slot (slot.h), then its interface the programs, and last its state word.
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
#include "agent/slot.h"
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "policy/array.h"

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

/* The endpoint gets a slot and its interface the programs. 0 or -errno; what came so far of the programs stays, closed. */
static int endpoint_enter(struct endpoints *e, struct endpoint *ep, uint32_t ifindex)
{
	const struct slot_owner owner = {
		.namespace_name = ep->wanted.namespace_name,
		.name = ep->wanted.name,
		.interface = ep->wanted.interface,
		.addrs = ep->wanted.addrs,
		.naddrs = ep->wanted.naddrs,
		.why = SLUICE_QUARANTINE_POLICY,
	};
	struct slot slot = {};
	int r = slot_take(e->k, &owner, ifindex, &slot);

	if (r < 0)
		return r;
	r = kernel_attach(e->k, ifindex);
	if (r < 0) {
		slot_release(e->k, slot.id);
		return r;
	}
	ep->id = slot.id;
	ep->generation = slot.generation;
	ep->ifindex = ifindex;
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
	ep->id = ep->generation = ep->ifindex = 0;
	ep->phase = ENDPOINT_WAITING;
}

/* ---- adoption ---------------------------------------------------------------------------------------------------- */

static int adopt_slot(struct endpoints *e, uint32_t id)
{
	const struct sluice_endpoint *slot = &e->k->endpoints[id];
	struct sluice_label label = {};
	struct endpoint *ep;
	int r;

	if (slot->generation == 0)
		return 0;
	bpf_map_lookup_elem(e->k->labels, &id, &label);
	/* Nobody's: who finds the interface again takes a slot for it again. The programs on it stay, closed. */
	if (label.generation == slot->generation && label.quarantine == SLUICE_QUARANTINE_UNKNOWN) {
		slot_release(e->k, id);
		return 0;
	}
	ep = array_push(&e->items, &e->count, sizeof(*ep));
	if (!ep)
		return -ENOMEM;
	*ep = (struct endpoint){
		.phase = ENDPOINT_ADOPTED,
		.id = id,
		.generation = slot->generation,
		.ifindex = slot->ifindex,
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
	/* The index may be another interface's by now. */
	if (if_nametoindex(ep->wanted.interface) != ep->ifindex)
		log_info("%s/%s: its interface %s has gone", ep->wanted.namespace_name, ep->wanted.name,
			 ep->wanted.interface);
	else if ((r = kernel_attach(e->k, ep->ifindex)) < 0)
		log_error("%s/%s: the programs on %s cannot be renewed, the old ones go on: %s",
			  ep->wanted.namespace_name, ep->wanted.name, ep->wanted.interface, strerror(-r));
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

static bool same_endpoint(const struct static_endpoint *a, const struct static_endpoint *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->namespace_name, b->namespace_name) == 0 &&
	       strcmp(a->interface, b->interface) == 0 && same_addresses(a, b);
}

static struct endpoint *find_same(struct endpoint *items, size_t count, const struct static_endpoint *wanted)
{
	for (size_t i = 0; i < count; i++) {
		if (items[i].id && same_endpoint(&items[i].wanted, wanted))
			return &items[i];
	}
	return NULL;
}

/* The old record's slot goes to the new one. */
static void endpoint_keep(struct endpoint *ep, struct endpoint *old)
{
	ep->phase = ENDPOINT_READY;
	ep->id = old->id;
	ep->generation = old->generation;
	ep->ifindex = old->ifindex;
	ep->policy = TAKE_PTR(old->policy);
	ep->key = old->key;
	old->id = 0;
}

static bool wants_interface(const struct static_endpoints *list, const char *interface)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->items[i].interface, interface) == 0)
			return true;
	}
	return false;
}

void endpoints_set_keep(struct endpoints *e, endpoints_keep_fn *keep, void *context)
{
	e->keep = keep;
	e->keep_context = context;
}

bool endpoints_wants(const struct endpoints *e, const char *interface)
{
	return e->wanted && wants_interface(&e->wanted->endpoints, interface);
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
			endpoint_keep(&items[i], old);
	}
	for (size_t i = 0; i < e->count; i++) {
		struct endpoint *old = &e->items[i];
		uint32_t ifindex = old->id ? old->ifindex : 0;

		endpoint_leave(e, old);
		/* Where another endpoint takes its place the programs stay: nothing passes in between. */
		if (ifindex && !wants_interface(list, old->wanted.interface) &&
		    !(e->keep && e->keep(e->keep_context, ifindex)))
			kernel_detach(e->k, ifindex);
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
		log_warning("%s:%u:%u: %s/%s: interface %s: %s", e->file ? e->file : "", ep->wanted.line,
			    ep->wanted.column, ep->wanted.namespace_name, ep->wanted.name, ep->wanted.interface, what);
	ep->told = true;
}

static bool reconcile_one(struct endpoints *e, struct endpoint *ep)
{
	uint32_t ifindex = if_nametoindex(ep->wanted.interface);
	bool changed = false;
	int r;

	if (ep->id && ep->ifindex != ifindex) {
		log_info("%s/%s: interface %s has gone", ep->wanted.namespace_name, ep->wanted.name,
			 ep->wanted.interface);
		/* Renamed rather than gone, it keeps the programs and is closed. */
		endpoint_leave(e, ep);
		changed = true;
	}
	if (ep->id)
		return changed;
	if (ifindex == 0) {
		tell_missing(e, ep, "no such interface; nothing is enforced for it until it comes");
		return changed;
	}
	r = endpoint_enter(e, ep, ifindex);
	if (r < 0) {
		tell_missing(e, ep, r == -ENOSPC ? "the table of endpoints is full (limits.endpoints)" : strerror(-r));
		return changed;
	}
	ep->told = false;
	log_info("%s/%s: endpoint %u on %s", ep->wanted.namespace_name, ep->wanted.name, ep->id, ep->wanted.interface);
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

bool endpoints_waiting(const struct endpoints *e)
{
	for (size_t i = 0; i < e->count; i++) {
		if (e->items[i].phase == ENDPOINT_WAITING && if_nametoindex(e->items[i].wanted.interface))
			return true;
	}
	return false;
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
