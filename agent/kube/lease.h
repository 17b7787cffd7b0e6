/* SPDX-License-Identifier: Apache-2.0 */
/* The Lease of the release: who holds it speaks for all nodes, where one is to speak. Without I/O. */
#ifndef SLUICE_AGENT_KUBE_LEASE_H
#define SLUICE_AGENT_KUBE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/kube/talk.h"

/* The chart brings the object, so that nobody needs the right to make any; it is in the release's namespace. */
#define KUBE_LEASE_NAME "sluice"

struct kube_lease;

/* `holder` is this node's name. `random` need not be cryptographic. 0 or -ENOMEM. */
int kube_lease_new(const char *namespace_name, const char *holder, uint32_t (*random)(void), struct kube_lease **ret);
void kube_lease_freep(struct kube_lease **l);

extern const struct kube_talker kube_lease_talker; /* its context is the struct kube_lease */

/* Whether a request may begin in the holder's name: it is over, at the latest, before another node can hold the Lease. */
bool kube_lease_held(const struct kube_lease *l, uint64_t now);

/* No more is asked but, where it is held, that another node takes it at once. */
void kube_lease_release(struct kube_lease *l);
/* Whether that has come to its end, well or not. */
bool kube_lease_released(const struct kube_lease *l);

/* Who holds it, as last seen; "" when nobody does or it is not known. */
const char *kube_lease_holder(const struct kube_lease *l);
/* Why nobody can hold it; "" when all is well. */
const char *kube_lease_error(const struct kube_lease *l);

#endif
