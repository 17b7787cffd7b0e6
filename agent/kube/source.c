/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kube/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/kube/follow.h"
#include "base/cleanup.h"
#include "base/log.h"

/* Pods are large, with all that belongs to running them; a page of them is what is held at once. */
#define POD_PAGE    50
#define OBJECT_PAGE 250

/* Objects that are not the cache's. */
#define NOT_INVENTORY KUBE_SOURCE_POLICIES
#define SERVICE_CIDRS KUBE_SOURCE_CIDRS

static const struct {
	const char *path;
	const char *older; /* where servers that do not know `path` have it */
	const char *crd;
	int kind; /* enum kube_kind, or one of the above */
	unsigned int page;
	bool optional;
} collections[] = {
	{ "/api/v1/pods", NULL, NULL, KUBE_POD, POD_PAGE, false },
	{ "/api/v1/namespaces", NULL, NULL, KUBE_NAMESPACE, OBJECT_PAGE, false },
	{ "/api/v1/nodes", NULL, NULL, KUBE_NODE, POD_PAGE, false },
	{ "/api/v1/services", NULL, NULL, KUBE_SERVICE, OBJECT_PAGE, false },
	{ "/apis/discovery.k8s.io/v1/endpointslices", NULL, NULL, KUBE_SLICE, OBJECT_PAGE, false },
	/* Of Kubernetes 1.33 and later. */
	{ "/apis/networking.k8s.io/v1/servicecidrs", NULL, NULL, SERVICE_CIDRS, OBJECT_PAGE, true },
	{ "/apis/networking.k8s.io/v1/networkpolicies", NULL, NULL, NOT_INVENTORY, OBJECT_PAGE, false },
	{ "/apis/cilium.io/v2/ciliumnetworkpolicies", NULL, "ciliumnetworkpolicies.cilium.io", NOT_INVENTORY,
	  OBJECT_PAGE, false },
	{ "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies", NULL, "ciliumclusterwidenetworkpolicies.cilium.io",
	  NOT_INVENTORY, OBJECT_PAGE, false },
	{ "/apis/cilium.io/v2/ciliumcidrgroups", "/apis/cilium.io/v2alpha1/ciliumcidrgroups",
	  "ciliumcidrgroups.cilium.io", NOT_INVENTORY, OBJECT_PAGE, false },
	{ "/apis/networking.k8s.aws/v1alpha1/applicationnetworkpolicies", NULL,
	  "applicationnetworkpolicies.networking.k8s.aws", NOT_INVENTORY, OBJECT_PAGE, false },
	{ "/apis/networking.k8s.aws/v1alpha1/clusternetworkpolicies", NULL, "clusternetworkpolicies.networking.k8s.aws",
	  NOT_INVENTORY, OBJECT_PAGE, false },
	{ "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies", NULL,
	  "clusternetworkpolicies.policy.networking.k8s.io", NOT_INVENTORY, OBJECT_PAGE, false },
};

struct task {
	struct kube_source *source;
	unsigned int index;
	struct kube_follow *follow;
	bool told; /* that it fails */
};

struct kube_source {
	sd_event *event;
	struct kube_http *http;
	struct kube_cache *cache;
	struct kube_policies *policies;
	struct kube_cidrs *cidrs;
	char *node;
	void (*see_node)(void *context, json_t *node);
	void *see_context;
	void (*changed)(void *context);
	void *context;
	char *own_pods; /* the query for the pods of this node */
	bool all_pods;
	bool heard;
	bool away; /* the server does not answer, and that was told */
	struct task tasks[ARRAY_SIZE(collections)];
};

/* ---- where objects go -------------------------------------------------------------------------------------------- */

static void tell(struct task *t)
{
	t->source->heard = true;
	t->source->changed(t->source->context);
}

static int kind_of(const struct task *t)
{
	return collections[t->index].kind;
}

static void sink_begin(void *context)
{
	struct task *t = context;
	struct kube_source *s = t->source;

	s->heard = true;
	if (kind_of(t) == NOT_INVENTORY)
		kube_policies_begin(s->policies, t->index);
	else if (kind_of(t) == SERVICE_CIDRS)
		kube_cidrs_begin(s->cidrs);
	else
		kube_cache_begin(s->cache, (enum kube_kind)kind_of(t));
}

static bool is_own_node(const struct kube_source *s, json_t *node)
{
	const char *name = json_string_value(json_object_get(json_object_get(node, "metadata"), "name"));

	return name && !strcmp(name, s->node);
}

static void sink_put(void *context, json_t *object)
{
	struct task *t = context;
	struct kube_source *s = t->source;

	if (kind_of(t) == KUBE_NODE && s->see_node && is_own_node(s, object))
		s->see_node(s->see_context, object);
	if (kind_of(t) == NOT_INVENTORY)
		kube_policies_put(s->policies, t->index, object);
	else if (kind_of(t) == SERVICE_CIDRS)
		kube_cidrs_put(s->cidrs, object);
	else
		kube_cache_put(s->cache, (enum kube_kind)kind_of(t), object);
	tell(t);
}

static void sink_gone(void *context, json_t *object)
{
	struct task *t = context;
	struct kube_source *s = t->source;

	if (kind_of(t) == NOT_INVENTORY)
		kube_policies_gone(s->policies, t->index, object);
	else if (kind_of(t) == SERVICE_CIDRS)
		kube_cidrs_gone(s->cidrs, object);
	else
		kube_cache_gone(s->cache, (enum kube_kind)kind_of(t), object);
	tell(t);
}

