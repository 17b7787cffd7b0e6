/* SPDX-License-Identifier: Apache-2.0 */
/* What is written into a policy's status, against an API server that owns fields as the real one does, as far as it matters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "agent/kube/conditions.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define SECOND NSEC_PER_SEC

struct world {
	struct store *store;
	struct kube_policies *p;
	struct kube_lease *lease;
	struct kube_conditions *c;
	uint64_t mono;
	time_t wall;
};

static uint32_t no_random(void)
{
	return 0;
}

static void answer(const struct kube_talker *talker, void *context, struct world *w, long status, const char *body)
{
	const struct kube_now now = { w->mono, w->wall };
	const struct kube_answer a = { .status = status, .text = "", .body = body };

	talker->end(context, &now, &a);
}

static void hold_lease(struct world *w)
{
	struct kube_call call;
	uint64_t when;

	while (!kube_lease_held(w->lease, w->mono)) {
		const struct kube_now now = { w->mono, w->wall };

		assert_int_equal(kube_lease_talker.poll(w->lease, &now, &call, &when), 1);
		answer(&kube_lease_talker, w->lease, w, 200,
		       "{\"metadata\":{\"resourceVersion\":\"1\"},\"spec\":{\"holderIdentity\":\"a\","
		       "\"leaseDurationSeconds\":30}}");
	}
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->mono = 1000 * SECOND;
	w->wall = 1764500000;
	assert_int_equal(store_new(&w->store), 0);
	assert_int_equal(kube_policies_new(w->store, -1, &w->p), 0);
	assert_int_equal(kube_lease_new("ns", "a", no_random, &w->lease), 0);
	assert_int_equal(kube_conditions_new(w->p, w->lease, no_random, &w->c), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	kube_conditions_freep(&w->c);
	kube_lease_freep(&w->lease);
	kube_policies_freep(&w->p);
	store_freep(&w->store);
	free(w);
	return 0;
}

static json_t *cilium(int generation, const char *to, const char *conditions)
{
	return json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:i}, s:{s:{}, s:[o]}, s:{s:o}}", "apiVersion", "cilium.io/v2",
			 "kind", "CiliumNetworkPolicy", "metadata", "namespace", "ns", "name", "p", "uid", "u",
			 "generation", generation, "spec", "endpointSelector", "egress", json_loads(to, 0, NULL),
			 "status", "conditions", json_loads(conditions, 0, NULL));
}

static json_t *amazon(int generation)
{
	return json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:i}, s:{s:{}, s:[{s:[{s:[s]}]}]}}", "apiVersion",
			 "networking.k8s.aws/v1alpha1", "kind", "ApplicationNetworkPolicy", "metadata", "namespace",
			 "ns", "name", "q", "uid", "v", "generation", generation, "spec", "podSelector", "egress", "to",
			 "domainNames", "example.com");
}

static void put(struct world *w, json_t *object)
{
	assert_non_null(object);
	kube_policies_put(w->p, 0, object);
	json_decref(object);
}

#define GOOD "{\"toFQDNs\":[{\"matchName\":\"example.com\"}]}"
#define BAD  "{\"toFQDNs\":[{\"matchNames\":\"example.com\"}]}"

/* The next request's condition, given to the caller; NULL: there is none. The path, where wanted, is copied. */
static json_t *next(struct world *w, char *path)
{
	const struct kube_now now = { w->mono, w->wall };
	struct kube_call call;
	uint64_t when;
	json_t *body, *list, *condition;

	if (!kube_conditions_talker.poll(w->c, &now, &call, &when))
		return NULL;
	assert_string_equal(call.method, "PATCH");
	assert_string_equal(call.type, "application/apply-patch+yaml");
	if (path)
		strcpy(path, call.path);
	body = json_loads(call.body, 0, NULL);
	assert_non_null(json_object_get(json_object_get(body, "metadata"), "uid"));
	list = json_object_get(json_object_get(body, "status"), "conditions");
	assert_int_equal(json_array_size(list), 1);
	condition = json_incref(json_array_get(list, 0));
	json_decref(body);
	return condition;
}

