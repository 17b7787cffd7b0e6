/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said through the API: conditions on policies, Events, that the node is protected. Makes the requests of those who know
 * what.
 */
#ifndef SLUICE_AGENT_KUBE_REPORT_H
#define SLUICE_AGENT_KUBE_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "agent/kube/events.h"
#include "agent/kube/http.h"
#include "agent/kube/policies.h"

struct kube_report;

struct kube_report_wish {
	const char *namespace_name; /* of the release, where its Lease is */
	const char *node;	    /* this one's name */
	bool status;		    /* conditions and Events */
	const char *startup_taint;  /* its key; "": none */
};

/* Borrows `http` and `policies`, which must outlive it. 0 or -errno. */
int kube_report_new(sd_event *event, struct kube_http *http, struct kube_policies *policies,
		    const struct kube_report_wish *wish, struct kube_report **ret);
void kube_report_freep(struct kube_report **r);

/* This node's object, as the watch has it. */
void kube_report_see_node(struct kube_report *r, json_t *node);
/* Whether new pods of this node are held to their policies from their first packet: the startup taint goes. */
void kube_report_set_ready(struct kube_report *r, bool ready);

void kube_report_set_audit(struct kube_report *r, bool audit);
/* There may be news: of policies, of pods. */
void kube_report_poke(struct kube_report *r);

/* Events, in passes as for kube_events_begin(). Those of refused policies are its own to tell, while it speaks for all. */
void kube_report_events_begin(struct kube_report *r);
void kube_report_event(struct kube_report *r, const struct kube_event *event);
void kube_report_events_end(struct kube_report *r);

/* The agent ends: the Lease is given back, then `ended` is called, from the event loop, soon in any case. */
void kube_report_end(struct kube_report *r, void (*ended)(void *context), void *context);

json_t *kube_report_json(const struct kube_report *r);

struct kube_report_stats {
	bool held;    /* this node speaks for all */
	bool tainted; /* by the startup taint, still */
	uint64_t conditions;
	uint64_t condition_failures;
	struct kube_events_stats events;
};
void kube_report_get_stats(const struct kube_report *r, struct kube_report_stats *ret);

#endif
