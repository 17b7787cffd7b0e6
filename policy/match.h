/* SPDX-License-Identifier: Apache-2.0 */
/* Does a selector match? Private. */
#ifndef SLUICE_POLICY_MATCH_H
#define SLUICE_POLICY_MATCH_H

#include "policy/compile.h"
#include "policy/model.h"

/* `inv` has the labels of namespaces; NULL: none are known but their names. */
bool selector_matches(const struct selector *s, const struct subject *subject, const struct inventory *inv);
/* Of what is no pod: keys are its labels, and requirements of other scopes do not hold. */
bool selector_matches_labels(const struct selector *s, const struct label *labels, size_t n);
bool selector_matches_pairs(const struct selector *s, const struct label_pair *labels, size_t n);

#endif