static void sink_synced(void *context)
{
	struct task *t = context;
	struct kube_source *s = t->source;

	if (kind_of(t) == NOT_INVENTORY)
		kube_policies_synced(s->policies, t->index);
	else if (kind_of(t) == SERVICE_CIDRS)
		kube_cidrs_synced(s->cidrs);
	else
		kube_cache_synced(s->cache, (enum kube_kind)kind_of(t));
	tell(t);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

/* That nothing answers is told once for all collections, and its end. */
static void tell_reachable(struct kube_source *s, const struct kube_reflector_state *state)
{
	bool away = state->status == 0 && state->error[0];

	if (away == s->away)
		return;
	s->away = away;
	if (away)
		log_warning("%s: %s; what is known stays in force", kube_http_server(s->http), state->error);
	else
		log_info("%s: answers", kube_http_server(s->http));
}

/* What a server refuses or cannot do is told once for a collection, and its end. */
static void tell_failure(void *context)
{
	struct task *t = context;
	struct kube_reflector_state state;
	bool failing;

	kube_follow_get(t->follow, &state);
	tell_reachable(t->source, &state);
	failing = state.error[0] && state.status;
	if (failing && !t->told)
		log_warning("%s: %s; what is known of it stays in force", state.path, state.error);
	else if (!state.error[0] && t->told)
		log_info("%s: answered again", state.path);
	t->told = failing || (t->told && state.error[0]);
}

/* Begins to list and to watch, into `ret`. 0 or -errno. */
static int task_follow(struct task *t, struct kube_follow **ret)
{
	const struct kube_collection what = {
		.path = collections[t->index].path,
		.older = collections[t->index].older,
		.crd = collections[t->index].crd,
		.page = collections[t->index].page,
		.optional = collections[t->index].optional,
		.query = collections[t->index].kind == KUBE_POD && !t->source->all_pods ? t->source->own_pods : NULL,
	};
	const struct kube_sink sink = { t, sink_begin, sink_put, sink_gone, sink_synced };

	return kube_follow_new(t->source->event, t->source->http, &what, &sink, tell_failure, ret);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

void kube_source_freep(struct kube_source **s)
{
	if (!*s)
		return;
	for (size_t i = 0; i < ARRAY_SIZE((*s)->tasks); i++)
		kube_follow_freep(&(*s)->tasks[i].follow);
	kube_cache_freep(&(*s)->cache);
	kube_policies_freep(&(*s)->policies);
	kube_cidrs_freep(&(*s)->cidrs);
	free((*s)->node);
	free((*s)->own_pods);
	sd_event_unref((*s)->event);
	free(*s);
	*s = NULL;
}

static int start_tasks(struct kube_source *s)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(s->tasks); i++) {
		struct task *t = &s->tasks[i];
		int r;

		t->source = s;
		t->index = i;
		r = task_follow(t, &t->follow);
		if (r < 0)
			return r;
	}
	return 0;
}

int kube_source_new(sd_event *event, struct kube_http *http, const char *node, struct store *store, int accepted,
		    void (*changed)(void *context), void *context, struct kube_source **ret)
{
	CLEANUP(kube_source_freep) struct kube_source *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->event = sd_event_ref(event);
	s->http = http;
	s->changed = changed;
	s->context = context;
	if (asprintf(&s->own_pods, "fieldSelector=spec.nodeName%%3D%s", node) < 0) {
		s->own_pods = NULL;
		return -ENOMEM;
	}
	s->node = strdup(node);
	r = s->node ? kube_cache_new(s->node, &s->cache) : -ENOMEM;
	if (r == 0)
		r = kube_cidrs_new(&s->cidrs);
	if (r == 0)
		r = kube_policies_new(store, accepted, &s->policies);
	if (r == 0)
		r = start_tasks(s);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

bool kube_source_synced(const struct kube_source *s)
{
	struct kube_reflector_state state;

	for (size_t i = 0; i < ARRAY_SIZE(s->tasks); i++) {
		kube_follow_get(s->tasks[i].follow, &state);
		if (!state.synced)
			return false;
	}
	return true;
}

bool kube_source_heard(const struct kube_source *s)
{
	return s->heard;
}

bool kube_source_current(const struct kube_source *s)
{
	struct kube_reflector_state state;

	for (size_t i = 0; i < ARRAY_SIZE(s->tasks); i++) {
		kube_follow_get(s->tasks[i].follow, &state);
		if (!state.watching && !(state.absent && !state.error[0]))
			return false;
	}
	return true;
}

const char *kube_source_collection(size_t i, int *ret_kind)
{
	if (i >= ARRAY_SIZE(collections))
		return NULL;
	*ret_kind = collections[i].kind;
	return collections[i].path;
}

struct kube_cache *kube_source_cache(struct kube_source *s)
{
	return s->cache;
}

struct kube_policies *kube_source_policies(struct kube_source *s)
{
	return s->policies;
}

struct kube_cidrs *kube_source_cidrs(struct kube_source *s)
{
	return s->cidrs;
}

void kube_source_see_node(struct kube_source *s, void (*see)(void *context, json_t *node), void *context)
{
	s->see_node = see;
	s->see_context = context;
}

void kube_source_want_all_pods(struct kube_source *s, bool wanted)
{
	struct kube_follow *fresh = NULL;
	struct task *t = &s->tasks[0];

	if (s->all_pods == wanted)
		return;
	s->all_pods = wanted;
	if (task_follow(t, &fresh) < 0) {
		s->all_pods = !wanted;
		return;
	}
	kube_follow_freep(&t->follow);
	t->follow = fresh;
}

bool kube_source_state(const struct kube_source *s, size_t i, struct kube_reflector_state *ret)
{
	if (i >= ARRAY_SIZE(s->tasks))
		return false;
	kube_follow_get(s->tasks[i].follow, ret);
	return true;
}
