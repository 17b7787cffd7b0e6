/* SPDX-License-Identifier: Apache-2.0 */
/* The advice of `policy check`: each piece at its place, silent when its cure is there, and silenced by the annotation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "tools/bpfctl/lint.h"

#define CNP(name, selector)                                                                                            \
	"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: " name                                  \
	", namespace: ns}\nspec:\n  endpointSelector: {matchLabels: {" selector "}}\n"
#define CCNP(name, selector)                                                                                           \
	"apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: " name                       \
	"}\nspec:\n  endpointSelector: {matchLabels: {" selector "}}\n"
#define ANP(name)                                                                                                      \
	"apiVersion: networking.k8s.aws/v1alpha1\nkind: ApplicationNetworkPolicy\nmetadata: {name: " name              \
	", namespace: ns}\nspec:\n  podSelector: {}\n  policyTypes: [Egress]\n  egress:\n"
#define CLUSTER(name)                                                                                                  \
	"apiVersion: networking.k8s.aws/v1alpha1\nkind: ClusterNetworkPolicy\nmetadata: {name: " name                  \
	"}\nspec:\n  tier: Admin\n  priority: 1\n  subject: {namespaces: {matchLabels: "                               \
	"{kubernetes.io/metadata.name: ns}}}\n  egress:\n"
#define DNS_RULE(what)                                                                                                 \
	"  - toEndpoints: [{matchLabels: {k8s-app: kube-dns}}]\n"                                                      \
	"    toPorts: [{ports: [{port: \"53\", protocol: ANY}], rules: {dns: [" what "]}}]\n"

static void advise(const char *text, struct diags *diags)
{
	CLEANUP(tree_clear) struct tree t = {};

	assert_int_equal(tree_add(&t, "t.yaml", text, strlen(text)), 0);
	assert_int_equal(lint(&t, diags), 0);
}

/* Exactly the advice `expected`: "LINE:COLUMN id", in its order, separated by blanks. */
static void assert_advice(const char *text, const char *expected)
{
	CLEANUP(diags_clear) struct diags diags = {};
	char found[1024] = "";

	advise(text, &diags);
	for (size_t i = 0; i < diags.count; i++) {
		const struct diag *d = &diags.items[i];
		size_t len = strlen(found);

		assert_int_equal(d->level, DIAG_WARNING);
		assert_non_null(strrchr(d->message, '['));
		snprintf(found + len, sizeof(found) - len, "%s%u:%u %s", i ? " " : "", d->line, d->column,
			 strrchr(d->message, '[') + 1);
		found[strlen(found) - 1] = '\0';
	}
	if (strcmp(found, expected) != 0)
		fail_msg("expected '%s', got '%s' for\n%s", expected, found, text);
}

static void test_cilium_dns(void **state)
{
	(void)state;
	assert_advice(CNP("a", "x: y") "  egress:\n  - toFQDNs: [{matchName: a.com}, {matchName: b.com}]\n",
		      "7:27 cilium-dns");
	assert_advice(
		CNP("a", "x: y") "  egress:\n  - toFQDNs: [{matchName: a.com}, {matchPattern: \"*.b.com\"}]\n" DNS_RULE(
			"{matchName: A.com.}"),
		"7:50 cilium-dns");
	assert_advice(
		CNP("a", "x: y") "  egress:\n  - toFQDNs: [{matchName: a.com}]\n" DNS_RULE("{matchPattern: \"*.com\"}"),
		"");
	/* A policy that selects the same pods, and more, may have the rule; one that selects others may not. */
	assert_advice(
		CNP("a", "x: y") "  egress:\n  - toFQDNs: [{matchName: a.com}]\n---\n" CCNP(
			"b", "\"k8s:io.kubernetes.pod.namespace\": ns") "  egress:\n" DNS_RULE("{matchName: a.com}"),
		"");
	assert_advice(CNP("a", "x: y") "  egress:\n  - toFQDNs: [{matchName: a.com}]\n---\n" CNP(
			      "b", "x: z") "  egress:\n" DNS_RULE("{matchName: a.com}"),
		      "7:27 cilium-dns");
}

static void test_names(void **state)
{
	(void)state;
	assert_advice(CNP("a", "x: y") "  egress:\n" DNS_RULE("{matchPattern: \"*\"}"), "8:83 dns-any");
	assert_advice(
		ANP("a") "  - to: [{domainNames: [a.com, \"*.b.com\"]}]\n  - to: [{ipBlock: {cidr: 10.0.0.10/32}}]\n",
		"8:32 wildcard-depth");
	assert_advice(CNP("a", "x: y") "  egress:\n  - toFQDNs: [{matchPattern: sts.*.amazonaws.com}]\n" DNS_RULE(
			      "{matchPattern: \"**.amazonaws.com\"}"),
		      "7:30 global-sts");
}

