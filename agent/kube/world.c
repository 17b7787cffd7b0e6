/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kube/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"

struct build {
	const struct kube_join *join;
	struct static_endpoints *endpoints;
	struct kube_world counts;
};

static int copy_pod(const struct kube_pod *pod, struct static_endpoint *to)
{
	to->namespace_name = strdup(pod->subject->namespace_name);
	to->name = strdup(pod->subject->name);
	to->uid = strdup(pod->cni_uid);
	return to->namespace_name && to->name && to->uid
		       ? static_endpoint_set_labels(to, pod->subject->labels, pod->subject->nlabels)
		       : -ENOMEM;
}

/* Takes what `found` owns. */
static int add_endpoint(struct build *b, const struct kube_pod *pod, struct static_endpoint *found)
{
	struct static_endpoint *slot = array_push(&b->endpoints->items, &b->endpoints->count, sizeof(*slot));

	if (!slot) {
		static_endpoint_clear(found);
		return -ENOMEM;
	}
	*slot = *found;
	return copy_pod(pod, slot);
}

static int add_host_pod(struct build *b, const struct kube_pod *pod)
{
	struct static_endpoint found = {};
	int r;

	b->counts.host_network++;
	r = b->join->place_host(b->join->context, pod, &found);
	return r > 0 ? add_endpoint(b, pod, &found) : r;
}

/* Of a namespace that many interfaces lead into the others stay closed: it is no pod's, and each would be every pod's there. */
#define MORE_INTERFACES 4

/* Each is an endpoint of its own, with the addresses that the pod has there. */
static int add_interfaces(struct build *b, const struct kube_pod *pod, struct static_endpoint *first)
{
	char interface[IF_NAMESIZE];
	int r;

	memcpy(interface, first->interface, sizeof(interface));
	r = add_endpoint(b, pod, first);
	for (size_t i = 0; r == 0 && i < MORE_INTERFACES; i++) {
		struct static_endpoint more = {};

		if (!b->join->place_more(b->join->context, interface, i, &more))
			break;
		r = add_endpoint(b, pod, &more);
	}
	return r;
}

/* A pod that is being deleted still runs, on the interface it has; when that leads elsewhere by now, it is not found there. */
static int add_pod(void *context, const struct kube_pod *pod)
{
	struct build *b = context;
	struct static_endpoint found = {};

	if (pod->finished)
		return 0;
	if (pod->subject->host_network)
		return add_host_pod(b, pod);
	b->counts.pods++;
	if (!b->join->place(b->join->context, pod, &found)) {
		b->counts.unjoined++;
		return 0;
	}
	return add_interfaces(b, pod, &found);
}

int kube_world_new(struct kube_cache *cache, const char *node, const struct kube_join *join,
		   struct endpoints_file **ret, struct kube_world *ret_counts)
{
	CLEANUP(endpoints_file_freep) struct endpoints_file *file = calloc(1, sizeof(*file));
	struct build b = { .join = join };
	int r;

	if (!file)
		return -ENOMEM;
	b.endpoints = &file->endpoints;
	r = kube_cache_pods(cache, node, add_pod, &b);
	if (r == 0)
		r = kube_cache_view(cache, &file->objects);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(file);
	*ret_counts = b.counts;
	return 0;
}
