/* SPDX-License-Identifier: Apache-2.0 */
/* What the evaluator's files share. */
#ifndef SLUICE_TESTS_MODEL_EVAL_PRIVATE_H
#define SLUICE_TESTS_MODEL_EVAL_PRIVATE_H

#include "base/addr.h"
#include "tests/model/evaluator.h"

/* What an address is in the cluster; all NULL and false: the world. */
struct ev_dest {
	const struct world_pod *pod;
	const struct world_node *node;
	const struct world_service *service; /* its ClusterIP */
	bool api_server;
};

enum ev_action {
	EV_NONE,
	EV_PASS,
	EV_ACCEPT,
	EV_DENY, /* in rising order of who wins a tie */
};

/* What the backends of a ClusterIP say together: one more list at the level that decided it for them. */
struct ev_word {
	long level;
	enum ev_action action; /* EV_NONE: none */
};

struct ev_ctx {
	const struct ev_policies *policies;
	const struct world *world;
	const struct ev_flow *flow;
	struct ev_dest dest;
	bool names_count; /* the flow's names may open its address at all */
	struct ev_word word;
};

/* ---- eval_common.c --------------------------------------------------------------------------------------------- */

bool ev_is(const struct ynode *node, const char *text);
/* The list under `key`; its length is 0 when it is missing or no list. */
size_t ev_count(const struct ynode *list);
/* A whole number; -1 when `node` is NULL or none. */
long ev_number(const struct ynode *node);

struct ev_dest ev_find_dest(const struct world *w, const struct sluice_addr *addr);
bool ev_in_cluster(const struct ev_dest *d);
bool ev_never_leaves(const struct sluice_addr *addr);
bool ev_no_name_opens(const struct sluice_addr *addr);
bool ev_embedded_v4(const struct sluice_addr *addr, struct sluice_addr *ret);
bool ev_cidr_holds(const struct ynode *cidr, const struct sluice_addr *addr);
/* {cidr, except}: in the one and in none of the others. */
bool ev_block_holds(const struct ynode *block, const struct sluice_addr *addr);

/* Plain Kubernetes LabelSelector; an empty one selects everything. */
bool ev_selects(const struct ynode *selector, const struct world_labels *labels);
bool ev_selects_namespace(const struct world *w, const struct ynode *selector, const char *namespace_name);
/* Cilium's: prefixes, the namespace, its labels and the service account as labels. `own`: the namespace meant when the
 * selector names none, or NULL. */
bool ev_cilium_selects(const struct world *w, const struct ynode *selector, const struct world_pod *pod,
		       const char *own);

bool ev_cilium_name_matches(const char *pattern, const char *name);
bool ev_aws_name_matches(const char *pattern, const char *name);

uint8_t ev_proto(const struct ynode *node); /* 0: any */
bool ev_has_ports(uint8_t proto);	    /* TCP, UDP, SCTP */
/* Does the destination pod call that port so? */
bool ev_named_port(const struct ev_ctx *c, const char *name, uint8_t proto);

/* ---- eval_cilium.c --------------------------------------------------------------------------------------------- */

bool ev_cilium_subject(const struct world *w, const struct ev_policy *p, const struct world_pod *from);
bool ev_cilium_isolates(const struct ev_policy *p);
bool ev_cilium_matches(const struct ev_ctx *c, const struct ev_policy *p, const char *section);
/* `opens`: only names that open something; else rules.dns too. NULL `name`: any name at all. */
bool ev_cilium_name(const struct ev_policy *p, const char *name, bool opens);

/* ---- eval_k8s.c ------------------------------------------------------------------------------------------------ */

bool ev_k8s_subject(const struct world *w, const struct ev_policy *p, const struct world_pod *from);
bool ev_k8s_isolates(const struct ev_policy *p); /* of NetworkPolicy and ApplicationNetworkPolicy */
bool ev_k8s_allows(const struct ev_ctx *c, const struct ev_policy *p);
bool ev_k8s_name(const struct ev_policy *p, const char *name);

enum ev_action ev_cluster_action(const struct ev_ctx *c, const struct ev_policy *p);

#endif
