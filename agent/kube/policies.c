/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kube/policies.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/accepted.h"
#include "agent/kube/node.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "policy/array.h"
#include "policy/diag.h"

struct object {
	char *file; /* what the store calls it */
	char *text; /* without the blanks, which are a third of it or more */
	char *message;
	char *kind;
	char *api_version;
	char *namespace_name;
	char *name;
	char *uid;
	int64_t generation;
	unsigned int group;
	uint32_t list;
	bool valid;
	bool pending; /* the store could not take it for want of memory */
	struct kube_condition seen[KUBE_CONDITIONS];
	struct kube_told told[KUBE_CONDITIONS];
};

struct kube_policies {
	struct store *store;
	int accepted;
	struct object **items; /* sorted by file */
	size_t count;
	uint32_t *lists; /* of each group, the one being read or the last */
	size_t ngroups;
	bool changed;
	uint64_t puts;
};

static void object_free(struct object *o)
{
	free(o->file);
	free(o->text);
	free(o->message);
	free(o->kind);
	free(o->api_version);
	free(o->namespace_name);
	free(o->name);
	free(o->uid);
	free(o);
}

static void object_freep(struct object **o)
{
	if (*o)
		object_free(*o);
	*o = NULL;
}

int kube_policies_new(struct store *store, int accepted, struct kube_policies **ret)
{
	struct kube_policies *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->store = store;
	p->accepted = accepted;
	*ret = p;
	return 0;
}

void kube_policies_freep(struct kube_policies **p)
{
	if (!*p)
		return;
	for (size_t i = 0; i < (*p)->count; i++)
		object_free((*p)->items[i]);
	free((*p)->items);
	free((*p)->lists);
	free(*p);
	*p = NULL;
}

/* ---- objects ----------------------------------------------------------------------------------------------------- */

static char *copy_member(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return strdup(text ? text : "");
}

static int object_new(json_t *json, unsigned int group, struct object **ret)
{
	CLEANUP(object_freep) struct object *o = calloc(1, sizeof(*o));
	json_t *metadata = json_object_get(json, "metadata");

	if (!o)
		return -ENOMEM;
	o->group = group;
	o->valid = true;
	o->kind = copy_member(json, "kind");
	o->api_version = copy_member(json, "apiVersion");
	o->namespace_name = copy_member(metadata, "namespace");
	o->name = copy_member(metadata, "name");
	o->uid = copy_member(metadata, "uid");
	o->generation = json_integer_value(json_object_get(metadata, "generation"));
	kube_conditions_read(json, o->seen);
	o->text = kube_node_text(json);
	if (!o->kind || !o->api_version || !o->namespace_name || !o->name || !o->uid || !o->text)
		return -ENOMEM;
	/* Two groups have a ClusterNetworkPolicy. */
	if (asprintf(&o->file, "%s.%.*s %s%s%s", o->kind, (int)strcspn(o->api_version, "/"), o->api_version,
		     o->namespace_name, *o->namespace_name ? "/" : "", o->name) < 0) {
		o->file = NULL;
		return -ENOMEM;
	}
	*ret = TAKE_PTR(o);
	return 0;
}

/* Where `file` is, or would be. */
static size_t find(const struct kube_policies *p, const char *file, bool *ret_found)
{
	size_t low = 0, high = p->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(p->items[middle]->file, file) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_found = low < p->count && !strcmp(p->items[low]->file, file);
	return low;
}

/* ---- the store --------------------------------------------------------------------------------------------------- */

static void say(struct object *o, const char *lines, const struct diag *d)
{
	static const enum log_level levels[] = {
		[DIAG_NOTICE] = LOG_LEVEL_INFO,
		[DIAG_WARNING] = LOG_LEVEL_WARNING,
		[DIAG_ERROR] = LOG_LEVEL_ERROR,
	};
	char path[256];

	kube_node_path(lines, d->line, d->column, path, sizeof(path));
	log_at(levels[d->level], "%s: %s%s%s: %s", o->file, path, *path ? ": " : "", diag_level_name(d->level),
	       d->message);
	if (d->level != DIAG_ERROR || !o->valid)
		return;
	o->valid = false;
	if (asprintf(&o->message, "%s%s%s", path, *path ? ": " : "", d->message) < 0)
		o->message = NULL;
}

