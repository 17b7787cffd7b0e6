/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "agent/claim.h"
#include "base/addr.h"
#include "base/cleanup.h"

static int read_text(const char *text, struct claim *ret)
{
	const char *error = NULL;
	json_t *request = json_loads(text, 0, NULL);
	int r = claim_read(request, ret, &error);

	assert_non_null(request);
	json_decref(request);
	assert_int_equal(r == -EINVAL, error != NULL);
	return r;
}

#define POD "{\"pod\": {\"uid\": \"u1\", \"namespace\": \"ns\", \"name\": \"web-0\"}"

static void test_read(void **state)
{
	struct claim c;

	(void)state;
	assert_int_equal(read_text("{\"method\": \"interface\", \"name\": \"eni1\"}", &c), 0);
	assert_int_equal(read_text(POD ", \"addresses\": [\"10.0.1.5\", \"fd00::5\"]}", &c), 1);
	assert_string_equal(c.uid, "u1");
	assert_string_equal(c.namespace_name, "ns");
	assert_string_equal(c.name, "web-0");
	assert_int_equal(c.naddrs, 2);
	assert_int_equal(c.nbefore, 0);
	assert_int_equal(read_text(POD "}", &c), 1);
	assert_int_equal(c.naddrs, 0);
}

static void test_refused(void **state)
{
	static const char *const wrong[] = {
		"{\"pod\": 1}",
		"{\"pod\": {\"uid\": \"u1\", \"namespace\": \"ns\"}}",
		"{\"pod\": {\"uid\": \"\", \"namespace\": \"ns\", \"name\": \"web-0\"}}",
		"{\"pod\": {\"uid\": \"uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu\", "
		"\"namespace\": "
		"\"ns\", \"name\": \"n\"}}",
		POD ", \"addresses\": \"10.0.1.5\"}",
		POD ", \"addresses\": [\"10.0.1.5/32\"]}",
		POD ", \"addresses\": [5]}",
		POD ", \"addresses\": [\"::1\", \"::2\", \"::3\", \"::4\", \"::5\", \"::6\", \"::7\"]}",
	};
	struct claim c;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(read_text(wrong[i], &c), -EINVAL);
}

static void test_whose(void **state)
{
	struct claim c;

	(void)state;
	assert_int_equal(read_text(POD "}", &c), 1);
	assert_true(claim_is_of(&c, "u1", "ns", "web-0"));
	assert_false(claim_is_of(&c, "u2", "ns", "web-0"));
	assert_false(claim_is_of(&c, "u1", "ns", "web-1"));
	assert_false(claim_is_of(&c, "u1", "other", "web-0"));
}

static bool contradicts(const struct claim *c, const char *first, const char *second)
{
	struct sluice_addr addrs[2];
	size_t n = 0;

	if (first)
		assert_int_equal(addr_parse(first, &addrs[n++]), 0);
	if (second)
		assert_int_equal(addr_parse(second, &addrs[n++]), 0);
	return claim_contradicted(c, addrs, n);
}

static void test_contradicted(void **state)
{
	struct sluice_addr old;
	struct claim c;

	(void)state;
	assert_int_equal(read_text(POD ", \"addresses\": [\"10.0.1.5\", \"fd00::5\"]}", &c), 1);
	assert_false(contradicts(&c, NULL, NULL)); /* not told yet */
	assert_false(contradicts(&c, "fd00::5", "10.0.1.5"));
	assert_false(contradicts(&c, "10.0.1.5", NULL)); /* a cluster of one family */
	assert_true(contradicts(&c, "10.0.1.6", NULL));
	assert_true(contradicts(&c, "10.0.1.5", "fd00::6"));
	/* a sandbox made anew: the kubelet has not told the new address yet */
	assert_int_equal(addr_parse("10.0.1.4", &old), 0);
	claim_note_before(&c, &old, 1);
	assert_false(contradicts(&c, "10.0.1.4", NULL));
	assert_false(contradicts(&c, "10.0.1.5", NULL));
	assert_true(contradicts(&c, "10.0.1.6", NULL));
	/* the CNI told no address: there is nothing to contradict */
	assert_int_equal(read_text(POD "}", &c), 1);
	assert_false(contradicts(&c, "10.0.1.6", NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_whose),
		cmocka_unit_test(test_contradicted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