static void test_dns_ports(void **state)
{
	(void)state;
	assert_advice(CNP("a", "x: y") "  egress:\n  - toCIDR: [10.0.0.10/32]\n    toPorts: [{ports: [{port: \"53\", "
				       "protocol: UDP}]}]\n",
		      "8:24 dns-udp-only");
	assert_advice(CNP("a", "x: y") "  egress:\n  - toCIDR: [10.0.0.10/32]\n    toPorts: [{ports: [{port: \"53\", "
				       "protocol: UDP}, {port: \"50\", endPort: 60, protocol: tcp}]}]\n",
		      "");
	assert_advice(ANP("a") "  - to: [{domainNames: [a.com]}]\n    ports: [{port: 443}]\n", "8:25 aws-dns");
	assert_advice(ANP("a") "  - to: [{domainNames: [a.com]}]\n    ports: [{port: 443}]\n  - to: [{ipBlock: {cidr: "
			       "10.0.0.0/8}}]\n    ports: [{port: 53, protocol: UDP}]\n",
		      "11:13 dns-udp-only");
}

static void test_imds(void **state)
{
	(void)state;
	assert_advice(CNP("a", "x: y") "  egressDeny:\n  - toCIDR: [169.254.169.254/32]\n", "7:14 imds");
	assert_advice(CNP("a", "x: y") "  egressDeny:\n  - toCIDR: [169.254.169.254/32, \"fd00:ec2::254/128\"]\n", "");
	assert_advice(CNP("a", "x: y") "  egressDeny:\n  - toCIDR: [\"fd00:ec2::/32\"]\n", "7:14 imds");
	/* The world holds both families' addresses. */
	assert_advice(CNP("a", "x: y") "  egress:\n  - toEntities: [world]\n", "7:18 imds 7:18 imds");
	assert_advice(
		CNP("a", "x: y") "  egress:\n  - toEntities: [world]\n    toPorts: [{ports: [{port: \"443\"}]}]\n", "");
	assert_advice(CNP("a", "x: y") "  egress:\n  - toCIDRSet: [{cidr: 0.0.0.0/0, except: [169.254.0.0/16]}]\n", "");
	assert_advice(CNP("a", "x: y") "  egress:\n  - toEntities: [world]\n---\n" CLUSTER(
			      "c") "  - {action: Deny, to: [{networks: [169.254.0.0/16, \"fd00:ec2::/32\"]}]}\n",
		      "");
	assert_advice(CLUSTER("c") "  - {action: Deny, to: [{networks: [169.254.169.254/32]}]}\n", "9:37 imds");
	/* Who names the address itself means it. */
	assert_advice(CNP("a", "x: y") "  egress:\n  - toCIDR: [169.254.169.254/32]\n", "");
}

static void test_selector(void **state)
{
	(void)state;
	assert_advice(CCNP("a", "") "  egressDeny:\n  - toCIDR: [192.0.2.0/24]\n", "5:21 broad-selector");
	assert_advice(CCNP("a", "") "  enableDefaultDeny: {egress: false}\n  egressDeny:\n  - toCIDR: [192.0.2.0/24]\n",
		      "");
}

static void test_annotation(void **state)
{
	static const char format[] =
		"apiVersion: networking.k8s.aws/v1alpha1\nkind: ApplicationNetworkPolicy\nmetadata: "
		"{name: a, annotations: {sluice.dev/lint-ignore: \"%s\"}}\nspec:\n  podSelector: "
		"{}\n  egress: [{to: [{domainNames: [\"*.b.com\"]}]}]\n";
	char text[1024];

	(void)state;
	snprintf(text, sizeof(text), format, "aws-dns, wildcard-depth");
	assert_advice(text, "");
	snprintf(text, sizeof(text), format, "aws-dn wildcard-depth-and-more");
	assert_advice(text, "6:33 wildcard-depth");
}

static void assert_covers(const char *a, const char *b, bool expected)
{
	struct name_pattern x, y;
	const char *why;

	assert_int_equal(name_pattern_parse(NAME_CILIUM_PATTERN, a, &x, &why), NAME_OK);
	assert_int_equal(name_pattern_parse(NAME_CILIUM_PATTERN, b, &y, &why), NAME_OK);
	if (pattern_covers(&x, &y) != expected)
		fail_msg("%s covers %s: expected %d", a, b, expected);
}

static void test_covers(void **state)
{
	(void)state;
	assert_covers("*", "**.x", true);
	assert_covers("**.x", "*", false);
	assert_covers("a.com", "A.com.", true);
	assert_covers("*.com", "a.com", true);
	assert_covers("*.com", "a.b.com", false);
	assert_covers("**.com", "a.b.com", true);
	assert_covers("**.com", "**.b.com", true);
	assert_covers("**.com", "**.com", true);
	assert_covers("**.b.com", "**.com", false);
	assert_covers("*.com", "**.com", false);
	assert_covers("**.com", "com", false);
	assert_covers("s3.*.com", "s3.eu-*.com", true);
	assert_covers("s3.eu-*.com", "s3.*.com", false);
	assert_covers("a*b.com", "axb.com", true);
	assert_covers("a*b.com", "a*c*b.com", true);
	assert_covers("**.*.com", "*.x.com", true);
	assert_covers("**.*.com", "x.com", false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cilium_dns), cmocka_unit_test(test_names),    cmocka_unit_test(test_dns_ports),
		cmocka_unit_test(test_imds),	   cmocka_unit_test(test_selector), cmocka_unit_test(test_annotation),
		cmocka_unit_test(test_covers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
