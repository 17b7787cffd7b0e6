/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Flows: what was judged once and passes, and what was denied and must not be turned.
 *
 * Theory of operation
 * -------------------
 * `judged` is only ever set to a state under which somebody found the flow allowed; everything else leaves or sets it
 * 0. So equality with the endpoint's state may pass a packet whatever races happened in between. A flow that passes
 * under audit only carries the state with the audit mode in its low byte, which equals no enforcing endpoint's.
 *
 * `origin` and `flags` share a 32-bit word that is changed by compare-and-swap: whoever turns an entry from live to
 * tombstone or back moves the endpoint's counters, once. User space deletes entries and counts them down; the kernel
 * never deletes.
 *
 * An element may be recycled while it is read: a look-up compares the key after reading what the verdict hangs on.
 */
#ifndef SLUICE_BPF_FLOW_H
#define SLUICE_BPF_FLOW_H

#include "bpf/events.h"
#include "bpf/maps.h"
#include "bpf/work.h"

/* How long a denial without a tombstone keeps flows from outside from being noted. */
#define FLOW_INBOUND_HOLD_NS (120 * NSEC_PER_SEC)

/* errno of an element that is there already: helpers return it negated, the UAPI header is not for BPF. */
#define SLUICE_EEXIST 17

/* `origin` is the low byte of the word, `flags` the next: both targets are little-endian. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "flow word");
_Static_assert(__builtin_offsetof(struct sluice_flow, origin) % 4 == 0, "flow word");
_Static_assert(__builtin_offsetof(struct sluice_flow, flags) == __builtin_offsetof(struct sluice_flow, origin) + 1,
	       "flow word");
#define FLOW_WORD(origin, flags) ((__u32)(origin) | (__u32)(flags) << 8)

#define FLOW_CLOSING (SLUICE_FLOW_FIN_LOCAL | SLUICE_FLOW_FIN_REMOTE | SLUICE_FLOW_RST)

static SLUICE_INLINE __u32 *flow_word(struct sluice_flow *flow)
{
	return (__u32 *)&flow->origin;
}

static SLUICE_INLINE void flow_add_flags(struct sluice_flow *flow, __u8 flags)
{
	if ((flow->flags & flags) != flags)
		__sync_fetch_and_or(flow_word(flow), FLOW_WORD(0, flags));
}

static SLUICE_INLINE void flow_clear_flags(struct sluice_flow *flow, __u8 flags)
{
	if (flow->flags & flags)
		__sync_fetch_and_and(flow_word(flow), ~FLOW_WORD(0, flags));
}

static SLUICE_INLINE void flow_set_key(struct work *w, const struct sluice_addr *local,
				       const struct sluice_addr *remote, __be16 lport, __be16 rport)
{
	struct sluice_flow_key *key = &w->flow.key;

	key->endpoint = w->endpoint;
	key->generation = w->generation;
	key->local = *local;
	key->remote = *remote;
	key->lport = lport;
	key->rport = rport;
	key->proto = w->packet.proto;
	key->pad[0] = key->pad[1] = key->pad[2] = 0;
}

static SLUICE_INLINE bool flow_key_equal(const struct sluice_flow_key *a, const struct sluice_flow_key *b)
{
	return a->endpoint == b->endpoint && a->generation == b->generation && addr_equal(&a->local, &b->local) &&
	       addr_equal(&a->remote, &b->remote) && a->lport == b->lport && a->rport == b->rport &&
	       a->proto == b->proto;
}

/* What a verdict reads of a flow, taken before the key was compared. */
struct flow_view {
	__u64 judged;
	__u32 word;
};

static SLUICE_INLINE __u8 flow_view_origin(const struct flow_view *v)
{
	return (__u8)v->word;
}

static SLUICE_INLINE __u8 flow_view_flags(const struct flow_view *v)
{
	return (__u8)(v->word >> 8);
}

