/* SPDX-License-Identifier: Apache-2.0 */
/* The running pods of an inventory, in order, each with a slot for its content. Private to the compiler. */
#ifndef SLUICE_POLICY_PODS_H
#define SLUICE_POLICY_PODS_H

#include "base/strbuf.h"
#include "policy/compile.h"
#include "policy/slots.h"

struct carried;

/* `= {}` is empty. */
struct pods {
	const struct subject **items; /* by namespace and name */
	size_t count;
	struct slot_table slots; /* of `items` */
	uint64_t every;		 /* all of their content */
	uint64_t places;	 /* of it, the addresses and whose they are */
	struct carried *carried; /* what was made of inventory.kept */
	size_t ncarried;
	uint64_t newest;     /* the greatest version ever seen */
	uint64_t namespaces; /* that the prints hold labels of */
};

struct pods_input {
	const struct inventory *inv;
	const uint64_t *namespaces; /* prints of their labels, in the inventory's order */
	uint64_t every_namespace;   /* a print of all of that, and their names */
	const uint64_t *seed;
};

/* Of a pass. 0; -ENOMEM: nothing is known of any pod, and the next pass begins anew. */
int pods_read(struct pods *p, const struct pods_input *in);
void pods_clear(struct pods *p);

/* What the pod is to a rule that reaches it; what selectors see of it. */
void pods_put_effect(struct strbuf *b, const struct subject *pod);
void pods_put_identity(struct strbuf *b, const struct pods_input *in, const struct subject *pod);

/* By namespace and name. */
int pods_compare(const struct subject *a, const struct subject *b);
/* Of kept pods, which are in order, the first from `from` on that is not before the pod. */
size_t pods_kept_from(const struct kept_pod *kept, size_t count, size_t from, const struct subject *pod);

#endif
