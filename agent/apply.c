/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * One pass from what is wanted to what is in force. The order is what keeps every moment closed:
 *
 *  1. new cluster addresses, and with them a new epoch, so that no flow passes by what was judged without them
 *  2. compile, once for all endpoints that the same policies select in the same way, and not what did not change
 *  3. publish: tables and image under an id that nobody uses yet
 *  4. carry the leases over
 *  5. store each endpoint's new state word
 *  6. carry again what the proxy wrote between 4 and 5
 *  7. let the old policies go; cluster addresses that are gone
 *
 * What fails on the way puts the endpoints concerned under quarantine; the others are not held up.
 */
#include "agent/apply.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/diag_log.h"
#include "agent/tables.h"
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "policy/array.h"

/* One outcome of compiling, for every endpoint with that key. */
struct outcome {
	uint64_t key;
	enum sluice_mode mode;
	struct published *policy; /* a reference of the pass's own; NULL when open or quarantined */
};

struct pass {
	struct endpoints *e;
	const struct endpoints_input *in;
	struct inventory inventory; /* of its pods the first are the endpoints, in their order */
	struct outcome *outcomes;
	size_t noutcomes;
	struct tables_move *moves;
	size_t nmoves;
	size_t quarantined;
	bool renewed;	   /* no policy in force may stay under its id */
	bool same_cluster; /* its addresses are those that the kernel has already */
	bool closed;	   /* the cluster's addresses are not all known to the kernel: nothing can be judged */
};

/* ---- compiling --------------------------------------------------------------------------------------------------- */

static int compile_and_publish(struct pass *p, const struct subject *subject, struct outcome *o)
{
	_cleanup_free_ uint8_t *image = NULL;
	struct diags diags = {};
	size_t len = 0;
	int r = compiler_compile(p->e->compiler, subject, &diags, &image, &len);

	diag_log(&diags);
	diags_clear(&diags);
	if (r == 1) {
		o->mode = SLUICE_MODE_OPEN;
		return 0;
	}
	if (r == 0)
		r = publisher_get(p->e->p, image, len, &o->policy);
	if (r == 0)
		o->mode = p->in->audit ? SLUICE_MODE_AUDIT : SLUICE_MODE_ENFORCE;
	return r;
}

static const struct outcome *outcome_for(struct pass *p, size_t endpoint)
{
	static const struct outcome quarantine = { .mode = SLUICE_MODE_QUARANTINE };
	const struct subject *subject = &p->inventory.pods[endpoint];
	struct outcome *o;
	uint64_t key;
	int r;

	if (p->closed)
		return &quarantine;
	key = compiler_key(p->e->compiler, subject);
	for (size_t i = 0; i < p->noutcomes; i++) {
		if (p->outcomes[i].key == key)
			return &p->outcomes[i];
	}
	o = array_push(&p->outcomes, &p->noutcomes, sizeof(*o));
	if (!o)
		return &quarantine;
	o->key = key;
	o->mode = SLUICE_MODE_QUARANTINE;
	r = compile_and_publish(p, subject, o);
	if (r < 0)
		log_error("%s/%s: its policy cannot be put in force, it is quarantined: %s", subject->namespace_name,
			  subject->name, strerror(-r));
	return o;
}

/* ---- what changes ------------------------------------------------------------------------------------------------ */

static bool is_resolver(const struct pass *p, const struct endpoint *ep)
{
	for (size_t i = 0; i < p->in->nresolvers; i++) {
		for (size_t k = 0; k < ep->wanted.naddrs; k++) {
			if (addr_compare(&p->in->resolvers[i].addr, &ep->wanted.addrs[k]) == 0)
				return true;
		}
	}
	return false;
}

static uint64_t state_of(const struct pass *p, const struct endpoint *ep, const struct outcome *o)
{
	bool names = o->policy && (image_flags(o->policy->img) & IMAGE_NAMES) && !is_resolver(p, ep);
	uint64_t flags = names ? SLUICE_STATE_NAMES : 0;

	return SLUICE_STATE(o->mode, flags, p->e->epoch, o->policy ? o->policy->id : 0);
}

