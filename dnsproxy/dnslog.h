/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy's counters and its log ring, both in shared memory (bpf/abi.h). */
#ifndef SLUICE_DNSPROXY_DNSLOG_H
#define SLUICE_DNSPROXY_DNSLOG_H

#include "dnsproxy/maps.h"
#include "dnsproxy/wire.h"

/* Per endpoint, so that one cannot push all others' records out of the ring. */
#define DNSLOG_RATE  200 /* records per second */
#define DNSLOG_BURST 400

struct dnslog_bucket {
	uint64_t time; /* theoretical arrival time, ns */
};

void dnslog_count(const struct maps *m, enum sluice_dns_stat stat, uint64_t n);

/* `rec` is complete but for seq. `bucket` is the endpoint's. */
void dnslog_write(const struct maps *m, struct dnslog_bucket *bucket, struct sluice_dns_record *rec, uint64_t now);

/* The name as the log shows it. */
void dnslog_set_name(struct sluice_dns_record *rec, const struct wire_name *name);

#endif
