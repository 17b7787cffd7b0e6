/* SPDX-License-Identifier: Apache-2.0 */
/* Pods, Namespaces, Nodes, Services and EndpointSlices as Kubernetes writes them, for an inventory without a cluster. */
#ifndef SLUICE_POLICY_OBJECTS_H
#define SLUICE_POLICY_OBJECTS_H

#include "policy/compile.h"
#include "policy/yaml.h"

/* Where an object stands. */
struct object_place {
	const char *kind;
	const char *namespace_name; /* "" when the kind has none */
	const char *name;
	const char *file;
	uint32_t line;
	uint32_t column;
};

/* `= {}` is an empty one. All of it is the objects' own: the documents may go. */
struct objects {
	struct subject *pods;
	size_t npods;
	struct kept_pod *kept; /* further ones, which a cache has */
	size_t nkept;
	struct inventory_namespace *namespaces;
	size_t nnamespaces;
	bool namespaces_told;	      /* as in struct inventory */
	struct inventory_node *nodes; /* none of them local */
	size_t nnodes;
	struct inventory_service *services;
	size_t nservices;
	struct inventory_slice *slices;
	size_t nslices;
	struct object_place *places;
	size_t nplaces;
	void **chunks; /* what the above point into */
	size_t nchunks;
	size_t used; /* bytes of them */
	char *free;  /* of the last chunk */
	size_t left;
	/*
	 * Where there are very many by themselves, to be set while it is empty: `unplaced`, so that no places are kept; and
	 * `free` and `left` to zeroed memory of the caller's, aligned for anything, that stands for a first chunk. `used` of
	 * one with the same objects in it is as much as they need.
	 */
	bool unplaced;
};
void objects_clear(struct objects *o);

/*
 * Adds what the document holds of these kinds, in a List too. Returns the first object that is of another kind (those are
 * passed over), NULL when there is none; mistakes go to `c`.
 */
const struct ynode *objects_add(struct objects *o, struct yctx *c, const struct ynode *root);

/*
 * An error to `diags` for each object that is there twice, by kind, namespace and name: it says where the first one is. The
 * number of them, or -ENOMEM.
 */
int objects_duplicates(const struct objects *o, struct diags *diags);

/* All but the pods as an inventory; borrows. */
struct inventory objects_inventory(const struct objects *o);
/* Borrows from the objects and the endpoints. `= {}` is an empty one. */
struct subjects {
	struct subject *pods; /* the endpoints in their order, then the objects' pods that are none of them */
	size_t npods;
	struct kept_pod *kept; /* of the kept ones those that are no endpoint */
	size_t nkept;
};
void subjects_clear(struct subjects *s);
/*
 * Who there is. An endpoint with the namespace and name of a pod is that pod: labels and addresses that the endpoint has stay
 * its own, the rest is the pod's. 0, -ENOMEM.
 */
int objects_subjects(const struct objects *o, const struct subject *endpoints, size_t n, struct subjects *ret);

#endif
