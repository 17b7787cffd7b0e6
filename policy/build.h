/* SPDX-License-Identifier: Apache-2.0 */
/* The compiler's parts: rule sets, destinations, the name trie, and the writer that lays them out. Private. */
#ifndef SLUICE_POLICY_BUILD_H
#define SLUICE_POLICY_BUILD_H

#include "base/strbuf.h"
#include "policy/image.h"
#include "policy/image_format.h"
#include "policy/model.h"

/* ---- rule sets (sets.c) ---------------------------------------------------------------------------------------- */

/* What one rule says about ports. */
struct grant {
	const struct port_range *ports; /* none: every port, and ICMP */
	size_t nports;
	bool deny;
	uint32_t rule;
};

struct set_info {
	uint64_t hash;
	size_t first; /* in rules */
	size_t count;
	uint32_t id;
	bool allows; /* for some port */
};

struct sets {
	struct image_rule *rules;
	size_t nrules;
	struct set_info *infos;
	size_t ninfos;
	uint32_t next_id;
	uint32_t next_name_id;
};

/* The id of the flattened set; 0 when there are no grants. 0, -ENOMEM. `info` (may be NULL) borrowed until the next. */
int sets_intern(struct sets *s, const struct grant *grants, size_t n, bool name, uint32_t *ret,
		const struct set_info **info);
void sets_sort(struct sets *s); /* into the image's order; no interning after it */
void sets_clear(struct sets *s);

/* ---- destinations (dests.c) ------------------------------------------------------------------------------------ */

struct addr_rule {
	struct sluice_prefix prefix;
	const struct sluice_prefix *excepts;
	size_t nexcepts;
	bool outside; /* speaks for addresses outside the cluster */
	bool inside;  /* and for those in it */
	bool pod;     /* the prefix is a peer pod's address */
	struct grant grant;
};

struct dests {
	struct image_dest *items; /* by (address, bits) */
	size_t count;
	bool opens_outside;
};

int dests_build(const struct addr_rule *rules, size_t n, struct sets *sets, struct dests *ret); /* 0, -ENOMEM */
void dests_clear(struct dests *d);

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
	struct fmt_term *all;
	size_t nall;
};

int trie_init(struct trie *t);
int trie_add(struct trie *t, struct strbuf *strings, const struct name_pattern *name, uint32_t set, uint32_t rule);
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
