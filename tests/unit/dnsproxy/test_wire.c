/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/nameser.h>
#include <resolv.h>

#include "tests/unit/dnsproxy/dns_test.h"

static enum wire_result read_msg(const struct msg *m, struct wire_query *q)
{
	/* At the end of an allocation of its own, where a byte read too many is noticed. */
	uint8_t *exact = malloc(m->len ? m->len : 1);
	enum wire_result r;

	memcpy(exact, m->data, m->len);
	r = wire_read_query(exact, m->len, q);
	free(exact);
	return r;
}

static void reads_a_question(void **state)
{
	struct msg m = query("Www.Example.ORG", WIRE_AAAA);
	struct wire_query q;

	(void)state;
	assert_int_equal(read_msg(&m, &q), WIRE_OK);
	assert_int_equal(q.id, 0x1234);
	assert_int_equal(q.qtype, WIRE_AAAA);
	assert_int_equal(q.name.len, 15);
	assert_memory_equal(q.name.text, "www.example.org", 15);
	assert_int_equal(q.question_len, m.len - 12);
	assert_memory_equal(q.question, m.data + 12, m.len - 12);
	assert_false(q.edns);
	assert_int_equal(wire_udp_limit(&q), 512);

	m = query("", WIRE_NS);
	assert_int_equal(read_msg(&m, &q), WIRE_OK);
	assert_int_equal(q.name.len, 0);
}

static void reads_edns(void **state)
{
	static const uint8_t cookie[] = { 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8 };
	struct msg m = query("a.example", WIRE_A);
	struct wire_query q;

	(void)state;
	add_opt(&m, 4096, 0x8000, cookie, sizeof(cookie));
	assert_int_equal(read_msg(&m, &q), WIRE_OK);
	assert_true(q.edns);
	assert_true(q.dnssec_ok);
	assert_int_equal(q.udp_size, 4096);
	assert_int_equal(wire_udp_limit(&q), WIRE_EDNS_UDP);

	m = query("a.example", WIRE_A);
	add_opt(&m, 100, 0, NULL, 0);
	assert_int_equal(read_msg(&m, &q), WIRE_OK);
	assert_int_equal(wire_udp_limit(&q), 512); /* RFC 6891 section 6.2.3 */

	m = query("a.example", WIRE_A);
	add_opt(&m, 1232, 0, cookie, sizeof(cookie) - 3); /* an option longer than the record */
	assert_int_equal(read_msg(&m, &q), WIRE_FORMERR);

	m = query("a.example", WIRE_A);
	add_opt(&m, 1232, 0, NULL, 0);
	m.data[m.len - 5] = 1; /* version 1 */
	assert_int_equal(read_msg(&m, &q), WIRE_BADVERS);
	assert_true(q.edns);

	m = query("a.example", WIRE_A);
	add_opt(&m, 1232, 0, NULL, 0);
	add_opt(&m, 1232, 0, NULL, 0);
	assert_int_equal(read_msg(&m, &q), WIRE_FORMERR);
}

/* D10 of the list of evasions, one by one. */
static void refuses_what_is_malformed(void **state)
{
	struct wire_query q;
	struct msg m;

	(void)state;
	m = query("a.example", WIRE_A);
	m.data[5] = 2;
	assert_int_equal(read_msg(&m, &q), WIRE_FORMERR);
	m.data[5] = 0;
	assert_int_equal(read_msg(&m, &q), WIRE_FORMERR);

	m = query("a.example", WIRE_A);
	add8(&m, 0); /* a trailing byte */
	assert_int_equal(read_msg(&m, &q), WIRE_FORMERR);

	m = query("a.example", WIRE_A);
	m.data[7] = 1; /* says to have an answer */
	assert_int_equal(read_msg(&m, &q), WIRE_FORMERR);

	m = query("a.example", WIRE_A);
	m.data[2] |= 0x80;
	assert_int_equal(read_msg(&m, &q), WIRE_FORMERR);
	for (unsigned int opcode = 1; opcode < 16; opcode++) {
		m.data[2] = (uint8_t)(opcode << 3);
		assert_int_equal(read_msg(&m, &q), WIRE_NOTIMP);
	}

	m = query("a.example", WIRE_A);
	m.data[m.len - 1] = 3; /* CHAOS */
	assert_int_equal(read_msg(&m, &q), WIRE_NOTIMP);
	assert_true(q.question_len > 0);

	/* A pointer in the question, even one that leads backwards, and the two reserved label types. */
	for (unsigned int type = 0x40; type <= 0xc0; type += 0x40) {
		add_header(&m, 1, WIRE_RD, 1, 0, 0, 0);
		add8(&m, 1);
		add8(&m, 'a');
		add16(&m, type << 8 | 4);
		add16(&m, WIRE_A);
		add16(&m, 1);
		assert_int_equal(read_msg(&m, &q), WIRE_FORMERR);
	}

	add_header(&m, 1, WIRE_RD, 1, 0, 0, 0);
	add8(&m, 64);
	memset(m.data + m.len, 'a', 64);
	m.len += 64;
	add8(&m, 0);
	add32(&m, 1 << 16 | 1);
	assert_int_equal(read_msg(&m, &q), WIRE_FORMERR);

	/* "a.b" and "a\0b" as one label each. */
	for (int ch = 0; ch <= '.'; ch += '.') {
		m = query("axb.example", WIRE_A);
		m.data[14] = (uint8_t)ch;
		assert_int_equal(read_msg(&m, &q), WIRE_FORMERR);
	}

	/* Cut anywhere. */
	m = query("a.example", WIRE_A);
	for (size_t len = 0; len < m.len; len++) {
		struct msg cut = m;

		cut.len = len;
		assert_int_equal(read_msg(&cut, &q), len < 12 ? WIRE_SHORT : WIRE_FORMERR);
	}
}

