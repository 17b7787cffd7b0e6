/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines before the leases (bpf/lease_line.h), as the proxy and the agent write them: put after the lease itself, clear
 * after it was deleted. A line that could not be written is missing or behind, which costs a look-up and is no error.
 */
#ifndef SLUICE_DNSPROXY_LINES_H
#define SLUICE_DNSPROXY_LINES_H

#include <stdint.h>

#include "bpf/abi.h"

struct lines {
	int fd; /* of SLUICE_MAP_LEASE_LINES */
	const struct sluice_settings *settings;
};

/* `now`: CLOCK_MONOTONIC ns. */
void lines_put(const struct lines *l, const struct sluice_lease *lease, uint64_t now);
/* Leases that share the line keep what they have there. */
void lines_clear(const struct lines *l, const struct sluice_lease_key *key);

#endif
