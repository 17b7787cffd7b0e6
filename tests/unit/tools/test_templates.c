/* SPDX-License-Identifier: Apache-2.0 */
/* policy/templates: each passes `policy check` without a warning, and both dialects of one say the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "tests/unit/tools/capture.h"
#include "tests/unit/tools/folder.h"
#include "tests/unit/tools/verdicts.h"
#include "tools/bpfctl/out.h"
#include "tools/bpfctl/tree.h"

#define TEMPLATES TEST_SOURCE_DIR "/../policy/templates"

static const char *const templates[] = { "admin",    "aws-services",	   "dev-tools",
					 "llm-apis", "package-registries", "sandbox-llm-allowlist",
					 NULL };

static const char inventory[] =
	"endpoints:\n"
	"- {namespace: agent-sandboxes, name: sandbox, labels: {egress-tier: sandbox}, addresses: [10.0.0.1]}\n"
	"- {namespace: agent-sandboxes, name: aws, labels: {allowlist: aws-services}, addresses: [10.0.0.2]}\n"
	"- {namespace: agent-sandboxes, name: tools, labels: {allowlist: dev-tools}, addresses: [10.0.0.3]}\n"
	"- {namespace: agent-sandboxes, name: llm, labels: {allowlist: llm-apis}, addresses: [10.0.0.4]}\n"
	"- {namespace: agent-sandboxes, name: packages, labels: {allowlist: package-registries, egress-tier: sandbox}, "
	"addresses: [10.0.0.5]}\n"
	"- {namespace: agent-sandboxes, name: bare, labels: {}, addresses: [10.0.0.6]}\n"
	"- {namespace: default, name: web, labels: {egress-tier: sandbox}, addresses: [10.0.0.7]}\n"
	"- {namespace: kube-system, name: coredns, labels: {k8s-app: kube-dns}, addresses: [10.0.0.10]}\n";

static const char *const pods[] = { "agent-sandboxes/sandbox",
				    "agent-sandboxes/aws",
				    "agent-sandboxes/tools",
				    "agent-sandboxes/llm",
				    "agent-sandboxes/packages",
				    "agent-sandboxes/bare",
				    "default/web",
				    "kube-system/coredns",
				    NULL };
static const char *const ports[] = { "443", "80", "22", "53/UDP", "53/TCP", "443/UDP", "8/ICMP", NULL };

#define MAX_DESTINATIONS 256

/* What is asked beside the names of the templates. */
static const char *const others[] = {
	"example.com",
	"a.b.s3.us-east-1.amazonaws.com",
	"bucket.s3.eu-west-1.amazonaws.com",
	"123456789012.dkr.ecr.us-west-2.amazonaws.com",
	"sts.eu-west-1.amazonaws.com",
	"test.pypi.org",
	"x.github.com",
	"amazonaws.com",
	"kubernetes.default.svc.cluster.local",
	"169.254.169.254",
	"fd00:ec2::254",
	"169.254.170.2",
	"169.254.170.23",
	"fd00:ec2::23",
	"169.254.1.1",
	"172.20.0.10",
	"10.100.0.10",
	"10.0.0.10",
	"10.0.0.7",
	"8.8.8.8",
	"2001:4860:4860::8888",
};

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

static void assert_checks(const char *path)
{
	_cleanup_free_ char *out = NULL;
	_cleanup_json_ json_t *o = NULL;
	const json_t *d;
	size_t i;

	assert_int_equal(capture_words(&out, "policy", "check", "-o", "json", path, NULL), CTL_OK);
	o = json_loads(out, 0, NULL);
	assert_non_null(o);
	json_array_foreach(json_object_get(o, "diagnostics"), i, d)
	{
		if (strcmp(get_text(d, "level"), "notice") != 0)
			fail_msg("%s:%lld: %s", get_text(d, "file"), (long long)get_number(d, "line"),
				 get_text(d, "message"));
	}
}

static void test_check(void **state)
{
	char path[512];

	(void)state;
	for (size_t i = 0; templates[i]; i++) {
		snprintf(path, sizeof(path), "%s/cilium/%s.yaml", TEMPLATES, templates[i]);
		assert_checks(path);
		snprintf(path, sizeof(path), "%s/anp/%s.yaml", TEMPLATES, templates[i]);
		assert_checks(path);
	}
	/* All of a dialect together too. */
	assert_checks(TEMPLATES "/cilium");
	assert_checks(TEMPLATES "/anp");
}

