/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "tools/bpfctl/ctl.h"
#include "tools/bpfctl/out.h"
#include "tools/bpfctl/records.h"

enum { NAME_POD, NAME_EXPIRED };

struct walk {
	const struct records *r;
	const struct sluice_endpoint *pod; /* NULL: of all */
	bool expired;
	json_t *list;
};

/* As decide.h has it: of its policy, and asked for by one that is not older. */
static bool opens_to(const struct sluice_endpoint *ep, const struct sluice_lease *lease,
		     const struct sluice_lease_slot *slot)
{
	return lease->key.policy == SLUICE_STATE_POLICY(ep->state) && slot->generation >= ep->generation;
}

static int add_lease(const void *key, const void *value, void *context)
{
	const struct sluice_lease *lease = value;
	struct walk *w = context;

	(void)key;
	for (size_t i = 0; i < SLUICE_LEASE_SLOTS; i++) {
		const struct sluice_lease_slot *slot = &lease->slots[i];

		if (!slot->set || (slot->expires <= w->r->now && !w->expired))
			continue;
		if (!w->pod || opens_to(w->pod, lease, slot))
			json_array_append_new(w->list, record_lease_slot(w->r, lease, slot));
	}
	return 0;
}

static enum ctl_exit run(const struct ctl *ctl, const struct ctl_args *args)
{
	static const struct out_column columns[] = {
		{ "NAME", "name", OUT_PLAIN },
		{ "ADDRESS", "address", OUT_PLAIN },
		{ "EXPIRES", "expires_in_seconds", OUT_AGE },
		{ "POLICY", "policy_id", OUT_ID },
		{ "SET", "set", OUT_RIGHT },
		{ "ASKED BY", "asked_by", OUT_PLAIN },
	};
	_cleanup_records_ struct records r = {};
	_cleanup_json_ json_t *list = json_array();
	struct walk w = { .r = &r, .expired = args->value[NAME_EXPIRED] != NULL, .list = list };
	const char *pod = args->value[NAME_POD];
	uint32_t id;
	int error;

	if (records_open(ctl, &r) < 0)
		return CTL_UNREACHABLE;
	if (pod && record_find_endpoint(&r, pod, &id) < 0) {
		ctl_error("no endpoint '%s'; bpfctl endpoint list shows those there are", pod);
		return CTL_UNREACHABLE;
	}
	w.pod = pod ? &pins_endpoints(r.pins, NULL)[id] : NULL;
	error = pins_each(r.pins, PIN_LEASES, add_lease, &w);
	if (error < 0) {
		ctl_error("cannot read the leases: %s", strerror(-error));
		return CTL_UNREACHABLE;
	}
	out_sort(list, "name", "address");
	if (ctl->json)
		return out_json(json_incref(list));
	out_table(stdout, columns, ARRAY_SIZE(columns), list);
	return CTL_OK;
}

static const struct ctl_opt opts[] = {
	[NAME_POD] = { 'p', "pod", "NAMESPACE/NAME", "only leases that are open to this endpoint" },
	[NAME_EXPIRED] = { 'a', "all", NULL, "expired leases too: kept while flows opened through them live" },
	{ 0 },
};

const struct ctl_command cmd_name_list = {
	.path = "name list",
	.operands = "",
	.summary = "Leases: which names opened which addresses, and for how long",
	.opts = opts,
	.run = run,
};