static void set_label(struct pass *p, const struct endpoint *ep, const struct outcome *o)
{
	struct sluice_label label;
	size_t len = 0, count = o->policy ? image_policy_count(o->policy->img) : 0;

	if (bpf_map_lookup_elem(p->e->k->labels, &ep->id, &label) < 0)
		return;
	label.quarantine = o->mode != SLUICE_MODE_QUARANTINE ? SLUICE_QUARANTINE_NONE
			   : p->closed			     ? SLUICE_QUARANTINE_CLUSTER
							     : SLUICE_QUARANTINE_POLICY;
	memset(label.policy, 0, sizeof(label.policy));
	for (size_t i = 0; i < count; i++) {
		int n = snprintf(label.policy + len, sizeof(label.policy) - len, "%s%s", i ? ", " : "",
				 image_policy_at(o->policy->img, i));

		if (n >= (int)(sizeof(label.policy) - len)) {
			memcpy(label.policy + sizeof(label.policy) - 4, "...", 4);
			break;
		}
		len += (size_t)n;
	}
	bpf_map_update_elem(p->e->k->labels, &ep->id, &label, BPF_ANY);
}

static bool add_move(struct pass *p, const struct endpoint *ep, const struct outcome *o)
{
	struct tables_move *m;

	if (!ep->policy || !o->policy || ep->policy == o->policy)
		return true;
	for (size_t i = 0; i < p->nmoves; i++) {
		if (p->moves[i].from == ep->policy->id && p->moves[i].to == o->policy->id)
			return true;
	}
	m = array_push(&p->moves, &p->nmoves, sizeof(*m));
	if (!m)
		return false;
	*m = (struct tables_move){ .from = ep->policy->id, .to = o->policy->id, .img = o->policy->img };
	return true;
}

static void flip(struct pass *p, struct endpoint *ep, const struct outcome *o)
{
	uint64_t *word = (uint64_t *)&p->e->k->endpoints[ep->id].state;
	uint64_t state = state_of(p, ep, o);

	if (ep->policy != o->policy || *word != state)
		set_label(p, ep, o);
	__atomic_store_n(word, state, __ATOMIC_RELEASE);
	ep->key = o->policy ? o->key : 0;
	if (ep->policy == o->policy)
		return;
	if (o->policy)
		published_ref(o->policy);
	if (ep->policy)
		published_unref(ep->policy, p->e->now);
	ep->policy = o->policy;
}

/* What an endpoint has in force is the outcome of its key, for all: only what a change concerns is compiled again. */
static void keep_outcomes(struct pass *p)
{
	for (size_t i = 0; i < p->e->count && !p->renewed && !p->closed; i++) {
		const struct endpoint *ep = &p->e->items[i];
		struct outcome *o;
		size_t k = 0;

		while (k < p->noutcomes && p->outcomes[k].key != ep->key)
			k++;
		if (!ep->key || !ep->policy || k < p->noutcomes)
			continue;
		o = array_push(&p->outcomes, &p->noutcomes, sizeof(*o));
		if (!o)
			return;
		o->key = ep->key;
		o->mode = p->in->audit ? SLUICE_MODE_AUDIT : SLUICE_MODE_ENFORCE;
		o->policy = ep->policy;
		published_ref(o->policy);
	}
}

