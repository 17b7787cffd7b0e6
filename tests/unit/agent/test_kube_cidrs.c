/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "agent/kube/cidrs.h"

static int setup(void **state)
{
	return kube_cidrs_new((struct kube_cidrs **)state);
}

static int teardown(void **state)
{
	kube_cidrs_freep((struct kube_cidrs **)state);
	return 0;
}

static json_t *cidr(const char *name, const char *a, const char *b)
{
	return json_pack("{s:{s:s}, s:{s:[s, s*]}}", "metadata", "name", name, "spec", "cidrs", a, b);
}

static void put(struct kube_cidrs *c, const char *name, const char *a, const char *b)
{
	json_t *o = cidr(name, a, b);

	kube_cidrs_put(c, o);
	json_decref(o);
}

static void assert_joined(struct kube_cidrs *c, const char *wanted)
{
	struct sluice_prefix first;
	const struct sluice_prefix *all = NULL;
	char text[256] = "", one[ADDR_TEXT_MAX];
	size_t n;

	assert_int_equal(prefix_parse("192.0.2.0/24", &first), 0);
	n = kube_cidrs_join(c, &first, 1, &all);
	for (size_t i = 0; i < n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "",
			 prefix_format(&all[i], one));
	assert_string_equal(text, wanted);
}

static void test_come_and_go(void **state)
{
	struct kube_cidrs *c = *state;
	json_t *o;

	assert_joined(c, "192.0.2.0/24");
	kube_cidrs_begin(c);
	put(c, "kubernetes", "10.96.0.0/12", "fd00:96::/112");
	put(c, "more", "10.112.0.0/16", NULL);
	kube_cidrs_synced(c);
	assert_true(kube_cidrs_take_changed(c));
	assert_false(kube_cidrs_take_changed(c));
	assert_joined(c, "192.0.2.0/24 10.96.0.0/12 fd00:96::/112 10.112.0.0/16");
	put(c, "more", "10.112.0.0/16", NULL); /* its status changed */
	assert_false(kube_cidrs_take_changed(c));
	o = cidr("more", "10.112.0.0/16", NULL);
	kube_cidrs_gone(c, o);
	json_decref(o);
	assert_true(kube_cidrs_take_changed(c));
	assert_joined(c, "192.0.2.0/24 10.96.0.0/12 fd00:96::/112");
}

/* A list that lacks one is the word that it is gone. */
static void test_listed_anew(void **state)
{
	struct kube_cidrs *c = *state;

	kube_cidrs_begin(c);
	put(c, "a", "10.96.0.0/12", NULL);
	put(c, "b", "10.112.0.0/16", NULL);
	kube_cidrs_synced(c);
	kube_cidrs_begin(c);
	put(c, "b", "10.112.0.0/16", NULL);
	assert_joined(c, "192.0.2.0/24 10.96.0.0/12 10.112.0.0/16");
	kube_cidrs_synced(c);
	assert_joined(c, "192.0.2.0/24 10.112.0.0/16");
}

static void test_each_once(void **state)
{
	struct kube_cidrs *c = *state;

	kube_cidrs_begin(c);
	put(c, "a", "192.0.2.0/24", "10.96.0.0/12");
	put(c, "b", "10.96.0.0/12", NULL);
	put(c, "c", "nonsense", NULL);
	put(c, "d", "10.128.0.1/12", NULL);
	kube_cidrs_synced(c);
	assert_joined(c, "192.0.2.0/24 10.96.0.0/12");
}

static void put_line(void *context, const char *line)
{
	json_error_t error;
	json_t *o = json_loads(line, 0, &error);

	assert_non_null(o);
	kube_cidrs_put(context, o);
	json_decref(o);
}

/* What is written is what was read. */
static void test_written(void **state)
{
	struct kube_cidrs *c = *state, *copy = NULL;

	assert_int_equal(kube_cidrs_new(&copy), 0);
	put(c, "kubernetes", "10.96.0.0/12", "fd00:96::/112");
	put(c, "more", "10.112.0.0/16", NULL);
	kube_cidrs_write(c, put_line, copy);
	assert_joined(copy, "192.0.2.0/24 10.96.0.0/12 fd00:96::/112 10.112.0.0/16");
	kube_cidrs_freep(&copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(test_listed_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_written, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
