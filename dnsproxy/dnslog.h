/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy's counters and its log ring, both in shared memory (bpf/abi.h). */
#ifndef SLUICE_DNSPROXY_DNSLOG_H
#define SLUICE_DNSPROXY_DNSLOG_H

#include "dnsproxy/maps.h"
#include "dnsproxy/settings.h"
#include "dnsproxy/wire.h"

/* Per endpoint, so that one cannot push all others' records out of the ring. */
#define DNSLOG_RATE  200 /* records per second */
#define DNSLOG_BURST 400

struct dnslog_bucket {
	uint64_t time;	     /* theoretical arrival time, ns */
	uint32_t generation; /* of the endpoint that `left_out` is of */
	uint32_t left_out;   /* since the last record; stays at its highest */
};

void dnslog_count(const struct maps *m, enum sluice_dns_stat stat, uint64_t n);
/* Any counter of the shared page. */
void dnslog_add(__u64 *counter, uint64_t n);
/* What every answer to a pod is counted by. `asked`: it took a resolver, and rec->latency_us says how long. */
void dnslog_count_answer(const struct maps *m, const struct sluice_dns_record *rec, bool asked);
/* The places of the resolvers; counters of those that stay where they were go on. */
void dnslog_set_resolvers(const struct maps *m, const struct proxy_settings *s);

/* `rec` is complete but for seq. `bucket` is the endpoint's. */
void dnslog_write(const struct maps *m, struct dnslog_bucket *bucket, struct sluice_dns_record *rec, uint64_t now);

/* The name as the log shows it. */
void dnslog_set_name(struct sluice_dns_record *rec, const struct wire_name *name);

#endif