static void apply_policies(struct pass *p)
{
	struct endpoints *e = p->e;
	const struct outcome **chosen = e->count ? calloc(e->count, sizeof(*chosen)) : NULL;
	size_t failed;

	/* Every outcome first: an element of `outcomes` may move while others are added. */
	for (size_t i = 0; chosen && i < e->count; i++) {
		if (e->items[i].phase == ENDPOINT_READY)
			outcome_for(p, i);
	}
	for (size_t i = 0; chosen && i < e->count; i++) {
		if (e->items[i].phase != ENDPOINT_READY)
			continue;
		chosen[i] = outcome_for(p, i);
		p->quarantined += chosen[i]->mode == SLUICE_MODE_QUARANTINE;
		if (!add_move(p, &e->items[i], chosen[i]))
			log_warning("out of memory; open names have to be asked again");
	}
	failed = tables_carry_leases(e->k, p->moves, p->nmoves);
	for (size_t i = 0; chosen && i < e->count; i++) {
		if (chosen[i])
			flip(p, &e->items[i], chosen[i]);
	}
	failed += tables_carry_leases(e->k, p->moves, p->nmoves);
	if (failed)
		log_warning("%zu lease(s) did not fit the new policies; their names have to be asked again", failed);
	free(chosen);
}

/* ---- the pass ---------------------------------------------------------------------------------------------------- */

/* When the epoch comes round, old pairs of policy and epoch must not come back: every policy gets a new id. */
static void next_epoch(struct pass *p)
{
	if (++p->e->epoch != 0)
		return;
	publisher_renew(p->e->p);
	p->renewed = true;
}

static void add_all(struct cluster *c, const struct sluice_addr *addrs, size_t count, enum sluice_cluster_kind kind,
		    bool local)
{
	for (size_t i = 0; i < count; i++)
		cluster_add(c, &addrs[i], kind, local);
}

/* A Node's object may name addresses that this node does not have, of a translator in front of it: those are not local. */
static void add_pod(struct cluster *c, const struct subject *pod)
{
	if (!pod->not_running)
		add_all(c, pod->addrs, pod->naddrs, pod->host_network ? SLUICE_CLUSTER_NODE : SLUICE_CLUSTER_POD,
			false);
}

static void gather_cluster(struct pass *p)
{
	const struct inventory *inv = &p->inventory;
	struct cluster *c = &p->e->cluster;

	cluster_clear(c);
	add_all(c, p->in->node, p->in->nnode, SLUICE_CLUSTER_NODE, true);
	for (size_t i = 0; i < inv->nnodes; i++)
		add_all(c, inv->nodes[i].addrs, inv->nodes[i].naddrs, SLUICE_CLUSTER_NODE, false);
	for (size_t i = 0; i < inv->npods; i++)
		add_pod(c, &inv->pods[i]);
	for (size_t i = 0; i < inv->nkept; i++)
		add_pod(c, inv->kept[i].pod);
	for (size_t i = 0; i < inv->nservices; i++)
		add_all(c, inv->services[i].addrs, inv->services[i].naddrs, SLUICE_CLUSTER_SERVICE, false);
}

static void sync_cluster(struct pass *p)
{
	bool added = false;
	const struct cluster *there = p->e->in_force_known ? &p->e->in_force : NULL;
	int r;

	p->same_cluster = there && p->e->in_force_of == compiler_cluster(p->e->compiler);
	if (p->same_cluster)
		return;
	gather_cluster(p);
	r = cluster_sync(p->e->k, &p->e->cluster, there, &added);
	if (r < 0) {
		log_error("the table of cluster addresses: %s; every endpoint is quarantined, since rules for the "
			  "outside could meet the cluster's own (limits.clusterAddresses)",
			  strerror(-r));
		p->closed = true;
	}
	p->e->in_force_known = p->e->in_force_known && r == 0;
	if (added || r < 0)
		next_epoch(p);
}

static void prune_cluster(struct pass *p)
{
	struct endpoints *e = p->e;

	if (p->same_cluster)
		return;
	cluster_prune(e->k, &e->cluster, e->in_force_known ? &e->in_force : NULL);
	cluster_clear(&e->in_force);
	e->in_force = e->cluster;
	e->in_force_known = !p->closed;
	e->in_force_of = compiler_cluster(e->compiler);
	e->cluster = (struct cluster){};
}

/* ---- the inventory ----------------------------------------------------------------------------------------------- */

