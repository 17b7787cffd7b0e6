/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/dnsproxy/dns_test.h"

#include "dnsproxy/answer.h"

static struct answer a;
static struct wire_query q;
static uint8_t buf[8192];
static char text[4096];

static struct msg begin(const char *name, unsigned int type)
{
	struct msg m = query(name, type);

	assert_int_equal(wire_read_query(m.data, m.len, &q), WIRE_OK);
	m.data[2] |= 0x80;
	return m;
}

static int read_answer(const struct msg *m)
{
	static uint8_t *exact;

	free(exact);
	exact = malloc(m->len);
	memcpy(exact, m->data, m->len);
	return answer_read(exact, m->len, &q, &a);
}

static const char *written(bool flat, size_t cap)
{
	struct wire_out o = { .data = buf, .cap = cap };

	if (!answer_write(&a, &q, flat, &o))
		return "TC";
	return answers(buf, o.len, text, sizeof(text));
}

static void follows_the_chain(void **state)
{
	struct msg m = begin("WWW.example.org", WIRE_A);

	(void)state;
	add_addr(&m, "b.cdn.example", 50, "192.0.2.2"); /* order does not matter */
	add_name_rr(&m, "a.cdn.example", WIRE_CNAME, 20, "B.cdn.example");
	add_name_rr(&m, "www.example.org", WIRE_CNAME, 300, "a.cdn.example");
	add_addr(&m, "b.cdn.example", 60, "192.0.2.3");
	assert_int_equal(read_answer(&m), 0);
	assert_int_equal(a.nnames, 3);
	assert_int_equal(a.ttl, 20);
	assert_int_equal(a.ignored, 0);
	assert_string_equal(written(false, 512),
			    "www.example.org -> a.cdn.example 300; a.cdn.example -> b.cdn.example 20; "
			    "b.cdn.example 192.0.2.2 50; b.cdn.example 192.0.2.3 60");
	assert_memory_equal(buf + 13, "WWW", 3);
	assert_string_equal(written(true, 512), "www.example.org 192.0.2.2 20; www.example.org 192.0.2.3 20");
}

/* D11: what is not on the chain is as if it were not there. */
static void ignores_other_owners(void **state)
{
	struct msg m = begin("www.example.org", WIRE_A);

	(void)state;
	add_addr(&m, "evil.example", 60, "6.6.6.6");
	add_name_rr(&m, "other.example", WIRE_CNAME, 60, "evil.example");
	add_addr(&m, "www.example.org", 60, "192.0.2.1");
	add_addr(&m, "www.example.org", 60, "2001:db8::1"); /* not the type asked for */
	assert_int_equal(read_answer(&m), 0);
	assert_int_equal(a.ignored, 3);
	assert_string_equal(written(false, 512), "www.example.org 192.0.2.1 60");

	m = begin("www.example.org", WIRE_A);
	add_addr(&m, "www.example.org", 60, "6.6.6.6");
	m.data[7] = 0; /* the same record, in the additional section */
	m.data[11] = 1;
	assert_int_equal(read_answer(&m), 0);
	assert_int_equal(a.nrecords, 0);
	assert_string_equal(written(false, 512), "");
	assert_int_equal(get16(buf + 8), 1); /* an SOA, so that it can be cached */

	m = begin("www.example.org", WIRE_A);
	add_addr(&m, "www.example.org", 60, "6.6.6.6");
	m.data[m.len - 11] = 3; /* class CHAOS */
	assert_int_equal(read_answer(&m), 0);
	assert_int_equal(a.nrecords, 0);
}

/* D12 */
static void bounds_the_chain(void **state)
{
	for (int hops = 7; hops <= 20; hops++) {
		struct msg m = begin("c0.example", WIRE_A);
		char owner[32], target[32];

		(void)state;
		for (int i = 0; i < hops; i++) {
			snprintf(owner, sizeof(owner), "c%d.example", i);
			snprintf(target, sizeof(target), "c%d.example", i + 1);
			add_name_rr(&m, owner, WIRE_CNAME, 60, target);
		}
		add_addr(&m, target, 60, "192.0.2.1");
		assert_int_equal(read_answer(&m), hops <= ANSWER_MAX_HOPS ? 0 : -EBADMSG);
	}
}

static void refuses_loops(void **state)
{
	struct msg m = begin("a.example", WIRE_A);

	(void)state;
	add_name_rr(&m, "a.example", WIRE_CNAME, 60, "b.example");
	add_name_rr(&m, "b.example", WIRE_CNAME, 60, "A.example");
	assert_int_equal(read_answer(&m), -EBADMSG);
	m = begin("a.example", WIRE_A);
	add_name_rr(&m, "a.example", WIRE_CNAME, 60, "a.example");
	assert_int_equal(read_answer(&m), -EBADMSG);
}

