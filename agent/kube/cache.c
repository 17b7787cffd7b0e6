/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each object is an `objects` of its own with one element, so that it comes and goes with all its memory. A view copies
 * the elements together; what left the cache since is kept for the views that still point into it.
 */
#include "agent/kube/cache.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/kube/aws.h"
#include "agent/kube/escape.h"
#include "agent/kube/node.h"
#include "agent/kube/write.h"
#include "base/cleanup.h"
#include "base/siphash.h"
#include "policy/array.h"

#define ESCAPE_MAX 160

struct known {
	char *namespace_name;
	char *name;
	char *uid;
	char *cni_uid; /* the same as `uid`, or its own */
	char *escape;  /* NULL: none, or it is no host-network pod */
	bool aws_enforces;
	bool deleting;
	bool finished;
	uint32_t list; /* the last one it was in */
	uint64_t print;
	struct objects one;
	struct known *next; /* among the departed */
};

struct collection {
	void *tree; /* tsearch(3), of struct known */
	size_t count;
	uint32_t list; /* being read, or the last */
};

struct kube_cache {
	struct collection kinds[KUBE_KINDS];
	struct known *departed;	       /* since the last view */
	struct known *departed_before; /* since the one before */
	bool changed;
	uint64_t refused;
};

static void known_free(void *item)
{
	struct known *e = item;

	free(e->namespace_name);
	free(e->name);
	if (e->cni_uid != e->uid)
		free(e->cni_uid);
	free(e->uid);
	free(e->escape);
	objects_clear(&e->one);
	free(e);
}

static void known_freep(struct known **e)
{
	if (*e)
		known_free(*e);
	*e = NULL;
}

static void free_departed(struct known **list)
{
	while (*list) {
		struct known *e = *list;

		*list = e->next;
		known_free(e);
	}
}

int kube_cache_new(struct kube_cache **ret)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

void kube_cache_freep(struct kube_cache **c)
{
	if (!*c)
		return;
	for (size_t i = 0; i < KUBE_KINDS; i++)
		tdestroy((*c)->kinds[i].tree, known_free);
	free_departed(&(*c)->departed);
	free_departed(&(*c)->departed_before);
	free(*c);
	*c = NULL;
}

static int compare_known(const void *a, const void *b)
{
	const struct known *x = a, *y = b;
	int order = strcmp(x->namespace_name, y->namespace_name);

	return order ? order : strcmp(x->name, y->name);
}

/* ---- coming and going -------------------------------------------------------------------------------------------- */

void kube_cache_begin(struct kube_cache *c, enum kube_kind kind)
{
	c->kinds[kind].list++;
}

static const char *member(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(json_object_get(object, "metadata"), key));

	return text ? text : "";
}

static void depart(struct kube_cache *c, struct known *e)
{
	e->next = c->departed;
	c->departed = e;
	c->changed = true;
}

/* The kubelet shows a static pod to the API as another object, which says whose mirror it is. */
static const char *mirrored(json_t *object)
{
	json_t *annotations = json_object_get(json_object_get(object, "metadata"), "annotations");

	return json_string_value(json_object_get(annotations, "kubernetes.io/config.mirror"));
}

static bool is_finished(json_t *object)
{
	const char *phase = json_string_value(json_object_get(json_object_get(object, "status"), "phase"));

	return phase && (!strcmp(phase, "Succeeded") || !strcmp(phase, "Failed"));
}

/*
 * What its security context says is no member that an inventory has, and may change: a container for debugging is added to a
 * pod that runs.
 */
static bool find_escape(json_t *object, char *ret, size_t size)
{
	const char *kept = json_string_value(json_object_get(object, KUBE_WRITE_ESCAPE));

	return kept ? snprintf(ret, size, "%s", kept) > 0 : kube_escape(object, ret, size);
}

static int note_escape(struct known *e, json_t *object)
{
	json_t *spec = json_object_get(object, "spec");
	const uint64_t key[2] = { e->print, 0 };
	char text[ESCAPE_MAX];

	if (!json_is_true(json_object_get(spec, "hostNetwork")) || !find_escape(object, text, sizeof(text)))
		return 0;
	e->print = siphash24(text, strlen(text), key);
	e->escape = strdup(text);
	return e->escape ? 0 : -ENOMEM;
}

static int read_into(struct objects *o, struct ynode *root)
{
	struct diags diags = {};
	struct yctx ctx = { .file = "", .diags = &diags };
	int r = 0;

	if (objects_add(o, &ctx, root))
		r = -EINVAL;
	else if (ctx.oom || ctx.errors)
		r = ctx.oom ? -ENOMEM : -EINVAL;
	diags_clear(&diags);
	return r;
}

