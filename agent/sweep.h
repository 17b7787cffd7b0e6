/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collection: flows that are over, leases that nobody needs any more, names that no lease or flow mentions. The kernel
 * programs only ever add.
 */
#ifndef SLUICE_AGENT_SWEEP_H
#define SLUICE_AGENT_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/kernel.h"

struct sweep; /* remembers between two passes which names were unused in the first */

int sweep_new(struct kernel *k, struct sweep **ret); /* 0, -ENOMEM */
void sweep_freep(struct sweep **s);
/* One pass over everything; `now` is CLOCK_MONOTONIC ns. */
void sweep_run(struct sweep *s, uint64_t now);
/* Over the flows alone. */
void sweep_flows(struct sweep *s, uint64_t now);

/* Is the flow over? Pure. */
bool sweep_flow_is_over(const struct sluice_flow *flow, uint64_t now);

#endif
