/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/dnslog.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "bpf/addr_class.h"
#include "dnsproxy/rate.h"

_Static_assert(SLUICE_DNS_RESOLVERS == PROXY_MAX_RESOLVERS, "one place each");

void dnslog_add(__u64 *counter, uint64_t n)
{
	/* Atomic: while one proxy replaces another, both count. */
	if (n)
		__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

void dnslog_count(const struct maps *m, enum sluice_dns_stat stat, uint64_t n)
{
	dnslog_add(&m->stats->counts[stat], n);
}

static enum sluice_dns_stat stat_of(const struct sluice_dns_record *rec)
{
	switch ((enum sluice_dns_verdict)rec->verdict) {
	case SLUICE_DNS_ALLOWED:
		return SLUICE_DNS_STAT_ALLOWED;
	case SLUICE_DNS_DENIED:
		return SLUICE_DNS_STAT_DENIED;
	case SLUICE_DNS_AUDIT:
		return SLUICE_DNS_STAT_AUDIT;
	case SLUICE_DNS_FILTERED:
		return SLUICE_DNS_STAT_FILTERED;
	case SLUICE_DNS_ERROR:
		break;
	}
	return rec->rcode == WIRE_RCODE_SERVFAIL ? SLUICE_DNS_STAT_SERVFAIL
	       : rec->rcode == WIRE_RCODE_NOTIMP ? SLUICE_DNS_STAT_NOTIMP
						 : SLUICE_DNS_STAT_FORMERR;
}

static void count_latency(struct sluice_dns_stats *stats, uint32_t us)
{
	static const uint32_t bounds[] = SLUICE_DNS_LATENCY_BOUNDS;
	size_t i = 0;

	_Static_assert(ARRAY_SIZE(bounds) == SLUICE_DNS_LATENCIES - 1, "one bucket has no bound");
	while (i < ARRAY_SIZE(bounds) && us > bounds[i])
		i++;
	dnslog_add(&stats->latency_us[i], 1);
	dnslog_add(&stats->latency_sum_us, us);
}

void dnslog_count_answer(const struct maps *m, const struct sluice_dns_record *rec, bool asked)
{
	struct sluice_dns_stats *stats = m->stats;
	size_t rcode = rec->rcode < SLUICE_DNS_RCODES ? rec->rcode : SLUICE_DNS_RCODES - 1;

	dnslog_count(m, stat_of(rec), 1);
	dnslog_add(&stats->rcodes[rcode], 1);
	if (asked)
		count_latency(stats, rec->latency_us);
}

void dnslog_set_resolvers(const struct maps *m, const struct proxy_settings *s)
{
	for (uint32_t i = 0; i < SLUICE_DNS_RESOLVERS; i++) {
		struct sluice_dns_resolver *r = &m->stats->resolvers[i];
		const struct proxy_resolver *to = &s->resolvers[i];

		if (i >= s->nresolvers)
			*r = (struct sluice_dns_resolver){};
		else if (r->port != to->port || !addr_equal(&r->addr, &to->addr))
			*r = (struct sluice_dns_resolver){ .addr = to->addr, .port = to->port };
		else
			r->down = 0;
	}
}

/*
 * While one proxy replaces another both write. A number is claimed before its record is written, and readers hear of the
 * numbers in their order; for one that was killed in between the next does not wait long.
 */
#define PUBLISH_TRIES 100000

static uint64_t claim(struct sluice_dns_log_head *head)
{
	__u64 claimed = __atomic_load_n(&head->claimed, __ATOMIC_RELAXED), seq;

	do {
		seq = claimed ? claimed : 1; /* the map is made of zeroes */
	} while (!__atomic_compare_exchange_n(&head->claimed, &claimed, seq + 1, false, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return seq;
}

static void publish(struct sluice_dns_log_head *head, uint64_t seq)
{
	__u64 next = __atomic_load_n(&head->next, __ATOMIC_ACQUIRE);

	for (int i = 0; next < seq && seq > 1 && i < PUBLISH_TRIES; i++)
		next = __atomic_load_n(&head->next, __ATOMIC_ACQUIRE);
	while (next < seq + 1 &&
	       !__atomic_compare_exchange_n(&head->next, &next, seq + 1, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
		;
}

void dnslog_write(const struct maps *m, struct dnslog_bucket *bucket, struct sluice_dns_record *rec, uint64_t now)
{
	struct sluice_dns_record *ring = (struct sluice_dns_record *)(m->log + 1), *slot;
	uint64_t seq;

	if (m->nrecords == 0)
		return;
	if (bucket->generation != rec->generation) {
		bucket->generation = rec->generation;
		bucket->left_out = 0;
	}
	if (!rate_take(&bucket->time, DNSLOG_RATE, DNSLOG_BURST, now)) {
		dnslog_add(&m->log->suppressed, 1);
		bucket->left_out += bucket->left_out < UINT32_MAX;
		return;
	}
	rec->left_out = bucket->left_out;
	bucket->left_out = 0;
	seq = claim(m->log);
	slot = &ring[(seq - 1) % m->nrecords];
	__atomic_store_n(&slot->seq, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	rec->seq = 0;
	*slot = *rec;
	__atomic_store_n(&slot->seq, seq, __ATOMIC_RELEASE);
	publish(m->log, seq);
}

void dnslog_set_name(struct sluice_dns_record *rec, const struct wire_name *name)
{
	size_t at = 0;

	memset(rec->name, 0, sizeof(rec->name));
	for (size_t i = 0; i < name->len && at + 4 < sizeof(rec->name); i++) {
		uint8_t c = (uint8_t)name->text[i];

		if (c > ' ' && c <= '~' && c != '\\')
			rec->name[at++] = (char)c;
		else
			at += (size_t)snprintf(rec->name + at, sizeof(rec->name) - at, "\\%03u", c);
	}
	rec->name_len = (uint8_t)at;
}
