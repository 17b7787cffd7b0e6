/* SPDX-License-Identifier: Apache-2.0 */
/*
 * There may be ten thousand objects, so each is one allocation with all that it points into; it never changes. A view points to the
 * pods, of which there are many, and copies the elements of other kinds together; what left the cache since is kept for the views
 * that still point into it.
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
	void *item; /* the inventory's of its kind; NULL: there is none, as of a slice behind no Service */
	const char *namespace_name;
	const char *name;
	const char *uid;
	const char *cni_uid; /* the same as `uid`, or another */
	const char *escape;  /* NULL: none, or it is no host-network pod */
	struct known *next;  /* among the departed */
	uint64_t print;
	uint64_t version; /* in the cache; greater than of all that came before */
	uint32_t list;	  /* the last one it was in */
	enum kube_kind kind;
	bool aws_enforces;
	bool deleting;
	bool finished;
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

static void free_departed(struct known **list)
{
	while (*list) {
		struct known *e = *list;

		*list = e->next;
		free(e);
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
			free(all->items[--all->count]);
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

/* True: `ret` holds it, and `print` counts it. */
static bool note_escape(json_t *object, char ret[ESCAPE_MAX], uint64_t *print)
{
	json_t *spec = json_object_get(object, "spec");
	const uint64_t key[2] = { *print, 0 };

	if (!json_is_true(json_object_get(spec, "hostNetwork")) || !find_escape(object, ret, ESCAPE_MAX))
		return false;
	*print = siphash24(ret, strlen(ret), key);
	return true;
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

/* The texts of one, NULL those that it lacks. */
struct texts {
	const char *namespace_name;
	const char *name;
	const char *uid;
	const char *mirrored;
	const char *escape;
};

static size_t size_of(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

/* A copy at `*at`, which moves on; of NULL, NULL. */
static const char *put_text(char **at, const char *text)
{
	size_t size = size_of(text);
	const char *copy = text ? memcpy(*at, text, size) : NULL;

	*at += size;
	return copy;
}

static size_t aligned(size_t size)
{
	const size_t unit = _Alignof(max_align_t);

	return (size + unit - 1) / unit * unit;
}

/* Its parts in a row: itself, its item, what that points into, its texts. `used` are the bytes of the third. */
static int known_alloc(const struct texts *t, size_t item, size_t used, struct objects *ret_room, struct known **ret)
{
	size_t texts = size_of(t->namespace_name) + size_of(t->name) + size_of(t->uid) + size_of(t->mirrored) +
		       size_of(t->escape);
	struct known *e = calloc(1, aligned(sizeof(*e)) + aligned(item) + used + texts);
	char *at = (char *)e + aligned(sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->item = item ? at : NULL;
	*ret_room = (struct objects){ .unplaced = true, .free = at + aligned(item), .left = used };
	at += aligned(item) + used;
	e->namespace_name = put_text(&at, t->namespace_name);
	e->name = put_text(&at, t->name);
	e->uid = put_text(&at, t->uid);
	e->cni_uid = t->mirrored ? put_text(&at, t->mirrored) : e->uid;
	e->escape = put_text(&at, t->escape);
	*ret = e;
	return 0;
}

/* Reads once to see how much room it takes, then into that. */
static int read_known(enum kube_kind kind, struct ynode *root, const struct texts *texts, struct known **ret)
{
	CLEANUP(objects_clear) struct objects trial = { .unplaced = true };
	CLEANUP(objects_clear) struct objects one = {};
	_cleanup_free_ struct known *e = NULL;
	struct place place = place_of(&one, kind);
	int r = read_into(&trial, root);

	if (r == 0)
		r = known_alloc(texts, *place_of(&trial, kind).count == 1 ? place.size : 0, trial.used, &one, &e);
	if (r == 0)
		r = read_into(&one, root);
	if (r < 0)
		return r;
	if (e->item)
		memcpy(e->item, *place.items, place.size);
	*ret = TAKE_PTR(e);
	return 0;
}

static int known_new(json_t *object, enum kube_kind kind, struct known **ret)
{
	CLEANUP(ynode_freep) struct ynode *root = NULL;
	struct texts texts = { .namespace_name = member(object, "namespace"),
			       .name = member(object, "name"),
			       .uid = member(object, "uid"),
			       .mirrored = mirrored(object) };
	char escape[ESCAPE_MAX];
	uint64_t print;
	int r = kube_node_new(object, &root, &print);

	if (r < 0)
		return r;
	texts.escape = note_escape(object, escape, &print) ? escape : NULL;
	r = read_known(kind, root, &texts, ret);
	if (r < 0)
		return r;
	(*ret)->kind = kind;
	(*ret)->print = print;
	(*ret)->deleting = json_object_get(json_object_get(object, "metadata"), "deletionTimestamp") != NULL;
	(*ret)->finished = is_finished(object);
	(*ret)->aws_enforces = kube_aws_enforces(object);
	return 0;
}

static bool is_own(const struct kube_cache *c, const struct known *e)
{
	const struct subject *pod = e->kind == KUBE_POD ? e->item : NULL;

	return pod && pod->node && !strcmp(pod->node, c->node);
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
		free(e);
		return 0;
	}
	if (sorted_reserve(&k->all) < 0 || sorted_reserve(&c->own) < 0) {
		free(e);
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
	int r = known_new(object, kind, &e);

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

static int view_kind(const struct sorted *all, enum kube_kind kind, struct objects *o)
{
	struct place to = place_of(o, kind);

	*to.items = calloc(all->count + 1, to.size);
	if (!*to.items)
		return -ENOMEM;
	for (size_t i = 0; i < all->count; i++) {
		if (all->items[i]->item)
			memcpy((char *)*to.items + (*to.count)++ * to.size, all->items[i]->item, to.size);
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

		if (e->item)
			o->kept[o->nkept++] = (struct kept_pod){ e->item, e->version };
	}
	return 0;
}

int kube_cache_view(struct kube_cache *c, struct objects *ret)
{
	/* Pods and Namespaces come by watches of their own: a pod may be heard of before its Namespace. */
	CLEANUP(objects_clear) struct objects o = { .namespaces_told = true };

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
	return (struct kube_pod){ e->item, e->uid, e->cni_uid, e->deleting, e->finished, e->aws_enforces, e->escape };
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

	if (!e || !e->item)
		return false;
	*ret = pod_of(e);
	return true;
}

const struct inventory_namespace *kube_cache_namespace(const struct kube_cache *c, const char *name)
{
	const struct known *e = find(&c->kinds[KUBE_NAMESPACE].all, "", name);

	return e ? e->item : NULL;
}

const struct inventory_service *kube_cache_service(const struct kube_cache *c, const char *namespace_name,
						   const char *name)
{
	const struct known *e = find(&c->kinds[KUBE_SERVICE].all, namespace_name, name);

	return e ? e->item : NULL;
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
	struct objects one = {};
	struct place place = place_of(&one, e->kind);

	*place.items = e->item;
	*place.count = e->item != NULL;
	kube_write_object(line, &m, &one);
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
