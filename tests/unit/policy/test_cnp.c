/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/policy/policy_test.h"

/* CNP_HEAD is five lines: `spec` members start in line 6. */
static const struct {
	const char *rest, *where, *part;
} refused[] = {
	{ "", "f:5:3: error", "at least one of egress" },
	{ "  egress: []\n", "f:6:11: error", "egress: [{}]" },
	{ "  egress:\n", "f:6:10: error", "egress: [{}]" },
	{ "  egressDeny: []\n", "f:6:15: error", "egressDeny is empty" },
	{ "  egressDeny:\n", "f:6:14: error", "egressDeny is empty" },
	{ "  egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: [\"2001:db8::/32\"]}]}]\n", "f:6:53: error",
	  "inside 10.0.0.0/8" },
	{ "  egress: [{toCIDRSet: [{}]}]\n", "f:6:25: error", "exactly one" },
	{ "  egress: [{toCIDRSet: [{cidr: 1.1.1.1}]}]\n", "f:6:32: error", "expected a prefix" },
	{ "  egress: [{toFQDNs: [{matchPattern: \"a{1,2}.io\"}]}]\n", "f:6:38: error", "a{1,2}.io" },
	{ "  egress: [{toFQDNs: [{matchName: a..b}]}]\n", "f:6:35: error", "a..b" },
	{ "  egress: [{toEntities: [world-ipv4]}]\n", "f:6:26: error", "world-ipv4 is not supported" },
	{ "  egressDeny: [{toEntities: [cluster-mesh]}]\n", "f:6:30: error", "cannot be denied" },
	{ "  egress: [{toEndpoints: [{}], toEntities: [world]}]\n", "f:6:", "beside" },
	{ "  egress: [{toPorts: [{ports: [{port: \"65536\"}]}]}]\n", "f:6:39: error", "got 65536" },
	{ "  egress: [{toPorts: [{ports: [{protocol: TCP}]}]}]\n", "f:6:32: error", "member port" },
	{ "  egress: [{toPorts: [{ports: [{port: \"1\", protocol: VRRP}]}]}]\n", "f:6:54: error",
	  "VRRP is not supported" },
	{ "  egress: [{toPorts: [{ports: [{port: \"1\", protocol: ICMP}]}]}]\n", "f:6:54: error",
	  "ICMP is not supported" },
	{ "  egress: [{toPorts: [{ports: [{port: \"0\"}], rules: {dns: [{matchPattern: \"*\"}]}}]}]\n", "f:6:39: error",
	  "expected port \"53\"" },
	{ "  egress: [{toPorts: [{ports: [{port: \"80\"}], rules: {kafka: [{}]}}]}]\n", "f:6:55: error",
	  "member kafka" },
	{ "  egressDeny: [{toPorts: [{ports: [{port: \"53\"}], rules: {dns: [{matchName: a.b}]}}]}]\n",
	  "f:6:", "rules" },
	{ "  egress: [{toGroups: []}]\n", "f:6:13: error",
	  "member toGroups is not supported; expected one of: toFQDNs" },
	{ "  nodeSelector: {}\n  egress: [{}]\n", "f:6:17: error", "nodeSelector" },
	{ "  enableDefaultDeny: {egress: 1}\n  egress: [{}]\n", "f:6:31: error", "true or false" },
	{ "  egress: [{toCIDR: [1.1.1.1]}]\n", "f:6:22: error", "expected a prefix" },
	{ "  egress: [{toCIDR: [\"::ffff:1.1.1.1/128\"]}]\n", "f:6:22: error", "IPv4" },
	{ "  egress: [{toCIDR: }]\n", "f:6:", "expected a list, got nothing" },
	{ "  egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}]}]\n", "f:6:53: error",
	  "inside 10.0.0.0/8" },
	{ "  egress: [{toCIDRSet: [{cidrGroupRef: x, cidr: 10.0.0.0/8}]}]\n", "f:6:25: error", "exactly one" },
	{ "  egress: [{toFQDNs: [{}]}]\n", "f:6:23: error", "exactly one" },
	{ "  egress: [{toFQDNs: [{matchName: a.b, matchPattern: c.d}]}]\n", "f:6:23: error", "exactly one" },
	{ "  egress: [{toFQDNs: [{matchName: \"*.b\"}]}]\n", "f:6:35: error", "matchPattern" },
	{ "  egress: [{toFQDNs: [{matchName: a.b}], toCIDR: [1.0.0.0/8]}]\n", "f:6:50: error",
	  "toCIDR beside toFQDNs" },
	{ "  egressDeny: [{toFQDNs: [{matchName: a.b}]}]\n", "f:6:26: error", "only be allowed" },
	{ "  egress: [{toEntities: [hosts]}]\n", "f:6:26: error", "hosts is not supported" },
	{ "  egressDeny: [{toEntities: [health]}]\n", "f:6:30: error", "cannot be denied" },
	{ "  egress: [{toPorts: [{ports: [{port: 53}]}]}]\n", "f:6:39: error",
	  "a string (quote it), got the number 53" },
	{ "  egress: [{toPorts: [{ports: [{port: \"053\"}]}]}]\n", "f:6:39: error", "leading zeros" },
	{ "  egress: [{toPorts: [{ports: [{port: \"80\", endPort: 79}]}]}]\n", "f:6:54: error", "at least port 80" },
	{ "  egress: [{toPorts: [{ports: [{port: a.b}]}]}]\n", "f:6:39: error", "got a.b" },
	{ "  egress: [{toPorts: [{ports: [{port: \"1\", protocol: GRE}]}]}]\n", "f:6:54: error",
	  "GRE is not supported" },
	{ "  egress: [{toPorts: [{ports: [{port: \"5353\"}], rules: {dns: [{matchPattern: \"*\"}]}}]}]\n",
	  "f:6:39: error", "expected port \"53\"" },
	{ "  egress: [{toPorts: [{rules: {dns: [{matchPattern: \"*\"}]}}]}]\n", "f:6:37: error", "beside it" },
	{ "  egress: [{toPorts: [{ports: [{port: \"80\"}], rules: {http: [{}]}}]}]\n", "f:6:55: error", "member http" },
	{ "  egress: [{toEndpoints: [{matchExpressions: [{key: a, operator: in}]}]}]\n", "f:6:66: error", "In, NotIn" },
	{ "  egress: [{toEndpoints: [{matchLabels: {reserved:host: \"\"}}]}]\n", "f:6:42: error", "reserved:host" },
	{ "  egress: [{toNodes: [{}]}]\n", "f:6:13: error", "member toNodes" },
	{ "  egress: [{toRequires: [{}]}]\n", "f:6:13: error", "member toRequires" },
	{ "  egress: [{toEndpoints: [{}], authentication: {mode: required}}]\n", "f:6:32: error",
	  "member authentication" },
	{ "  egress: [{toPorts: [{ports: [{port: \"443\"}], serverNames: [a.b]}]}]\n", "f:6:", "member serverNames" },
	{ "  egress: [{toPorts: [{ports: [{port: http, endPort: 90}]}]}]\n", "f:6:54: error",
	  "cannot go with a named port" },
	{ "  egress: [{toCIDR: [1.0.0.0/8], toPorts: [{ports: [{port: http}]}]}]\n", "f:6:12: error", "with prefixes" },
	{ "  egress: [{toFQDNs: [{matchName: a.b}], toPorts: [{ports: [{port: http}]}]}]\n", "f:6:12: error",
	  "with names" },
	{ "  egress: [{toEntities: [world], toPorts: [{ports: [{port: http}]}]}]\n", "f:6:12: error",
	  "with the world" },
	{ "  egress: [{icmps: [{fields: [{type: 256}]}]}]\n", "f:6:38: error", "from 0 to 255" },
	{ "  egress: [{icmps: [{fields: [{type: Ping}]}]}]\n", "f:6:38: error", "name of an ICMP type" },
	{ "  egress: [{icmps: [{fields: [{type: 8, family: ipv4}]}]}]\n", "f:6:49: error", "IPv4 or IPv6" },
	{ "  egress: [{icmps: [{fields: [{type: 8}]}], toPorts: [{ports: [{port: \"1\"}]}]}]\n", "f:6:20: error",
	  "icmps beside toPorts" },
	{ "  egress: [{toServices: [{}]}]\n", "f:6:26: error", "exactly one" },
	{ "  egress: [{toServices: [{k8sService: {namespace: x}}]}]\n", "f:6:", "member serviceName" },
	{ "  egress: [{toEndpoints: [{matchLabels: {\"a b\": c}}]}]\n", "f:6:42: error", "[PREFIX/]NAME" },
	{ "  egress: [{toEndpoints: [{matchLabels: {a: \"b c\"}}]}]\n", "f:6:45: error", "label's value" },
	{ "  egress: [{toEndpoints: [{matchExpressions: [{key: a, operator: In}]}]}]\n", "f:6:47: error",
	  "at least one" },
	{ "  egress: [{toEndpoints: [{matchExpressions: [{key: a, operator: Exists, values: [b]}]}]}]\n",
	  "f:6:", "take none" },
	{ "  egress: [{toEndpoints: [{matchLabels: {io.cilium.k8s.policy.cluster: c}}]}]\n", "f:6:42: error",
	  "not supported" },
	{ "  egress: [{toPorts: [{ports: [{port: \"53\", protocol: SCTP}], rules: {dns: [{matchName: a.b}]}}]}]\n",
	  "f:6:", "expected protocol UDP" },
	{ "  egress: [{toPorts: [{ports: [{port: \"53\", endPort: 54}], rules: {dns: [{matchName: a.b}]}}]}]\n",
	  "f:6:", "without endPort" },
	{ "  log: {value: \"123456789012345678901234567890123\"}\n  egress: [{}]\n", "f:6:16: error", "32 characters" },
	{ "  egress: [{}]\nother: 1\n", "f:7:1: error", "member other" },
};

