/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `policy convert`: what both dialects can say means the same after one conversion and after two; what they cannot is
 * noted; and what is written passes `policy check`.
 */
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
#include "tests/unit/tools/verdicts.h"

static const char inventory[] =
	"endpoints:\n"
	"- {namespace: ns, name: a, labels: {tier: sandbox}, addresses: [10.0.0.1]}\n"
	"- {namespace: ns, name: b, labels: {tier: other}, addresses: [10.0.0.2]}\n"
	"- {namespace: ns, name: web, labels: {app: web}, addresses: [10.0.0.3]}\n"
	"- {namespace: other, name: web, labels: {app: web}, addresses: [10.0.0.4]}\n"
	"- {namespace: kube-system, name: dns, labels: {k8s-app: kube-dns}, addresses: [10.0.0.9]}\n"
	"---\n"
	"{apiVersion: v1, kind: Namespace, metadata: {name: ns, labels: {team: blue}}}\n"
	"---\n"
	"{apiVersion: v1, kind: Namespace, metadata: {name: other, labels: {team: red}}}\n";

static const char *const pods[] = { "ns/a", "ns/b", "other/web", NULL };
static const char *const destinations[] = {
	"pypi.org",    "a.pypi.org",   "a.b.pypi.org",	  "s3.eu.amazonaws.com", "x.example.com", "192.0.2.1",
	"192.0.2.200", "198.51.100.1", "169.254.169.254", "fd00:ec2::254",	 "10.0.0.3",	  "10.0.0.4",
	"10.0.0.9",    "203.0.113.1",  "2001:db8::1",	  "example.com",	 "172.20.0.10",	  "169.254.170.23",
	NULL,
};
static const char *const ports[] = { "443", "80", "8050", "53/UDP", "53", "123/UDP", "8/ICMP", NULL };

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

/* The file of the conversion; `*ret_text` is free()'d by the caller. */
static const char *convert(const char *name, const char *file, const char *to, char **ret_text)
{
	_cleanup_free_ char *checked = NULL;
	const char *converted;

	assert_int_equal(capture_words(ret_text, "policy", "convert", "--to", to, file, NULL), CTL_OK);
	converted = folder_add(&folder, name, *ret_text);
	if (capture_words(&checked, "policy", "check", "-q", converted, NULL) != CTL_OK)
		fail_msg("refused: %s\n%s", checked, *ret_text);
	return converted;
}

static char *verdicts(const char *file)
{
	const char *files[] = { file, inventory_file, NULL };

	return verdicts_of(files, pods, destinations, ports);
}

/* There, and back again. */
static void assert_same_meaning(const char *name, const char *text, const char *to, const char *back)
{
	_cleanup_free_ char *there_text = NULL, *back_text = NULL, *a = NULL, *b = NULL, *c = NULL;
	char files[3][64];
	const char *original, *there, *again;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		snprintf(files[i], sizeof(files[i]), "%s-%zu.yaml", name, i);
	original = folder_add(&folder, files[0], text);
	there = convert(files[1], original, to, &there_text);
	again = convert(files[2], there, back, &back_text);
	a = verdicts(original);
	b = verdicts(there);
	c = verdicts(again);
	assert_same_verdicts(there_text, a, b);
	assert_same_verdicts(back_text, a, c);
}

#define ANP(spec)                                                                                                      \
	"apiVersion: networking.k8s.aws/v1alpha1\nkind: ApplicationNetworkPolicy\nmetadata: {name: p, namespace: "     \
	"ns}\nspec:\n  podSelector: {matchLabels: {tier: sandbox}}\n  policyTypes: [Egress]\n" spec
#define CNP(spec)                                                                                                      \
	"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\nspec:\n  "           \
	"endpointSelector: {matchLabels: {tier: sandbox}}\n" spec

