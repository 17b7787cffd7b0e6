/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/trace.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "base/addr.h"
#include "base/cleanup.h"

static json_int_t number_of(const json_t *request, const char *key)
{
	return json_integer_value(json_object_get(request, key));
}

/* A number that does not fit is none that any rule has. */
static bool read_query(const json_t *request, struct trace_query *ret)
{
	const char *address = json_string_value(json_object_get(request, "address"));
	json_int_t protocol = number_of(request, "protocol"), port = number_of(request, "port");

	*ret = (struct trace_query){ .in_cluster = json_is_true(json_object_get(request, "in_cluster")),
				     .proto = (uint8_t)protocol,
				     .port = (uint16_t)port,
				     .name = json_string_value(json_object_get(request, "name")) };
	return address && addr_parse(address, &ret->remote) == 0 && protocol > 0 && protocol < IPPROTO_MAX &&
	       port >= 0 && port <= UINT16_MAX;
}

static json_t *rules_json(const struct trace_rule *rules, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < count; i++) {
		const struct trace_rule *r = &rules[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:I}", "policy", r->policy,
						      "kind", r->kind, "file", r->file, "line", (json_int_t)r->line,
						      "column", (json_int_t)r->column, "text", r->text, "action",
						      r->action, "precedence", (json_int_t)r->precedence));
	}
	return list;
}

json_t *trace_answer(struct endpoints *e, const struct endpoints_input *in, const json_t *request,
		     const char **ret_error)
{
	json_int_t id = number_of(request, "endpoint"), generation = number_of(request, "generation");
	const struct endpoint *ep =
		id > 0 && id <= UINT32_MAX ? endpoints_find(e, (uint32_t)id, (uint32_t)generation) : NULL;
	_cleanup_free_ struct trace_rule *rules = NULL;
	struct trace_query q;
	bool current = false;
	size_t count = 0;

	if (!ep) {
		*ret_error = "no such endpoint";
		return NULL;
	}
	if (!read_query(request, &q)) {
		*ret_error = "trace needs an address, a protocol and a port";
		return NULL;
	}
	if (endpoints_trace(e, in, ep, &q, &rules, &count, &current) < 0)
		return NULL;
	return json_pack("{s:b, s:o}", "current", current, "rules", rules_json(rules, count));
}
