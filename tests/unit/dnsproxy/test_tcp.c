/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/dnsproxy/dns_test.h"

#include "dnsproxy/tcp.h"

static struct tcp_framer framer;

static void feed(const uint8_t *data, size_t n)
{
	size_t space;
	uint8_t *to = tcp_space(&framer, &space);

	assert_true(n <= space);
	memcpy(to, data, n);
	tcp_received(&framer, n);
}

static void bytes_one_by_one(void **state)
{
	struct msg q = query("a.example", WIRE_A);
	uint8_t prefix[2] = { 0, (uint8_t)q.len };
	const uint8_t *m;
	size_t len;

	(void)state;
	framer.have = 0;
	assert_false(tcp_is_partial(&framer));
	feed(prefix, 1);
	assert_true(tcp_is_partial(&framer));
	assert_int_equal(tcp_next(&framer, &m, &len), 0);
	feed(prefix + 1, 1);
	for (size_t i = 0; i < q.len; i++) {
		assert_int_equal(tcp_next(&framer, &m, &len), 0);
		feed(q.data + i, 1);
	}
	assert_int_equal(tcp_next(&framer, &m, &len), 1);
	assert_int_equal(len, q.len);
	assert_memory_equal(m, q.data, len);
	tcp_consume(&framer);
	assert_false(tcp_is_partial(&framer));
}

static void several_at_once(void **state)
{
	struct msg q = query("a.example", WIRE_A), all = { .len = 0 };
	const uint8_t *m;
	size_t len;

	(void)state;
	framer.have = 0;
	for (int i = 0; i < 3; i++) {
		q.data[1] = (uint8_t)i;
		add16(&all, (unsigned int)q.len);
		memcpy(all.data + all.len, q.data, q.len);
		all.len += q.len;
	}
	feed(all.data, all.len - 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(tcp_next(&framer, &m, &len), 1);
		assert_int_equal(m[1], i);
		tcp_consume(&framer);
	}
	assert_int_equal(tcp_next(&framer, &m, &len), 0);
	tcp_consume(&framer); /* nothing to consume yet */
	feed(all.data + all.len - 1, 1);
	assert_int_equal(tcp_next(&framer, &m, &len), 1);
	assert_int_equal(m[1], 2);
}

static void lengths_have_bounds(void **state)
{
	const uint8_t none[2] = { 0, 0 }, little[2] = { 0, 11 }, much[2] = { 255, 255 };
	uint8_t most[2 + TCP_MAX_QUERY] = { TCP_MAX_QUERY >> 8, TCP_MAX_QUERY & 255 };
	const uint8_t *m;
	size_t len, space;

	(void)state;
	framer.have = 0;
	feed(none, 2);
	assert_int_equal(tcp_next(&framer, &m, &len), -EBADMSG);
	framer.have = 0;
	feed(little, 2);
	assert_int_equal(tcp_next(&framer, &m, &len), -EBADMSG);
	framer.have = 0;
	feed(much, 2);
	assert_int_equal(tcp_next(&framer, &m, &len), -EMSGSIZE);
	framer.have = 0;
	feed(most, sizeof(most));
	assert_int_equal(tcp_next(&framer, &m, &len), 1);
	assert_int_equal(len, TCP_MAX_QUERY);
	tcp_space(&framer, &space);
	assert_int_equal(space, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_one_by_one),
		cmocka_unit_test(several_at_once),
		cmocka_unit_test(lengths_have_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
