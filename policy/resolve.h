/* SPDX-License-Identifier: Apache-2.0 */
/* What peers of the cluster stand for, kept from one pass over an inventory to the next. Private to the compiler. */
#ifndef SLUICE_POLICY_RESOLVE_H
#define SLUICE_POLICY_RESOLVE_H

#include "policy/inventory.h"
#include "policy/model.h"
#include "policy/pods.h"
#include "policy/slots.h"

/* The pods that a selector finds; `key` is the print of the selector. */
struct found_pods {
	uint64_t key;
	struct picked pods;
};

struct resolver {
	uint64_t seed[2];
	struct inventory_index index;
	struct pods pods; /* as in the index */
	struct slot_table services;
	struct sluice_addr *cluster; /* sorted: those of `cluster_of` */
	size_t ncluster;
	struct found_pods *found;
	size_t nfound;
	struct keymap by_selector;
	uint64_t *namespaces; /* prints, in the inventory's order */
	/* Prints of what is not told apart further. */
	uint64_t every_namespace;
	uint64_t nodes;
	uint64_t cluster_of; /* the addresses of pods, nodes and Services, and whose they are */
	uint64_t every_service;
	uint64_t every_presence;
	uint64_t place; /* Service CIDRs, the cluster's domain */
	uint64_t api_server;
};

/* Reads the inventory of a pass, which must stay until the next. 0, -ENOMEM. */
int resolver_begin(struct resolver *r, const struct inventory *inv);
void resolver_clear(struct resolver *r);

/* The print of all that selectors see of it, its namespace's labels too. */
uint64_t resolver_subject(const struct resolver *r, const struct subject *subject);
/*
 * The running pods, none on its node's network, that `selector` finds (NULL: all); with `possible` those too of which it
 * is not known, as their Namespace is not. Borrowed until the next. 0, -ENOMEM.
 */
int resolver_find(struct resolver *r, const struct selector *selector, bool possible, const struct picked **ret);
/* May there be such pods? What is found is the same else, and costs nothing more. */
bool resolver_doubts(const struct resolver *r, const struct selector *selector);

#endif