/* 255 bytes on the wire are the most. */
static void names_have_a_length(void **state)
{
	struct wire_query q;
	struct msg m;
	char name[300];

	(void)state;
	memset(name, 'a', sizeof(name));
	name[63] = name[127] = name[191] = '.';
	name[253] = '\0';
	m = query(name, WIRE_A);
	assert_int_equal(read_msg(&m, &q), WIRE_OK);
	assert_int_equal(q.name.len, 253);
	name[253] = 'a';
	name[254] = '\0';
	m = query(name, WIRE_A);
	assert_int_equal(read_msg(&m, &q), WIRE_FORMERR);
}

static void pointers_lead_backwards(void **state)
{
	struct msg m = { .len = 0 };
	struct wire_cursor c;
	struct wire_name n;

	(void)state;
	add_header(&m, 0, 0, 0, 0, 0, 0);
	add_name(&m, "example.org");
	add8(&m, 3);
	memcpy(m.data + m.len, "www", 3);
	m.len += 3;
	add16(&m, 0xc00c);
	c = (struct wire_cursor){ .data = m.data, .len = m.len, .pos = 25 };
	wire_get_name(&c, true, &n);
	assert_false(c.failed);
	assert_int_equal(c.pos, m.len);
	assert_int_equal(n.len, 15);
	assert_memory_equal(n.text, "www.example.org", 15);

	m.data[m.len - 1] = 25; /* itself */
	c = (struct wire_cursor){ .data = m.data, .len = m.len, .pos = 25 };
	wire_get_name(&c, true, &n);
	assert_true(c.failed);
	m.data[m.len - 1] = (uint8_t)m.len; /* forwards, to a name */
	add_name(&m, "example.org");
	c = (struct wire_cursor){ .data = m.data, .len = m.len, .pos = 25 };
	wire_get_name(&c, true, &n);
	assert_true(c.failed);

	/* A ladder of pointers to pointers has an end, however long. */
	m.len = 0;
	add8(&m, 0);
	for (unsigned int i = 0; i < 1000; i++)
		add16(&m, 0xc000 | (i ? m.len - 2 : 0));
	c = (struct wire_cursor){ .data = m.data, .len = m.len, .pos = m.len - 2 };
	wire_get_name(&c, true, &n);
	assert_true(c.failed);
}

/* What we write, glibc reads. */
static void writes_what_glibc_reads(void **state)
{
	struct msg m = query("WWW.a.Example", WIRE_A);
	uint8_t buf[512];
	struct wire_out o = { .data = buf, .cap = sizeof(buf) };
	struct wire_query q;
	ns_msg handle;
	ns_rr rr;

	(void)state;
	add_opt(&m, 1232, 0, NULL, 0);
	assert_int_equal(read_msg(&m, &q), WIRE_OK);
	wire_begin(&o, &q, WIRE_RCODE_NXDOMAIN, false);
	wire_put_soa(&o, &q, 4);
	wire_end(&o, &q, WIRE_RCODE_NXDOMAIN, WIRE_EDE_BLOCKED, "by policy x");
	assert_false(o.overflow);
	assert_int_equal(ns_initparse(buf, (int)o.len, &handle), 0);
	assert_int_equal(ns_msg_id(handle), 0x1234);
	assert_int_equal(ns_msg_getflag(handle, ns_f_rcode), 3);
	assert_int_equal(ns_msg_getflag(handle, ns_f_qr), 1);
	assert_int_equal(ns_msg_getflag(handle, ns_f_rd), 1);
	assert_int_equal(ns_msg_count(handle, ns_s_qd), 1);
	assert_int_equal(ns_msg_count(handle, ns_s_an), 0);
	assert_int_equal(ns_parserr(&handle, ns_s_qd, 0, &rr), 0);
	assert_string_equal(ns_rr_name(rr), "WWW.a.Example");
	assert_int_equal(ns_parserr(&handle, ns_s_ns, 0, &rr), 0);
	assert_string_equal(ns_rr_name(rr), "a.Example");
	assert_int_equal(ns_rr_type(rr), ns_t_soa);
	assert_true(ns_rr_ttl(rr) <= 5);
	assert_int_equal(ns_get32(ns_rr_rdata(rr) + ns_rr_rdlen(rr) - 4), 5);
	assert_int_equal(ns_parserr(&handle, ns_s_ar, 0, &rr), 0);
	assert_int_equal(ns_rr_type(rr), WIRE_OPT);
	assert_int_equal(ns_rr_rdlen(rr), 4 + 2 + 11);
	assert_int_equal(get16(ns_rr_rdata(rr)), 15);
	assert_int_equal(get16(ns_rr_rdata(rr) + 4), 15);
	assert_memory_equal(ns_rr_rdata(rr) + 6, "by policy x", 11);

	/* The root as the zone, of a name and of itself. */
	wire_begin(&o, &q, WIRE_RCODE_NXDOMAIN, false);
	wire_put_soa(&o, &q, q.name.len + 1);
	assert_int_equal(ns_initparse(buf, (int)o.len, &handle), 0);
	assert_int_equal(ns_parserr(&handle, ns_s_ns, 0, &rr), 0);
	assert_string_equal(ns_rr_name(rr), ".");
}

