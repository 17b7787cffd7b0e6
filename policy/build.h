/* SPDX-License-Identifier: Apache-2.0 */
/* The compiler's parts: rule sets, destinations, the name trie, and the writer that lays them out. Private. */
#ifndef SLUICE_POLICY_BUILD_H
#define SLUICE_POLICY_BUILD_H

#include "base/strbuf.h"
#include "policy/image.h"
#include "policy/image_format.h"
#include "policy/model.h"

/* ---- rule sets (sets.c) ---------------------------------------------------------------------------------------- */

/* No group of its level has name rules, or more than one has. */
#define GROUP_NONE UINT32_MAX
#define GROUP_MANY (UINT32_MAX - 1)
/* The group of what a Service's backends say. */
#define GROUP_BACKENDS (UINT32_MAX - 2)

/*
 * How strong a rule is. Levels are decided one after the other, the highest first. Within a level each group is an
 * ordered list of which the first match speaks, and between groups deny beats allow beats pass (semantics section 2).
 */
struct rank {
	uint32_t level; /* the precedence it starts at: of tier and priority */
	uint32_t group;
	uint32_t order;
	uint32_t precedence;
	uint32_t names; /* the one group of the level that has name rules; GROUP_NONE, GROUP_MANY */
	enum action action;
};

/* What one rule says about ports. */
struct grant {
	const struct port_range *ports; /* none: every port, and ICMP */
	size_t nports;
	uint32_t rule;
	struct rank rank;
};

struct set_info {
	uint64_t hash;
	size_t first; /* in rules */
	size_t count;
	uint32_t id;
	bool allows; /* for some port */
};

/* Indices plus one, open addressing, a power of two of them. */
struct slots {
	uint32_t *items;
	size_t size;
	size_t used;
};

enum set_kind {
	SET_ADDRESSES,
	SET_BARRED, /* of addresses that no name opens, whatever the policy's names resolve to */
	SET_NAMES,
};

/* Which grants have been flattened before, and to what. */
struct memo {
	uint64_t hash;
	size_t first; /* in memo_grants */
	size_t count;
	enum set_kind kind;
	uint32_t info; /* index plus one; 0: the empty set */
};

struct sets {
	struct image_rule *rules;
	size_t nrules;
	struct set_info *infos;
	size_t ninfos;
	struct slots by_content;
	struct memo *memos;
	size_t nmemos;
	struct grant *memo_grants;
	size_t nmemo_grants;
	struct slots by_grants;
	uint32_t next_id;
	uint32_t next_name_id;
};

/*
 * The id of the flattened set; 0 when there are no grants and nothing is barred. 0, -ENOMEM. `info` (may be NULL)
 * borrowed until the next.
 */
int sets_intern(struct sets *s, const struct grant *grants, size_t n, enum set_kind kind, uint32_t *ret,
		const struct set_info **info);
/* The answer of a set, before sets_sort(). False: none. */
bool sets_find(const struct sets *s, uint32_t set, uint8_t proto, uint16_t port, struct sluice_rule *ret);
void sets_sort(struct sets *s); /* into the image's order; no interning after it */
void sets_clear(struct sets *s);

/* ---- destinations (dests.c) ------------------------------------------------------------------------------------ */

struct addr_rule {
	struct sluice_prefix prefix;
	const struct sluice_prefix *excepts;
	size_t nexcepts;
	bool outside; /* speaks for addresses outside the cluster */
	bool inside;  /* and for those in it */
	bool cluster; /* the prefix is an address of the cluster: a pod's or a node's */
	bool written; /* a prefix of a kind whose prefixes mean ClusterIPs too, as they are written */
	struct grant grant;
};

struct dests {
	struct image_dest *items; /* by (address, bits) */
	size_t count;
	size_t sorted; /* the first of them; what dests_put() adds is not found before dests_sort() */
	bool has_bits[129];
	bool opens_outside;
};

/* What beside the rules tells addresses apart. */
struct dest_places {
	const struct sluice_prefix
		*masks; /* the Service CIDRs: only written rules count, an address there is a ClusterIP */
	size_t nmasks;
	const struct sluice_addr *barred; /* no name opens them */
	size_t nbarred;
	bool names; /* the policy has some: else nothing is barred; in the masks everything is */
};

int dests_build(const struct addr_rule *rules, size_t n, const struct dest_places *places, struct sets *sets,
		struct dests *ret); /* 0, -ENOMEM */
bool dests_find(const struct dests *d, const struct sluice_addr *addr, struct sluice_dest *ret);
int dests_put(struct dests *d, const struct sluice_addr *addr, const struct sluice_dest *dest); /* replaces or adds */
void dests_sort(struct dests *d);
void dests_clear(struct dests *d);
bool addr_rule_meets(const struct addr_rule *rule, const struct sluice_addr *addr); /* excepts heeded */

/* ---- names (trie.c) -------------------------------------------------------------------------------------------- */

struct trie_node {
	struct fmt_node fmt;
	struct fmt_term *exact;
	size_t nexact;
	struct fmt_term *deep;
	size_t ndeep;
};

struct trie {
	struct trie_node *nodes;
	size_t nnodes;
	uint32_t *edges; /* a power of two, or none */
	size_t nedges;
	size_t literals;
	uint32_t *glob_edges; /* the same for labels with `*` inside, while it is built */
	size_t nglob_edges;
	size_t globs;
	struct fmt_term *all;
	size_t nall;
};

int trie_init(struct trie *t);
int trie_add(struct trie *t, struct strbuf *strings, const struct name_view *name, uint32_t set, uint32_t rule);
void trie_clear(struct trie *t);

/* ---- the image (image_write.c) --------------------------------------------------------------------------------- */

struct image_parts {
	uint32_t flags; /* enum image_flags, enum fmt_flags */
	struct dests dests;
	struct sets sets;
	struct trie trie;
	struct fmt_source *sources;
	size_t nsources;
	uint32_t *policies;
	size_t npolicies;
	struct strbuf strings;
};

int image_write(struct image_parts *p, uint8_t **ret, size_t *ret_len); /* 0, -ENOMEM, -E2BIG */

#endif
