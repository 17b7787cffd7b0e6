/* SPDX-License-Identifier: GPL-2.0 */
/* The policy's verdict on the packet at hand; the pure part is decide.h. */
#ifndef SLUICE_BPF_JUDGE_H
#define SLUICE_BPF_JUDGE_H

#include "bpf/work.h"

int judge_packet(struct work *w, int live);
int judge_dns(struct work *w);

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

/* enum sluice_reason, NONE when allowed; the rest of the answer is in w->decision. */
SLUICE_GLOBAL int judge_packet(struct work *w, int live)
{
	struct sluice_tables t = {};
	struct sluice_query q;

	if (!w)
		return SLUICE_REASON_POLICY_DEFAULT;
	judge_ask(w, &q, live);
	w->decision = decide(&t, &q);
	return w->decision.verdict == SLUICE_ALLOW ? SLUICE_REASON_NONE : w->decision.reason;
}

SLUICE_GLOBAL int judge_dns(struct work *w)
{
	struct sluice_tables t = {};
	struct sluice_query q;

	if (!w)
		return SLUICE_REASON_POLICY_DENY;
	judge_ask(w, &q, 0);
	w->decision = decide_dns(&t, &q);
	return w->decision.verdict == SLUICE_ALLOW ? SLUICE_REASON_NONE : w->decision.reason;
}

#endif
