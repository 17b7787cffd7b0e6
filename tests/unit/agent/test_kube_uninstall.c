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

static json_t *object_of(const char *name, const char *uid, const char *value)
{
	return json_pack("{s:{s:s, s:s, s:{s:s}}}", "metadata", "name", name, "uid", uid, "labels",
			 "sluice.dev/uninstall", value);
}

static bool put(struct kube_uninstall_words *w, const char *uid, uint64_t now)
{
	json_t *object = object_of("sluice-uninstall", uid, "true");
	bool ret = kube_uninstall_words_put(w, object, now);

	json_decref(object);
	return ret;
}

static void release(struct kube_uninstall_words *w, bool there)
{
	json_t *object = object_of("sluice", "r", "false");

	if (there)
		assert_false(kube_uninstall_words_put(w, object, NOW));
	else
		kube_uninstall_words_gone(w, object);
	json_decref(object);
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

static void list(struct kube_uninstall_words *w, bool there)
{
	kube_uninstall_words_begin(w);
	if (there)
		release(w, true);
	kube_uninstall_words_synced(w);
}

/* Has the release gone? Only what was there can. */
static void test_release(void **state)
{
	CLEANUP(kube_uninstall_words_clear) struct kube_uninstall_words w = {}, lists = {}, never = {};

	(void)state;
	list(&w, true);
	assert_false(w.gone);
	put(&w, "a", NOW);
	assert_false(w.gone);
	release(&w, false);
	assert_true(w.gone);
	release(&w, true);
	assert_false(w.gone);

	list(&lists, true);
	list(&lists, true);
	assert_false(lists.gone);
	list(&lists, false);
	assert_true(lists.gone);
	list(&lists, false);
	assert_true(lists.gone);

	list(&never, false);
	put(&never, "a", NOW);
	assert_false(never.gone);
}

static void test_none(void **state)
{
	(void)state;
	assert_false(kube_uninstall_is(NULL, NOW));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heard),	cmocka_unit_test(test_expires), cmocka_unit_test(test_stale),
		cmocka_unit_test(test_release), cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
