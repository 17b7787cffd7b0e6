/* SPDX-License-Identifier: Apache-2.0 */
/* `policy diff`: what a change opens and closes, exactly; and that it agrees with the verdicts on both sides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "tests/unit/tools/capture.h"
#include "tests/unit/tools/folder.h"
#include "tools/bpfctl/out.h"

#define POLICY(spec)                                                                                                   \
	"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\nspec:\n  "           \
	"endpointSelector: {matchLabels: {tier: sandbox}}\n" spec

static const char inventory[] = "endpoints:\n"
				"- {namespace: ns, name: a, labels: {tier: sandbox}, addresses: [10.0.0.1]}\n"
				"- {namespace: ns, name: b, labels: {tier: sandbox}, addresses: [10.0.0.2]}\n"
				"- {namespace: ns, name: c, labels: {tier: none}, addresses: [10.0.0.3]}\n";

static struct folder folder;
static const char *inventory_file;

static int set_up(void **state)
{
	(void)state;
	folder_make(&folder);
	inventory_file = folder_add(&folder, "inventory.yaml", inventory);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	folder_remove(&folder);
	return 0;
}

static void add_texts(char *out, size_t size, const char *before, const json_t *list)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		size_t len = strlen(out);

		snprintf(out + len, size - len, "%s%s", i ? "," : before, json_string_value(item));
	}
}

static void add_changes(char *out, size_t size, char sign, const json_t *list)
{
	const json_t *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		size_t len = strlen(out);
		const char *name = get_text(o, "name"), *scope = get_text(o, "scope");

		snprintf(out + len, size - len, "%s%c%s", len ? " " : "", sign,
			 *name ? name : get_text(o, "destination"));
		add_texts(out, size, "!", json_object_get(o, "except"));
		len = strlen(out);
		snprintf(out + len, size - len, "%s", *scope && strcmp(scope, "any") ? "@" : "");
		len = strlen(out);
		snprintf(out + len, size - len, "%s", strcmp(scope, "any") ? scope : "");
		add_texts(out, size, ":", json_object_get(o, "ports"));
	}
}

/* "+DESTINATION!EXCEPT@SCOPE:PORTS" of the endpoints ns/a and ns/b. */
static void assert_diff(const char *was, const char *is, const char *expected)
{
	static int number;
	_cleanup_free_ char *out = NULL;
	_cleanup_json_ json_t *o = NULL;
	char names[2][32], found[2048] = "";
	const json_t *groups, *group;
	enum ctl_exit code;

	snprintf(names[0], sizeof(names[0]), "was-%d.yaml", number);
	snprintf(names[1], sizeof(names[1]), "is-%d.yaml", number++);
	code = capture_words(&out, "policy", "diff", folder_add(&folder, names[0], was),
			     folder_add(&folder, names[1], is), "-f", inventory_file, "--exit-code", "-o", "json",
			     NULL);
	o = json_loads(out, 0, NULL);
	assert_non_null(o);
	groups = json_object_get(o, "changes");
	group = json_array_get(groups, 0);
	assert_true(json_array_size(groups) <= 1);
	assert_int_equal(json_array_size(json_object_get(group, "endpoints")), group ? 2 : 0);
	add_changes(found, sizeof(found), '+', json_object_get(group, "allowed"));
	add_changes(found, sizeof(found), '-', json_object_get(group, "denied"));
	assert_string_equal(found, expected);
	assert_int_equal(code, strchr(expected, '+') ? CTL_NO : CTL_OK);
}

#define EVERY ":any/TCP,any/UDP,any/SCTP,any/ICMP,any/ICMPv6"

static void test_addresses(void **state)
{
	(void)state;
	assert_diff(POLICY("  egress: [{}]\n"), POLICY("  egress: [{}]\n"), "");
	assert_diff(
		POLICY("  egress: [{}]\n"),
		POLICY("  egress:\n  - toCIDR: [192.0.2.0/24]\n    toPorts: [{ports: [{port: \"80\", protocol: TCP}, "
		       "{port: \"90\", endPort: 99, protocol: TCP}]}]\n"),
		"+192.0.2.0/24@outside:80/TCP,90-99/TCP");
	assert_diff(POLICY("  egress:\n  - toCIDR: [192.0.2.0/24]\n"),
		    POLICY("  egress:\n  - toCIDRSet: [{cidr: 192.0.2.0/24, except: [192.0.2.8/29]}]\n"),
		    "-192.0.2.8/29@outside" EVERY);
	assert_diff(POLICY("  egress:\n  - toCIDR: [192.0.2.0/24]\n"),
		    POLICY("  egress:\n  - toCIDR: [192.0.0.0/16]\n  egressDeny:\n  - toCIDR: [192.0.2.4/32]\n"),
		    "+192.0.0.0/16!192.0.2.0/24@outside" EVERY " -192.0.2.4/32@outside" EVERY);
	assert_diff(POLICY("  egress:\n  - toEntities: [all]\n"), POLICY("  egress:\n  - toEntities: [world]\n"),
		    "-::/0@cluster" EVERY " -0.0.0.0/0@cluster" EVERY);
	/* The same prefixes cut otherwise are no change. */
	assert_diff(POLICY("  egress:\n  - toCIDR: [192.0.2.0/24]\n"),
		    POLICY("  egress:\n  - toCIDR: [192.0.2.0/25, 192.0.2.128/25]\n"), "");
}

