/* SPDX-License-Identifier: Apache-2.0 */
/* Who selects an endpoint. Private. */
#ifndef SLUICE_POLICY_SELECT_H
#define SLUICE_POLICY_SELECT_H

#include "policy/compile.h"
#include "policy/model.h"

struct selection {
	const struct policy **policies; /* in force and isolating, in canonical order; borrowed policies */
	size_t count;
	const struct policy *refusal; /* denies the endpoint whatever the others allow; NULL: none */
};

bool selector_matches(const struct selector *s, const struct subject *subject);
int select_policies(const struct store *s, const struct subject *subject, struct selection *ret); /* 0, -ENOMEM */
void selection_clear(struct selection *s);

#endif
