/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the manifests say, straight from the text: no model, no compile step, no tables. Written to be read beside the
 * design's semantics, paragraph by paragraph, and to be slow rather than clever. It trusts its input: manifests that
 * policy/ refuses are not shown to it.
 *
 *   evaluator.c      who is selected; tiers, priorities, Pass, deny-beats-allow; Services; IPv4 inside IPv6
 *   eval_cilium.c    CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy: does an entry match a flow?
 *   eval_k8s.c       NetworkPolicy, ApplicationNetworkPolicy and both ClusterNetworkPolicies: does a rule match?
 *   eval_common.c    selectors, CIDRs, names, ports, addresses
 */
#ifndef SLUICE_TESTS_MODEL_EVALUATOR_H
#define SLUICE_TESTS_MODEL_EVALUATOR_H

#include "policy/yaml.h"
#include "tests/model/world.h"

#define EV_MAX 64

enum ev_kind {
	EV_CNP,
	EV_CCNP,
	EV_CIDR_GROUP,
	EV_ANP,
	EV_NETWORK_POLICY,
	EV_AWS_CLUSTER,
	EV_UPSTREAM_CLUSTER,
};

/* One spec of one object. */
struct ev_policy {
	enum ev_kind kind;
	const char *namespace_name; /* NULL: cluster-wide */
	const char *name;
	const struct ynode *object;
	const struct ynode *spec;
};

struct ev_policies {
	struct ev_policy items[EV_MAX];
	size_t count;
};

struct ev_flow {
	const struct world_pod *from;
	struct sluice_addr to;
	uint8_t proto;
	uint16_t port;		  /* ICMP: the type */
	const char *const *names; /* whose answers gave `from` this address, canonical; not expired */
	size_t nnames;
};

/* Borrows the trees. False: more than EV_MAX, or something that is no policy. */
bool ev_load(const struct ydocs *docs, struct ev_policies *ret);

/* Semantics section 2, whole. */
bool ev_allowed(const struct ev_policies *p, const struct world *w, const struct ev_flow *flow);
/*
 * Section 4: port 53 of an endpoint with name rules is the proxy's unless the address is denied outright.
 * That is between the address rules: a name that leads there is no reason to talk past the proxy.
 */
bool ev_dns_allowed(const struct ev_policies *p, const struct world *w, const struct ev_flow *flow);

bool ev_isolated(const struct ev_policies *p, const struct world *w, const struct world_pod *from);
bool ev_has_names(const struct ev_policies *p, const struct world *w, const struct world_pod *from);
/* `name`: canonical, outside the cluster domain. May it be asked; does some rule open what it is answered with? */
bool ev_may_ask(const struct ev_policies *p, const struct world *w, const struct world_pod *from, const char *name);
bool ev_opens(const struct ev_policies *p, const struct world *w, const struct world_pod *from, const char *name);

#endif