static void test_anp(void **state)
{
	(void)state;
	assert_same_meaning("anp-deny-all", ANP("  egress: []\n"), "cilium", "anp");
	assert_same_meaning("anp-names",
			    ANP("  egress:\n  - to: [{domainNames: [pypi.org, \"*.pypi.org\", example.com]}]\n"
				"    ports: [{port: 443}, {port: 8000, endPort: 8100, protocol: TCP}]\n"),
			    "cilium", "anp");
	assert_same_meaning(
		"anp-mixed",
		ANP("  egress:\n  - to:\n    - domainNames: [pypi.org]\n"
		    "    - ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}\n"
		    "    - podSelector: {matchLabels: {app: web}}\n"
		    "    - namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [red]}]}\n"
		    "    ports: [{port: 80}, {protocol: UDP, port: 123}]\n"
		    "  - to: [{ipBlock: {cidr: 198.51.100.0/24}}]\n"),
		"cilium", "anp");
	assert_same_meaning("anp-everything", ANP("  egress:\n  - ports: [{port: 443}]\n"), "cilium", "anp");
	assert_same_meaning(
		"anp-any-namespace",
		ANP("  egress:\n  - to: [{namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}]\n"), "cilium",
		"anp");
}

static void test_cnp(void **state)
{
	(void)state;
	assert_same_meaning("cnp-deny-all", CNP("  egress: [{}]\n"), "anp", "cilium");
	assert_same_meaning(
		"cnp-names",
		CNP("  egress:\n  - toFQDNs: [{matchName: pypi.org}, {matchPattern: \"**.pypi.org\"}]\n"
		    "    toPorts: [{ports: [{port: \"443\", protocol: TCP}, {port: \"8000\", endPort: 8100}]}]\n"),
		"anp", "cilium");
	assert_same_meaning("cnp-mixed",
			    CNP("  egress:\n"
				"  - toCIDRSet: [{cidr: 192.0.2.0/24, except: [192.0.2.128/25]}]\n"
				"    toPorts: [{ports: [{port: \"80\", protocol: TCP}]}]\n"
				"  - toEndpoints: [{matchLabels: {app: web}}, {matchLabels: {k8s:app: web, "
				"k8s:io.kubernetes.pod.namespace: other}}]\n"
				"  - toEndpoints: [{matchLabels: {io.cilium.k8s.namespace.labels.team: red}}]\n"
				"    toPorts: [{ports: [{port: \"0\", protocol: UDP}]}]\n"),
			    "anp", "cilium");
	assert_same_meaning("cnp-deny",
			    CNP("  egress:\n  - toCIDR: [192.0.2.0/24, 169.254.0.0/16]\n"
				"  egressDeny:\n  - toCIDR: [169.254.169.254/32, \"fd00:ec2::254/128\"]\n"
				"  - toCIDR: [192.0.2.0/28]\n    toPorts: [{ports: [{port: \"80\"}]}]\n"),
			    "anp", "cilium");
}

static void test_clusters(void **state)
{
	static const char admin[] =
		"apiVersion: networking.k8s.aws/v1alpha1\nkind: ClusterNetworkPolicy\n"
		"metadata: {name: admin}\nspec:\n  tier: Admin\n  priority: 10\n"
		"  subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: ns}}}\n"
		"  egress:\n"
		"  - {action: Deny, to: [{networks: [169.254.169.254/32, \"fd00:ec2::254/128\"]}]}\n"
		"  - action: Deny\n    to: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: "
		"{app: web}}}}]\n    ports: [{portNumber: {port: 80}}, {portRange: {start: 8000, end: "
		"8100}}]\n";

	(void)state;
	assert_same_meaning("admin", admin, "cilium", "anp");
}

/* An object with several specs becomes several objects. */
static void test_specs(void **state)
{
	(void)state;
	assert_same_meaning("specs",
			    "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\n"
			    "specs:\n- endpointSelector: {matchLabels: {tier: sandbox}}\n"
			    "  egress:\n  - toFQDNs: [{matchName: pypi.org}]\n"
			    "- endpointSelector: {matchLabels: {tier: other}}\n  egress:\n  - toCIDR: [192.0.2.0/24]\n"
			    "  egressDeny:\n  - toCIDR: [192.0.2.0/28]\n",
			    "anp", "cilium");
}