static void test_names(void **state)
{
	(void)state;
	assert_diff(POLICY("  egress:\n  - toFQDNs: [{matchName: a.org}]\n"),
		    POLICY("  egress:\n  - toFQDNs: [{matchName: a.org}, {matchName: b.org}]\n    toPorts: [{ports: "
			   "[{port: \"443\", protocol: TCP}]}]\n"),
		    "+b.org:443/TCP -a.org:0-442/TCP,444-65535/TCP,any/UDP,any/SCTP,any/ICMP,any/ICMPv6");
	assert_diff(POLICY("  egress:\n  - toFQDNs: [{matchPattern: \"*.a.org\"}, {matchName: x.a.org}]\n"),
		    POLICY("  egress:\n  - toFQDNs: [{matchPattern: \"**.a.org\"}]\n"), "+**.*.a.org" EVERY);
	/* A name that any address rule opens already is no news but that it may be asked. */
	assert_diff(POLICY("  egress:\n  - toEntities: [world]\n  - toFQDNs: [{matchName: a.org}]\n"),
		    POLICY("  egress:\n  - toEntities: [world]\n  - toFQDNs: [{matchName: b.org}]\n"),
		    "+b.org:DNS question -a.org:DNS question");
	assert_diff(POLICY("  egress: [{}]\n"), POLICY("  egress:\n  - toFQDNs: [{matchName: a.org}]\n"),
		    "+any@dns-proxy:53/TCP,53/UDP +a.org" EVERY);
}

static void test_selection(void **state)
{
	(void)state;
	assert_diff("endpoints: []\n", POLICY("  egress:\n  - toEntities: [world]\n"),
		    "-::/0@cluster" EVERY " -0.0.0.0/0@cluster" EVERY);
	assert_diff("endpoints: []\n", POLICY("  egress:\n  - toEntities: [all]\n  - toFQDNs: [{matchName: a.org}]\n"),
		    "-every name that no rule lists:DNS question");
}

/* What is refused denies: that is no change, and the answer is no. */
static void test_refused(void **state)
{
	const char *good = folder_add(&folder, "good.yaml", POLICY("  egress: [{}]\n"));
	const char *bad = folder_add(&folder, "bad.yaml", POLICY("  egress:\n  - toNonsense: 1\n"));
	_cleanup_free_ char *a = NULL, *b = NULL;
	_cleanup_json_ json_t *o = NULL;

	(void)state;
	assert_int_equal(capture_words(&a, "policy", "diff", good, bad, "-f", inventory_file, "-o", "json", NULL),
			 CTL_NO);
	o = json_loads(a, 0, NULL);
	assert_int_equal(get_number(o, "refused"), 1);
	assert_int_equal(json_array_size(json_object_get(o, "changes")), 0);
	assert_int_equal(capture_words(&b, "policy", "diff", bad, good, "-f", inventory_file, NULL), CTL_OK);
}

static void test_what_is_missing(void **state)
{
	_cleanup_free_ char *a = NULL, *b = NULL, *c = NULL;
	const char *file = folder_add(&folder, "lone.yaml", POLICY("  egress: [{}]\n"));

	(void)state;
	assert_int_equal(capture_words(&a, "policy", "diff", file, file, NULL), CTL_UNREACHABLE);
	assert_int_equal(capture_words(&b, "policy", "diff", file, NULL), CTL_USAGE);
	assert_int_equal(capture_words(&c, "policy", "diff", file, file, "-f", inventory_file, NULL), CTL_OK);
	assert_non_null(strstr(c, "nothing is newly allowed"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),	cmocka_unit_test(test_names),
		cmocka_unit_test(test_selection),	cmocka_unit_test(test_refused),
		cmocka_unit_test(test_what_is_missing),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
