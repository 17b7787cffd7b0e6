/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "policy/endpoints_file.h"
#include "base/addr.h"
#include "base/cleanup.h"

#define GOOD "{name: a, namespace: q, interface: eni1, addresses: [10.0.0.1]}"

static void test_reads(void **state)
{
	const char *text = "endpoints:\n"
			   "- {name: a, namespace: q, labels: {x: w, tier: \"1\"}, interface: eni1, addresses: "
			   "[10.0.0.1, \"fd00::1\"]}\n"
			   "- name: b\n  namespace: q\n  interface: eni2\n  addresses: [10.0.0.2]\n";
	CLEANUP(endpoints_file_freep) struct endpoints_file *list = NULL;
	struct diags diags = {};
	char buf[ADDR_TEXT_MAX];

	(void)state;
	assert_int_equal(endpoints_file_read("e.yaml", text, strlen(text), &diags, &list), 0);
	assert_int_equal(list->endpoints.count, 2);
	assert_string_equal(list->endpoints.items[0].name, "a");
	assert_int_equal(list->endpoints.items[0].nlabels, 2);
	assert_string_equal(list->endpoints.items[0].labels[1].value, "1");
	assert_string_equal(addr_format(&list->endpoints.items[0].addrs[1], buf), "fd00::1");
	assert_string_equal(list->endpoints.items[1].interface, "eni2");
	assert_int_equal(list->endpoints.items[1].line, 3);
	diags_clear(&diags);
}

static void test_empty(void **state)
{
	static const char *const texts[] = { "", "endpoints:\n", "endpoints: []\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		CLEANUP(endpoints_file_freep) struct endpoints_file *list = NULL;
		struct diags diags = {};

		assert_int_equal(endpoints_file_read("e", texts[i], strlen(texts[i]), &diags, &list), 0);
		assert_int_equal(list->endpoints.count, 0);
	}
}

/* In any order, and beside one document of endpoints. */
static void test_objects(void **state)
{
	const char *text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: q}\nstatus: {podIP: 10.0.0.7}\n"
			   "---\nendpoints:\n- " GOOD "\n---\napiVersion: v1\nkind: List\nitems:\n"
			   "- {apiVersion: v1, kind: Namespace, metadata: {name: q}}\n---\n";
	CLEANUP(endpoints_file_freep) struct endpoints_file *f = NULL;
	struct diags diags = {};

	(void)state;
	assert_int_equal(endpoints_file_read("e", text, strlen(text), &diags, &f), 0);
	assert_int_equal(f->endpoints.count, 1);
	assert_int_equal(f->objects.npods, 1);
	assert_int_equal(f->objects.nnamespaces, 1);
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *text;
		const char *where;
		const char *words;
	} bad[] = {
		{ "endpoint: []\n", "1:1", "endpoint" },
		{ "endpoints:\n- " GOOD
		  "\n- {name: b, namespace: q, colour: blue, interface: eni2, addresses: [10.0.0.2]}\n",
		  "3:27", "colour" },
		{ "endpoints:\n- {namespace: q, interface: e, addresses: [10.0.0.2]}\n", "2:3", "name" },
		{ "endpoints:\n- {name: b, namespace: q, addresses: [10.0.0.2]}\n", "2:3",
		  "no 'interface', and no 'cgroup'" },
		{ "endpoints:\n- {name: b, namespace: q, interface: e}\n", "2:3", "no 'addresses', and no 'cgroup'" },
		{ "endpoints:\n- {name: b, namespace: q, interface: e, addresses: []}\n", "2:3", "no address" },
		{ "endpoints:\n- {name: b, namespace: q, interface: e, addresses: [10.0.0.300]}\n", "2:53",
		  "10.0.0.300" },
		{ "endpoints:\n- {name: b, namespace: q, interface: e, addresses: [127.0.0.1]}\n", "2:53",
		  "127.0.0.1" },
		{ "endpoints:\n- {name: b, namespace: q, interface: a-name-too-long-for-it, addresses: [10.0.0.2]}\n",
		  "2:38", "interface name" },
		{ "endpoints:\n- {name: a/b, namespace: q, interface: e, addresses: [10.0.0.2]}\n", "2:10", "'/'" },
		{ "endpoints:\n- {name: b, namespace: q, cgroup: sys/fs/cgroup/b}\n", "2:35", "absolute path" },
		{ "endpoints:\n- {name: b, namespace: q, cgroup: /sys/fs/cgroup/../b}\n", "2:35", "absolute path" },
		{ "endpoints:\n- {name: b, cgroup: /c}\n", "2:3", "no 'namespace'" },
		{ "endpoints:\n- {name: b, namespace: q, cgroup: /c, interface: e}\n", "2:35", "either a cgroup" },
		{ "endpoints:\n- {name: b, namespace: q, cgroup: /c}\n- {name: d, namespace: q, cgroup: /c/d/}\n",
		  "3:3", "lies within that of the endpoint in line 2" },
		{ "endpoints:\n- " GOOD "\n- {name: b, namespace: q, interface: eni1, addresses: [10.0.0.2]}\n", "3:3",
		  "line 2" },
		{ "endpoints:\n- " GOOD "\n- {name: a, namespace: q, interface: eni2, addresses: [10.0.0.2]}\n", "3:3",
		  "q/a" },
		{ "endpoints:\n- " GOOD "\n- {name: b, namespace: q, interface: eni2, addresses: [10.0.0.1]}\n", "3:3",
		  "10.0.0.1" },
		{ "endpoints:\n- " GOOD "\n---\nendpoints: []\n", "4:1", "second" },
		{ "endpoints: []\n---\nother: 1\n", "3:1", "second" },
		{ "endpoints: []\n---\napiVersion: v1\nkind: ConfigMap\n", "3:1", "ConfigMap" },
		{ "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: q}}\n"
		  "- {apiVersion: v1, kind: Secret, metadata: {name: q}}\n",
		  "5:3", "Secret" },
		{ "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nstatus: {podIP: here}\n", "4:17", "here" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct endpoints_file *list = NULL;
		struct diags diags = {};
		char line[1024], expected[64];

		assert_int_equal(endpoints_file_read("e", bad[i].text, strlen(bad[i].text), &diags, &list), -EINVAL);
		assert_null(list);
		assert_true(diags.count > 0);
		diag_format(&diags.items[0], line, sizeof(line));
		snprintf(expected, sizeof(expected), "e:%s: ", bad[i].where);
		if (strncmp(line, expected, strlen(expected)) != 0 || !strstr(line, bad[i].words))
			fail_msg("case %zu: '%s' is not '%s…%s…'", i, line, expected, bad[i].words);
		diags_clear(&diags);
	}
}

static void takes_cgroups(void **state)
{
	static const char text[] =
		"endpoints:\n- {name: b, namespace: q, cgroup: /c/b/}\n- {name: d, namespace: q, cgroup: /c/bd}\n";
	struct endpoints_file *f = NULL;
	struct diags diags = {};

	(void)state;
	assert_int_equal(endpoints_file_read("f", text, strlen(text), &diags, &f), 0);
	assert_int_equal(f->endpoints.count, 2);
	assert_string_equal(f->endpoints.items[0].cgroup, "/c/b");
	assert_string_equal(f->endpoints.items[0].interface, "");
	assert_int_equal(f->endpoints.items[0].naddrs, 0);
	endpoints_file_freep(&f);
	diags_clear(&diags);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_cgroups), cmocka_unit_test(test_reads),	  cmocka_unit_test(test_empty),
		cmocka_unit_test(test_objects),	 cmocka_unit_test(test_mistakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
