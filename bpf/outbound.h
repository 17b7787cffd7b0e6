/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a packet that an endpoint sends comes to once its headers are read: the flow, the verdict, the later fragments,
 * the counters. The same for a pod's veth (veth.bpf.c) and a cgroup (cgroup.bpf.c).
 */
#ifndef SLUICE_BPF_OUTBOUND_H
#define SLUICE_BPF_OUTBOUND_H

#include "bpf/events.h"
#include "bpf/flow.h"
#include "bpf/frag.h"
#include "bpf/judge.h"
#include "bpf/lease_use.h"
#include "bpf/work.h"

/* Reasons that hold whatever the endpoint's mode is (hazard 11); a packet like these has no honest sender. */
static SLUICE_INLINE bool reason_is_hard(__u8 reason)
{
	return reason == SLUICE_REASON_SOURCE || reason == SLUICE_REASON_VLAN || reason == SLUICE_REASON_ETHERTYPE ||
	       reason == SLUICE_REASON_L2 || reason == SLUICE_REASON_NEIGHBOUR || reason == SLUICE_REASON_MALFORMED ||
	       reason == SLUICE_REASON_EXTENSION || reason == SLUICE_REASON_QUARANTINE;
}

static SLUICE_INLINE __u8 work_mode(const struct work *w)
{
	return SLUICE_STATE_MODE(w->state);
}

/* What a flow that is allowed now may carry as `judged`; under audit what is denied carries it with a mark. */
static SLUICE_INLINE __u64 judged_allowed(const struct work *w)
{
	return SLUICE_STATE_JUDGED(w->state);
}

static SLUICE_INLINE __u64 judged_audited(const struct work *w)
{
	return SLUICE_STATE_JUDGED(w->state) | SLUICE_MODE_AUDIT;
}

/* ---- ends -------------------------------------------------------------------------------------------------------- */

static SLUICE_INLINE int end_pass(const struct work *w)
{
	count_forwarded(w->length);
	return VERDICT_NEXT;
}

static SLUICE_INLINE int end_audit(struct work *w, __u8 reason)
{
	struct sluice_runtime *rt = runtime_get(w);

	total_add(SLUICE_TOTAL_AUDIT, 1);
	if (rt)
		__sync_fetch_and_add(&rt->audited, 1);
	if (reason)
		event_report(w, SLUICE_EVENT_AUDIT, reason);
	return VERDICT_NEXT;
}

static SLUICE_INLINE int end_drop(struct work *w, __u8 reason)
{
	struct sluice_runtime *rt = runtime_get(w);

	total_add(SLUICE_TOTAL_DROPS + reason, 1);
	if (rt) {
		__sync_fetch_and_add(&rt->drops[reason], 1);
		__sync_fetch_and_add(&rt->dropped_bytes, w->length);
	}
	event_report(w, SLUICE_EVENT_DROPPED, reason);
	return VERDICT_DROP;
}

static SLUICE_INLINE int end(struct work *w, __u8 reason)
{
	if (w->audited)
		return end_audit(w, reason);
	if (!reason)
		return end_pass(w);
	if (work_mode(w) == SLUICE_MODE_AUDIT && !reason_is_hard(reason))
		return end_audit(w, reason);
	return end_drop(w, reason);
}

/* ---- the flow's part --------------------------------------------------------------------------------------------- */

static SLUICE_INLINE void report_opened(struct work *w)
{
	const struct sluice_settings *s = settings_get();

	if (s && (s->flags & SLUICE_SETTING_LOG_ALLOWED))
		event_report(w, SLUICE_EVENT_FORWARDED, SLUICE_REASON_NONE);
}

/* Does the packet pass because of the flow alone? Then `*ret_audited` says whether under audit only. */
static SLUICE_INLINE bool flow_passes(const struct work *w, const struct flow_view *view, bool *ret_audited)
{
	__u8 origin = flow_view_origin(view);

	*ret_audited = false;
	if (origin == SLUICE_ORIGIN_OUTSIDE || origin == SLUICE_ORIGIN_HOST)
		return !packet_is_syn(&w->packet) && !packet_is_echo_request(&w->packet);
	if (origin != SLUICE_ORIGIN_POD || packet_is_syn(&w->packet))
		return false;
	if (view->judged == judged_allowed(w))
		return true;
	*ret_audited = true;
	return work_mode(w) == SLUICE_MODE_AUDIT && view->judged == judged_audited(w);
}

/* The lease is not the first to go when the table is full. */
static SLUICE_INLINE void note_lease_use(const struct work *w)
{
	__u32 index = lease_use_index(SLUICE_STATE_POLICY(w->state), &w->flow.key.remote);
	__u64 *word = bpf_map_lookup_elem(&lease_use, &index);

	if (word)
		*word = w->now;
}