/* `another`: an object that has the name of one that was deleted; that one's last good text is none of its. */
static void give(struct kube_policies *p, struct object *o, bool another)
{
	_cleanup_free_ char *lines = kube_node_lines(o->text);
	struct diags diags = {};
	int r = -ENOMEM;

	o->valid = true;
	freep(&o->message);
	if (lines)
		r = store_update(p->store, o->file, lines, strlen(lines), &diags);
	if (r > 0 && another) {
		diags_clear(&diags);
		store_remove(p->store, o->file);
		accepted_forget(p->accepted, o->file);
		r = store_update(p->store, o->file, lines, strlen(lines), &diags);
	}
	for (size_t i = 0; i < diags.count; i++)
		say(o, lines, &diags.items[i]);
	diags_clear(&diags);
	o->pending = r < 0;
	if (r == 0)
		accepted_keep(p->accepted, o->file, lines, strlen(lines));
	if (r < 0)
		log_error("%s: %s; tried again with the next change", o->file, strerror(-r));
	p->changed = true;
}

int kube_policies_move(struct kube_policies *p, struct store *store)
{
	bool pending = false;

	p->store = store;
	for (size_t i = 0; i < p->count; i++) {
		give(p, p->items[i], false);
		pending = pending || p->items[i]->pending;
	}
	return pending ? -ENOMEM : 0;
}

/* ---- coming and going -------------------------------------------------------------------------------------------- */

static uint32_t *list_of(struct kube_policies *p, unsigned int group)
{
	while (p->ngroups <= group) {
		if (!array_push(&p->lists, &p->ngroups, sizeof(*p->lists)))
			return NULL;
	}
	return &p->lists[group];
}

void kube_policies_begin(struct kube_policies *p, unsigned int group)
{
	uint32_t *list = list_of(p, group);

	if (list)
		(*list)++;
}

static bool insert(struct kube_policies *p, size_t at, struct object *o)
{
	if (!array_push(&p->items, &p->count, sizeof(struct object *)))
		return false;
	memmove(&p->items[at + 1], &p->items[at], (p->count - 1 - at) * sizeof(struct object *));
	p->items[at] = o;
	return true;
}

/* A generation counts the changes of what an object says; its status and annotations are none. */
static bool is_same(const struct object *known, const struct object *o)
{
	if (known->pending || strcmp(known->uid, o->uid) != 0)
		return false;
	return o->generation ? known->generation == o->generation : !strcmp(known->text, o->text);
}

/* Is what was kept under its name its own? */
static bool was_kept(const struct kube_policies *p, const struct object *o)
{
	_cleanup_free_ char *text = NULL;
	const char *uid;
	json_error_t error;
	json_t *kept;
	size_t len;
	bool same;

	if (accepted_read(p->accepted, o->file, &text, &len) < 0)
		return false;
	kept = json_loadb(text, len, 0, &error);
	uid = json_string_value(json_object_get(json_object_get(kept, "metadata"), "uid"));
	same = uid && !strcmp(uid, o->uid);
	json_decref(kept);
	return same;
}

