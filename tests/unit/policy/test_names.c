/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/policy/policy_test.h"
#include "base/strbuf.h"
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
	{ "*.", "", "io", "cilium.io", NULL, NULL },
	{ "*.com.", "a.com", NULL, "com", "a.b.com", NULL },
	{ "**.com", "a.com", "a.b.com", NULL, "com", "a.comm", NULL },
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
	static const char x256[] = "aaaaaaaaaaaaaaa.bbbbbbbbbbbbbbb.ccccccccccccccc.ddddddddddddddd."
				   "aaaaaaaaaaaaaaa.bbbbbbbbbbbbbbb.ccccccccccccccc.ddddddddddddddd."
				   "aaaaaaaaaaaaaaa.bbbbbbbbbbbbbbb.ccccccccccccccc.ddddddddddddddd."
				   "aaaaaaaaaaaaaaa.bbbbbbbbbbbbbbb.ccccccccccccccc.dddddddddddddddd";
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
		{ NAME_CILIUM_NAME, "cilium.io.", NAME_OK },
		{ NAME_CILIUM_NAME, "*cilium.io", -EINVAL },
		{ NAME_CILIUM_NAME, "localhost", NAME_OK },
		{ NAME_CILIUM_NAME,
		  "b\xc3\xbc"
		  "cher.de",
		  -EINVAL },
		{ NAME_CILIUM_NAME, "a?.io", -EINVAL },
		{ NAME_CILIUM_NAME, x256, -EINVAL },
		{ NAME_CILIUM_NAME, x64, NAME_NEVER },
		{ NAME_CILIUM_PATTERN, "*._cilium.io", NAME_OK },
		{ NAME_CILIUM_PATTERN, "*.cilium.io", NAME_OK },
		{ NAME_CILIUM_PATTERN, "*cilium.io", NAME_OK },
		{ NAME_CILIUM_PATTERN, ".", -EINVAL },
		{ NAME_CILIUM_PATTERN, "", -EINVAL },
		{ NAME_CILIUM_PATTERN, "a..*", -EINVAL },
		{ NAME_CILIUM_PATTERN, ".*", -EINVAL },
		{ NAME_CILIUM_PATTERN, "a{1,2}.cilium.io.", -EINVAL },
		{ NAME_CILIUM_PATTERN, "[a-z]*.cilium.io.", -EINVAL },
		{ NAME_CILIUM_PATTERN, "a b.io", -EINVAL },
		{ NAME_AWS, "*.example.com", NAME_OK },
		{ NAME_AWS, "_dmarc.example.com", NAME_OK },
		{ NAME_AWS, "EXAMPLE.com.", NAME_OK },
		{ NAME_AWS, "a_b.example.com", NAME_OK },
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

/*
 * The upstream proxy matrix (TestPrivilegedFullPathDependence), as semantics section 4 has it: a rule adds its names for
 * every resolver on port 53 and both protocols, so rows that hang on resolver or protocol differ, and say so. Rules on
 * another port are refused, which proxy_matrix_port_54() shows.
 */
