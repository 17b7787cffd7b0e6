/* SPDX-License-Identifier: Apache-2.0 */
/* Writes `Valid` and `Enforced` into the status of the policies whose kinds have a place for them. Without I/O. */
#ifndef SLUICE_AGENT_KUBE_CONDITIONS_H
#define SLUICE_AGENT_KUBE_CONDITIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/kube/lease.h"
#include "agent/kube/policies.h"
#include "agent/kube/talk.h"

struct kube_conditions;

/* Borrows both: nothing is written but while the Lease is held. 0 or -ENOMEM. */
int kube_conditions_new(struct kube_policies *policies, const struct kube_lease *lease, uint32_t (*random)(void),
			struct kube_conditions **ret);
void kube_conditions_freep(struct kube_conditions **c);

/* What is denied by policies passes all the same: they are not enforced. */
void kube_conditions_set_audit(struct kube_conditions *c, bool audit);

extern const struct kube_talker kube_conditions_talker; /* its context is the struct kube_conditions */

struct kube_conditions_stats {
	uint64_t written;
	uint64_t failures;
	uint64_t foreign;  /* not written, for another writer owns it */
	const char *error; /* why the last one failed; "" when it did not */
};
void kube_conditions_get_stats(const struct kube_conditions *c, struct kube_conditions_stats *ret);

#endif
