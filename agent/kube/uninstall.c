/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kube/uninstall.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/kube/follow.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

struct kube_uninstall {
	struct kube_follow *follow;
	char *path;
	struct kube_uninstall_words words;
	bool told; /* that it fails */
};

/* ---- words ------------------------------------------------------------------------------------------------------- */

static const char *metadata(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(json_object_get(object, "metadata"), key));

	return text ? text : "";
}

void kube_uninstall_words_clear(struct kube_uninstall_words *w)
{
	json_decref(w->stale);
	free(w->last);
	*w = (struct kube_uninstall_words){};
}

bool kube_uninstall_words_put(struct kube_uninstall_words *w, const json_t *object, uint64_t now)
{
	const char *uid = metadata(object, "uid");

	if (!w->listed) {
		if (!w->stale)
			w->stale = json_object();
		json_object_set_new(w->stale, uid, json_true());
		return false;
	}
	/* A list may begin anew at any time: what it holds is not said again by that. */
	if (json_object_get(w->stale, uid) || (w->last && !strcmp(w->last, uid)))
		return false;
	free(w->last);
	w->last = strdup(uid);
	w->heard = now;
	return true;
}

void kube_uninstall_words_synced(struct kube_uninstall_words *w)
{
	w->listed = true;
}

bool kube_uninstall_words_hold(const struct kube_uninstall_words *w, uint64_t now)
{
	return w->heard && now - w->heard < KUBE_UNINSTALL_SECONDS * NSEC_PER_SEC;
}

/* ---- where they come from ---------------------------------------------------------------------------------------- */

static void sink_begin(void *context)
{
	(void)context;
}

static void sink_put(void *context, json_t *object)
{
	struct kube_uninstall *u = context;
	bool listed = u->words.listed;
	uint64_t now = clock_now();
	bool held = kube_uninstall_words_hold(&u->words, now);

	/* There are two in a row, before the deletion and after it. */
	if (kube_uninstall_words_put(&u->words, object, now) && !held)
		log_warning("the release is being uninstalled (ConfigMap %s/%s): told to end within %d minutes, this "
			    "agent takes everything off the node",
			    metadata(object, "namespace"), metadata(object, "name"), KUBE_UNINSTALL_SECONDS / 60);
	else if (!listed)
		log_warning("the ConfigMap %s/%s is of an uninstallation before this agent started, and not obeyed: "
			    "delete it",
			    metadata(object, "namespace"), metadata(object, "name"));
}

static void sink_gone(void *context, json_t *object)
{
	(void)context;
	(void)object;
}

static void sink_synced(void *context)
{
	kube_uninstall_words_synced(&((struct kube_uninstall *)context)->words);
}

/* That nothing answers at all is said by the source. */
static void tell_failure(void *context)
{
	struct kube_reflector_state state;
	struct kube_uninstall *u = context;
	bool failing;

	kube_follow_get(u->follow, &state);
	failing = state.error[0] && state.status;
	if (failing && !u->told)
		log_warning("%s: %s; an uninstallation will not be heard of", state.path, state.error);
	u->told = failing;
}

void kube_uninstall_freep(struct kube_uninstall **u)
{
	if (!*u)
		return;
	kube_follow_freep(&(*u)->follow);
	kube_uninstall_words_clear(&(*u)->words);
	free((*u)->path);
	free(*u);
	*u = NULL;
}

int kube_uninstall_new(sd_event *event, struct kube_http *http, const char *namespace_name, struct kube_uninstall **ret)
{
	CLEANUP(kube_uninstall_freep) struct kube_uninstall *u = calloc(1, sizeof(*u));
	const struct kube_sink sink = { u, sink_begin, sink_put, sink_gone, sink_synced };
	struct kube_collection what = { .query = "labelSelector=sluice.dev%2Funinstall%3Dtrue", .page = 10 };
	int r;

	if (!u)
		return -ENOMEM;
	if (asprintf(&u->path, "/api/v1/namespaces/%s/configmaps", namespace_name) < 0) {
		u->path = NULL;
		return -ENOMEM;
	}
	what.path = u->path;
	r = kube_follow_new(event, http, &what, &sink, tell_failure, &u->follow);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(u);
	return 0;
}

bool kube_uninstall_heard(const struct kube_uninstall *u, uint64_t now)
{
	return u && kube_uninstall_words_hold(&u->words, now);
}

json_t *kube_uninstall_json(const struct kube_uninstall *u, uint64_t now)
{
	struct kube_reflector_state state;

	if (!u)
		return json_null();
	kube_follow_get(u->follow, &state);
	return json_pack("{s:b, s:b, s:s}", "listening", state.watching, "heard", kube_uninstall_heard(u, now), "error",
			 state.error);
}
