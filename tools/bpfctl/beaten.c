/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/beaten.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tools/bpfctl/out.h"

struct search {
	struct offline *off;
	const struct subject *subject;
	const struct image_source *winner;
	json_t *found;
};

static bool is_winner(const struct search *s, const struct trace_rule *rule)
{
	const struct image_source *w = s->winner;

	return w && w->line == rule->line && w->column == rule->column && !strcmp(w->file, rule->file) &&
	       !strcmp(w->policy, rule->policy);
}

static bool is_found(const struct search *s, const struct trace_rule *rule)
{
	const json_t *o;
	size_t i;

	json_array_foreach(s->found, i, o)
	{
		if (get_number(o, "line") == rule->line && get_number(o, "column") == rule->column &&
		    !strcmp(get_text(o, "file"), rule->file))
			return true;
	}
	return false;
}

static void add_rule(struct search *s, const struct trace_rule *rule)
{
	if (is_winner(s, rule) || is_found(s, rule))
		return;
	json_array_append_new(
		s->found, json_pack("{s:o, s:o, s:o, s:I, s:I, s:o, s:s}", "policy", out_textz(rule->policy, SIZE_MAX),
				    "kind", out_textz(rule->kind, SIZE_MAX), "file", out_textz(rule->file, SIZE_MAX),
				    "line", (json_int_t)rule->line, "column", (json_int_t)rule->column, "text",
				    out_textz(rule->text, sizeof(rule->text)), "action", rule->action));
}

static int trace(struct search *s, const struct trace_query *q)
{
	struct inventory inventory = fleet_inventory(&s->off->fleet, s->subject);
	_cleanup_free_ struct trace_rule *rules = NULL;
	size_t count = 0;
	int r = compile_trace(s->off->store, s->subject, &inventory, q, &rules, &count);

	for (size_t i = 0; r >= 0 && i < count; i++)
		add_rule(s, &rules[i]);
	return r;
}

int beaten_rules(struct offline *off, const struct subject *subject, const struct explain_query *q,
		 const struct image_source *winner, json_t **ret)
{
	struct search s = { .off = off, .subject = subject, .winner = winner, .found = json_array() };
	bool icmp = q->proto == IPPROTO_ICMP || q->proto == IPPROTO_ICMPV6;
	struct trace_query query = { .remote = q->addr,
				     .proto = q->proto,
				     .port = icmp ? (uint16_t)(q->number << 8) : q->number };
	int r;

	if (q->is_name) {
		/* Rules for any address speak for a name too: those that hold 0.0.0.0 or ::. */
		query.name = q->name;
		query.remote = (struct sluice_addr){ .b = { [10] = 0xff, [11] = 0xff } };
		r = trace(&s, &query);
		query.name = NULL;
		query.remote = (struct sluice_addr){};
		r = r < 0 ? r : trace(&s, &query);
	} else {
		query.in_cluster = fleet_has_addr(&off->fleet, &q->addr);
		r = trace(&s, &query);
	}
	if (r < 0) {
		json_decref(s.found);
		return r;
	}
	*ret = s.found;
	return 0;
}
