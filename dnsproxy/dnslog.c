/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/dnslog.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

void dnslog_count(const struct maps *m, enum sluice_dns_stat stat, uint64_t n)
{
	/* Atomic: while one proxy replaces another, both count. */
	__atomic_fetch_add(&m->stats->counts[stat], n, __ATOMIC_RELAXED);
}

static bool within_rate(struct dnslog_bucket *bucket, uint64_t now)
{
	uint64_t cost = NSEC_PER_SEC / DNSLOG_RATE, tat = bucket->time > now ? bucket->time : now;

	if (tat - now > cost * DNSLOG_BURST)
		return false;
	bucket->time = tat + cost;
	return true;
}

void dnslog_write(const struct maps *m, struct dnslog_bucket *bucket, struct sluice_dns_record *rec, uint64_t now)
{
	struct sluice_dns_record *ring = (struct sluice_dns_record *)(m->log + 1), *slot;
	uint64_t seq;

	if (m->nrecords == 0)
		return;
	if (!within_rate(bucket, now)) {
		__atomic_fetch_add(&m->log->suppressed, 1, __ATOMIC_RELAXED);
		return;
	}
	seq = __atomic_load_n(&m->log->next, __ATOMIC_RELAXED);
	if (seq == 0)
		seq = 1;
	slot = &ring[(seq - 1) % m->nrecords];
	__atomic_store_n(&slot->seq, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	rec->seq = 0;
	*slot = *rec;
	__atomic_store_n(&slot->seq, seq, __ATOMIC_RELEASE);
	__atomic_store_n(&m->log->next, seq + 1, __ATOMIC_RELEASE);
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