static void reads_ttls(void **state)
{
	struct msg m = begin("a.example", WIRE_A);

	(void)state;
	add_addr(&m, "a.example", 0x80000000u, "192.0.2.1"); /* D14; RFC 2181 section 8 */
	assert_int_equal(read_answer(&m), 0);
	assert_int_equal(a.ttl, 0);
	assert_string_equal(written(false, 512), "a.example 192.0.2.1 0");
}

/* More records than there is room for: the rest is not read, be it one or nonsense, nor is what stands behind it. */
static void reads_so_many_records(void **state)
{
	static const uint8_t empty[] = { 0, 0, WIRE_TXT, 0, WIRE_CLASS_IN, 0, 0, 0, 60, 0, 0 };
	const unsigned int count = ANSWER_MAX_RECORDS + 20;
	struct msg m = begin("a.example", WIRE_A);

	(void)state;
	add_addr(&m, "a.example", 60, "192.0.2.1");
	for (unsigned int i = 1; i < count; i++) {
		memcpy(m.data + m.len, empty, sizeof(empty));
		m.len += sizeof(empty);
	}
	m.data[6] = (uint8_t)(count >> 8);
	m.data[7] = (uint8_t)count;
	m.data[9] = 1;
	assert_int_equal(read_answer(&m), 0);
	assert_string_equal(written(false, 512), "a.example 192.0.2.1 60");
	assert_int_equal(a.ignored, count - 1);
	assert_int_equal(a.nauthority, 0);
	/* Cut where the first that is not read begins. */
	m.len -= 20 * sizeof(empty);
	assert_int_equal(read_answer(&m), 0);
	assert_string_equal(written(false, 512), "a.example 192.0.2.1 60");
	m.len--;
	assert_int_equal(read_answer(&m), -EBADMSG);
}

static void a_cut_answer_has_nothing(void **state)
{
	struct msg m = begin("a.example", WIRE_A);

	(void)state;
	add_addr(&m, "a.example", 60, "192.0.2.1");
	m.data[2] |= WIRE_TC >> 8;
	assert_int_equal(read_answer(&m), 0);
	assert_true(a.truncated);
	assert_int_equal(a.nrecords, 0);
	assert_string_equal(written(false, 512), "TC");
	assert_int_equal(get16(buf + 6), 0);
	assert_true(buf[2] & 2);
}

static void what_does_not_fit_is_cut_whole(void **state)
{
	struct msg m = begin("a.example", WIRE_A);
	char addr[32];

	(void)state;
	for (int i = 0; i < 60; i++) {
		snprintf(addr, sizeof(addr), "192.0.2.%d", i);
		add_addr(&m, "a.example", 60, addr);
	}
	assert_int_equal(read_answer(&m), 0);
	assert_int_equal(a.nrecords, 60);
	assert_string_equal(written(false, 512), "TC");
	assert_int_equal(get16(buf + 6), 0);
	assert_string_not_equal(written(false, 4096), "TC");
	assert_int_equal(get16(buf + 6), 60);
}

static void strips(void **state)
{
	struct msg m = begin("a.example", WIRE_A);

	(void)state;
	add_name_rr(&m, "a.example", WIRE_CNAME, 60, "b.example");
	add_addr(&m, "b.example", 60, "127.0.0.1");
	add_addr(&m, "b.example", 60, "192.0.2.1");
	assert_int_equal(read_answer(&m), 0);
	a.records[1].fate = ANSWER_STRIP;
	assert_string_equal(written(false, 512), "a.example -> b.example 60; b.example 192.0.2.1 60");
	a.records[2].fate = ANSWER_STRIP;
	assert_string_equal(written(false, 512), "a.example -> b.example 60");
	assert_int_equal(get16(buf + 8), 1);
	assert_string_equal(written(true, 512), "");
	assert_int_equal(get16(buf + 8), 1);
}