/* The policy allows the packet: it has a flow from now on, or drops for want of room. */
static SLUICE_INLINE __u8 flow_allowed(struct work *w, struct sluice_runtime *rt, struct sluice_flow *flow,
				       const struct flow_view *view)
{
	__u8 flags = w->decision.lease ? SLUICE_FLOW_LEASE : 0;
	bool opens = !flow || flow_view_origin(view) != SLUICE_ORIGIN_POD || packet_is_syn(&w->packet);
	bool room;

	if (flow)
		room = flow_admit(w, rt, flow, view, flags, judged_allowed(w));
	else
		room = flow_open(w, rt, flags, judged_allowed(w));
	if (!room)
		return SLUICE_REASON_FLOWS_FULL;
	if (w->decision.lease)
		note_lease_use(w);
	if (flow)
		flow_count_tx(flow, w->now, w->length, w->packet.tcp_flags);
	if (opens)
		report_opened(w);
	return SLUICE_REASON_NONE;
}

/* Was it this very flow, alive, that the policy in force forbids? A new attempt on its tuple is just denied. */
static SLUICE_INLINE bool flow_is_live(const struct work *w, const struct flow_view *view)
{
	return flow_view_origin(view) == SLUICE_ORIGIN_POD && !(flow_view_flags(view) & SLUICE_FLOW_AUDIT) &&
	       !packet_is_syn(&w->packet);
}

/* Would be denied, but passes. A flow opened from outside stays what it is, or its replies would end with the audit. */
static SLUICE_INLINE void flow_audit(struct work *w, struct sluice_runtime *rt, struct sluice_flow *flow,
				     const struct flow_view *view)
{
	__u8 origin = flow_view_origin(view);

	if (!flow)
		flow_open(w, rt, SLUICE_FLOW_AUDIT, judged_audited(w));
	else if (origin == SLUICE_ORIGIN_OUTSIDE || origin == SLUICE_ORIGIN_HOST ||
		 flow_admit(w, rt, flow, view, SLUICE_FLOW_AUDIT, judged_audited(w)))
		flow_count_tx(flow, w->now, w->length, w->packet.tcp_flags);
}

static SLUICE_INLINE __u8 flow_denied(struct work *w, struct sluice_runtime *rt, struct sluice_flow *flow,
				      const struct flow_view *view, __u8 reason)
{
	if (flow && flow_is_live(w, view))
		reason = SLUICE_REASON_CUT;
	if (work_mode(w) == SLUICE_MODE_AUDIT)
		flow_audit(w, rt, flow, view);
	else if (flow)
		flow_bury(w, rt, flow, view);
	else
		flow_bury_new(w, rt);
	return reason;
}

static SLUICE_INLINE __u8 outbound_flow(struct work *w, struct sluice_runtime *rt)
{
	struct flow_view view = {};
	struct sluice_flow *flow = flow_find(&w->flow.key, &view);
	bool audited = false;
	__u8 reason;

	if (flow && flow_passes(w, &view, &audited)) {
		flow_count_tx(flow, w->now, w->length, w->packet.tcp_flags);
		w->audited = audited;
		return SLUICE_REASON_NONE;
	}
	reason = judge_packet(w, flow && flow_is_live(w, &view) && (flow_view_flags(&view) & SLUICE_FLOW_LEASE));
	return reason ? flow_denied(w, rt, flow, &view, reason) : flow_allowed(w, rt, flow, &view);
}

/* Only answers to what this node itself has opened pass. */
static SLUICE_INLINE __u8 outbound_quarantine(struct work *w)
{
	struct flow_view view = {};
	struct sluice_flow *flow;

	if (w->packet.fragment == FRAGMENT_LATER || packet_is_syn(&w->packet) || packet_is_echo_request(&w->packet))
		return SLUICE_REASON_QUARANTINE;
	flow = flow_find(&w->flow.key, &view);
	if (!flow || flow_view_origin(&view) != SLUICE_ORIGIN_HOST)
		return SLUICE_REASON_QUARANTINE;
	flow_count_tx(flow, w->now, w->length, w->packet.tcp_flags);
	return SLUICE_REASON_NONE;
}

/* ---- fragments ---------------------------------------------------------------------------------------------------- */

static SLUICE_INLINE __u8 outbound_later_fragment(struct work *w)
{
	__u64 judged;

	if (!frag_find(w, &judged))
		return SLUICE_REASON_FRAGMENT;
	if (judged == judged_allowed(w))
		return SLUICE_REASON_NONE;
	if (work_mode(w) != SLUICE_MODE_AUDIT || judged != judged_audited(w))
		return SLUICE_REASON_FRAGMENT;
	w->audited = 1;
	return SLUICE_REASON_NONE;
}

/* The last steps: later fragments by their first, everything else by flow and verdict. */
static SLUICE_INLINE __u8 outbound_judge(struct work *w, struct sluice_runtime *rt)
{
	__u8 reason;

	if (w->packet.fragment == FRAGMENT_LATER)
		return outbound_later_fragment(w);
	reason = outbound_flow(w, rt);
	if (w->packet.fragment == FRAGMENT_FIRST) {
		if (!reason && !w->audited)
			frag_remember(w, judged_allowed(w));
		else if (work_mode(w) == SLUICE_MODE_AUDIT)
			frag_remember(w, judged_audited(w));
	}
	return reason;
}

#endif
