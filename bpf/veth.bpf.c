// SPDX-License-Identifier: GPL-2.0
/*
 * The enforcing programs of a pod's host-side veth: from_pod on TC ingress judges what the pod sends, to_pod on TC
 * egress notes what is opened towards it.
 *
 * Theory of operation
 * -------------------
 * The order in from_pod is the security argument (README.md has it as a table):
 *
 *  1. Whose frame is it; link layer, EtherType, VLAN, destination MAC. ARP ends here.
 *  2. Network header, the way to the transport header. Neighbour discovery ends here, the source address is checked.
 *     What fails so far drops in every mode.
 *  3. `open` passes. `quarantine` passes replies to this node's own probes.
 *  4. What no policy can allow: other protocols, ICMP errors, odd options, addresses that never leave.
 *  5. Port 53 of an endpoint with name rules: denied outright, over its rate, or handed to the proxy. It never reaches
 *     the flows, or the proxy's own answers would open one (hazard 1).
 *  6. Later fragments follow their first.
 *  7. The flow. Judged under exactly this state: pass. Otherwise judge, and remember what was found, either way.
 *
 * An attempt to open (a TCP SYN, an echo request on somebody else's flow) is judged whatever the flow says.
 */
#include "bpf/dns.h"
#include "bpf/endpoint.h"
#include "bpf/events.h"
#include "bpf/flow.h"
#include "bpf/frag.h"
#include "bpf/judge.h"
#include "bpf/lease_use.h"
#include "bpf/maps.h"
#include "bpf/neighbour.h"
#include "bpf/parse.h"
#include "bpf/reject.h"
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
	total_add(SLUICE_TOTAL_FORWARDED, 1);
	total_add(SLUICE_TOTAL_FORWARDED_BYTES, w->length);
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

/* What a policy in force says no to, and its sender may know. */
static SLUICE_INLINE bool reason_is_told(__u8 reason)
{
	return reason == SLUICE_REASON_POLICY_DEFAULT || reason == SLUICE_REASON_POLICY_DENY ||
	       reason == SLUICE_REASON_CUT;
}

static SLUICE_INLINE int end_drop(struct __sk_buff *skb, struct work *w, __u8 reason)
{
	const struct sluice_settings *s = settings_get();
	struct sluice_runtime *rt = runtime_get(w);

	total_add(SLUICE_TOTAL_DROPS + reason, 1);
	if (rt) {
		__sync_fetch_and_add(&rt->drops[reason], 1);
		__sync_fetch_and_add(&rt->dropped_bytes, w->length);
	}
	event_report(w, SLUICE_EVENT_DROPPED, reason);
	if (s && (s->flags & SLUICE_SETTING_REJECT) && reason_is_told(reason))
		return reject_answer(skb, w);
	return VERDICT_DROP;
}

