/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * What the next request is:
 *
 *  LIST   a page; the last one gives the version to watch from               -> LIST (more pages), WATCH
 *         410, the list has become too old between two pages                 -> LIST from the start
 *         404, and the kind belongs to a CRD                                 -> CRD
 *         404, and servers may be too old for it                             -> LIST, after a while
 *  WATCH  one JSON document a line, until the server ends it, in minutes     -> WATCH from the last version seen
 *         410, in the status or as an event: that version is too old         -> LIST
 *         a line that cannot be read: something was missed                   -> LIST
 *  CRD    404: there are no such objects, certainly                          -> CRD, after a while
 *         200                                                                -> LIST
 *
 * Anything else is a failure: the same request again, after a pause that doubles up to half a minute and is different
 * on every node, or as long as the server asked for. A watch that was granted, and lasted, makes the next pause short again,
 * whether it brought something or not. What is known stays known meanwhile. A kind's own 404 never
 * takes objects away: an API server that is just starting answers so too, and policies that vanish open something.
 */
#include "agent/kube/reflector.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/kube/talk.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/strbuf.h"

#define PAGE_BYTES_MAX	(256u << 20)
#define EVENT_BYTES_MAX (16u << 20)

#define BACKOFF_MSEC	500u
#define BACKOFF_DOUBLES 6u
#define RETRY_AFTER_MAX 120
#define ABSENT_SECONDS	10u
#define LIST_SECONDS	60u
#define WATCH_SECONDS	300u
#define WATCH_GRACE	30u
#define SHORT_WATCH	NSEC_PER_SEC

enum phase {
	PHASE_LIST,
	PHASE_WATCH,
	PHASE_CRD,
};

struct kube_reflector {
	struct kube_collection what;
	struct kube_sink sink;
	uint32_t (*random)(void);
	enum phase phase;
	uint64_t not_before;
	uint64_t started;      /* the request under way */
	uint64_t granted;      /* when its answer began; 0: it has not */
	unsigned int failures; /* in a row */
	unsigned int barren;   /* watches in a row that brought nothing and ended in a new list */
	const char *at;	       /* the path in use */
	char *version;
	char *next_page; /* the continue token; NULL: the first page */
	struct strbuf body;
	struct strbuf path;
	bool relist;	  /* the watch missed something */
	long watch_error; /* the code of an ERROR event, and its words */
	char watch_text[256];
	bool progress; /* the watch under way brought something */
	struct kube_reflector_state state;
	char error[256];
};

int kube_reflector_new(const struct kube_collection *collection, const struct kube_sink *sink, uint32_t (*random)(void),
		       struct kube_reflector **ret)
{
	struct kube_reflector *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->what = *collection;
	r->sink = *sink;
	r->random = random;
	r->at = r->state.path = collection->path;
	*ret = r;
	return 0;
}

void kube_reflector_freep(struct kube_reflector **r)
{
	if (!*r)
		return;
	strbuf_clear(&(*r)->body);
	strbuf_clear(&(*r)->path);
	free((*r)->version);
	free((*r)->next_page);
	free(*r);
	*r = NULL;
}