static SLUICE_INLINE struct sluice_flow *flow_find(const struct sluice_flow_key *key, struct flow_view *ret)
{
	struct sluice_flow *flow = bpf_map_lookup_elem(&flows, key);

	if (!flow)
		return NULL;
	ret->judged = *(volatile __u64 *)&flow->judged;
	ret->word = *(volatile __u32 *)flow_word(flow);
	return flow_key_equal(&flow->key, key) ? flow : NULL;
}

/* ---- quotas ------------------------------------------------------------------------------------------------------ */

static SLUICE_INLINE bool quota_charge(__u32 *count, __u32 quota)
{
	if (__sync_fetch_and_add(count, 1) < quota)
		return true;
	__sync_fetch_and_sub(count, 1);
	return false;
}

static SLUICE_INLINE void quota_release(__u32 *count)
{
	__sync_fetch_and_sub(count, 1);
}

static SLUICE_INLINE bool quota_charge_flow(struct sluice_runtime *rt)
{
	const struct sluice_settings *s = settings_get();

	if (s && quota_charge(&rt->flows, s->flow_quota))
		return true;
	total_add(SLUICE_TOTAL_FLOWS_FULL, 1);
	return false;
}

static SLUICE_INLINE bool quota_charge_tombstone(struct sluice_runtime *rt)
{
	const struct sluice_settings *s = settings_get();

	if (s && quota_charge(&rt->tombstones, s->tombstone_quota))
		return true;
	total_add(SLUICE_TOTAL_FLOWS_FULL, 1);
	return false;
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

/*
 * Turns the entry to `origin` with `flags`, and moves the charge: the caller holds one for the new side when `old`
 * stood on the other. False: somebody else was faster, and the caller's charge is the caller's again.
 */
static SLUICE_INLINE bool flow_turn(struct sluice_flow *flow, __u32 old, __u8 origin, __u8 flags)
{
	return __sync_val_compare_and_swap(flow_word(flow), old, FLOW_WORD(origin, flags)) == old;
}

/* w->flow as a new element; 0 or -errno. -EEXIST: another CPU has written it meanwhile. */
static SLUICE_INLINE long flow_insert(struct work *w, __u8 origin, __u8 flags, __u64 judged)
{
	struct sluice_flow *f = &w->flow;

	f->judged = judged;
	f->opened = w->now;
	f->last_seen = w->now;
	f->name = w->decision.name;
	f->tx_packets = f->tx_bytes = f->rx_packets = f->rx_bytes = 0;
	f->rule = w->decision.rule;
	f->origin = origin;
	f->flags = flags;
	f->pad[0] = f->pad[1] = 0;
	return bpf_map_update_elem(&flows, &f->key, f, BPF_NOEXIST);
}

/* `tcp_flags`: byte 13 of the header, 0 of what is no segment. */
static SLUICE_INLINE void flow_count_tx(struct sluice_flow *flow, __u64 now, __u32 length, __u8 tcp_flags)
{
	flow->last_seen = now;
	__sync_fetch_and_add(&flow->tx_packets, 1);
	__sync_fetch_and_add(&flow->tx_bytes, length);
	if (tcp_flags & TCP_FIN)
		flow_add_flags(flow, SLUICE_FLOW_FIN_LOCAL);
	if (tcp_flags & TCP_RST)
		flow_add_flags(flow, SLUICE_FLOW_RST);
}

static SLUICE_INLINE void flow_count_rx(struct sluice_flow *flow, __u64 now, __u32 length, __u8 tcp_flags)
{
	flow->last_seen = now;
	__sync_fetch_and_add(&flow->rx_packets, 1);
	__sync_fetch_and_add(&flow->rx_bytes, length);
	flow_add_flags(flow, SLUICE_FLOW_SEEN_REPLY);
	if (tcp_flags & TCP_FIN)
		flow_add_flags(flow, SLUICE_FLOW_FIN_REMOTE);
	if (tcp_flags & TCP_RST)
		flow_add_flags(flow, SLUICE_FLOW_RST);
}

/* A new flow of the pod's. False: no room, which denies (hazard 9). */
static SLUICE_INLINE bool flow_open(struct work *w, struct sluice_runtime *rt, __u8 flags, __u64 judged)
{
	long err;

	if (!quota_charge_flow(rt))
		return false;
	err = flow_insert(w, SLUICE_ORIGIN_POD, flags, judged);
	if (err)
		quota_release(&rt->flows);
	if (err && err != -SLUICE_EEXIST) {
		total_add(SLUICE_TOTAL_FLOWS_FULL, 1);
		return false;
	}
	if (!err)
		total_add(SLUICE_TOTAL_FLOWS_OPENED, 1);
	return true;
}

/* An entry that exists, of whatever origin, is the pod's and passes from now on. False: no room. */
static SLUICE_INLINE bool flow_admit(struct work *w, struct sluice_runtime *rt, struct sluice_flow *flow,
				     const struct flow_view *view, __u8 flags, __u64 judged)
{
	bool raised = flow_view_origin(view) == SLUICE_ORIGIN_TOMBSTONE;
	__u8 kept = flow_view_flags(view) & (SLUICE_FLOW_SEEN_REPLY | FLOW_CLOSING);

	if (raised && !quota_charge_flow(rt))
		return false;
	if (packet_is_syn(&w->packet) || raised)
		kept = 0;
	if (flow_turn(flow, view->word, SLUICE_ORIGIN_POD, flags | kept)) {
		if (raised) {
			quota_release(&rt->tombstones);
			total_add(SLUICE_TOTAL_FLOWS_OPENED, 1);
		}
		flow->name = w->decision.name;
		flow->rule = w->decision.rule;
		*(volatile __u64 *)&flow->judged = judged;
		/* Recycled under our hands: whosever it is now, it was not judged here. */
		if (!flow_key_equal(&flow->key, &w->flow.key))
			*(volatile __u64 *)&flow->judged = 0;
	} else if (raised) {
		quota_release(&rt->flows);
	}
	return true;
}

/* No flow from outside may be noted while a denial has no tombstone to stop it. */
static SLUICE_INLINE void flow_hold_inbound(const struct work *w, struct sluice_runtime *rt)
{
	*(volatile __u64 *)&rt->inbound_hold = w->now + FLOW_INBOUND_HOLD_NS;
}

static SLUICE_INLINE void flow_bury_new(struct work *w, struct sluice_runtime *rt)
{
	long err;

	if (!quota_charge_tombstone(rt)) {
		flow_hold_inbound(w, rt);
		return;
	}
	err = flow_insert(w, SLUICE_ORIGIN_TOMBSTONE, 0, 0);
	if (!err)
		return;
	quota_release(&rt->tombstones);
	total_add(SLUICE_TOTAL_FLOWS_FULL, 1);
	flow_hold_inbound(w, rt);
}

/*
 * Denied: the entry becomes a tombstone, or stays one. A tombstone over the quota is still better than a live flow, so
 * turning does not ask for room; the sum of both quotas bounds the endpoint all the same. A flow of this node's own
 * stays: probes must go on, and the pod's own attempt is dropped without it.
 */
static SLUICE_INLINE void flow_bury(struct work *w, struct sluice_runtime *rt, struct sluice_flow *flow,
				    const struct flow_view *view)
{
	__u8 origin = flow_view_origin(view);

	flow->last_seen = w->now;
	if (origin == SLUICE_ORIGIN_TOMBSTONE || origin == SLUICE_ORIGIN_HOST)
		return;
	*(volatile __u64 *)&flow->judged = 0;
	if (!flow_turn(flow, view->word, SLUICE_ORIGIN_TOMBSTONE, 0))
		return;
	quota_release(&rt->flows);
	__sync_fetch_and_add(&rt->tombstones, 1);
	if (origin == SLUICE_ORIGIN_POD)
		total_add(SLUICE_TOTAL_FLOWS_CUT, 1);
}

#endif
