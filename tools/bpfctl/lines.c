/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/lines.h"

#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/strbuf.h"
#include "tools/bpfctl/out.h"

const char *line_verdict(const char *text)
{
	static const char *const words[][2] = {
		{ "dropped", "DROPPED" },   { "denied", "DROPPED" }, { "forwarded", "FORWARDED" },
		{ "allowed", "FORWARDED" }, { "audit", "AUDIT" },    { "redirected", "REDIRECTED" },
		{ "error", "ERROR" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!strcasecmp(words[i][0], text))
			return words[i][1];
	}
	return NULL;
}

/* "namespace/pod" of one end of a flow into a new string; "" when it is no pod. */
static char *end_pod(const json_t *flow, const char *end)
{
	const json_t *o = json_object_get(flow, end);
	struct strbuf b = {};

	if (get_text(o, "pod_name")[0])
		strbuf_addf(&b, "%s%s%s", get_text(o, "namespace"), get_text(o, "namespace")[0] ? "/" : "",
			    get_text(o, "pod_name"));
	return strbuf_take(&b);
}

bool line_matches(const json_t *line, const struct line_filter *filter)
{
	const json_t *flow = json_object_get(line, "flow");
	_cleanup_free_ char *source = end_pod(flow, "source"), *destination = end_pod(flow, "destination");

	if (filter->verdict && strcmp(get_text(flow, "verdict"), filter->verdict))
		return false;
	return !filter->pod || (source && !strcmp(source, filter->pod)) ||
	       (destination && !strcmp(destination, filter->pod));
}

/* ---- for people --------------------------------------------------------------------------------------------------- */

static const char *first_text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_array_get(json_object_get(object, key), 0));

	return s ? s : "";
}

/* The pod's name, else the address; an address that a name led to shows both. */
static void add_end(struct strbuf *b, const json_t *flow, const char *end)
{
	const json_t *ip = json_object_get(flow, "IP");
	_cleanup_free_ char *pod = end_pod(flow, end);
	const char *name = !strcmp(end, "destination") ? first_text(flow, "destination_names") : "";
	const char *address = get_text(ip, end);

	strbuf_adds(b, pod && pod[0] ? pod : address[0] ? address : "?");
	if (name[0])
		strbuf_addf(b, " (%s)", name);
}

static void add_ports(struct strbuf *b, const json_t *flow)
{
	const char *proto;
	json_t *l4;

	json_object_foreach(json_object_get(flow, "l4"), proto, l4)
	{
		if (json_object_get(l4, "destination_port"))
			strbuf_addf(b, " %lld/%s", (long long)get_number(l4, "destination_port"), proto);
		else if (json_object_get(l4, "type"))
			strbuf_addf(b, " type %lld/%s", (long long)get_number(l4, "type"), proto);
		else
			strbuf_addf(b, " %s", proto);
	}
}

static void add_dns(struct strbuf *b, const json_t *flow)
{
	const json_t *dns = json_object_get(json_object_get(flow, "l7"), "dns");
	const json_t *ip;
	size_t i;

	if (!dns)
		return;
	strbuf_addf(b, "  DNS %s %s", first_text(dns, "qtypes"), get_text(dns, "query"));
	json_array_foreach(json_object_get(dns, "ips"), i, ip)
		strbuf_addf(b, "%s%s", i ? "," : " = ", json_string_value(ip));
}

/* Who decided: Hubble's lists of policies, whichever the line has. */
static void add_policy(struct strbuf *b, const json_t *flow)
{
	static const char *const lists[] = { "egress_allowed_by", "egress_denied_by" };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		const json_t *policy = json_array_get(json_object_get(flow, lists[i]), 0);

		if (policy)
			strbuf_addf(b, "  by %s%s%s", get_text(policy, "namespace"),
				    get_text(policy, "namespace")[0] ? "/" : "", get_text(policy, "name"));
	}
}

static const char *line_time(const json_t *line)
{
	const char *time = get_text(line, "time");

	return time[0] ? time : get_text(json_object_get(line, "flow"), "time");
}

void line_print(FILE *f, const json_t *line)
{
	const json_t *flow = json_object_get(line, "flow");
	_cleanup_free_ char *text = NULL;
	struct strbuf b = {};

	strbuf_addf(&b, "%s  %-9s  ", line_time(line), get_text(flow, "verdict"));
	add_end(&b, flow, "source");
	strbuf_adds(&b, " -> ");
	add_end(&b, flow, "destination");
	add_ports(&b, flow);
	add_dns(&b, flow);
	/* Words first: Hubble's enum has none for most of what is dropped here. */
	if (get_text(flow, "Summary")[0])
		strbuf_addf(&b, "  %s", get_text(flow, "Summary"));
	else if (get_text(flow, "drop_reason_desc")[0])
		strbuf_addf(&b, "  %s", get_text(flow, "drop_reason_desc"));
	add_policy(&b, flow);
	text = strbuf_take(&b);
	if (text) {
		/* The agent's text is shown on a terminal: no control characters. */
		_cleanup_json_ json_t *clean = out_textz(text, SIZE_MAX);

		fprintf(f, "%s\n", json_string_value(clean));
	}
}
