/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/lines.h"

#include <bpf/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include "bpf/lease_line.h"

/*
 * The first slot that has not run out, which is who speaks where all that have not are of one rule set (decide_by_lease);
 * NULL: there is none, or they are not.
 */
static const struct sluice_lease_slot *speaking_slot(const struct sluice_lease *lease, uint64_t now)
{
	const struct sluice_lease_slot *first = NULL;

	for (int i = 0; i < SLUICE_LEASE_SLOTS; i++) {
		const struct sluice_lease_slot *slot = &lease->slots[i];

		if (!(slot->set & SLUICE_SET_NAME) || slot->expires <= now)
			continue;
		if (first && slot->set != first->set)
			return NULL;
		first = first ? first : slot;
	}
	return first;
}

/* The two places where the lease's line may be, and what is there. */
struct places {
	uint32_t index[2];
	struct sluice_lease_line line[2];
};

/* False: there are no lines yet. */
static bool read_places(const struct lines *l, const struct sluice_lease_key *key, struct places *ret)
{
	ret->index[0] = lease_line_index(l->settings->lease_lines, key->policy, &key->addr);
	ret->index[1] = lease_line_other(ret->index[0]);
	return bpf_map_lookup_elem(l->fd, &ret->index[0], &ret->line[0]) == 0 &&
	       bpf_map_lookup_elem(l->fd, &ret->index[1], &ret->line[1]) == 0;
}

static bool is_of(const struct sluice_lease_line *line, const struct sluice_lease_key *key)
{
	return line->key.policy == key->policy && addr_equal(&line->key.addr, &key->addr);
}

/* Its own, or the one that is over sooner; an empty one has always been. */
static int choose(const struct places *p, const struct sluice_lease_key *key)
{
	if (is_of(&p->line[0], key))
		return 0;
	return is_of(&p->line[1], key) || p->line[1].slot.expires < p->line[0].slot.expires;
}

static void clear(const struct lines *l, const struct places *p, int place, const struct sluice_lease_key *key)
{
	const struct sluice_lease_line none = {};

	if (is_of(&p->line[place], key))
		bpf_map_update_elem(l->fd, &p->index[place], &none, BPF_ANY);
}

void lines_put(const struct lines *l, const struct sluice_lease *lease, uint64_t now)
{
	const struct sluice_lease_slot *slot = speaking_slot(lease, now);
	struct sluice_lease_line line = { .key = lease->key };
	struct places p;
	int place;

	if (!slot) {
		lines_clear(l, &lease->key);
		return;
	}
	if (!read_places(l, &lease->key, &p))
		return;
	line.slot = *slot;
	line.check = lease_line_check(&line, l->settings->name_key[0]);
	place = choose(&p, &lease->key);
	bpf_map_update_elem(l->fd, &p.index[place], &line, BPF_ANY);
	/* Two writers may have taken a place each. */
	clear(l, &p, !place, &lease->key);
}

void lines_clear(const struct lines *l, const struct sluice_lease_key *key)
{
	struct places p;

	if (!read_places(l, key, &p))
		return;
	clear(l, &p, 0, key);
	clear(l, &p, 1, key);
}
