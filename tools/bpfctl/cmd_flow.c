/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "tools/bpfctl/ctl.h"
#include "tools/bpfctl/out.h"
#include "tools/bpfctl/records.h"

enum { FLOW_POD, FLOW_ALL };

struct walk {
	const struct records *r;
	const char *pod;
	bool all;
	json_t *list;
};

/* The columns that people read and JSON has in parts. */
static void add_columns(json_t *o)
{
	const char *name = get_text(o, "name");
	const json_t *source = json_object_get(o, "rule_source");

	json_object_set_new(o, "to",
			    json_sprintf(strchr(get_text(o, "remote"), ':') ? "[%s]:%d" : "%s:%d",
					 get_text(o, "remote"), (int)get_number(o, "remote_port")));
	json_object_set_new(o, "whom", json_string(name));
	json_object_set_new(o, "why",
			    json_is_object(source)
				    ? json_sprintf("%s: %s", get_text(source, "policy"), get_text(source, "text"))
				    : json_string(""));
}

static int add_flow(const void *key, const void *value, void *context)
{
	const struct sluice_flow *flow = value;
	struct walk *w = context;
	json_t *o;

	(void)key;
	if (flow->origin == SLUICE_ORIGIN_TOMBSTONE && !w->all)
		return 0;
	o = record_flow(w->r, flow);
	if (w->pod && strcmp(w->pod, get_text(o, "pod")))
		json_decref(o);
	else
		json_array_append_new(w->list, o);
	return 0;
}

static void print_flows(const json_t *list)
{
	static const struct out_column columns[] = {
		{ "POD", "pod", OUT_PLAIN },	      { "PROTO", "protocol", OUT_PLAIN },
		{ "LPORT", "local_port", OUT_RIGHT }, { "REMOTE", "to", OUT_PLAIN },
		{ "NAME", "whom", OUT_PLAIN },	      { "ORIGIN", "origin", OUT_PLAIN },
		{ "AGE", "age_seconds", OUT_AGE },    { "IDLE", "idle_seconds", OUT_AGE },
		{ "TX", "tx_bytes", OUT_BYTES },      { "RX", "rx_bytes", OUT_BYTES },
		{ "RULE", "why", OUT_PLAIN },
	};
	json_t *o;
	size_t i;

	json_array_foreach(list, i, o) add_columns(o);
	out_table(stdout, columns, ARRAY_SIZE(columns), list);
}

static enum ctl_exit run(const struct ctl *ctl, const struct ctl_args *args)
{
	_cleanup_records_ struct records r = {};
	_cleanup_json_ json_t *list = json_array();
	struct walk w = { .r = &r, .pod = args->value[FLOW_POD], .all = args->value[FLOW_ALL] != NULL, .list = list };
	char pod[RECORD_POD_MAX];
	uint32_t id;
	int error;

	if (records_open(ctl, &r) < 0)
		return CTL_UNREACHABLE;
	if (w.pod && record_find_endpoint(&r, w.pod, &id) < 0) {
		ctl_error("no endpoint '%s'; bpfctl endpoint list shows those there are", w.pod);
		return CTL_UNREACHABLE;
	}
	if (w.pod)
		w.pod = record_pod(&r, id, pins_endpoints(r.pins, NULL)[id].generation, pod);
	error = pins_each(r.pins, PIN_FLOWS, add_flow, &w);
	if (error < 0) {
		ctl_error("cannot read the flows: %s", strerror(-error));
		return CTL_UNREACHABLE;
	}
	out_sort(list, "pod", "remote");
	if (ctl->json)
		return out_json(json_incref(list));
	print_flows(list);
	return CTL_OK;
}

static const struct ctl_opt opts[] = {
	[FLOW_POD] = { 'p', "pod", "NAMESPACE/NAME", "only this endpoint's flows" },
	[FLOW_ALL] = { 'a', "all", NULL, "remembered denials (tombstones) too" },
	{ 0 },
};

const struct ctl_command cmd_flow_list = {
	.path = "flow list",
	.operands = "",
	.summary = "Live flows with the name and the rule that admitted them",
	.opts = opts,
	.run = run,
};
