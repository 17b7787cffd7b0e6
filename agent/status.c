/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/status.h"

#include <string.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "bpf/abi_names.h"

static json_t *resolvers_json(const struct proxy_settings *dns)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < dns->nresolvers; i++) {
		char text[ADDR_TEXT_MAX];
		bool v4 = addr_is_ipv4(&dns->resolvers[i].addr);

		json_array_append_new(list,
				      json_sprintf(v4 ? "%s:%u" : "[%s]:%u", addr_format(&dns->resolvers[i].addr, text),
						   dns->resolvers[i].port));
	}
	return list;
}

static json_t *lines_json(const char *text)
{
	json_t *list = json_array();

	while (text && *text) {
		size_t len = strcspn(text, "\n");

		json_array_append_new(list, json_stringn(text, len));
		text += len + (text[len] == '\n');
	}
	return list;
}

static json_t *losses_json(const struct status *s)
{
	struct observe_losses l;

	observe_losses(s->observe, &l);
	return json_pack("{s:I, s:I, s:I}", "events", (json_int_t)l.events, "dns_records", (json_int_t)l.dns_records,
			 "file_lines", (json_int_t)l.file_lines);
}

/* The node's settings, and the cgroups that their programs do not hold. */
static json_t *problems_json(const struct status *s)
{
	json_t *list = lines_json(s->problems);

	for (size_t i = 0; i < endpoints_count(s->endpoints); i++) {
		const struct endpoint *ep = endpoints_at(s->endpoints, i);

		/* Pods are told among the cluster's host_pods. */
		if (ep->escape[0] && !ep->wanted.uid)
			json_array_append_new(list,
					      json_sprintf("%s/%s: not enforceable: %s", ep->wanted.namespace_name,
							   ep->wanted.name, ep->escape));
	}
	if (s->pins_repaired)
		json_array_append_new(list, json_sprintf("%u pin(s) of maps or programs led to others than the agent's "
							 "and were put back; what opened them meanwhile has the "
							 "wrong ones until it starts anew",
							 s->pins_repaired));
	return list;
}

json_t *status_json(const struct status *s)
{
	double uptime = (double)((clock_now() - s->started) / NSEC_PER_MSEC) / 1000;

	return json_pack("{s:s, s:i, s:f, s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "version",
			 SLUICE_VERSION, "pid", (int)getpid(), "uptime_seconds", uptime, "config", s->config_path,
			 "policy_dir", s->policy_dir, "attach", s->kernel->attach == ATTACH_TCX ? "tcx" : "clsact",
			 "enforcement", s->audit ? "audit" : "enforce", "adopted", s->kernel->adopted, "compiled",
			 (json_int_t)publisher_count(s->publisher), "not_published",
			 (json_int_t)publisher_failures(s->publisher), "quarantined", (json_int_t)s->quarantined,
			 "resolvers", resolvers_json(s->proxy), "losses", losses_json(s), "interfaces",
			 discover_json(s->discover), "problems", problems_json(s));
}

static const char *phase_name(enum endpoint_phase phase)
{
	switch (phase) {
	case ENDPOINT_WAITING:
		return "waiting";
	case ENDPOINT_ADOPTED:
		return "adopted";
	case ENDPOINT_READY:
		return "ready";
	}
	return "unknown";
}

json_t *status_endpoints_json(const struct endpoints *e)
{
	json_t *list = json_array();

	for (size_t i = 0; i < endpoints_count(e); i++) {
		const struct endpoint *ep = endpoints_at(e, i);

		json_t *o =
			json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "namespace", ep->wanted.namespace_name, "name",
				  ep->wanted.name, "interface", ep->wanted.interface, "phase", phase_name(ep->phase),
				  "id", (json_int_t)ep->id, "generation", (json_int_t)ep->generation, "policy_id",
				  (json_int_t)(ep->policy ? ep->policy->id : 0));

		if (ep->wanted.cgroup)
			json_object_set_new(o, "cgroup", json_string(ep->wanted.cgroup));
		if (ep->escape[0])
			json_object_set_new(o, "not_enforceable", json_string(ep->escape));
		json_array_append_new(list, o);
	}
	return list;
}
