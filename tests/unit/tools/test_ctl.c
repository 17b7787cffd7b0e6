/* SPDX-License-Identifier: Apache-2.0 */
/* Command line, exit codes, output forms, and the words for the kernel's numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "bpf/abi_names.h"
#include "tests/unit/tools/capture.h"
#include "tools/bpfctl/images.h"
#include "tools/bpfctl/lines.h"
#include "tools/bpfctl/out.h"
#include "tools/bpfctl/tables.h"

static void test_exit_codes(void **state)
{
	_cleanup_free_ char *a = NULL, *b = NULL, *c = NULL, *d = NULL, *e = NULL, *f = NULL;

	(void)state;
	assert_int_equal(capture_words(&a, "version", NULL), CTL_OK);
	assert_non_null(strstr(a, SLUICE_VERSION));
	assert_int_equal(capture_words(&b, "nonsense", NULL), CTL_USAGE);
	assert_int_equal(capture_words(&c, "endpoint", NULL), CTL_USAGE);
	assert_int_equal(capture_words(&d, "version", "--no-such", NULL), CTL_USAGE);
	assert_int_equal(capture_words(&e, "policy", "check", NULL), CTL_USAGE);
	assert_int_equal(capture_words(&f, "endpoint", "list", "--pin-path", "/nonexistent", NULL), CTL_UNREACHABLE);
	free(f);
	assert_int_equal(capture_words(&f, "endpoint", "list", "--mode", "enforced", NULL), CTL_USAGE);
}

static void test_option_forms(void **state)
{
	static const char *const forms[][3] = {
		{ "-o", "json", "version" },	      { "--version", "-ojson", NULL },
		{ "-ojson", "status", "--version" },  { "version", "-ojson", NULL },
		{ "--output=json", "version", NULL }, { "version", "--output", "json" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		_cleanup_free_ char *out = NULL;
		_cleanup_json_ json_t *o = NULL;

		assert_int_equal(capture_words(&out, forms[i][0], forms[i][1], forms[i][2], NULL), CTL_OK);
		o = json_loads(out, 0, NULL);
		assert_int_equal(get_number(o, "abi"), SLUICE_ABI_VERSION);
	}
}

/* Every command has a help page, and none asks for anything to show it. */
static void test_help_of_every_command(void **state)
{
	(void)state;
	for (const struct ctl_command *const *c = ctl_commands; *c; c++) {
		_cleanup_free_ char *out = NULL, *path = strdup((*c)->path);
		char *second = strchr(path, ' ');

		if (second)
			*second++ = '\0';
		if (second)
			assert_int_equal(capture_words(&out, path, second, "--help", NULL), CTL_OK);
		else
			assert_int_equal(capture_words(&out, path, "--help", NULL), CTL_OK);
		assert_non_null(strstr(out, (*c)->path));
		assert_non_null(strstr(out, "--output"));
	}
}

static void assert_text(const char *bytes, size_t len, const char *expected)
{
	_cleanup_json_ json_t *o = out_text(bytes, len);

	assert_string_equal(json_string_value(o), expected);
}

/* What a pod can put into a name must not reach a terminal, nor break the JSON. */
static void test_text_is_safe(void **state)
{
	(void)state;
	assert_text("plain", 5, "plain");
	assert_text("\x1b[31mred", 8, "\\027[31mred");
	assert_text("a\nb\0c", 5, "a\\010b\\000c");
	assert_text("gr\xc3\xbc\xc3\x9f", 6, "gr\xc3\xbc\xc3\x9f");
	assert_text("\xc3", 1, "\\195");		   /* cut short */
	assert_text("\xc0\xaf", 2, "\\192\\175");	   /* overlong */
	assert_text("\xc2\x9b", 2, "\\194\\155");	   /* C1: CSI */
	assert_text("\xed\xa0\x80", 3, "\\237\\160\\128"); /* surrogate */
	assert_text("\xf4\x90\x80\x80", 4, "\\244\\144\\128\\128");
}

