/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * What is amiss is known by its object's uid, reason and note. It is told as one Event, when it has lasted for its patience; again,
 * as a series with a count, when it came back or still lasts: never more often than REPEAT_SECONDS, and every LASTING_SECONDS,
 * since the API forgets Events after an hour.
 *
 * The Event's name is made of the same: an agent that starts anew, or on another node speaks for all now, makes no second one,
 * for the API answers that it is there. Requests are bounded by a bucket of tokens; what waits for its turn and is over meanwhile, and what the table
 * has no room for, is counted.
 */
#include "agent/kube/events.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/siphash.h"
#include "base/strbuf.h"

#define ENTRIES_MAX	512u
#define REPEAT_SECONDS	300u
#define LASTING_SECONDS 1800u
#define KEEP_SECONDS	3600u
#define BURST		20u
#define TOKEN_SECONDS	5u
#define NOTE_MAX	1024u
#define NAME_MAX_LEN	200

struct entry {
	uint64_t print;
	char *path;  /* of the namespace's Events */
	char *name;  /* the Event's */
	char *body;  /* of the Event */
	bool noted;  /* in the pass under way, or the last one */
	bool before; /* in the one before */
	bool again;  /* it came back since it was told */
	uint64_t since;
	uint64_t patience;
	uint64_t told; /* when it last was; 0: never */
	unsigned int count;
};

struct kube_events {
	char *node;
	uint32_t (*random)(void);
	struct entry *entries[ENTRIES_MAX];
	size_t count;
	unsigned int tokens;
	uint64_t token_time; /* when the last one came */
	uint64_t not_before;
	unsigned int failures;
	/* The request under way: */
	uint64_t print;
	char *path;
	char *body;
	struct kube_events_stats stats;
	char error[256];
};

int kube_events_new(const char *node, uint32_t (*random)(void), struct kube_events **ret)
{
	CLEANUP(kube_events_freep) struct kube_events *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->random = random;
	e->tokens = BURST;
	e->node = strdup(node);
	if (!e->node)
		return -ENOMEM;
	*ret = TAKE_PTR(e);
	return 0;
}

static void entry_free(struct entry *t)
{
	free(t->path);
	free(t->name);
	free(t->body);
	free(t);
}

static void entry_freep(struct entry **t)
{
	if (*t)
		entry_free(*t);
	*t = NULL;
}

void kube_events_freep(struct kube_events **e)
{
	if (!*e)
		return;
	for (size_t i = 0; i < (*e)->count; i++)
		entry_free((*e)->entries[i]);
	free((*e)->node);
	free((*e)->path);
	free((*e)->body);
	free(*e);
	*e = NULL;
}

/* ---- what an Event says ------------------------------------------------------------------------------------------ */

static uint64_t print_of(const struct kube_event *v)
{
	static const uint64_t key[2] = { 0x536c75696365, 0x4576656e7473 };
	struct strbuf b = {};
	uint64_t print;

	strbuf_addf(&b, "%s\n%s\n%s", v->uid, v->reason, v->note);
	print = siphash24(b.data ? b.data : "", b.len, key);
	strbuf_clear(&b);
	return print;
}

static json_t *regarding(const struct kube_event *v)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "apiVersion", v->api_version, "kind", v->kind, "name", v->name,
			      "uid", v->uid);

	if (v->namespace_name[0])
		json_object_set_new(o, "namespace", json_string(v->namespace_name));
	return o;
}

/* An object without a namespace has its Events in "default". */
static const char *namespace_of(const struct kube_event *v)
{
	return v->namespace_name[0] ? v->namespace_name : "default";
}

