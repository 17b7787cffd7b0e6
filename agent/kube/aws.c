/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kube/aws.h"

#include <string.h>

static const char *text_of(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static bool is_turned_on(json_t *container)
{
	static const char *const lists[] = { "command", "args" };

	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		json_t *list = json_object_get(container, lists[i]), *word;
		size_t k;

		json_array_foreach(list, k, word)
		{
			if (json_is_string(word) && !strcmp(json_string_value(word), "--enable-network-policy=true"))
				return true;
		}
	}
	return false;
}

/* Of kube-system only: in their own namespaces users name containers as they like. */
bool kube_aws_enforces(json_t *pod)
{
	json_t *containers = json_object_get(json_object_get(pod, "spec"), "containers"), *container;
	size_t i;

	if (strcmp(text_of(json_object_get(pod, "metadata"), "namespace"), "kube-system") != 0)
		return false;
	json_array_foreach(containers, i, container)
	{
		if (!strcmp(text_of(container, "name"), "aws-eks-nodeagent") && is_turned_on(container))
			return true;
	}
	return false;
}
