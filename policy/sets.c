/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A set's grants are painted onto the port line of each protocol, the strongest first, and only where nothing is
 * painted yet; the line is cut at every range's ends, and a union-find over the cuts skips what is painted, so the cost
 * is about the number of ranges. Runs of one colour become prefixes. The prefixes of a set never overlap, so one
 * longest-prefix look-up is the one answer.
 *
 * Tiers come one after the other. Where a tier's word is Pass the paint is taken off again before the next tier; the
 * final rule remembers it, because name rules between the Pass and the next tier must not speak there either.
 *
 * Where policies tie that are ordered lists each, every one is painted on a line of its own and the lines are joined,
 * deny before allow before pass. One number per segment then has to stand against the names of that level. That is exact
 * as long as one of the tied lists has names. Where several have (upstream: undefined), a Deny or a Pass that one of them
 * has for the address comes before all names of the level.
 *
 * Equal sets share an id. Sets of names are compared without the rule they come from: two policies that open the same
 * ports for a name need one lease slot, not two; the first rule stands for them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/siphash.h"
#include "policy/array.h"
#include "policy/build.h"

#define PORTS 65536u

static const struct {
	uint32_t bit;
	uint8_t proto;
} protocols[] = {
	{ PROTO_ICMP, IPPROTO_ICMP },	  { PROTO_TCP, IPPROTO_TCP },	{ PROTO_UDP, IPPROTO_UDP },
	{ PROTO_ICMPV6, IPPROTO_ICMPV6 }, { PROTO_SCTP, IPPROTO_SCTP },
};

struct paint {
	const struct grant *grant; /* NULL: bare */
	uint32_t precedence;
	uint16_t pass; /* see struct sluice_rule */
};

struct line {
	uint32_t *cuts;
	size_t ncuts;
	uint32_t *next;	      /* union-find: the first unpainted segment at or after */
	struct paint *colour; /* of the segment cuts[i]..cuts[i + 1] - 1 */
};

static const struct port_range every_port = { .protos = PROTO_ALL, .first = 0, .last = UINT16_MAX };

