/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * An endpoint gets its slot (slot.h), then its interface the programs, and last its state word.
 *
 * An endpoint is the same as long as its name, uid, interface (name and index) and addresses are. Changed labels only lead
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
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/apply.h"
#include "agent/cgroup_programs.h"
#include "agent/cgroup_watch.h"
#include "agent/slot.h"
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

/* As if_nametoindex(3), which makes a socket for each: every pass asks for every endpoint. */
static uint32_t index_of(const struct endpoints *e, const char *interface)
{
	struct ifreq request = {};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	return ioctl(e->names, SIOCGIFINDEX, &request) < 0 ? 0 : (uint32_t)request.ifr_ifindex;
}

/* False: it is not there. */
static bool place_find(const struct endpoints *e, const struct static_endpoint *w, struct endpoint_place *ret)
{
	*ret = (struct endpoint_place){};
	if (w->cgroup)
		return cgroup_identify(w->cgroup, &ret->cgroup, &ret->level) == 0;
	ret->ifindex = index_of(e, w->interface);
	return ret->ifindex != 0;
}

static int place_attach(struct kernel *k, const struct static_endpoint *w, const struct endpoint_place *place,
			const struct slot *slot)
{
	const struct sluice_if owner = { slot->id, slot->generation };

	if (place->cgroup)
		return cgroup_programs_attach(k, w->cgroup, place->cgroup, &owner);
	return kernel_attach(k, place->ifindex);
}

static void place_detach(struct kernel *k, const struct endpoint_place *place)
{
	if (place->cgroup)
		cgroup_programs_detach(k, place->cgroup);
	else if (place->ifindex)
		kernel_detach(k, place->ifindex);
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
	compiler_freep(&(*e)->compiler);
	if ((*e)->names >= 0)
		close((*e)->names);
	cluster_clear(&(*e)->cluster);
	cluster_clear(&(*e)->in_force);
	free(*e);
	*e = NULL;
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

/* The endpoint gets a slot and its place the programs. 0 or -errno; what came so far of the programs stays, closed. */
static int endpoint_enter(struct endpoints *e, struct endpoint *ep, const struct endpoint_place *place)
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
	int r = slot_take(e->k, &owner, place, &slot);

	if (r < 0)
		return r;
	r = place_attach(e->k, &ep->wanted, place, &slot);
	if (r < 0) {
		slot_release(e->k, slot.id);
		return r;
	}
	ep->id = slot.id;
	ep->generation = slot.generation;
	ep->place = *place;
	ep->phase = ENDPOINT_READY;
	return 0;
}

