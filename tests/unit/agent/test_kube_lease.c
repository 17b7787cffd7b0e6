/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes and an API server that keeps one Lease as the real one does: by versions, never by clocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "agent/kube/lease.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define SECOND NSEC_PER_SEC

static json_t *lease; /* NULL: there is none */
static int version;
static long refuse; /* a status for everything */

static uint32_t no_random(void)
{
	return 0;
}

static char *bump(void)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", ++version);
	json_object_set_new(json_object_get(lease, "metadata"), "resourceVersion", json_string(text));
	return json_dumps(lease, 0);
}

static void setup_lease(void)
{
	json_decref(lease);
	lease = json_pack("{s:{s:s, s:{s:s}}, s:{}}", "metadata", "name", "sluice", "labels", "whose", "chart", "spec");
	free(bump());
	refuse = 0;
}

static char *patch(const char *text)
{
	json_t *p = json_loads(text, 0, NULL), *value;
	const char *key, *seen = json_string_value(json_object_get(json_object_get(p, "metadata"), "resourceVersion"));
	const char *is = json_string_value(json_object_get(json_object_get(lease, "metadata"), "resourceVersion"));
	bool fits = seen && !strcmp(seen, is);

	json_object_foreach(json_object_get(p, "spec"), key, value)
	{
		if (fits && json_is_null(value))
			json_object_del(json_object_get(lease, "spec"), key);
		else if (fits)
			json_object_set(json_object_get(lease, "spec"), key, value);
	}
	json_decref(p);
	return fits ? bump() : NULL;
}

/* One request of a node, if it has any. Returns the method, or when the next may come. */
static const char *turn(struct kube_lease *l, uint64_t mono, time_t wall, uint64_t *ret_when)
{
	const struct kube_now now = { mono, wall };
	struct kube_answer a = { .text = "", .body = "" };
	struct kube_call call;
	_cleanup_free_ char *body = NULL;

	if (!kube_lease_talker.poll(l, &now, &call, ret_when))
		return "";
	assert_string_equal(call.path, "/apis/coordination.k8s.io/v1/namespaces/ns/leases/sluice");
	if (refuse || !lease) {
		a.status = refuse ? refuse : 404;
	} else {
		body = call.body ? patch(call.body) : json_dumps(lease, 0);
		a.status = body ? 200 : 409;
		a.body = body ? body : "";
	}
	kube_lease_talker.end(l, &now, &a);
	return call.method;
}

/* All that a node has to ask from one moment to another. */
static void run(struct kube_lease *l, uint64_t *mono, uint64_t until, time_t wall)
{
	uint64_t when = 0;

	while (*mono <= until) {
		if (!*turn(l, *mono, wall, &when))
			*mono = when > *mono ? when : *mono + 1;
	}
	*mono = until;
}

static struct kube_lease *node(const char *name)
{
	struct kube_lease *l = NULL;

	assert_int_equal(kube_lease_new("ns", name, no_random, &l), 0);
	return l;
}

static const char *holder(void)
{
	const char *name = json_string_value(json_object_get(json_object_get(lease, "spec"), "holderIdentity"));

	return name ? name : "";
}

static void test_first_takes(void **state)
{
	CLEANUP(kube_lease_freep) struct kube_lease *a = node("a"), *b = node("b");
	uint64_t ta = SECOND, tb = SECOND;

	(void)state;
	setup_lease();
	run(a, &ta, 2 * SECOND, 1000);
	run(b, &tb, 2 * SECOND, 1000);
	assert_string_equal(holder(), "a");
	assert_true(kube_lease_held(a, 2 * SECOND));
	assert_false(kube_lease_held(b, 2 * SECOND));
	assert_string_equal(kube_lease_holder(b), "a");
	/* What others wrote of the object stays. */
	assert_non_null(json_object_get(json_object_get(lease, "metadata"), "labels"));
}

/* The two read the same version and both want it: the API lets one have it. */
static void test_race(void **state)
{
	CLEANUP(kube_lease_freep) struct kube_lease *a = node("a"), *b = node("b");
	uint64_t when, tb = SECOND;

	(void)state;
	setup_lease();
	assert_string_equal(turn(a, SECOND, 0, &when), "GET");
	assert_string_equal(turn(b, SECOND, 0, &when), "GET");
	assert_string_equal(turn(a, SECOND, 0, &when), "PATCH");
	assert_string_equal(turn(b, SECOND, 0, &when), "PATCH");
	assert_false(kube_lease_held(b, SECOND));
	run(b, &tb, 5 * SECOND, 0);
	assert_string_equal(holder(), "a");
	assert_false(kube_lease_held(b, 5 * SECOND));
}

static void test_renewed_stays(void **state)
{
	CLEANUP(kube_lease_freep) struct kube_lease *a = node("a"), *b = node("b");
	uint64_t ta = SECOND, tb = SECOND;

	(void)state;
	setup_lease();
	for (uint64_t t = 2; t < 300; t++) {
		run(a, &ta, t * SECOND, (time_t)t);
		run(b, &tb, t * SECOND, (time_t)t);
		assert_true(kube_lease_held(a, t * SECOND));
		assert_false(kube_lease_held(b, t * SECOND));
	}
}

