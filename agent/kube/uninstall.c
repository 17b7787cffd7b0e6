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
	sd_event *event;
	sd_event_source *patience;
	void (*ended)(void *context); /* who waits; NULL: nobody */
	void *context;
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

/* The word, or the release's own object? */
static bool is_word(const json_t *object)
{
	const json_t *labels = json_object_get(json_object_get(object, "metadata"), "labels");
	const char *value = json_string_value(json_object_get(labels, "sluice.dev/uninstall"));

	return value && !strcmp(value, "true");
}

void kube_uninstall_words_begin(struct kube_uninstall_words *w)
{
	w->relisted = false;
}

static void set_there(struct kube_uninstall_words *w, bool there)
{
	w->gone = !there && (w->there || w->gone);
	w->there = there;
}

bool kube_uninstall_words_put(struct kube_uninstall_words *w, const json_t *object, uint64_t now)
{
	const char *uid = metadata(object, "uid");

	if (!is_word(object)) {
		w->relisted = true;
		set_there(w, true);
		return false;
	}
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

void kube_uninstall_words_gone(struct kube_uninstall_words *w, const json_t *object)
{
	if (!is_word(object))
		set_there(w, false);
}

void kube_uninstall_words_synced(struct kube_uninstall_words *w)
{
	w->listed = true;
	set_there(w, w->relisted);
}

bool kube_uninstall_words_hold(const struct kube_uninstall_words *w, uint64_t now)
{
	return w->heard && now - w->heard < KUBE_UNINSTALL_SECONDS * NSEC_PER_SEC;
}

/* ---- where they come from ---------------------------------------------------------------------------------------- */

static void finish(struct kube_uninstall *u)
{
	void (*ended)(void *context) = u->ended;

	u->ended = NULL;
	if (ended)
		ended(u->context);
}

/* Is what was heard still to be borne out? */
static bool is_pending(const struct kube_uninstall *u)
{
	return kube_uninstall_words_hold(&u->words, clock_now()) && !u->words.gone;
}

static void sink_begin(void *context)
{
	kube_uninstall_words_begin(&((struct kube_uninstall *)context)->words);
}

static void sink_put(void *context, json_t *object)
{
	struct kube_uninstall *u = context;
	bool stale = !u->words.listed && is_word(object);
	uint64_t now = clock_now();
	bool held = kube_uninstall_words_hold(&u->words, now);

	/* There are two in a row, before the deletion and after it. */
	if (kube_uninstall_words_put(&u->words, object, now) && !held)
		log_warning("the release is being uninstalled (ConfigMap %s/%s): told to end within %d minutes, "
			    "when it has gone, this agent takes everything off the node",
			    metadata(object, "namespace"), metadata(object, "name"), KUBE_UNINSTALL_SECONDS / 60);
	else if (stale)
		log_warning("the ConfigMap %s/%s is of an uninstallation before this agent started, and not obeyed: "
			    "delete it",
			    metadata(object, "namespace"), metadata(object, "name"));
}

static void sink_gone(void *context, json_t *object)
{
	struct kube_uninstall *u = context;

	kube_uninstall_words_gone(&u->words, object);
	if (!is_pending(u))
		finish(u);
}

static void sink_synced(void *context)
{
	struct kube_uninstall *u = context;

	kube_uninstall_words_synced(&u->words);
	if (!is_pending(u))
		finish(u);
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
	sd_event_source_disable_unref((*u)->patience);
	sd_event_unref((*u)->event);
	kube_uninstall_words_clear(&(*u)->words);
	free((*u)->path);
	free(*u);
	*u = NULL;
}

int kube_uninstall_new(sd_event *event, struct kube_http *http, const char *namespace_name, struct kube_uninstall **ret)
{
	CLEANUP(kube_uninstall_freep) struct kube_uninstall *u = calloc(1, sizeof(*u));
	const struct kube_sink sink = { u, sink_begin, sink_put, sink_gone, sink_synced };
	struct kube_collection what = { .query = "labelSelector=sluice.dev%2Funinstall", .page = 10 };
	int r;

	if (!u)
		return -ENOMEM;
	if (asprintf(&u->path, "/api/v1/namespaces/%s/configmaps", namespace_name) < 0) {
		u->path = NULL;
		return -ENOMEM;
	}
	u->event = sd_event_ref(event);
	what.path = u->path;
	r = kube_follow_new(event, http, &what, &sink, tell_failure, &u->follow);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(u);
	return 0;
}

static int on_patience(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	log_warning("an uninstallation was announced, and the release is still there");
	finish(userdata);
	return 0;
}

void kube_uninstall_end(struct kube_uninstall *u, void (*ended)(void *context), void *context)
{
	if (!u || !is_pending(u) ||
	    sd_event_add_time_relative(u->event, &u->patience, CLOCK_MONOTONIC,
				       KUBE_UNINSTALL_WAIT_SECONDS * (NSEC_PER_SEC / 1000), 0, on_patience, u) < 0) {
		ended(context);
		return;
	}
	u->ended = ended;
	u->context = context;
}

bool kube_uninstall_is(const struct kube_uninstall *u, uint64_t now)
{
	return u && kube_uninstall_words_hold(&u->words, now) && u->words.gone;
}

json_t *kube_uninstall_json(const struct kube_uninstall *u, uint64_t now)
{
	struct kube_reflector_state state;

	if (!u)
		return json_null();
	kube_follow_get(u->follow, &state);
	return json_pack("{s:b, s:b, s:b, s:s}", "listening", state.watching, "heard",
			 kube_uninstall_words_hold(&u->words, now), "gone", u->words.gone, "error", state.error);
}