static void done(struct world *w, long status)
{
	answer(&kube_conditions_talker, w->c, w, status, "{}");
	w->mono += SECOND;
}

static const char *say(json_t *condition, const char *key)
{
	const char *text = json_string_value(json_object_get(condition, key));

	return text ? text : "";
}

/* The next two, taken by the API: "Valid" and "Enforced" of one object, as a list. */
static char *both(struct world *w)
{
	json_t *list = json_array();
	char *text;

	for (int i = 0; i < 2; i++) {
		json_array_append_new(list, next(w, NULL));
		done(w, 200);
	}
	assert_int_equal(json_array_size(list), 2);
	text = json_dumps(list, 0);
	json_decref(list);
	return text;
}

static void expect(struct world *w, const char *type, const char *status)
{
	json_t *o = next(w, NULL);

	assert_non_null(o);
	assert_string_equal(say(o, "type"), type);
	assert_string_equal(say(o, "status"), status);
	json_decref(o);
}

static void test_only_the_holder(void **state)
{
	struct world *w = *state;
	char path[256];
	json_t *o;

	put(w, cilium(1, GOOD, "[]"));
	assert_null(next(w, NULL));
	hold_lease(w);
	o = next(w, path);
	assert_string_equal(path, "/apis/cilium.io/v2/namespaces/ns/ciliumnetworkpolicies/p/status"
				  "?fieldManager=sluice-valid");
	assert_string_equal(say(o, "type"), "Valid");
	assert_string_equal(say(o, "status"), "True");
	assert_null(json_object_get(o, "observedGeneration"));
	json_decref(o);
	done(w, 200);
	expect(w, "Enforced", "True");
	w->mono += 60 * SECOND;
	done(w, 200);
	put(w, cilium(2, BAD, "[]"));
	assert_null(next(w, NULL));
}

static void test_refused_says_where(void **state)
{
	struct world *w = *state;
	json_t *o;

	put(w, cilium(1, BAD, "[]"));
	hold_lease(w);
	o = next(w, NULL);
	assert_string_equal(say(o, "status"), "False");
	assert_non_null(strstr(say(o, "message"), "spec.egress[0].toFQDNs[0]"));
	json_decref(o);
	done(w, 200);
	expect(w, "Enforced", "False");
}

/* Nothing is written that the API has, and nothing twice while the watch has not told of it. */
static void test_only_what_differs(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *first = NULL;

	put(w, cilium(1, GOOD, "[]"));
	hold_lease(w);
	first = both(w);
	assert_null(next(w, NULL));
	put(w, cilium(1, GOOD, "[]")); /* a heartbeat of something else in it */
	assert_null(next(w, NULL));
	put(w, cilium(1, GOOD, first));
	w->mono += 1000 * SECOND;
	hold_lease(w);
	assert_null(next(w, NULL));
}

static void test_times_are_of_transitions(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *first = NULL, *second = NULL;
	json_t *list, *o;

	put(w, cilium(1, GOOD, "[]"));
	hold_lease(w);
	first = both(w);
	list = json_loads(first, 0, NULL);
	assert_string_equal(say(json_array_get(list, 0), "lastTransitionTime"), "2025-11-30T10:53:20Z");
	/* The same status, with other words. */
	json_object_set_new(json_array_get(list, 1), "message", json_string("earlier"));
	second = json_dumps(list, 0);
	json_decref(list);
	w->wall += 60;
	w->mono += 1000 * SECOND;
	hold_lease(w);
	put(w, cilium(1, GOOD, second));
	o = next(w, NULL);
	assert_string_equal(say(o, "lastTransitionTime"), "2025-11-30T10:53:20Z");
	json_decref(o);
	kube_conditions_set_audit(w->c, true);
	o = next(w, NULL);
	assert_string_equal(say(o, "reason"), "AuditedBySluice");
	assert_string_equal(say(o, "status"), "False");
	assert_string_equal(say(o, "lastTransitionTime"), "2025-11-30T10:54:20Z");
	json_decref(o);
}

