/* SPDX-License-Identifier: Apache-2.0 */
/* What the front ends share: selectors, peers, ports and CIDRs read from nodes into the model. Private. */
#ifndef SLUICE_POLICY_READ_H
#define SLUICE_POLICY_READ_H

#include "policy/model.h"
#include "policy/yaml.h"

/*
 * {matchLabels: {...}}. With `cilium`, keys may carry k8s: or any:, and the namespace label is taken out into
 * `ret->namespace_name`. False, and `ret` as it may be, when anything was wrong.
 */
bool read_selector(struct yctx *c, const struct ynode *node, const char *what, bool cilium, struct selector *ret);

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

void read_port_add(struct yctx *c, struct entry *e, uint32_t protos, const char *proto_name, uint16_t first,
		   uint16_t last);
/* A list that is neither missing nor null; items are read by the caller. */
bool read_list(struct yctx *c, const struct ynode *node, const char *what);

#endif
