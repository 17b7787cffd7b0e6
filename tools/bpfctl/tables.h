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
/* {"queries_udp": N, ...} */
json_t *dns_counts_json(const struct sluice_dns_stats *stats);

#endif
