/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/policy/policy_test.h"
#include "base/strbuf.h"

#define AWS(name, tier, priority)                                                                                      \
	"---\napiVersion: networking.k8s.aws/v1alpha1\nkind: ClusterNetworkPolicy\nmetadata: {name: " name "}\n"       \
	"spec:\n  tier: " tier "\n  priority: " #priority "\n  subject: {namespaces: {}}\n"
#define UP(name, tier, priority)                                                                                       \
	"---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: " name "}\n" \
	"spec:\n  tier: " tier "\n  priority: " #priority "\n  subject: {namespaces: {}}\n"
/* Nine lines with the separator; a rule list starts in line 9 when the separator is cut off. */
#define RULE(action, to) "  - {action: " action ", to: [{" to "}]}\n"
#define NET(p)		 "networks: [\"" p "\"]"

/* `rest` stands behind a head that ends with the subject in line 7. */
static const struct {
	bool aws;
	const char *rest;
	int result;
	const char *where, *part;
} messages_rows[] = {
	{ true, "  egress: [{action: Allow, to: [{networks: [1.0.0.0/8]}]}]\n", 1, "f:8:21: error",
	  "Accept, Deny, Pass" },
	{ true, "  egress: [{action: Accept}]\n", 1, "f:8:12: error", "expected a member to" },
	{ true, "  egress: [{action: Accept, to: []}]\n", 1, "f:8:33: error", "from 1 to 100" },
	{ true, "  egress: [{to: [{networks: [1.0.0.0/8]}]}]\n", 1, "f:8:12: error", "expected a member action" },
	{ true, "  egress: [{action: Deny, to: [{domainNames: [a.b]}]}]\n", 1, "f:8:46: error",
	  "names can only be allowed" },
	{ true, "  egress: [{action: Pass, to: [{domainNames: [a.b]}]}]\n", 1, "f:8:46: error",
	  "names can only be allowed" },
	{ true, "  egress: [{action: Accept, to: [{networks: []}]}]\n", 1, "f:8:45: error", "from 1 to 25" },
	{ true, "  egress: [{action: Accept, to: [{networks: [nonsense]}]}]\n", 1, "f:8:46: error",
	  "expected a prefix" },
	{ true, "  egress: [{action: Accept, to: [{nodes: {}}]}]\n", 1, "f:8:35: error", "member nodes" },
	{ true, "  egress: [{action: Accept, to: [{namespaces: {}, pods: {}}]}]\n", 1, "f:8:", "exactly one" },
	{ true, "  egress: [{action: Accept, to: [{pods: {podSelector: {}}}]}]\n", 1, "f:8:41: error", "both" },
	{ true, "  egress: [{action: Deny, to: [{networks: [1.0.0.0/8]}], ports: [{}]}]\n", 1, "f:8:66: error",
	  "exactly one" },
	{ true, "  egress: [{action: Deny, to: [{networks: [1.0.0.0/8]}], ports: [{portRange: {start: 9, end: 9}}]}]\n",
	  1, "f:8:", "from 10 to 65535" },
	{ true, "  egress: [{action: Deny, to: [{networks: [1.0.0.0/8]}], ports: [{namedPort: http}]}]\n", 1,
	  "f:8:12: error", "named port (http) cannot go with prefixes" },
	{ true, "  egress: [{action: Deny, to: [{networks: [1.0.0.0/8]}], protocols: [{tcp: {}}]}]\n", 1,
	  "f:8:", "member protocols" },
	{ true, "  egress: [{action: Accept, to: [{networks: [1.0.0.0/8], domainNames: [a.b]}]}]\n", 1, "f:8:34: error",
	  "exactly one" },
	{ true, "  egress: [{action: Accept, to: [{domainNames: []}]}]\n", 1, "f:8:48: error", "from 1 to 25" },
	{ true, "  egress: [{action: Deny, to: [{networks: [1.0.0.0/8]}], ports: []}]\n", 1, "f:8:65: error",
	  "from 1 to 100" },
	{ true, "  egress: [{action: Deny, to: [{networks: [1.0.0.0/8]}], ports: [{portNumber: {port: 0}}]}]\n", 1,
	  "f:8:86: error", "from 1 to 65535" },
	{ true,
	  "  egress: [{action: Deny, to: [{networks: [1.0.0.0/8]}], ports: [{portNumber: {protocol: ICMP, port: "
	  "1}}]}]\n",
	  1, "f:8:", "TCP, UDP" },
	{ true,
	  "  egress: [{action: Deny, to: [{networks: [1.0.0.0/8]}], ports: [{portNumber: {port: 1}, namedPort: x}]}]\n",
	  1, "f:8:66: error", "exactly one" },
	{ true, "  egress: [{action: Accept, to: [{domainNames: [a.b]}], ports: [{namedPort: http}]}]\n", 1,
	  "f:8:12: error", "named port (http) cannot go with names" },
	{ true, "  egress: [{action: Deny, to: [{networks: [1.2.3.4/8]}]}]\n", 0, "f:8:44: warning", "1.0.0.0/8" },
	{ true, "  ingress: [{}]\n", 0, "f:8:12: notice", "ingress" },
	{ true, "  extra: 1\n", 1, "f:8:3: error", "member extra" },
	{ false, "  egress: [{action: Deny, to: [{networks: [1.0.0.0/8]}], ports: [{portNumber: {port: 1}}]}]\n", 1,
	  "f:8:", "member ports" },
	{ false,
	  "  egress: [{action: Deny, to: [{networks: [1.0.0.0/8]}], protocols: [{tcp: {destinationPort: {}}}]}]\n", 1,
	  "f:8:", "exactly one of number and range" },
	{ false, "  egress: [{action: Deny, to: [{networks: [1.0.0.0/8]}], protocols: [{tcp: {}, udp: {}}]}]\n", 1,
	  "f:8:", "exactly one of tcp" },
	{ false, "  egress: [{action: Accept, to: [{nodes: {}}]}]\n", 0, NULL, NULL },
	{ false, "  egress: [{action: Accept, to: [{somethingNew: {}}]}]\n", 1, "f:8:35: error",
	  "member somethingNew" },
	{ false,
	  "  egress: [{action: Deny, to: [{networks: [1.0.0.0/8]}], protocols: [{destinationNamedPort: http}]}]\n", 1,
	  "f:8:12: error", "named port (http) cannot go with prefixes" },
	{ false, "  egress: [{action: Accept, to: [{nodes: {}}], protocols: [{destinationNamedPort: http}]}]\n", 1,
	  "f:8:12: error", "named port (http)" },
	{ false, "  egress: [{action: Deny, to: [{domainNames: [a.b]}]}]\n", 1, "f:8:46: error",
	  "names can only be allowed" },
};