static void test_forms_of_numbers(void **state)
{
	char buf[OUT_AGE_MAX];
	uint64_t n;

	(void)state;
	assert_string_equal(out_age(3.25, buf), "3.2s");
	assert_string_equal(out_age(192, buf), "3m12s");
	assert_string_equal(out_age(7500, buf), "2h5m");
	assert_string_equal(out_age(-1, buf), "0s");
	assert_string_equal(out_bytes(1023, buf), "1023");
	assert_string_equal(out_bytes(1536, buf), "1.5K");
	assert_int_equal(ctl_parse_number("42", 0, 100, &n), 0);
	assert_int_equal(n, 42);
	assert_int_not_equal(ctl_parse_number("101", 0, 100, &n), 0);
	assert_int_not_equal(ctl_parse_number("-1", 0, 100, &n), 0);
	assert_int_not_equal(ctl_parse_number("4x", 0, 100, &n), 0);
	assert_int_not_equal(ctl_parse_number("", 0, 100, &n), 0);
	assert_int_equal(n, 42);
}

static void test_image_file_names(void **state)
{
	uint64_t id = 0;

	(void)state;
	assert_true(image_file_id("000000000000002a.img", &id));
	assert_int_equal(id, 42);
	assert_false(image_file_id("2a.img", &id));
	assert_false(image_file_id("000000000000002a.img.tmp", &id));
	assert_false(image_file_id("settings", &id));
}

static void test_line_filter(void **state)
{
	_cleanup_json_ json_t *line =
		json_loads("{\"flow\": {\"verdict\": \"DROPPED\", \"source\": {\"namespace\": \"a\","
			   " \"pod_name\": \"b\"}, \"destination\": {}}}",
			   0, NULL);
	struct line_filter any = {}, pod = { .pod = "a/b" }, other = { .pod = "a/c" },
			   verdict = { .verdict = "FORWARDED" };

	(void)state;
	assert_true(line_matches(line, &any));
	assert_true(line_matches(line, &pod));
	assert_false(line_matches(line, &other));
	assert_false(line_matches(line, &verdict));
	assert_string_equal(line_verdict("denied"), "DROPPED");
	assert_null(line_verdict("maybe"));
}

static void test_words_for_numbers(void **state)
{
	(void)state;
	assert_string_equal(reason_name(SLUICE_REASON_POLICY_DEFAULT), "POLICY_DENIED");
	assert_string_equal(reason_name(SLUICE_REASON_NEVER_LEAVES), "NEVER_LEAVES");
	assert_string_equal(reason_hubble(SLUICE_REASON_NEVER_LEAVES), "DROP_REASON_UNKNOWN");
	assert_string_equal(reason_hubble(SLUICE_REASON_POLICY_DENY), "POLICY_DENY");
	assert_string_equal(reason_name(7), "UNKNOWN");
	for (int i = SLUICE_REASON_NEVER_LEAVES; i <= SLUICE_REASON_CUT; i++)
		assert_string_not_equal(reason_name((uint8_t)i), "UNKNOWN");
	assert_string_equal(mode_name((enum sluice_mode)9), "unknown");
	assert_int_equal(proto_number("icmpv6"), 58);
	assert_int_equal(proto_number("GRE"), 0);
	for (int i = SLUICE_TOTAL_FORWARDED; i <= SLUICE_TOTAL_DNS_SYNS; i++)
		assert_string_not_equal(total_name((enum sluice_total)i), "unknown");
	for (int i = 0; i <= SLUICE_DNS_STAT_UPSTREAM_PLAIN; i++)
		assert_string_not_equal(dns_stat_name((enum sluice_dns_stat)i), "unknown");
}

