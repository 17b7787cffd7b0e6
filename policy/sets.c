/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A set's grants are painted onto the port line of each protocol, the strongest first (deny before allow, then the
 * earlier rule), and only where nothing is painted yet; the line is cut at every range's ends, and a union-find over
 * the cuts skips what is painted, so the cost is about the number of ranges. Runs of one colour become prefixes. The
 * prefixes of a set never overlap, so one longest-prefix look-up is the one answer.
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

struct line {
	uint32_t *cuts;
	size_t ncuts;
	uint32_t *next;		     /* union-find: the first unpainted segment at or after */
	const struct grant **colour; /* of the segment cuts[i]..cuts[i + 1] - 1 */
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

	if (x->deny != y->deny)
		return x->deny ? -1 : 1;
	return (x->rule > y->rule) - (x->rule < y->rule);
}

static int add_cut(struct line *l, uint32_t at)
{
	uint32_t *slot = array_push(&l->cuts, &l->ncuts, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	*slot = at;
	return 0;
}

static int make_cuts(struct line *l, const struct grant *grants, size_t n, uint32_t bit)
{
	size_t out = 0;

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

static void paint(struct line *l, const struct grant *g, uint32_t first, uint32_t end)
{
	const uint32_t *from = bsearch(&first, l->cuts, l->ncuts, sizeof(first), compare_u32);
	const uint32_t *to = bsearch(&end, l->cuts, l->ncuts, sizeof(end), compare_u32);

	for (uint32_t i = unpainted(l, (uint32_t)(from - l->cuts)); i < (uint32_t)(to - l->cuts);
	     i = unpainted(l, i + 1)) {
		l->colour[i] = g;
		l->next[i] = i + 1;
	}
}

static int emit_run(struct sets *s, uint8_t proto, uint32_t first, uint32_t end, const struct grant *g)
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
		r->rule.precedence = g->deny ? SLUICE_PRECEDENCE_DENY : SLUICE_PRECEDENCE_ALLOW;
		r->rule.rule = g->rule;
		r->rule.verdict = g->deny ? SLUICE_DENY : SLUICE_ALLOW;
		first += size;
	}
	return 0;
}

static int emit_line(struct sets *s, const struct line *l, uint8_t proto)
{
	for (size_t i = 0; i + 1 < l->ncuts;) {
		size_t end = i + 1;
		int r;

		while (end + 1 < l->ncuts && l->colour[end] == l->colour[i])
			end++;
		r = l->colour[i] ? emit_run(s, proto, l->cuts[i], l->cuts[end], l->colour[i]) : 0;
		if (r < 0)
			return r;
		i = end;
	}
	return 0;
}

static void line_clear(struct line *l)
{
	free(l->cuts);
	free(l->next);
	free(l->colour);
}

static int flatten_proto(struct sets *s, const struct grant *sorted, size_t n, uint32_t bit, uint8_t proto)
{
	CLEANUP(line_clear) struct line l = {};

	if (make_cuts(&l, sorted, n, bit) < 0)
		return -ENOMEM;
	if (l.ncuts == 0)
		return 0;
	l.next = calloc(l.ncuts, sizeof(*l.next));
	l.colour = calloc(l.ncuts, sizeof(*l.colour));
	if (!l.next || !l.colour)
		return -ENOMEM;
	for (uint32_t i = 0; i < l.ncuts; i++)
		l.next[i] = i;
	for (size_t i = 0; i < n; i++) {
		size_t np;
		const struct port_range *p = grant_ports(&sorted[i], &np);

		for (size_t k = 0; k < np; k++)
			if (p[k].protos & bit)
				paint(&l, &sorted[i], p[k].first, (uint32_t)p[k].last + 1);
	}
	return emit_line(s, &l, proto);
}

/* ---- sharing --------------------------------------------------------------------------------------------------- */

static bool same_rule(const struct image_rule *a, const struct image_rule *b, bool name)
{
	return a->proto == b->proto && a->port_bits == b->port_bits && a->port == b->port &&
	       a->rule.precedence == b->rule.precedence && a->rule.verdict == b->rule.verdict &&
	       (name || a->rule.rule == b->rule.rule);
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
				    (uint64_t)rules[i].proto << 32 | (uint64_t)rules[i].port_bits << 16 | rules[i].port,
				    (uint64_t)rules[i].rule.precedence << 32 | (name ? 0 : rules[i].rule.rule) };

		h = siphash24(row, sizeof(row), key);
	}
	return h;
}

static const struct set_info *find_set(const struct sets *s, const struct set_info *info, bool name)
{
	for (size_t i = 0; i < s->ninfos; i++) {
		const struct set_info *other = &s->infos[i];

		if (((other->id & SLUICE_SET_NAME) != 0) == name && same_set(s, other, info, name))
			return other;
	}
	return NULL;
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
	return 0;
}

int sets_intern(struct sets *s, const struct grant *grants, size_t n, bool name, uint32_t *ret,
		const struct set_info **ret_info)
{
	_cleanup_free_ struct grant *sorted = calloc(n ? n : 1, sizeof(*sorted));
	struct set_info info = { .first = s->nrules };
	const struct set_info *kept = NULL;

	if (!sorted)
		return -ENOMEM;
	if (n > 0) {
		memcpy(sorted, grants, n * sizeof(*sorted));
		qsort(sorted, n, sizeof(*sorted), compare_grants);
	}
	for (size_t i = 0; n > 0 && i < ARRAY_SIZE(protocols); i++)
		if (flatten_proto(s, sorted, n, protocols[i].bit, protocols[i].proto) < 0)
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
	*ret = kept ? kept->id : 0;
	if (ret_info)
		*ret_info = kept;
	return 0;
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
	*s = (struct sets){};
}
