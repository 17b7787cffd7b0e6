/* SPDX-License-Identifier: Apache-2.0 */
/* Fill of the maps and the node-wide counters, as `status` and `map` show them. */
#ifndef SLUICE_TOOLS_BPFCTL_TABLES_H
#define SLUICE_TOOLS_BPFCTL_TABLES_H

#include <jansson.h>
#include <stdint.h>

#include "tools/bpfctl/pins.h"

/* [{"name", "what", "used", "max"}]; `used` is null where a map's kind has no such count. */
json_t *tables_json(struct pins *pins);
/* {"forwarded": N, ...} of totals[SLUICE_TOTAL_MAX], without the drops. */
json_t *totals_json(const __u64 *totals);
/*
 * {"counts": {"queries_udp": N, ...}, "rcodes": {"NOERROR": N}, "qtypes": {"A": N}, "latency_us": {"buckets": [{"up_to",
 * "count"}], "count", "sum"}, "resolvers": [{...}]}: counts whole, the next two without what is zero.
 */
json_t *dns_stats_json(const struct sluice_dns_stats *stats);
/*
 * The least bucket bound, in us, that at least `percent` of the answers kept to; -1: beyond all bounds, or no answers.
 * `latency` is as dns_stats_json gives it.
 */
int64_t dns_latency_bound(const json_t *latency, unsigned int percent);

#endif
