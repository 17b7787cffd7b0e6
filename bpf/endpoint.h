/* SPDX-License-Identifier: GPL-2.0 */
/* Whose frame it is: the interface's endpoint, its state, and its own addresses. */
#ifndef SLUICE_BPF_ENDPOINT_H
#define SLUICE_BPF_ENDPOINT_H

#include "bpf/maps.h"
#include "bpf/work.h"

/*
 * NULL when the interface belongs to no endpoint, or to one that is gone: a recycled ifindex or slot has another
 * generation. The state word is read once; everything about this packet is judged by that one value (hazard 8).
 */
static SLUICE_INLINE const struct sluice_endpoint *endpoint_find(struct work *w)
{
	__u32 ifindex = w->ifindex;
	const struct sluice_if *link = bpf_map_lookup_elem(&ifindexes, &ifindex);
	const struct sluice_endpoint *ep;
	__u32 id, generation;

	if (!link)
		return NULL;
	id = link->endpoint;
	generation = link->generation;
	ep = bpf_map_lookup_elem(&endpoints, &id);
	if (!ep || generation == 0)
		return NULL;
	w->state = *(const volatile __u64 *)&ep->state;
	/* Read after the state: a slot that was given away in between does not match any more. */
	if (*(const volatile __u32 *)&ep->generation != generation || ep->ifindex != ifindex) {
		w->state = 0;
		return NULL;
	}
	w->endpoint = id;
	w->generation = generation;
	return ep;
}

static SLUICE_INLINE bool endpoint_owns(const struct sluice_endpoint *ep, const struct sluice_addr *addr)
{
	for (__u32 i = 0; i < SLUICE_ENDPOINT_ADDRS; i++) {
		if (i < ep->naddrs && addr_equal(&ep->addrs[i], addr))
			return true;
	}
	return false;
}

#endif