static void refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		CLEANUP(store_freep) struct store *s = NULL;
		struct diags d = {};
		char text[1024];

		snprintf(text, sizeof(text), CNP_HEAD "%s", refused[i].rest);
		assert_int_equal(store_new(&s), 0);
		if (test_update(s, "f", text, &d) != 1 || !has_diag(&d, refused[i].where, refused[i].part))
			fail_msg("%s", refused[i].rest);
		diags_clear(&d);
	}
}

static const struct {
	const char *rest, *where, *part;
} warned[] = {
	{ "  egress: [{toCIDR: []}]\n", "f:6:21: warning", "selects no destination" },
	{ "  egress: [{toCIDR: [10.1.2.3/8]}]\n", "f:6:22: warning", "10.0.0.0/8" },
	{ "  egress: [{toPorts: [{ports: []}]}]\n", "f:6:31: warning", "every port" },
	{ "  egress: [{toEntities: [health]}]\n", "f:6:26: warning", "allows nothing" },
	{ "  egress: [{toFQDNs: [{matchName: 1.2.3.4}]}]\n", "f:6:35: warning", "address" },
	{ "  egress: [{toFQDNs: [{matchName: a.b}, {matchName: A.b.}]}]\n", "f:6:53: warning", "twice" },
	{ "  egress: [{toCIDR: [1.0.0.0/8, 1.0.0.0/8]}]\n", "f:6:33: warning", "listed twice" },
	{ "  egress: [{toEndpoints: []}]\n", "f:6:26: warning", "selects no destination" },
	{ "  egress: [{toFQDNs: []}]\n", "f:6:22: warning", "selects no destination" },
	{ "  egress: [{toEntities: []}]\n", "f:6:25: warning", "selects no destination" },
	{ "  egress: [{toCIDRSet: []}]\n", "f:6:24: warning", "selects no destination" },
	{ "  egress: [{toServices: []}]\n", "f:6:25: warning", "selects no destination" },
	{ "  egress: [{toEntities: [init]}]\n", "f:6:26: warning", "allows nothing" },
	{ "  egress: [{toEntities: [ingress]}]\n", "f:6:26: warning", "allows nothing" },
	{ "  egress: [{toEntities: [unmanaged]}]\n", "f:6:26: warning", "allows nothing" },
	{ "  egress: [{toEntities: [cluster-mesh]}]\n", "f:6:26: warning", "allows nothing" },
	{ "  egress: [{toFQDNs: [{matchName: localhost}]}]\n", "f:6:35: warning", "localhost" },
	{ "  egress: [{toCIDRSet: [{cidr: 10.1.2.3/8}]}]\n", "f:6:32: warning", "10.0.0.0/8" },
	{ "  egress: [{toCIDRSet: [{cidrGroupRef: nowhere}]}]\n", NULL, NULL },
	{ "  ingress: [{fromEndpoints: 7}]\n  ingressDeny: nonsense\n", "f:6:12: notice", "ingress is not enforced" },
	{ "  egress: [{toPorts: []}]\n", "f:6:22: warning", "every port" },
	{ "  egress: [{toServices: [{k8sService: {serviceName: a}}]}]\n", "f:6:", "every namespace" },
	{ "  egress: [{icmps: [{fields: []}]}]\n", "f:6:30: warning", "opens nothing" },
	{ "  log: {value: x}\n  egress: [{}]\n", "f:6:8: notice", "flow log" },
	{ "  ingress: [{whatever: {}}]\n", "f:6:12: notice", "ingress is not enforced" },
};

