/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/tables.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "agent/mapwalk.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "policy/array.h"
#include "policy/pages.h"

static void rule_key(uint64_t policy, const struct image_rule *r, struct sluice_rule_key *ret)
{
	*ret = (struct sluice_rule_key){
		.prefixlen = SLUICE_RULE_FIXED_BITS + r->port_bits,
		.policy_hi = (uint32_t)(policy >> 32),
		.policy_lo = (uint32_t)policy,
		.set = r->set,
		.proto = r->proto,
		.port = r->port,
	};
}

/* The roots come last: a tree that is found is whole. */
static int fill_dests(const struct kernel *k, uint64_t policy, const struct image *img)
{
	size_t count = image_dest_count(img);
	CLEANUP(pages_clear) struct pages pages = {};
	int r = count ? pages_build(image_dest_at(img, 0), count, policy, &pages) : 0;

	for (size_t i = 0; r == 0 && i < pages.count; i++)
		r = bpf_map_update_elem(k->dests, &pages.items[i].key, &pages.items[i], BPF_ANY) < 0 ? -errno : 0;
	return r;
}

/* The root may be missing, the others have numbers without a gap. */
static void clear_dests(const struct kernel *k, uint64_t policy, uint32_t root)
{
	uint64_t key = SLUICE_DEST_KEY(policy, root);

	bpf_map_delete_elem(k->dests, &key);
	do
		key++;
	while (bpf_map_delete_elem(k->dests, &key) == 0);
}

/* The highest precedence at which a name rule allows anything; 0: there is none. */
static uint32_t highest_name(const struct image *img)
{
	uint32_t ret = 0;

	for (size_t i = 0; i < image_rule_count(img); i++) {
		const struct image_rule *r = image_rule_at(img, i);

		if ((r->set & SLUICE_SET_NAME) && r->rule.verdict == SLUICE_ALLOW && r->rule.precedence > ret)
			ret = r->rule.precedence;
	}
	return ret;
}

static int fill_rules(const struct kernel *k, uint64_t policy, const struct image *img)
{
	uint32_t highest = highest_name(img);

	for (size_t i = 0; i < image_rule_count(img); i++) {
		const struct image_rule *r = image_rule_at(img, i);
		struct sluice_rule rule = r->rule;
		struct sluice_rule_key key;

		rule_key(policy, r, &key);
		/* As decision_beats of bpf/decide.h has it: a lease only allows, and at equal precedence it changes nothing. */
		rule.settled = rule.precedence >= highest;
		if (bpf_map_update_elem(k->rules, &key, &rule, BPF_ANY) < 0)
			return -errno;
	}
	return 0;
}

int tables_fill(const struct kernel *k, uint64_t policy, const struct image *img)
{
	int r = fill_rules(k, policy, img);

	if (r == 0)
		r = fill_dests(k, policy, img);
	if (r < 0)
		tables_clear(k, policy, img);
	return r;
}

void tables_clear(const struct kernel *k, uint64_t policy, const struct image *img)
{
	clear_dests(k, policy, SLUICE_DEST_ROOT4);
	clear_dests(k, policy, SLUICE_DEST_ROOT6);
	for (size_t i = 0; i < image_rule_count(img); i++) {
		struct sluice_rule_key key;

		rule_key(policy, image_rule_at(img, i), &key);
		bpf_map_delete_elem(k->rules, &key);
	}
}

/* ---- what nobody owns -------------------------------------------------------------------------------------------- */

struct sieve {
	tables_keep_fn *keep;
	void *context;
	char *keys; /* to delete after the walk: a trie's walk goes from key to key */
	size_t count;
	size_t key_size;
};

static int sift(struct sieve *s, const void *key, uint64_t policy)
{
	char *copy;

	if (s->keep(policy, s->context))
		return 0;
	copy = array_push(&s->keys, &s->count, s->key_size);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, key, s->key_size);
	return 0;
}

static int sift_dest(const void *key, const void *value, void *context)
{
	(void)value;
	return sift(context, key, SLUICE_DEST_KEY_POLICY(*(const uint64_t *)key));
}

static int sift_rule(const void *key, const void *value, void *context)
{
	const struct sluice_rule_key *r = key;

	(void)value;
	return sift(context, key, (uint64_t)r->policy_hi << 32 | r->policy_lo);
}

static int sift_lease(const void *key, const void *value, void *context)
{
	(void)value;
	return sift(context, key, ((const struct sluice_lease_key *)key)->policy);
}

