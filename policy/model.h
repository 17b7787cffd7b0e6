/* SPDX-License-Identifier: Apache-2.0 */
/* What a manifest means, whatever its dialect: the typed model between the front ends and the compiler. Private. */
#ifndef SLUICE_POLICY_MODEL_H
#define SLUICE_POLICY_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "policy/names.h"

enum policy_kind {
	POLICY_CNP,
	POLICY_CCNP,
	POLICY_ANP,
	POLICY_OTHER, /* of the policy groups, but not one we can enforce: only ever refused */
};

/* All of it must hold. Keys are without source prefix. */
struct requirement {
	char *key;
	char *value;
};

struct selector {
	char *namespace_name; /* NULL: any */
	struct requirement *labels;
	size_t nlabels;
};

enum proto_bit {
	PROTO_TCP = 1 << 0,
	PROTO_UDP = 1 << 1,
	PROTO_SCTP = 1 << 2,
	PROTO_ICMP = 1 << 3,
	PROTO_ICMPV6 = 1 << 4,
};
#define PROTO_PORTS (PROTO_TCP | PROTO_UDP | PROTO_SCTP)
#define PROTO_ALL   (PROTO_PORTS | PROTO_ICMP | PROTO_ICMPV6)

struct port_range {
	uint32_t protos; /* enum proto_bit */
	uint16_t first;	 /* host order */
	uint16_t last;
};

enum peer_kind {
	PEER_ANY,   /* every destination, in the cluster and outside */
	PEER_WORLD, /* every destination outside the cluster */
	PEER_CIDR,
	PEER_PODS, /* the inventory's pods that `selector` matches */
	PEER_NAME,
	PEER_ASK, /* a name that may be asked, and opens nothing */
};

struct peer {
	enum peer_kind kind;
	uint32_t line;
	uint32_t column;
	bool cluster; /* CIDR: meets addresses of the cluster too (all but Cilium's kinds) */
	struct sluice_prefix prefix;
	struct sluice_prefix *excepts;
	size_t nexcepts;
	struct selector selector;
	struct name_pattern name;
	char *text; /* in words, without the ports: "toFQDNs pypi.org" */
};

/* One egress or egressDeny entry: any of the peers, on any of the ports. */
struct entry {
	bool deny;
	uint32_t line;
	uint32_t column;
	struct peer *peers;
	size_t npeers;
	struct port_range *ports; /* none: every port, and ICMP */
	size_t nports;
	char *ports_text; /* in words: "443/TCP"; NULL: any port */
};

struct policy {
	unsigned int refs;
	uint64_t serial; /* never reused within a store; set when it enters one */
	enum policy_kind kind;
	char *kind_name;
	char *namespace_name; /* NULL: cluster-wide */
	char *name;
	char *title; /* "namespace/name", or "name" */
	char *file;
	uint32_t line;
	uint32_t column;
	bool isolates; /* turns default deny for egress on */
	bool selector_known;
	struct selector selector;
	struct entry *entries;
	size_t nentries;
	bool refused;
	bool selects_nothing; /* refused, but no endpoint hangs on it */
	char *refusal;	      /* the first error, when refused */
};

struct policy *policy_new(void);
struct policy *policy_ref(struct policy *p);
void policy_unrefp(struct policy **p);
void selector_clear(struct selector *s);
void entry_clear(struct entry *e);
void peer_clear(struct peer *p);

const char *policy_kind_name(enum policy_kind kind);

#endif
