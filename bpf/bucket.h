/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A token bucket in one word: the generic cell rate algorithm (ITU-T I.371), kept as the time at which the next unit
 * would be on schedule. Racing CPUs settle by compare-and-swap; who loses every try is told no, which is the closed
 * side for queries and the cheap one for events.
 */
#ifndef SLUICE_BPF_BUCKET_H
#define SLUICE_BPF_BUCKET_H

#include "bpf/kernel.h"

#define BUCKET_TRIES 4
#define NSEC_PER_SEC 1000000000ull

static SLUICE_INLINE bool bucket_take(__u64 *bucket, __u32 rate, __u32 burst, __u64 now)
{
	__u64 unit, limit, old, start;

	if (rate == 0)
		return true;
	unit = NSEC_PER_SEC / rate;
	limit = now + unit * (burst ? burst : 1);
	for (int i = 0; i < BUCKET_TRIES; i++) {
		old = *(volatile __u64 *)bucket;
		start = old > now ? old : now;
		if (start + unit > limit)
			return false;
		if (__sync_val_compare_and_swap(bucket, old, start + unit) == old)
			return true;
	}
	return false;
}

#endif
