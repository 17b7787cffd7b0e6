/* SPDX-License-Identifier: GPL-2.0 */
/* What somebody opens towards an endpoint: noted, so that the answers pass. The same for a veth and a cgroup. */
#ifndef SLUICE_BPF_INBOUND_H
#define SLUICE_BPF_INBOUND_H

#include "bpf/dns.h"
#include "bpf/outbound.h"

/* Is it the first packet of something? UDP has no such thing; what no entry knows counts as first. */
static SLUICE_INLINE bool inbound_opens(const struct packet *p)
{
	return packet_is_syn(p) || p->proto == IPPROTO_UDP || packet_is_echo_request(p);
}

/* Strangers may use three quarters of the quota, so that a flood from outside leaves room for what the pod opens. */
static SLUICE_INLINE bool inbound_has_room(const struct sluice_runtime *rt, __u8 origin)
{
	const struct sluice_settings *s = settings_get();

	return s && (origin == SLUICE_ORIGIN_HOST || rt->flows < s->flow_quota - s->flow_quota / 4);
}

/* An endpoint that is open has no flows of its own here, so a datagram does not tell who spoke first. */
static SLUICE_INLINE bool inbound_is_noted(const struct work *w, const struct sluice_runtime *rt, __u8 origin)
{
	if (origin == 0 || !inbound_opens(&w->packet) || w->packet.sport == bpf_htons(DNS_PORT))
		return false;
	if (work_mode(w) == SLUICE_MODE_OPEN && w->packet.proto != IPPROTO_TCP)
		return false;
	return origin == SLUICE_ORIGIN_HOST || w->now >= *(const volatile __u64 *)&rt->inbound_hold;
}

static SLUICE_INLINE void inbound_note(struct work *w, struct sluice_runtime *rt, __u8 origin)
{
	long err;

	if (!inbound_has_room(rt, origin)) {
		total_add(SLUICE_TOTAL_FLOWS_FULL, 1);
		return;
	}
	if (!quota_charge_flow(rt))
		return;
	err = flow_insert(w, origin, 0, 0);
	if (!err) {
		total_add(SLUICE_TOTAL_INBOUND_NOTED, 1);
		return;
	}
	quota_release(&rt->flows);
	if (err != -SLUICE_EEXIST)
		total_add(SLUICE_TOTAL_FLOWS_FULL, 1);
}

/*
 * A tombstone is only kept young: while the peer keeps sending it must not be forgotten. This node's own new connection
 * is no peer's doing, and a probe must not fail because the pod once sent something late to the same port.
 */
static SLUICE_INLINE void inbound_on_tombstone(struct work *w, struct sluice_runtime *rt, struct sluice_flow *flow,
					       const struct flow_view *view, __u8 origin)
{
	flow->last_seen = w->now;
	if (origin != SLUICE_ORIGIN_HOST || !packet_is_syn(&w->packet) || !quota_charge_flow(rt))
		return;
	if (flow_turn(flow, view->word, SLUICE_ORIGIN_HOST, 0)) {
		quota_release(&rt->tombstones);
		total_add(SLUICE_TOTAL_INBOUND_NOTED, 1);
	} else {
		quota_release(&rt->flows);
	}
}

static SLUICE_INLINE void inbound_on_flow(struct work *w, struct sluice_flow *flow)
{
	if (packet_is_syn(&w->packet))
		flow_clear_flags(flow, FLOW_CLOSING);
	flow_count_rx(flow, w->now, w->length, w->packet.tcp_flags);
}

/* The packet's flow key is set. True: it is a live flow's, and counted there; who sent it is of no interest. */
static SLUICE_INLINE bool inbound_known(struct work *w, struct sluice_flow **ret_flow, struct flow_view *ret_view)
{
	struct sluice_flow *flow = flow_find(&w->flow.key, ret_view);

	*ret_flow = flow;
	if (!flow || flow_view_origin(ret_view) == SLUICE_ORIGIN_TOMBSTONE)
		return false;
	inbound_on_flow(w, flow);
	return true;
}

/* Of no live flow. `flow`: its tombstone, or NULL. `origin`: enum sluice_flow_origin of who sends it, 0: opens nothing. */
static SLUICE_INLINE void inbound_unknown(struct work *w, struct sluice_flow *flow, const struct flow_view *view,
					  __u8 origin)
{
	struct sluice_runtime *rt = runtime_get(w);

	if (rt && flow)
		inbound_on_tombstone(w, rt, flow, view, origin);
	else if (rt && inbound_is_noted(w, rt, origin))
		inbound_note(w, rt, origin);
}

/* From the packet as it arrived: remote is its source. */
static SLUICE_INLINE void inbound_set_key(struct work *w)
{
	const struct packet *p = &w->packet;

	if (p->proto == IPPROTO_ICMP || p->proto == IPPROTO_ICMPV6)
		flow_set_key(w, &p->dst, &p->src, p->sport, 0);
	else
		flow_set_key(w, &p->dst, &p->src, p->dport, p->sport);
}

#endif
