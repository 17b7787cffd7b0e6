/* SPDX-License-Identifier: Apache-2.0 */
/* What the front ends share: selectors, peers, ports and CIDRs read from nodes into the model. Private. */
#ifndef SLUICE_POLICY_READ_H
#define SLUICE_POLICY_READ_H

#include "policy/model.h"
#include "policy/yaml.h"

enum selector_dialect {
	SELECTOR_PODS,	     /* keys are labels as they stand (of a pod, a Service, a node, a CIDR group) */
	SELECTOR_NAMESPACES, /* keys are labels of the pod's namespace */
	SELECTOR_CILIUM,     /* keys may carry k8s: or any:, and some mean the namespace or the service account */
};

/*
 * {matchLabels: {...}, matchExpressions: [...]}, added to what `ret` demands already. False, and `ret` as it may be,
 * when anything was wrong.
 */
bool read_selector(struct yctx *c, const struct ynode *node, const char *what, enum selector_dialect dialect,
		   struct selector *ret);
bool read_label_value(struct yctx *c, const struct ynode *node, const char *what, const char **ret); /* borrowed */
bool selector_names_namespace(const struct selector *s); /* by name or by a label of it */
bool selector_in_namespace(struct yctx *c, struct selector *s, const char *namespace_name);

/* For selectors that are not written as such. NULL, false: c->oom. */
struct requirement *selector_require(struct yctx *c, struct selector *s, enum scope scope, enum operation op,
				     const char *key);
bool requirement_value(struct yctx *c, struct requirement *r, const char *value);

/* A new peer at `at`, described as "WORDS TEXT" (`text` may be NULL). NULL after an allocation failed (c->oom). */
struct peer *read_peer_add(struct yctx *c, struct entry *e, const struct ynode *at, enum peer_kind kind,
			   const char *words, const char *text);
/* A name or pattern: refused, warned about and left out, or added as a peer of `kind`. */
void read_name(struct yctx *c, struct entry *e, const struct ynode *node, enum name_dialect dialect,
	       enum peer_kind kind, const char *words);
/* "A/N", masked, with a warning about host bits. */
bool read_cidr(struct yctx *c, const struct ynode *node, const char *what, struct sluice_prefix *ret);
/* {cidr, except}; a peer of kind CIDR is added. */
void read_cidr_block(struct yctx *c, struct entry *e, const struct ynode *node, const char *words, bool cluster);
void read_except(struct yctx *c, const struct ynode *node, struct peer *peer);

/* {cidr, except}, as nodes; for the kinds whose blocks have more members. */
void read_cidr_except(struct yctx *c, struct entry *e, const struct ynode *cidr, const struct ynode *except,
		      const char *words, bool cluster);

/* A member that only has to be a string or null, and means nothing to the verdict. */
void read_ignored_text(struct yctx *c, const struct ynode *node, const char *what);

void read_named_add(struct yctx *c, struct entry *e, uint32_t protos, const char *name);
/* Names of container ports need pods to look at: refused beside names, prefixes and the world. */
void read_check_named(struct yctx *c, const struct ynode *at, const struct entry *e);
void read_port_add(struct yctx *c, struct entry *e, uint32_t protos, const char *proto_name, uint16_t first,
		   uint16_t last);
/* A list that is neither missing nor null; items are read by the caller. */
void read_icmp_add(struct yctx *c, struct entry *e, bool ipv6, uint8_t type);
bool read_list(struct yctx *c, const struct ynode *node, const char *what);

#endif
