/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * The kernel sees only the longest prefix, so each prefix's set must hold all that its covering prefixes say. Prefixes
 * and excepts are sorted so that a covering one comes before what it covers; a stack holds the chain of covering
 * prefixes with the rules that reach into each, and a prefix's rules are its parent's, plus those that start here, less
 * those that except it. An except without any rule left becomes an entry with no sets: a hole must stop the search.
 *
 * IPv4 lives at ::ffff:0:0/96 of the same trie, but an IPv6 prefix that happens to cover that range (::/0) says nothing
 * about IPv4. The families are flattened apart, and where an IPv6 prefix covers the range, an entry for the whole of
 * IPv4 stands in its way.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "policy/build.h"

/* Something that starts or stops at a prefix. */
struct edge {
	struct sluice_prefix prefix;
	uint32_t rule; /* index; UINT32_MAX: none, the prefix only has to have an entry */
	bool stop;
	bool mask; /* below here only written rules count */
	bool bar;  /* and no name opens anything */
};
#define NO_RULE UINT32_MAX

struct frame {
	struct sluice_prefix prefix;
	uint32_t *active; /* rules that reach here */
	size_t nactive;
	bool masked;
	bool barred;
	struct sluice_dest dest;
};

struct flatten {
	const struct addr_rule *rules;
	const struct dest_places *places;
	struct sets *sets;
	struct dests *out;
	struct frame stack[130]; /* one per prefix length, and the root */
	size_t depth;
	struct grant *grants; /* scratch, as many as there are rules */
};

static const struct sluice_prefix all_ipv4 = { .addr = { .b = { [10] = 0xff, [11] = 0xff } }, .bits = 96 };

static bool prefix_is_ipv4(const struct sluice_prefix *p)
{
	return p->bits >= 96 && addr_is_ipv4(&p->addr);
}

static bool prefix_equal(const struct sluice_prefix *a, const struct sluice_prefix *b)
{
	return a->bits == b->bits && addr_compare(&a->addr, &b->addr) == 0;
}

static int compare_edges(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;
	int order = addr_compare(&x->prefix.addr, &y->prefix.addr);

	if (order == 0)
		order = (x->prefix.bits > y->prefix.bits) - (x->prefix.bits < y->prefix.bits);
	if (order == 0)
		order = x->stop - y->stop;
	if (order == 0)
		order = (x->rule > y->rule) - (x->rule < y->rule);
	return order;
}

