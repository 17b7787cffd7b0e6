/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One slot of the kernel's endpoint table, filled and freed in an order that never opens: state 0 (quarantine),
 * addresses, generation, then the interface's entry; freed in the reverse one. A generation is used once, so what refers to
 * an earlier owner of slot or interface finds nothing.
 */
#ifndef SLUICE_AGENT_SLOT_H
#define SLUICE_AGENT_SLOT_H

#include <stddef.h>
#include <stdint.h>

#include "agent/kernel.h"

/* Borrowed. */
struct slot_owner {
	const char *namespace_name;
	const char *name;
	const char *interface;
	const struct sluice_addr *addrs;
	size_t naddrs;
	enum sluice_quarantine why; /* while its state word is 0 */
};

/* Where an endpoint's programs sit; all zero: nowhere. */
struct endpoint_place {
	uint32_t ifindex; /* 0: in a cgroup */
	uint64_t cgroup;  /* id; 0: on an interface */
	uint32_t level;
};

struct slot {
	uint32_t id; /* 0: none; slot 0 is never used */
	uint32_t generation;
};

/* A slot under quarantine; the entry of an interface leads to it. 0; -ENOSPC: the table is full; else -errno. */
int slot_take(struct kernel *k, const struct slot_owner *owner, const struct endpoint_place *place, struct slot *ret);
/* The programs stay on the interface, and without a slot they drop everything: taking them off is the caller's word. */
void slot_release(struct kernel *k, uint32_t id);
/* Why it is in quarantine, for whoever lists it. */
void slot_set_reason(struct kernel *k, uint32_t id, enum sluice_quarantine why);

#endif
