/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The verdict: may this endpoint's policy send to that address, protocol and port? Pure, and the same code in the
 * kernel programs, in `bpfctl policy explain` and in the tests; only the four look-ups below differ.
 *
 * The includer defines, before including this file, `struct sluice_tables` and
 *
 *   bool tables_find_dest(const struct sluice_tables *, __u64 policy, const struct sluice_addr *, struct sluice_dest *ret);
 *   bool tables_find_rule(const struct sluice_tables *, __u64 policy, __u32 set, __u8 proto, __be16 port,
 *                         struct sluice_rule *ret);
 *   const struct sluice_lease *tables_find_lease(const struct sluice_tables *, __u64 policy, const struct sluice_addr *);
 *   bool tables_in_cluster(const struct sluice_tables *, const struct sluice_addr *);
 *
 * each answering as the longest prefix says where keys are prefixes, and SLUICE_INLINE.
 */
#ifndef SLUICE_BPF_DECIDE_H
#define SLUICE_BPF_DECIDE_H

#include "bpf/abi.h"
#include "bpf/addr_class.h"

struct sluice_query {
	__u64 policy;
	__u64 now; /* CLOCK_MONOTONIC ns, coarse is enough */
	struct sluice_addr remote;
	__u32 generation; /* the endpoint's: leases asked for before it was born do not speak. 0: older than all */
	__be16 port;	  /* ICMP: type in the upper byte */
	__u8 proto;
	__u8 live; /* 1: the flow lives already, admitted by a lease; an expired one still speaks for it (two clocks) */
};

struct sluice_decision {
	__u64 name; /* the lease's name when a lease decided; else 0 */
	__u32 precedence;
	__u32 rule;   /* 0: no rule */
	__u8 verdict; /* enum sluice_verdict */
	__u8 reason;  /* enum sluice_reason; NONE when allowed */
	__u8 lease;   /* 1: a lease decided */
	__u8 settled; /* of the row that decided: no lease would change it */
	__u16 pass;   /* as in struct sluice_rule; kept whatever decides */
	__u8 pad2[2];
};

/*
 * Not an initializer with a constant in it: clang 14 copies such a struct from a constant, and its BPF back end, when it
 * folds the load, loses stores that came before (tests/bpf/constants.sh keeps watch).
 */
static SLUICE_INLINE void decision_init(struct sluice_decision *d)
{
	*d = (struct sluice_decision){};
	d->verdict = SLUICE_DENY;
	d->reason = SLUICE_REASON_POLICY_DEFAULT;
}

static SLUICE_INLINE bool decision_beats(const struct sluice_rule *a, const struct sluice_decision *b)
{
	if (a->precedence != b->precedence)
		return a->precedence > b->precedence;
	return a->verdict == SLUICE_DENY && b->verdict == SLUICE_ALLOW;
}

static SLUICE_INLINE void decision_take(struct sluice_decision *d, const struct sluice_rule *r)
{
	d->precedence = r->precedence;
	d->rule = r->rule;
	d->verdict = r->verdict;
	d->settled = r->settled;
	d->reason = r->verdict == SLUICE_ALLOW ? SLUICE_REASON_NONE : SLUICE_REASON_POLICY_DENY;
	/* A row that only tells of a Pass. */
	if (r->precedence == 0)
		d->reason = SLUICE_REASON_POLICY_DEFAULT;
}

/* The Admin tier passed the flow on before it came to this name rule of its own, or no name opens the address. */
static SLUICE_INLINE bool decision_passed(const struct sluice_rule *r, const struct sluice_decision *d)
{
	if (d->pass == SLUICE_PASS_NO_NAMES)
		return true;
	return r->precedence >= SLUICE_PRECEDENCE_ADMIN && r->precedence - SLUICE_PRECEDENCE_ADMIN < d->pass;
}

/* The address rules alone: CIDRs, entities and in-cluster peers. No rule at all leaves POLICY_DEFAULT. */
static SLUICE_INLINE void decide_by_address(const struct sluice_tables *t, const struct sluice_query *q,
					    const struct sluice_addr *remote, bool in_cluster,
					    struct sluice_decision *d)
{
	struct sluice_dest dest;
	struct sluice_rule rule;
	__u32 set;

	if (!tables_find_dest(t, q->policy, remote, &dest))
		return;
	set = in_cluster ? dest.cluster_set : dest.set;
	if (set == SLUICE_SET_BROKEN) {
		d->pass = SLUICE_PASS_NO_NAMES;
		return;
	}
	if (!set || !tables_find_rule(t, q->policy, set, q->proto, q->port, &rule))
		return;
	decision_take(d, &rule);
	d->pass = rule.pass;
}

/*
 * The IPv4 address inside an IPv6 one (hazard 12): what denies it denies the packet too, since some translator beyond
 * the node turns one into the other. What allows it allows nothing here.
 */
