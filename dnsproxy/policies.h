/* SPDX-License-Identifier: Apache-2.0 */
/* Policy images by id: mapped from the run directory when first needed, a bounded number of them at a time. */
#ifndef SLUICE_DNSPROXY_POLICIES_H
#define SLUICE_DNSPROXY_POLICIES_H

#include <stdint.h>

#include "dnsproxy/maps.h"
#include "policy/image.h"

struct policies;

/* `dir` is borrowed. 0 or -ENOMEM. */
int policies_new(int dir, struct policies **ret);
void policies_freep(struct policies **p);

/* NULL: missing or not an image. Valid until the next call of policies_get or policies_drop_unused. */
const struct image *policies_get(struct policies *p, uint64_t id);
/* Unmaps what no endpoint uses. */
void policies_drop_unused(struct policies *p, const struct sluice_endpoint *endpoints, uint32_t n);

#endif
