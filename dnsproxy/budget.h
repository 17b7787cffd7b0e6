/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many new names a minute an endpoint may ask for below its wildcards: each label of such a name carries what the pod
 * likes to whoever answers for the zone. A name that the endpoint was let ask before costs nothing.
 */
#ifndef SLUICE_DNSPROXY_BUDGET_H
#define SLUICE_DNSPROXY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define BUDGET_SETS 256
#define BUDGET_WAYS 4 /* names remembered per set; the one that came first makes room, and is new again */

/* Of one endpoint; zeroed is good to begin with. */
struct budget {
	uint32_t generation;
	uint64_t bucket;
	uint64_t names[BUDGET_SETS][BUDGET_WAYS]; /* ids, never 0; the latest first */
};

/* `per_minute` may come at once, too; 0: no limit. False: over it. */
bool budget_take(struct budget *b, uint32_t generation, uint64_t name, uint32_t per_minute, uint64_t now);

#endif