static void keeps_upstreams_soa(void **state)
{
	struct msg m = begin("a.b.example", WIRE_A);
	struct wire_cursor c;
	struct wire_name owner;
	size_t len;

	(void)state;
	m.data[3] = WIRE_RCODE_NXDOMAIN;
	begin_rr(&m, "evil.test", WIRE_SOA, 900); /* not a zone of this name */
	add16(&m, 22);
	m.len += 22;
	begin_rr(&m, "b.example", WIRE_SOA, 900);
	add16(&m, 0);
	len = m.len;
	add_name(&m, "ns.b.example");
	add16(&m, 0xc00c); /* a pointer of upstream's: written out for the pod */
	add32(&m, 7);
	m.len += 16;
	m.data[len - 1] = (uint8_t)(m.len - len);
	m.data[7] = 0;
	m.data[9] = 2;
	assert_int_equal(read_answer(&m), 0);
	assert_int_equal(a.rcode, WIRE_RCODE_NXDOMAIN);
	assert_string_equal(written(false, 512), "");
	c = (struct wire_cursor){ .data = buf, .len = sizeof(buf), .pos = 12 + q.question_len };
	wire_get_name(&c, true, &owner);
	assert_memory_equal(owner.text, "b.example", 9);
	wire_skip(&c, 10);
	wire_get_name(&c, false, &owner);
	wire_get_name(&c, false, &owner);
	assert_memory_equal(owner.text, "a.b.example", 11);
	assert_int_equal(wire_get32(&c), 7);
}

static void other_types_pass_rebuilt(void **state)
{
	struct msg m = begin("_ldap._tcp.example", WIRE_SRV);

	(void)state;
	begin_rr(&m, "_ldap._tcp.example", WIRE_SRV, 60);
	add16(&m, 8);
	add32(&m, 1);
	add16(&m, 389);
	add16(&m, 0xc00c);
	assert_int_equal(read_answer(&m), 0);
	assert_string_equal(written(false, 512), "_ldap._tcp.example type33 60");
	assert_int_equal(get16(buf + 12 + q.question_len + 10), 6 + 20);

	m = begin("a.example", WIRE_A);
	add_addr(&m, "a.example", 60, "192.0.2.1");
	m.data[m.len - 5] = 3;
	m.len--; /* an A of three bytes */
	assert_int_equal(read_answer(&m), 0);
	assert_false(answer_address(&a, &a.records[0], &(struct sluice_addr){}));

	m = begin("a.example", WIRE_PTR);
	begin_rr(&m, "a.example", WIRE_PTR, 60);
	add16(&m, 4); /* a byte more than the name */
	add_name(&m, "b");
	add8(&m, 9);
	assert_int_equal(read_answer(&m), 0);
	assert_string_equal(written(false, 512), "");
}

static void matches_its_question_only(void **state)
{
	struct msg m = begin("a.example", WIRE_A), other;

	(void)state;
	add_addr(&m, "a.example", 60, "192.0.2.1");
	assert_true(answer_matches(m.data, m.len, &q, 0x1234));
	assert_false(answer_matches(m.data, m.len, &q, 0x1235));
	for (size_t cut = 0; cut < 12u + q.question_len; cut++)
		assert_false(answer_matches(m.data, cut, &q, 0x1234));
	other = m;
	other.data[2] &= 0x7f;
	assert_false(answer_matches(other.data, other.len, &q, 0x1234));
	other = m;
	other.data[5] = 2;
	assert_false(answer_matches(other.data, other.len, &q, 0x1234));
	other = m;
	other.data[13] = 'b';
	assert_false(answer_matches(other.data, other.len, &q, 0x1234));
	other = m;
	other.data[12 + q.question_len - 3] = WIRE_AAAA;
	assert_false(answer_matches(other.data, other.len, &q, 0x1234));
	other = m;
	other.data[2] |= 5 << 3;
	assert_false(answer_matches(other.data, other.len, &q, 0x1234));
}

static void refuses_what_is_cut(void **state)
{
	struct msg m = begin("a.example", WIRE_A);

	(void)state;
	add_name_rr(&m, "a.example", WIRE_CNAME, 60, "b.example");
	add_addr(&m, "b.example", 60, "192.0.2.1");
	for (size_t len = 12; len < m.len; len++) {
		struct msg cut = m;

		cut.len = len;
		assert_int_equal(read_answer(&cut), -EBADMSG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_the_chain),
		cmocka_unit_test(ignores_other_owners),
		cmocka_unit_test(bounds_the_chain),
		cmocka_unit_test(refuses_loops),
		cmocka_unit_test(reads_ttls),
		cmocka_unit_test(reads_so_many_records),
		cmocka_unit_test(a_cut_answer_has_nothing),
		cmocka_unit_test(what_does_not_fit_is_cut_whole),
		cmocka_unit_test(strips),
		cmocka_unit_test(keeps_upstreams_soa),
		cmocka_unit_test(other_types_pass_rebuilt),
		cmocka_unit_test(matches_its_question_only),
		cmocka_unit_test(refuses_what_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
