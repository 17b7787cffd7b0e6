/* SPDX-License-Identifier: Apache-2.0 */
/* One text put before both, evaluator and compiled image, and the smallest text on which they still differ. */
#ifndef SLUICE_TESTS_MODEL_TRIAL_H
#define SLUICE_TESTS_MODEL_TRIAL_H

#include "tests/model/adapter.h"
#include "tests/model/evaluator.h"

/* The manifests, read by both. */
struct both {
	struct store *store;
	struct ydocs *docs;
	struct ev_policies policies;
};
/* 0; 1: policy/ refuses the text, or the evaluator does not know it. `ret` is to be cleared either way. */
int both_open(const char *text, size_t len, struct both *ret);
void both_clear(struct both *b);

/* A question: a flow, or whether a name may be asked. */
struct question {
	size_t pod;
	struct lease leases[ADAPTER_LEASES];
	size_t nleases;
	struct flow flow;
	const char *asked; /* NULL: the flow */
};

enum outcome {
	OUTCOME_AGREE,
	OUTCOME_DIFFER,
	OUTCOME_VOID, /* no question to both: an open endpoint's packets that never leave */
};

/* With `e` compiled for q->pod and its leases written. `ret_allowed`: the evaluator's word. */
enum outcome ask_both(const struct both *b, const struct world *w, const struct adapter_endpoint *e,
		      const struct question *q, bool *ret_allowed);

/* Prints what differs: the manifests cut down to what is needed, the cluster, the question, both answers. */
void report(const char *text, size_t len, const struct world *w, const struct question *q);

#endif