static void test_generation_where_the_kind_has_it(void **state)
{
	struct world *w = *state;
	char path[256];
	json_t *o;

	put(w, amazon(7));
	hold_lease(w);
	o = next(w, path);
	assert_non_null(strstr(path, "/apis/networking.k8s.aws/v1alpha1/namespaces/ns/applicationnetworkpolicies/q/"));
	assert_int_equal(json_integer_value(json_object_get(o, "observedGeneration")), 7);
	json_decref(o);
}

#define THEIRS                                                                                                         \
	"[{\"type\":\"Valid\",\"status\":\"True\",\"message\":\"Policy validation succeeded\"},"                       \
	"{\"type\":\"Ready\",\"status\":\"True\"}]"

static void test_others_are_left_alone(void **state)
{
	struct world *w = *state;

	put(w, cilium(1, BAD, THEIRS));
	hold_lease(w);
	expect(w, "Enforced", "False");
	done(w, 200);
	assert_null(next(w, NULL));
}

/* The API says that it is somebody else's: the rest is written, and not for ever anew. */
static void test_conflict(void **state)
{
	struct world *w = *state;

	put(w, cilium(1, GOOD, "[]"));
	hold_lease(w);
	expect(w, "Valid", "True");
	done(w, 409);
	expect(w, "Enforced", "True");
	done(w, 409);
	put(w, cilium(1, GOOD, "[]"));
	assert_null(next(w, NULL));
	put(w, cilium(2, BAD, "[]"));
	expect(w, "Valid", "False");
}

static void test_refusals_hold(void **state)
{
	struct world *w = *state;
	struct kube_conditions_stats s;

	put(w, cilium(1, GOOD, THEIRS));
	hold_lease(w);
	expect(w, "Enforced", "True");
	done(w, 404); /* without the subresource, or gone */
	assert_null(next(w, NULL));
	put(w, amazon(1));
	expect(w, "Valid", "True");
	answer(&kube_conditions_talker, w->c, w, 500, "");
	assert_null(next(w, NULL)); /* backs off */
	w->mono += 3 * SECOND;
	expect(w, "Valid", "True");
	done(w, 200);
	kube_conditions_get_stats(w->c, &s);
	assert_int_equal(s.written, 1);
	assert_int_equal(s.failures, 2);
}

static void test_a_denied_kind_keeps_no_other_waiting(void **state)
{
	struct world *w = *state;
	char path[256] = "";

	put(w, amazon(1));
	hold_lease(w);
	expect(w, "Valid", "True");
	done(w, 403);
	assert_null(next(w, NULL));
	put(w, cilium(1, GOOD, "[]"));
	expect(w, "Valid", "True");
	done(w, 200);
	expect(w, "Enforced", "True");
	done(w, 200);
	assert_null(next(w, NULL));
	w->mono += 61 * SECOND;
	hold_lease(w);
	/* Of the other one the watch has not told. */
	for (int i = 0; i < 3 && !strstr(path, "applicationnetworkpolicies"); i++) {
		json_decref(next(w, path));
		done(w, 200);
	}
	assert_non_null(strstr(path, "applicationnetworkpolicies"));
}

static void test_rate(void **state)
{
	struct world *w = *state;
	unsigned int n = 0;
	json_t *o;

	for (int i = 0; i < 100; i++) {
		char name[16];

		o = cilium(1, GOOD, "[]");
		snprintf(name, sizeof(name), "p%d", i);
		json_object_set_new(json_object_get(o, "metadata"), "name", json_string(name));
		put(w, o);
	}
	hold_lease(w);
	for (uint64_t end = w->mono + SECOND; w->mono < end; w->mono += NSEC_PER_MSEC) {
		o = next(w, NULL);
		if (!o)
			continue;
		json_decref(o);
		answer(&kube_conditions_talker, w->c, w, 200, "{}");
		n++;
	}
	assert_in_range(n, 30, 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_only_the_holder, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused_says_where, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_what_differs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_times_are_of_transitions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_generation_where_the_kind_has_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_others_are_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_conflict, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals_hold, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_denied_kind_keeps_no_other_waiting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rate, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
