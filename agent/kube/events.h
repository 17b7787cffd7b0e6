/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events (events.k8s.io/v1) of what is amiss, for as long as it is: told in passes over all of it, written once for each, and
 * now and then again while it lasts. Without I/O.
 */
#ifndef SLUICE_AGENT_KUBE_EVENTS_H
#define SLUICE_AGENT_KUBE_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "agent/kube/talk.h"

struct kube_events;

/* `node` is this one's name. 0 or -ENOMEM. */
int kube_events_new(const char *node, uint32_t (*random)(void), struct kube_events **ret);
void kube_events_freep(struct kube_events **e);

/* Of what it is, and what is wrong with it. Borrowed for the call. */
struct kube_event {
	const char *api_version;
	const char *kind;
	const char *namespace_name; /* "" of an object without one */
	const char *name;
	const char *uid;
	const char *reason; /* one word, for machines */
	const char *action; /* what was done about it, one word */
	const char *note;   /* for people; what is longer than 1 KiB is cut */
	uint64_t patience;  /* ns that it must have lasted before it is told */
};

/* A pass: begin, each thing that is amiss now, end. What is the same as in the last pass still lasts. */
void kube_events_begin(struct kube_events *e);
void kube_events_note(struct kube_events *e, const struct kube_now *now, const struct kube_event *event);
void kube_events_end(struct kube_events *e, const struct kube_now *now);

extern const struct kube_talker kube_events_talker; /* its context is the struct kube_events */

struct kube_events_stats {
	size_t lasting;	   /* what is amiss now, told or not */
	uint64_t written;  /* Events, and that they go on */
	uint64_t dropped;  /* never told: too many at once, over before their turn, or refused */
	uint64_t failures; /* requests */
	const char *error; /* why the last one failed; "" when it did not */
};
void kube_events_get_stats(const struct kube_events *e, struct kube_events_stats *ret);

#endif
