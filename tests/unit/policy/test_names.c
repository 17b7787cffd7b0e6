/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/policy/policy_test.h"
#include "policy/names.h"

static struct compiled with_name(const char *head, const char *member, const char *pattern)
{
	char text[1024];

	snprintf(text, sizeof(text), "%s  egress:\n  - %s \"%s\"%s\n", head, member, pattern,
		 strstr(member, "domainNames") ? "]}]" : "}]");
	return test_compile(text, NULL);
}

static struct compiled with_pattern(const char *pattern)
{
	return with_name(CNP_HEAD, "toFQDNs: [{matchPattern:", pattern);
}

static struct compiled with_domain(const char *name)
{
	return with_name(ANP_HEAD, "to: [{domainNames: [", name);
}

/* Name tables: pattern, then names that match, NULL, names that do not, NULL. The root is "". */
static const char *const cilium_rows[][16] = {
	{ "cilium.io.", "cilium.io", NULL, "anysub.cilium.io", "anysub.ci.io", "ciliumxio", "", NULL },
	{ "CILIUM.io", "cilium.io", NULL, "cilium.com", NULL },
	{ "*.cilium.io.", "anysub.cilium.io", NULL, "cilium.io", "anysub.ci.io", "a.b.cilium.io", NULL },
	{ "*.ci*.io.", "anysub.cilium.io", "anysub.ci.io", "anysub.ciliumandmore.io", NULL, "cilium.io", "", NULL },
	{ "*.ci**.io.", "anysub.cilium.io", "anysub.ci.io", "anysub.ciliumandmore.io", NULL, "cilium.io", NULL },
	{ "*", "", "io", "cilium.io", "service.namesace.svc.cluster.local", "_foobar._tcp.cilium.io", NULL, NULL },
	{ "**", "", "io", "a.b.c.d", NULL, NULL },
	{ "***.", "", "io", "a.b.c.d", NULL, NULL },
	{ "_foobar._tcp.cilium.io.", "_foobar._tcp.cilium.io", NULL, "_tcp.cilium.io", "cilium.io", NULL },
	{ "*.*.cilium.io.", "_foobar._tcp.cilium.io", NULL, "", "_tcp.cilium.io", "a.b.c.cilium.io", NULL },
	{ "**.cilium.io.", "test.cilium.io", "test.app.cilium.io", "test.app.new.cilium.io", NULL, "cilium.io",
	  "anysub.ci.io", NULL },
	{ "***.cilium.io.", "test.cilium.io", "test.app.new.cilium.io", NULL, "cilium.io", NULL },
	{ "**.*.cilium.io.", "_foobar._tcp.cilium.io", "_foo._bar._tcp.cilium.io", NULL, "cilium.io", "foo.cilium.io",
	  NULL },
	{ "**.**.cilium.io", "a.b.cilium.io", "a.b.c.cilium.io", NULL, "a.cilium.io", NULL },
	{ "**.ci*.io.", "foo.bar.cilium.io", "anysub.cilium.io", "anysub.ci.io", NULL, "cilium.io", "test.calium.io",
	  NULL },
	{ "*cilium.io", "cilium.io", "subcilium.io", NULL, "www.cilium.io", NULL },
	{ "**cilium.io", "cilium.io", "subcilium.io", NULL, "www.cilium.io", NULL },
	{ "test.**.cilium.io", "test.x.cilium.io", NULL, "test.x.y.cilium.io", "test.cilium.io", NULL },
	{ "a*b.example.com", "ab.example.com", "axxb.example.com", NULL, "a.b.example.com", "a.example.com", NULL },
	{ "*pattern.com", "testpattern.com", "pattern.com", NULL, "test.ppattern.com", NULL },
	{ "*.*.*middle.*", "a.b.cmiddle.io", NULL, "b.cmiddle.io", "a.b.cmiddle", NULL },
	{ "*.com", "a.com", NULL, "a.b.com", "com", NULL },
	{ "sts.*.amazonaws.com", "sts.us-east-1.amazonaws.com", NULL, "sts.amazonaws.com", "sts.a.b.amazonaws.com",
	  NULL },
};

static const char *const aws_rows[][16] = {
	{ "*.kubernetes.io", "www.kubernetes.io", "latest.blog.kubernetes.io", NULL, "kubernetes.io", "xkubernetes.io",
	  NULL },
	{ "Sts.AmazonAWS.com.", "sts.amazonaws.com", NULL, "a.sts.amazonaws.com", "amazonaws.com", NULL },
	{ "_dmarc.example.com", "_dmarc.example.com", NULL, "dmarc.example.com", NULL },
};