static void proxy_matrix(void **state)
{
#define DNS(to, proto, names)                                                                                          \
	"  - toCIDR: [" to "/32]\n    toPorts: [{ports: [{port: \"53\", protocol: " proto "}], rules: {dns: [" names   \
	"]}}]\n"
#define N(name) "{matchName: " name "}"
#define P(text) "{matchPattern: \"" text "\"}"
	static const char ep1[] =
		CNP_HEAD "  egress:\n" DNS("10.0.0.1", "UDP", P("*.ubuntu.com") ", " N("aws.amazon.com"))
			DNS("10.0.0.1", "TCP", N("sub.ubuntu.com")) DNS("10.0.0.2", "UDP", N("cilium.io"));
	static const char ep3[] = CNP_HEAD "  egress:\n" DNS("10.0.0.1", "UDP", N("example.com"))
		DNS("10.0.0.3", "TCP", N("example.com")) "  - toCIDR: [10.0.0.4/32]\n    toPorts: [{ports: [{port: "
							 "\"53\", protocol: UDP}]}]\n";
	static const char ep2[] =
		"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n"
		"metadata: {name: p, namespace: ns}\nspec:\n"
		"  endpointSelector: {matchLabels: {app: another}}\n  egress:\n" DNS("10.0.0.2", "UDP", N("cilium.io"));
	static const char ep3_all[] = CNP_HEAD "  egress:\n" DNS("10.0.0.3", "UDP", P("*"));
	static const struct {
		int row;
		const char *policy, *name;
		char want;
		const char *upstream; /* where it differs */
	} rows[] = {
		{ 1, ep1, "www.ubuntu.com", 'a', NULL },
		{ 2, ep1, "www.ubuntu.com", 'a', "deny: per protocol" },
		{ 3, ep1, "sub.ubuntu.com", 'a', NULL },
		{ 4, ep1, "sub.ubuntu.com", 'a', NULL },
		{ 6, ep1, "cilium.io", 'a', NULL },
		{ 7, ep1, "aws.amazon.com", 'a', "deny: per resolver" },
		{ 10, ep3, "example.com", 'a', NULL },
		{ 11, ep3, "aws.amazon.com", '-', NULL },
		{ 9, ep2, "cilium.io", 'o', "deny: nothing selects EP2, whose DNS is not touched here" },
		{ 13, ep3, "example.com", 'a', "deny: per resolver" },
		{ 14, ep3, "example.com", 'a', NULL },
		{ 15, ep3, "example.com", 'a', NULL },
		{ 16, ep3, "amazon.com", '-', NULL },
		{ 16, ep3_all, "amazon.com", 'a', "deny: per protocol" },
		{ 17, ep3, "example.com", 'a', "deny: per resolver" },
		{ 18, ep3, "example.com", 'a', NULL },
		{ 18, ep3, "other.example", '-',
		  "allow: port 53 without DNS rules; here the proxy judges every question" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct compiled c = test_compile(rows[i].policy, NULL);
		char got = c.result == 1 ? 'o' : test_name(c.img, rows[i].name);

		if (got != rows[i].want)
			fail_msg("row %d: %s is %c", rows[i].row, rows[i].name, got);
		compiled_clear(&c);
	}
}

/* Rows 5, 8 and 12: names for port 54 are refused where they are written, and close who they are for. */
static void proxy_matrix_port_54(void **state)
{
	static const char *const names[] = { "cilium.io", "example.com", "example.com" };
	static const char text[] =
		CNP_HEAD "  egress:\n  - toPorts: [{ports: [{port: \"54\", protocol: UDP}], rules: {dns: "
			 "[" N("example.com") "]}}]\n";
	CLEANUP(store_freep) struct store *s = NULL;
	struct image *img = NULL;
	struct diags d = {};
	uint8_t *data = NULL;
	size_t len;

	(void)state;
	assert_int_equal(store_new(&s), 0);
	assert_int_equal(test_update(s, "f", text, &d), 1);
	assert_true(has_diag(&d, "f:7:31: error", "expected port \"53\""));
	assert_int_equal(compile(s, &web, NULL, &d, &data, &len), 0);
	assert_int_equal(image_open(data, len, &img), 0);
	assert_true(image_flags(img) & IMAGE_REFUSED);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(test_name(img, names[i]), '-');
	assert_int_equal(test_verdict(img, "10.0.0.1", IPPROTO_UDP, 54, false), 'D');
	image_freep(&img);
	free(data);
	diags_clear(&d);
}

/* Upstream's rule set of several patterns: what one of them matches is in, what none does is not. */
static void rule_set(void **state)
{
	static const char *const in[] = { "example.name",    "demo.io",	    "demoo.tld",
					  "testpattern.com", "pattern.com", "a.b.cmiddle.io" };
	static const char *const out[] = { "eexample.name", "demo.ioo", "test.ppattern.com", "b.cmiddle.io" };
	struct compiled c = test_compile(
		CNP_HEAD "  egress:\n  - toFQDNs: [" N("example.name.") ", " N("example.com.") ", " N(
			"demo.io.") ", " N("demoo.tld.") ", " P("*pattern.com") ", " P("*.*.*middle.*") "]\n",
		NULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(in); i++)
		assert_int_equal(test_name(c.img, in[i]), 'O');
	for (size_t i = 0; i < ARRAY_SIZE(out); i++)
		assert_int_equal(test_name(c.img, out[i]), '-');
	compiled_clear(&c);
}

static int collect(const struct image_name *name, void *context)
{
	char *out = context;

	strcat(strcat(out, name->pattern), name->set ? "+ " : "? ");
	return 0;
}

static void patterns_come_back(void **state)
{
	struct compiled c = test_compile(
		CNP_HEAD
		"  egress: [{toFQDNs: [{matchName: A.b.}, {matchPattern: \"**.c.d\"}, {matchPattern: \"*.x*y.d\"}]},"
		" {toPorts: [{ports: [{port: \"53\"}], rules: {dns: [{matchPattern: \"*\"}]}}]}]\n",
		NULL);
	char got[256] = "";

	(void)state;
	assert_int_equal(image_each_name(c.img, collect, got), 0);
	assert_non_null(strstr(got, "*? "));
	assert_non_null(strstr(got, "a.b+ "));
	assert_non_null(strstr(got, "**.c.d+ "));
	assert_non_null(strstr(got, "*.x*y.d+ "));
	compiled_clear(&c);
}

/* The one-pattern matcher, which compiling and traces use, is the trie's equal. */
static void both_matchers_agree(void **state)
{
	static const char *const patterns[] = {
		"*", "**.a.b", "*.a.b", "a*.b", "*a.b", "x.*.b", "a.b", "*.*", "**.*.b"
	};
	static const char *const names[] = {
		"", "b", "a.b", "xa.b", "x.a.b", "y.x.a.b", "x.y.b", "aa.b", "a..b", ".b"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		struct compiled c = with_pattern(patterns[i]);
		struct name_view view;
		struct name_pattern p;
		const char *why;

		assert_int_equal(name_pattern_parse(NAME_CILIUM_PATTERN, patterns[i], &p, &why), 0);
		view = name_view_of(&p);
		for (size_t k = 0; k < ARRAY_SIZE(names); k++)
			if (name_view_matches(&view, names[k], strlen(names[k])) != (test_name(c.img, names[k]) == 'O'))
				fail_msg("%s and %s", patterns[i], names[k]);
		compiled_clear(&c);
	}
}

static void random_label(unsigned int *seed, bool pattern, char *out)
{
	size_t n = 3 + (size_t)rand_r(seed) % 5;

	for (size_t i = 0; i < n; i++)
		*out++ = pattern && i % 3 == 1 && rand_r(seed) % 2 ? '*' : "abcdefg-"[rand_r(seed) % 8];
	*out = '\0';
}

/* Wildcards inside labels, very many below one name, against one pattern at a time. */
static void many_globs(void **state)
{
	CLEANUP(strbuf_clear) struct strbuf text = {};
	static struct name_pattern patterns[600];
	unsigned int seed = 11;
	size_t matched = 0;
	struct compiled c;

	(void)state;
	strbuf_addf(&text, CNP_HEAD "  egress:\n  - toFQDNs:\n");
	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		char label[16], full[64];
		const char *why;

		random_label(&seed, true, label);
		snprintf(full, sizeof(full), "%s%s.c%s", i % 5 ? "" : "**.", label, i % 7 ? "" : "*d.e");
		assert_int_equal(name_pattern_parse(NAME_CILIUM_PATTERN, full, &patterns[i], &why), 0);
		strbuf_addf(&text, "    - {matchPattern: \"%s\"}\n", full);
	}
	strbuf_add(&text, "", 1);
	c = test_compile(text.data, NULL);
	for (int i = 0; i < 20000; i++) {
		char label[16], name[64];
		bool want = false;

		random_label(&seed, false, label);
		snprintf(name, sizeof(name), "%s%s.c%s", i % 3 ? "" : "x.", label, i % 2 ? "" : "ad.e");
		for (size_t k = 0; k < ARRAY_SIZE(patterns) && !want; k++) {
			const struct name_view view = name_view_of(&patterns[k]);

			want = name_view_matches(&view, name, strlen(name));
		}
		if ((test_name(c.img, name) == 'O') != want)
			fail_msg("%s: %d", name, want);
		matched += want;
	}
	if (matched < 500 || matched > 19900)
		fail_msg("%zu of 20000 names matched", matched);
	compiled_clear(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(proxy_matrix),
					    cmocka_unit_test(proxy_matrix_port_54),
					    cmocka_unit_test(rule_set),
					    cmocka_unit_test(patterns_come_back),
					    cmocka_unit_test(both_matchers_agree),
					    cmocka_unit_test(many_globs),
					    cmocka_unit_test(matching),
					    cmocka_unit_test(validation),
					    cmocka_unit_test(below),
					    cmocka_unit_test(odd_bytes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
