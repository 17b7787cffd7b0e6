/* SPDX-License-Identifier: Apache-2.0 */
/* From the policies that select an endpoint to address rules and names, each with its rank. Private to the compiler. */
#ifndef SLUICE_POLICY_LOWER_H
#define SLUICE_POLICY_LOWER_H

#include "policy/build.h"
#include "policy/inventory.h"
#include "policy/resolve.h"
#include "policy/select.h"

/* A name rule, before it enters the trie. */
struct name_rule {
	const struct name_view *name;
	const struct entry *entry;
	struct grant grant;
	bool ask; /* it opens nothing */
};

struct lowering {
	const struct store *store;
	const struct selection *sel;
	struct resolver *resolver;
	const struct inventory_index *index; /* the resolver's, or one of nothing */
	struct diags *diags;		     /* NULL: nobody wants to know */
	struct image_parts parts;
	struct addr_rule *rules;
	size_t nrules;
	struct name_rule *names;
	size_t nnames;
	struct rank *ranks; /* by rule number; [0]: the default's */
	size_t nranks;
	struct port_range **owned; /* ports that no entry holds */
	size_t nowned;
	bool isolated;
	const struct policy *policy; /* the present one, its place, and its strings' offsets */
	uint32_t group;
	uint32_t level_names; /* as struct rank.names */
	uint32_t policy_title;
	uint32_t policy_kind;
	uint32_t policy_file;
};

/* 0, -ENOMEM. `lo` is zeroed before, and cleared by lowering_clear() whatever came of it. */
int lower_policies(struct lowering *lo, const struct store *s, const struct selection *sel, struct resolver *r,
		   struct diags *diags);
int lower_refusal(struct lowering *lo, const struct policy *p);
void lowering_clear(struct lowering *lo);

/* A port range of the lowering's own, for grants that no entry stands behind. NULL: no memory. */
struct port_range *lower_own_ports(struct lowering *lo, size_t n);

/* Pods that have a name under the cluster domain, for names that open them (lower_names.c). 0, -ENOMEM. */
int lower_pod_names(struct lowering *lo, const struct name_rule *rule);
/* Whether such a name may be one of a Service, or of its pods; or one of a pod by its address. */
void lower_name_meets(const struct inventory_index *index, const struct name_view *name, bool *ret_services,
		      bool *ret_pods);
bool lower_service_fits(const struct peer *peer, const struct inventory_service *s);
struct addr_rule *lower_address(struct lowering *lo, const struct grant *grant, const struct sluice_addr *addr);
/* A Service's name under the cluster domain into buf; false: it does not fit. */
bool service_dns_name(const struct inventory_index *index, const struct inventory_service *s, char *buf, size_t size);

/* Services' addresses, judged by their backends, after dests_build() (services.c). 0, -ENOMEM. */
int services_build(struct lowering *lo);

/* compile_trace() of what was lowered (trace.c). */
int trace_rules(const struct lowering *lo, const struct trace_query *q, struct trace_rule **ret, size_t *ret_count);

#endif
