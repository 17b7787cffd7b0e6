/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taints are one list in the Node's spec that others change too. The patch tests that it is still the list that was seen, to the
 * last member, before it puts the shorter one there; where it is not the API refuses the whole, and what the watch brings next is
 * the list to go by. So no taint of others is ever lost, and none that went comes back.
 */
#include "agent/kube/taint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

struct kube_taint {
	char *path;
	char *key;
	uint32_t (*random)(void);
	bool ready;
	json_t *taints; /* of the node as last seen, where ours is among them; else NULL */
	uint64_t not_before;
	unsigned int failures;
	char *body; /* of the request under way */
	char error[256];
};

int kube_taint_new(const char *node, const char *key, uint32_t (*random)(void), struct kube_taint **ret)
{
	CLEANUP(kube_taint_freep) struct kube_taint *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->random = random;
	t->key = strdup(key);
	if (asprintf(&t->path, "/api/v1/nodes/%s?fieldManager=sluice", node) < 0)
		t->path = NULL;
	if (!t->key || !t->path)
		return -ENOMEM;
	*ret = TAKE_PTR(t);
	return 0;
}

void kube_taint_freep(struct kube_taint **t)
{
	if (!*t)
		return;
	json_decref((*t)->taints);
	free((*t)->path);
	free((*t)->key);
	free((*t)->body);
	free(*t);
	*t = NULL;
}

static bool is_ours(const struct kube_taint *t, json_t *taint)
{
	const char *key = json_string_value(json_object_get(taint, "key"));

	return key && !strcmp(key, t->key);
}

/* Those that are not ours. NULL: out of memory. */
static json_t *others(const struct kube_taint *t, json_t *taints)
{
	json_t *list = json_array(), *taint;
	size_t i;

	json_array_foreach(taints, i, taint)
	{
		if (!is_ours(t, taint))
			json_array_append(list, taint);
	}
	return list;
}

void kube_taint_see(struct kube_taint *t, json_t *node)
{
	json_t *taints = json_object_get(json_object_get(node, "spec"), "taints"), *taint;
	bool there = false;
	size_t i;

	json_array_foreach(taints, i, taint)
	{
		there = there || is_ours(t, taint);
	}
	json_decref(t->taints);
	t->taints = there ? json_incref(taints) : NULL;
	if (!there)
		t->error[0] = '\0';
}

void kube_taint_set_ready(struct kube_taint *t, bool ready)
{
	t->ready = ready;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static char *patch_of(const struct kube_taint *t)
{
	json_t *left = others(t, t->taints), *patch;
	char *text;

	if (json_array_size(left))
		patch = json_pack("[{s:s, s:s, s:O}, {s:s, s:s, s:O}]", "op", "test", "path", "/spec/taints", "value",
				  t->taints, "op", "replace", "path", "/spec/taints", "value", left);
	else
		patch = json_pack("[{s:s, s:s, s:O}, {s:s, s:s}]", "op", "test", "path", "/spec/taints", "value",
				  t->taints, "op", "remove", "path", "/spec/taints");
	text = json_dumps(patch, JSON_COMPACT);
	json_decref(patch);
	json_decref(left);
	return text;
}

static int poll(void *context, const struct kube_now *now, struct kube_call *ret, uint64_t *ret_when)
{
	struct kube_taint *t = context;

	*ret_when = t->ready && t->taints ? t->not_before : KUBE_NEVER;
	if (now->mono < *ret_when)
		return 0;
	freep(&t->body);
	t->body = patch_of(t);
	*ret = (struct kube_call){ .method = "PATCH",
				   .path = t->path,
				   .type = KUBE_JSON_PATCH,
				   .body = t->body,
				   .timeout_seconds = KUBE_TALK_SECONDS };
	*ret_when = t->not_before = now->mono + NSEC_PER_SEC;
	return t->body != NULL;
}

static void end(void *context, const struct kube_now *now, const struct kube_answer *a)
{
	struct kube_taint *t = context;
	char words[200];

	if (a->status == 200) {
		/* Should it be there again, or still, the watch says so. */
		json_decref(t->taints);
		t->taints = NULL;
		t->failures = 0;
		t->error[0] = '\0';
		return;
	}
	t->not_before = now->mono + kube_back_off(t->failures++, a->retry_after, t->random());
	snprintf(t->error, sizeof(t->error), "the taint %.60s stays: %s", t->key,
		 kube_status_text(a->status, a->text, words, sizeof(words)));
}

const struct kube_talker kube_taint_talker = { poll, end };

bool kube_taint_there(const struct kube_taint *t)
{
	return t->taints != NULL;
}

const char *kube_taint_error(const struct kube_taint *t)
{
	return t->error;
}
