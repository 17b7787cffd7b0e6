/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * Deleting races with the kernel, which may find the entry the moment before: so an entry is taken out with its last
 * value (BPF_MAP_LOOKUP_AND_DELETE_ELEM) and what that says is what is counted.
 *
 * An expired lease stays while a flow that it let in lives: a policy change must be able to tell whether that flow's
 * name is still allowed. The flows are walked first and note what they use (bpf/lease_use.h), which tells the proxy too.
 *
 * Leases and names are many and in nobody's way: the proxy makes room in a full table by itself. So they are walked more
 * seldom than the flows, which have quotas.
 *
 * The proxy writes a name before the lease that mentions it. A name goes only when two passes in a row found it unused.
 */
#include "agent/sweep.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "agent/mapwalk.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "bpf/lease_use.h"
#include "policy/array.h"

#define SECONDS(n) ((uint64_t)(n)*NSEC_PER_SEC)

/* As Linux's conntrack and Cilium have them, rounded. */
#define TIMEOUT_TCP_LIVE    SECONDS(8000)
#define TIMEOUT_TCP_OPENING SECONDS(60)
#define TIMEOUT_TCP_CLOSING SECONDS(20)
#define TIMEOUT_UDP_REPLIED SECONDS(180)
#define TIMEOUT_OTHER	    SECONDS(60)
#define TIMEOUT_TOMBSTONE   SECONDS(120)

struct u64s {
	uint64_t *items;
	size_t count;
};

struct sweep {
	struct kernel *k;
	struct u64s unused; /* names without use in the last pass, sorted */
};

struct pass {
	struct sweep *s;
	uint64_t now;
	bool names;	    /* `used` is wanted */
	struct u64s used;   /* names that a lease or flow mentions */
	struct u64s unused; /* names that none does */
	bool failed;	    /* out of memory: what is missing above could be in use, so nothing of it may go */
};