void kube_policies_put(struct kube_policies *p, unsigned int group, json_t *json)
{
	CLEANUP(object_freep) struct object *o = NULL;
	const uint32_t *list = list_of(p, group);
	bool found = false, another = false;
	size_t at = 0;

	if (!list || object_new(json, group, &o) < 0) {
		log_error("out of memory; a policy that changed stays as it was");
		return;
	}
	o->list = *list;
	p->puts++;
	at = find(p, o->file, &found);
	if (found && is_same(p->items[at], o)) {
		p->items[at]->list = *list;
		memcpy(p->items[at]->seen, o->seen, sizeof(o->seen));
		return;
	}
	if (found) {
		another = strcmp(p->items[at]->uid, o->uid) != 0;
		object_free(p->items[at]);
		p->items[at] = o;
	} else if (insert(p, at, o)) {
		if (was_kept(p, o))
			accepted_recall(p->accepted, o->file, p->store);
	} else {
		log_error("out of memory; a policy that is new is not in force");
		return;
	}
	give(p, TAKE_PTR(o), another);
}

void kube_policies_recall(struct kube_policies *p, json_t *json)
{
	CLEANUP(object_freep) struct object *o = NULL;
	_cleanup_free_ char *lines = NULL;

	if (object_new(json, 0, &o) == 0)
		lines = kube_node_lines(o->text);
	if (lines)
		accepted_keep(p->accepted, o->file, lines, strlen(lines));
}

static void take_out(struct kube_policies *p, size_t at)
{
	struct object *o = p->items[at];

	log_info("%s: gone, and with it what it said", o->file);
	if (store_remove(p->store, o->file) == -ENOMEM)
		log_error("%s: out of memory; it stays in force", o->file);
	accepted_forget(p->accepted, o->file);
	object_free(o);
	memmove(&p->items[at], &p->items[at + 1], (p->count - 1 - at) * sizeof(struct object *));
	p->count--;
	p->changed = true;
}

void kube_policies_gone(struct kube_policies *p, unsigned int group, json_t *json)
{
	CLEANUP(object_freep) struct object *o = NULL;
	bool found = false;
	size_t at = 0;

	if (object_new(json, group, &o) < 0)
		return; /* it stays until the next list */
	at = find(p, o->file, &found);
	if (found)
		take_out(p, at);
}

void kube_policies_synced(struct kube_policies *p, unsigned int group)
{
	const uint32_t *list = list_of(p, group);

	for (size_t i = p->count; list && i > 0; i--) {
		if (p->items[i - 1]->group == group && p->items[i - 1]->list != *list)
			take_out(p, i - 1);
	}
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

bool kube_policies_take_changed(struct kube_policies *p)
{
	bool changed = p->changed;

	p->changed = false;
	return changed;
}

size_t kube_policies_count(const struct kube_policies *p)
{
	return p->count;
}

const char *kube_policies_message(const struct kube_policies *p, const char *file)
{
	bool found;
	size_t at = find(p, file, &found);

	return found && p->items[at]->message ? p->items[at]->message : "";
}

uint64_t kube_policies_puts(const struct kube_policies *p)
{
	return p->puts;
}

struct kube_told *kube_policies_told(struct kube_policies *p, const char *file, const char *uid)
{
	bool found;
	size_t at = find(p, file, &found);

	return found && !strcmp(p->items[at]->uid, uid) ? p->items[at]->told : NULL;
}

bool kube_policies_text(const struct kube_policies *p, size_t i, struct kube_policy_text *ret)
{
	const struct object *o;

	if (i >= p->count)
		return false;
	o = p->items[i];
	*ret = (struct kube_policy_text){ .group = o->group, .file = o->file, .text = o->text, .valid = o->valid };
	return true;
}

bool kube_policies_verdict(const struct kube_policies *p, size_t i, struct kube_verdict *ret)
{
	const struct object *o;

	if (i >= p->count)
		return false;
	o = p->items[i];
	*ret = (struct kube_verdict){ .file = o->file,
				      .kind = o->kind,
				      .api_version = o->api_version,
				      .namespace_name = o->namespace_name,
				      .name = o->name,
				      .uid = o->uid,
				      .generation = o->generation,
				      .valid = o->valid,
				      .message = o->message ? o->message : "",
				      .seen = o->seen };
	return true;
}
