/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "bpf/abi_names.h"
#include "tools/bpfctl/ctl.h"
#include "tools/bpfctl/events.h"
#include "tools/bpfctl/out.h"
#include "tools/bpfctl/records.h"
#include "tools/bpfctl/tables.h"

static enum ctl_exit run_list(const struct ctl *ctl, const struct ctl_args *args)
{
	static const struct out_column columns[] = {
		{ "NAME", "name", OUT_PLAIN },
		{ "USED", "used", OUT_RIGHT },
		{ "MAX", "max", OUT_RIGHT },
		{ "WHAT", "what", OUT_PLAIN },
	};
	_cleanup_records_ struct records r = {};
	_cleanup_json_ json_t *list = NULL;

	(void)args;
	if (records_open(ctl, &r) < 0)
		return CTL_UNREACHABLE;
	list = tables_json(r.pins);
	if (ctl->json)
		return out_json(json_incref(list));
	out_table(stdout, columns, ARRAY_SIZE(columns), list);
	return CTL_OK;
}

struct walk {
	const struct records *r;
	enum pin pin;
	json_t *list;
};

/* What was never written is no element to show. */
static bool is_blank(enum pin pin, uint32_t index, const void *value)
{
	if (pin == PIN_ENDPOINTS)
		return ((const struct sluice_endpoint *)value)->generation == 0;
	if (pin == PIN_LABELS)
		return ((const struct sluice_label *)value)->generation == 0;
	if (pin == PIN_LEASE_LINES)
		return ((const struct sluice_lease_line *)value)->key.policy == 0;
	if (pin == PIN_LEASE_USE)
		return *(const uint64_t *)value == 0;
	if (pin == PIN_DNS_LOG)
		return index > 0 && ((const struct sluice_dns_record *)value)->seq == 0;
	return false;
}

static int add_element(const void *key, const void *value, void *context)
{
	struct walk *w = context;

	if (is_blank(w->pin, *(const uint32_t *)key, value))
		return 0;
	if (w->pin == PIN_RUNTIME) {
		uint32_t count = 0, id = *(const uint32_t *)key;
		const struct sluice_endpoint *ep = pins_endpoints(w->r->pins, &count);

		if (!ep || id >= count || ep[id].generation == 0)
			return 0;
	}
	json_array_append_new(w->list, record_element(w->r, w->pin, key, value));
	return 0;
}

static int dump_totals(struct records *r, json_t *list)
{
	__u64 totals[SLUICE_TOTAL_MAX];
	json_t *o;
	int error = pins_totals(r->pins, totals);

	if (error < 0)
		return error;
	o = totals_json(totals);
	json_object_set_new(o, "drops", record_drops(totals + SLUICE_TOTAL_DROPS, NULL));
	json_array_append_new(list, o);
	return 0;
}

static int dump_sockets(struct records *r, json_t *list)
{
	static const char *const names[SLUICE_SOCK_MAX] = { "udp4", "udp6", "tcp4", "tcp6" };

	for (uint32_t i = 0; i < SLUICE_SOCK_MAX; i++) {
		uint64_t cookie = 0;
		int error = pins_lookup(r->pins, PIN_DNS_SOCKETS, &i, &cookie);

		if (error < 0 && error != -ENOENT)
			return error;
		json_array_append_new(list, json_pack("{s:s, s:b, s:I}", "socket", names[i], "present", error == 0,
						      "cookie", (json_int_t)cookie));
	}
	return 0;
}

static int add_event(const struct sluice_event *event, void *context)
{
	struct walk *w = context;

	json_array_append_new(w->list, event_json(w->r, event));
	return 0;
}

static int dump(struct records *r, enum pin pin, json_t *list)
{
	struct walk w = { .r = r, .pin = pin, .list = list };

	if (pin == PIN_TOTALS)
		return dump_totals(r, list);
	if (pin == PIN_DNS_SOCKETS)
		return dump_sockets(r, list);
	if (pin == PIN_EVENTS)
		return events_peek(r->pins, add_event, &w);
	return pins_each(r->pins, pin, add_element, &w);
}

static enum ctl_exit run_dump(const struct ctl *ctl, const struct ctl_args *args)
{
	_cleanup_records_ struct records r = {};
	_cleanup_json_ json_t *list = json_array();
	enum pin pin = pin_find(args->operand[0]);
	int error;
	json_t *o;
	size_t i;

	if (pin == PIN_MAX)
		return ctl_usage("no map '%s'; bpfctl map list names them", args->operand[0]);
	if (records_open(ctl, &r) < 0)
		return CTL_UNREACHABLE;
	error = dump(&r, pin, list);
	if (error < 0) {
		ctl_error("cannot read the map %s: %s", args->operand[0], strerror(-error));
		return CTL_UNREACHABLE;
	}
	if (ctl->json)
		return out_json(json_incref(list));
	json_array_foreach(list, i, o) out_flat(stdout, o);
	return CTL_OK;
}

const struct ctl_command cmd_map_list = {
	.path = "map list",
	.operands = "",
	.summary = "The pinned maps with their fill",
	.run = run_list,
};

const struct ctl_command cmd_map_dump = {
	.path = "map dump",
	.operands = "NAME",
	.summary = "Every element of one map, decoded",
	.min_operands = 1,
	.max_operands = 1,
	.run = run_dump,
};
