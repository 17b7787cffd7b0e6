/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cluster as a source of what standalone mode has in files: policies for the store, and the objects of the inventory.
 * It lists and watches them all, says when something changed, and when everything has been heard once.
 */
#ifndef SLUICE_AGENT_KUBE_SOURCE_H
#define SLUICE_AGENT_KUBE_SOURCE_H

#include <jansson.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "agent/kube/cache.h"
#include "agent/kube/cidrs.h"
#include "agent/kube/http.h"
#include "agent/kube/policies.h"
#include "agent/kube/reflector.h"

struct kube_source;

/*
 * Starts at once. `http` is borrowed, and must outlive it. `node` is this node's name, `accepted` as for kube_policies_new(). `changed` is called from the event
 * loop, often: the caller collects. 0 or -errno.
 */
int kube_source_new(sd_event *event, struct kube_http *http, const char *node, struct store *store, int accepted,
		    void (*changed)(void *context), void *context, struct kube_source **ret);
void kube_source_freep(struct kube_source **s);

/* Every collection was heard once. Until then what is known is not all, and nothing may be opened by it. */
bool kube_source_synced(const struct kube_source *s);
/* Something of any collection was heard since the start. */
bool kube_source_heard(const struct kube_source *s);
/* Every collection is watched, or known not to be there: what is known is as the API has it. */
bool kube_source_current(const struct kube_source *s);
struct kube_cache *kube_source_cache(struct kube_source *s);
struct kube_policies *kube_source_policies(struct kube_source *s);
struct kube_cidrs *kube_source_cidrs(struct kube_source *s);

/* `see` is called with this node's object, whole and borrowed, each time it comes. To be set before the event loop runs. */
void kube_source_see_node(struct kube_source *s, void (*see)(void *context, json_t *node), void *context);

/*
 * Whether pods of other nodes are to be known: they are peers, and addresses that no rule for the outside opens. A node
 * whose pods nothing selects need not hold them. When that changes the pods are listed anew; those of this node stay.
 */
void kube_source_want_all_pods(struct kube_source *s, bool wanted);

/* Kinds of collections besides those of enum kube_kind: policies, of which each has a group of its own, its index; ServiceCIDRs. */
#define KUBE_SOURCE_POLICIES (-1)
#define KUBE_SOURCE_CIDRS    (-2)
/* Of the i-th collection the path it goes by, and its kind. NULL: there is none. */
const char *kube_source_collection(size_t i, int *ret_kind);
/* The i-th collection's state; false: there is none. */
bool kube_source_state(const struct kube_source *s, size_t i, struct kube_reflector_state *ret);

#endif
