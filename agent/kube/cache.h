/* SPDX-License-Identifier: Apache-2.0 */
/* Pods, Namespaces, Nodes, Services and EndpointSlices as the API has them, each with what an inventory needs of it. */
#ifndef SLUICE_AGENT_KUBE_CACHE_H
#define SLUICE_AGENT_KUBE_CACHE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/objects.h"

enum kube_kind {
	KUBE_POD,
	KUBE_NAMESPACE,
	KUBE_NODE,
	KUBE_SERVICE,
	KUBE_SLICE,
};
#define KUBE_KINDS 5

struct kube_cache;

/* `node`: the one whose pods are asked for, by spec.nodeName. 0 or -ENOMEM. */
int kube_cache_new(const char *node, struct kube_cache **ret);
void kube_cache_freep(struct kube_cache **c);

/* As in struct kube_sink. An object that cannot be taken is counted, and what was known of it stays. */
void kube_cache_begin(struct kube_cache *c, enum kube_kind kind);
void kube_cache_put(struct kube_cache *c, enum kube_kind kind, json_t *object);
void kube_cache_gone(struct kube_cache *c, enum kube_kind kind, json_t *object);
void kube_cache_synced(struct kube_cache *c, enum kube_kind kind);

/* Whether anything an inventory shows is another than at the last kube_cache_view(). */
bool kube_cache_changed(const struct kube_cache *c);
/*
 * All of it, in the order of namespaces and names, the pods as `kept`. The arrays are the caller's to give back by objects_clear(); what they
 * point into is the cache's, and stays until the view after the next one. 0 or -ENOMEM.
 */
int kube_cache_view(struct kube_cache *c, struct objects *ret);

/* A pod, as the agent needs it to be an endpoint. Borrowed until the cache changes. */
struct kube_pod {
	const struct subject *subject;
	const char *uid;
	const char *cni_uid; /* the one that CNI plugins are told: of a mirror pod, the static pod's */
	bool deleting;	     /* its address may be another's by now */
	bool finished;	     /* Succeeded or Failed: it has none any more */
	bool aws_enforces;   /* it is the VPC CNI's, with a network policy agent: kube_aws_enforces() */
	const char *escape;  /* of a host-network pod: kube_escape(); NULL: its cgroup holds it */
};
/* Calls for each pod of the node, in order, until it returns other than 0, and returns that. */
int kube_cache_pods(const struct kube_cache *c, int (*each)(void *context, const struct kube_pod *pod), void *context);

/* False: there is none of that name. */
bool kube_cache_pod(const struct kube_cache *c, const char *namespace_name, const char *name, struct kube_pod *ret);

/* NULL: there is none. Borrowed until the cache changes. */
const struct inventory_namespace *kube_cache_namespace(const struct kube_cache *c, const char *name);
const struct inventory_service *kube_cache_service(const struct kube_cache *c, const char *namespace_name,
						   const char *name);

/* All objects of the kind as JSON, in order, one call for each with a line without its end. 0; -ENOMEM, and some may be missing. */
int kube_cache_write(const struct kube_cache *c, enum kube_kind kind, void (*each)(void *context, const char *line),
		     void *context);

struct kube_cache_stats {
	size_t count[KUBE_KINDS];
	uint64_t refused; /* objects that could not be taken */
};
void kube_cache_get_stats(const struct kube_cache *c, struct kube_cache_stats *ret);

#endif
