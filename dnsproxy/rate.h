/* SPDX-License-Identifier: Apache-2.0 */
/* A token bucket in one word, as bpf/bucket.h has it for the kernel: the time at which the next unit would be on schedule. */
#ifndef SLUICE_DNSPROXY_RATE_H
#define SLUICE_DNSPROXY_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

/* One unit at `rate` a second, `burst` at once; rate 0: no limit. */
static inline bool rate_take(uint64_t *bucket, uint32_t rate, uint32_t burst, uint64_t now)
{
	uint64_t unit, start;

	if (rate == 0)
		return true;
	unit = NSEC_PER_SEC / rate;
	start = *bucket > now ? *bucket : now;
	if (start + unit > now + unit * (burst ? burst : 1))
		return false;
	*bucket = start + unit;
	return true;
}

#endif
