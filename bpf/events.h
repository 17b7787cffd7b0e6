/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is counted and what is told. Every drop is counted twice, exactly: by reason on the node (`totals`, per CPU) and
 * by reason on its endpoint (`runtime`). Events are a sample of that, bounded by the endpoint's rate and by the ring;
 * what they leave out is counted too.
 */
#ifndef SLUICE_BPF_EVENTS_H
#define SLUICE_BPF_EVENTS_H

#include "bpf/bucket.h"
#include "bpf/maps.h"
#include "bpf/work.h"

int event_report(struct work *w, int verdict, int reason);

static SLUICE_INLINE void total_add(__u32 index, __u64 n)
{
	__u64 *total = bpf_map_lookup_elem(&totals, &index);

	if (total)
		*total += n;
}

static SLUICE_INLINE void count_forwarded(__u32 length)
{
	total_add(SLUICE_TOTAL_FORWARDED, 1);
	total_add(SLUICE_TOTAL_FORWARDED_BYTES, length);
}

static SLUICE_INLINE const struct sluice_settings *settings_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

/* NULL when the frame belongs to no endpoint. */
static SLUICE_INLINE struct sluice_runtime *runtime_get(const struct work *w)
{
	__u32 id = w->endpoint;

	return w->generation ? bpf_map_lookup_elem(&runtime, &id) : NULL;
}

static SLUICE_INLINE bool event_take(__u64 *bucket, __u64 now)
{
	const struct sluice_settings *s = settings_get();

	return !s || bucket_take(bucket, s->event_rate, s->event_burst, now);
}

/* Frames of no endpoint share a bucket per CPU, or an interface nobody knows yet would drown everybody's events. */
static SLUICE_INLINE bool event_within_rate(struct work *w)
{
	struct sluice_runtime *rt = runtime_get(w);

	if (!rt) {
		if (event_take(&w->stray_bucket, w->now))
			return true;
	} else {
		if (event_take(&rt->event_bucket, w->now))
			return true;
		__sync_fetch_and_add(&rt->events_suppressed, 1);
	}
	total_add(SLUICE_TOTAL_EVENTS_SUPPRESSED, 1);
	return false;
}

static SLUICE_INLINE void event_fill(struct sluice_event *e, const struct work *w, int verdict, int reason)
{
	const struct packet *p = &w->packet;

	__builtin_memset(e, 0, sizeof(*e));
	/* Finer than w->now: what is reported is rare, and is sorted against the DNS log. */
	e->time = bpf_ktime_get_ns();
	e->state = w->state;
	e->name = w->decision.name;
	e->local = p->src;
	e->remote = p->dst;
	e->endpoint = w->endpoint;
	e->generation = w->generation;
	e->ifindex = w->ifindex;
	e->length = w->length;
	e->rule = w->decision.rule;
	e->lport = p->sport;
	e->rport = p->dport;
	if (p->ip_known && (p->proto == IPPROTO_ICMP || p->proto == IPPROTO_ICMPV6))
		e->rport = bpf_htons(p->icmp_type << 8 | p->icmp_code);
	e->ethertype = p->ethertype;
	e->proto = p->proto;
	e->tcp_flags = p->tcp_flags;
	e->verdict = verdict;
	e->reason = reason;
	e->ip_known = p->ip_known;
}

/* Always 0; a global function has to return a number. */
SLUICE_GLOBAL int event_report(struct work *w, int verdict, int reason)
{
	struct sluice_event *e;

	if (!w || !event_within_rate(w))
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		total_add(SLUICE_TOTAL_EVENTS_LOST, 1);
		return 0;
	}
	event_fill(e, w, verdict, reason);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

#endif
