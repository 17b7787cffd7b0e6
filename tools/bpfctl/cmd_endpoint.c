/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <string.h>

#include "agent/api.h"
#include "base/cleanup.h"
#include "bpf/abi_names.h"
#include "tools/bpfctl/client.h"
#include "tools/bpfctl/ctl.h"
#include "tools/bpfctl/out.h"
#include "tools/bpfctl/records.h"

static json_t *build_list(const struct records *r, const char *mode)
{
	uint32_t count = 0;
	const struct sluice_endpoint *ep = pins_endpoints(r->pins, &count);
	json_t *list = json_array();

	for (uint32_t i = 0; list && ep && i < count; i++) {
		json_t *o = ep[i].generation ? record_endpoint_counters(r, i) : NULL;

		if (o && (!mode || !strcmp(mode, get_text(o, "mode"))))
			json_array_append_new(list, o);
		else
			json_decref(o);
	}
	return list;
}

static json_t *find_pod(json_t *list, const json_t *pod)
{
	json_t *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		if (!strcmp(get_text(o, "namespace"), get_text(pod, "namespace")) &&
		    !strcmp(get_text(o, "name"), get_text(pod, "name")))
			return o;
	}
	return NULL;
}

/* Host-network pods that are no endpoints, and why those that are one are not held by it: what only the agent knows. */
static void add_host_pods(const struct ctl *ctl, json_t *list, const char *mode)
{
	_cleanup_json_ json_t *status = NULL;
	json_t *pod;
	size_t i;

	if (client_call(ctl->socket, API_METHOD_STATUS, &status) < 0)
		return;
	json_array_foreach(json_object_get(json_object_get(status, "kubernetes"), "host_pods"), i, pod)
	{
		const char *state = get_text(pod, "state");
		json_t *o = find_pod(list, pod);

		if (!strcmp(state, API_HOST_POD_ENFORCED))
			continue;
		if (!o && !mode && json_array_append_new(list, o = json_object()) == 0) {
			json_object_set(o, "namespace", json_object_get(pod, "namespace"));
			json_object_set(o, "name", json_object_get(pod, "name"));
			json_object_set_new(o, "mode", json_string("none"));
		}
		if (o)
			json_object_set_new(o, "reason", json_sprintf("%s: %s", state, get_text(pod, "reason")));
	}
}

enum { LIST_MODE };

static bool is_mode(const char *text)
{
	for (enum sluice_mode mode = SLUICE_MODE_QUARANTINE; mode <= SLUICE_MODE_OPEN; mode++) {
		if (!strcmp(text, mode_name(mode)))
			return true;
	}
	return false;
}

static enum ctl_exit run_list(const struct ctl *ctl, const struct ctl_args *args)
{
	static const struct out_column columns[] = {
		{ "ID", "id", OUT_RIGHT },
		{ "NAMESPACE", "namespace", OUT_PLAIN },
		{ "NAME", "name", OUT_PLAIN },
		{ "INTERFACE", "interface", OUT_PLAIN },
		{ "MODE", "mode", OUT_PLAIN },
		{ "ATTACHED", "attached", OUT_PLAIN },
		{ "DNS", "dns_proxy", OUT_PLAIN },
		{ "POLICY", "policy_id", OUT_ID },
		{ "FLOWS", "flows", OUT_RIGHT },
		{ "DROPPED", "dropped", OUT_RIGHT },
		{ "ADDRESSES", "addresses", OUT_PLAIN },
		{ "POLICIES", "policies", OUT_PLAIN },
		{ "REASON", "reason", OUT_PLAIN },
	};
	_cleanup_records_ struct records r = {};
	_cleanup_json_ json_t *list = NULL;

	if (args->value[LIST_MODE] && !is_mode(args->value[LIST_MODE]))
		return ctl_usage("--mode '%s' is none of quarantine, enforce, audit, open", args->value[LIST_MODE]);
	if (records_open(ctl, &r) < 0)
		return CTL_UNREACHABLE;
	list = build_list(&r, args->value[LIST_MODE]);
	add_host_pods(ctl, list, args->value[LIST_MODE]);
	if (ctl->json)
		return out_json(json_incref(list));
	out_table(stdout, columns, ARRAY_SIZE(columns), list);
	return CTL_OK;
}

static void print_endpoint(const json_t *o)
{
	static const struct {
		const char *title;
		const char *key;
	} lines[] = {
		{ "endpoint", "id" },
		{ "generation", "generation" },
		{ "namespace", "namespace" },
		{ "name", "name" },
		{ "interface", "interface" },
		{ "ifindex", "ifindex" },
		{ "addresses", "addresses" },
		{ "mode", "mode" },
		{ "because", "reason" },
		{ "programs attached", "attached" },
		{ "DNS through proxy", "dns_proxy" },
		{ "policies", "policies" },
		{ "policy id", "policy_id" },
		{ "epoch", "epoch" },
		{ "live flows", "flows" },
		{ "remembered denials", "tombstones" },
		{ "queries to the proxy", "dns_assigned" },
		{ "passed under audit", "audited" },
		{ "bytes dropped", "dropped_bytes" },
		{ "events suppressed", "events_suppressed" },
		{ "denials answered", "rejected" },
		{ "answers suppressed", "rejects_suppressed" },
	};
	const char *reason;
	json_t *count;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		out_field(stdout, lines[i].title, json_object_get(o, lines[i].key));
	printf("%-22s%lld\n", "packets dropped", (long long)get_number(o, "dropped"));
	json_object_foreach(json_object_get(o, "drops"), reason, count)
		printf("  %-42s%lld\n", reason, (long long)json_integer_value(count));
}

static enum ctl_exit run_get(const struct ctl *ctl, const struct ctl_args *args)
{
	_cleanup_records_ struct records r = {};
	_cleanup_json_ json_t *o = NULL;
	uint32_t id;

	if (records_open(ctl, &r) < 0)
		return CTL_UNREACHABLE;
	if (record_find_endpoint(&r, args->operand[0], &id) < 0) {
		ctl_error("no endpoint '%s'; bpfctl endpoint list shows those there are", args->operand[0]);
		return CTL_UNREACHABLE;
	}
	o = record_endpoint_counters(&r, id);
	if (ctl->json)
		return out_json(json_incref(o));
	print_endpoint(o);
	return CTL_OK;
}

static const struct ctl_opt list_opts[] = {
	[LIST_MODE] = { 'm', "mode", "MODE", "only endpoints in this mode (quarantine, enforce, audit, open)" },
	{ 0 },
};

const struct ctl_command cmd_endpoint_list = {
	.path = "endpoint list",
	.operands = "",
	.summary = "Endpoints with mode, policy, attachment and counters",
	.opts = list_opts,
	.run = run_list,
};

const struct ctl_command cmd_endpoint_get = {
	.path = "endpoint get",
	.operands = "NAMESPACE/NAME|ID|INTERFACE",
	.summary = "One endpoint in full, with its drops by reason",
	.min_operands = 1,
	.max_operands = 1,
	.run = run_get,
};