static const struct port_range *grant_ports(const struct grant *g, size_t *ret_n)
{
	*ret_n = g->nports ? g->nports : 1;
	return g->nports ? g->ports : &every_port;
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int compare_grants(const void *a, const void *b)
{
	const struct grant *x = a, *y = b;

	if (x->rank.level != y->rank.level)
		return x->rank.level > y->rank.level ? -1 : 1;
	if (x->rank.group != y->rank.group)
		return x->rank.group < y->rank.group ? -1 : 1;
	if (x->rank.order != y->rank.order)
		return x->rank.order < y->rank.order ? -1 : 1;
	if (x->rule != y->rule)
		return x->rule < y->rule ? -1 : 1;
	/* A Pass denies where it is not sure (lower.c). */
	if (x->rank.action != y->rank.action)
		return x->rank.action < y->rank.action ? -1 : 1;
	if (x->ports != y->ports)
		return x->ports < y->ports ? -1 : 1;
	return (x->nports > y->nports) - (x->nports < y->nports);
}

static int add_cut(struct line *l, uint32_t at)
{
	uint32_t *slot = array_push(&l->cuts, &l->ncuts, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	*slot = at;
	return 0;
}

static int make_cuts(struct line *l, const struct grant *grants, size_t n, uint32_t bit, bool whole)
{
	size_t out = 0;

	if (whole && (add_cut(l, 0) < 0 || add_cut(l, PORTS) < 0))
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		size_t np;
		const struct port_range *p = grant_ports(&grants[i], &np);

		for (size_t k = 0; k < np; k++)
			if ((p[k].protos & bit) &&
			    (add_cut(l, p[k].first) < 0 || add_cut(l, (uint32_t)p[k].last + 1) < 0))
				return -ENOMEM;
	}
	if (l->ncuts == 0)
		return 0;
	qsort(l->cuts, l->ncuts, sizeof(*l->cuts), compare_u32);
	for (size_t i = 0; i < l->ncuts; i++)
		if (i == 0 || l->cuts[i] != l->cuts[out - 1])
			l->cuts[out++] = l->cuts[i];
	l->ncuts = out;
	return 0;
}

static uint32_t unpainted(struct line *l, uint32_t i)
{
	while (l->next[i] != i) {
		l->next[i] = l->next[l->next[i]];
		i = l->next[i];
	}
	return i;
}

/* The precedence with which a list's word stands against the names of its level. */
static uint32_t against_names(const struct grant *g)
{
	const struct rank *r = &g->rank;

	if (r->names == GROUP_NONE || r->names == r->group || r->action == ACTION_ALLOW)
		return r->precedence;
	if (r->action == ACTION_DENY || r->names == GROUP_MANY)
		return r->level | SLUICE_PRECEDENCE_SUB;
	return r->level;
}

static void paint(struct line *l, const struct grant *g, uint32_t first, uint32_t end)
{
	const uint32_t *from = bsearch(&first, l->cuts, l->ncuts, sizeof(first), compare_u32);
	const uint32_t *to = bsearch(&end, l->cuts, l->ncuts, sizeof(end), compare_u32);

	for (uint32_t i = unpainted(l, (uint32_t)(from - l->cuts)); i < (uint32_t)(to - l->cuts);
	     i = unpainted(l, i + 1)) {
		l->colour[i].grant = g;
		l->colour[i].precedence = against_names(g);
		l->next[i] = i + 1;
	}
}

static void paint_run(struct line *l, const struct grant *grants, size_t n, uint32_t bit)
{
	for (size_t i = 0; i < n; i++) {
		size_t np;
		const struct port_range *p = grant_ports(&grants[i], &np);

		for (size_t k = 0; k < np; k++)
			if (p[k].protos & bit)
				paint(l, &grants[i], p[k].first, (uint32_t)p[k].last + 1);
	}
}

static void reset_next(struct line *l)
{
	for (uint32_t i = (uint32_t)l->ncuts; i-- > 0;)
		l->next[i] = l->colour[i].grant ? i + 1 : i;
}

/* ---- lists that tie ---------------------------------------------------------------------------------------------- */

static int strength(enum action action)
{
	switch (action) {
	case ACTION_DENY:
		return 3;
	case ACTION_ALLOW:
		return 2;
	case ACTION_PASS:
		return 1;
	}
	return 0;
}

static void join(struct paint *to, const struct paint *from)
{
	int order = to->grant ? strength(from->grant->rank.action) - strength(to->grant->rank.action) : 1;

	if (order < 0)
		return;
	if (order > 0)
		to->grant = from->grant;
	if (order > 0 || from->precedence > to->precedence)
		to->precedence = from->precedence;
}

static void line_clear(struct line *l)
{
	free(l->cuts);
	free(l->next);
	free(l->colour);
}

static int line_alloc(struct line *l)
{
	l->next = calloc(l->ncuts, sizeof(*l->next));
	l->colour = calloc(l->ncuts, sizeof(*l->colour));
	if (!l->next || !l->colour)
		return -ENOMEM;
	reset_next(l);
	return 0;
}

static size_t group_run(const struct grant *grants, size_t n)
{
	size_t end = 1;

	while (end < n && grants[end].rank.group == grants[0].rank.group)
		end++;
	return end;
}

static int paint_tied(struct line *l, const struct grant *grants, size_t n, uint32_t bit)
{
	CLEANUP(line_clear) struct line joined = { .ncuts = l->ncuts };

	if (line_alloc(&joined) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < n;) {
		CLEANUP(line_clear) struct line own = { .ncuts = l->ncuts };
		size_t run = group_run(grants + i, n - i);

		own.cuts = malloc(l->ncuts * sizeof(*l->cuts));
		if (!own.cuts || line_alloc(&own) < 0)
			return -ENOMEM;
		memcpy(own.cuts, l->cuts, l->ncuts * sizeof(*l->cuts));
		paint_run(&own, grants + i, run, bit);
		for (size_t k = 0; k < l->ncuts; k++)
			if (own.colour[k].grant)
				join(&joined.colour[k], &own.colour[k]);
		i += run;
	}
	for (size_t k = 0; k < l->ncuts; k++) {
		if (l->colour[k].grant || !joined.colour[k].grant)
			continue;
		l->colour[k].grant = joined.colour[k].grant;
		l->colour[k].precedence = joined.colour[k].precedence;
	}
	reset_next(l);
	return 0;
}

/* ---- tiers ------------------------------------------------------------------------------------------------------- */

static enum tier tier_of(uint32_t level)
{
	if (level >= SLUICE_PRECEDENCE_ADMIN)
		return TIER_ADMIN;
	return level >= SLUICE_PRECEDENCE_ALLOW ? TIER_NAMESPACE : TIER_BASELINE;
}

static int paint_levels(struct line *l, const struct grant *grants, size_t n, uint32_t bit)
{
	for (size_t i = 0; i < n;) {
		size_t end = i + 1;

		while (end < n && grants[end].rank.level == grants[i].rank.level)
			end++;
		if (group_run(grants + i, end - i) == end - i)
			paint_run(l, grants + i, end - i, bit);
		else if (paint_tied(l, grants + i, end - i, bit) < 0)
			return -ENOMEM;
		i = end;
	}
	return 0;
}

/* What passed is bare again for the tier below. */
static void lift_passes(struct line *l, enum tier tier)
{
	for (size_t i = 0; i < l->ncuts; i++) {
		struct paint *c = &l->colour[i];

		if (!c->grant || c->grant->rank.action != ACTION_PASS)
			continue;
		c->grant = NULL;
		if (tier == TIER_ADMIN)
			c->pass = (uint16_t)(c->precedence - SLUICE_PRECEDENCE_ADMIN);
	}
	reset_next(l);
}

static bool is_default(const struct grant *g)
{
	return g->rank.level == SLUICE_PRECEDENCE_DEFAULT;
}

/* The default's own grant comes after the Baseline tier, whose Pass leads to it. */
static int paint_tiers(struct line *l, const struct grant *sorted, size_t n, uint32_t bit)
{
	for (size_t i = 0; i < n;) {
		enum tier tier = tier_of(sorted[i].rank.level);
		size_t end = i + 1;

		while (end < n && tier_of(sorted[end].rank.level) == tier &&
		       is_default(&sorted[end]) == is_default(&sorted[i]))
			end++;
		if (paint_levels(l, sorted + i, end - i, bit) < 0)
			return -ENOMEM;
		lift_passes(l, tier);
		i = end;
	}
	return 0;
}

/* ---- prefixes of ports ------------------------------------------------------------------------------------------- */

static void fill_rule(const struct paint *c, struct sluice_rule *ret)
{
	ret->pass = c->pass;
	if (!c->grant)
		return;
	ret->precedence = c->precedence;
	ret->rule = c->grant->rule;
	ret->verdict = c->grant->rank.action == ACTION_ALLOW ? SLUICE_ALLOW : SLUICE_DENY;
}

static int emit_run(struct sets *s, uint8_t proto, uint32_t first, uint32_t end, const struct paint *c)
{
	while (first < end) {
		uint32_t size = first ? first & -first : PORTS, bits = 16;
		struct image_rule *r;

		while (size > end - first)
			size >>= 1;
		for (uint32_t n = size; n > 1; n >>= 1)
			bits--;
		r = array_push(&s->rules, &s->nrules, sizeof(*r));
		if (!r)
			return -ENOMEM;
		r->proto = proto;
		r->port_bits = (uint8_t)bits;
		r->port = htons((uint16_t)first);
		fill_rule(c, &r->rule);
		first += size;
	}
	return 0;
}

/* By what becomes of it: one rule may have several grants here, and which of them was painted first is up to malloc(). */
static bool same_paint(const struct paint *a, const struct paint *b)
{
	if (a->pass != b->pass || !a->grant != !b->grant)
		return false;
	return !a->grant || (a->precedence == b->precedence && a->grant->rule == b->grant->rule &&
			     a->grant->rank.action == b->grant->rank.action);
}

static int emit_line(struct sets *s, const struct line *l, uint8_t proto)
{
	for (size_t i = 0; i + 1 < l->ncuts;) {
		size_t end = i + 1;
		int r;

		while (end + 1 < l->ncuts && same_paint(&l->colour[end], &l->colour[i]))
			end++;
		r = l->colour[i].grant || l->colour[i].pass
			    ? emit_run(s, proto, l->cuts[i], l->cuts[end], &l->colour[i])
			    : 0;
		if (r < 0)
			return r;
		i = end;
	}
	return 0;
}

static int flatten_proto(struct sets *s, const struct grant *sorted, size_t n, enum set_kind kind, uint32_t bit,
			 uint8_t proto)
{
	CLEANUP(line_clear) struct line l = {};

	if (make_cuts(&l, sorted, n, bit, kind == SET_BARRED) < 0)
		return -ENOMEM;
	if (l.ncuts == 0)
		return 0;
	if (line_alloc(&l) < 0 || paint_tiers(&l, sorted, n, bit) < 0)
		return -ENOMEM;
	for (size_t i = 0; kind == SET_BARRED && i < l.ncuts; i++)
		l.colour[i].pass = SLUICE_PASS_NO_NAMES;
	return emit_line(s, &l, proto);
}

/* ---- tables of what is known ------------------------------------------------------------------------------------- */

/* At most half full, so that a probe ends. The caller puts everything it has into the new table. */
static bool slots_full(const struct slots *t)
{
	return (t->used + 1) * 2 > t->size;
}

static int slots_grow(struct slots *t)
{
	size_t size = t->size ? t->size * 2 : 16;
	uint32_t *items = calloc(size, sizeof(*items));

	if (!items)
		return -ENOMEM;
	free(t->items);
	*t = (struct slots){ .items = items, .size = size };
	return 0;
}

static void slots_put(struct slots *t, uint64_t hash, uint32_t value)
{
	size_t i = hash & (t->size - 1);

	while (t->items[i])
		i = (i + 1) & (t->size - 1);
	t->items[i] = value;
	t->used++;
}

/* ---- sharing --------------------------------------------------------------------------------------------------- */

static bool same_rule(const struct image_rule *a, const struct image_rule *b, bool name)
{
	return a->proto == b->proto && a->port_bits == b->port_bits && a->port == b->port &&
	       a->rule.precedence == b->rule.precedence && a->rule.verdict == b->rule.verdict &&
	       a->rule.pass == b->rule.pass && (name || a->rule.rule == b->rule.rule);
}

static bool same_set(const struct sets *s, const struct set_info *a, const struct set_info *b, bool name)
{
	if (a->hash != b->hash || a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!same_rule(&s->rules[a->first + i], &s->rules[b->first + i], name))
			return false;
	return true;
}

static uint64_t hash_rules(const struct image_rule *rules, size_t n, bool name)
{
	static const uint64_t key[2] = { 0x736c75696365, 0x73657473 };
	uint64_t h = n;

	for (size_t i = 0; i < n; i++) {
		uint64_t row[3] = { h,
				    (uint64_t)rules[i].rule.pass << 40 | (uint64_t)rules[i].proto << 32 |
					    (uint64_t)rules[i].port_bits << 16 | rules[i].port,
				    (uint64_t)rules[i].rule.precedence << 32 | (name ? 0 : rules[i].rule.rule) };

		h = siphash24(row, sizeof(row), key);
	}
	return h;
}

static const struct set_info *find_set(const struct sets *s, const struct set_info *info, bool name)
{
	const struct slots *t = &s->by_content;

	for (size_t i = t->size ? info->hash & (t->size - 1) : 0; t->size && t->items[i]; i = (i + 1) & (t->size - 1)) {
		const struct set_info *other = &s->infos[t->items[i] - 1];

		if (((other->id & SLUICE_SET_NAME) != 0) == name && same_set(s, other, info, name))
			return other;
	}
	return NULL;
}

static int index_info(struct sets *s)
{
	struct slots *t = &s->by_content;

	if (slots_full(t)) {
		if (slots_grow(t) < 0)
			return -ENOMEM;
		for (size_t i = 0; i < s->ninfos; i++)
			slots_put(t, s->infos[i].hash, (uint32_t)i + 1);
	} else {
		slots_put(t, s->infos[s->ninfos - 1].hash, (uint32_t)s->ninfos);
	}
	return 0;
}

static int keep_set(struct sets *s, struct set_info info, bool name, const struct set_info **ret)
{
	const struct set_info *known = find_set(s, &info, name);
	struct set_info *slot;

	if (known) {
		*ret = known;
		return 0;
	}
	slot = array_push(&s->infos, &s->ninfos, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	info.id = name ? SLUICE_SET_NAME | ++s->next_name_id : ++s->next_id;
	for (size_t i = 0; i < info.count; i++) {
		s->rules[info.first + i].set = info.id;
		info.allows = info.allows || s->rules[info.first + i].rule.verdict == SLUICE_ALLOW;
	}
	*slot = info;
	*ret = slot;
	return index_info(s);
}

static int flatten(struct sets *s, const struct grant *sorted, size_t n, enum set_kind kind,
		   const struct set_info **ret)
{
	bool name = kind == SET_NAMES;
	struct set_info info = { .first = s->nrules };
	const struct set_info *kept = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		if (flatten_proto(s, sorted, n, kind, protocols[i].bit, protocols[i].proto) < 0)
			return -ENOMEM;
	info.count = s->nrules - info.first;
	if (info.count > 0) {
		info.hash = hash_rules(s->rules + info.first, info.count, name);
		if (keep_set(s, info, name, &kept) < 0)
			return -ENOMEM;
	}
	/* A set known already is not kept twice; array_push() may then find more room than it assumes, never less. */
	if (kept && kept->first != info.first)
		s->nrules = info.first;
	*ret = kept;
	return 0;
}

/* ---- grants seen before ------------------------------------------------------------------------------------------ */

static bool same_grant(const struct grant *a, const struct grant *b)
{
	return compare_grants(a, b) == 0 && a->rank.names == b->rank.names && a->rank.action == b->rank.action &&
	       a->rank.precedence == b->rank.precedence;
}

static uint64_t hash_grants(const struct grant *grants, size_t n, enum set_kind kind)
{
	static const uint64_t key[2] = { 0x736c75696365, 0x6772616e7473 };
	uint64_t h = n << 2 | kind;

	for (size_t i = 0; i < n; i++) {
		uint64_t row[4] = { h, (uint64_t)(uintptr_t)grants[i].ports,
				    (uint64_t)grants[i].rank.precedence << 32 | grants[i].rule,
				    (uint64_t)grants[i].rank.group << 32 | grants[i].nports };

		h = siphash24(row, sizeof(row), key);
	}
	return h;
}

static const struct memo *find_memo(const struct sets *s, const struct grant *sorted, size_t n, enum set_kind kind,
				    uint64_t hash)
{
	const struct slots *t = &s->by_grants;

	for (size_t i = t->size ? hash & (t->size - 1) : 0; t->size && t->items[i]; i = (i + 1) & (t->size - 1)) {
		const struct memo *m = &s->memos[t->items[i] - 1];
		size_t k = 0;

		if (m->hash != hash || m->count != n || m->kind != kind)
			continue;
		while (k < n && same_grant(&s->memo_grants[m->first + k], &sorted[k]))
			k++;
		if (k == n)
			return m;
	}
	return NULL;
}

static int remember(struct sets *s, const struct grant *sorted, size_t n, enum set_kind kind, uint64_t hash,
		    const struct set_info *info)
{
	size_t first = s->nmemo_grants;
	struct memo *m;

	for (size_t i = 0; i < n; i++) {
		struct grant *g = array_push(&s->memo_grants, &s->nmemo_grants, sizeof(*g));

		if (!g)
			return -ENOMEM;
		*g = sorted[i];
	}
	m = array_push(&s->memos, &s->nmemos, sizeof(*m));
	if (!m)
		return -ENOMEM;
	*m = (struct memo){ .hash = hash, .first = first, .count = n, .kind = kind };
	m->info = info ? (uint32_t)(info - s->infos) + 1 : 0;
	if (!slots_full(&s->by_grants)) {
		slots_put(&s->by_grants, hash, (uint32_t)s->nmemos);
		return 0;
	}
	if (slots_grow(&s->by_grants) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < s->nmemos; i++)
		slots_put(&s->by_grants, s->memos[i].hash, (uint32_t)i + 1);
	return 0;
}

int sets_intern(struct sets *s, const struct grant *grants, size_t n, enum set_kind kind, uint32_t *ret,
		const struct set_info **ret_info)
{
	_cleanup_free_ struct grant *sorted = calloc(n ? n : 1, sizeof(*sorted));
	const struct set_info *info = NULL;
	const struct memo *known;
	bool empty = n == 0 && kind != SET_BARRED;
	uint64_t hash;

	if (!sorted)
		return -ENOMEM;
	if (n > 0) {
		memcpy(sorted, grants, n * sizeof(*sorted));
		qsort(sorted, n, sizeof(*sorted), compare_grants);
	}
	hash = hash_grants(sorted, n, kind);
	known = empty ? NULL : find_memo(s, sorted, n, kind, hash);
	if (known)
		info = known->info ? &s->infos[known->info - 1] : NULL;
	else if (!empty && (flatten(s, sorted, n, kind, &info) < 0 || remember(s, sorted, n, kind, hash, info) < 0))
		return -ENOMEM;
	*ret = info ? info->id : 0;
	if (ret_info)
		*ret_info = info;
	return 0;
}

bool sets_find(const struct sets *s, uint32_t set, uint8_t proto, uint16_t port, struct sluice_rule *ret)
{
	const struct set_info *info = NULL;

	/* Ids are given in the order of `infos`, but name sets are between them. */
	for (size_t low = 0, high = s->ninfos; low < high && !info;) {
		size_t mid = low + (high - low) / 2;

		while (mid < high && (s->infos[mid].id & SLUICE_SET_NAME))
			mid++;
		if (mid == high)
			high = low + (high - low) / 2;
		else if (s->infos[mid].id == set)
			info = &s->infos[mid];
		else if (s->infos[mid].id < set)
			low = mid + 1;
		else
			high = low + (high - low) / 2;
	}
	for (size_t i = 0; info && i < info->count; i++) {
		const struct image_rule *r = &s->rules[info->first + i];
		uint32_t size = 1u << (16 - r->port_bits);

		if (r->proto == proto && port >= ntohs(r->port) && port < ntohs(r->port) + size) {
			*ret = r->rule;
			return true;
		}
	}
	return false;
}

static int compare_rules(const void *a, const void *b)
{
	const struct image_rule *x = a, *y = b;

	if (x->set != y->set)
		return x->set < y->set ? -1 : 1;
	if (x->proto != y->proto)
		return x->proto < y->proto ? -1 : 1;
	if (x->port != y->port)
		return ntohs(x->port) < ntohs(y->port) ? -1 : 1;
	return (x->port_bits > y->port_bits) - (x->port_bits < y->port_bits);
}

void sets_sort(struct sets *s)
{
	if (s->nrules > 0)
		qsort(s->rules, s->nrules, sizeof(*s->rules), compare_rules);
}

void sets_clear(struct sets *s)
{
	free(s->rules);
	free(s->infos);
	free(s->by_content.items);
	free(s->memos);
	free(s->memo_grants);
	free(s->by_grants.items);
	*s = (struct sets){};
}