static SLUICE_INLINE void decide_by_embedded(const struct sluice_tables *t, const struct sluice_query *q,
					     const struct sluice_addr *v4, bool in_cluster, struct sluice_decision *d)
{
	struct sluice_decision e;

	decision_init(&e);
	decide_by_address(t, q, v4, in_cluster, &e);
	if (e.pass == SLUICE_PASS_NO_NAMES)
		d->pass = SLUICE_PASS_NO_NAMES;
	/* Two addresses are judged, so what orders the rules of one level says nothing here: deny wins within it. */
	e.precedence |= SLUICE_PRECEDENCE_SUB;
	if (e.reason != SLUICE_REASON_POLICY_DENY || e.precedence < d->precedence)
		return;
	if (e.precedence > d->precedence || d->verdict == SLUICE_ALLOW) {
		e.pass = d->pass;
		*d = e;
	}
}

/* The address rules in both forms of the destination. True: a name may open it too, or be what opens it. */
static SLUICE_INLINE bool decide_by_addresses(const struct sluice_tables *t, const struct sluice_query *q,
					      struct sluice_decision *d)
{
	bool in_cluster = tables_in_cluster(t, &q->remote);
	struct sluice_addr v4;

	decide_by_address(t, q, &q->remote, in_cluster, d);
	if (addr_embedded_v4(&q->remote, &v4)) {
		bool v4_in_cluster = tables_in_cluster(t, &v4);

		decide_by_embedded(t, q, &v4, v4_in_cluster, d);
		if (v4_in_cluster)
			return false;
	}
	return !d->settled && !in_cluster && !addr_no_name_opens(&q->remote);
}

/* What one slot of a lease opens, where that is better than `best`. Leases only ever add an allow (hazard 23). */
static SLUICE_INLINE void decide_by_slot(const struct sluice_tables *t, const struct sluice_query *q,
					 const struct sluice_decision *d, const struct sluice_lease_slot *slot,
					 struct sluice_decision *best)
{
	struct sluice_rule rule;
	__u32 set = slot->set;
	__u64 name = slot->name;

	/* Only name sets of this policy count. */
	if (!(set & SLUICE_SET_NAME) || (!q->live && slot->expires <= q->now))
		return;
	if (slot->generation < q->generation)
		return;
	if (!tables_find_rule(t, q->policy, set, q->proto, q->port, &rule) || rule.verdict != SLUICE_ALLOW)
		return;
	if (decision_passed(&rule, d) || !decision_beats(&rule, best))
		return;
	decision_take(best, &rule);
	best->name = name;
	best->lease = 1;
}

/*
 * What DNS answers opened. The key is compared last: had the element been recycled while we read it, nothing read from it
 * may speak.
 *
 * `best` is memory to work with. In the kernel it is a map's, of which the verifier remembers nothing: what is the best
 * so far would else be another state for each way through each slot.
 */
static SLUICE_INLINE void decide_by_lease(const struct sluice_tables *t, const struct sluice_query *q,
					  struct sluice_decision *d, struct sluice_decision *best)
{
	const struct sluice_lease *lease = tables_find_lease(t, q->policy, &q->remote);

	if (!lease)
		return;
	*best = *d;
	/* Unrolled for loaders without CAP_PERFMON: they may not add a variable to a pointer that differs by path. */
	SLUICE_UNROLL for (int i = 0; i < SLUICE_LEASE_SLOTS; i++) decide_by_slot(t, q, d, &lease->slots[i], best);
	if (lease->key.policy == q->policy && addr_equal(&lease->key.addr, &q->remote))
		*d = *best;
}

/* The verdict before leases are asked. True: they are to be. */
static SLUICE_INLINE bool decide_without_leases(const struct sluice_tables *t, const struct sluice_query *q,
						struct sluice_decision *d)
{
	decision_init(d);
	if (addr_never_leaves(&q->remote)) {
		d->reason = SLUICE_REASON_NEVER_LEAVES;
		return false;
	}
	return decide_by_addresses(t, q, d);
}

static SLUICE_INLINE struct sluice_decision decide(const struct sluice_tables *t, const struct sluice_query *q)
{
	struct sluice_decision d, best;

	if (decide_without_leases(t, q, &d))
		decide_by_lease(t, q, &d, &best);
	return d;
}

/*
 * Port 53 of an endpoint with name rules goes to the proxy unless its policy denies the address outright (hazard 1):
 * DENY with reason POLICY_DENY or NEVER_LEAVES, else ALLOW. Of the verdict before leases are asked.
 */
static SLUICE_INLINE void decide_dns_by(struct sluice_decision *d)
{
	if (d->reason == SLUICE_REASON_POLICY_DENY || d->reason == SLUICE_REASON_NEVER_LEAVES)
		return;
	d->verdict = SLUICE_ALLOW;
	d->reason = SLUICE_REASON_NONE;
}

static SLUICE_INLINE struct sluice_decision decide_dns(const struct sluice_tables *t, const struct sluice_query *q)
{
	struct sluice_decision d;

	decide_without_leases(t, q, &d);
	decide_dns_by(&d);
	return d;
}

#endif
