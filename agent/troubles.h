/* SPDX-License-Identifier: Apache-2.0 */
/* Pods of this node that are in quarantine or cannot be enforced, and why: told as Events. */
#ifndef SLUICE_AGENT_TROUBLES_H
#define SLUICE_AGENT_TROUBLES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/endpoints.h"
#include "agent/host_pods.h"
#include "agent/kernel.h"
#include "agent/kube/cache.h"
#include "agent/kube/report.h"

/* Pods that were not put on an interface, as of the last time that was tried. */
struct troubles {
	struct unplaced *items;
	size_t count;
	bool incomplete; /* memory ran out */
};
void troubles_clear(struct troubles *t);

/* `why` is a literal. */
void troubles_add(struct troubles *t, const struct kube_pod *pod, const char *why);

/* Each with its `why` as it is, for that reason; and as lines. */
void troubles_tell_as(const struct troubles *t, const char *reason, struct kube_report *report);
void troubles_lines(const struct troubles *t, json_t *list);

/* Of a host-network pod, as a part of a pass. */
void troubles_tell_host(const struct kube_cache *cache, const struct host_pod_view *host, struct kube_report *report);

struct troubles_input {
	const struct kube_cache *cache;
	const struct endpoints *endpoints;
	const struct kernel *kernel;
	uint64_t patience; /* ns: how long a pod may be in quarantine without anybody being told */
};
/* All that is amiss with pods now, as a part of a pass. */
void troubles_tell(const struct troubles *t, const struct troubles_input *in, struct kube_report *report);

#endif
