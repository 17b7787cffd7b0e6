/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * A short way to what most leases say: one line of memory for (policy, address), before the hash of `leases`.
 *
 * Theory of operation
 * -------------------
 * Whoever writes a lease writes its line after it, and whoever deletes one clears it. The line has the first slot that
 * had not run out then, if all such slots are of one rule set: names that the same rules are about, of which the first
 * speaks in the lease too. Otherwise it is cleared. Leases that fall on one line take it from each other. Writers take
 * no lock, so two of them may leave a line that is behind its lease. That it still opens nothing which no answer
 * promised is because
 *
 *  - what a line says, a lease said once, and no promise is taken back before it runs out (dnsproxy/lease.c), nor does a
 *    policy's id ever come to mean another policy;
 *  - a line adds an allow or nothing: where it opens nothing, for whatever reason, the lease is asked;
 *  - a live flow that is judged again, for which a slot speaks that has run out, asks the lease and never the line.
 *
 * A line read while it is written may be half of one and half of another, in any order of its words. `check` tells: a mix
 * of every word, each under its own key, and of a secret that changes when the maps are made anew.
 */
#ifndef SLUICE_BPF_LEASE_LINE_H
#define SLUICE_BPF_LEASE_LINE_H

#include "bpf/lease_use.h"

/*
 * One of the two places that a lease's line may have; the other is beside it. `lines`: settings.lease_lines, a power of two.
 */
static SLUICE_INLINE __u32 lease_line_index(__u32 lines, __u64 policy, const struct sluice_addr *addr)
{
	return lease_hash(policy, addr) & (lines - 1);
}

static SLUICE_INLINE __u32 lease_line_other(__u32 index)
{
	return index ^ 1;
}

static SLUICE_INLINE __u64 lease_line_check(const struct sluice_lease_line *l, __u64 secret)
{
	const __u64 step = 0xd1342543de82ef95ull; /* any odd number */
	__u64 set = (__u64)l->slot.set << 32 | l->slot.generation;

	/* A sum, since its terms need not wait for each other. */
	return lease_mix(l->key.policy + secret) + lease_mix(l->key.addr.d[0] + secret + step) +
	       lease_mix(l->key.addr.d[1] + secret + 2 * step) + lease_mix(l->slot.expires + secret + 3 * step) +
	       lease_mix(l->slot.name + secret + 4 * step) + lease_mix(set + secret + 5 * step);
}

#endif