/* There may be ten thousand: read once to see how much room it takes, then into that. */
static int read_tight(struct objects *ret, struct ynode *root)
{
	struct objects trial = { .unplaced = true };
	int r = read_into(&trial, root);

	*ret = (struct objects){ .unplaced = true, .first = trial.used };
	objects_clear(&trial);
	return r < 0 ? r : read_into(ret, root);
}

static int known_new(json_t *object, struct known **ret)
{
	CLEANUP(known_freep) struct known *e = calloc(1, sizeof(*e));
	CLEANUP(ynode_freep) struct ynode *root = NULL;
	int r = e ? kube_node_new(object, &root, &e->print) : -ENOMEM;

	if (r < 0)
		return r;
	e->namespace_name = strdup(member(object, "namespace"));
	e->name = strdup(member(object, "name"));
	e->uid = strdup(member(object, "uid"));
	e->deleting = json_object_get(json_object_get(object, "metadata"), "deletionTimestamp") != NULL;
	e->finished = is_finished(object);
	e->aws_enforces = kube_aws_enforces(object);
	e->cni_uid = mirrored(object) ? strdup(mirrored(object)) : e->uid;
	if (!e->namespace_name || !e->name || !e->uid || !e->cni_uid || note_escape(e, object) < 0)
		return -ENOMEM;
	r = read_tight(&e->one, root);
	if (r == 0)
		*ret = TAKE_PTR(e);
	return r;
}

/* Takes `e`; what it replaces departs. */
static int insert(struct kube_cache *c, struct collection *k, struct known *e)
{
	struct known **slot = tsearch(e, &k->tree, compare_known);

	if (!slot) {
		known_free(e);
		return -ENOMEM;
	}
	e->list = k->list;
	if (*slot == e) {
		k->count++;
		c->changed = true;
	} else if ((*slot)->print == e->print) {
		(*slot)->list = k->list;
		known_free(e);
	} else {
		depart(c, *slot);
		*slot = e;
	}
	return 0;
}

static struct known **find(const struct collection *k, const char *namespace_name, const char *name)
{
	struct known key = { .namespace_name = (char *)namespace_name, .name = (char *)name };

	return tfind(&key, &k->tree, compare_known);
}

/* What is known of an object that cannot be taken is still in the list. */
static void keep_known(struct collection *k, json_t *object)
{
	struct known **slot = find(k, member(object, "namespace"), member(object, "name"));

	if (slot)
		(*slot)->list = k->list;
}

void kube_cache_put(struct kube_cache *c, enum kube_kind kind, json_t *object)
{
	struct known *e = NULL;
	int r = known_new(object, &e);

	if (r == 0)
		r = insert(c, &c->kinds[kind], e);
	if (r < 0) {
		c->refused++;
		keep_known(&c->kinds[kind], object);
	}
}

static void take_out(struct kube_cache *c, struct collection *k, struct known *e)
{
	tdelete(e, &k->tree, compare_known);
	k->count--;
	depart(c, e);
}

void kube_cache_gone(struct kube_cache *c, enum kube_kind kind, json_t *object)
{
	struct collection *k = &c->kinds[kind];
	struct known **slot = find(k, member(object, "namespace"), member(object, "name"));

	if (slot)
		take_out(c, k, *slot);
}

struct gather {
	struct known **items;
	size_t count;
	size_t max;
	uint32_t list;
	bool all;
};

static void gather_one(const void *node, VISIT when, void *context)
{
	struct gather *g = context;
	struct known *e = *(struct known *const *)node;

	if ((when == postorder || when == leaf) && g->count < g->max && (g->all || e->list != g->list))
		g->items[g->count++] = e;
}

/* The entries, all or those that were not in the last list, in order; free(). */
static int gather(const struct collection *k, bool all, struct known ***ret, size_t *ret_count)
{
	struct gather g = { .max = k->count, .list = k->list, .all = all };

	g.items = calloc(k->count + 1, sizeof(struct known *));
	if (!g.items)
		return -ENOMEM;
	twalk_r(k->tree, gather_one, &g);
	*ret = g.items;
	*ret_count = g.count;
	return 0;
}

