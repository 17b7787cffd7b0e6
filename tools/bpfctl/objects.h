/* SPDX-License-Identifier: Apache-2.0 */
/* Pods, Namespaces, Nodes, Services and EndpointSlices as Kubernetes writes them, for an inventory without a cluster. */
#ifndef SLUICE_TOOLS_BPFCTL_OBJECTS_H
#define SLUICE_TOOLS_BPFCTL_OBJECTS_H

#include "policy/compile.h"
#include "policy/yaml.h"

/* `= {}` is an empty one. Strings are the nodes': the documents must live as long. */
struct objects {
	struct subject *pods;
	const char **pod_nodes; /* spec.nodeName of each, or NULL */
	size_t npods;
	size_t npod_nodes;
	struct inventory_namespace *namespaces;
	size_t nnamespaces;
	struct inventory_node *nodes;
	size_t nnodes;
	struct inventory_service *services;
	size_t nservices;
	struct inventory_slice *slices;
	size_t nslices;
	void **blocks; /* the arrays the above point into */
	size_t nblocks;
};
void objects_clear(struct objects *o);

/* Adds what the document holds of these kinds, in a List too. Other kinds are passed over; mistakes go to `c`. */
void objects_add(struct objects *o, struct yctx *c, const struct ynode *root);

#endif
