/* SPDX-License-Identifier: Apache-2.0 */
/* A reflector with its requests: one collection of the API kept in step, on the event loop. */
#ifndef SLUICE_AGENT_KUBE_FOLLOW_H
#define SLUICE_AGENT_KUBE_FOLLOW_H

#include <systemd/sd-event.h>

#include "agent/kube/http.h"
#include "agent/kube/reflector.h"

struct kube_follow;

/*
 * Starts at once. `http` is borrowed, and must outlive it; so are the strings of `collection`. `ended` is called after each
 * request, with the sink's context, for whoever tells of failures; NULL: nobody does. 0 or -errno.
 */
int kube_follow_new(sd_event *event, struct kube_http *http, const struct kube_collection *collection,
		    const struct kube_sink *sink, void (*ended)(void *context), struct kube_follow **ret);
void kube_follow_freep(struct kube_follow **f); /* cancels what is under way; NULL-safe, sets NULL */

void kube_follow_get(const struct kube_follow *f, struct kube_reflector_state *ret);

#endif
