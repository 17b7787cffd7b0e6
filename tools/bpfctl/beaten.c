/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/beaten.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api.h"
#include "base/addr.h"
#include "base/cleanup.h"
#include "tools/bpfctl/client.h"
#include "tools/bpfctl/out.h"

struct search {
	const struct beaten_source *source;
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
	_cleanup_free_ struct trace_rule *rules = NULL;
	size_t count = 0;
	int r = s->source->trace(s->source->context, q, &rules, &count);

	for (size_t i = 0; r >= 0 && i < count; i++)
		add_rule(s, &rules[i]);
	return r;
}

int beaten_rules(const struct beaten_source *source, const struct explain_query *q, const struct image_source *winner,
		 json_t **ret)
{
	struct search s = { .source = source, .winner = winner, .found = json_array() };
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
		query.in_cluster = source->in_cluster;
		r = trace(&s, &query);
	}
	if (r < 0) {
		json_decref(s.found);
		return r;
	}
	*ret = s.found;
	return 0;
}

/* ---- from files ---------------------------------------------------------------------------------------------------- */

static int trace_files(void *context, const struct trace_query *q, struct trace_rule **ret, size_t *ret_count)
{
	const struct beaten_files *files = context;
	struct inventory inventory = fleet_inventory(&files->off->fleet, files->subject);

	return compile_trace(files->off->store, files->subject, &inventory, q, ret, ret_count);
}

struct beaten_source beaten_from_files(struct beaten_files *files, const struct explain_query *q)
{
	return (struct beaten_source){ .trace = trace_files,
				       .context = files,
				       .in_cluster = !q->is_name && fleet_has_addr(&files->off->fleet, &q->addr) };
}

/* ---- from the agent ------------------------------------------------------------------------------------------------ */

static json_t *trace_request(const struct beaten_agent *a, const struct trace_query *q)
{
	char text[ADDR_TEXT_MAX];
	json_t *o = json_pack("{s:s, s:I, s:I, s:s, s:b, s:i, s:i}", "method", API_METHOD_TRACE, "endpoint",
			      (json_int_t)a->endpoint, "generation", (json_int_t)a->generation, "address",
			      addr_format(&q->remote, text), "in_cluster", q->in_cluster, "protocol", q->proto, "port",
			      q->port);

	if (o && q->name)
		json_object_set_new(o, "name", json_string(q->name));
	return o;
}

static void read_rule(const json_t *o, struct trace_rule *ret)
{
	*ret = (struct trace_rule){ .policy = get_text(o, "policy"),
				    .kind = get_text(o, "kind"),
				    .file = get_text(o, "file"),
				    .line = (uint32_t)get_number(o, "line"),
				    .column = (uint32_t)get_number(o, "column"),
				    .action = get_text(o, "action") };
	snprintf(ret->text, sizeof(ret->text), "%s", get_text(o, "text"));
}

static int trace_agent(void *context, const struct trace_query *q, struct trace_rule **ret, size_t *ret_count)
{
	struct beaten_agent *a = context;
	const json_t *rules;
	int r;

	json_decref(a->answer);
	a->answer = NULL;
	r = client_ask(a->socket, trace_request(a, q), &a->answer);
	if (r < 0)
		return r;
	a->is_current = a->is_current && get_flag(a->answer, "current");
	rules = json_object_get(a->answer, "rules");
	*ret = calloc(json_array_size(rules) + 1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	*ret_count = json_array_size(rules);
	for (size_t i = 0; i < *ret_count; i++)
		read_rule(json_array_get(rules, i), &(*ret)[i]);
	return 0;
}

struct beaten_source beaten_from_agent(struct beaten_agent *agent, bool in_cluster)
{
	agent->is_current = true;
	return (struct beaten_source){ .trace = trace_agent, .context = agent, .in_cluster = in_cluster };
}
