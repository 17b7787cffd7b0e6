/* SPDX-License-Identifier: Apache-2.0 */
/* The store's insides, for select.c. Private. */
#ifndef SLUICE_POLICY_STORE_H
#define SLUICE_POLICY_STORE_H

#include "policy/compile.h"
#include "policy/model.h"

struct store_policy {
	struct policy *policy;
	bool last_good; /* the file's present text says something else, which is refused */
};

struct store_file {
	char *name;
	struct store_policy *in_force;
	size_t nin_force;
	struct policy **refused; /* of the present text */
	size_t nrefused;
};

struct store {
	struct store_file **files;
	size_t nfiles;
	uint64_t next_serial;
	uint64_t generation; /* another whenever anything is */
};

/* Same kind, namespace and name. Policies of one object's `specs` are the same. */
bool store_same_identity(const struct policy *a, const struct policy *b);

#endif
