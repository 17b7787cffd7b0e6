/* SPDX-License-Identifier: GPL-2.0 */
/* Whose frame it is: the interface's endpoint, its state, and its own addresses. */
#ifndef SLUICE_BPF_ENDPOINT_H
#define SLUICE_BPF_ENDPOINT_H

#include "bpf/maps.h"
#include "bpf/work.h"

#define ENDPOINT_HINTS 1024 /* a power of two */

/*
 * Where the endpoint of an interface was last found: id in the upper half, generation in the lower, 0 for none, by the
 * lower bits of the ifindex. A look-up in `ifindexes` would be the dearest thing but one that an established flow costs.
 */
static __u64 endpoint_hints[ENDPOINT_HINTS];

/*
 * NULL when that endpoint is gone, or never was this interface's: a recycled ifindex or slot has another generation. The
 * state word is read once; everything about this packet is judged by that one value (hazard 8).
 */
static SLUICE_INLINE const struct sluice_endpoint *endpoint_at(struct work *w, __u32 id, __u32 generation)
{
	__u32 ifindex = w->ifindex;
	const struct sluice_endpoint *ep = bpf_map_lookup_elem(&endpoints, &id);

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

/*
 * NULL when the interface belongs to no endpoint. A hint is no more than a guess at what `ifindexes` says: the slot itself
 * tells whose it is, and one that was given away has no generation, or another (agent/slot.c).
 */
static SLUICE_INLINE const struct sluice_endpoint *endpoint_find(struct work *w)
{
	__u32 ifindex = w->ifindex;
	volatile __u64 *place = &endpoint_hints[ifindex % ENDPOINT_HINTS];
	__u64 hint = *place;
	const struct sluice_endpoint *ep = endpoint_at(w, hint >> 32, (__u32)hint);
	const struct sluice_if *link;

	if (ep)
		return ep;
	link = bpf_map_lookup_elem(&ifindexes, &ifindex);
	if (!link)
		return NULL;
	ep = endpoint_at(w, link->endpoint, link->generation);
	if (ep)
		*place = (__u64)w->endpoint << 32 | w->generation;
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
