/* SPDX-License-Identifier: Apache-2.0 */
/* Which policies select whom, kept from pass to pass. Private to the compiler. */
#ifndef SLUICE_POLICY_SELECTIONS_H
#define SLUICE_POLICY_SELECTIONS_H

#include "policy/select.h"
#include "policy/slots.h"

struct selected;

/* `= {}` is empty. */
struct selections {
	const struct store *store;
	uint64_t generation; /* of the store, at the last pass */
	uint64_t pass;
	struct selected *items;
	size_t count;
	struct keymap by_subject;
	const struct policy **fresh; /* in force since that pass */
	size_t nfresh;
	uint64_t newest; /* the greatest serial in force so far */
	bool refused;	 /* the store refuses something: whom that closes hangs on all of it */
};

/* Begins a pass with that store. Forgets what the last one did not ask for. 0; -ENOMEM: nothing is kept. */
int selections_begin(struct selections *s, const struct store *store);
/* What selects a subject of that print. Borrowed until the next call. 0, -ENOMEM. */
int selections_get(struct selections *s, uint64_t print, const struct subject *subject, const struct inventory *inv,
		   const struct selection **ret);
void selections_clear(struct selections *s);

#endif