static SLUICE_INLINE int end(struct __sk_buff *skb, struct work *w, __u8 reason)
{
	if (w->audited)
		return end_audit(w, reason);
	if (!reason)
		return end_pass(w);
	if (work_mode(w) == SLUICE_MODE_AUDIT && !reason_is_hard(reason))
		return end_audit(w, reason);
	return end_drop(skb, w, reason);
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
		flow_count_tx(w, flow);
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
		flow_count_tx(w, flow);
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

static SLUICE_INLINE __u8 from_pod_flow(struct work *w, struct sluice_runtime *rt)
{
	struct flow_view view = {};
	struct sluice_flow *flow = flow_find(w, &view);
	bool audited = false;
	__u8 reason;

	if (flow && flow_passes(w, &view, &audited)) {
		flow_count_tx(w, flow);
		w->audited = audited;
		return SLUICE_REASON_NONE;
	}
	reason = judge_packet(w, flow && flow_is_live(w, &view) && (flow_view_flags(&view) & SLUICE_FLOW_LEASE));
	return reason ? flow_denied(w, rt, flow, &view, reason) : flow_allowed(w, rt, flow, &view);
}

/* Only answers to what this node itself has opened pass. */
static SLUICE_INLINE __u8 from_pod_quarantine(struct work *w)
{
	struct flow_view view = {};
	struct sluice_flow *flow;

	if (w->packet.fragment == FRAGMENT_LATER || packet_is_syn(&w->packet) || packet_is_echo_request(&w->packet))
		return SLUICE_REASON_QUARANTINE;
	flow = flow_find(w, &view);
	if (!flow || flow_view_origin(&view) != SLUICE_ORIGIN_HOST)
		return SLUICE_REASON_QUARANTINE;
	flow_count_tx(w, flow);
	return SLUICE_REASON_NONE;
}

/* ---- fragments and port 53 --------------------------------------------------------------------------------------- */

static SLUICE_INLINE __u8 from_pod_later_fragment(struct work *w)
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

static SLUICE_INLINE __u8 from_pod_query(struct __sk_buff *skb, struct work *w, struct sluice_runtime *rt)
{
	__u8 reason;

	if (w->packet.fragment)
		return SLUICE_REASON_FRAGMENT;
	reason = judge_dns(w);
	if (reason && work_mode(w) != SLUICE_MODE_AUDIT)
		return reason;
	if (!dns_within_rate(w, rt))
		return SLUICE_REASON_DNS_RATE;
	if (!dns_hand_over(skb, &w->packet))
		return SLUICE_REASON_DNS_SOCKET;
	total_add(SLUICE_TOTAL_DNS_ASSIGNED, 1);
	__sync_fetch_and_add(&rt->dns_assigned, 1);
	return reason;
}

/* ---- from_pod ---------------------------------------------------------------------------------------------------- */

/* Steps 1 and 2: what holds in every mode. `*ret_soft` is a finding that only a policy in force acts on. */
static SLUICE_INLINE __u8 from_pod_check(struct __sk_buff *skb, const struct sluice_endpoint *ep, struct packet *p,
					 __u8 *ret_soft)
{
	__u8 reason = parse_link(skb, p);

	if (reason)
		return reason;
	if (p->ethertype == ETH_P_ARP)
		return neighbour_check_arp(skb, ep, p);
	reason = parse_network(skb, p);
	if (reason)
		return reason;
	*ret_soft = parse_transport(skb, p);
	if (packet_is_nd(p))
		return neighbour_check_nd(skb, ep, p);
	if (p->pkt_type != PACKET_HOST)
		return SLUICE_REASON_L2;
	if (!endpoint_owns(ep, &p->src))
		return SLUICE_REASON_SOURCE;
	return reason_is_hard(*ret_soft) ? *ret_soft : SLUICE_REASON_NONE;
}

/* Steps 4 to 7. */
static SLUICE_INLINE __u8 from_pod_policy(struct __sk_buff *skb, struct work *w, __u8 soft)
{
	struct sluice_runtime *rt = runtime_get(w);
	__u8 reason;

	if (!rt)
		return SLUICE_REASON_QUARANTINE;
	if (w->packet.mapped_dst || addr_never_leaves(&w->packet.dst))
		return SLUICE_REASON_NEVER_LEAVES;
	if (soft)
		return soft;
	if (dns_is_query(w))
		return from_pod_query(skb, w, rt);
	if (w->packet.fragment == FRAGMENT_LATER)
		return from_pod_later_fragment(w);
	reason = from_pod_flow(w, rt);
	if (w->packet.fragment == FRAGMENT_FIRST) {
		if (!reason && !w->audited)
			frag_remember(w, judged_allowed(w));
		else if (work_mode(w) == SLUICE_MODE_AUDIT)
			frag_remember(w, judged_audited(w));
	}
	return reason;
}

static SLUICE_INLINE __u8 from_pod_admit(struct __sk_buff *skb, struct work *w)
{
	const struct sluice_endpoint *ep = endpoint_find(w);
	struct packet *p = &w->packet;
	__u8 soft = SLUICE_REASON_NONE;
	__u8 reason;

	if (!ep)
		return SLUICE_REASON_QUARANTINE;
	reason = from_pod_check(skb, ep, p, &soft);
	if (reason || p->ethertype == ETH_P_ARP || packet_is_nd(p))
		return reason;
	if (work_mode(w) == SLUICE_MODE_OPEN)
		return SLUICE_REASON_NONE;
	flow_set_key(w, &p->src, &p->dst, p->sport, p->dport);
	if (work_mode(w) == SLUICE_MODE_QUARANTINE)
		return soft ? SLUICE_REASON_QUARANTINE : from_pod_quarantine(w);
	return from_pod_policy(skb, w, soft);
}

SEC("tc")
int from_pod(struct __sk_buff *skb)
{
	struct work *w = work_get(skb);

	return w ? end(skb, w, from_pod_admit(skb, w)) : VERDICT_DROP;
}

/* ---- to_pod ------------------------------------------------------------------------------------------------------ */

/* Is it the first packet of something? UDP has no such thing; what no entry knows counts as first. */
static SLUICE_INLINE bool inbound_opens(const struct packet *p)
{
	return packet_is_syn(p) || p->proto == IPPROTO_UDP || packet_is_echo_request(p);
}

/*
 * Who opened it (hazard 2): this node with an address of its own, or somebody beyond it. What this host makes on
 * another's behalf (the proxy's answers, a reset in a peer's name) opens nothing.
 */
static SLUICE_INLINE __u8 inbound_origin(const struct __sk_buff *skb, const struct packet *p)
{
	const struct sluice_cluster *c;

	if (skb->ingress_ifindex != 0)
		return SLUICE_ORIGIN_OUTSIDE;
	c = bpf_map_lookup_elem(&cluster, &p->src);
	return c && c->kind == SLUICE_CLUSTER_NODE && c->local ? SLUICE_ORIGIN_HOST : 0;
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
	flow_count_rx(w, flow);
}

static SLUICE_INLINE bool to_pod_parse(struct __sk_buff *skb, struct packet *p)
{
	if (parse_link(skb, p) || p->ethertype == ETH_P_ARP || parse_network(skb, p) || parse_transport(skb, p))
		return false;
	return p->fragment != FRAGMENT_LATER && !packet_is_nd(p);
}

static SLUICE_INLINE void to_pod_note(struct __sk_buff *skb, struct work *w)
{
	const struct sluice_endpoint *ep = endpoint_find(w);
	struct packet *p = &w->packet;
	struct sluice_runtime *rt;
	struct sluice_flow *flow;
	struct flow_view view = {};
	__u8 origin;

	if (!ep || !to_pod_parse(skb, p))
		return;
	if (p->proto == IPPROTO_ICMP || p->proto == IPPROTO_ICMPV6)
		flow_set_key(w, &p->dst, &p->src, p->sport, 0);
	else
		flow_set_key(w, &p->dst, &p->src, p->dport, p->sport);
	flow = flow_find(w, &view);
	if (flow && flow_view_origin(&view) != SLUICE_ORIGIN_TOMBSTONE) {
		inbound_on_flow(w, flow);
		return;
	}
	rt = runtime_get(w);
	if (!rt || !endpoint_owns(ep, &p->dst))
		return;
	origin = inbound_origin(skb, p);
	if (flow)
		inbound_on_tombstone(w, rt, flow, &view, origin);
	else if (inbound_is_noted(w, rt, origin))
		inbound_note(w, rt, origin);
}

SEC("tc")
int to_pod(struct __sk_buff *skb)
{
	struct work *w = work_get(skb);

	if (w)
		to_pod_note(skb, w);
	return VERDICT_NEXT;
}

char LICENSE[] SEC("license") = "GPL";
