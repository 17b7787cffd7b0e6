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
	POLICY_NP,	    /* NetworkPolicy */
	POLICY_AWS_CLUSTER, /* ClusterNetworkPolicy of networking.k8s.aws */
	POLICY_CLUSTER,	    /* ClusterNetworkPolicy of policy.networking.k8s.io */
	POLICY_CIDR_GROUP,
	POLICY_OTHER, /* of the policy groups, but not one we can enforce: only ever refused */
};

enum tier {
	TIER_NAMESPACE = 0, /* of all kinds that say none */
	TIER_ADMIN,
	TIER_BASELINE,
};

/* What a requirement looks at. */
enum scope {
	SCOPE_LABEL,
	SCOPE_NAMESPACE_NAME,
	SCOPE_NAMESPACE_LABEL,
	SCOPE_SERVICE_ACCOUNT,
};

enum operation {
	OP_IN, /* matchLabels: one value */
	OP_NOT_IN,
	OP_EXISTS,
	OP_NOT_EXISTS,
};

/* All of it must hold. Keys are without source prefix. */
struct requirement {
	enum scope scope;
	enum operation operation;
	char *key;
	char **values;
	size_t nvalues;
};

struct selector {
	char *namespace_name; /* NULL: any */
	struct requirement *items;
	size_t count;
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

/* A container port by name: each destination pod's own number. */
struct named_port {
	uint32_t protos;
	char *name;
};

enum peer_kind {
	PEER_ANY,     /* every destination, in the cluster and outside */
	PEER_WORLD,   /* every destination outside the cluster */
	PEER_CLUSTER, /* pods, nodes and their ClusterIPs */
	PEER_CIDR,
	PEER_CIDR_GROUP, /* CiliumCIDRGroups by `group`, or by labels (`selector`) when that is NULL */
	PEER_PODS,	 /* the inventory's pods that `selector` matches */
	PEER_NODES,
	PEER_APISERVER,
	PEER_SERVICE, /* a Service's backends: by `service`, or by labels (`selector`) when that is NULL */
	PEER_NAME,
	PEER_ASK, /* a name that may be asked, and opens nothing */
};

enum node_choice {
	NODES_ALL, /* that `selector` matches */
	NODES_LOCAL,
	NODES_REMOTE,
};

struct peer {
	enum peer_kind kind;
	uint32_t line;
	uint32_t column;
	bool cluster; /* CIDR: meets addresses of the cluster too (all but Cilium's kinds) */
	bool pods; /* NAME: opens the running pods that have a name under the cluster domain (not in Cilium's kinds) */
	enum node_choice nodes;
	struct sluice_prefix prefix;
	struct sluice_prefix *excepts;
	size_t nexcepts;
	struct selector selector;
	char *group;
	char *service;
	char *service_namespace; /* NULL: any */
	struct name_view name;	 /* its text owned */
	char *text;		 /* in words, without the ports: "toFQDNs pypi.org" */
};

enum action {
	ACTION_ALLOW,
	ACTION_DENY,
	ACTION_PASS, /* go on to the next tier */
};

/* One rule: any of the peers, on any of the ports. */
struct entry {
	enum action action;
	uint32_t line;
	uint32_t column;
	struct peer *peers;
	size_t npeers;
	struct port_range *ports; /* none, and no named ones: every port, and ICMP */
	size_t nports;
	struct named_port *named;
	size_t nnamed;
	char *ports_text; /* in words: "443/TCP"; NULL: any port */
	bool nothing;	  /* it restricts itself to no port at all */
};

struct label_pair {
	char *key;
	char *value;
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
	enum tier tier;
	uint32_t priority; /* of the Admin and Baseline tiers: 0..1000, lower is stronger */
	bool isolates;	   /* turns default deny for egress on */
	bool selector_known;
	struct selector selector;
	struct entry *entries;
	size_t nentries;
	struct label_pair *labels; /* CIDR group: the object's own */
	size_t nlabels;
	struct sluice_prefix *prefixes; /* CIDR group */
	size_t nprefixes;
	bool refused;
	bool selects_nothing; /* refused, but no endpoint hangs on it */
	char *refusal;	      /* the first error, when refused */
	/* Only members that are not known are wrong with it: an update may then keep what is in force (hazard 32). */
	bool only_unknown;
	uint64_t known; /* fingerprint of what is known in it */
	size_t first_diag;
	size_t ndiags;
};

struct policy *policy_new(void);
struct policy *policy_ref(struct policy *p);
void policy_unrefp(struct policy **p);
void selector_clear(struct selector *s);
void entry_clear(struct entry *e);
void peer_clear(struct peer *p);

void policy_drop_entries(struct policy *p);
void policy_trim(struct policy *p);		/* all of it was read: gives back what its arrays have too much */
bool policy_is_cluster(const struct policy *p); /* a ClusterNetworkPolicy of either group */

#endif