static void endpoint_leave(struct endpoints *e, struct endpoint *ep)
{
	if (ep->id)
		slot_release(e->k, ep->id);
	if (ep->policy)
		published_unref(ep->policy, e->now);
	e->left = e->left || ep->id != 0;
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
	uint64_t seed[2];
	int r;

	if (!e)
		return -ENOMEM;
	e->k = k;
	e->p = p;
	e->left = true; /* an earlier agent's may have */
	e->names = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (e->names < 0)
		return -errno;
	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
		return -errno;
	r = compiler_new(seed, &e->compiler);
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
static bool same_endpoint(const struct endpoints *e, const struct endpoint *a, const struct static_endpoint *b)
{
	const struct static_endpoint *w = &a->wanted;
	struct endpoint_place place;

	if (strcmp(w->name, b->name) != 0 || strcmp(w->namespace_name, b->namespace_name) != 0 ||
	    (a->place.cgroup != 0) != (b->cgroup != NULL))
		return false;
	/* One that was adopted has none. */
	if (w->uid && b->uid && strcmp(w->uid, b->uid) != 0)
		return false;
	if (b->cgroup)
		return place_find(e, b, &place) && same_place(&place, &a->place);
	return strcmp(w->interface, b->interface) == 0 && same_addresses(w, b);
}

/* Few come or go at a time, so it is near the place `from` where it is wanted. */
static struct endpoint *find_same(struct endpoints *e, size_t from, const struct static_endpoint *wanted)
{
	for (size_t i = 0; i < e->count; i++) {
		struct endpoint *ep = &e->items[(from + i) % e->count];

		if (ep->id && same_endpoint(e, ep, wanted))
			return ep;
	}
	return NULL;
}

/* The old record's slot goes to the new one. */
static void endpoint_keep(struct kernel *k, struct endpoint *ep, struct endpoint *old)
{
	const struct slot slot = { old->id, old->generation };
	int r = 0;

	ep->phase = ENDPOINT_READY;
	ep->id = old->id;
	ep->generation = old->generation;
	ep->place = old->place;
	memcpy(ep->escape, old->escape, sizeof(ep->escape));
	ep->policy = TAKE_PTR(old->policy);
	ep->key = old->key;
	if (old->phase == ENDPOINT_ADOPTED && ep->place.cgroup)
		r = place_attach(k, &ep->wanted, &ep->place, &slot);
	if (r < 0)
		log_error("%s/%s: the programs on %s cannot be renewed, the old ones go on: %s",
			  ep->wanted.namespace_name, ep->wanted.name, place_name(&ep->wanted), strerror(-r));
	old->id = 0;
}

static bool wants_place(const struct endpoints *e, const struct static_endpoints *list,
			const struct endpoint_place *place)
{
	struct endpoint_place wanted;

	for (size_t i = 0; i < list->count; i++) {
		if (place_find(e, &list->items[i], &wanted) && same_place(&wanted, place))
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
	const struct static_endpoints *list = e->wanted ? &e->wanted->endpoints : NULL;

	for (size_t i = 0; list && i < list->count; i++) {
		if (!list->items[i].cgroup && !strcmp(list->items[i].interface, interface))
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
		struct endpoint *old = find_same(e, i, &list->items[i]);

		items[i].wanted = list->items[i];
		if (old)
			endpoint_keep(e->k, &items[i], old);
	}
	for (size_t i = 0; i < e->count; i++) {
		struct endpoint *old = &e->items[i];
		struct endpoint_place place = old->id ? old->place : (struct endpoint_place){};

		endpoint_leave(e, old);
		/* Where another endpoint takes its place the programs stay: nothing passes in between. */
		if ((place.ifindex || place.cgroup) && !wants_place(e, list, &place) &&
		    !(e->keep && place.ifindex && e->keep(e->keep_context, place.ifindex)))
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
	bool there = place_find(e, &ep->wanted, &place), changed = false;
	int r;

	if (ep->id && !same_place(&ep->place, &place)) {
		log_info("%s/%s: %s has gone", ep->wanted.namespace_name, ep->wanted.name, place_name(&ep->wanted));
		/* Renamed rather than gone, it keeps the programs and is closed. */
		endpoint_leave(e, ep);
		/* So every pod ends: its interface goes first, which is no news twice. */
		ep->told = !there;
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
	/* It looks at every link there is. */
	if (e->left)
		kernel_prune_links(e->k);
	e->left = false;
	return changed;
}

/* Interfaces are discover_check's. */
unsigned int endpoints_repair_cgroups(struct endpoints *e)
{
	unsigned int repaired = 0;

	for (size_t i = 0; i < e->count; i++) {
		struct endpoint *ep = &e->items[i];
		const struct slot slot = { ep->id, ep->generation };
		struct endpoint_place place;

		if (ep->id == 0 || !ep->place.cgroup || cgroup_programs_attached(e->k, ep->place.cgroup) != 0 ||
		    !place_find(e, &ep->wanted, &place) || !same_place(&place, &ep->place))
			continue;
		log_warning("%s/%s: the programs on %s were taken off; they are put back", ep->wanted.namespace_name,
			    ep->wanted.name, place_name(&ep->wanted));
		repaired += place_attach(e->k, &ep->wanted, &place, &slot) == 0;
	}
	return repaired;
}

bool endpoints_waiting(const struct endpoints *e)
{
	struct endpoint_place place;

	for (size_t i = 0; i < e->count; i++) {
		if (e->items[i].phase == ENDPOINT_WAITING && place_find(e, &e->items[i].wanted, &place))
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
		if (place_find(e, &ep->wanted, &place) != (ep->id != 0) || (ep->id && !same_place(&place, &ep->place)))
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
