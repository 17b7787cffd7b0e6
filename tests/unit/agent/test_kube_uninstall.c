/* SPDX-License-Identifier: Apache-2.0 */
/* Which words that the release goes mean this agent, and for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/kube/uninstall.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define NOW    (1000 * NSEC_PER_SEC)
#define MINUTE (60 * NSEC_PER_SEC)

static bool put(struct kube_uninstall_words *w, const char *uid, uint64_t now)
{
	json_t *object = json_pack("{s:{s:s, s:s}}", "metadata", "name", "sluice-uninstall", "uid", uid);
	bool ret = kube_uninstall_words_put(w, object, now);

	json_decref(object);
	return ret;
}

static void test_heard(void **state)
{
	CLEANUP(kube_uninstall_words_clear) struct kube_uninstall_words w = {};

	(void)state;
	assert_false(kube_uninstall_words_hold(&w, NOW));
	kube_uninstall_words_synced(&w);
	assert_false(kube_uninstall_words_hold(&w, NOW));
	assert_true(put(&w, "a", NOW));
	assert_true(kube_uninstall_words_hold(&w, NOW));
	assert_true(kube_uninstall_words_hold(&w, NOW + 9 * MINUTE));
}

/* It was not followed by an end: this agent is no more uninstalled than any other. */
static void test_expires(void **state)
{
	CLEANUP(kube_uninstall_words_clear) struct kube_uninstall_words w = {};

	(void)state;
	kube_uninstall_words_synced(&w);
	put(&w, "a", NOW);
	assert_false(kube_uninstall_words_hold(&w, NOW + 10 * MINUTE));
	/* Listed again, it is the same word. */
	assert_false(put(&w, "a", NOW + 10 * MINUTE));
	assert_false(kube_uninstall_words_hold(&w, NOW + 10 * MINUTE));
	/* The next attempt makes another object. */
	assert_true(put(&w, "b", NOW + 20 * MINUTE));
	assert_true(kube_uninstall_words_hold(&w, NOW + 29 * MINUTE));
}

/* What an earlier uninstallation has left is not meant for who was installed after it. */
static void test_stale(void **state)
{
	CLEANUP(kube_uninstall_words_clear) struct kube_uninstall_words w = {};

	(void)state;
	/* The first list takes two attempts, and does not hold the same both times. */
	assert_false(put(&w, "a", NOW));
	assert_false(put(&w, "a", NOW));
	assert_false(put(&w, "b", NOW));
	kube_uninstall_words_synced(&w);
	assert_false(put(&w, "b", NOW));
	assert_false(put(&w, "a", NOW + MINUTE));
	assert_false(kube_uninstall_words_hold(&w, NOW + MINUTE));
	assert_true(put(&w, "c", NOW + MINUTE));
	assert_true(kube_uninstall_words_hold(&w, NOW + MINUTE));
}

static void test_none(void **state)
{
	(void)state;
	assert_false(kube_uninstall_heard(NULL, NOW));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heard),
		cmocka_unit_test(test_expires),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
