/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our reader of answers beside glibc's (ns_parserr) and c-ares's, on messages made and mutated by a seeded generator:
 * first a fixed seed, then one of the day, which is printed and can be given as the argument.
 *
 * What ours accepts, both others must accept, and read the same names, types, TTLs and addresses out of it. What ours
 * refuses and glibc takes must have one of the reasons for which we are stricter (enum reason); c-ares, which hides why
 * it refuses, is only asked about what we accept.
 */
#include <arpa/nameser.h>
#include <ares.h>
#include <netdb.h>
#include <resolv.h>
#include <time.h>

#include "tests/unit/dnsproxy/dns_test.h"

#include "dnsproxy/answer.h"

#define ROUNDS 60000
#define MAX_RR 64

static unsigned int seed;
static unsigned int today;

static unsigned int dice(unsigned int n)
{
	return (unsigned int)rand_r(&seed) % n;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static const char *const names[] = {
	"www.example.org", "a.example.org", "b.example.net", "c.d.e.example.net", "x", ""
};

static void put_owner(struct msg *m, const char *name)
{
	if (dice(3) == 0 && strcmp(name, names[0]) == 0)
		add16(m, 0xc00c);
	else if (dice(4) == 0 && strcmp(name, names[1]) == 0) {
		add8(m, 1);
		add8(m, 'a');
		add16(m, 0xc010); /* example.org in the question */
	} else
		add_name(m, name);
}

static void put_record(struct msg *m, const char *owner)
{
	static const unsigned int types[] = { WIRE_A, WIRE_A, WIRE_A, WIRE_CNAME, WIRE_CNAME, WIRE_AAAA, WIRE_TXT };
	unsigned int type = types[dice(ARRAY_SIZE(types))], ttl = dice(9) ? dice(100000) : 0x80000000u + dice(9);
	size_t at;

	put_owner(m, owner);
	add16(m, type);
	add16(m, 1);
	add32(m, ttl);
	at = m->len;
	add16(m, 0);
	if (type == WIRE_CNAME)
		put_owner(m, names[dice(ARRAY_SIZE(names))]);
	for (unsigned int i = type == WIRE_A ? 4 : type == WIRE_AAAA ? 16 : type == WIRE_TXT ? dice(9) : 0; i > 0; i--)
		add8(m, 1 + dice(200));
	m->data[at] = (uint8_t)((m->len - at - 2) >> 8);
	m->data[at + 1] = (uint8_t)(m->len - at - 2);
	m->data[7]++;
}

static struct msg make_answer(void)
{
	struct msg m = { .len = 0 };

	add_header(&m, 7, WIRE_QR | WIRE_RD | WIRE_RA, 1, 0, 0, 0);
	add_question(&m, names[0], WIRE_A);
	for (unsigned int i = dice(6); i > 0; i--)
		put_record(&m, names[dice(3)]);
	return m;
}

/* Behind the question: both readers are asked about the same one. */
static void mutate(struct msg *m)
{
	const size_t start = WIRE_HEADER + 21;

	for (unsigned int i = dice(4); i > 0 && m->len > start; i--) {
		uint8_t *at = &m->data[start + dice((unsigned int)(m->len - start))];

		switch (dice(5)) {
		case 0:
			*at ^= (uint8_t)(1u << dice(8));
			break;
		case 1:
			*at = (uint8_t)dice(256);
			break;
		case 2:
			*at = 0xc0;
			break;
		case 3:
			*at = (uint8_t)dice(20);
			break;
		case 4:
			m->len -= dice(8) == 0 ? dice((unsigned int)(m->len - start)) : 0;
			break;
		}
	}
}

/* ---- glibc's view ------------------------------------------------------------------------------------------------ */

struct reference {
	unsigned int count;
	ns_rr rrs[MAX_RR];
	ns_msg handle;
};

/* The answer section and nothing behind it: we read no further either. */
static bool read_reference(const uint8_t *data, size_t len, struct reference *r)
{
	if (ns_initparse(data, (int)len, &r->handle) < 0)
		return false;
	r->count = ns_msg_count(r->handle, ns_s_an);
	assert_true(r->count <= MAX_RR);
	for (unsigned int i = 0; i < r->count; i++)
		if (ns_parserr(&r->handle, ns_s_an, (int)i, &r->rrs[i]) < 0)
			return false;
	return true;
}

/* "a\.b" and the like: names that text cannot tell apart, which we refuse or show otherwise. */
static bool is_plain(const char *name)
{
	return strchr(name, '\\') == NULL;
}

static const char *text_of(const char *name)
{
	return strcmp(name, ".") == 0 ? "" : name;
}

/* ---- why we refuse more ------------------------------------------------------------------------------------------ */

enum reason {
	REASON_NONE,
	REASON_POINTER, /* one that does not lead strictly backwards from its run of labels, or more than 127 */
	REASON_LABEL,	/* a dot or a NUL within a label */
	REASON_TARGET,	/* a CNAME whose data is not one name and nothing else */
	REASON_CHAIN,	/* CNAMEs in a circle, or more than eight */
	REASON_MAX,
};

static const char *const reasons[REASON_MAX] = { "none", "pointer", "label", "target", "chain" };

/* Walks a name by its own rules, without our reader. `ret_end` is behind its last byte in place. */
static enum reason walk(const uint8_t *data, size_t len, size_t at, size_t *ret_end)
{
	size_t lowest = at, end = 0;
	unsigned int jumps = 0;

	while (at < len) {
		uint8_t n = data[at];

		if (n >= 0xc0) {
			size_t target = at + 1 < len ? get16(&data[at]) & 0x3fff : len;

			end = end ? end : at + 2;
			if (target >= lowest || ++jumps > 127)
				return REASON_POINTER;
			at = lowest = target;
			continue;
		}
		if (n == 0) {
			*ret_end = end ? end : at + 1;
			return REASON_NONE;
		}
		for (size_t i = 1; i <= n && at + i < len; i++)
			if (data[at + i] == '.' || data[at + i] == '\0')
				return REASON_LABEL;
		at += 1u + n;
	}
	return REASON_NONE;
}

static const ns_rr *cname_of(const struct reference *r, const char *name)
{
	for (unsigned int i = 0; i < r->count; i++)
		if (ns_rr_type(r->rrs[i]) == ns_t_cname && ns_rr_class(r->rrs[i]) == ns_c_in &&
		    strcasecmp(text_of(ns_rr_name(r->rrs[i])), text_of(name)) == 0)
			return &r->rrs[i];
	return NULL;
}

static enum reason chain_reason(const uint8_t *data, size_t len, const struct reference *r)
{
	char name[NS_MAXDNAME], seen[ANSWER_MAX_HOPS + 2][NS_MAXDNAME];
	const ns_rr *rr;

	strcpy(name, names[0]);
	for (int hop = 0; (rr = cname_of(r, name)); hop++) {
		size_t at = (size_t)(ns_rr_rdata(*rr) - data), end = 0;
		enum reason why = walk(data, at + ns_rr_rdlen(*rr), at, &end);
		int n = dn_expand(data, data + len, ns_rr_rdata(*rr), name, sizeof(name));

		if (why != REASON_NONE)
			return why;
		if (n != ns_rr_rdlen(*rr) || end != at + ns_rr_rdlen(*rr))
			return REASON_TARGET;
		if (hop == ANSWER_MAX_HOPS)
			return REASON_CHAIN;
		strcpy(seen[hop], name);
		for (int i = 0; i < hop; i++)
			if (strcasecmp(seen[i], name) == 0)
				return REASON_CHAIN;
		if (strcasecmp(name, names[0]) == 0)
			return REASON_CHAIN;
	}
	return REASON_NONE;
}

static enum reason why_refused(const uint8_t *data, size_t len, const struct reference *r)
{
	size_t at = WIRE_HEADER + 21;

	for (unsigned int i = 0; i < r->count; i++) {
		enum reason why = walk(data, len, at, &at);

		if (why != REASON_NONE)
			return why;
		at = (size_t)(ns_rr_rdata(r->rrs[i]) - data) + ns_rr_rdlen(r->rrs[i]);
	}
	return chain_reason(data, len, r);
}

/* ---- the comparison ---------------------------------------------------------------------------------------------- */

/* The end of the CNAMEs by glibc's names; false: some name has no plain text. */
static bool reference_end(const uint8_t *data, size_t len, const struct reference *r, char *name)
{
	const ns_rr *rr;

	strcpy(name, names[0]);
	while ((rr = cname_of(r, name)))
		if (dn_expand(data, data + len, ns_rr_rdata(*rr), name, NS_MAXDNAME) < 0 || !is_plain(name))
			return false;
	return true;
}

static void same_addresses(const struct answer *a, const uint8_t *data, const struct reference *r, const char *end)
{
	unsigned int i = 0;

	for (uint16_t k = 0; k < a->nrecords; k++) {
		if (a->records[k].type != WIRE_A)
			continue;
		while (i < r->count && !(ns_rr_type(r->rrs[i]) == ns_t_a && ns_rr_class(r->rrs[i]) == ns_c_in &&
					 strcasecmp(text_of(ns_rr_name(r->rrs[i])), text_of(end)) == 0))
			i++;
		assert_true(i < r->count);
		assert_int_equal(a->records[k].rdata, ns_rr_rdata(r->rrs[i]) - data);
		assert_int_equal(a->records[k].rdlen, ns_rr_rdlen(r->rrs[i]));
		/* RFC 2181 section 8: the top bit means zero; glibc leaves that to its caller. */
		assert_int_equal(a->records[k].ttl, ns_rr_ttl(r->rrs[i]) > INT32_MAX ? 0 : ns_rr_ttl(r->rrs[i]));
		i++;
	}
	for (; i < r->count; i++)
		assert_false(ns_rr_type(r->rrs[i]) == ns_t_a && ns_rr_class(r->rrs[i]) == ns_c_in &&
			     strcasecmp(text_of(ns_rr_name(r->rrs[i])), text_of(end)) == 0);
}

struct tally {
	unsigned int accepted, refused_by_both, cares_refused, cares_compared, stricter[REASON_MAX];
};

/* No CNAME but the chain's, those in its order, and the addresses behind them. */
static bool in_order(const struct answer *a, const struct reference *r)
{
	uint16_t last = 0;
	int cnames = 0;

	for (unsigned int i = 0; i < r->count; i++)
		cnames += ns_rr_type(r->rrs[i]) == ns_t_cname;
	if (cnames != a->nnames - 1)
		return false;

	for (uint16_t hop = 0; hop + 1 < a->nnames; hop++) {
		if (a->records[a->cnames[hop]].rdata < last)
			return false;
		last = a->records[a->cnames[hop]].rdata;
	}
	for (uint16_t k = 0; k < a->nrecords; k++)
		if (a->records[k].type == WIRE_A && a->records[k].rdata < last)
			return false;
	return true;
}

/*
 * Every address of ours is among c-ares's, which reads from top to bottom once and follows each CNAME it meets, whoever
 * owns it: so only where there are no others and all is in order. Where it refuses a whole message that we take, it is
 * for a record that we need not understand (data of the wrong form off the chain), or for having no address in it.
 */
static void compare_cares(const struct answer *a, const struct reference *r, const uint8_t *data, size_t len,
			  struct tally *t)
{
	struct ares_addrttl found[MAX_RR];
	struct sluice_addr addr;
	int n = MAX_RR;

	if (ares_parse_a_reply(data, (int)len, NULL, found, &n) != ARES_SUCCESS) {
		t->cares_refused++;
		return;
	}
	if (!in_order(a, r))
		return;
	t->cares_compared++;
	for (uint16_t k = 0; k < a->nrecords; k++) {
		bool there = false;

		if (a->records[k].type != WIRE_A || !answer_address(a, &a->records[k], &addr))
			continue;
		for (int i = 0; i < n; i++)
			there = there || memcmp(&found[i].ipaddr, addr.b + 12, 4) == 0;
		assert_true(there);
	}
}

static void compare(const struct msg *m, const struct wire_query *q, struct tally *t)
{
	static struct answer a;
	struct reference r;
	uint8_t *data = test_malloc(m->len); /* of exactly its length: reading beyond is seen */
	char end[NS_MAXDNAME];
	bool ours, theirs;

	memcpy(data, m->data, m->len);
	assert_true(answer_matches(data, m->len, q, 7));
	ours = answer_read(data, m->len, q, &a) == 0;
	/* glibc refuses bytes behind the last record counted; we take no notice of them. */
	theirs = read_reference(data, ours ? a.authority : m->len, &r);
	if (ours) {
		assert_true(theirs);
		t->accepted++;
		if (reference_end(data, m->len, &r, end)) {
			const struct wire_name *last = &a.names[a.nnames - 1];

			assert_int_equal(strlen(text_of(end)), last->len);
			assert_int_equal(strncasecmp(text_of(end), last->text, last->len), 0);
			same_addresses(&a, data, &r, end);
		}
		compare_cares(&a, &r, data, m->len, t);
	} else if (theirs) {
		enum reason why = why_refused(data, m->len, &r);

		if (why == REASON_NONE)
			print_message("refused without a known reason, seed %u\n", today);
		assert_int_not_equal(why, REASON_NONE);
		t->stricter[why]++;
	} else {
		t->refused_by_both++;
	}
	test_free(data);
}

static void run(unsigned int start)
{
	struct msg question = query(names[0], WIRE_A);
	struct tally t = { 0 };
	struct wire_query q;

	today = seed = start;
	print_message("seed %u\n", start);
	assert_int_equal(wire_read_query(question.data, question.len, &q), WIRE_OK);
	for (int i = 0; i < ROUNDS; i++) {
		struct msg m = make_answer();

		mutate(&m);
		compare(&m, &q, &t);
	}
	print_message("accepted %u (c-ares not: %u, compared: %u), refused by both %u, by us alone:", t.accepted,
		      t.cares_refused, t.cares_compared, t.refused_by_both);
	for (int i = 1; i < REASON_MAX; i++)
		print_message(" %s %u", reasons[i], t.stricter[i]);
	print_message("\n");
	assert_true(t.accepted > ROUNDS / 10 && t.refused_by_both > ROUNDS / 100);
}

static unsigned int chosen;

static void answers_of_a_fixed_seed(void **state)
{
	(void)state;
	run(1);
}

static void answers_of_today(void **state)
{
	(void)state;
	run(chosen ? chosen : (unsigned int)time(NULL));
}

/* Any bytes, any place: a name that we read, both others read, and alike where its text is plain. */
static void names_anywhere(void **state)
{
	unsigned int read = 0;

	(void)state;
	seed = today = chosen ? chosen : (unsigned int)time(NULL);
	print_message("seed %u\n", seed);
	for (int round = 0; round < ROUNDS; round++) {
		struct msg m = make_answer();
		struct wire_cursor c = { .data = m.data };
		char text[NS_MAXDNAME], *theirs = NULL;
		struct wire_name name;
		long len = 0;

		mutate(&m);
		c.len = m.len;
		c.pos = WIRE_HEADER + dice((unsigned int)m.len - WIRE_HEADER);
		if (dn_expand(m.data, m.data + m.len, m.data + c.pos, text, sizeof(text)) < 0)
			text[0] = '\0';
		if (ares_expand_name(m.data + c.pos, m.data, (int)m.len, &theirs, &len) == ARES_SUCCESS) {
			wire_get_name(&c, true, &name);
			if (!c.failed && is_plain(theirs) && is_plain(text)) {
				read++;
				assert_int_equal(name.len, strlen(theirs));
				assert_int_equal(strncasecmp(name.text, theirs, name.len), 0);
				assert_int_equal(strcasecmp(text_of(text), theirs), 0);
			}
			ares_free_string(theirs);
		} else {
			wire_get_name(&c, true, &name);
			assert_true(c.failed);
		}
	}
	assert_true(read > ROUNDS / 10);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_of_a_fixed_seed),
		cmocka_unit_test(answers_of_today),
		cmocka_unit_test(names_anywhere),
	};

	chosen = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 10) : 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