static void messages(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(messages_rows); i++) {
		CLEANUP(store_freep) struct store *s = NULL;
		struct diags d = {};
		char text[1024];

		snprintf(text, sizeof(text), "%s%s",
			 (messages_rows[i].aws ? AWS("c", "Admin", 1) : UP("c", "Admin", 1)) + 4,
			 messages_rows[i].rest);
		assert_int_equal(store_new(&s), 0);
		if (test_update(s, "f", text, &d) != messages_rows[i].result ||
		    (messages_rows[i].where && !has_diag(&d, messages_rows[i].where, messages_rows[i].part)))
			fail_msg("%s", messages_rows[i].rest);
		diags_clear(&d);
	}
}

/* How many of each the CRDs take; one more is refused. */
static void limits(void **state)
{
	static const struct {
		bool aws;
		const char *before, *item, *after;
		size_t most;
		const char *part;
	} rows[] = {
		{ true, "  egress: [", "{action: Deny, to: [{networks: [1.0.0.0/8]}]}", "]\n", 100, "from 0 to 100" },
		{ false, "  egress: [", "{action: Deny, to: [{networks: [1.0.0.0/8]}]}", "]\n", 25, "from 0 to 25" },
		{ true, "  egress: [{action: Deny, to: [", "{networks: [1.0.0.0/8]}", "]}]\n", 100, "from 1 to 100" },
		{ false, "  egress: [{action: Deny, to: [", "{networks: [1.0.0.0/8]}", "]}]\n", 25, "from 1 to 25" },
		{ true, "  egress: [{action: Deny, to: [{networks: [", "1.0.0.0/8", "]}]}]\n", 25, "from 1 to 25" },
		{ true, "  egress: [{action: Accept, to: [{domainNames: [", "a.b", "]}]}]\n", 25, "from 1 to 25" },
		{ true, "  egress: [{action: Deny, to: [{networks: [1.0.0.0/8]}], ports: [", "{portNumber: {port: 1}}",
		  "]}]\n", 100, "from 1 to 100" },
		{ true, "  egress: [{action: Deny, to: [{networks: [1.0.0.0/8]}], name: x", "x", "}]\n", 99, "100" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (size_t over = 0; over < 2; over++) {
			CLEANUP(store_freep) struct store *s = NULL;
			CLEANUP(strbuf_clear) struct strbuf text = {};
			struct diags d = {};

			strbuf_addf(&text, "%s%s", (rows[i].aws ? AWS("c", "Admin", 1) : UP("c", "Admin", 1)) + 4,
				    rows[i].before);
			for (size_t k = 0; k < rows[i].most + over; k++)
				strbuf_addf(&text, "%s%s", k && rows[i].item[1] ? ", " : "", rows[i].item);
			strbuf_addf(&text, "%s", rows[i].after);
			strbuf_add(&text, "", 1);
			assert_int_equal(store_new(&s), 0);
			if (test_update(s, "f", text.data, &d) != (int)over ||
			    (over && !has_diag(&d, "f:8:", rows[i].part)))
				fail_msg("%s x %zu", rows[i].item, rows[i].most + over);
			diags_clear(&d);
		}
	}
}

static void envelope(void **state)
{
	static const struct {
		const char *spec, *part;
	} rows[] = {
		{ "priority: 1, subject: {namespaces: {}}", "member tier" },
		{ "tier: admin, priority: 1, subject: {namespaces: {}}", "Admin or Baseline" },
		{ "tier: Admin, subject: {namespaces: {}}", "member priority" },
		{ "tier: Admin, priority: 1001, subject: {namespaces: {}}", "from 0 to 1000" },
		{ "tier: Admin, priority: 1", "member subject" },
		{ "tier: Admin, priority: -1, subject: {namespaces: {}}", "from 0 to 1000" },
		{ "tier: Admin, priority: 1, subject: {namespaces: {}, pods: {}}",
		  "exactly one of namespaces and pods" },
		{ "tier: Admin, priority: 1, subject: {pods: {podSelector: {}}}", "both" },
		{ "tier: Admin, priority: 1, subject: {}", "exactly one of namespaces and pods" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP(store_freep) struct store *s = NULL;
		struct diags d = {};
		char text[512];

		snprintf(text, sizeof(text),
			 "apiVersion: networking.k8s.aws/v1alpha1\nkind: ClusterNetworkPolicy\nmetadata: {name: "
			 "c}\nspec: {%s}\n",
			 rows[i].spec);
		assert_int_equal(store_new(&s), 0);
		assert_int_equal(test_update(s, "f", text, &d), 1);
		assert_true(has_diag(&d, "f:4:", rows[i].part));
		diags_clear(&d);
	}
}

/* Tiers, priorities, order and Pass: policies, a destination, and the verdict. '-' is denied by default. */
static void tiers(void **state)
{
#define NS_ALLOW "---\n" ANP_HEAD "  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}]\n"
	static const struct {
		const char *text, *addr;
		char want;
	} rows[] = {
		/* Admin beats the namespaces' tier either way; lower numbers come first. */
		{ NS_ALLOW AWS("a", "Admin", 10) "  egress:\n" RULE("Deny", NET("10.1.0.0/16")), "10.1.0.1", 'D' },
		{ NS_ALLOW AWS("a", "Admin", 10) "  egress:\n" RULE("Accept", NET("11.0.0.0/8")), "11.0.0.1", 'A' },
		{ NS_ALLOW AWS("a", "Admin", 10) "  egress:\n" RULE("Deny", NET("10.1.0.0/16"))
			  AWS("b", "Admin", 9) "  egress:\n" RULE("Accept", NET("10.1.0.0/16")),
		  "10.1.0.1", 'A' },
		/* AWS: Deny, Accept, Pass whatever the order, within a policy and across several. */
		{ AWS("a", "Admin", 1) "  egress:\n" RULE("Accept", NET("10.0.0.0/8")) RULE("Deny", NET("10.0.0.0/8")),
		  "10.1.0.1", 'D' },
		{ AWS("a", "Admin", 1) "  egress:\n" RULE("Pass", NET("10.0.0.0/8")) RULE("Accept", NET("10.0.0.0/8"))
			  NS_ALLOW,
		  "10.1.0.1", 'A' },
		{ AWS("a", "Admin", 1) "  egress:\n" RULE("Accept", NET("10.0.0.0/8"))
			  AWS("b", "Admin", 1) "  egress:\n" RULE("Deny", NET("10.0.0.0/8")),
		  "10.1.0.1", 'D' },
		/* Upstream: the order within a policy; between tied ones as AWS. */
		{ UP("a", "Admin", 1) "  egress:\n" RULE("Accept", NET("10.0.0.0/8")) RULE("Deny", NET("10.0.0.0/8")),
		  "10.1.0.1", 'A' },
		{ UP("a", "Admin", 1) "  egress:\n" RULE("Deny", NET("10.0.0.0/8")) RULE("Accept", NET("10.0.0.0/8")),
		  "10.1.0.1", 'D' },
		{ UP("a", "Admin", 1) "  egress:\n" RULE("Accept", NET("10.0.0.0/8")) RULE("Deny", NET("10.0.0.0/8"))
			  UP("b", "Admin", 1) "  egress:\n" RULE("Pass", NET("10.0.0.0/8"))
				  RULE("Deny", NET("0.0.0.0/0")),
		  "10.1.0.1", 'A' },
		{ UP("a", "Admin", 1) "  egress:\n" RULE("Accept", NET("10.0.0.0/8"))
			  UP("b", "Admin", 1) "  egress:\n" RULE("Deny", NET("10.0.0.0/8")),
		  "10.1.0.1", 'D' },
		/* Pass goes on to the next tier, past the rest of Admin. */
		{ AWS("a", "Admin", 1) "  egress:\n" RULE("Pass", NET("10.0.0.0/8"))
			  AWS("b", "Admin", 2) "  egress:\n" RULE("Deny", NET("10.0.0.0/8")) NS_ALLOW,
		  "10.1.0.1", 'A' },
		{ AWS("a", "Admin", 1) "  egress:\n" RULE("Pass", NET("12.0.0.0/8"))
			  AWS("b", "Admin", 2) "  egress:\n" RULE("Accept", NET("12.0.0.0/8")) NS_ALLOW,
		  "12.1.0.1", '-' },
		/* Baseline is for who is not isolated, and the default allows. */
		{ AWS("a", "Baseline", 1) "  egress:\n" RULE("Deny", NET("10.0.0.0/8")), "10.1.0.1", 'D' },
		{ AWS("a", "Baseline", 1) "  egress:\n" RULE("Deny", NET("10.0.0.0/8")), "11.1.0.1", 'A' },
		{ AWS("a", "Baseline", 1) "  egress:\n" RULE("Deny", NET("10.0.0.0/8")) NS_ALLOW, "10.1.0.1", 'A' },
		{ AWS("a", "Baseline", 1) "  egress:\n" RULE("Accept", NET("11.0.0.0/8")) NS_ALLOW, "11.1.0.1", '-' },
		{ AWS("a", "Baseline", 1) "  egress:\n" RULE("Pass", NET("10.0.0.0/8"))
			  AWS("b", "Baseline", 2) "  egress:\n" RULE("Deny", NET("10.0.0.0/8")),
		  "10.1.0.1", 'A' },
		/* Behind a translator's address the denies of the IPv4 one count, and win within a level. */
		{ AWS("a", "Admin", 1) "  egress:\n" RULE("Deny", NET("10.0.0.0/8"))
			  UP("b", "Admin", 1) "  egress:\n" RULE("Accept", "networks: [\"::/0\"]"),
		  "64:ff9b::a00:1", 'D' },
		{ AWS("a", "Admin", 2) "  egress:\n" RULE("Deny", NET("10.0.0.0/8"))
			  UP("b", "Admin", 1) "  egress:\n" RULE("Accept", "networks: [\"::/0\"]"),
		  "64:ff9b::a00:1", 'A' },
		/* Opting out of default deny goes on to Baseline. */
		{ "---\n" CNP_HEAD "  enableDefaultDeny: {egress: false}\n  egressDeny: [{toCIDR: [9.0.0.0/8]}]\n" AWS(
			  "a", "Baseline", 1) "  egress:\n" RULE("Deny", NET("10.0.0.0/8")),
		  "10.1.0.1", 'D' },
		{ "---\n" CNP_HEAD "  enableDefaultDeny: {egress: false}\n  egressDeny: [{toCIDR: [9.0.0.0/8]}]\n",
		  "9.1.0.1", 'D' },
		{ "---\n" CNP_HEAD "  enableDefaultDeny: {egress: false}\n  egressDeny: [{toCIDR: [9.0.0.0/8]}]\n",
		  "8.1.0.1", 'A' },
		{ "---\n" CNP_HEAD "  enableDefaultDeny: {egress: false}\n  egress: [{}]\n" NS_ALLOW, "8.1.0.1", '-' },
		{ "---\n" CNP_HEAD "  enableDefaultDeny: {egress: true}\n  ingress: [{}]\n", "8.1.0.1", '-' },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct compiled c = test_compile(rows[i].text, NULL);
		char got = test_tcp(c.img, rows[i].addr, 443);

		if (got != rows[i].want)
			fail_msg("%s: %s is %c, expected %c", rows[i].text, rows[i].addr, got, rows[i].want);
		compiled_clear(&c);
	}
}

/* A name's lease against address rules: where Pass must not let an Admin name rule of lower rank speak. */
static void names_meet_addresses(void **state)
{
#define NAME "domainNames: [x.example.com]"
	static const struct {
		const char *text;
		char want;
	} rows[] = {
		{ AWS("a", "Admin", 10) "  egress:\n" RULE("Accept", NAME) NS_ALLOW, 'A' },
		{ AWS("a", "Admin", 10) "  egress:\n" RULE("Accept", NAME) RULE("Deny", NET("7.0.0.0/8")), 'D' },
		{ AWS("a", "Admin", 10) "  egress:\n" RULE("Accept", NAME)
			  AWS("b", "Admin", 11) "  egress:\n" RULE("Deny", NET("7.0.0.0/8")),
		  'A' },
		{ AWS("a", "Admin", 12) "  egress:\n" RULE("Accept", NAME)
			  AWS("b", "Admin", 11) "  egress:\n" RULE("Deny", NET("7.0.0.0/8")),
		  'D' },
		{ AWS("a", "Admin", 12) "  egress:\n" RULE("Accept", NAME)
			  AWS("b", "Admin", 11) "  egress:\n" RULE("Pass", NET("7.0.0.0/8")) NS_ALLOW,
		  '-' },
		{ AWS("a", "Admin", 10) "  egress:\n" RULE("Accept", NAME)
			  AWS("b", "Admin", 11) "  egress:\n" RULE("Pass", NET("7.0.0.0/8")) NS_ALLOW,
		  'A' },
		/* Same level: Accept before Pass with AWS, the order upstream. */
		{ AWS("a", "Admin", 10) "  egress:\n" RULE("Pass", NET("7.0.0.0/8")) RULE("Accept", NAME) NS_ALLOW,
		  'A' },
		{ UP("a", "Admin", 10) "  egress:\n" RULE("Pass", NET("7.0.0.0/8")) RULE("Accept", NAME) NS_ALLOW,
		  '-' },
		{ UP("a", "Admin", 10) "  egress:\n" RULE("Accept", NAME) RULE("Pass", NET("7.0.0.0/8")) NS_ALLOW,
		  'A' },
		{ UP("a", "Admin", 10) "  egress:\n" RULE("Deny", NET("7.0.0.0/8")) RULE("Accept", NAME), 'D' },
		{ UP("a", "Admin", 10) "  egress:\n" RULE("Accept", NAME) RULE("Deny", NET("7.0.0.0/8")), 'A' },
		/* The namespaces' names are not Admin's: a Pass leads to them. */
		{ AWS("b", "Admin", 11) "  egress:\n" RULE("Pass", NET("7.0.0.0/8")) "---\n" ANP_HEAD
										     "  egress: [{to: [{" NAME "}]}]\n",
		  'A' },
		/* Two tied lists with names: what the level says of the address comes first. */
		{ UP("a", "Admin", 10) "  egress:\n" RULE("Accept", NAME) UP("b", "Admin", 10) "  egress:\n" RULE(
			  "Accept", "domainNames: [y.example.com]") RULE("Pass", NET("7.0.0.0/8")) NS_ALLOW,
		  '-' },
		{ UP("a", "Admin", 10) "  egress:\n" RULE("Accept", NAME) UP("b", "Admin", 10) "  egress:\n" RULE(
			  "Accept", "domainNames: [y.example.com]") RULE("Deny", NET("7.0.0.0/8")) NS_ALLOW,
		  'D' },
		/* A tied list without names does not order them. */
		{ UP("a", "Admin", 10) "  egress:\n" RULE("Accept", NAME)
			  AWS("b", "Admin", 10) "  egress:\n" RULE("Deny", NET("7.0.0.0/8")),
		  'D' },
		{ UP("a", "Admin", 10) "  egress:\n" RULE("Accept", NAME)
			  AWS("b", "Admin", 10) "  egress:\n" RULE("Pass", NET("7.0.0.0/8")) NS_ALLOW,
		  'A' },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct compiled c = test_compile(rows[i].text, NULL);
		struct sluice_lease lease = { .key = { .policy = 5, .addr = test_addr("7.7.7.7") } };
		struct verdict_tables t = { .img = c.img, .leases = &lease, .nleases = 1 };
		struct sluice_query q = {
			.policy = 5, .now = 50, .remote = lease.key.addr, .port = htons(443), .proto = IPPROTO_TCP
		};
		struct sluice_decision d;
		struct image_match m;
		char got;

		image_match_name(c.img, "x.example.com", 13, &m);
		assert_int_equal(m.nsets, 1);
		lease.slots[0] = (struct sluice_lease_slot){ .expires = 100, .name = 9, .set = m.sets[0] };
		d = verdict_decide(&t, &q);
		got = d.verdict == SLUICE_ALLOW ? 'A' : d.reason == SLUICE_REASON_POLICY_DENY ? 'D' : '-';
		if (got != rows[i].want)
			fail_msg("%s: %c, expected %c", rows[i].text, got, rows[i].want);
		compiled_clear(&c);
	}
}

/* Not isolated: every name may be asked, what no rule speaks for passes, and a learned name still opens. */
static void open_endpoints(void **state)
{
	struct compiled c = test_compile(AWS("a", "Admin", 10) "  egress:\n" RULE("Accept", NAME), NULL);

	(void)state;
	assert_int_equal(image_flags(c.img), IMAGE_NAMES | IMAGE_ASK_ANY);
	assert_int_equal(test_name(c.img, "other.example"), 'a');
	assert_int_equal(test_name(c.img, "x.example.com"), 'O');
	assert_int_equal(test_tcp(c.img, "8.8.8.8", 1), 'A');
	assert_true(image_opens_outside(c.img));
	compiled_clear(&c);
}

/* A refused policy closes whom its subject selects, and nobody else. */
static void refused_subject(void **state)
{
	static const struct label red[] = { { "team", "red" } };
	static const struct inventory_namespace namespaces[] = { { .name = "ns", .labels = red, .nlabels = 1 },
								 { .name = "far" } };
	static const struct inventory inv = { .namespaces = namespaces, .nnamespaces = 2 };
	static const struct subject far = { .namespace_name = "far", .name = "far" };
	CLEANUP(store_freep) struct store *s = NULL;
	struct diags d = {};
	uint8_t *data = NULL;
	struct image *img = NULL;
	size_t len;

	(void)state;
	assert_int_equal(store_new(&s), 0);
	assert_int_equal(test_update(s, "f",
				     "apiVersion: networking.k8s.aws/v1alpha1\nkind: ClusterNetworkPolicy\n"
				     "metadata: {name: c}\nspec: {tier: Admin, priority: 1, "
				     "subject: {namespaces: {matchLabels: {team: red}}}, egress: [{}]}\n",
				     &d),
			 1);
	assert_int_equal(compile(s, &far, &inv, &d, &data, &len), 1);
	assert_int_equal(compile(s, &web, &inv, &d, &data, &len), 0);
	assert_int_equal(image_open(data, len, &img), 0);
	assert_true(image_flags(img) & IMAGE_REFUSED);
	assert_int_equal(test_tcp(img, "8.8.8.8", 1), 'D');
	image_freep(&img);
	free(data);
	diags_clear(&d);
}

/* Lists that tie and both have names are not exact, which is told; one of them, or two levels, are. */
static void tied_names_are_told(void **state)
{
#define NAMES(policy, priority) UP(policy, "Admin", priority) "  egress:\n" RULE("Accept", NAME)
	static const struct {
		const char *text;
		bool told;
	} rows[] = {
		{ NAMES("a", 10) NAMES("b", 10), true },
		{ NAMES("a", 10) NAMES("b", 11), false },
		{ NAMES("a", 10) UP("b", "Admin", 10) "  egress:\n" RULE("Deny", NET("7.0.0.0/8")), false },
		{ AWS("a", "Admin", 10) "  egress:\n" RULE("Accept", NAME)
			  AWS("b", "Admin", 10) "  egress:\n" RULE("Accept", NAME),
		  false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP(store_freep) struct store *s = NULL;
		_cleanup_free_ uint8_t *data = NULL;
		struct diags d = {}, warnings = {};
		size_t len, told = 0;

		assert_int_equal(store_new(&s), 0);
		assert_int_equal(test_update(s, "f", rows[i].text, &d), 0);
		assert_int_equal(compile(s, &web, NULL, &warnings, &data, &len), 0);
		for (size_t k = 0; k < warnings.count; k++)
			told += strstr(warnings.items[k].message, "the names of both") != NULL;
		assert_int_equal(told, rows[i].told ? 2 : 0);
		diags_clear(&d);
		diags_clear(&warnings);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tied_names_are_told),
		cmocka_unit_test(messages),
		cmocka_unit_test(envelope),
		cmocka_unit_test(limits),
		cmocka_unit_test(tiers),
		cmocka_unit_test(names_meet_addresses),
		cmocka_unit_test(open_endpoints),
		cmocka_unit_test(refused_subject),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