static char *body_of(const struct kube_events *e, const struct kube_event *v, const char *name, time_t wall)
{
	char time[KUBE_TIME_MAX], note[NOTE_MAX];
	json_t *o;
	char *text;

	snprintf(note, sizeof(note), "%s", v->note);
	o = json_pack("{s:s, s:s, s:{s:s, s:s}, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "apiVersion",
		      "events.k8s.io/v1", "kind", "Event", "metadata", "name", name, "namespace", namespace_of(v),
		      "eventTime", kube_micro_time(wall, time), "reportingController", "sluice.dev/agent",
		      "reportingInstance", e->node, "type", "Warning", "reason", v->reason, "action", v->action, "note",
		      kube_text_json(note), "regarding", regarding(v));
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

static struct entry *entry_new(const struct kube_events *e, const struct kube_now *now, const struct kube_event *v,
			       uint64_t print)
{
	CLEANUP(entry_freep) struct entry *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->print = print;
	t->since = now->mono;
	t->patience = v->patience;
	if (asprintf(&t->name, "%.*s.%016llx", NAME_MAX_LEN, v->name, (unsigned long long)print) < 0)
		t->name = NULL;
	if (asprintf(&t->path, "/apis/events.k8s.io/v1/namespaces/%s/events", namespace_of(v)) < 0)
		t->path = NULL;
	t->body = t->name ? body_of(e, v, t->name, now->wall) : NULL;
	return t->path && t->body ? TAKE_PTR(t) : NULL;
}

/* ---- passes ------------------------------------------------------------------------------------------------------ */

static struct entry *find(const struct kube_events *e, uint64_t print)
{
	for (size_t i = 0; i < e->count; i++) {
		if (e->entries[i]->print == print)
			return e->entries[i];
	}
	return NULL;
}

static void take_out(struct kube_events *e, size_t at)
{
	entry_free(e->entries[at]);
	e->entries[at] = e->entries[--e->count];
}

/* What is over is forgotten before there is no room for what is not. */
static bool make_room(struct kube_events *e)
{
	size_t oldest = ENTRIES_MAX;

	if (e->count < ENTRIES_MAX)
		return true;
	for (size_t i = 0; i < e->count; i++) {
		const struct entry *t = e->entries[i];

		if (!t->noted && !t->before && (oldest == ENTRIES_MAX || t->told < e->entries[oldest]->told))
			oldest = i;
	}
	if (oldest == ENTRIES_MAX)
		return false;
	take_out(e, oldest);
	return true;
}

void kube_events_begin(struct kube_events *e)
{
	for (size_t i = 0; i < e->count; i++) {
		e->entries[i]->before = e->entries[i]->noted;
		e->entries[i]->noted = false;
	}
	e->stats.lasting = 0;
}

void kube_events_note(struct kube_events *e, const struct kube_now *now, const struct kube_event *event)
{
	uint64_t print = print_of(event);
	struct entry *t = find(e, print);

	e->stats.lasting++;
	if (!t && make_room(e)) {
		t = entry_new(e, now, event, print);
		if (t)
			e->entries[e->count++] = t;
	} else if (t && !t->before && !t->noted) {
		t->again = true;
	}
	if (t)
		t->noted = true;
	else
		e->stats.dropped++;
}

static bool is_ripe(const struct entry *t, uint64_t now)
{
	return now - t->since >= t->patience;
}

void kube_events_end(struct kube_events *e, const struct kube_now *now)
{
	for (size_t i = e->count; i > 0; i--) {
		const struct entry *t = e->entries[i - 1];

		if (t->noted || (t->told && now->mono - t->told < KEEP_SECONDS * NSEC_PER_SEC))
			continue;
		e->stats.dropped += !t->told && is_ripe(t, now->mono);
		take_out(e, i - 1);
	}
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

/* When it is to be told, or told anew. */
static uint64_t due_of(const struct entry *t)
{
	if (!t->noted)
		return KUBE_NEVER;
	if (!t->told)
		return t->since + t->patience;
	return t->told + (t->again ? REPEAT_SECONDS : LASTING_SECONDS) * NSEC_PER_SEC;
}

static struct entry *first_due(const struct kube_events *e)
{
	struct entry *first = NULL;

	for (size_t i = 0; i < e->count; i++) {
		if (!first || due_of(e->entries[i]) < due_of(first))
			first = e->entries[i];
	}
	return first;
}

static void fill_bucket(struct kube_events *e, uint64_t now)
{
	uint64_t came = (now - e->token_time) / (TOKEN_SECONDS * NSEC_PER_SEC);

	if (e->tokens + came >= BURST) {
		e->tokens = BURST;
		e->token_time = now;
		return;
	}
	e->tokens += (unsigned int)came;
	e->token_time += came * TOKEN_SECONDS * NSEC_PER_SEC;
}

static char *series_of(const struct entry *t, time_t wall)
{
	char time[KUBE_TIME_MAX];
	json_t *o = json_pack("{s:{s:i, s:s}}", "series", "count", (int)t->count + 1, "lastObservedTime",
			      kube_micro_time(wall, time));
	char *text = json_dumps(o, JSON_COMPACT);

	json_decref(o);
	return text;
}

static bool make_request(struct kube_events *e, const struct entry *t, time_t wall, struct kube_call *ret)
{
	freep(&e->path);
	freep(&e->body);
	e->print = t->print;
	*ret = (struct kube_call){ .method = t->told ? "PATCH" : "POST", .timeout_seconds = KUBE_TALK_SECONDS };
	e->body = t->told ? series_of(t, wall) : strdup(t->body);
	if (asprintf(&e->path, "%s%s%s?fieldManager=sluice", t->path, t->told ? "/" : "", t->told ? t->name : "") < 0)
		e->path = NULL;
	ret->path = e->path;
	ret->body = e->body;
	ret->type = t->told ? KUBE_MERGE_PATCH : NULL;
	return e->path && e->body;
}

static int poll(void *context, const struct kube_now *now, struct kube_call *ret, uint64_t *ret_when)
{
	struct kube_events *e = context;
	struct entry *t = first_due(e);

	fill_bucket(e, now->mono);
	*ret_when = t ? due_of(t) : KUBE_NEVER;
	if (*ret_when < e->not_before)
		*ret_when = e->not_before;
	if (now->mono < *ret_when)
		return 0;
	*ret_when = e->token_time + TOKEN_SECONDS * NSEC_PER_SEC;
	if (e->tokens == 0 || !make_request(e, t, now->wall, ret))
		return 0;
	e->tokens--;
	return 1;
}

static void told(struct kube_events *e, struct entry *t, const struct kube_now *now)
{
	t->told = now->mono;
	t->again = false;
	t->count++;
	e->stats.written++;
}

static void fail(struct kube_events *e, struct entry *t, const struct kube_now *now, const struct kube_answer *a)
{
	char words[160];

	e->stats.failures++;
	snprintf(e->error, sizeof(e->error), "Event %.80s: %s", t->name,
		 kube_status_text(a->status, a->text, words, sizeof(words)));
	if (a->status == 400 || a->status == 422 || (a->status == 404 && !t->told)) {
		/* Never to be taken, or its namespace goes. */
		e->stats.dropped++;
		t->told = now->mono;
		return;
	}
	e->not_before = now->mono + kube_back_off(e->failures++, a->retry_after, e->random());
}

static void end(void *context, const struct kube_now *now, const struct kube_answer *a)
{
	struct kube_events *e = context;
	struct entry *t = find(e, e->print);

	if (!t)
		return;
	/* 409: an agent before this one told it. 404: the API has forgotten it. */
	if (a->status == 200 || a->status == 201 || (a->status == 409 && !t->told)) {
		e->failures = 0;
		e->error[0] = '\0';
		told(e, t, now);
	} else if (a->status == 404 && t->told) {
		t->told = t->count = 0;
	} else {
		fail(e, t, now, a);
	}
}

const struct kube_talker kube_events_talker = { poll, end };

void kube_events_get_stats(const struct kube_events *e, struct kube_events_stats *ret)
{
	*ret = e->stats;
	ret->error = e->error;
}