static bool is_own_node(const struct inventory_node *node, const struct endpoints_input *in)
{
	for (size_t i = 0; i < node->naddrs; i++) {
		for (size_t k = 0; k < in->nnode; k++) {
			if (addr_compare(&node->addrs[i], &in->node[k]) == 0)
				return true;
		}
	}
	return false;
}

/* What is known of the world for one pass; borrows from the endpoints and the input. */
struct world {
	struct subjects subjects;
	struct inventory_node *nodes;
};

static void world_clear(struct world *w)
{
	subjects_clear(&w->subjects);
	free(w->nodes);
}

/* The file's nodes, and this one with all its addresses, whether the file knows it or not. */
static int gather_nodes(const struct objects *o, const struct endpoints_input *in, struct world *w,
			struct inventory *inv)
{
	w->nodes = calloc(o->nnodes + 1, sizeof(*w->nodes));
	if (!w->nodes)
		return -ENOMEM;
	for (size_t i = 0; i < o->nnodes; i++) {
		w->nodes[i] = o->nodes[i];
		w->nodes[i].local = is_own_node(&o->nodes[i], in);
	}
	w->nodes[o->nnodes] =
		(struct inventory_node){ .name = "", .addrs = in->node, .naddrs = in->nnode, .local = true };
	inv->nodes = w->nodes;
	inv->nnodes = o->nnodes + 1;
	return 0;
}

static int gather_inventory(const struct endpoints *e, const struct endpoints_input *in, struct world *w,
			    struct inventory *ret)
{
	static const struct objects nothing = {};
	const struct objects *o = e->wanted ? &e->wanted->objects : &nothing;
	_cleanup_free_ struct subject *own = calloc(e->count + 1, sizeof(*own));
	struct inventory inv = objects_inventory(o);
	int r = own ? 0 : -ENOMEM;

	for (size_t i = 0; own && i < e->count; i++)
		own[i] = static_endpoint_subject(&e->items[i].wanted);
	if (r == 0)
		r = objects_subjects(o, own, e->count, &w->subjects);
	if (r == 0)
		r = gather_nodes(o, in, w, &inv);
	inv.pods = w->subjects.pods;
	inv.npods = w->subjects.npods;
	inv.kept = w->subjects.kept;
	inv.nkept = w->subjects.nkept;
	inv.service_cidrs = in->service_cidrs;
	inv.nservice_cidrs = in->nservice_cidrs;
	inv.cluster_domain = in->cluster_domain;
	*ret = inv;
	return r;
}

size_t endpoints_apply(struct endpoints *e, const struct endpoints_input *in)
{
	CLEANUP(world_clear) struct world world = {};
	struct pass p = { .e = e, .in = in };

	if (gather_inventory(e, in, &world, &p.inventory) < 0 ||
	    compiler_begin(e->compiler, in->store, &p.inventory) < 0) {
		log_error("out of memory; the policies in force stay");
		return 0;
	}
	e->now = clock_now();
	sync_cluster(&p);
	keep_outcomes(&p);
	apply_policies(&p);
	prune_cluster(&p);
	for (size_t i = 0; i < p.noutcomes; i++) {
		if (p.outcomes[i].policy)
			published_unref(p.outcomes[i].policy, e->now);
	}
	free(p.outcomes);
	free(p.moves);
	return p.quarantined;
}

int endpoints_trace(struct endpoints *e, const struct endpoints_input *in, const struct endpoint *ep,
		    const struct trace_query *q, struct trace_rule **ret, size_t *ret_count, bool *ret_current)
{
	CLEANUP(world_clear) struct world world = {};
	struct inventory inv;
	const struct subject *subject;
	int r;

	if (ep < e->items || ep >= e->items + e->count)
		return -ENOENT;
	r = gather_inventory(e, in, &world, &inv);
	if (r < 0)
		return r;
	subject = &inv.pods[ep - e->items];
	r = compile_trace(in->store, subject, &inv, q, ret, ret_count);
	if (r == 0)
		*ret_current = ep->key != 0 && compiler_key_apart(e->compiler, in->store, &inv, subject) == ep->key;
	return r;
}
