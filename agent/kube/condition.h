/* SPDX-License-Identifier: Apache-2.0 */
/* The conditions in a policy's status that are Sluice's to write: what the API has of them, and what it is to have. */
#ifndef SLUICE_AGENT_KUBE_CONDITION_H
#define SLUICE_AGENT_KUBE_CONDITION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "agent/kube/talk.h"

enum kube_condition_type {
	KUBE_VALID,    /* nothing of the object was refused */
	KUBE_ENFORCED, /* and what it says is held to */
};
#define KUBE_CONDITIONS 2

struct kube_condition {
	uint64_t print;		   /* of all that it says but for the time; 0: there is none */
	bool positive;		   /* its status is True */
	bool ours;		   /* by its reason */
	char since[KUBE_TIME_MAX]; /* lastTransitionTime */
};

/* As an object of the API has them: each as `= {}` where it has none. */
void kube_conditions_read(json_t *object, struct kube_condition ret[KUBE_CONDITIONS]);

/* What a condition is to say. */
struct kube_wanted {
	bool positive;
	const char *reason; /* ends in KUBE_OURS */
	const char *message;
	int64_t generation; /* 0: the kind has no observedGeneration */
};
/* Conditions of other writers have other reasons, or none. */
#define KUBE_OURS "BySluice"

uint64_t kube_wanted_print(const struct kube_wanted *w);
/* As JSON: the time of `seen` is kept while the status is the same. NULL: out of memory. */
json_t *kube_wanted_json(enum kube_condition_type type, const struct kube_wanted *w, const struct kube_condition *seen,
			 time_t wall);

#endif
