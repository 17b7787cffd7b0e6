/* SPDX-License-Identifier: Apache-2.0 */
/* ServiceCIDRs: where the cluster's Services have their addresses, by the API. */
#ifndef SLUICE_AGENT_KUBE_CIDRS_H
#define SLUICE_AGENT_KUBE_CIDRS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"

struct kube_cidrs;

int kube_cidrs_new(struct kube_cidrs **ret); /* 0 or -ENOMEM */
void kube_cidrs_freep(struct kube_cidrs **c);

/* As in struct kube_sink. */
void kube_cidrs_begin(struct kube_cidrs *c);
void kube_cidrs_put(struct kube_cidrs *c, json_t *object);
void kube_cidrs_gone(struct kube_cidrs *c, json_t *object);
void kube_cidrs_synced(struct kube_cidrs *c);

/* Each as JSON that kube_cidrs_put() takes, one call for each with a line without its end. */
void kube_cidrs_write(const struct kube_cidrs *c, void (*each)(void *context, const char *line), void *context);

/* Whether they are others than at the last call. */
bool kube_cidrs_take_changed(struct kube_cidrs *c);
/*
 * All of them after the `nfirst` that are `first`, which is how the configuration has them: each once. Borrowed until the next
 * call. Returns how many.
 */
size_t kube_cidrs_join(struct kube_cidrs *c, const struct sluice_prefix *first, size_t nfirst,
		       const struct sluice_prefix **ret);

#endif
