/* SPDX-License-Identifier: Apache-2.0 */
/* Does a selector match? Private. */
#ifndef SLUICE_POLICY_MATCH_H
#define SLUICE_POLICY_MATCH_H

#include "policy/compile.h"
#include "policy/model.h"

/*
 * Of an endpoint, which is enforced no sooner than its Namespace is known. `inv` has the labels of namespaces; NULL: none
 * are known but their names.
 */
bool selector_matches(const struct selector *s, const struct subject *subject, const struct inventory *inv);

enum match {
	MATCH_NO,
	MATCH_UNKNOWN, /* it hangs on labels of a Namespace that nobody has told of (inventory.namespaces_told) */
	MATCH_YES,
};

/* Of a peer. */
enum match selector_match_peer(const struct selector *s, const struct subject *pod, const struct inventory *inv);
/* Does it ask for labels of namespaces, beyond their names? */
bool selector_asks_namespace(const struct selector *s);
/* Of what is no pod: keys are its labels, and requirements of other scopes do not hold. */
bool selector_matches_labels(const struct selector *s, const struct label *labels, size_t n);
bool selector_matches_pairs(const struct selector *s, const struct label_pair *labels, size_t n);

#endif
