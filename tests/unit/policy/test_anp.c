/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/policy/policy_test.h"

/* ANP_HEAD is five lines. `result`: 1 refused, 0 accepted. */
static const struct {
	const char *rest;
	int result;
	const char *where, *part;
} rows[] = {
	{ "  egress: [{to: [{podSelectors: {}}]}]\n", 1, "f:6:19: error", "member podSelectors is not supported" },
	{ "  egress: [{to: [{domainNames: [\"*.com\"]}]}]\n", 1, "f:6:33: error", "two labels" },
	{ "  egress: [{to: [{domainNames: []}]}]\n", 1, "f:6:32: error", "at least one" },
	{ "  egress: [{to: [{}]}]\n", 1, "f:6:18: error", "exactly one" },
	{ "  egress: [{to: [{domainNames: [a.b], ipBlock: {cidr: 1.0.0.0/8}}]}]\n", 1, "f:6:18: error", "exactly one" },
	{ "  egress: [{to: [{domainNames: [a.b], podSelector: {}}]}]\n", 1, "f:6:18: error", "exactly one" },
	{ "  egress: [{to: [{domainNames: [a.b], namespaceSelector: {}}]}]\n", 1, "f:6:18: error", "exactly one" },
	{ "  egress: [{to: [{ipBlock: {cidr: 1.0.0.0/8}, podSelector: {}}]}]\n", 1, "f:6:18: error", "ipBlock" },
	{ "  egress: [{to: [{ipBlock: {cidr: 1.0.0.0/8}, namespaceSelector: {}}]}]\n", 1, "f:6:18: error", "ipBlock" },
	{ "  egress: [{to: [{domainNames: [localhost]}]}]\n", 1, "f:6:33: error", "localhost" },
	{ "  egress: [{to: [{domainNames: [\"*\"]}]}]\n", 1, "f:6:33: error", "*" },
	{ "  egress: [{to: [{domainNames: [\"a.*.com\"]}]}]\n", 1, "f:6:33: error", "a.*.com" },
	{ "  egress: [{to: [{domainNames: [\"**.a.com\"]}]}]\n", 1, "f:6:33: error", "**.a.com" },
	{ "  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]\n", 1, "f:6:56: error",
	  "inside 10.0.0.0/8" },
	{ "  egress: [{ports: [{port: https}], to: [{domainNames: [a.b]}]}]\n", 1, "f:6:12: error",
	  "named port (https) cannot go with names" },
	{ "  egress: [{ports: [{port: https, endPort: 444}], to: [{podSelector: {}}]}]\n", 1, "f:6:44: error",
	  "named port" },
	{ "  egress: [{ports: [{port: 65536}]}]\n", 1, "f:6:28: error", "from 1 to 65535" },
	{ "  egress: [{ports: [{protocol: ICMP, port: 1}]}]\n", 1, "f:6:32: error", "expected one of: TCP, UDP, SCTP" },
	{ "  egress: [{to: []}]\n", 0, "f:6:17: warning", "every destination" },
	{ "  egress: [{to: [{ipBlock: {cidr: 10.1.2.3/8}}]}]\n", 0, "f:6:35: warning", "10.0.0.0/8" },
	{ "  egress: [{to: [{domainNames: [a.b, A.B.]}]}]\n", 0, "f:6:38: warning", "twice" },
	{ "  ingress: [{from: 7}]\n", 0, "f:6:12: notice", "ingress" },
	{ "  egress: [{to: [{ipBlock: {except: []}}]}]\n", 1, "f:6:28: error", "member cidr" },
	{ "  egress: [{ports: [{protocol: tcp, port: 1}]}]\n", 1, "f:6:32: error", "expected one of: TCP, UDP, SCTP" },
	{ "  egress: [{ports: [{port: https}], to: [{ipBlock: {cidr: 1.0.0.0/8}}]}]\n", 1, "f:6:12: error",
	  "named port (https) cannot go with prefixes" },
	{ "  egress: [{ports: [{port: 443, endPort: 80}]}]\n", 1, "f:6:42: error", "from 443 to 65535" },
	{ "  egress: [{ports: [{endPort: 80}]}]\n", 1, "f:6:21: error", "expected a port beside it" },
	{ "  egress: [{ports: [{port: 0}]}]\n", 1, "f:6:28: error", "from 1 to 65535" },
	{ "  policyTypes: [egress]\n", 1, "f:6:17: error", "expected one of: Egress, Ingress" },
	{ "  bogus: 1\n", 1, "f:6:3: error", "member bogus" },
	{ "  egress: [{}]\n", 0, "f:6:12: warning", "every destination" },
	{ "  egress: []\n", 0, "f:6:11: warning", "isolates nobody" },
	{ "  policyTypes: [Ingress]\n  egress: [{}]\n", 0, "f:7:11: warning", "ignored" },
	{ "  egress: [{to: [{domainNames: [^.com]}]}]\n", 0, "f:6:33: warning", "left out" },
};

