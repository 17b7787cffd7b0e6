/* SPDX-License-Identifier: GPL-2.0 */
/* Whose frame it is: the interface's endpoint, its state, and its own addresses. */
#ifndef SLUICE_BPF_ENDPOINT_H
#define SLUICE_BPF_ENDPOINT_H

#include "bpf/maps.h"
#include "bpf/work.h"

/*
 * Where the endpoint of an interface was last found: id in the upper half, generation in the lower, 0 for none, by the
 * lower bits of the ifindex. A look-up in `ifindexes` would be the dearest thing but one that an established flow costs.
 * The programs' own: nobody else reads or writes it.
 */
#define ENDPOINT_HINTS 1024 /* a power of two */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ENDPOINT_HINTS);
	__type(key, __u32);
	__type(value, __u64);
} endpoint_hints SEC(".maps");

static SLUICE_INLINE bool endpoint_is_at(const struct sluice_endpoint *ep, __u32 ifindex, __u32 generation)
{
	return *(const volatile __u32 *)&ep->generation == generation && ep->ifindex == ifindex;
}

/*
 * Id and generation of the interface's endpoint, 0 for none. A hint is no more than a guess at what `ifindexes` says: the
 * slot itself tells whose it is, and one that was given away has no generation, or another (agent/slot.c).
 */
static SLUICE_INLINE __u64 endpoint_locate(__u32 ifindex)
{
	__u32 at = ifindex % ENDPOINT_HINTS;
	volatile __u64 *place = bpf_map_lookup_elem(&endpoint_hints, &at);
	__u64 hint = place ? *place : 0;
	__u32 id = hint >> 32;
	const struct sluice_endpoint *ep = bpf_map_lookup_elem(&endpoints, &id);
	const struct sluice_if *link;

	if (ep && endpoint_is_at(ep, ifindex, (__u32)hint))
		return hint;
	link = bpf_map_lookup_elem(&ifindexes, &ifindex);
	hint = link ? (__u64)link->endpoint << 32 | link->generation : 0;
	if (place && hint)
		*place = hint;
	return hint;
}

/*
 * NULL when the interface belongs to no endpoint, or to one that is gone: a recycled ifindex or slot has another
 * generation. The state word is read once; everything about this packet is judged by that one value (hazard 8).
 */
static SLUICE_INLINE const struct sluice_endpoint *endpoint_look(__u32 ifindex, struct sluice_if *ret, __u64 *ret_state)
{
	__u64 found = endpoint_locate(ifindex);
	__u32 id = found >> 32, generation = (__u32)found;
	const struct sluice_endpoint *ep = bpf_map_lookup_elem(&endpoints, &id);

	if (!ep || generation == 0)
		return NULL;
	*ret_state = *(const volatile __u64 *)&ep->state;
	ret->endpoint = id;
	ret->generation = generation;
	/* Read after the state: a slot that was given away in between does not match any more. */
	return endpoint_is_at(ep, ifindex, generation) ? ep : NULL;
}

/* The same, and `w` has it. */
static SLUICE_INLINE const struct sluice_endpoint *endpoint_find(struct work *w)
{
	struct sluice_if at;
	__u64 state;
	const struct sluice_endpoint *ep = endpoint_look(w->ifindex, &at, &state);

	if (!ep)
		return NULL;
	w->state = state;
	w->endpoint = at.endpoint;
	w->generation = at.generation;
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
