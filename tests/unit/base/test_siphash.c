/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/siphash.h"

/* The vectors of the paper's reference: key 00..0f, message 00, 01, ... of n bytes. */
static void reference_vectors(void **state)
{
	static const uint64_t key[2] = { 0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull };
	uint8_t message[16];

	(void)state;
	for (uint8_t i = 0; i < sizeof(message); i++)
		message[i] = i;
	assert_int_equal(siphash24(message, 0, key), 0x726fdb47dd0e0e31ull);
	assert_int_equal(siphash24(message, 1, key), 0x74f839c593dc67fdull);
	assert_int_equal(siphash24(message, 8, key), 0x93f5f5799a932462ull);
	assert_int_equal(siphash24(message, 15, key), 0xa129ca6149be45e5ull);
}

/* However the bytes come apart, two places to cut at a time. */
static void in_parts(void **state)
{
	static const uint64_t key[2] = { 1, 2 };
	uint8_t message[40];

	(void)state;
	for (uint8_t i = 0; i < sizeof(message); i++)
		message[i] = i;
	for (size_t a = 0; a <= sizeof(message); a++) {
		for (size_t b = a; b <= sizeof(message); b++) {
			struct siphash s;

			siphash_begin(&s, key);
			siphash_add(&s, message, a);
			siphash_add(&s, message + a, b - a);
			siphash_add(&s, message + b, sizeof(message) - b);
			assert_int_equal(siphash_end(&s), siphash24(message, sizeof(message), key));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(reference_vectors), cmocka_unit_test(in_parts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
