/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases: what a name opened, written into the kernel's tables before the answer leaves (semantics section 5).
 */
#ifndef SLUICE_DNSPROXY_LEASE_H
#define SLUICE_DNSPROXY_LEASE_H

#include "base/clock.h"
#include "dnsproxy/ledger.h"
#include "dnsproxy/maps.h"
#include "dnsproxy/wire.h"

struct lease_request {
	uint64_t policy;
	uint64_t name; /* id, from lease_name_id */
	const struct wire_name *text;
	uint64_t now;
	uint64_t expires;
	struct ledger_asker by;
	uint32_t nsets;
	const uint32_t *sets;
};

struct lease_result {
	uint32_t written; /* map writes */
	uint32_t reused;  /* slots taken from an older lease because all were in use */
	uint32_t evicted; /* leases that made room */
	bool named;	  /* the name's text is in the kernel */
	uint64_t expires; /* of the slot last filled or found right */
	uint32_t generation;
	uint32_t place; /* in the ledger */
};

/* Length of a lease in ns: clamp(ttl, min, max) + grace, all in seconds. */
uint64_t lease_length(uint32_t ttl, uint32_t min_ttl, uint32_t max_ttl, uint32_t grace);

uint64_t lease_name_id(const struct maps *m, const struct wire_name *name);

/*
 * Opens `addr` for every set of the request; the name's text is written before the first lease that is new or changed
 * (one that stands keeps its name). In a full table others make room (ledger.h). 0 or -errno: -ENOSPC when its slots
 * are full, -E2BIG when a table is and nothing may go.
 */
int lease_write(const struct maps *m, struct ledger *l, const struct lease_request *req, const struct sluice_addr *addr,
		struct lease_result *ret);

/*
 * What was seen in the kernel's tables a moment ago: a popular name costs no system call per answer. An entry is good for
 * LEASE_MEMO_TIME. Policy ids are never used again, and of a policy in use nobody but us takes out a lease that has not run
 * out, which the ledger shows; so what is remembered stands. That the address was none of the cluster's may be as old, and
 * the kernel looks itself at each new flow. For names with one rule set, as nearly all have. Zeroed is empty.
 */
#define LEASE_MEMO_SETS 1024
#define LEASE_MEMO_WAYS 4 /* a set is searched whole, and its oldest entry makes room */
#define LEASE_MEMO_TIME (5 * NSEC_PER_SEC)

struct lease_memo {
	bool used; /* memory that was never written to is none */
	struct lease_memo_entry {
		uint64_t policy;
		struct sluice_addr addr;
		uint64_t name;
		uint64_t expires;
		uint64_t seen;
		uint32_t set;
		uint32_t generation;
		uint32_t place;
	} __attribute__((aligned(64))) entries[LEASE_MEMO_SETS][LEASE_MEMO_WAYS];
};

/* NULL: nothing is remembered of it, or it has made room for another. Expiry and text of `req` do not count. */
const struct lease_memo_entry *lease_recall(const struct lease_memo *m, struct ledger *l,
					    const struct lease_request *req, const struct sluice_addr *addr);
/* Is the lease as `req` would have it? */
bool lease_stands(const struct lease_memo_entry *e, const struct lease_request *req);
/* After lease_write, with what that returned. */
void lease_remember(struct lease_memo *m, const struct lease_request *req, const struct sluice_addr *addr,
		    const struct lease_result *result);

/* Does a lease of the policy open the address now, to an endpoint of that generation? */
bool lease_holds(const struct maps *m, uint64_t policy, uint32_t generation, const struct sluice_addr *addr,
		 uint64_t now);

#endif