void kube_reflector_get(const struct kube_reflector *r, struct kube_reflector_state *ret)
{
	*ret = r->state;
	ret->watching = r->phase == PHASE_WATCH && (r->failures == 0 || r->granted);
	ret->error = r->error;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static void add_escaped(struct strbuf *b, const char *text)
{
	for (; *text; text++) {
		if (isalnum((unsigned char)*text) || strchr("-._~", *text))
			strbuf_add(b, text, 1);
		else
			strbuf_addf(b, "%%%02X", (unsigned char)*text);
	}
}

static unsigned int write_path(struct kube_reflector *r)
{
	struct strbuf *b = &r->path;
	unsigned int seconds = WATCH_SECONDS + r->random() % WATCH_SECONDS;

	strbuf_clear(b);
	if (r->phase == PHASE_CRD) {
		strbuf_addf(b, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/%s", r->what.crd);
		return LIST_SECONDS;
	}
	strbuf_addf(b, "%s?", r->at);
	if (r->what.query)
		strbuf_addf(b, "%s&", r->what.query);
	if (r->phase == PHASE_LIST) {
		strbuf_addf(b, "limit=%u", r->what.page);
		if (r->next_page) {
			strbuf_adds(b, "&continue=");
			add_escaped(b, r->next_page);
		}
		return LIST_SECONDS;
	}
	strbuf_addf(b, "watch=1&allowWatchBookmarks=true&timeoutSeconds=%u&resourceVersion=", seconds);
	add_escaped(b, r->version);
	return seconds + WATCH_GRACE;
}

int kube_reflector_poll(struct kube_reflector *r, uint64_t now, const char **ret, unsigned int *ret_timeout,
			uint64_t *ret_when)
{
	if (now < r->not_before) {
		*ret_when = r->not_before;
		return 0;
	}
	*ret_timeout = write_path(r);
	if (r->path.failed) {
		strbuf_clear(&r->path);
		*ret_when = r->not_before = now + NSEC_PER_SEC;
		return 0;
	}
	strbuf_clear(&r->body);
	r->started = now;
	r->granted = 0;
	r->relist = r->progress = false;
	r->watch_error = 0;
	*ret = r->path.data;
	return 1;
}

void kube_reflector_began(struct kube_reflector *r, uint64_t now)
{
	r->granted = now;
	if (r->phase == PHASE_WATCH)
		r->error[0] = '\0';
}

/* ---- bodies ------------------------------------------------------------------------------------------------------ */

static bool keep_text(char **slot, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return false;
	free(*slot);
	*slot = copy;
	return true;
}

static const char *text_of(json_t *object, const char *a, const char *b)
{
	const char *text = json_string_value(json_object_get(json_object_get(object, a), b));

	return text ? text : "";
}

/* The items of a list do not say what they are; the list does. */
static void name_kind(json_t *list, json_t *item)
{
	const char *kind = json_string_value(json_object_get(list, "kind"));

	if (json_object_get(item, "kind"))
		return;
	json_object_set_new(item, "kind", json_stringn(kind, strlen(kind) - 4));
	json_object_set(item, "apiVersion", json_object_get(list, "apiVersion"));
}

/* Anything else with the status 200 is none: taken for one, it would take away what is known. */
static bool is_list(json_t *list)
{
	const char *kind = json_string_value(json_object_get(list, "kind"));
	json_t *items = json_object_get(list, "items");
	size_t len = kind ? strlen(kind) : 0;

	return len > 4 && !strcmp(kind + len - 4, "List") && (json_is_array(items) || json_is_null(items)) &&
	       *text_of(list, "metadata", "resourceVersion");
}

static bool take_page(struct kube_reflector *r)
{
	json_error_t error;
	json_t *list = r->body.failed ? NULL : json_loadb(r->body.data, r->body.len, 0, &error), *item;
	const char *next = text_of(list, "metadata", "continue");
	json_t *items = json_object_get(list, "items");
	bool ok = is_list(list);
	size_t i;

	strbuf_clear(&r->body);
	if (ok && !r->next_page) {
		r->state.lists++;
		r->sink.begin(r->sink.context);
	}
	for (i = 0; ok && (item = json_array_get(items, i)); i++) {
		name_kind(list, item);
		r->sink.put(r->sink.context, item);
		r->state.objects++;
	}
	ok = ok && keep_text(&r->version, text_of(list, "metadata", "resourceVersion"));
	if (ok && *next)
		ok = keep_text(&r->next_page, next);
	else
		freep(&r->next_page);
	json_decref(list);
	return ok;
}

static void take_event(struct kube_reflector *r, const char *type, json_t *object)
{
	const char *version = text_of(object, "metadata", "resourceVersion");

	if (!strcmp(type, "ERROR")) {
		json_t *code = json_object_get(object, "code");

		r->watch_error = json_is_integer(code) ? (long)json_integer_value(code) : 500;
		snprintf(r->watch_text, sizeof(r->watch_text), "%s",
			 json_string_value(json_object_get(object, "message")) ?: "");
		return;
	}
	if (!strcmp(type, "ADDED") || !strcmp(type, "MODIFIED")) {
		r->sink.put(r->sink.context, object);
		r->state.objects++;
	} else if (!strcmp(type, "DELETED")) {
		r->sink.gone(r->sink.context, object);
	}
	if (*version && !keep_text(&r->version, version))
		r->relist = true;
	r->progress = true;
	/* Whatever failed before, this watch is well: it may go on for minutes until its end says so. */
	r->failures = 0;
	r->error[0] = '\0';
}

static void take_line(struct kube_reflector *r, const char *line, size_t len)
{
	json_error_t error;
	json_t *event = json_loadb(line, len, 0, &error);
	const char *type = json_string_value(json_object_get(event, "type"));
	json_t *object = json_object_get(event, "object");

	if (type && json_is_object(object)) {
		take_event(r, type, object);
	} else {
		r->state.lost++;
		r->relist = true;
	}
	json_decref(event);
}

/* Whole lines of what came are read where they are; only a line's beginning is kept for later. */
static bool watch_data(struct kube_reflector *r, const char *bytes, size_t len)
{
	while (len && !r->relist && !r->watch_error) {
		const char *end = memchr(bytes, '\n', len);
		size_t n = end ? (size_t)(end - bytes) : len;

		if (!end || r->body.len)
			strbuf_add(&r->body, bytes, n);
		if (r->body.failed || r->body.len > EVENT_BYTES_MAX) {
			r->state.lost++;
			r->relist = true;
		} else if (end && (r->body.len ? r->body.len : n)) {
			take_line(r, r->body.len ? r->body.data : bytes, r->body.len ? r->body.len : n);
		}
		if (end)
			strbuf_clear(&r->body);
		bytes += n + (end ? 1 : 0);
		len -= n + (end ? 1 : 0);
	}
	return !r->relist && !r->watch_error;
}

bool kube_reflector_data(struct kube_reflector *r, const char *bytes, size_t len)
{
	if (r->phase == PHASE_WATCH)
		return watch_data(r, bytes, len);
	if (r->body.len + len > PAGE_BYTES_MAX)
		r->body.failed = true;
	if (!r->body.failed)
		strbuf_add(&r->body, bytes, len);
	return !r->body.failed;
}

/* ---- what comes next --------------------------------------------------------------------------------------------- */

static void fail(struct kube_reflector *r, uint64_t now, long status, long retry_after, const char *text)
{
	unsigned int doubles = r->failures < BACKOFF_DOUBLES ? r->failures : BACKOFF_DOUBLES;
	uint64_t msec = (uint64_t)BACKOFF_MSEC << doubles;
	uint64_t asked = retry_after > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : retry_after > 0 ? (uint64_t)retry_after : 0;

	r->failures++;
	r->state.failures++;
	msec = msec / 2 + r->random() % msec + asked * 1000;
	r->not_before = now + msec * NSEC_PER_MSEC;
	if (status)
		kube_status_text(status, text, r->error, sizeof(r->error));
	else
		snprintf(r->error, sizeof(r->error), "%.250s", text);
}

static void go_on(struct kube_reflector *r, enum phase phase)
{
	r->phase = phase;
	r->failures = 0;
	r->error[0] = '\0';
}

static void list_ended(struct kube_reflector *r, uint64_t now, long status, long retry_after, const char *text)
{
	if (status == 404 && r->what.crd) {
		freep(&r->next_page);
		r->phase = PHASE_CRD;
		r->error[0] = '\0';
		return;
	}
	if (status == 404 && r->what.optional) {
		freep(&r->next_page);
		r->state.absent = r->state.synced = true;
		go_on(r, PHASE_LIST);
		r->not_before = now + (LIST_SECONDS + r->random() % LIST_SECONDS) * NSEC_PER_SEC;
		return;
	}
	if (status != 200 || !take_page(r)) {
		if (status == 410 || status == 200)
			freep(&r->next_page);
		fail(r, now, status, retry_after, status == 200 ? "a list that cannot be read" : text);
		return;
	}
	r->state.absent = false;
	if (r->next_page)
		return;
	r->state.synced = true;
	go_on(r, PHASE_WATCH);
	r->sink.synced(r->sink.context);
}

/* Whatever its end was. */
static bool watch_was_well(const struct kube_reflector *r, uint64_t now)
{
	return r->progress || (r->granted && now - r->granted >= SHORT_WATCH);
}

static void watch_ended(struct kube_reflector *r, uint64_t now, long status, long retry_after, const char *text)
{
	if (r->progress)
		r->barren = 0;
	if (status == 410 || status == 404 || r->watch_error == 410 || r->relist) {
		r->phase = PHASE_LIST;
		/* The first time at once; a server that keeps saying so is given time. */
		if (r->barren++) {
			r->failures = r->barren - 2;
			fail(r, now, 410, retry_after, "the version to watch from is too old");
		}
		return;
	}
	if (r->watch_error || status != 200) {
		if (watch_was_well(r, now))
			r->failures = 0;
		fail(r, now, r->watch_error ? r->watch_error : status, retry_after,
		     r->watch_error ? r->watch_text : text);
		return;
	}
	if (!r->progress && now - r->started < SHORT_WATCH)
		fail(r, now, 200, retry_after, "the watch ended at once");
	else
		go_on(r, PHASE_WATCH);
}

/* The kind is there after all: just now, or in the other version. Again and again, it is still on its way. */
static void crd_found(struct kube_reflector *r, uint64_t now)
{
	r->phase = PHASE_LIST;
	if (r->what.older)
		r->state.path = r->at = r->at == r->what.path ? r->what.older : r->what.path;
	if (r->failures)
		fail(r, now, 404, 0, "its CRD is there, the kind is not served yet");
	else
		r->failures = 1;
}

static void crd_ended(struct kube_reflector *r, uint64_t now, long status, long retry_after, const char *text)
{
	if (status == 200) {
		crd_found(r, now);
		return;
	}
	if (status != 404) {
		fail(r, now, status, retry_after, text);
		return;
	}
	if (!r->state.absent || !r->state.synced) {
		r->state.absent = r->state.synced = true;
		r->sink.begin(r->sink.context);
		r->sink.synced(r->sink.context);
	}
	go_on(r, PHASE_CRD);
	r->not_before = now + (ABSENT_SECONDS + r->random() % ABSENT_SECONDS) * NSEC_PER_SEC;
}

void kube_reflector_end(struct kube_reflector *r, uint64_t now, long status, long retry_after, const char *text)
{
	r->state.status = status;
	switch (r->phase) {
	case PHASE_LIST:
		list_ended(r, now, status, retry_after, text);
		break;
	case PHASE_WATCH:
		watch_ended(r, now, status, retry_after, text);
		break;
	case PHASE_CRD:
		crd_ended(r, now, status, retry_after, text);
		break;
	}
	r->granted = 0;
	strbuf_clear(&r->body);
}
