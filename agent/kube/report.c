/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kube/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/kube/conditions.h"
#include "agent/kube/lease.h"
#include "agent/kube/taint.h"
#include "agent/kube/talk.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"

#define ANSWER_MAX (1u << 20)
#define END_MSEC   1500u /* for giving the Lease back */

enum voice {
	VOICE_LEASE,
	VOICE_CONDITIONS,
	VOICE_EVENTS,
	VOICE_TAINT,
	VOICES,
};

struct task {
	struct kube_report *report;
	const struct kube_talker *talker;
	void *context;
	struct kube_request *request; /* under way */
	sd_event_source *timer;
	struct strbuf body;
};

struct kube_report {
	sd_event *event;
	struct kube_http *http;
	/* The first three: NULL without `status`; the taint: NULL where there is none. */
	struct kube_lease *lease;
	struct kube_conditions *conditions;
	struct kube_events *events;
	struct kube_taint *taint;
	const struct kube_policies *policies;
	struct task tasks[VOICES];
	sd_event_source *end;
	void (*ended)(void *context);
	void *context;
	bool held;     /* as last logged */
	bool troubled; /* the same */
	bool conditions_fail;
	bool events_fail;
	bool taint_fails;
};

static uint32_t random_number(void)
{
	uint32_t n = 0;

	if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != sizeof(n))
		n = (uint32_t)clock_now();
	return n;
}

