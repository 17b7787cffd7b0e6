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
	if (bpf_map_lookup_elem(k->ifindexes, &ifindex, &link) == 0 && link.endpoint == id)
		bpf_map_delete_elem(k->ifindexes, &ifindex);
	__atomic_store_n(&slot->generation, 0, __ATOMIC_RELEASE);
}

static void slot_fill(struct kernel *k, const struct endpoint *ep)
{
	struct sluice_endpoint *slot = &k->endpoints[ep->id];

	store_state(k, ep->id, 0);
	memset(&k->runtime[ep->id], 0, sizeof(k->runtime[0]));
	slot->cgroup = 0;
	slot->flags = 0;
	slot->ifindex = ep->ifindex;
	memcpy(slot->addrs, ep->wanted.addrs, sizeof(slot->addrs));
	slot->naddrs = (uint32_t)ep->wanted.naddrs;
	put_label(k, ep);
	__atomic_store_n(&slot->generation, ep->generation, __ATOMIC_RELEASE);
}

/* The endpoint gets a slot and its interface the programs. 0 or -errno; what came so far of the programs stays, closed. */
static int endpoint_enter(struct endpoints *e, struct endpoint *ep, uint32_t ifindex)
{
	struct sluice_if link;
	int r;

	ep->id = free_slot(e->k);
	if (ep->id == 0)
		return -ENOSPC;
	ep->ifindex = ifindex;
	ep->generation = e->k->settings->next_generation++;
	slot_fill(e->k, ep);
	link = (struct sluice_if){ ep->id, ep->generation };
	r = bpf_map_update_elem(e->k->ifindexes, &ifindex, &link, BPF_ANY) < 0 ? -errno : 0;
	if (r == 0)
		r = kernel_attach(e->k, ifindex);
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
	ep = array_push(&e->items, &e->count, sizeof(*ep));
	if (!ep)
		return -ENOMEM;
	bpf_map_lookup_elem(e->k->labels, &id, &label);
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
		if (ifindex && !wants_interface(list, old->wanted.interface))
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

unsigned int endpoints_repair(struct endpoints *e)
{
	unsigned int repaired = 0;

	for (size_t i = 0; i < e->count; i++) {
		struct endpoint *ep = &e->items[i];

		if (ep->id == 0 || kernel_attached(e->k, ep->ifindex) != 0 ||
		    if_nametoindex(ep->wanted.interface) != ep->ifindex)
			continue;
		log_warning("%s/%s: the programs on %s were taken off; they are put back", ep->wanted.namespace_name,
			    ep->wanted.name, ep->wanted.interface);
		repaired += kernel_attach(e->k, ep->ifindex) == 0;
	}
	return repaired;
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
