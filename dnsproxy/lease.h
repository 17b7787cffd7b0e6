/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases: what a name opened, written into the kernel's tables before the answer leaves (semantics section 5).
 */
#ifndef SLUICE_DNSPROXY_LEASE_H
#define SLUICE_DNSPROXY_LEASE_H

#include "dnsproxy/maps.h"
#include "dnsproxy/wire.h"

struct lease_request {
	uint64_t policy;
	uint64_t name; /* id, from lease_name */
	uint64_t now;
	uint64_t expires;
	uint32_t endpoint;
	uint32_t nsets;
	const uint32_t *sets;
};

struct lease_result {
	uint32_t written; /* map writes */
	uint32_t reused;  /* slots taken from an older lease because all were in use */
};

/* Length of a lease in ns: clamp(ttl, min, max) + grace, all in seconds. */
uint64_t lease_length(uint32_t ttl, uint32_t min_ttl, uint32_t max_ttl, uint32_t grace);

/* Writes the name under its id. 0 or -errno (-E2BIG: the table is full). */
int lease_name(const struct maps *m, const struct wire_name *name, uint64_t *ret_id);

/* Opens `addr` for every set of the request. 0 or -errno: -ENOSPC when its slots are full, -E2BIG when the table is. */
int lease_write(const struct maps *m, const struct lease_request *req, const struct sluice_addr *addr,
		struct lease_result *ret);

/* Does a lease of the policy hold for the address now? */
bool lease_holds(const struct maps *m, uint64_t policy, const struct sluice_addr *addr, uint64_t now);

#endif