static void clear_sifted(int fd, struct sieve *s, size_t value_size, mapwalk_fn *each)
{
	mapwalk(fd, s->key_size, value_size, each, s);
	for (size_t i = 0; i < s->count; i++)
		bpf_map_delete_elem(fd, s->keys + i * s->key_size);
	free(s->keys);
}

void tables_clear_leases(const struct kernel *k, tables_keep_fn *keep, void *context)
{
	struct sieve s = { .keep = keep, .context = context, .key_size = sizeof(struct sluice_lease_key) };

	clear_sifted(k->leases, &s, sizeof(struct sluice_lease), sift_lease);
}

void tables_clear_others(const struct kernel *k, tables_keep_fn *keep, void *context)
{
	struct sieve dests = { .keep = keep, .context = context, .key_size = sizeof(uint64_t) };
	struct sieve rules = { .keep = keep, .context = context, .key_size = sizeof(struct sluice_rule_key) };

	clear_sifted(k->dests, &dests, sizeof(struct sluice_dest_page), sift_dest);
	clear_sifted(k->rules, &rules, sizeof(struct sluice_rule), sift_rule);
	tables_clear_leases(k, keep, context);
}

/* ---- leases over a change of policy ------------------------------------------------------------------------------ */

struct carry {
	const struct kernel *k;
	const struct tables_move *moves;
	size_t count;
	size_t failed;
	uint64_t now;
};

/* True: there is room, or it is there already. */
static bool put_slot(struct sluice_lease *lease, const struct sluice_lease_slot *slot, bool *changed)
{
	struct sluice_lease_slot *free_slot = NULL;

	for (size_t i = 0; i < SLUICE_LEASE_SLOTS; i++) {
		struct sluice_lease_slot *s = &lease->slots[i];

		if (s->set == slot->set && s->name == slot->name) {
			*changed = *changed || s->expires < slot->expires || s->generation < slot->generation;
			if (s->expires < slot->expires)
				s->expires = slot->expires;
			if (s->generation < slot->generation)
				s->generation = slot->generation;
			return true;
		}
		if (s->set == 0 && !free_slot)
			free_slot = s;
	}
	if (!free_slot)
		return false;
	*free_slot = *slot;
	*changed = true;
	return true;
}

/* Puts into `lease` what the new image makes of one old slot. */
static bool carry_slot(struct carry *c, const struct image *img, const struct sluice_lease_slot *old,
		       struct sluice_lease *lease, bool *changed)
{
	struct image_match match;
	struct sluice_name name;
	bool fits = true;

	if (!(old->set & SLUICE_SET_NAME) || bpf_map_lookup_elem(c->k->names, &old->name, &name) < 0 ||
	    name.id != old->name)
		return true;
	image_match_name(img, name.text, name.len, &match);
	for (uint32_t i = 0; !match.overflow && i < match.nsets; i++) {
		struct sluice_lease_slot slot = *old;

		slot.set = match.sets[i];
		fits = put_slot(lease, &slot, changed) && fits;
	}
	return fits;
}

static bool put_lease(const struct carry *c, const struct sluice_lease *lease)
{
	if (bpf_map_update_elem(c->k->leases, &lease->key, lease, BPF_ANY) < 0)
		return false;
	lines_put(&c->k->lines, lease, c->now);
	return true;
}

static int carry_lease(const void *key, const void *value, void *context)
{
	const struct sluice_lease_key *k = key;
	const struct sluice_lease *old = value;
	struct carry *c = context;

	for (size_t i = 0; i < c->count; i++) {
		struct sluice_lease lease = { .key = { .policy = c->moves[i].to, .addr = k->addr } };
		bool changed = false, fits = true;

		if (c->moves[i].from != k->policy || old->key.policy != k->policy)
			continue;
		if (bpf_map_lookup_elem(c->k->leases, &lease.key, &lease) < 0)
			lease = (struct sluice_lease){ .key = { .policy = c->moves[i].to, .addr = k->addr } };
		for (size_t s = 0; s < SLUICE_LEASE_SLOTS; s++)
			fits = carry_slot(c, c->moves[i].img, &old->slots[s], &lease, &changed) && fits;
		if (changed)
			fits = put_lease(c, &lease) && fits;
		c->failed += !fits;
	}
	return 0;
}

size_t tables_carry_leases(const struct kernel *k, const struct tables_move *moves, size_t count)
{
	struct carry c = { .k = k, .moves = moves, .count = count, .now = clock_now() };

	if (count &&
	    mapwalk(k->leases, sizeof(struct sluice_lease_key), sizeof(struct sluice_lease), carry_lease, &c) < 0)
		c.failed++;
	return c.failed;
}
