/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a policy's address rules have lately said of a destination, so that the next connection to it need not search them:
 * pods talk to the same few places again and again.
 *
 * Theory of operation
 * -------------------
 * An answer is kept under the endpoint's whole state word and everything else it was asked with, as a flow is that was judged
 * under that word: no pair of policy and epoch ever comes back (agent/apply.c), and what one opens does not grow less meanwhile,
 * but for an address that is no longer the cluster's. So it is believed for a second, not longer.
 * What a lease may change is not kept.
 *
 * One CPU's answers are its own, and TC programs do not nest on one, so nothing here is half written; programs that do nest must
 * not look here (JUDGE_NESTS).
 */
#ifndef SLUICE_BPF_RECENT_H
#define SLUICE_BPF_RECENT_H

#include "bpf/bucket.h"
#include "bpf/work.h"

#define RECENT_NS NSEC_PER_SEC

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLUICE_RECENTS);
	__type(key, __u32);
	__type(value, struct sluice_recent);
} recents SEC(".maps");

/* Where the answer about the packet at hand would be. */
static SLUICE_INLINE struct sluice_recent *recent_place(const struct work *w)
{
	const struct sluice_addr *a = &w->flow.key.remote;
	__u64 mixed = (a->d[0] ^ a->d[1] ^ w->state ^ (__u64)w->packet.rule_port << 40) * 0x9e3779b97f4a7c15ull;
	__u32 at = (mixed >> 32) % SLUICE_RECENTS;

	return bpf_map_lookup_elem(&recents, &at);
}

static SLUICE_INLINE bool recent_is_of(const struct sluice_recent *r, const struct work *w)
{
	return r->state == w->state && w->now < r->until && addr_equal(&r->remote, &w->flow.key.remote) &&
	       r->port == w->packet.rule_port && r->proto == w->packet.proto;
}

/* True: w->decision is the answer. */
static SLUICE_INLINE bool recent_recall(const struct sluice_recent *r, struct work *w)
{
	if (!r || !recent_is_of(r, w))
		return false;
	w->decision = (struct sluice_decision){};
	w->decision.rule = r->rule;
	w->decision.verdict = r->verdict;
	w->decision.reason = r->reason;
	return true;
}

static SLUICE_INLINE void recent_keep(struct sluice_recent *r, const struct work *w)
{
	if (!r)
		return;
	r->state = w->state;
	r->until = w->now + RECENT_NS;
	r->remote = w->flow.key.remote;
	r->rule = w->decision.rule;
	r->port = w->packet.rule_port;
	r->proto = w->packet.proto;
	r->verdict = w->decision.verdict;
	r->reason = w->decision.reason;
}

#endif
