/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests as their authors wrote them: the policies of YAML texts with their egress entries, names, prefixes and ports,
 * all still nodes with a line and column. For what works on the text and not on its meaning: advice and conversion.
 * Whether a manifest is valid is the policy library's to say; here what has no sensible shape is passed over.
 */
#ifndef SLUICE_TOOLS_BPFCTL_TREE_H
#define SLUICE_TOOLS_BPFCTL_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "policy/names.h"
#include "policy/yaml.h"

enum tree_kind {
	TREE_CNP,
	TREE_CCNP,
	TREE_ANP,
	TREE_NP,
	TREE_AWS_CLUSTER,      /* ClusterNetworkPolicy of networking.k8s.aws */
	TREE_UPSTREAM_CLUSTER, /* ClusterNetworkPolicy of policy.networking.k8s.io */
	TREE_CIDR_GROUP,
};

/* One per spec: an object with `specs` is several. */
struct tree_policy {
	enum tree_kind kind;
	const char *file;
	const struct ynode *root;
	const struct ynode *spec;
	const char *namespace_name; /* NULL: cluster-wide */
	const char *name;
	size_t index; /* among the specs of its object */
};

/* `= {}` is an empty one. The nodes live as long as the tree. */
struct tree {
	struct ydocs **docs;
	size_t ndocs;
	char **files;
	size_t nfiles;
	struct tree_policy *items;
	size_t count;
};

/* 0; -EINVAL when the text is no YAML (nothing is said of it); -ENOMEM. */
int tree_add(struct tree *t, const char *file, const char *text, size_t len);
void tree_clear(struct tree *t);

bool tree_is_cilium(enum tree_kind kind);
/* Does the kind stand outside the namespaced policies: tiers, with Accept, Deny and Pass? */
bool tree_is_tiered(enum tree_kind kind);
/* The text of a scalar below `node`, following the keys to NULL; NULL when there is none. */
const char *tree_text(const struct ynode *node, ...) __attribute__((sentinel));
/* Items of a sequence under `key`; 0 when it is none. `*ret` is the sequence. */
size_t tree_list(const struct ynode *node, const char *key, const struct ynode **ret);

enum tree_action {
	TREE_ALLOW,
	TREE_DENY,
	TREE_PASS,
};

struct tree_entry {
	const struct tree_policy *policy;
	const struct ynode *node;
	enum tree_action action;
};
typedef void (*tree_entry_fn)(const struct tree_entry *e, void *context);
void tree_each_entry(const struct tree_policy *p, tree_entry_fn fn, void *context);

struct tree_name {
	const struct tree_entry *entry;
	const struct ynode *node; /* the scalar */
	enum name_dialect dialect;
	bool ask_only; /* of rules.dns */
	struct name_pattern pattern;
};
typedef void (*tree_name_fn)(const struct tree_name *n, void *context);
/* Those that can match a name. */
void tree_each_name(const struct tree_entry *e, tree_name_fn fn, void *context);

struct tree_block {
	const struct tree_entry *entry;
	const struct ynode *node;
	struct sluice_prefix prefix;
	const struct ynode *except; /* a sequence, or NULL */
	bool everywhere;	    /* no prefix of its text: world, all, or no destination at all */
};
typedef void (*tree_block_fn)(const struct tree_block *b, void *context);
/* Prefixes, and 0.0.0.0/0 and ::/0 for an entry that means every destination. */
void tree_each_block(const struct tree_entry *e, tree_block_fn fn, void *context);
bool tree_block_holds(const struct tree_block *b, const struct sluice_addr *addr);

struct tree_port {
	const struct ynode *node;
	const char *protocol; /* upper case; "ANY" */
	const char *name;     /* a named port, else NULL */
	uint16_t first;	      /* 0..65535 when every port is meant */
	uint16_t last;
};
typedef void (*tree_port_fn)(const struct tree_port *p, void *context);
/* False: the entry has no restriction on ports (`fn` may have been called for some of several). */
bool tree_each_port(const struct tree_entry *e, tree_port_fn fn, void *context);
bool tree_admits_port(const struct tree_entry *e, const char *protocol, uint16_t port);

/* Does whatever `b` selects get selected by `a` too? False when either holds what cannot be compared. */
bool tree_selects_all_of(const struct tree_policy *a, const struct tree_policy *b);
/* Is the policy's selector without any requirement, so that every pod is selected? */
bool tree_selects_everything(const struct tree_policy *p);

/* Does `a` match every name that `b` matches? May be false where it does by a combination of stars nobody writes. */
bool pattern_covers(const struct name_pattern *a, const struct name_pattern *b);
bool pattern_is_exact(const struct name_pattern *p);

#endif
