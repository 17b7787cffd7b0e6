/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/troubles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "bpf/abi.h"
#include "policy/array.h"

/* Memory ran out where a string is NULL. */
struct unplaced {
	char *namespace_name;
	char *name;
	char *uid;
	const char *why;
};

void troubles_clear(struct troubles *t)
{
	for (size_t i = 0; i < t->count; i++) {
		free(t->items[i].namespace_name);
		free(t->items[i].name);
		free(t->items[i].uid);
	}
	free(t->items);
	*t = (struct troubles){};
}

static bool is_whole(const struct unplaced *u)
{
	return u->namespace_name && u->name && u->uid;
}

void troubles_add(struct troubles *t, const struct kube_pod *pod, const char *why)
{
	struct unplaced *u = array_push(&t->items, &t->count, sizeof(*u));

	if (u) {
		u->namespace_name = strdup(pod->subject->namespace_name);
		u->name = strdup(pod->subject->name);
		u->uid = strdup(pod->uid);
		u->why = why;
	}
	if (!u || !is_whole(u))
		t->incomplete = true;
}

/* ---- Events ------------------------------------------------------------------------------------------------------ */

static struct kube_event event_of(const char *namespace_name, const char *name, const char *uid, const char *note,
				  uint64_t patience)
{
	return (struct kube_event){
		.api_version = "v1",
		.kind = "Pod",
		.namespace_name = namespace_name,
		.name = name,
		.uid = uid,
		.reason = "Quarantined",
		.action = "Deny",
		.note = note,
		.patience = patience,
	};
}

/* Why an endpoint is in quarantine; NULL: it is not. */
static const char *why_quarantined(const struct troubles_input *in, const struct endpoint *ep)
{
	/* Of host-network pods the list of these tells. */
	if (ep->wanted.cgroup)
		return NULL;
	if (ep->phase == ENDPOINT_WAITING)
		return "its interface, or the programs on it, are not there";
	if (ep->phase != ENDPOINT_READY || ep->id == 0)
		return NULL;
	if (SLUICE_STATE_MODE(__atomic_load_n(&in->kernel->endpoints[ep->id].state, __ATOMIC_ACQUIRE)) !=
	    SLUICE_MODE_QUARANTINE)
		return NULL;
	return "its policy could not be put in force; bpfctl endpoint get on its node says more";
}

static void tell_endpoint(const struct troubles_input *in, const struct endpoint *ep, struct kube_report *report)
{
	const char *why = why_quarantined(in, ep);
	struct kube_pod pod;
	struct kube_event event;
	char note[256];

	if (!why || !kube_cache_pod(in->cache, ep->wanted.namespace_name, ep->wanted.name, &pod))
		return;
	snprintf(note, sizeof(note), "Everything that the pod sends is denied: %s", why);
	event = event_of(ep->wanted.namespace_name, ep->wanted.name, pod.uid, note, in->patience);
	kube_report_event(report, &event);
}

void troubles_tell_as(const struct troubles *t, const char *reason, struct kube_report *report)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct unplaced *u = &t->items[i];
		struct kube_event event;

		if (!is_whole(u))
			continue;
		event = event_of(u->namespace_name, u->name, u->uid, u->why, 0);
		event.reason = reason;
		event.action = "Enforce";
		kube_report_event(report, &event);
	}
}

void troubles_lines(const struct troubles *t, json_t *list)
{
	for (size_t i = 0; i < t->count; i++) {
		if (is_whole(&t->items[i]))
			json_array_append_new(list, json_sprintf("%s/%s: %s", t->items[i].namespace_name,
								 t->items[i].name, t->items[i].why));
	}
}

void troubles_tell_host(const struct kube_cache *cache, const struct host_pod_view *host, struct kube_report *report)
{
	struct kube_pod pod;
	struct kube_event event;
	char note[256];

	if (host->state != HOST_POD_NOT_ENFORCEABLE || !kube_cache_pod(cache, host->namespace_name, host->name, &pod))
		return;
	snprintf(note, sizeof(note), "Its policies do not hold it: %s", host->reason);
	event = event_of(host->namespace_name, host->name, pod.uid, note, 0);
	event.reason = "NotEnforceable";
	event.action = "Enforce";
	kube_report_event(report, &event);
}

void troubles_tell(const struct troubles *t, const struct troubles_input *in, struct kube_report *report)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct unplaced *u = &t->items[i];
		struct kube_event event;
		char note[256];

		if (!is_whole(u))
			continue;
		snprintf(note, sizeof(note), "Everything that the pod sends is denied: %s", u->why);
		event = event_of(u->namespace_name, u->name, u->uid, note, in->patience);
		kube_report_event(report, &event);
	}
	for (size_t i = 0; i < endpoints_count(in->endpoints); i++)
		tell_endpoint(in, endpoints_at(in->endpoints, i), report);
	if (t->incomplete)
		log_warning("out of memory; not every pod in quarantine has an Event");
}
