/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS's network policy agent beside this one: it enforces the same ApplicationNetworkPolicies, knows no domain names outside EKS
 * Auto Mode, and so drops everything that a pod sends which these admit nothing but names.
 */
#ifndef SLUICE_AGENT_AWS_AGENT_H
#define SLUICE_AGENT_AWS_AGENT_H

#include <jansson.h>
#include <stdbool.h>

#include "agent/kube/cache.h"
#include "agent/kube/report.h"
#include "agent/troubles.h"
#include "policy/compile.h"

/* As of the last look. */
struct aws_agent {
	bool there;		 /* on this node, turned on */
	struct troubles dropped; /* the pods concerned */
};
void aws_agent_clear(struct aws_agent *a);

void aws_agent_look(struct aws_agent *a, const struct kube_cache *cache, const struct store *store);
/* An Event for each, as a part of a pass. */
void aws_agent_tell(const struct aws_agent *a, struct kube_report *report);
/* A line for each. */
void aws_agent_problems(const struct aws_agent *a, json_t *list);

#endif
