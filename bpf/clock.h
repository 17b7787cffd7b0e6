/* SPDX-License-Identifier: GPL-2.0 */
/* The time that flows, leases and rates go by. */
#ifndef SLUICE_BPF_CLOCK_H
#define SLUICE_BPF_CLOCK_H

#include "bpf/kernel.h"

/* When this CPU asked last, and what it was told. */
struct tick {
	__u64 jiffies;
	__u64 now;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tick);
} ticks SEC(".maps");

/*
 * Coarse CLOCK_MONOTONIC, ns: it moves with the kernel's tick, and within one it is not asked again, since reading it costs a fifth
 * of what an established flow's packet does. The tick's count is raised just before that clock moves: a value may be one tick
 * older than the clock's own, no more. `jiffies` is written last, so that a program which runs in the middle of this one
 * (cgroup.bpf.c) finds no new count beside an old time.
 */
static SLUICE_INLINE __u64 clock_now(void)
{
	__u32 zero = 0;
	volatile struct tick *t = bpf_map_lookup_elem(&ticks, &zero);
	__u64 jiffies = bpf_jiffies64(), now;

	if (t && t->jiffies == jiffies)
		return t->now;
	now = bpf_ktime_get_coarse_ns();
	if (t) {
		t->now = now;
		t->jiffies = jiffies;
	}
	return now;
}

#endif
