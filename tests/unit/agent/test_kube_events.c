/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "agent/kube/events.h"
#include "base/clock.h"

#define SECOND NSEC_PER_SEC

struct world {
	struct kube_events *e;
	struct kube_now now;
};

static uint32_t no_random(void)
{
	return 0;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->now = (struct kube_now){ 1000 * SECOND, 1764500000 };
	assert_int_equal(kube_events_new("node1", no_random, &w->e), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	kube_events_freep(&w->e);
	free(w);
	return 0;
}

static struct kube_event pod(const char *uid)
{
	return (struct kube_event){ .api_version = "v1",
				    .kind = "Pod",
				    .namespace_name = "ns",
				    .name = "p",
				    .uid = uid,
				    .reason = "Quarantined",
				    .action = "Deny",
				    .note = "why",
				    .patience = 5 * SECOND };
}

/* A pass over nothing, or over one thing. */
static void pass(struct world *w, const struct kube_event *event)
{
	kube_events_begin(w->e);
	if (event)
		kube_events_note(w->e, &w->now, event);
	kube_events_end(w->e, &w->now);
}

/* The next request's method and, where wanted, path and body; "": there is none. It gets `status`. */
static const char *ask(struct world *w, long status, char *path, json_t **body)
{
	struct kube_answer a = { .status = status, .text = "", .body = "" };
	struct kube_call call;
	uint64_t when;

	if (!kube_events_talker.poll(w->e, &w->now, &call, &when))
		return "";
	if (path)
		strcpy(path, call.path);
	if (body)
		*body = json_loads(call.body, 0, NULL);
	kube_events_talker.end(w->e, &w->now, &a);
	return call.method;
}

/* Told after six seconds. */
static void tell(struct world *w, const struct kube_event *event)
{
	pass(w, event);
	w->now.mono += 6 * SECOND;
	pass(w, event);
	assert_string_equal(ask(w, 201, NULL, NULL), "POST");
}

static struct kube_events_stats stats(const struct world *w)
{
	struct kube_events_stats s;

	kube_events_get_stats(w->e, &s);
	return s;
}

static const char *text(json_t *o, const char *a, const char *b)
{
	json_t *member = json_object_get(o, a);
	const char *t = json_string_value(b ? json_object_get(member, b) : member);

	return t ? t : "";
}

static void test_after_its_patience(void **state)
{
	struct world *w = *state;
	const struct kube_event event = pod("u");
	char path[256];
	json_t *body = NULL;

	pass(w, &event);
	assert_string_equal(ask(w, 201, NULL, NULL), "");
	w->now.mono += 5 * SECOND;
	pass(w, &event);
	assert_string_equal(ask(w, 201, path, &body), "POST");
	assert_string_equal(path, "/apis/events.k8s.io/v1/namespaces/ns/events?fieldManager=sluice");
	assert_string_equal(text(body, "regarding", "uid"), "u");
	assert_string_equal(text(body, "regarding", "kind"), "Pod");
	assert_string_equal(text(body, "reason", NULL), "Quarantined");
	assert_string_equal(text(body, "note", NULL), "why");
	assert_string_equal(text(body, "reportingInstance", NULL), "node1");
	assert_string_equal(text(body, "eventTime", NULL), "2025-11-30T10:53:20.000000Z");
	json_decref(body);
}

static void test_what_is_over_in_time_is_not_told(void **state)
{
	struct world *w = *state;
	const struct kube_event event = pod("u");

	pass(w, &event);
	w->now.mono += 3 * SECOND;
	pass(w, NULL);
	w->now.mono += 3 * SECOND;
	/* Its time begins anew. */
	pass(w, &event);
	w->now.mono += 3 * SECOND;
	pass(w, &event);
	assert_string_equal(ask(w, 201, NULL, NULL), "");
	assert_int_equal(stats(w).dropped, 0);
}

static void test_once_while_it_lasts(void **state)
{
	struct world *w = *state;
	const struct kube_event event = pod("u");
	char path[256];
	json_t *body = NULL;

	tell(w, &event);
	for (int i = 0; i < 1700; i++) {
		w->now.mono += SECOND;
		pass(w, &event);
		assert_string_equal(ask(w, 200, NULL, NULL), "");
	}
	w->now.mono += 200 * SECOND;
	pass(w, &event);
	assert_string_equal(ask(w, 200, path, &body), "PATCH");
	assert_non_null(strstr(path, "/events/p."));
	assert_int_equal(json_integer_value(json_object_get(json_object_get(body, "series"), "count")), 2);
	json_decref(body);
}

static void test_back_again(void **state)
{
	struct world *w = *state;
	const struct kube_event event = pod("u");

	tell(w, &event);
	for (int i = 0; i < 20; i++) {
		w->now.mono += SECOND;
		pass(w, i % 2 ? &event : NULL);
		assert_string_equal(ask(w, 200, NULL, NULL), "");
	}
	w->now.mono += 300 * SECOND;
	pass(w, &event);
	assert_string_equal(ask(w, 200, NULL, NULL), "PATCH");
}

static void test_over(void **state)
{
	struct world *w = *state;
	const struct kube_event event = pod("u");

	tell(w, &event);
	for (int i = 0; i < 120; i++) {
		w->now.mono += 60 * SECOND;
		pass(w, NULL);
		assert_string_equal(ask(w, 200, NULL, NULL), "");
	}
	/* Long after, it is new. */
	tell(w, &event);
}

static void test_there_already(void **state)
{
	struct world *w = *state;
	const struct kube_event event = pod("u");

	pass(w, &event);
	w->now.mono += 6 * SECOND;
	pass(w, &event);
	assert_string_equal(ask(w, 409, NULL, NULL), "POST");
	assert_string_equal(ask(w, 409, NULL, NULL), "");
	w->now.mono += 1801 * SECOND;
	pass(w, &event);
	assert_string_equal(ask(w, 404, NULL, NULL), "PATCH"); /* the API has forgotten it */
	pass(w, &event);
	assert_string_equal(ask(w, 201, NULL, NULL), "POST");
}

/* An agent that starts anew calls it the same; what is another pod's, or says something else, is another. */
static void test_names(void **state)
{
	struct world *w = *state;
	struct kube_event a = pod("u"), b = pod("v"), c = pod("u");
	json_t *body;
	char names[4][256];

	c.note = "another";
	for (int i = 0; i < 4; i++) {
		const struct kube_event *each[] = { &a, &b, &c, &a };

		kube_events_freep(&w->e);
		assert_int_equal(kube_events_new("node1", no_random, &w->e), 0);
		pass(w, each[i]);
		w->now.mono += 6 * SECOND;
		pass(w, each[i]);
		assert_string_equal(ask(w, 201, NULL, &body), "POST");
		snprintf(names[i], sizeof(names[i]), "%s", text(body, "metadata", "name"));
		json_decref(body);
	}
	assert_string_equal(names[0], names[3]);
	assert_string_not_equal(names[0], names[1]);
	assert_string_not_equal(names[0], names[2]);
}

static void test_object_without_namespace(void **state)
{
	struct world *w = *state;
	struct kube_event event = pod("u");
	char path[256];
	json_t *body;

	event.namespace_name = "";
	pass(w, &event);
	w->now.mono += 6 * SECOND;
	pass(w, &event);
	ask(w, 201, path, &body);
	assert_non_null(strstr(path, "/namespaces/default/events"));
	assert_string_equal(text(body, "metadata", "namespace"), "default");
	assert_null(json_object_get(json_object_get(body, "regarding"), "namespace"));
	json_decref(body);
}

static void pass_many(struct world *w, int n)
{
	kube_events_begin(w->e);
	for (int i = 0; i < n; i++) {
		char uid[16];
		struct kube_event event = pod(uid);

		snprintf(uid, sizeof(uid), "u%d", i);
		kube_events_note(w->e, &w->now, &event);
	}
	kube_events_end(w->e, &w->now);
}

static void test_no_storm(void **state)
{
	struct world *w = *state;
	int n = 0;

	pass_many(w, 600);
	assert_int_equal(stats(w).lasting, 600);
	assert_int_equal(stats(w).dropped, 88); /* the table's room is 512 */
	w->now.mono += 6 * SECOND;
	pass_many(w, 512);
	while (*ask(w, 201, NULL, NULL))
		n++;
	assert_int_equal(n, 20);
	for (int s = 0; s < 60; s++) {
		w->now.mono += SECOND;
		pass_many(w, 512);
		while (*ask(w, 201, NULL, NULL))
			n++;
	}
	assert_in_range(n, 31, 33);
	/* All over at once: who was not told is counted. */
	pass(w, NULL);
	assert_int_equal(stats(w).dropped, 88 + 512 - (size_t)n);
}

/* What is over makes room. */
static void test_room(void **state)
{
	struct world *w = *state;
	const struct kube_event event = pod("new");

	pass_many(w, 20);
	w->now.mono += 6 * SECOND;
	pass_many(w, 20);
	while (*ask(w, 201, NULL, NULL))
		;
	pass(w, NULL);
	pass_many(w, 0);
	kube_events_begin(w->e);
	for (int i = 100; i < 612; i++) {
		char uid[16];
		struct kube_event more = pod(uid);

		snprintf(uid, sizeof(uid), "u%d", i);
		kube_events_note(w->e, &w->now, &more);
	}
	kube_events_end(w->e, &w->now);
	assert_int_equal(stats(w).dropped, 0);
	kube_events_note(w->e, &w->now, &event);
	assert_int_equal(stats(w).dropped, 1);
}

static void test_refused(void **state)
{
	struct world *w = *state;
	const struct kube_event a = pod("a"), b = pod("b");

	pass(w, &a);
	w->now.mono += 6 * SECOND;
	pass(w, &a);
	assert_string_equal(ask(w, 403, NULL, NULL), "POST");
	assert_string_equal(ask(w, 403, NULL, NULL), ""); /* backs off */
	w->now.mono += 2 * SECOND;
	assert_string_equal(ask(w, 404, NULL, NULL), "POST"); /* no such namespace any more */
	assert_int_equal(stats(w).dropped, 1);
	assert_int_equal(stats(w).failures, 2);
	w->now.mono += 60 * SECOND;
	pass(w, &b);
	w->now.mono += 6 * SECOND;
	pass(w, &b);
	assert_string_equal(ask(w, 201, NULL, NULL), "POST");
	assert_string_equal(stats(w).error, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_after_its_patience, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_over_in_time_is_not_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_once_while_it_lasts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_back_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_there_already, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_object_without_namespace, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_storm, setup, teardown),
		cmocka_unit_test_setup_teardown(test_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
