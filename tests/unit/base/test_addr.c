/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/addr.h"
#include "base/cleanup.h"

static void parses_and_formats(void **state)
{
	static const char *const texts[] = { "0.0.0.0", "8.8.8.8", "255.255.255.255", "::", "::1", "2001:db8::5" };
	char buf[ADDR_TEXT_MAX];
	struct sluice_addr addr;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(addr_parse(texts[i], &addr), 0);
		assert_string_equal(addr_format(&addr, buf), texts[i]);
	}
}

static void refuses_what_is_no_address(void **state)
{
	static const char *const texts[] = { "",	  "1",	      "1.2.3",	      "01.2.3.4",
					     "1.2.3.256", "1.2.3.4 ", "fe80::1%eth0", ":::" };
	struct sluice_addr addr = { .b = { 7 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(addr_parse(texts[i], &addr), -EINVAL);
	assert_int_equal(addr_parse("::ffff:1.2.3.4", &addr), -EAFNOSUPPORT);
	assert_int_equal(addr.b[0], 7);
}

static void masks_prefixes(void **state)
{
	static const struct {
		const char *in, *out;
		int r;
	} cases[] = {
		{ "10.1.2.3/8", "10.0.0.0/8", PREFIX_HOST_BITS },
		{ "10.0.0.0/8", "10.0.0.0/8", PREFIX_OK },
		{ "0.0.0.0/0", "0.0.0.0/0", PREFIX_OK },
		{ "1.2.3.4/32", "1.2.3.4/32", PREFIX_OK },
		{ "10.1.2.255/25", "10.1.2.128/25", PREFIX_HOST_BITS },
		{ "::/0", "::/0", PREFIX_OK },
		{ "2001:db8::1/32", "2001:db8::/32", PREFIX_HOST_BITS },
		{ "fd00::5/128", "fd00::5/128", PREFIX_OK },
	};
	char buf[ADDR_TEXT_MAX];
	struct sluice_prefix prefix;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(prefix_parse(cases[i].in, &prefix), cases[i].r);
		assert_string_equal(prefix_format(&prefix, buf), cases[i].out);
	}
}

static void refuses_what_is_no_prefix(void **state)
{
	static const char *const texts[] = { "10.0.0.0",    "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/-1",
					     "10.0.0.0/8x", "::/129",	 "/8",		"10.0.0.0/8/8" };
	struct sluice_prefix prefix;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(prefix_parse(texts[i], &prefix), -EINVAL);
	assert_int_equal(prefix_parse("::ffff:10.0.0.0/104", &prefix), -EAFNOSUPPORT);
}

static void contains_by_family(void **state)
{
	struct sluice_prefix any4, any6, ten;
	struct sluice_addr a, b, c;

	(void)state;
	prefix_parse("0.0.0.0/0", &any4);
	prefix_parse("::/0", &any6);
	prefix_parse("10.0.0.0/8", &ten);
	addr_parse("10.9.9.9", &a);
	addr_parse("11.0.0.0", &b);
	addr_parse("2001:db8::1", &c);
	assert_true(prefix_contains(&any4, &a));
	assert_false(prefix_contains(&any4, &c));
	assert_true(prefix_contains(&any6, &c));
	assert_true(prefix_contains(&ten, &a));
	assert_false(prefix_contains(&ten, &b));
}

static void crosses_socket_addresses(void **state)
{
	static const char *const texts[] = { "8.8.4.4", "2001:db8::9" };
	struct sockaddr_storage ss;
	struct sluice_addr in, out;
	uint16_t port;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		addr_parse(texts[i], &in);
		assert_true(addr_to_sockaddr(&in, 53, &ss) > 0);
		assert_int_equal(addr_from_sockaddr(&ss, &out, &port), 0);
		assert_memory_equal(&in, &out, sizeof(in));
		assert_int_equal(port, 53);
	}
	ss.ss_family = AF_UNIX;
	assert_int_equal(addr_from_sockaddr(&ss, &out, NULL), -EAFNOSUPPORT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_and_formats), cmocka_unit_test(refuses_what_is_no_address),
		cmocka_unit_test(masks_prefixes),     cmocka_unit_test(refuses_what_is_no_prefix),
		cmocka_unit_test(contains_by_family), cmocka_unit_test(crosses_socket_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