/* A holder that is gone is replaced when its time is over, and not before, whatever its clock says. */
static void dies(time_t skew)
{
	CLEANUP(kube_lease_freep) struct kube_lease *a = node("a"), *b = node("b");
	uint64_t ta = SECOND, tb = SECOND, t;

	setup_lease();
	for (t = 2; t < 60; t++) {
		run(a, &ta, t * SECOND, (time_t)t + skew);
		run(b, &tb, t * SECOND, (time_t)t);
	}
	for (; kube_lease_held(a, t * SECOND); t++) {
		run(b, &tb, t * SECOND, (time_t)t);
		assert_false(kube_lease_held(b, t * SECOND));
	}
	for (; t < 85; t++)
		run(b, &tb, t * SECOND, (time_t)t);
	assert_false(kube_lease_held(b, t * SECOND));
	for (; t < 125 && !kube_lease_held(b, t * SECOND); t++)
		run(b, &tb, t * SECOND, (time_t)t);
	assert_true(kube_lease_held(b, t * SECOND));
	assert_int_equal(json_integer_value(json_object_get(json_object_get(lease, "spec"), "leaseTransitions")), 2);
}

static void test_dead_holder(void **state)
{
	(void)state;
	dies(0);
}

static void test_clocks_do_not_matter(void **state)
{
	(void)state;
	dies(-86400);
	dies(86400);
}

static void test_released(void **state)
{
	CLEANUP(kube_lease_freep) struct kube_lease *a = node("a"), *b = node("b");
	uint64_t ta = SECOND, tb = SECOND, when;

	(void)state;
	setup_lease();
	run(a, &ta, 2 * SECOND, 0);
	run(b, &tb, 2 * SECOND, 0);
	kube_lease_release(a);
	assert_false(kube_lease_held(a, 2 * SECOND));
	assert_false(kube_lease_released(a));
	assert_string_equal(turn(a, 2 * SECOND, 0, &when), "PATCH");
	assert_true(kube_lease_released(a));
	assert_string_equal(holder(), "");
	assert_string_equal(turn(a, 900 * SECOND, 0, &when), "");
	assert_true(when == KUBE_NEVER);
	run(b, &tb, 34 * SECOND, 0);
	assert_string_equal(holder(), "b");
	/* Nothing to give back: over at once. */
	kube_lease_release(a);
	assert_true(kube_lease_released(a));
}

/* A node that was away finds its own name, and goes on; one that lost it meanwhile does not. */
static void test_started_anew(void **state)
{
	CLEANUP(kube_lease_freep) struct kube_lease *a = node("a"), *again = node("a");
	uint64_t t = SECOND, t2 = 5 * SECOND;

	(void)state;
	setup_lease();
	run(a, &t, 2 * SECOND, 0);
	run(again, &t2, 6 * SECOND, 0);
	assert_true(kube_lease_held(again, 6 * SECOND));
	json_object_set_new(json_object_get(lease, "spec"), "holderIdentity", json_string("c"));
	free(bump());
	run(again, &t2, 30 * SECOND, 0);
	assert_false(kube_lease_held(again, 30 * SECOND));
	assert_string_equal(holder(), "c");
}

static void test_api_away(void **state)
{
	CLEANUP(kube_lease_freep) struct kube_lease *a = node("a");
	uint64_t t = SECOND;

	(void)state;
	setup_lease();
	run(a, &t, 12 * SECOND, 0);
	refuse = 503;
	run(a, &t, 20 * SECOND, 0);
	assert_true(kube_lease_held(a, 20 * SECOND));
	/* Another may have it from 41 s on; the last request of this one ends before. */
	run(a, &t, 27 * SECOND, 0);
	assert_false(kube_lease_held(a, 27 * SECOND));
	refuse = 0;
	run(a, &t, 100 * SECOND, 0);
	assert_true(kube_lease_held(a, 100 * SECOND));
	assert_string_equal(kube_lease_error(a), "");
}

static void test_no_lease(void **state)
{
	CLEANUP(kube_lease_freep) struct kube_lease *a = node("a");
	uint64_t t = SECOND;

	(void)state;
	json_decref(lease);
	lease = NULL;
	run(a, &t, 60 * SECOND, 0);
	assert_false(kube_lease_held(a, 60 * SECOND));
	assert_non_null(strstr(kube_lease_error(a), "404"));
	setup_lease();
	run(a, &t, 240 * SECOND, 0);
	assert_true(kube_lease_held(a, 240 * SECOND));
}

static int teardown(void **state)
{
	(void)state;
	json_decref(lease);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_takes),   cmocka_unit_test(test_race),
		cmocka_unit_test(test_renewed_stays), cmocka_unit_test(test_dead_holder),
		cmocka_unit_test(test_released),      cmocka_unit_test(test_clocks_do_not_matter),
		cmocka_unit_test(test_started_anew),  cmocka_unit_test(test_api_away),
		cmocka_unit_test(test_no_lease),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
