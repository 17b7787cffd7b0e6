/* SPDX-License-Identifier: Apache-2.0 */
/* Who selects an endpoint. Private. */
#ifndef SLUICE_POLICY_SELECT_H
#define SLUICE_POLICY_SELECT_H

#include "policy/compile.h"
#include "policy/model.h"

struct selection {
	const struct policy **policies; /* in force, with something to say about egress, in canonical order; borrowed */
	size_t count;
	bool isolated;		      /* one of them asks for default deny */
	const struct policy *refusal; /* denies the endpoint whatever the others allow; NULL: none */
};

int select_policies(const struct store *s, const struct subject *subject, const struct inventory *inv,
		    struct selection *ret); /* 0, -ENOMEM */
void selection_clear(struct selection *s);

/* The CIDR groups in force that a peer of kind CIDR_GROUP means, one after the other; NULL: no more. `*at` from 0. */
const struct policy *select_group(const struct store *s, const struct peer *peer, size_t *at);

#endif
