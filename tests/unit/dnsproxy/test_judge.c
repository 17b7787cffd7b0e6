/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/dnsproxy/dns_test.h"

#include "dnsproxy/judge.h"
#include "policy/image_format.h"

static const struct proxy_settings settings = { .magic = PROXY_SETTINGS_MAGIC,
						.size = sizeof(settings),
						.max_ttl = 1,
						.query_timeout_ms = 1,
						.query_tries = 1,
						.nqtypes = 2,
						.qtypes = { 1, 28 } };

static struct judgement judge(const struct image *img, const char *text, uint16_t qtype)
{
	struct wire_name name = { .len = (uint8_t)strlen(text) };
	struct judgement j;

	memcpy(name.text, text, name.len);
	judge_name(img, &settings, &name, qtype, &j);
	return j;
}

static void not_isolated_asks_everything(void **state)
{
	struct compiled c = test_compile(CNP_HEAD "  egress:\n  - toFQDNs: [{matchName: a.example}]\n", NULL);
	struct judgement j;

	(void)state;
	/* As the compiler writes it for an endpoint that has opted out of default deny. */
	((struct fmt_header *)c.data)->flags = IMAGE_NAMES | IMAGE_ASK_ANY;
	j = judge(c.img, "a.example", WIRE_A);
	assert_int_equal(j.verdict, JUDGE_ALLOWED);
	assert_true(j.open);
	assert_int_equal(judge(c.img, "b.example", WIRE_A).verdict, JUDGE_WHOLE);
	assert_int_equal(judge(c.img, "b.example", WIRE_TXT).verdict, JUDGE_EMPTY);
	/* A refused policy closes that too. */
	((struct fmt_header *)c.data)->flags |= IMAGE_REFUSED;
	assert_int_equal(judge(c.img, "a.example", WIRE_A).verdict, JUDGE_DENIED);
	assert_int_equal(judge(c.img, "b.example", WIRE_A).verdict, JUDGE_DENIED);
	compiled_clear(&c);
}

static void address_rules(void **state)
{
	struct compiled c = test_compile(CNP_HEAD "  egress:\n  - toCIDR: [192.0.2.0/24]\n"
						  "    toPorts: [{ports: [{port: \"80\"}]}]\n"
						  "  egressDeny:\n  - toCIDR: [192.0.2.128/25]\n",
					 NULL);
	struct sluice_addr a = test_addr("192.0.2.1"), d = test_addr("192.0.2.200"), n = test_addr("198.51.100.1");

	(void)state;
	assert_true(judge_rule_allows(c.img, &a, false));
	assert_false(judge_rule_allows(c.img, &n, false));
	/* A Cilium CIDR never meets what belongs to the cluster. */
	assert_false(judge_rule_allows(c.img, &a, true));
	(void)d;
	compiled_clear(&c);
}

static void too_many_sets_is_no_allow(void **state)
{
	struct compiled c;
	char text[4096];
	size_t at = (size_t)snprintf(text, sizeof(text), CNP_HEAD "  egress:\n");

	(void)state;
	for (int i = 0; i < 12; i++)
		at += (size_t)snprintf(
			text + at, sizeof(text) - at,
			"  - toFQDNs: [{matchPattern: '%.*s*.example'}]\n    toPorts: [{ports: [{port: \"%d\"}]}]\n", i,
			"aaaaaaaaaaaa", 1000 + i);
	c = test_compile(text, NULL);
	assert_int_equal(judge(c.img, "aaaaaaaaaaaaaaa.example", WIRE_A).verdict, JUDGE_BROKEN);
	assert_int_equal(judge(c.img, "aa.example", WIRE_A).verdict, JUDGE_ALLOWED);
	compiled_clear(&c);
}

static void settings_are_checked(void **state)
{
	struct proxy_settings s = settings, ret;

	(void)state;
	assert_int_equal(conf_read(&s, sizeof(s), &ret), 0);
	assert_int_equal(conf_read(&s, sizeof(s) - 1, &ret), -EBADMSG);
#define BAD(field, value)                                                                                              \
	s = settings;                                                                                                  \
	s.field = value;                                                                                               \
	assert_int_equal(conf_read(&s, sizeof(s), &ret), -EBADMSG)
	BAD(magic, 1);
	BAD(size, 4);
	BAD(nresolvers, PROXY_MAX_RESOLVERS + 1);
	BAD(nresolvers, 1); /* of port 0 */
	BAD(nsearch, PROXY_MAX_SEARCH + 1);
	BAD(nqtypes, 17);
	BAD(deny_response, 3);
	BAD(ask_only, 3);
	BAD(query_timeout_ms, 0);
	BAD(query_tries, 0);
	BAD(min_ttl, 2);
	s = settings;
	s.nsearch = 1;
	memset(s.search[0], 'a', sizeof(s.search[0]));
	assert_int_equal(conf_read(&s, sizeof(s), &ret), -EBADMSG);
	s = settings;
	memset(s.cluster_domain, 'a', sizeof(s.cluster_domain));
	assert_int_equal(conf_read(&s, sizeof(s), &ret), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(not_isolated_asks_everything),
		cmocka_unit_test(address_rules),
		cmocka_unit_test(too_many_sets_is_no_allow),
		cmocka_unit_test(settings_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