static void messages(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP(store_freep) struct store *s = NULL;
		struct diags d = {};
		char text[1024];

		snprintf(text, sizeof(text), ANP_HEAD "%s", rows[i].rest);
		assert_int_equal(store_new(&s), 0);
		if (test_update(s, "f", text, &d) != rows[i].result || !has_diag(&d, rows[i].where, rows[i].part))
			fail_msg("%s", rows[i].rest);
		diags_clear(&d);
	}
}

static void isolation(void **state)
{
	struct compiled c = test_compile(ANP_HEAD "  policyTypes: [Egress]\n", NULL);

	(void)state;
	assert_int_equal(c.result, 0);
	assert_int_equal(test_tcp(c.img, "1.1.1.1", 1), '-');
	compiled_clear(&c);
	c = test_compile(ANP_HEAD "  policyTypes: [Ingress]\n  egress: [{}]\n", NULL);
	assert_int_equal(c.result, 1);
	compiled_clear(&c);
	c = test_compile(ANP_HEAD "  egress: []\n", NULL);
	assert_int_equal(c.result, 1);
	compiled_clear(&c);
	c = test_compile(ANP_HEAD "  egress: [{ports: [{port: 443}]}]\n", NULL);
	assert_int_equal(test_tcp(c.img, "1.1.1.1", 443), 'A');
	assert_int_equal(test_verdict(c.img, "1.1.1.1", IPPROTO_TCP, 443, true), 'A');
	assert_int_equal(test_verdict(c.img, "1.1.1.1", IPPROTO_UDP, 443, false), '-');
	compiled_clear(&c);
}

/* What an agent that knows no names leaves of it. */
static void names_only(void **state)
{
	static const struct {
		const char *rest;
		bool only;
	} cases[] = {
		{ "  egress: [{to: [{domainNames: [a.b]}]}]\n", true },
		{ "  egress: [{to: [{domainNames: [a.b]}]}, {to: [{domainNames: [c.d]}]}]\n", true },
		{ "  egress: [{to: [{domainNames: [a.b]}, {ipBlock: {cidr: 10.0.0.0/8}}]}]\n", false },
		{ "  egress: [{to: [{domainNames: [a.b]}]}, {to: [{podSelector: {}}]}]\n", false },
		{ "  egress: [{to: [{domainNames: [a.b]}]}, {}]\n", false },
		{ "  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}]\n", false },
		{ "  policyTypes: [Egress]\n", false }, /* denied by both, as it should be */
		{ "  policyTypes: [Ingress]\n  egress: [{to: [{domainNames: [a.b]}]}]\n", false },
	};
	const struct subject other = { .namespace_name = "other", .name = "o", .labels = web_labels, .nlabels = 2 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(store_freep) struct store *s = NULL;
		struct diags d = {};
		char text[1024];

		snprintf(text, sizeof(text), ANP_HEAD "%s", cases[i].rest);
		assert_int_equal(store_new(&s), 0);
		assert_int_equal(test_update(s, "f", text, &d), 0);
		if (store_names_only(s, &web) != cases[i].only)
			fail_msg("%s", cases[i].rest);
		assert_false(store_names_only(s, &other));
		/* A NetworkPolicy of the same pods that admits an address. */
		assert_int_equal(test_update(s, "g",
					     "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
					     "metadata: {name: q, namespace: ns}\nspec:\n  podSelector: {}\n"
					     "  egress: [{to: [{ipBlock: {cidr: 192.0.2.0/24}}]}]\n",
					     &d),
				 0);
		assert_false(store_names_only(s, &web));
		diags_clear(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(messages), cmocka_unit_test(isolation),
					    cmocka_unit_test(names_only) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