/* The same fate for the same bytes, where glibc's reader has the same rules. */
static void agrees_with_glibc(void **state)
{
	unsigned int seed = 1, agreed = 0;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct msg m = query("www.example.org", WIRE_A);
		struct wire_cursor c = { .data = m.data, .pos = 12 };
		struct wire_name name;
		char text[NS_MAXDNAME];
		int n;

		add_name_rr(&m, "www", WIRE_CNAME, 60, "a.b");
		for (int i = rand_r(&seed) % 4; i >= 0; i--)
			m.data[12 + rand_r(&seed) % (m.len - 12)] =
				(uint8_t)(rand_r(&seed) % 4 ? rand_r(&seed) % 24 : 0xc0);
		c.len = m.len;
		c.pos = 12 + (size_t)(rand_r(&seed) % (m.len - 12));
		n = dn_expand(m.data, m.data + m.len, m.data + c.pos, text, sizeof(text));
		wire_get_name(&c, true, &name);
		if (c.failed)
			continue; /* ours is stricter: forward pointers, NUL and dot in a label */
		assert_true(n > 0);
		agreed++;
		if (strchr(text, '\\') || name.len != strlen(text))
			continue;
		for (size_t i = 0; i < name.len; i++)
			assert_int_equal(name.text[i], text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
	}
	assert_true(agreed > 1000);
}

/* D4, D5: nothing of the pod's but name, type and DO. */
static void the_upstream_query_is_ours(void **state)
{
	static const uint8_t options[] = { 0, 8, 0, 4, 's', 'e', 'c', 'r' };
	struct msg m = query("sEcReT.eXample", WIRE_A);
	uint8_t buf[512];
	struct wire_query q, again;
	size_t len;

	(void)state;
	m.data[3] |= WIRE_CD | 0x20;
	add_opt(&m, 4000, 0xffff, options, sizeof(options));
	assert_int_equal(read_msg(&m, &q), WIRE_OK);
	len = wire_write_query(buf, sizeof(buf), &q, 0x4321);
	assert_int_equal(len, 12 + 16 + 4 + 11);
	assert_int_equal(get16(buf), 0x4321);
	assert_int_equal(get16(buf + 2), WIRE_RD);
	assert_memory_equal(buf + 12, "\006secret\007example", 16);
	assert_int_equal(wire_read_query(buf, len, &again), WIRE_OK);
	assert_int_equal(again.udp_size, WIRE_EDNS_UDP);
	assert_true(again.dnssec_ok);
	assert_int_equal(get16(buf + len - 4), 0x8000); /* no other flag */
	assert_int_equal(get16(buf + len - 2), 0);
}

static void names_within(void **state)
{
	struct wire_name n = { .len = 15, .text = "www.example.org" };

	(void)state;
	assert_true(wire_name_within(&n, "example.org", 11));
	assert_true(wire_name_within(&n, "www.example.org", 15));
	assert_true(wire_name_within(&n, "", 0));
	assert_false(wire_name_within(&n, "ample.org", 9));
	assert_false(wire_name_within(&n, "xwww.example.org", 16));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_question),
		cmocka_unit_test(reads_edns),
		cmocka_unit_test(refuses_what_is_malformed),
		cmocka_unit_test(names_have_a_length),
		cmocka_unit_test(pointers_lead_backwards),
		cmocka_unit_test(writes_what_glibc_reads),
		cmocka_unit_test(agrees_with_glibc),
		cmocka_unit_test(the_upstream_query_is_ours),
		cmocka_unit_test(names_within),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
