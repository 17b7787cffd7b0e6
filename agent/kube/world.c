/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kube/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"

struct build {
	const struct kube_cache *cache;
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

static void refuse(struct build *b, const struct kube_pod *pod, const char *why)
{
	b->counts.unjoined++;
	b->join->refuse(b->join->context, pod, why);
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
	/* Each kind is heard by itself: the pod may come first, and whose labels are not known no policy selects by them. */
	if (!kube_cache_namespace(b->cache, pod->subject->namespace_name)) {
		refuse(b, pod, "its namespace is not known yet");
		return 0;
	}
	if (!b->join->place(b->join->context, pod, &found)) {
		b->counts.unjoined++;
		return 0;
	}
	return add_interfaces(b, pod, &found);
}

/* ---- one interface, one pod -------------------------------------------------------------------------------------- */

static int compare_interfaces(const void *a, const void *b)
{
	const struct static_endpoint *x = *(const struct static_endpoint *const *)a;
	const struct static_endpoint *y = *(const struct static_endpoint *const *)b;

	return strcmp(x->interface, y->interface);
}

static bool is_of_same_pod(const struct static_endpoint *a, const struct static_endpoint *b)
{
	return !strcmp(a->name, b->name) && !strcmp(a->namespace_name, b->namespace_name);
}

/* Takes out those with a mark. The interfaces of a pod follow each other, and it is refused once. */
static void take_out(struct build *b, const bool *marks)
{
	struct static_endpoints *list = b->endpoints;
	struct kube_pod pod;
	size_t kept = 0;

	for (size_t i = 0; i < list->count; i++) {
		const struct static_endpoint *e = &list->items[i];

		if (marks[i] && (i + 1 == list->count || !marks[i + 1] || !is_of_same_pod(e, e + 1)) &&
		    kube_cache_pod(b->cache, e->namespace_name, e->name, &pod))
			refuse(b, &pod, "another pod's addresses lead to its interface too");
	}
	for (size_t i = 0; i < list->count; i++) {
		if (marks[i])
			static_endpoint_clear(&list->items[i]);
		else
			list->items[kept++] = list->items[i];
	}
	list->count = kept;
}

/* Where the API gives two pods one address, it does not say whose the interface is. A cgroup's endpoint has none. */
static int drop_shared(struct build *b)
{
	struct static_endpoints *list = b->endpoints;
	_cleanup_free_ struct static_endpoint **sorted = calloc(list->count + 1, sizeof(*sorted));
	_cleanup_free_ bool *marks = calloc(list->count + 1, sizeof(*marks));

	if (!sorted || !marks)
		return -ENOMEM;
	for (size_t i = 0; i < list->count; i++)
		sorted[i] = &list->items[i];
	qsort(sorted, list->count, sizeof(*sorted), compare_interfaces);
	for (size_t i = 1; i < list->count; i++) {
		if (*sorted[i]->interface && compare_interfaces(&sorted[i - 1], &sorted[i]) == 0)
			marks[sorted[i - 1] - list->items] = marks[sorted[i] - list->items] = true;
	}
	take_out(b, marks);
	return 0;
}

int kube_world_new(struct kube_cache *cache, const struct kube_join *join, struct endpoints_file **ret,
		   struct kube_world *ret_counts)
{
	CLEANUP(endpoints_file_freep) struct endpoints_file *file = calloc(1, sizeof(*file));
	struct build b = { .cache = cache, .join = join };
	int r;

	if (!file)
		return -ENOMEM;
	b.endpoints = &file->endpoints;
	r = kube_cache_pods(cache, add_pod, &b);
	if (r == 0)
		r = drop_shared(&b);
	if (r == 0)
		r = kube_cache_view(cache, &file->objects);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(file);
	*ret_counts = b.counts;
	return 0;
}