static void add_u64(struct pass *p, struct u64s *list, uint64_t value)
{
	uint64_t *slot = array_push(&list->items, &list->count, sizeof(*slot));

	if (slot)
		*slot = value;
	else
		p->failed = true;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool has_u64(const struct u64s *list, uint64_t value)
{
	return list->count && bsearch(&value, list->items, list->count, sizeof(value), compare_u64);
}

int sweep_new(struct kernel *k, struct sweep **ret)
{
	struct sweep *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->k = k;
	*ret = s;
	return 0;
}

void sweep_freep(struct sweep **s)
{
	if (*s)
		free((*s)->unused.items);
	free(*s);
	*s = NULL;
}

/* ---- flows ------------------------------------------------------------------------------------------------------- */

static uint64_t flow_timeout(const struct sluice_flow *f)
{
	bool replied = f->flags & SLUICE_FLOW_SEEN_REPLY;

	if (f->origin == SLUICE_ORIGIN_TOMBSTONE)
		return TIMEOUT_TOMBSTONE;
	if (f->key.proto == IPPROTO_TCP) {
		if (f->flags & SLUICE_FLOW_RST ||
		    (f->flags & SLUICE_FLOW_FIN_LOCAL && f->flags & SLUICE_FLOW_FIN_REMOTE))
			return TIMEOUT_TCP_CLOSING;
		/* Opened from outside, what the pod sends is the reply. */
		if (f->origin != SLUICE_ORIGIN_POD)
			replied = f->tx_packets > 0;
		return replied ? TIMEOUT_TCP_LIVE : TIMEOUT_TCP_OPENING;
	}
	return f->key.proto == IPPROTO_UDP && replied ? TIMEOUT_UDP_REPLIED : TIMEOUT_OTHER;
}

bool sweep_flow_is_over(const struct sluice_flow *flow, uint64_t now)
{
	return now > flow->last_seen && now - flow->last_seen > flow_timeout(flow);
}

static bool owner_lives(const struct kernel *k, const struct sluice_flow_key *key)
{
	return key->endpoint < k->nendpoints && k->endpoints[key->endpoint].generation == key->generation;
}

static void account(struct kernel *k, const struct sluice_flow *f)
{
	struct sluice_runtime *rt = &k->runtime[f->key.endpoint];

	__atomic_fetch_sub(f->origin == SLUICE_ORIGIN_TOMBSTONE ? &rt->tombstones : &rt->flows, 1, __ATOMIC_RELAXED);
	rt->closed_tx_packets += f->tx_packets;
	rt->closed_tx_bytes += f->tx_bytes;
	rt->closed_rx_packets += f->rx_packets;
	rt->closed_rx_bytes += f->rx_bytes;
}

static void delete_flow(struct kernel *k, const struct sluice_flow_key *key, bool owned)
{
	struct sluice_flow last;

	if (bpf_map_lookup_and_delete_elem(k->flows, key, &last) == 0 && owned)
		account(k, &last);
}

static uint64_t *use_of(const struct kernel *k, uint64_t policy, const struct sluice_addr *addr)
{
	return &k->lease_use[lease_use_index(policy, addr)];
}

static int sweep_flow(const void *key, const void *value, void *context)
{
	struct pass *p = context;
	struct kernel *k = p->s->k;
	const struct sluice_flow *f = value;
	bool owned = owner_lives(k, key);

	if (!owned || sweep_flow_is_over(f, p->now)) {
		delete_flow(k, key, owned);
		return 0;
	}
	if (f->name && p->names)
		add_u64(p, &p->used, f->name);
	if (f->flags & SLUICE_FLOW_LEASE && f->origin == SLUICE_ORIGIN_POD)
		*use_of(k, SLUICE_STATE_POLICY(k->endpoints[f->key.endpoint].state), &f->key.remote) = p->now;
	return 0;
}

/* ---- leases ------------------------------------------------------------------------------------------------------ */

static bool lease_is_over(const struct sluice_lease *l, uint64_t now)
{
	for (size_t i = 0; i < SLUICE_LEASE_SLOTS; i++) {
		if (l->slots[i].set && l->slots[i].expires > now)
			return false;
	}
	return true;
}

/* The proxy may have renewed it meanwhile: then it goes back, unless the proxy has written it once more since. */
static void delete_lease(const struct kernel *k, const struct sluice_lease_key *key, uint64_t now)
{
	struct sluice_lease last;

	if (bpf_map_lookup_and_delete_elem(k->leases, key, &last) < 0)
		return;
	if (!lease_is_over(&last, now))
		bpf_map_update_elem(k->leases, key, &last, BPF_NOEXIST);
	else
		lines_clear(&k->lines, key);
}

static int sweep_lease(const void *key, const void *value, void *context)
{
	struct pass *p = context;
	const struct sluice_lease *l = value;

	if (lease_is_over(l, p->now) && !lease_use_is_fresh(*use_of(p->s->k, l->key.policy, &l->key.addr), p->now)) {
		delete_lease(p->s->k, key, p->now);
		return 0;
	}
	for (size_t i = 0; i < SLUICE_LEASE_SLOTS; i++) {
		if (l->slots[i].set && l->slots[i].name)
			add_u64(p, &p->used, l->slots[i].name);
	}
	return 0;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static int sweep_name(const void *key, const void *value, void *context)
{
	struct pass *p = context;
	uint64_t id = *(const uint64_t *)key;

	(void)value;
	if (has_u64(&p->used, id))
		return 0;
	if (has_u64(&p->s->unused, id))
		bpf_map_delete_elem(p->s->k->names, key);
	else
		add_u64(p, &p->unused, id);
	return 0;
}

static void sweep_names(struct pass *p)
{
	if (p->used.count)
		qsort(p->used.items, p->used.count, sizeof(*p->used.items), compare_u64);
	mapwalk(p->s->k->names, sizeof(uint64_t), sizeof(struct sluice_name), sweep_name, p);
	if (p->unused.count)
		qsort(p->unused.items, p->unused.count, sizeof(*p->unused.items), compare_u64);
	free(p->s->unused.items);
	p->s->unused = p->unused;
	p->unused = (struct u64s){};
}

static int walk_flows(struct pass *p)
{
	return mapwalk(p->s->k->flows, sizeof(struct sluice_flow_key), sizeof(struct sluice_flow), sweep_flow, p);
}

static void warn_failed(int r)
{
	if (r < 0)
		log_warning("collecting what is over: %s", strerror(-r));
}

void sweep_flows(struct sweep *s, uint64_t now)
{
	struct pass p = { .s = s, .now = now };

	warn_failed(walk_flows(&p));
}

void sweep_run(struct sweep *s, uint64_t now)
{
	struct pass p = { .s = s, .now = now, .names = true };
	int r = walk_flows(&p);

	if (r == 0)
		r = mapwalk(s->k->leases, sizeof(struct sluice_lease_key), sizeof(struct sluice_lease), sweep_lease,
			    &p);
	if (r == 0 && !p.failed)
		sweep_names(&p);
	warn_failed(r);
	free(p.used.items);
	free(p.unused.items);
}