static int add_edge(struct edge **edges, size_t *n, const struct sluice_prefix *prefix, uint32_t rule, bool stop)
{
	struct edge *slot = array_push(edges, n, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	*slot = (struct edge){ .prefix = *prefix, .rule = rule, .stop = stop };
	return 0;
}

static bool prefix_covers(const struct sluice_prefix *outer, const struct sluice_prefix *inner)
{
	return outer->bits <= inner->bits && prefix_is_ipv4(outer) == prefix_is_ipv4(inner) &&
	       prefix_contains(outer, &inner->addr);
}

/* An except as wide as the prefix leaves nothing of it (a group's prefixes are not known where the except is written). */
static bool all_excepted(const struct addr_rule *rule)
{
	for (size_t i = 0; i < rule->nexcepts; i++)
		if (prefix_covers(&rule->excepts[i], &rule->prefix))
			return true;
	return false;
}

static int add_place(const struct flatten *fl, const struct sluice_prefix *prefix, bool mask, struct edge **edges,
		     size_t *nedges)
{
	if (add_edge(edges, nedges, prefix, NO_RULE, false) < 0)
		return -ENOMEM;
	(*edges)[*nedges - 1].mask = mask;
	(*edges)[*nedges - 1].bar = fl->places->names;
	return 0;
}

static int add_places(const struct flatten *fl, bool ipv4, struct edge **edges, size_t *nedges)
{
	const struct dest_places *places = fl->places;
	int r = 0;

	for (size_t i = 0; i < places->nmasks && r >= 0; i++)
		if (prefix_is_ipv4(&places->masks[i]) == ipv4)
			r = add_place(fl, &places->masks[i], true, edges, nedges);
	for (size_t i = 0; places->names && i < places->nbarred && r >= 0; i++) {
		const struct sluice_prefix whole = { .addr = places->barred[i], .bits = 128 };

		if (prefix_is_ipv4(&whole) == ipv4)
			r = add_place(fl, &whole, false, edges, nedges);
	}
	return r;
}

/* An IPv6 prefix that happens to cover where IPv4 lives. */
static bool shadows_ipv4(const struct sluice_prefix *p)
{
	return !prefix_is_ipv4(p) && p->bits < 96 && prefix_contains(p, &all_ipv4.addr);
}

static int add_rule_edges(const struct addr_rule *rule, uint32_t i, struct edge **edges, size_t *nedges)
{
	int r = add_edge(edges, nedges, &rule->prefix, i, false);

	for (size_t k = 0; k < rule->nexcepts && r >= 0; k++)
		if (prefix_covers(&rule->prefix, &rule->excepts[k]))
			r = add_edge(edges, nedges, &rule->excepts[k], i, true);
	return r;
}

static int collect_edges(const struct flatten *fl, size_t n, bool ipv4, struct edge **edges, size_t *nedges)
{
	bool shadowed = false;
	int r = 0;

	for (size_t i = 0; i < n && r >= 0; i++) {
		const struct addr_rule *rule = &fl->rules[i];

		shadowed = shadowed || shadows_ipv4(&rule->prefix);
		if (prefix_is_ipv4(&rule->prefix) == ipv4 && !all_excepted(rule))
			r = add_rule_edges(rule, (uint32_t)i, edges, nedges);
	}
	if (r >= 0 && ipv4 && shadowed)
		r = add_edge(edges, nedges, &all_ipv4, NO_RULE, false);
	if (r >= 0)
		r = add_places(fl, ipv4, edges, nedges);
	if (r >= 0 && *nedges > 1)
		qsort(*edges, *nedges, sizeof(**edges), compare_edges);
	return r;
}

static void remove_active(struct frame *f, uint32_t rule)
{
	size_t out = 0;

	for (size_t i = 0; i < f->nactive; i++)
		if (f->active[i] != rule)
			f->active[out++] = f->active[i];
	f->nactive = out;
}

/* The frame for edges[0..n), all of one prefix, on top of the stack's covering one. */
static int push_frame(struct flatten *fl, const struct edge *edges, size_t n)
{
	struct frame *parent = &fl->stack[fl->depth - 1], *f = &fl->stack[fl->depth];

	f->prefix = edges[0].prefix;
	f->nactive = 0;
	f->active = malloc((parent->nactive + n) * sizeof(*f->active));
	if (!f->active)
		return -ENOMEM;
	fl->depth++;
	if (parent->nactive > 0)
		memcpy(f->active, parent->active, parent->nactive * sizeof(*f->active));
	f->nactive = parent->nactive;
	f->masked = parent->masked;
	f->barred = parent->barred;
	for (size_t i = 0; i < n; i++) {
		f->masked = f->masked || edges[i].mask;
		f->barred = f->barred || edges[i].bar;
		if (edges[i].rule == NO_RULE)
			continue;
		if (edges[i].stop)
			remove_active(f, edges[i].rule);
		else
			f->active[f->nactive++] = edges[i].rule;
	}
	return 0;
}

static void pop_frame(struct flatten *fl)
{
	free(fl->stack[--fl->depth].active);
	fl->stack[fl->depth] = (struct frame){};
}

static int scope_set(struct flatten *fl, const struct frame *f, bool inside, uint32_t *ret,
		     const struct set_info **info)
{
	size_t n = 0;

	for (size_t i = 0; i < f->nactive; i++) {
		const struct addr_rule *rule = &fl->rules[f->active[i]];

		if ((inside ? rule->inside : rule->outside) && (!f->masked || rule->written))
			fl->grants[n++] = rule->grant;
	}
	/* Names never open an address of the cluster's table, so its set need not say so. */
	return sets_intern(fl->sets, fl->grants, n, f->barred && !inside ? SET_BARRED : SET_ADDRESSES, ret, info);
}

/* 169.254/16 and fe80::/10 whole. */
static bool link_local(const struct sluice_prefix *p)
{
	const uint8_t *b = p->addr.b;

	if (prefix_is_ipv4(p))
		return p->bits >= 112 && b[12] == 169 && b[13] == 254;
	return p->bits >= 10 && b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
}

static bool opens_outside(const struct flatten *fl, const struct frame *f)
{
	for (size_t i = 0; i < f->nactive; i++) {
		const struct addr_rule *rule = &fl->rules[f->active[i]];

		if (rule->outside && !rule->cluster && rule->grant.rank.action == ACTION_ALLOW && !f->masked)
			return !link_local(&f->prefix);
	}
	return false;
}

static int emit_dest(struct flatten *fl, struct frame *f, bool forced)
{
	const struct frame *parent = f - 1;
	const struct set_info *info = NULL;
	struct image_dest *slot;

	if (scope_set(fl, f, true, &f->dest.cluster_set, NULL) < 0 || scope_set(fl, f, false, &f->dest.set, &info) < 0)
		return -ENOMEM;
	if (info && info->allows && opens_outside(fl, f))
		fl->out->opens_outside = true;
	if (!forced && f->dest.set == parent->dest.set && f->dest.cluster_set == parent->dest.cluster_set)
		return 0;
	slot = array_push(&fl->out->items, &fl->out->count, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	slot->addr = f->prefix.addr;
	slot->bits = f->prefix.bits;
	slot->dest = f->dest;
	return 0;
}

/* An edge that has to become an entry of its own, whatever its sets. */
static bool is_forced(const struct edge *e)
{
	return e->rule == NO_RULE && !e->mask && !e->bar;
}

static int walk_edges(struct flatten *fl, const struct edge *edges, size_t n)
{
	for (size_t i = 0; i < n;) {
		size_t end = i + 1;
		bool forced = is_forced(&edges[i]);

		for (; end < n && prefix_equal(&edges[end].prefix, &edges[i].prefix); end++)
			forced = forced || is_forced(&edges[end]);
		while (fl->depth > 1 && !prefix_contains(&fl->stack[fl->depth - 1].prefix, &edges[i].prefix.addr))
			pop_frame(fl);
		if (push_frame(fl, edges + i, end - i) < 0 || emit_dest(fl, &fl->stack[fl->depth - 1], forced) < 0)
			return -ENOMEM;
		i = end;
	}
	return 0;
}

static int flatten_family(struct flatten *fl, size_t n, bool ipv4)
{
	_cleanup_free_ struct edge *edges = NULL;
	size_t nedges = 0;
	int r = collect_edges(fl, n, ipv4, &edges, &nedges);

	fl->depth = 1;
	fl->stack[0] = (struct frame){};
	if (r >= 0)
		r = walk_edges(fl, edges, nedges);
	while (fl->depth > 1)
		pop_frame(fl);
	return r;
}

static int compare_dests(const void *a, const void *b)
{
	const struct image_dest *x = a, *y = b;
	int order = addr_compare(&x->addr, &y->addr);

	return order ? order : (x->bits > y->bits) - (x->bits < y->bits);
}

void dests_sort(struct dests *d)
{
	if (d->count > 1)
		qsort(d->items, d->count, sizeof(*d->items), compare_dests);
	d->sorted = d->count;
	for (size_t i = 0; i < d->count; i++)
		d->has_bits[d->items[i].bits] = true;
}

static struct image_dest *find_exact(const struct dests *d, const struct image_dest *key)
{
	return d->sorted ? bsearch(key, d->items, d->sorted, sizeof(*key), compare_dests) : NULL;
}

bool dests_find(const struct dests *d, const struct sluice_addr *addr, struct sluice_dest *ret)
{
	struct image_dest key = { .addr = *addr };

	for (int bits = 128; bits >= 0; bits--) {
		const struct image_dest *found;

		if (!d->has_bits[bits])
			continue;
		key.bits = (uint32_t)bits;
		addr_mask(&key.addr, key.bits);
		found = find_exact(d, &key);
		if (found) {
			*ret = found->dest;
			return true;
		}
	}
	return false;
}

int dests_put(struct dests *d, const struct sluice_addr *addr, const struct sluice_dest *dest)
{
	const struct image_dest key = { .addr = *addr, .bits = 128, .dest = *dest };
	struct image_dest *slot = find_exact(d, &key);

	if (!slot)
		slot = array_push(&d->items, &d->count, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	*slot = key;
	return 0;
}

bool addr_rule_meets(const struct addr_rule *rule, const struct sluice_addr *addr)
{
	const struct sluice_prefix whole = { .addr = *addr, .bits = 128 };

	if (!prefix_covers(&rule->prefix, &whole))
		return false;
	for (size_t i = 0; i < rule->nexcepts; i++)
		if (prefix_covers(&rule->excepts[i], &whole))
			return false;
	return true;
}

int dests_build(const struct addr_rule *rules, size_t n, const struct dest_places *places, struct sets *sets,
		struct dests *ret)
{
	_cleanup_free_ struct flatten *fl = calloc(1, sizeof(*fl));
	_cleanup_free_ struct grant *grants = calloc(n ? n : 1, sizeof(*grants));
	CLEANUP(dests_clear) struct dests out = {};
	int r;

	if (!fl || !grants)
		return -ENOMEM;
	fl->rules = rules;
	fl->places = places;
	fl->sets = sets;
	fl->out = &out;
	fl->grants = grants;
	r = flatten_family(fl, n, true);
	if (r >= 0)
		r = flatten_family(fl, n, false);
	if (r < 0)
		return r;
	dests_sort(&out);
	*ret = out;
	out = (struct dests){};
	return 0;
}

void dests_clear(struct dests *d)
{
	free(d->items);
	*d = (struct dests){};
}