void kube_cache_synced(struct kube_cache *c, enum kube_kind kind)
{
	struct collection *k = &c->kinds[kind];
	_cleanup_free_ struct known **gone = NULL;
	size_t count = 0;

	if (gather(k, false, &gone, &count) < 0)
		return; /* they stay until the next list */
	for (size_t i = 0; i < count; i++)
		take_out(c, k, gone[i]);
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

bool kube_cache_changed(const struct kube_cache *c)
{
	return c->changed;
}

/* Where in an `objects` a kind's elements are. */
struct place {
	void **items;
	size_t *count;
	size_t size;
};

static struct place place_of(struct objects *o, enum kube_kind kind)
{
	switch (kind) {
	case KUBE_POD:
		return (struct place){ (void **)&o->pods, &o->npods, sizeof(*o->pods) };
	case KUBE_NAMESPACE:
		return (struct place){ (void **)&o->namespaces, &o->nnamespaces, sizeof(*o->namespaces) };
	case KUBE_NODE:
		return (struct place){ (void **)&o->nodes, &o->nnodes, sizeof(*o->nodes) };
	case KUBE_SERVICE:
		return (struct place){ (void **)&o->services, &o->nservices, sizeof(*o->services) };
	case KUBE_SLICE:
		break;
	}
	return (struct place){ (void **)&o->slices, &o->nslices, sizeof(*o->slices) };
}

static int view_kind(const struct collection *k, enum kube_kind kind, struct objects *o)
{
	_cleanup_free_ struct known **items = NULL;
	struct place to = place_of(o, kind);
	size_t count = 0;
	int r = gather(k, true, &items, &count);

	if (r < 0)
		return r;
	*to.items = calloc(count + 1, to.size);
	if (!*to.items)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct place from = place_of(&items[i]->one, kind);

		if (*from.count == 1)
			memcpy((char *)*to.items + (*to.count)++ * to.size, *from.items, to.size);
	}
	return 0;
}

int kube_cache_view(struct kube_cache *c, struct objects *ret)
{
	CLEANUP(objects_clear) struct objects o = {};

	for (int kind = 0; kind < KUBE_KINDS; kind++) {
		int r = view_kind(&c->kinds[kind], (enum kube_kind)kind, &o);

		if (r < 0)
			return r;
	}
	free_departed(&c->departed_before);
	c->departed_before = TAKE_PTR(c->departed);
	c->changed = false;
	*ret = o;
	o = (struct objects){};
	return 0;
}

static struct kube_pod pod_of(const struct known *e)
{
	return (struct kube_pod){
		e->one.pods, e->uid, e->cni_uid, e->deleting, e->finished, e->aws_enforces, e->escape
	};
}

int kube_cache_pods(const struct kube_cache *c, const char *node,
		    int (*each)(void *context, const struct kube_pod *pod), void *context)
{
	_cleanup_free_ struct known **items = NULL;
	size_t count = 0;
	int r = gather(&c->kinds[KUBE_POD], true, &items, &count);

	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct kube_pod pod = pod_of(items[i]);

		if (pod.subject && pod.subject->node && !strcmp(pod.subject->node, node))
			r = each(context, &pod);
	}
	return r;
}

bool kube_cache_pod(const struct kube_cache *c, const char *namespace_name, const char *name, struct kube_pod *ret)
{
	struct known **slot = find(&c->kinds[KUBE_POD], namespace_name, name);

	if (!slot || !(*slot)->one.npods)
		return false;
	*ret = pod_of(*slot);
	return true;
}

const struct inventory_namespace *kube_cache_namespace(const struct kube_cache *c, const char *name)
{
	struct known **slot = find(&c->kinds[KUBE_NAMESPACE], "", name);

	return slot && (*slot)->one.nnamespaces ? (*slot)->one.namespaces : NULL;
}

const struct inventory_service *kube_cache_service(const struct kube_cache *c, const char *namespace_name,
						   const char *name)
{
	struct known **slot = find(&c->kinds[KUBE_SERVICE], namespace_name, name);

	return slot && (*slot)->one.nservices ? (*slot)->one.services : NULL;
}

static void write_known(const struct known *e, struct strbuf *line)
{
	const struct kube_metadata m = {
		.namespace_name = e->namespace_name,
		.name = e->name,
		.uid = e->uid,
		.mirrors = strcmp(e->uid, e->cni_uid) ? e->cni_uid : NULL,
		.escape = e->escape,
		.deleting = e->deleting,
		.finished = e->finished,
	};

	kube_write_object(line, &m, &e->one);
}

int kube_cache_write(const struct kube_cache *c, enum kube_kind kind, void (*each)(void *context, const char *line),
		     void *context)
{
	_cleanup_free_ struct known **items = NULL;
	struct strbuf line = {};
	size_t count = 0;
	int r = gather(&c->kinds[kind], true, &items, &count);

	for (size_t i = 0; r == 0 && i < count; i++) {
		line.len = 0; /* its room is used again */
		write_known(items[i], &line);
		if (line.failed)
			r = -ENOMEM;
		else if (line.len)
			each(context, line.data);
	}
	strbuf_clear(&line);
	return r;
}

void kube_cache_get_stats(const struct kube_cache *c, struct kube_cache_stats *ret)
{
	*ret = (struct kube_cache_stats){ .refused = c->refused };
	for (size_t i = 0; i < KUBE_KINDS; i++)
		ret->count[i] = c->kinds[i].count;
}
