/* SPDX-License-Identifier: Apache-2.0 */
/* Every rule that speaks for a destination, before they are flattened: what was decided, and what it beat. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "policy/compile.h"
#include "policy/lower.h"

struct trace {
	const struct lowering *lo;
	const struct trace_query *q;
	struct trace_rule *items;
	size_t count;
};

static bool speaks_for(const struct grant *g, uint8_t proto, uint16_t port)
{
	static const struct {
		uint8_t proto;
		uint32_t bit;
	} bits[] = { { IPPROTO_TCP, PROTO_TCP },
		     { IPPROTO_UDP, PROTO_UDP },
		     { IPPROTO_SCTP, PROTO_SCTP },
		     { IPPROTO_ICMP, PROTO_ICMP },
		     { IPPROTO_ICMPV6, PROTO_ICMPV6 } };
	uint32_t bit = 0;

	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		if (bits[i].proto == proto)
			bit = bits[i].bit;
	if (g->nports == 0)
		return bit != 0;
	for (size_t i = 0; i < g->nports; i++)
		if ((g->ports[i].protos & bit) && port >= g->ports[i].first && port <= g->ports[i].last)
			return true;
	return false;
}

static const char *action_word(enum action action)
{
	switch (action) {
	case ACTION_ALLOW:
		return "allow";
	case ACTION_DENY:
		return "deny";
	case ACTION_PASS:
		return "pass";
	}
	return "";
}

/* The strings of a source are the lowering's, so those that outlive it are looked up in the policies themselves. */
static const struct policy *policy_at(const struct lowering *lo, const struct fmt_source *s)
{
	for (size_t i = 0; i < lo->sel->count; i++)
		if (lo->parts.policies[i] == s->policy)
			return lo->sel->policies[i];
	return NULL;
}

static int add_trace(struct trace *t, const struct grant *g, bool by_name)
{
	const struct fmt_source *s = g->rule ? &t->lo->parts.sources[g->rule - 1] : NULL;
	const struct policy *p = s ? policy_at(t->lo, s) : NULL;
	struct trace_rule *slot;

	/* The default is no rule; a list of prefixes under one number counts once. */
	if (!p || (t->count > 0 && t->items[t->count - 1].line == s->line &&
		   t->items[t->count - 1].column == s->column && t->items[t->count - 1].policy == p->title))
		return 0;
	slot = array_push(&t->items, &t->count, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	*slot = (struct trace_rule){ .policy = p->title,
				     .kind = p->kind_name,
				     .file = p->file,
				     .line = s->line,
				     .column = s->column,
				     .action = action_word(g->rank.action),
				     .precedence = g->rank.precedence,
				     .by_name = by_name };
	snprintf(slot->text, sizeof(slot->text), "%s", t->lo->parts.strings.data + s->text);
	return 0;
}

/* An unknown ClusterIP: only who writes its address down speaks for it. */
static bool is_unknown_service(const struct trace *t)
{
	const struct inventory *inv = t->lo->index ? t->lo->index->inv : NULL;

	for (size_t i = 0; inv && !t->q->in_cluster && i < inv->nservice_cidrs; i++)
		if (prefix_contains(&inv->service_cidrs[i], &t->q->remote))
			return true;
	return false;
}

static int trace_addresses(struct trace *t)
{
	bool written = is_unknown_service(t);

	for (size_t i = 0; i < t->lo->nrules; i++) {
		const struct addr_rule *r = &t->lo->rules[i];

		if ((t->q->in_cluster ? r->inside : r->outside) && (r->written || !written) &&
		    addr_rule_meets(r, &t->q->remote) && speaks_for(&r->grant, t->q->proto, t->q->port) &&
		    add_trace(t, &r->grant, false) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int trace_names(struct trace *t)
{
	for (size_t i = 0; t->q->name && i < t->lo->nnames; i++) {
		const struct name_rule *n = &t->lo->names[i];

		if (!n->ask && name_view_matches(n->name, t->q->name, strlen(t->q->name)) &&
		    speaks_for(&n->grant, t->q->proto, t->q->port) && add_trace(t, &n->grant, true) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int compare_traces(const void *a, const void *b)
{
	const struct trace_rule *x = a, *y = b;
	int order;

	if (x->precedence != y->precedence)
		return x->precedence > y->precedence ? -1 : 1;
	order = strcmp(x->file, y->file);
	if (order == 0)
		order = (x->line > y->line) - (x->line < y->line);
	return order ? order : (x->column > y->column) - (x->column < y->column);
}

static void trace_clear(struct trace *t)
{
	free(t->items);
}

int trace_rules(const struct lowering *lo, const struct trace_query *q, struct trace_rule **ret, size_t *ret_count)
{
	CLEANUP(trace_clear) struct trace t = { .lo = lo, .q = q };
	int r = trace_addresses(&t);

	if (r >= 0)
		r = trace_names(&t);
	if (r < 0)
		return r;
	if (t.count > 1)
		qsort(t.items, t.count, sizeof(*t.items), compare_traces);
	*ret = TAKE_PTR(t.items);
	*ret_count = t.count;
	return 0;
}
