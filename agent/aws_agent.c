/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/aws_agent.h"

#define DROPPED                                                                                                        \
	"AWS's network policy agent on this node drops everything that the pod sends: its ApplicationNetworkPolicies " \
	"admit domain names only, which that agent does not know. Set enableNetworkPolicy=false in the VPC CNI add-on"

struct look {
	struct aws_agent *agent;
	const struct store *store;
};

void aws_agent_clear(struct aws_agent *a)
{
	troubles_clear(&a->dropped);
	a->there = false;
}

static int find_agent(void *context, const struct kube_pod *pod)
{
	struct aws_agent *a = context;

	a->there = a->there || (pod->aws_enforces && !pod->finished);
	return a->there;
}

static int find_dropped(void *context, const struct kube_pod *pod)
{
	struct look *l = context;

	if (!pod->subject->host_network && !pod->finished && store_names_only(l->store, pod->subject))
		troubles_add(&l->agent->dropped, pod, DROPPED);
	return 0;
}

void aws_agent_look(struct aws_agent *a, const struct kube_cache *cache, const struct store *store)
{
	struct look look = { a, store };

	aws_agent_clear(a);
	kube_cache_pods(cache, find_agent, a);
	if (a->there)
		kube_cache_pods(cache, find_dropped, &look);
}

void aws_agent_tell(const struct aws_agent *a, struct kube_report *report)
{
	troubles_tell_as(&a->dropped, "DroppedByNetworkPolicyAgent", report);
}

void aws_agent_problems(const struct aws_agent *a, json_t *list)
{
	troubles_lines(&a->dropped, list);
}