static void warnings(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(warned); i++) {
		CLEANUP(store_freep) struct store *s = NULL;
		struct diags d = {};
		char text[1024];

		snprintf(text, sizeof(text), CNP_HEAD "%s", warned[i].rest);
		assert_int_equal(store_new(&s), 0);
		if (test_update(s, "f", text, &d) != 0 ||
		    (warned[i].where && !has_diag(&d, warned[i].where, warned[i].part)))
			fail_msg("%s", warned[i].rest);
		diags_clear(&d);
	}
}

/* ICMP: by type, and only where a rule says so. */
static void icmp(void **state)
{
	static const struct {
		const char *egress;
		const char *want; /* IPv4 echo, IPv4 unreachable, IPv6 echo, TCP 8 */
	} rows[] = {
		{ "{icmps: [{fields: [{type: 8}]}]}", "A---" },
		{ "{icmps: [{fields: [{type: \"8\", family: IPv4}]}]}", "A---" },
		{ "{icmps: [{fields: [{type: EchoRequest, family: IPv6}, {type: DestinationUnreachable}]}]}", "-AA-" },
		{ "{toEntities: [all], icmps: []}", "AAAA" },
		{ "{toEntities: [all]}", "AAAA" },
		{ "{toEntities: [all], toPorts: [{ports: [{port: \"0\"}]}]}", "---A" },
		{ "{icmps: [{fields: []}]}", "----" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[1024];
		struct compiled c;

		snprintf(text, sizeof(text), CNP_HEAD "  egress: [%s]\n", rows[i].egress);
		c = test_compile(text, NULL);
		{
			char got[] = { test_verdict(c.img, "1.1.1.1", IPPROTO_ICMP, 8 << 8, false),
				       test_verdict(c.img, "1.1.1.1", IPPROTO_ICMP, 3 << 8 | 4, false),
				       test_verdict(c.img, "2001:db8::1", IPPROTO_ICMPV6, 128 << 8, false),
				       test_verdict(c.img, "1.1.1.1", IPPROTO_TCP, 8, false), '\0' };

			if (strcmp(got, rows[i].want) != 0)
				fail_msg("%s: %s", rows[i].egress, got);
		}
		compiled_clear(&c);
	}
}

static void all_errors(void **state)
{
	CLEANUP(store_freep) struct store *s = NULL;
	struct diags d = {};

	(void)state;
	assert_int_equal(store_new(&s), 0);
	assert_int_equal(test_update(s, "f", CNP_HEAD "  egress: [{x: 1, y: 2}]\n---\n" CNP_HEAD "  z: 1\n", &d), 1);
	assert_int_equal(d.errors, 4);
	assert_true(has_diag(&d, "f:13:3: error", "member z"));
	diags_clear(&d);
}

static void selects(void **state)
{
	struct compiled c = test_compile(
		"apiVersion: v1\nkind: List\nitems:\n"
		"- apiVersion: v1\n  kind: ConfigMap\n  data: {}\n"
		"- apiVersion: cilium.io/v2\n  kind: CiliumClusterwideNetworkPolicy\n  metadata: {name: c}\n  specs:\n"
		"  - endpointSelector: {matchLabels: {k8s:app: web, \"k8s:io.kubernetes.pod.namespace\": ns}}\n"
		"    egress: [{toCIDR: [10.0.0.0/8]}]\n"
		"  - endpointSelector: {matchLabels: {app: other}}\n    egress: [{toCIDR: [11.0.0.0/8]}]\n",
		NULL);

	(void)state;
	assert_int_equal(test_tcp(c.img, "10.0.0.1", 1), 'A');
	assert_int_equal(test_tcp(c.img, "11.0.0.1", 1), '-');
	compiled_clear(&c);
	c = test_compile(CNP_HEAD "  egress: [{toPorts: [{ports: [{port: \"53\"}]}, {}]}]\n", NULL);
	assert_int_equal(test_tcp(c.img, "11.0.0.1", 80), 'A');
	compiled_clear(&c);
	c = test_compile(CNP_HEAD "  ingress: [{}]\n", NULL);
	assert_int_equal(c.result, 1);
	compiled_clear(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(refusals), cmocka_unit_test(warnings),
					    cmocka_unit_test(icmp), cmocka_unit_test(all_errors),
					    cmocka_unit_test(selects) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