static struct kube_now now_of(void)
{
	return (struct kube_now){ clock_now(), time(NULL) };
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static void pump(struct task *t);

static void wake(struct task *t, uint64_t nsec)
{
	sd_event_source_set_time_relative(t->timer, nsec / 1000);
	sd_event_source_set_enabled(t->timer, SD_EVENT_ONESHOT);
}

static void on_data(void *context, const char *bytes, size_t len)
{
	struct task *t = context;

	if (t->body.len + len > ANSWER_MAX)
		t->body.failed = true;
	if (!t->body.failed)
		strbuf_add(&t->body, bytes, len);
}

/* Once while it fails. */
static void log_failure(const char *what, const char *error, bool *told)
{
	if (error[0] && !*told)
		log_warning("%s cannot be written: %s", what, error);
	*told = error[0];
}

static void log_failures(struct kube_report *r)
{
	struct kube_conditions_stats c;
	struct kube_events_stats e;

	if (r->taint)
		log_failure("the Node", kube_taint_error(r->taint), &r->taint_fails);
	if (!r->lease)
		return;
	kube_conditions_get_stats(r->conditions, &c);
	kube_events_get_stats(r->events, &e);
	log_failure("conditions", c.error, &r->conditions_fail);
	log_failure("Events", e.error, &r->events_fail);
}

static void log_lease(struct kube_report *r)
{
	bool held = kube_lease_held(r->lease, clock_now()), troubled = kube_lease_error(r->lease)[0];

	if (held != r->held)
		log_info(held ? "this node writes the conditions of policies now"
			      : "another node may write the conditions of policies now");
	if (troubled && !r->troubled)
		log_warning("%s; conditions of policies wait", kube_lease_error(r->lease));
	r->held = held;
	r->troubled = troubled;
}

static void finish(struct kube_report *r)
{
	void (*ended)(void *context) = r->ended;

	r->ended = NULL;
	if (ended)
		ended(r->context);
}

static void on_end(void *context, const struct kube_reply *reply)
{
	struct task *t = context;
	struct kube_report *r = t->report;
	const struct kube_now now = now_of();
	const struct kube_answer answer = {
		.status = t->body.failed ? 0 : reply->status,
		.retry_after = reply->retry_after,
		.text = t->body.failed ? "the answer is too long" : reply->text,
		.body = t->body.data ? t->body.data : "",
	};

	t->request = NULL;
	t->talker->end(t->context, &now, &answer);
	strbuf_clear(&t->body);
	pump(t);
	log_failures(r);
	if (t != &r->tasks[VOICE_LEASE])
		return;
	log_lease(r);
	kube_report_poke(r);
	if (kube_lease_released(r->lease))
		finish(r);
}

static void pump(struct task *t)
{
	const struct kube_handlers handlers = { t, on_data, on_end };
	const struct kube_now now = now_of();
	struct kube_call call = {};
	uint64_t when = now.mono + NSEC_PER_SEC;

	if (t->request || !t->talker)
		return;
	if (!t->talker->poll(t->context, &now, &call, &when)) {
		if (when == KUBE_NEVER)
			sd_event_source_set_enabled(t->timer, SD_EVENT_OFF);
		else
			wake(t, when > now.mono ? when - now.mono : 0);
	} else if (kube_http_start(t->report->http, &call, &handlers, &t->request) < 0) {
		wake(t, NSEC_PER_SEC);
	}
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	pump(userdata);
	return 0;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

void kube_report_freep(struct kube_report **r)
{
	if (!*r)
		return;
	for (size_t i = 0; i < VOICES; i++) {
		kube_request_cancelp(&(*r)->tasks[i].request);
		sd_event_source_disable_unref((*r)->tasks[i].timer);
		strbuf_clear(&(*r)->tasks[i].body);
	}
	sd_event_source_disable_unref((*r)->end);
	kube_taint_freep(&(*r)->taint);
	kube_events_freep(&(*r)->events);
	kube_conditions_freep(&(*r)->conditions);
	kube_lease_freep(&(*r)->lease);
	sd_event_unref((*r)->event);
	free(*r);
	*r = NULL;
}

static int start_task(struct kube_report *r, enum voice voice, const struct kube_talker *talker, void *context)
{
	struct task *t = &r->tasks[voice];

	t->report = r;
	t->talker = talker;
	t->context = context;
	return sd_event_add_time_relative(r->event, &t->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, t);
}

static int start_status(struct kube_report *r, struct kube_policies *policies, const struct kube_report_wish *wish)
{
	int e = kube_lease_new(wish->namespace_name, wish->node, random_number, &r->lease);

	if (e == 0)
		e = kube_conditions_new(policies, r->lease, random_number, &r->conditions);
	if (e == 0)
		e = kube_events_new(wish->node, random_number, &r->events);
	if (e == 0)
		e = start_task(r, VOICE_LEASE, &kube_lease_talker, r->lease);
	if (e >= 0)
		e = start_task(r, VOICE_CONDITIONS, &kube_conditions_talker, r->conditions);
	if (e >= 0)
		e = start_task(r, VOICE_EVENTS, &kube_events_talker, r->events);
	return e;
}

int kube_report_new(sd_event *event, struct kube_http *http, struct kube_policies *policies,
		    const struct kube_report_wish *wish, struct kube_report **ret)
{
	CLEANUP(kube_report_freep) struct kube_report *r = calloc(1, sizeof(*r));
	int e = 0;

	if (!r)
		return -ENOMEM;
	r->event = sd_event_ref(event);
	r->http = http;
	r->policies = policies;
	if (wish->status)
		e = start_status(r, policies, wish);
	if (e >= 0 && wish->startup_taint[0])
		e = kube_taint_new(wish->node, wish->startup_taint, random_number, &r->taint);
	if (e >= 0 && r->taint)
		e = start_task(r, VOICE_TAINT, &kube_taint_talker, r->taint);
	if (e < 0)
		return e;
	*ret = TAKE_PTR(r);
	return 0;
}

void kube_report_see_node(struct kube_report *r, json_t *node)
{
	bool was = r->taint && kube_taint_there(r->taint);

	if (!r->taint)
		return;
	kube_taint_see(r->taint, node);
	if (was != kube_taint_there(r->taint))
		log_info(was ? "the startup taint is off this node" : "the startup taint is on this node");
	pump(&r->tasks[VOICE_TAINT]);
}

void kube_report_set_ready(struct kube_report *r, bool ready)
{
	if (!r->taint)
		return;
	kube_taint_set_ready(r->taint, ready);
	pump(&r->tasks[VOICE_TAINT]);
}

void kube_report_set_audit(struct kube_report *r, bool audit)
{
	if (r->conditions)
		kube_conditions_set_audit(r->conditions, audit);
}

void kube_report_poke(struct kube_report *r)
{
	pump(&r->tasks[VOICE_CONDITIONS]);
}

/* ---- Events ------------------------------------------------------------------------------------------------------ */

/* Edits come in bursts, and of each only the last counts. */
#define POLICY_PATIENCE (2 * NSEC_PER_SEC)

static void note_policy(struct kube_report *r, const struct kube_verdict *v)
{
	const struct kube_event event = {
		.api_version = v->api_version,
		.kind = v->kind,
		.namespace_name = v->namespace_name,
		.name = v->name,
		.uid = v->uid,
		.reason = "Refused",
		.action = "Refuse",
		.note = v->message,
		.patience = POLICY_PATIENCE,
	};

	kube_report_event(r, &event);
}

void kube_report_events_begin(struct kube_report *r)
{
	struct kube_verdict v;

	if (!r->events)
		return;
	kube_events_begin(r->events);
	if (!kube_lease_held(r->lease, clock_now()))
		return;
	for (size_t i = 0; kube_policies_verdict(r->policies, i, &v); i++) {
		if (!v.valid)
			note_policy(r, &v);
	}
}

void kube_report_event(struct kube_report *r, const struct kube_event *event)
{
	const struct kube_now now = now_of();

	if (r->events)
		kube_events_note(r->events, &now, event);
}

void kube_report_events_end(struct kube_report *r)
{
	const struct kube_now now = now_of();

	if (r->events)
		kube_events_end(r->events, &now);
	pump(&r->tasks[VOICE_EVENTS]);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static int on_end_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	finish(userdata);
	return 0;
}

void kube_report_end(struct kube_report *r, void (*ended)(void *context), void *context)
{
	bool held = r->lease && kube_lease_held(r->lease, clock_now());

	r->ended = ended;
	r->context = context;
	if (sd_event_add_time_relative(r->event, &r->end, CLOCK_MONOTONIC, held ? END_MSEC * 1000 : 0, 1000,
				       on_end_timer, r) < 0) {
		finish(r);
		return;
	}
	if (r->lease)
		kube_lease_release(r->lease);
	pump(&r->tasks[VOICE_LEASE]);
}

/* ---- what is said of it ------------------------------------------------------------------------------------------ */

static json_t *status_json(const struct kube_report *r)
{
	struct kube_conditions_stats c;
	struct kube_events_stats e;

	kube_conditions_get_stats(r->conditions, &c);
	kube_events_get_stats(r->events, &e);
	return json_pack("{s:s, s:b, s:s, s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:s}", "holder",
			 kube_lease_holder(r->lease), "held", kube_lease_held(r->lease, clock_now()), "lease_error",
			 kube_lease_error(r->lease), "conditions_written", (json_int_t)c.written, "conditions_failed",
			 (json_int_t)c.failures, "conditions_of_others", (json_int_t)c.foreign, "conditions_error",
			 c.error, "lasting", (json_int_t)e.lasting, "events_written", (json_int_t)e.written,
			 "events_dropped", (json_int_t)e.dropped, "events_error", e.error);
}

json_t *kube_report_json(const struct kube_report *r)
{
	json_t *o = r->lease ? status_json(r) : json_object();

	if (r->taint)
		json_object_set_new(o, "startup_taint",
				    json_pack("{s:b, s:s}", "there", kube_taint_there(r->taint), "error",
					      kube_taint_error(r->taint)));
	return o;
}

void kube_report_get_stats(const struct kube_report *r, struct kube_report_stats *ret)
{
	struct kube_conditions_stats c = {};

	*ret = (struct kube_report_stats){
		.held = r->lease && kube_lease_held(r->lease, clock_now()),
		.tainted = r->taint && kube_taint_there(r->taint),
	};
	if (!r->lease)
		return;
	kube_conditions_get_stats(r->conditions, &c);
	ret->conditions = c.written;
	ret->condition_failures = c.failures;
	kube_events_get_stats(r->events, &ret->events);
}
