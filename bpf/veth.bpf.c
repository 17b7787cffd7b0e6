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
#include "bpf/established.h"
#include "bpf/events.h"
#include "bpf/inbound.h"
#include "bpf/maps.h"
#include "bpf/neighbour.h"
#include "bpf/outbound.h"
#include "bpf/parse.h"
#include "bpf/reject.h"
#include "bpf/work.h"

/* ---- ends -------------------------------------------------------------------------------------------------------- */

/* What a policy in force says no to, and its sender may know. */
static SLUICE_INLINE bool reason_is_told(__u8 reason)
{
	return reason == SLUICE_REASON_POLICY_DEFAULT || reason == SLUICE_REASON_POLICY_DENY ||
	       reason == SLUICE_REASON_CUT;
}

/* A pod's packet that is dropped may be answered. */
static SLUICE_INLINE int from_pod_end(struct __sk_buff *skb, struct work *w, __u8 reason)
{
	const struct sluice_settings *s = settings_get();
	int verdict = end(w, reason);

	if (verdict == VERDICT_DROP && s && (s->flags & SLUICE_SETTING_REJECT) && reason_is_told(reason))
		return reject_answer(skb, w);
	return verdict;
}

/* ---- port 53 ------------------------------------------------------------------------------------------------------ */

/* What the proxy should count too. */
static SLUICE_INLINE void count_handed_over(const struct packet *p)
{
	if (p->proto == IPPROTO_UDP)
		total_add(SLUICE_TOTAL_DNS_DATAGRAMS, 1);
	else if (packet_is_syn(p))
		total_add(SLUICE_TOTAL_DNS_SYNS, 1);
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
	count_handed_over(&w->packet);
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

	if (!rt)
		return SLUICE_REASON_QUARANTINE;
	if (w->packet.mapped_dst || addr_never_leaves(&w->packet.dst))
		return SLUICE_REASON_NEVER_LEAVES;
	if (soft)
		return soft;
	if (dns_is_query(w))
		return from_pod_query(skb, w, rt);
	return outbound_judge(w, rt);
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
		return soft ? SLUICE_REASON_QUARANTINE : outbound_quarantine(w);
	return from_pod_policy(skb, w, soft);
}

SEC("tc")
int from_pod(struct __sk_buff *skb)
{
	struct work *w;

	if (established_from_pod(skb))
		return VERDICT_NEXT;
	w = work_get(skb);
	return w ? from_pod_end(skb, w, from_pod_admit(skb, w)) : VERDICT_DROP;
}

/* ---- to_pod ------------------------------------------------------------------------------------------------------ */

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
	struct flow_view view = {};
	struct sluice_flow *flow;

	if (!ep || !to_pod_parse(skb, p))
		return;
	inbound_set_key(w);
	if (!inbound_known(w, &flow, &view))
		inbound_unknown(w, flow, &view, endpoint_owns(ep, &p->dst) ? inbound_origin(skb, p) : 0);
}

SEC("tc")
int to_pod(struct __sk_buff *skb)
{
	struct work *w;

	if (established_to_pod(skb))
		return VERDICT_NEXT;
	w = work_get(skb);
	if (w)
		to_pod_note(skb, w);
	return VERDICT_NEXT;
}

char LICENSE[] SEC("license") = "GPL";
