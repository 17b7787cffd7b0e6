/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/strbuf.h"

static void grows(void **state)
{
	struct strbuf b = {};
	_cleanup_free_ char *text = NULL;

	(void)state;
	for (int i = 0; i < 1000; i++)
		strbuf_addf(&b, "%03d,", i);
	strbuf_adds(&b, "end");
	assert_int_equal(b.len, 4003);
	text = strbuf_take(&b);
	assert_memory_equal(text, "000,001,", 8);
	assert_string_equal(text + 4000, "end");
	assert_null(b.data);
}

static void empty_is_a_string(void **state)
{
	struct strbuf b = {};
	_cleanup_free_ char *text = strbuf_take(&b);

	(void)state;
	assert_string_equal(text, "");
}

static void failure_sticks_and_keeps_nothing(void **state)
{
	struct strbuf b = {};

	(void)state;
	strbuf_adds(&b, "kept");
	strbuf_add(&b, "x", SIZE_MAX / 2);
	strbuf_adds(&b, "lost");
	assert_true(b.failed);
	assert_string_equal(b.data, "kept");
	assert_null(strbuf_take(&b));
	assert_false(b.failed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows),
		cmocka_unit_test(empty_is_a_string),
		cmocka_unit_test(failure_sticks_and_keeps_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
