/* SPDX-License-Identifier: Apache-2.0 */
/* What the cluster says, as the endpoints file would say it: the pods of this node on their interfaces, and the inventory. */
#ifndef SLUICE_AGENT_KUBE_WORLD_H
#define SLUICE_AGENT_KUBE_WORLD_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/kube/cache.h"
#include "policy/endpoints_file.h"

struct kube_join {
	void *context;
	/* Where a pod is: fills in its interface and its addresses. False: that is not known yet. */
	bool (*place)(void *context, const struct kube_pod *pod, struct static_endpoint *ret);
	/* The i-th other interface of the pod that is on `interface`. False: there are no more. */
	bool (*place_more)(void *context, const char *interface, size_t i, struct static_endpoint *ret);
	/* Of a pod on the node's own network: fills in its cgroup: 1. 0: it is no endpoint. -ENOMEM. */
	int (*place_host)(void *context, const struct kube_pod *pod, struct static_endpoint *ret);
	/* A pod that stays closed, and why: a literal. */
	void (*refuse)(void *context, const struct kube_pod *pod, const char *why);
};

struct kube_world {
	size_t pods;	     /* of this node, on a network of their own, not finished */
	size_t unjoined;     /* of those, without an interface so far */
	size_t host_network; /* on the node's own network (host_pods.h) */
};

/* `ret` is as endpoints_file_read() makes it, its strings owned by it and the cache (kube_cache_view). 0 or -ENOMEM. */
int kube_world_new(struct kube_cache *cache, const struct kube_join *join, struct endpoints_file **ret,
		   struct kube_world *ret_counts);

#endif