static void check_row(struct compiled (*make)(const char *), const char *const *row)
{
	struct compiled c = make(row[0]);
	size_t i = 1;

	for (; row[i]; i++)
		if (test_name(c.img, row[i]) != 'O')
			fail_msg("%s does not match %s", row[0], row[i]);
	for (i++; row[i]; i++)
		if (test_name(c.img, row[i]) != '-')
			fail_msg("%s matches %s", row[0], row[i]);
	compiled_clear(&c);
}

static void matching(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cilium_rows); i++)
		check_row(with_pattern, cilium_rows[i]);
	for (size_t i = 0; i < ARRAY_SIZE(aws_rows); i++)
		check_row(with_domain, aws_rows[i]);
}

static void validation(void **state)
{
	static const char x64[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.com";
	static const struct {
		enum name_dialect dialect;
		const char *text;
		int result;
	} rows[] = {
		{ NAME_CILIUM_NAME, "get-cilium.io.", NAME_OK },
		{ NAME_CILIUM_NAME, "_cilium.io", NAME_OK },
		{ NAME_CILIUM_NAME, "*.cilium.io", -EINVAL },
		{ NAME_CILIUM_NAME, "a..b", -EINVAL },
		{ NAME_CILIUM_NAME, ".a.b", -EINVAL },
		{ NAME_CILIUM_NAME, "", -EINVAL },
		{ NAME_CILIUM_NAME, ".", -EINVAL },
		{ NAME_CILIUM_NAME, x64, NAME_NEVER },
		{ NAME_CILIUM_PATTERN, "*._cilium.io", NAME_OK },
		{ NAME_CILIUM_PATTERN, "a{1,2}.cilium.io.", -EINVAL },
		{ NAME_CILIUM_PATTERN, "[a-z]*.cilium.io.", -EINVAL },
		{ NAME_CILIUM_PATTERN, "a b.io", -EINVAL },
		{ NAME_AWS, "*.example.com", NAME_OK },
		{ NAME_AWS, "*.com", -EINVAL },
		{ NAME_AWS, "com", -EINVAL },
		{ NAME_AWS, "localhost", -EINVAL },
		{ NAME_AWS, "*", -EINVAL },
		{ NAME_AWS, "a.*.com", -EINVAL },
		{ NAME_AWS, "**.a.com", -EINVAL },
		{ NAME_AWS, "a_.com", -EINVAL },
		{ NAME_AWS, "^.com", NAME_NEVER },
		{ NAME_AWS, x64, NAME_NEVER },
		{ NAME_AWS, "a..com", -EINVAL },
		{ NAME_AWS, "sts.*.amazonaws.com", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct name_pattern p;
		const char *why = "unset";

		if (name_pattern_parse(rows[i].dialect, rows[i].text, &p, &why) != rows[i].result)
			fail_msg("%s: not %d", rows[i].text, rows[i].result);
		assert_true(rows[i].result == NAME_OK || (why && *why));
	}
}

static void below(void **state)
{
	struct compiled c = with_pattern("*.s3.*.amazonaws.com");

	(void)state;
	assert_true(image_name_below(c.img, "com", 3));
	assert_true(image_name_below(c.img, "s3.eu.amazonaws.com", 19));
	assert_false(image_name_below(c.img, "b.s3.eu.amazonaws.com", 21));
	assert_false(image_name_below(c.img, "org", 3));
	compiled_clear(&c);
	c = with_pattern("**.cilium.io");
	assert_true(image_name_below(c.img, "a.b.cilium.io", 13));
	assert_false(image_name_below(c.img, "cilium.com", 10));
	compiled_clear(&c);
}

static void odd_bytes(void **state)
{
	struct compiled c = with_pattern("**.cilium.io");

	(void)state;
	assert_int_equal(test_name(c.img, "a b.cilium.io"), '-');
	assert_int_equal(test_name(c.img, "\xff.cilium.io"), '-');
	assert_int_equal(test_name(c.img, "..cilium.io"), '-');
	compiled_clear(&c);
	c = with_pattern("*");
	assert_int_equal(test_name(c.img, "a b.cilium.io"), 'O');
	compiled_clear(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(matching), cmocka_unit_test(validation),
					    cmocka_unit_test(below), cmocka_unit_test(odd_bytes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
