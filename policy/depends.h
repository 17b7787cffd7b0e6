/* SPDX-License-Identifier: Apache-2.0 */
/* What a policy's rules depend on in the inventory, as a print, kept from pass to pass. Private to the compiler. */
#ifndef SLUICE_POLICY_DEPENDS_H
#define SLUICE_POLICY_DEPENDS_H

#include "policy/resolve.h"
#include "policy/store.h"

struct depends;

struct dependencies {
	struct depends *items;
	size_t count;
	struct keymap by_serial;
};

/*
 * A print that is another when the policy's rules, or what is behind the Services in their reach, is. It may also differ
 * without need: a policy of very many addresses is taken to reach every Service with pods. 0, -ENOMEM.
 */
int dependencies_print(struct dependencies *d, const struct store *s, struct resolver *r, const struct policy *p,
		       uint64_t *ret);
/* Forgets the policies that the last pass did not ask for. `pass` is that of the resolver's Services then. */
void dependencies_begin(struct dependencies *d, uint64_t pass);
void dependencies_clear(struct dependencies *d);

#endif