struct destinations {
	const char *items[MAX_DESTINATIONS + 1];
	size_t count;
	char *owned[MAX_DESTINATIONS];
	size_t nowned;
};

/* A wildcard is asked one and two labels deep. */
static void add_name(const struct tree_name *n, void *context)
{
	static const char *const instances[] = { "one.", "two.labels." };
	struct destinations *d = context;

	for (size_t i = 0; i < (n->pattern.deep ? 2 : 1); i++) {
		assert_true(d->count < MAX_DESTINATIONS && d->nowned < MAX_DESTINATIONS);
		assert_true(asprintf(&d->owned[d->nowned], "%s%s", n->pattern.deep ? instances[i] : "",
				     n->pattern.text) > 0);
		d->items[d->count++] = d->owned[d->nowned++];
	}
}

static void add_entry(const struct tree_entry *e, void *context)
{
	tree_each_name(e, add_name, context);
}

static void add_file(struct destinations *d, const char *path)
{
	CLEANUP(tree_clear) struct tree t = {};
	_cleanup_free_ char *text = NULL;
	size_t len;

	assert_int_equal(file_read(-1, path, 1 << 20, &text, &len), 0);
	assert_int_equal(tree_add(&t, path, text, len), 0);
	assert_int_equal(t.count, 1);
	tree_each_entry(&t.items[0], add_entry, d);
}

static void assert_equal_effect(const char *template)
{
	struct destinations d = {};
	char files[2][512];
	_cleanup_free_ char *a = NULL, *b = NULL;
	const char *first[] = { files[0], inventory_file, NULL }, *second[] = { files[1], inventory_file, NULL };

	snprintf(files[0], sizeof(files[0]), "%s/cilium/%s.yaml", TEMPLATES, template);
	snprintf(files[1], sizeof(files[1]), "%s/anp/%s.yaml", TEMPLATES, template);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		d.items[d.count++] = others[i];
	add_file(&d, files[0]);
	add_file(&d, files[1]);
	a = verdicts_of(first, pods, d.items, ports);
	b = verdicts_of(second, pods, d.items, ports);
	assert_same_verdicts(template, a, b);
	/* It says something, and not everything. */
	assert_non_null(strstr(a, " denied"));
	assert_non_null(strstr(a, " allowed"));
	for (size_t i = 0; i < d.nowned; i++)
		free(d.owned[i]);
}

static void test_equal(void **state)
{
	(void)state;
	for (size_t i = 0; templates[i]; i++)
		assert_equal_effect(templates[i]);
}

/* The default and the admin policy together, as a cluster has them. */
static void test_together(void **state)
{
	static const char *const sandbox[] = { "agent-sandboxes/sandbox", NULL };
	static const char *const asked[] = { "sts.amazonaws.com", "169.254.169.254", "fd00:ec2::254", "169.254.170.23",
					     NULL };
	static const char *const port[] = { "443", "80", NULL };
	static const char expected[] = "agent-sandboxes/sandbox sts.amazonaws.com 443: allowed askable\n"
				       "agent-sandboxes/sandbox sts.amazonaws.com 80: denied askable\n"
				       "agent-sandboxes/sandbox 169.254.169.254 443: denied\n"
				       "agent-sandboxes/sandbox 169.254.169.254 80: denied\n"
				       "agent-sandboxes/sandbox fd00:ec2::254 443: denied\n"
				       "agent-sandboxes/sandbox fd00:ec2::254 80: denied\n"
				       "agent-sandboxes/sandbox 169.254.170.23 443: denied\n"
				       "agent-sandboxes/sandbox 169.254.170.23 80: allowed\n";
	const char *cilium[] = { TEMPLATES "/cilium", inventory_file, NULL };
	const char *anp[] = { TEMPLATES "/anp", inventory_file, NULL };
	_cleanup_free_ char *a = verdicts_of(cilium, sandbox, asked, port);
	_cleanup_free_ char *b = verdicts_of(anp, sandbox, asked, port);

	(void)state;
	assert_string_equal(a, expected);
	assert_string_equal(b, expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_together),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
