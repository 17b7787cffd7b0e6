/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cluster.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/mapwalk.h"
#include "base/addr.h"
#include "bpf/cluster_quiet.h"
#include "policy/array.h"

void cluster_add(struct cluster *c, const struct sluice_addr *addr, enum sluice_cluster_kind kind, bool local)
{
	struct cluster_entry *e = array_push(&c->items, &c->count, sizeof(*e));

	if (!e) {
		c->failed = true;
		return;
	}
	e->addr = *addr;
	e->value = (struct sluice_cluster){ .kind = kind, .local = local };
}

void cluster_clear(struct cluster *c)
{
	free(c->items);
	*c = (struct cluster){};
}

static int compare(const void *a, const void *b)
{
	const struct cluster_entry *x = a, *y = b;
	int order = addr_compare(&x->addr, &y->addr);

	/* A node's address stays one, whoever else claims it, and this node's its own. */
	if (order == 0)
		order = (int)x->value.kind - (int)y->value.kind;
	return order ? order : (int)y->value.local - (int)x->value.local;
}

static void sort(struct cluster *c)
{
	size_t kept = 0;

	if (c->count == 0)
		return;
	qsort(c->items, c->count, sizeof(*c->items), compare);
	for (size_t i = 0; i < c->count; i++) {
		if (kept == 0 || addr_compare(&c->items[kept - 1].addr, &c->items[i].addr) != 0)
			c->items[kept++] = c->items[i];
	}
	c->count = kept;
}

static int compare_addr(const void *key, const void *item)
{
	return addr_compare(key, &((const struct cluster_entry *)item)->addr);
}

static const struct cluster_entry *find(const struct cluster *c, const struct sluice_addr *addr)
{
	return c->count ? bsearch(addr, c->items, c->count, sizeof(*c->items), compare_addr) : NULL;
}

/* What `there` says of the entry, or what the kernel does when nothing is said; false: it is not there. */
static bool is_there(const struct kernel *k, const struct cluster *there, const struct cluster_entry *e)
{
	struct sluice_cluster value;
	const struct cluster_entry *found;

	if (!there)
		return bpf_map_lookup_elem(k->cluster, &e->addr, &value) == 0 &&
		       memcmp(&value, &e->value, sizeof(value)) == 0;
	found = find(there, &e->addr);
	return found && memcmp(&found->value, &e->value, sizeof(e->value)) == 0;
}

/* Before an address of the group is in the table. */
static void not_quiet(const struct kernel *k, const struct sluice_addr *addr)
{
	uint32_t group = cluster_group(addr);

	__atomic_fetch_and(&k->cluster_quiet[cluster_group_word(group)], ~cluster_group_bit(group), __ATOMIC_SEQ_CST);
}

int cluster_sync(const struct kernel *k, struct cluster *wanted, const struct cluster *there, bool *ret_added)
{
	bool added = false;

	if (wanted->failed)
		return -ENOMEM;
	sort(wanted);
	for (size_t i = 0; i < wanted->count; i++) {
		struct cluster_entry *e = &wanted->items[i];

		if (is_there(k, there, e))
			continue;
		not_quiet(k, &e->addr);
		if (bpf_map_update_elem(k->cluster, &e->addr, &e->value, BPF_ANY) < 0)
			return -errno;
		added = true;
	}
	*ret_added = added;
	return 0;
}

struct prune {
	const struct kernel *k;
	const struct cluster *wanted;
};

static int prune_one(const void *key, const void *value, void *context)
{
	const struct prune *p = context;

	(void)value;
	if (!find(p->wanted, key))
		bpf_map_delete_elem(p->k->cluster, key);
	return 0;
}

/* All others are. What could not be deleted is wanted no more, and counts as outside. */
static void set_quiet(const struct kernel *k, const struct cluster *wanted)
{
	uint64_t busy[SLUICE_CLUSTER_QUIET_WORDS] = {};

	for (size_t i = 0; i < wanted->count; i++) {
		uint32_t group = cluster_group(&wanted->items[i].addr);

		busy[cluster_group_word(group)] |= cluster_group_bit(group);
	}
	for (size_t i = 0; i < SLUICE_CLUSTER_QUIET_WORDS; i++)
		__atomic_store_n(&k->cluster_quiet[i], ~busy[i], __ATOMIC_SEQ_CST);
}

void cluster_prune(const struct kernel *k, const struct cluster *wanted, const struct cluster *there)
{
	struct prune p = { k, wanted };

	if (!there)
		mapwalk(k->cluster, sizeof(struct sluice_addr), sizeof(struct sluice_cluster), prune_one, &p);
	for (size_t i = 0; there && i < there->count; i++)
		prune_one(&there->items[i].addr, NULL, &p);
	set_quiet(k, wanted);
}