static void assert_notes(const char *name, const char *text, const char *to, const char *const *expected)
{
	_cleanup_free_ char *out = NULL;

	convert(name, folder_add(&folder, name, text), to, &out);
	for (; *expected; expected++) {
		if (!strstr(out, *expected))
			fail_msg("no '%s' in\n%s", *expected, out);
	}
}

static void test_notes(void **state)
{
	static const char *const names[] = {
		"# NOTE line 7: wider: \"*.pypi.org\" is one label in Cilium",
		"\"*.pypi.org\"",
		"# NOTE line 7: \"s3.*.amazonaws.com\" cannot be said",
		"# NOTE line 7: \"localhost\" cannot be said",
		"# NOTE line 10: rules.dns is left out",
		NULL,
	};
	static const char *const peers[] = {
		"# NOTE line 7: narrower: the entity cluster",
		"# NOTE line 8: the entity \"host\" cannot be said",
		"# NOTE line 9: toServices cannot be said",
		"# NOTE line 10: icmps cannot be said",
		"# NOTE line 13: a deny with exceptions cannot be said",
		"# NOTE line 13: nothing of this entry can be said; left out, SO IT IS NOT DENIED",
		NULL,
	};
	static const char *const tiers[] = { "# NOTE line 10: Pass cannot be said", "# NOTE line 5: the Admin tier as",
					     NULL };

	(void)state;
	assert_notes("notes-names.yaml",
		     CNP("  egress:\n  - toFQDNs: [{matchPattern: \"*.pypi.org\"}, {matchPattern: s3.*.amazonaws.com}, "
			 "{matchName: localhost}]\n"
			 "  - toEndpoints: [{matchLabels: {a: b}}]\n    toPorts: [{ports: [{port: \"53\"}],\n"
			 "      rules: {dns: [{matchName: x.org}]}}]\n"),
		     "anp", names);
	assert_notes("notes-peers.yaml",
		     CNP("  egress:\n  - toEntities: [cluster]\n  - toEntities: [host]\n"
			 "  - toServices: [{k8sService: {serviceName: web}}]\n  - icmps: [{fields: [{type: 8}]}]\n"
			 "    toCIDR: [192.0.2.0/24]\n"
			 "  egressDeny:\n  - toCIDRSet: [{cidr: 192.0.2.0/24, except: [192.0.2.1/32]}]\n"),
		     "anp", peers);
	assert_notes("notes-tiers.yaml",
		     "apiVersion: networking.k8s.aws/v1alpha1\nkind: ClusterNetworkPolicy\nmetadata: {name: t}\nspec:\n"
		     "  tier: Admin\n  priority: 1\n  subject: {namespaces: {}}\n  egress:\n"
		     "  - {action: Accept, to: [{domainNames: [pypi.org]}]}\n"
		     "  - {action: Pass, to: [{networks: [10.0.0.0/8]}]}\n",
		     "cilium", tiers);
}

static void test_usage(void **state)
{
	_cleanup_free_ char *a = NULL, *b = NULL, *c = NULL;

	(void)state;
	assert_int_equal(capture_words(&a, "policy", "convert", inventory_file, NULL), CTL_USAGE);
	assert_int_equal(capture_words(&b, "policy", "convert", "--to", "calico", inventory_file, NULL), CTL_USAGE);
	assert_int_equal(capture_words(&c, "policy", "convert", "--to", "anp", "/nonexistent", NULL), CTL_UNREACHABLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_anp),   cmocka_unit_test(test_cnp),   cmocka_unit_test(test_clusters),
		cmocka_unit_test(test_specs), cmocka_unit_test(test_notes), cmocka_unit_test(test_usage),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
