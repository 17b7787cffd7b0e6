/* SPDX-License-Identifier: GPL-2.0 */
/* The policy's verdict on the packet at hand; the pure part is decide.h. */
#ifndef SLUICE_BPF_JUDGE_H
#define SLUICE_BPF_JUDGE_H

#include "bpf/recent.h"
#include "bpf/work.h"

int judge_search(struct work *w);
int judge_addresses(struct work *w);
int judge_line(struct work *w);
int judge_leases(struct work *w, int live);

static SLUICE_INLINE void judge_ask(struct work *w, struct sluice_query *q, int live)
{
	*q = (struct sluice_query){
		.policy = SLUICE_STATE_POLICY(w->state),
		.now = w->now,
		.remote = w->flow.key.remote,
		.generation = w->generation,
		.port = w->packet.rule_port,
		.proto = w->packet.proto,
		.live = live != 0,
	};
}

/*
 * The verdict in steps, each a function of its own: what one leaves in `w` the verifier knows nothing about in the
 * next, so that their paths do not multiply, and no frame holds what another needs.
 */
SLUICE_GLOBAL int judge_search(struct work *w)
{
	if (!w)
		return 0;
	dests_search(SLUICE_STATE_POLICY(w->state), &w->flow.key.remote, &w->tables);
	return 0;
}

/* 1: leases are to be asked. */
SLUICE_GLOBAL int judge_addresses(struct work *w)
{
	struct sluice_query q;

	if (!w)
		return 0;
	judge_ask(w, &q, 0);
	return decide_without_leases(&w->tables, &q, &w->decision);
}

/* 1: the lease's line opens the way. Not to be asked for a flow that lives (lease_line.h). */
SLUICE_GLOBAL int judge_line(struct work *w)
{
	struct sluice_lease_slot slot;
	struct sluice_query q;

	if (!w)
		return 0;
	judge_ask(w, &q, 0);
	if (!lines_find(q.policy, &q.remote, &slot))
		return 0;
	w->best = w->decision;
	decide_by_slot(&w->tables, &q, &w->decision, &slot, &w->best);
	if (!w->best.lease)
		return 0;
	w->decision = w->best;
	return 1;
}

SLUICE_GLOBAL int judge_leases(struct work *w, int live)
{
	struct sluice_query q;

	if (!w)
		return 0;
	judge_ask(w, &q, live);
	decide_by_lease(&w->tables, &q, &w->decision, &w->best);
	return 0;
}

static SLUICE_INLINE int judge_reason(const struct work *w)
{
	return w->decision.verdict == SLUICE_ALLOW ? SLUICE_REASON_NONE : w->decision.reason;
}

/*
 * Fills w->decision. True: the address rules alone decided. A policy without name rules has no leases to ask for, so that what
 * it denies costs no look-up among those of others.
 */
static SLUICE_INLINE bool judge_anew(struct work *w, int live)
{
	if (w->state & SLUICE_STATE_NAMES)
		lines_touch(SLUICE_STATE_POLICY(w->state), &w->flow.key.remote);
	judge_search(w);
	if (!judge_addresses(w) || !(w->state & SLUICE_STATE_NAMES))
		return true;
	if (live || !judge_line(w))
		judge_leases(w, live);
	return false;
}

/*
 * enum sluice_reason, NONE when allowed; the rest of the answer is in w->decision. A program whose runs nest on a CPU defines
 * JUDGE_NESTS.
 */
static SLUICE_INLINE int judge_packet(struct work *w, int live)
{
#ifdef JUDGE_NESTS
	judge_anew(w, live);
#else
	struct sluice_recent *r = recent_place(w);

	if (!recent_recall(r, w) && judge_anew(w, live))
		recent_keep(r, w);
#endif
	return judge_reason(w);
}

static SLUICE_INLINE int judge_dns(struct work *w)
{
	judge_search(w);
	judge_addresses(w);
	decide_dns_by(&w->decision);
	return judge_reason(w);
}

#endif
