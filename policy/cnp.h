/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of Cilium's front end share: the present spec and the present entry. Private to cnp*.c. */
#ifndef SLUICE_POLICY_CNP_H
#define SLUICE_POLICY_CNP_H

#include "policy/model.h"
#include "policy/yaml.h"

struct cnp {
	struct policy *policy;
	size_t sections; /* of the present spec */
	bool deny;	 /* the present section is egressDeny */
	bool selector;	 /* the present spec has one */
	bool egress;	 /* has egress or egressDeny */
	bool opted;	 /* enableDefaultDeny.egress is given ... */
	bool opted_in;	 /* ... and says */
};

struct cnp_entry {
	struct cnp *cnp;
	struct entry *entry;
	const struct ynode *node;
	const char *l3;			 /* the non-empty L3 member seen, NULL: none */
	bool l3_given;			 /* one was given, maybe empty */
	const struct ynode *ports_given; /* toPorts with items, or icmps with items */
	const struct ynode *icmps;
	const struct ynode *to_ports;
	bool unrestricted_ports; /* one of them has no ports */
};

#define CNP_WORDS 48
/* "toCIDR", or "egressDeny toCIDR". */
const char *cnp_words(const struct cnp_entry *e, const char *member, char *buf);

/* L3 members (cnp_peers.c); `out` is a struct cnp_entry. */
void cnp_read_to_cidr(struct yctx *c, const struct ynode *node, void *out);
void cnp_read_to_cidr_set(struct yctx *c, const struct ynode *node, void *out);
void cnp_read_to_fqdns(struct yctx *c, const struct ynode *node, void *out);
void cnp_read_to_endpoints(struct yctx *c, const struct ynode *node, void *out);
void cnp_read_to_entities(struct yctx *c, const struct ynode *node, void *out);
void cnp_read_to_services(struct yctx *c, const struct ynode *node, void *out);
/* Items of toFQDNs and of rules.dns are the same: exactly one of matchName and matchPattern. */
void cnp_read_fqdns(struct yctx *c, const struct ynode *list, struct cnp_entry *e, enum peer_kind kind,
		    const char *words);

/* L4 members (cnp_ports.c). */
void cnp_read_to_ports(struct yctx *c, const struct ynode *node, void *out);
void cnp_read_icmps(struct yctx *c, const struct ynode *node, void *out);

#endif
