/* SPDX-License-Identifier: Apache-2.0 */
/* The policy objects of the API: each is to the store a file of its own, "KIND NAMESPACE/NAME". */
#ifndef SLUICE_AGENT_KUBE_POLICIES_H
#define SLUICE_AGENT_KUBE_POLICIES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/kube/condition.h"
#include "policy/compile.h"

struct kube_policies;

/* Borrows the store. `accepted` is as in agent/accepted.h, and stays the caller's. 0 or -ENOMEM. */
int kube_policies_new(struct store *store, int accepted, struct kube_policies **ret);
void kube_policies_freep(struct kube_policies **p);

/* As in struct kube_sink; `group` tells the collections apart, each with lists of its own. */
void kube_policies_begin(struct kube_policies *p, unsigned int group);
void kube_policies_put(struct kube_policies *p, unsigned int group, json_t *object);
void kube_policies_gone(struct kube_policies *p, unsigned int group, json_t *object);
void kube_policies_synced(struct kube_policies *p, unsigned int group);

/* The text of that object that was accepted last, before what was put of it is: it is kept as an accepted one. */
void kube_policies_recall(struct kube_policies *p, json_t *object);

/* Whether the store changed since the last call. */
bool kube_policies_take_changed(struct kube_policies *p);
size_t kube_policies_count(const struct kube_policies *p);
/* All that was put is given to that store instead, which is another policy directory's. 0 or -ENOMEM. */
int kube_policies_move(struct kube_policies *p, struct store *store);

/* What is there to keep of the i-th, in that order; false: there is none. Borrowed until the policies change. */
struct kube_policy_text {
	unsigned int group;
	const char *file;
	const char *text;
	bool valid; /* or another text of it may be in force (agent/accepted.h) */
};
bool kube_policies_text(const struct kube_policies *p, size_t i, struct kube_policy_text *ret);

/* What is said of one object: for its conditions, for Events. Borrowed until the policies change. */
struct kube_verdict {
	const char *file; /* what the store calls it */
	const char *kind;
	const char *api_version;
	const char *namespace_name; /* "" of a cluster-wide one */
	const char *name;
	const char *uid;
	int64_t generation;
	bool valid;			   /* nothing of it was refused */
	const char *message;		   /* the first error with its path in the object, "" when valid */
	const struct kube_condition *seen; /* KUBE_CONDITIONS of them, as the API has them */
};
/* The message of the object that the store calls `file`; "" when it is valid, or none of these. */
const char *kube_policies_message(const struct kube_policies *p, const char *file);
/* The i-th, in the order of kinds, namespaces and names; false: there is none. */
bool kube_policies_verdict(const struct kube_policies *p, size_t i, struct kube_verdict *ret);
/* How many objects were put so far, whether they were others than before or only their status. */
uint64_t kube_policies_puts(const struct kube_policies *p);

/* What was told of an object, kept with its generation for whoever writes conditions (conditions.c). */
struct kube_told {
	uint64_t print;	     /* of what was written last */
	uint64_t not_before; /* ns of CLOCK_MONOTONIC: the same is not written again until then */
};
/* KUBE_CONDITIONS of them, borrowed until the policies change. NULL: no such object any more. */
struct kube_told *kube_policies_told(struct kube_policies *p, const char *file, const char *uid);

#endif
