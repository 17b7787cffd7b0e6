/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/slot.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static void store_state(struct kernel *k, uint32_t id, uint64_t state)
{
	__atomic_store_n(&k->endpoints[id].state, state, __ATOMIC_RELEASE);
}

static void put_label(struct kernel *k, const struct slot_owner *owner, const struct slot *slot)
{
	struct sluice_label label = { .generation = slot->generation, .quarantine = owner->why };

	snprintf(label.interface, sizeof(label.interface), "%s", owner->interface);
	snprintf(label.namespace_name, sizeof(label.namespace_name), "%s", owner->namespace_name);
	snprintf(label.name, sizeof(label.name), "%s", owner->name);
	bpf_map_update_elem(k->labels, &slot->id, &label, BPF_ANY);
}

/* 0: the table is full. */
static uint32_t free_slot(const struct kernel *k)
{
	for (uint32_t id = 1; id < k->nendpoints; id++) {
		if (k->endpoints[id].generation == 0)
			return id;
	}
	return 0;
}

static void fill(struct kernel *k, const struct slot_owner *owner, const struct endpoint_place *place,
		 const struct slot *slot)
{
	struct sluice_endpoint *ep = &k->endpoints[slot->id];

	store_state(k, slot->id, 0);
	memset(&k->runtime[slot->id], 0, sizeof(k->runtime[0]));
	ep->cgroup = place->cgroup;
	ep->level = place->level;
	ep->ifindex = place->ifindex;
	memset(ep->addrs, 0, sizeof(ep->addrs));
	if (owner->naddrs)
		memcpy(ep->addrs, owner->addrs, owner->naddrs * sizeof(ep->addrs[0]));
	ep->naddrs = (uint32_t)owner->naddrs;
	put_label(k, owner, slot);
	__atomic_store_n(&ep->generation, slot->generation, __ATOMIC_RELEASE);
}

void slot_release(struct kernel *k, uint32_t id)
{
	struct sluice_endpoint *slot = &k->endpoints[id];
	uint32_t ifindex = slot->ifindex;
	struct sluice_if link;

	store_state(k, id, 0);
	if (ifindex && bpf_map_lookup_elem(k->ifindexes, &ifindex, &link) == 0 && link.endpoint == id)
		bpf_map_delete_elem(k->ifindexes, &ifindex);
	__atomic_store_n(&slot->generation, 0, __ATOMIC_RELEASE);
}

int slot_take(struct kernel *k, const struct slot_owner *owner, const struct endpoint_place *place, struct slot *ret)
{
	struct slot slot = { .id = free_slot(k) };
	struct sluice_if link;

	if (slot.id == 0)
		return -ENOSPC;
	slot.generation = k->settings->next_generation++;
	fill(k, owner, place, &slot);
	link = (struct sluice_if){ slot.id, slot.generation };
	if (place->ifindex && bpf_map_update_elem(k->ifindexes, &place->ifindex, &link, BPF_ANY) < 0) {
		int r = -errno;

		slot_release(k, slot.id);
		return r;
	}
	*ret = slot;
	return 0;
}

void slot_set_reason(struct kernel *k, uint32_t id, enum sluice_quarantine why)
{
	struct sluice_label label;

	if (bpf_map_lookup_elem(k->labels, &id, &label) < 0 || label.quarantine == (uint32_t)why)
		return;
	label.quarantine = why;
	bpf_map_update_elem(k->labels, &id, &label, BPF_ANY);
}
