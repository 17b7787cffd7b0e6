/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each object is an `objects` of its own with one element, so that it comes and goes with all its memory, and never changes. A
 * view points to the pods, of which there are many, and copies the elements of other kinds together; what left the cache since is
 * kept for the views that still point into it.
 */
#include "agent/kube/cache.h"

#include <errno.h>
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
	uint64_t version; /* in the cache; greater than of all that came before */
	struct objects one;
	struct known *next; /* among the departed */
};

/* By namespace and name. */
struct sorted {
	struct known **items;
	size_t count;
	size_t room;
};

struct collection {
	struct sorted all;
	uint32_t list; /* being read, or the last */
};

struct kube_cache {
	struct collection kinds[KUBE_KINDS];
	char *node;
	struct sorted own;	       /* pods of that node, which are asked for with every change */
	uint64_t version;	       /* the last that was given */
	struct known *departed;	       /* since the last view */
	struct known *departed_before; /* since the one before */
	bool changed;
	uint64_t refused;
};

static void known_free(struct known *e)
{
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

int kube_cache_new(const char *node, struct kube_cache **ret)
{
	CLEANUP(kube_cache_freep) struct kube_cache *c = calloc(1, sizeof(*c));

	if (c)
		c->node = strdup(node);
	if (!c || !c->node)
		return -ENOMEM;
	*ret = TAKE_PTR(c);
	return 0;
}

void kube_cache_freep(struct kube_cache **c)
{
	if (!*c)
		return;
	for (size_t i = 0; i < KUBE_KINDS; i++) {
		struct sorted *all = &(*c)->kinds[i].all;

		while (all->count > 0)
			known_free(all->items[--all->count]);
		free(all->items);
	}
	free((*c)->own.items);
	free((*c)->node);
	free_departed(&(*c)->departed);
	free_departed(&(*c)->departed_before);
	free(*c);
	*c = NULL;
}

/* ---- order ------------------------------------------------------------------------------------------------------- */

static int compare_with(const struct known *e, const char *namespace_name, const char *name)
{
	int order = strcmp(e->namespace_name, namespace_name);

	return order ? order : strcmp(e->name, name);
}

/* Where it is, or would be. Lists come nearly in this order, so the end is looked at first. */
static size_t place_in(const struct sorted *s, const char *namespace_name, const char *name, bool *ret_there)
{
	size_t low = 0, high = s->count;

	*ret_there = false;
	if (high > 0 && compare_with(s->items[high - 1], namespace_name, name) < 0)
		return high;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = compare_with(s->items[mid], namespace_name, name);

		if (order == 0) {
			*ret_there = true;
			return mid;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct known *find(const struct sorted *s, const char *namespace_name, const char *name)
{
	bool there;
	size_t at = place_in(s, namespace_name, name, &there);

	return there ? s->items[at] : NULL;
}

/* Room for one more. 0, -ENOMEM. */
static int sorted_reserve(struct sorted *s)
{
	size_t room = s->room ? s->room * 2 : 8;
	struct known **items;

	if (s->count < s->room)
		return 0;
	items = realloc(s->items, room * sizeof(struct known *));
	if (!items)
		return -ENOMEM;
	s->items = items;
	s->room = room;
	return 0;
}

static void sorted_insert(struct sorted *s, size_t at, struct known *e)
{
	memmove(&s->items[at + 1], &s->items[at], (s->count - at) * sizeof(struct known *));
	s->items[at] = e;
	s->count++;
}

static void sorted_remove(struct sorted *s, size_t at)
{
	s->count--;
	memmove(&s->items[at], &s->items[at + 1], (s->count - at) * sizeof(struct known *));
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

static bool is_own(const struct kube_cache *c, const struct known *e)
{
	return e->one.npods && e->one.pods->node && !strcmp(e->one.pods->node, c->node);
}

/* There is room. */
static void add_own(struct kube_cache *c, struct known *e)
{
	bool there;
	size_t at = place_in(&c->own, e->namespace_name, e->name, &there);

	if (is_own(c, e))
		sorted_insert(&c->own, at, e);
}

static void depart(struct kube_cache *c, struct known *e)
{
	bool there;
	size_t at = place_in(&c->own, e->namespace_name, e->name, &there);

	if (there && c->own.items[at] == e)
		sorted_remove(&c->own, at);
	e->next = c->departed;
	c->departed = e;
	c->changed = true;
}

/* Takes `e`; what it replaces departs. */
static int insert(struct kube_cache *c, struct collection *k, struct known *e)
{
	bool there;
	size_t at = place_in(&k->all, e->namespace_name, e->name, &there);

	if (there && k->all.items[at]->print == e->print) {
		k->all.items[at]->list = k->list;
		known_free(e);
		return 0;
	}
	if (sorted_reserve(&k->all) < 0 || sorted_reserve(&c->own) < 0) {
		known_free(e);
		return -ENOMEM;
	}
	e->list = k->list;
	e->version = ++c->version;
	if (there) {
		depart(c, k->all.items[at]);
		k->all.items[at] = e;
	} else {
		sorted_insert(&k->all, at, e);
	}
	add_own(c, e);
	c->changed = true;
	return 0;
}

/* What is known of an object that cannot be taken is still in the list. */
static void keep_known(struct collection *k, json_t *object)
{
	struct known *e = find(&k->all, member(object, "namespace"), member(object, "name"));

	if (e)
		e->list = k->list;
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

void kube_cache_gone(struct kube_cache *c, enum kube_kind kind, json_t *object)
{
	struct sorted *all = &c->kinds[kind].all;
	bool there;
	size_t at = place_in(all, member(object, "namespace"), member(object, "name"), &there);

	if (!there)
		return;
	depart(c, all->items[at]);
	sorted_remove(all, at);
}

void kube_cache_synced(struct kube_cache *c, enum kube_kind kind)
{
	struct collection *k = &c->kinds[kind];
	size_t kept = 0;

	for (size_t i = 0; i < k->all.count; i++) {
		if (k->all.items[i]->list == k->list)
			k->all.items[kept++] = k->all.items[i];
		else
			depart(c, k->all.items[i]);
	}
	k->all.count = kept;
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

static int view_kind(const struct sorted *all, enum kube_kind kind, struct objects *o)
{
	struct place to = place_of(o, kind);

	*to.items = calloc(all->count + 1, to.size);
	if (!*to.items)
		return -ENOMEM;
	for (size_t i = 0; i < all->count; i++) {
		struct place from = place_of(&all->items[i]->one, kind);

		if (*from.count == 1)
			memcpy((char *)*to.items + (*to.count)++ * to.size, *from.items, to.size);
	}
	return 0;
}

static int view_pods(const struct sorted *all, struct objects *o)
{
	o->kept = calloc(all->count + 1, sizeof(*o->kept));
	if (!o->kept)
		return -ENOMEM;
	for (size_t i = 0; i < all->count; i++) {
		const struct known *e = all->items[i];

		if (e->one.npods == 1)
			o->kept[o->nkept++] = (struct kept_pod){ e->one.pods, e->version };
	}
	return 0;
}

int kube_cache_view(struct kube_cache *c, struct objects *ret)
{
	CLEANUP(objects_clear) struct objects o = {};

	for (int kind = 0; kind < KUBE_KINDS; kind++) {
		const struct sorted *all = &c->kinds[kind].all;
		int r = kind == KUBE_POD ? view_pods(all, &o) : view_kind(all, (enum kube_kind)kind, &o);

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

int kube_cache_pods(const struct kube_cache *c, int (*each)(void *context, const struct kube_pod *pod), void *context)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->own.count; i++) {
		const struct kube_pod pod = pod_of(c->own.items[i]);

		r = each(context, &pod);
	}
	return r;
}

bool kube_cache_pod(const struct kube_cache *c, const char *namespace_name, const char *name, struct kube_pod *ret)
{
	const struct known *e = find(&c->kinds[KUBE_POD].all, namespace_name, name);

	if (!e || !e->one.npods)
		return false;
	*ret = pod_of(e);
	return true;
}

const struct inventory_namespace *kube_cache_namespace(const struct kube_cache *c, const char *name)
{
	const struct known *e = find(&c->kinds[KUBE_NAMESPACE].all, "", name);

	return e && e->one.nnamespaces ? e->one.namespaces : NULL;
}

const struct inventory_service *kube_cache_service(const struct kube_cache *c, const char *namespace_name,
						   const char *name)
{
	const struct known *e = find(&c->kinds[KUBE_SERVICE].all, namespace_name, name);

	return e && e->one.nservices ? e->one.services : NULL;
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
	const struct sorted *all = &c->kinds[kind].all;
	struct strbuf line = {};
	int r = 0;

	for (size_t i = 0; r == 0 && i < all->count; i++) {
		line.len = 0; /* its room is used again */
		write_known(all->items[i], &line);
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
		ret->count[i] = c->kinds[i].all.count;
}
