/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "agent/kube/taint.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define SECOND NSEC_PER_SEC
#define KEY    "sluice.dev/agent-not-ready"
#define OURS   "{\"effect\":\"NoSchedule\",\"key\":\"" KEY "\",\"value\":\"true\"}"
#define THEIRS                                                                                                         \
	"{\"effect\":\"NoExecute\",\"key\":\"node.kubernetes.io/unreachable\",\"timeAdded\":\"2026-11-30T10:00:00Z\"}"

struct world {
	struct kube_taint *t;
	struct kube_now now;
};

static uint32_t no_random(void)
{
	return 0;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->now.mono = 1000 * SECOND;
	assert_int_equal(kube_taint_new("node1", KEY, no_random, &w->t), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	kube_taint_freep(&w->t);
	free(w);
	return 0;
}

static void see(struct world *w, const char *taints)
{
	json_t *node = json_pack("{s:{s:o?}}", "spec", "taints", taints ? json_loads(taints, 0, NULL) : NULL);

	kube_taint_see(w->t, node);
	json_decref(node);
}

/* The patch that is asked for, which gets `status`; NULL: nothing is. free(). */
static char *ask(struct world *w, long status)
{
	const struct kube_answer a = { .status = status, .text = "", .body = "" };
	struct kube_call call;
	uint64_t when;
	char *body;

	if (!kube_taint_talker.poll(w->t, &w->now, &call, &when))
		return NULL;
	assert_string_equal(call.method, "PATCH");
	assert_string_equal(call.path, "/api/v1/nodes/node1?fieldManager=sluice");
	assert_string_equal(call.type, "application/json-patch+json");
	body = strdup(call.body);
	kube_taint_talker.end(w->t, &w->now, &a);
	return body;
}

static void assert_patch(struct world *w, long status, const char *wanted)
{
	_cleanup_free_ char *got = ask(w, status);
	json_t *a = got ? json_loads(got, 0, NULL) : NULL, *b = json_loads(wanted, 0, NULL);

	assert_non_null(a);
	assert_non_null(b);
	assert_true(json_equal(a, b));
	json_decref(a);
	json_decref(b);
}

static void test_not_before_it_is_ready(void **state)
{
	struct world *w = *state;

	see(w, "[" OURS "]");
	assert_null(ask(w, 200));
	kube_taint_set_ready(w->t, true);
	assert_patch(w, 200,
		     "[{\"op\":\"test\",\"path\":\"/spec/taints\",\"value\":[" OURS "]},"
		     "{\"op\":\"remove\",\"path\":\"/spec/taints\"}]");
	assert_null(ask(w, 200));
	/* A node that joins anew. */
	see(w, "[" OURS "]");
	kube_taint_set_ready(w->t, false);
	w->now.mono += 10 * SECOND;
	assert_null(ask(w, 200));
}

static void test_others_stay(void **state)
{
	struct world *w = *state;

	kube_taint_set_ready(w->t, true);
	see(w, NULL);
	assert_null(ask(w, 200));
	see(w, "[" THEIRS "]");
	assert_null(ask(w, 200));
	see(w, "[" THEIRS "," OURS "]");
	assert_patch(w, 200,
		     "[{\"op\":\"test\",\"path\":\"/spec/taints\",\"value\":[" THEIRS "," OURS "]},"
		     "{\"op\":\"replace\",\"path\":\"/spec/taints\",\"value\":[" THEIRS "]}]");
}

/* Somebody else was first: what the watch brings then is what is tested for. */
static void test_changed_meanwhile(void **state)
{
	struct world *w = *state;

	kube_taint_set_ready(w->t, true);
	see(w, "[" OURS "]");
	free(ask(w, 422));
	assert_non_null(strstr(kube_taint_error(w->t), "422"));
	assert_true(kube_taint_there(w->t));
	see(w, "[" THEIRS "," OURS "]");
	assert_null(ask(w, 200)); /* backs off */
	w->now.mono += 2 * SECOND;
	assert_patch(w, 200,
		     "[{\"op\":\"test\",\"path\":\"/spec/taints\",\"value\":[" THEIRS "," OURS "]},"
		     "{\"op\":\"replace\",\"path\":\"/spec/taints\",\"value\":[" THEIRS "]}]");
	see(w, "[" THEIRS "]");
	assert_string_equal(kube_taint_error(w->t), "");
	assert_false(kube_taint_there(w->t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_not_before_it_is_ready, setup, teardown),
		cmocka_unit_test_setup_teardown(test_others_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changed_meanwhile, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