static void test_dns_stats(void **state)
{
	static struct sluice_dns_stats s = {
		.rcodes = { [0] = 9, [16] = 2, [20] = 1 },
		.qtypes = { [0] = 4, [28] = 5, [200] = 6 },
		.latency_us = { [0] = 98, [3] = 1, [15] = 1 },
		.latency_sum_us = 7,
	};
	_cleanup_json_ json_t *o = NULL;
	const json_t *latency, *resolvers;

	(void)state;
	s.counts[SLUICE_DNS_STAT_SHARED] = 3;
	s.resolvers[1] = (struct sluice_dns_resolver){
		.addr = { .b = { [10] = 0xff, [11] = 0xff, 10, 0, 0, 53 } }, .port = 53, .sent = 8, .down = 1
	};
	o = dns_stats_json(&s);
	assert_int_equal(get_number(json_object_get(o, "counts"), "shared"), 3);
	assert_int_equal(get_number(json_object_get(o, "counts"), "servfail"), 0);
	assert_int_equal(get_number(json_object_get(o, "rcodes"), "NOERROR"), 9);
	assert_int_equal(get_number(json_object_get(o, "rcodes"), "BADVERS"), 2);
	assert_int_equal(get_number(json_object_get(o, "rcodes"), "RCODE20"), 1);
	assert_int_equal(json_object_size(json_object_get(o, "rcodes")), 3);
	assert_int_equal(get_number(json_object_get(o, "qtypes"), "other"), 4);
	assert_int_equal(get_number(json_object_get(o, "qtypes"), "AAAA"), 5);
	assert_int_equal(get_number(json_object_get(o, "qtypes"), "TYPE200"), 6);
	latency = json_object_get(o, "latency_us");
	assert_int_equal(get_number(latency, "count"), 100);
	assert_int_equal(dns_latency_bound(latency, 50), 100);
	assert_int_equal(dns_latency_bound(latency, 99), 1000);
	assert_int_equal(dns_latency_bound(latency, 100), -1);
	resolvers = json_object_get(o, "resolvers");
	assert_int_equal(json_array_size(resolvers), 1);
	assert_string_equal(get_text(json_array_get(resolvers, 0), "address"), "10.0.0.53");
	assert_true(get_flag(json_array_get(resolvers, 0), "down"));
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_policy_check(void **state)
{
	char dir[] = "/tmp/sluice-check-XXXXXX", good[64], bad[64], other[64];
	_cleanup_free_ char *a = NULL, *b = NULL, *c = NULL;
	_cleanup_json_ json_t *o = NULL;
	const json_t *diag;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(good, sizeof(good), "%s/a.yaml", dir);
	snprintf(bad, sizeof(bad), "%s/b.yml", dir);
	snprintf(other, sizeof(other), "%s/notes.txt", dir);
	write_file(good, "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\n"
			 "spec:\n  endpointSelector: {}\n  egress:\n  - toCIDR: [192.0.2.0/24]\n");
	write_file(bad, "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: q, namespace: ns}\n"
			"spec:\n  endpointSelector: {}\n  egress:\n  - toGroups: [{}]\n");
	write_file(other, "not: a manifest\n");
	assert_int_equal(capture_words(&a, "policy", "check", good, NULL), CTL_OK);
	assert_non_null(strstr(a, "1 file(s), 1 policies: 0 error(s)"));
	assert_int_equal(capture_words(&b, "policy", "check", dir, NULL), CTL_NO);
	assert_non_null(strstr(b, "b.yml:7:5: error: "));
	assert_non_null(strstr(b, "2 file(s)"));
	assert_int_equal(capture_words(&c, "policy", "check", "-o", "json", bad, NULL), CTL_NO);
	o = json_loads(c, 0, NULL);
	assert_false(get_flag(o, "valid"));
	diag = json_array_get(json_object_get(o, "diagnostics"), 0);
	assert_string_equal(get_text(diag, "level"), "error");
	assert_int_equal(get_number(diag, "line"), 7);
	assert_string_equal(get_text(diag, "file"), bad);
	unlink(good);
	unlink(bad);
	unlink(other);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit_codes),
		cmocka_unit_test(test_option_forms),
		cmocka_unit_test(test_help_of_every_command),
		cmocka_unit_test(test_text_is_safe),
		cmocka_unit_test(test_forms_of_numbers),
		cmocka_unit_test(test_image_file_names),
		cmocka_unit_test(test_line_filter),
		cmocka_unit_test(test_words_for_numbers),
		cmocka_unit_test(test_dns_stats),
		cmocka_unit_test(test_policy_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
