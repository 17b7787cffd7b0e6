/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/policy/policy_test.h"
#include "base/strbuf.h"

static void open_when_unselected(void **state)
{
	static const struct subject other = {
		.namespace_name = "ns2", .name = "x", .labels = web_labels, .nlabels = 2
	};
	struct compiled c = test_compile(CNP_HEAD "  egress: [{}]\n", NULL);
	struct diags d = {};
	uint8_t *data = NULL;
	size_t len;

	(void)state;
	assert_int_equal(c.result, 0);
	assert_int_equal(image_flags(c.img), IMAGE_ISOLATED);
	assert_int_equal(image_dest_count(c.img), 0);
	assert_int_equal(test_tcp(c.img, "1.1.1.1", 443), '-');
	assert_int_equal(compile(c.store, &other, NULL, &d, &data, &len), 1);
	assert_null(data);
	compiled_clear(&c);
}

/* Rows of facts on precedence: an entry list, then address, port and the verdict wanted. */
#define ALL4	    "toCIDR: [0.0.0.0/0]"
#define PORT(p)	    "toPorts: [{ports: [{port: \"" #p "\", protocol: TCP}]}]"
#define RANGE(p, e) "toPorts: [{ports: [{port: \"" #p "\", endPort: " #e ", protocol: TCP}]}]"
static const struct {
	const char *egress, *deny, *addr;
	uint16_t port;
	char want;
} precedence_rows[] = {
	/* Deny world covers an allow of one address; deny world:8080 that port alone. */
	{ "{toCIDR: [8.8.8.8/32]}", "{toEntities: [world]}", "8.8.8.8", 443, 'D' },
	{ "{toCIDR: [8.8.8.8/32]}", "{toEntities: [world], " PORT(8080) "}", "8.8.8.8", 8080, 'D' },
	{ "{toCIDR: [8.8.8.8/32]}", "{toEntities: [world], " PORT(8080) "}", "8.8.8.8", 8081, 'A' },
	{ "{toCIDR: [10.0.0.0/8]}", "{toCIDR: [10.1.0.0/16]}", "10.1.2.3", 1, 'D' },
	{ "{toCIDR: [10.0.0.0/8]}", "{toCIDR: [10.1.0.0/16]}", "10.2.2.3", 1, 'A' },
	/* Allow in deny. */
	{ "{" ALL4 "}", "{toCIDRSet: [{cidr: 1.0.0.0/8, except: [1.1.1.1/32]}]}", "1.1.1.1", 80, 'A' },
	{ "{" ALL4 "}", "{toCIDRSet: [{cidr: 1.0.0.0/8, except: [1.1.1.1/32]}]}", "1.0.0.1", 80, 'D' },
	{ "{}", "{toCIDRSet: [{cidr: 1.0.0.0/8, except: [1.1.1.1/32]}]}", "1.1.1.1", 80, '-' },
	{ "{}", "{toCIDRSet: [{cidr: 1.0.0.0/8, except: [1.1.1.1/32]}]}", "1.0.0.1", 80, 'D' },
	/* Ports. */
	{ "{" ALL4 ", " PORT(80) "}", "{" ALL4 ", " RANGE(1, 1024) "}", "9.9.9.9", 80, 'D' },
	{ "{" ALL4 ", " RANGE(1, 1024) "}", "{" ALL4 ", " PORT(80) "}", "9.9.9.9", 79, 'A' },
	{ "{" ALL4 ", " RANGE(1, 1024) "}", "{" ALL4 ", " PORT(80) "}", "9.9.9.9", 80, 'D' },
	{ "{" ALL4 ", " RANGE(1, 1024) "}", "{" ALL4 ", " PORT(80) "}", "9.9.9.9", 81, 'A' },
	{ "{" ALL4 ", " RANGE(1, 1024) "}", "{" ALL4 ", " PORT(80) "}", "9.9.9.9", 1025, '-' },
	{ "{" ALL4 ", " PORT(80) "}", "{" ALL4 ", " RANGE(1, 1024) "}", "9.9.9.9", 79, 'D' },
	{ "{" ALL4 ", " PORT(80) "}", "{" ALL4 ", " RANGE(1, 1024) "}", "9.9.9.9", 1025, '-' },
	{ "{" ALL4 ", " RANGE(1, 1024) "}", "{" ALL4 "}", "9.9.9.9", 500, 'D' },
	{ "{" ALL4 ", " RANGE(1, 1024) "}", "{" ALL4 "}", "9.9.9.9", 1025, 'D' },
	{ "{" ALL4 "}", "{" ALL4 ", " RANGE(1, 1024) "}", "9.9.9.9", 1024, 'D' },
	{ "{" ALL4 "}", "{" ALL4 ", " RANGE(1, 1024) "}", "9.9.9.9", 1025, 'A' },
	{ "{" ALL4 ", " RANGE(80, 90) "}, {" ALL4 ", " RANGE(90, 100) "}", "{" ALL4 ", " RANGE(85, 95) "}", "9.9.9.9",
	  84, 'A' },
	{ "{" ALL4 ", " RANGE(80, 90) "}, {" ALL4 ", " RANGE(90, 100) "}", "{" ALL4 ", " RANGE(85, 95) "}", "9.9.9.9",
	  90, 'D' },
	{ "{" ALL4 ", " RANGE(80, 90) "}, {" ALL4 ", " RANGE(90, 100) "}", "{" ALL4 ", " RANGE(85, 95) "}", "9.9.9.9",
	  96, 'A' },
	{ "{" ALL4 ", " RANGE(80, 90) "}, {" ALL4 ", " RANGE(90, 100) "}", "{" ALL4 ", " RANGE(85, 95) "}", "9.9.9.9",
	  101, '-' },
	{ "{" ALL4 ", " RANGE(80, 90) "}, {" ALL4 ", " RANGE(90, 100) "}", "{" ALL4 ", " RANGE(85, 95) "}", "9.9.9.9",
	  79, '-' },
	{ "{" ALL4 ", " RANGE(80, 90) "}, {" ALL4 ", " RANGE(90, 100) "}", "{" ALL4 ", " RANGE(85, 95) "}", "9.9.9.9",
	  80, 'A' },
	{ "{" ALL4 ", " RANGE(80, 90) "}, {" ALL4 ", " RANGE(90, 100) "}", "{" ALL4 ", " RANGE(85, 95) "}", "9.9.9.9",
	  85, 'D' },
	{ "{" ALL4 ", " RANGE(80, 90) "}, {" ALL4 ", " RANGE(90, 100) "}", "{" ALL4 ", " RANGE(85, 95) "}", "9.9.9.9",
	  95, 'D' },
	{ "{" ALL4 ", " RANGE(80, 90) "}, {" ALL4 ", " RANGE(90, 100) "}", "{" ALL4 ", " RANGE(85, 95) "}", "9.9.9.9",
	  100, 'A' },
	/* The table of Cilium's manual: a denied port leaves the others, a denied address nothing. */
	{ "{" ALL4 "}", "{" ALL4 ", " PORT(80) "}", "9.9.9.9", 80, 'D' },
	{ "{" ALL4 "}", "{" ALL4 ", " PORT(80) "}", "9.9.9.9", 81, 'A' },
	{ "{" ALL4 "}", "{" ALL4 ", " PORT(80) "}, {" ALL4 "}", "9.9.9.9", 81, 'D' },
	/* Port 0 is every port, alone or as the whole range. */
	{ "{" ALL4 ", " PORT(0) "}", "{toCIDR: [192.0.2.0/24]}", "9.9.9.9", 65535, 'A' },
	{ "{" ALL4 ", " RANGE(0, 65535) "}", "{toCIDR: [192.0.2.0/24]}", "9.9.9.9", 1, 'A' },
	/* What cilium-cli's connectivity tests hold. */
	{ "{toCIDRSet: [{cidr: 1.0.0.0/8, except: [1.0.0.1/32]}]}", "{toCIDR: [192.0.2.0/24]}", "1.1.1.1", 443, 'A' },
	{ "{toCIDRSet: [{cidr: 1.0.0.0/8, except: [1.0.0.1/32]}]}", "{toCIDR: [192.0.2.0/24]}", "1.0.0.1", 443, '-' },
	{ "{toEntities: [all]}", "{toCIDRSet: [{cidr: 1.0.0.0/8, except: [1.1.1.1/32]}]}", "1.0.0.1", 443, 'D' },
	{ "{toEntities: [all]}", "{toCIDRSet: [{cidr: 1.0.0.0/8, except: [1.1.1.1/32]}]}", "1.1.1.1", 443, 'A' },
	{ "{}", "{toEntities: [all]}", "1.1.1.1", 443, 'D' },
	{ "{toEntities: [world], " PORT(80) "}", "{toCIDR: [192.0.2.0/24]}", "1.1.1.1", 80, 'A' },
	{ "{toEntities: [world], " PORT(80) "}", "{toCIDR: [192.0.2.0/24]}", "1.1.1.1", 443, '-' },
	{ "{toEntities: [world], " RANGE(70, 90) "}", "{toCIDR: [192.0.2.0/24]}", "1.1.1.1", 80, 'A' },
	{ "{toEntities: [world], " RANGE(70, 90) "}", "{toCIDR: [192.0.2.0/24]}", "1.1.1.1", 91, '-' },
	/* IPv6's everything says nothing about IPv4. */
	{ "{toCIDR: [\"::/0\"]}", "{toCIDR: [192.0.2.0/24]}", "9.9.9.9", 80, '-' },
	{ "{toCIDR: [\"::/0\"]}", "{toCIDR: [192.0.2.0/24]}", "2001:db8::1", 80, 'A' },
	{ "{" ALL4 "}", "{toCIDR: [192.0.2.0/24]}", "2001:db8::1", 80, '-' },
	{ "{" PORT(443) "}", "{toCIDR: [192.0.2.0/24]}", "2001:db8::1", 443, 'A' },
	{ "{" PORT(443) "}", "{toCIDR: [192.0.2.0/24]}", "9.9.9.9", 443, 'A' },
};

static void precedence(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(precedence_rows); i++) {
		char text[1024], got;
		struct compiled c;

		snprintf(text, sizeof(text), CNP_HEAD "  egress: [%s]\n  egressDeny: [%s]\n", precedence_rows[i].egress,
			 precedence_rows[i].deny);
		c = test_compile(text, NULL);
		got = test_tcp(c.img, precedence_rows[i].addr, precedence_rows[i].port);
		if (got != precedence_rows[i].want)
			fail_msg("%s / %s: %s:%u is %c", precedence_rows[i].egress, precedence_rows[i].deny,
				 precedence_rows[i].addr, precedence_rows[i].port, got);
		compiled_clear(&c);
	}
}

/* Whether a rule's sections put who it selects in default deny: 'o' open or selected by nothing, 'd' in default deny. */
static void default_deny(void **state)
{
#define SECOND                                                                                                         \
	"---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: q, namespace: ns}\nspec:\n"        \
	"  endpointSelector: {}\n"
	static const struct {
		const char *rest;
		char want;
	} rows[] = {
		{ "  egress: [{toCIDR: [10.0.0.0/8]}]\n", 'd' },
		{ "  egressDeny: [{toCIDR: [10.0.0.0/8]}]\n", 'd' },
		{ "  ingress: [{}]\n", 'o' },
		{ "  ingressDeny: [{}]\n", 'o' },
		{ "  ingress: [{}]\n  enableDefaultDeny: {egress: true}\n", 'd' },
		{ "  ingress: [{}]\n  enableDefaultDeny: {ingress: true}\n", 'o' },
		{ "  ingress: [{}]\n  enableDefaultDeny: {egress: false}\n", 'o' },
		{ "  egress: [{}]\n  enableDefaultDeny: {}\n", 'd' },
		{ "  egress: [{}]\n  enableDefaultDeny: {egress: true}\n", 'd' },
		{ "  egress: [{}]\n  enableDefaultDeny: {ingress: false}\n", 'd' },
		{ "  egress: [{}]\n  enableDefaultDeny: {egress: false}\n", 'o' },
		{ "  egressDeny: [{toCIDR: [10.0.0.0/8]}]\n  enableDefaultDeny: {egress: false}\n", 'o' },
		/* One that asks for it wins. */
		{ "  egress: [{}]\n  enableDefaultDeny: {egress: false}\n" SECOND "  egress: [{}]\n", 'd' },
		{ "  egress: [{}]\n  enableDefaultDeny: {egress: false}\n" SECOND "  ingress: [{}]\n", 'o' },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[1024], got;
		struct compiled c;

		snprintf(text, sizeof(text), CNP_HEAD "%s", rows[i].rest);
		c = test_compile(text, NULL);
		got = c.result == 1 ? 'o' : test_tcp(c.img, "9.9.9.9", 443) == 'A' ? 'o' : 'd';
		if (got != rows[i].want)
			fail_msg("%s: %c", rows[i].rest, got);
		compiled_clear(&c);
	}
}

/* More than upstream's 40 ports in one entry are taken. */
static void many_ports(void **state)
{
	CLEANUP(strbuf_clear) struct strbuf text = {};
	struct compiled c;

	(void)state;
	strbuf_addf(&text, CNP_HEAD "  egress:\n  - toCIDR: [10.0.0.0/8]\n    toPorts:\n    - ports:\n");
	for (int i = 0; i < 300; i++)
		strbuf_addf(&text, "      - {port: \"%d\", protocol: TCP}\n", 1000 + 3 * i);
	strbuf_add(&text, "", 1);
	c = test_compile(text.data, NULL);
	for (uint16_t i = 0; i < 300; i++) {
		assert_int_equal(test_tcp(c.img, "10.0.0.1", (uint16_t)(1000 + 3 * i)), 'A');
		assert_int_equal(test_tcp(c.img, "10.0.0.1", (uint16_t)(1001 + 3 * i)), '-');
	}
	compiled_clear(&c);
}

static void protocols(void **state)
{
	struct compiled c = test_compile(CNP_HEAD "  egress: [{toCIDR: [10.0.0.0/8]}, {toCIDR: [11.0.0.0/8], toPorts: "
						  "[{ports: [{port: \"53\"}]}]}]\n",
					 NULL);

	(void)state;
	assert_int_equal(test_verdict(c.img, "10.0.0.1", IPPROTO_ICMP, 8 << 8, false), 'A');
	assert_int_equal(test_verdict(c.img, "10.0.0.1", IPPROTO_SCTP, 9, false), 'A');
	assert_int_equal(test_verdict(c.img, "10.0.0.1", IPPROTO_GRE, 0, false), '-');
	assert_int_equal(test_verdict(c.img, "11.0.0.1", IPPROTO_ICMP, 8 << 8, false), '-');
	assert_int_equal(test_verdict(c.img, "11.0.0.1", IPPROTO_UDP, 53, false), 'A');
	assert_int_equal(test_verdict(c.img, "11.0.0.1", IPPROTO_SCTP, 53, false), 'A');
	compiled_clear(&c);
	/* A denied port leaves ping; a denied address does not. */
	c = test_compile(CNP_HEAD
			 "  egress: [{toCIDR: [10.0.0.0/8, 11.0.0.0/8]}]\n  egressDeny: [{toCIDR: [10.0.0.0/8], "
			 "toPorts: [{ports: [{port: \"80\"}]}]}, {toCIDR: [11.0.0.0/8]}]\n",
			 NULL);
	assert_int_equal(test_verdict(c.img, "10.0.0.1", IPPROTO_ICMP, 8 << 8, false), 'A');
	assert_int_equal(test_verdict(c.img, "11.0.0.1", IPPROTO_ICMP, 8 << 8, false), 'D');
	compiled_clear(&c);
}

/* Cilium's CIDRs and world never meet the cluster; the other kinds' CIDRs do, and so do peers. */
static void cluster_addresses(void **state)
{
	static const struct label dns_labels[] = { { "k8s-app", "kube-dns" } };
	struct sluice_addr addr = test_addr("10.9.0.10");
	struct subject dns = { .namespace_name = "kube-system",
			       .name = "dns",
			       .labels = dns_labels,
			       .nlabels = 1,
			       .addrs = &addr,
			       .naddrs = 1 };
	struct inventory inv = { .pods = &dns, .npods = 1 };
	struct compiled c = test_compile(
		CNP_HEAD
		"  egress: [{toCIDR: [10.0.0.0/8]}, {toEntities: [world], toPorts: [{ports: [{port: \"80\"}]}]}, "
		"{toEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: kube-system, k8s-app: kube-dns}}], "
		"toPorts: [{ports: [{port: \"53\"}]}]}]\n---\n" ANP_HEAD
		"  egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: 22}]}]\n",
		&inv);

	(void)state;
	assert_int_equal(test_verdict(c.img, "10.1.1.1", IPPROTO_TCP, 443, false), 'A');
	assert_int_equal(test_verdict(c.img, "10.1.1.1", IPPROTO_TCP, 443, true), '-');
	assert_int_equal(test_verdict(c.img, "10.1.1.1", IPPROTO_TCP, 22, true), 'A');
	assert_int_equal(test_verdict(c.img, "9.1.1.1", IPPROTO_TCP, 80, false), 'A');
	assert_int_equal(test_verdict(c.img, "9.1.1.1", IPPROTO_TCP, 80, true), '-');
	assert_int_equal(test_verdict(c.img, "10.9.0.10", IPPROTO_UDP, 53, true), 'A');
	assert_int_equal(test_verdict(c.img, "10.9.0.10", IPPROTO_TCP, 443, true), '-');
	assert_int_equal(test_verdict(c.img, "10.9.0.10", IPPROTO_TCP, 22, true), 'A');
	compiled_clear(&c);
	c = test_compile(CNP_HEAD "  egress: [{toEntities: [all]}]\n", NULL);
	assert_int_equal(test_verdict(c.img, "10.1.1.1", IPPROTO_TCP, 443, true), 'A');
	compiled_clear(&c);
}

static void names_and_flags(void **state)
{
	static const char text[] =
		CNP_HEAD "  egress:\n"
			 "  - toEndpoints: [{}]\n"
			 "    toPorts: [{ports: [{port: \"53\"}], rules: {dns: [{matchPattern: \"*\"}]}}]\n"
			 "  - toFQDNs: [{matchName: pypi.org}, {matchPattern: \"*.pypi.org\"}]\n"
			 "    toPorts: [{ports: [{port: \"443\", protocol: TCP}]}]\n"
			 "  - toFQDNs: [{matchName: pypi.org}]\n"
			 "    toPorts: [{ports: [{port: \"443\", protocol: tcp}]}]\n"
			 "  - toFQDNs: [{matchName: pypi.org}]\n"
			 "    toPorts: [{ports: [{port: \"80\", protocol: TCP}]}]\n";
	struct compiled c = test_compile(text, NULL);
	struct image_source source;
	struct sluice_rule rule;
	struct image_match m;

	(void)state;
	assert_int_equal(image_flags(c.img), IMAGE_ISOLATED | IMAGE_NAMES);
	assert_false(image_opens_outside(c.img));
	image_match_name(c.img, "pypi.org", 8, &m);
	assert_int_equal(m.nsets, 2);
	assert_true(m.sets[0] & SLUICE_SET_NAME);
	assert_true(image_find_rule(c.img, m.sets[0], IPPROTO_TCP, htons(443), &rule));
	assert_false(image_find_rule(c.img, m.sets[0], IPPROTO_TCP, htons(80), &rule));
	assert_true(image_find_rule(c.img, m.sets[1], IPPROTO_TCP, htons(80), &rule));
	assert_true(image_rule_source(c.img, m.rule, &source));
	assert_string_equal(source.text, "toFQDNs pypi.org 443/TCP");
	assert_string_equal(source.policy, "ns/p");
	assert_int_equal(source.line, 9);
	assert_int_equal(test_name(c.img, "evil.example"), 'a');
	assert_false(image_rule_source(c.img, 0, &source));
	compiled_clear(&c);
}

static void a_lease_opens(void **state)
{
	struct compiled c = test_compile(CNP_HEAD "  egress: [{toFQDNs: [{matchName: a.b}], toPorts: [{ports: "
						  "[{port: \"443\"}]}]}]\n  egressDeny: [{toCIDR: [6.6.6.0/24]}]\n",
					 NULL);
	struct sluice_lease lease = { .key = { .policy = 5, .addr = test_addr("7.7.7.7") },
				      .slots = { { .expires = 100, .name = 9, .set = SLUICE_SET_NAME | 1 } } };
	struct verdict_tables t = { .img = c.img, .leases = &lease, .nleases = 1 };
	struct sluice_query q = {
		.policy = 5, .now = 50, .remote = lease.key.addr, .port = htons(443), .proto = IPPROTO_TCP
	};

	(void)state;
	assert_int_equal(verdict_decide(&t, &q).verdict, SLUICE_ALLOW);
	assert_int_equal(verdict_decide(&t, &q).name, 9);
	q.now = 100;
	assert_int_equal(verdict_decide(&t, &q).verdict, SLUICE_DENY);
	q.now = 50;
	q.remote = lease.key.addr = test_addr("6.6.6.6");
	assert_int_equal(verdict_decide(&t, &q).reason, SLUICE_REASON_POLICY_DENY);
	assert_int_equal(verdict_decide_dns(&t, &q).verdict, SLUICE_DENY);
	compiled_clear(&c);
}

static void canonical(void **state)
{
	static const char a[] = CNP_HEAD "  egress: [{toCIDR: [10.0.0.0/8]}]\n";
	struct compiled x = test_compile(a, NULL), y = test_compile(a, NULL);
	struct compiled z = test_compile(CNP_HEAD "  egress: [{toCIDR: [10.0.0.0/9]}]\n", NULL);

	(void)state;
	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.data, y.data, x.len);
	assert_memory_not_equal(image_hash(x.img), image_hash(z.img), IMAGE_HASH_LEN);
	assert_int_equal(test_key(x.store, NULL), test_key(x.store, NULL));
	compiled_clear(&x);
	compiled_clear(&y);
	compiled_clear(&z);
}

/* ---- random policies against the definition -------------------------------------------------------------------- */

struct block {
	bool deny, anp;
	struct sluice_prefix cidr, except;
	bool has_except;
	uint16_t first, last;
};

static struct sluice_prefix random_prefix(unsigned int *seed, const struct sluice_prefix *in)
{
	struct sluice_prefix p = { .addr = { .b = { [10] = 0xff, [11] = 0xff, [12] = 10 } } };
	uint32_t least = in ? in->bits : 104;

	if (in)
		p.addr = in->addr;
	p.bits = least + (uint32_t)rand_r(seed) % (129 - least);
	for (uint32_t i = least; i < 128; i++)
		if (rand_r(seed) % 8 == 0)
			p.addr.b[i / 8] |= (uint8_t)(0x80 >> i % 8);
	addr_mask(&p.addr, p.bits);
	return p;
}

static void print_block(struct strbuf *out, const struct block *b)
{
	char cidr[ADDR_TEXT_MAX], except[ADDR_TEXT_MAX];

	prefix_format(&b->cidr, cidr);
	prefix_format(&b->except, except);
	strbuf_addf(out, b->anp ? "  - {to: [{ipBlock: {cidr: %s" : "  - {toCIDRSet: [{cidr: %s", cidr);
	if (b->has_except)
		strbuf_addf(out, ", except: [%s]", except);
	if (b->anp)
		strbuf_addf(out, "}}], ports: [{port: %u, endPort: %u}]}\n", b->first, b->last);
	else
		strbuf_addf(out, "}], toPorts: [{ports: [{port: \"%u\", endPort: %u, protocol: TCP}]}]}\n", b->first,
			    b->last);
}

static char naive(const struct block *blocks, size_t n, const struct sluice_addr *addr, uint16_t port, bool cluster)
{
	char got = '-';

	for (size_t i = 0; i < n; i++) {
		const struct block *b = &blocks[i];

		if ((cluster && !b->anp) || !prefix_contains(&b->cidr, addr) || port < b->first || port > b->last)
			continue;
		if (b->has_except && prefix_contains(&b->except, addr))
			continue;
		if (b->deny)
			return 'D';
		got = 'A';
	}
	return got;
}

static char *random_policy(unsigned int *seed, struct block *blocks, size_t n)
{
	struct strbuf out = {};

	for (size_t i = 0; i < n; i++) {
		struct block *b = &blocks[i];

		b->cidr = random_prefix(seed, NULL);
		b->has_except = rand_r(seed) % 2;
		b->except = random_prefix(seed, &b->cidr);
		b->first = (uint16_t)(1 + rand_r(seed) % 20);
		b->last = (uint16_t)(b->first + rand_r(seed) % 20);
		b->deny = i % 3 == 0;
		b->anp = i % 3 == 1;
	}
	for (size_t kind = 0; kind < 3; kind++) {
		strbuf_adds(&out,
			    kind == 1 ? "---\n" ANP_HEAD "  egress:\n"
			    : kind == 0
				    ? CNP_HEAD "  egressDeny:\n"
				    : "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: q, "
				      "namespace: ns}\nspec:\n  endpointSelector: {}\n  egress:\n");
		for (size_t i = kind; i < n; i += 3)
			print_block(&out, &blocks[i]);
	}
	return strbuf_take(&out);
}

static void random_policies(void **state)
{
	unsigned int seed = 1;

	(void)state;
	for (int round = 0; round < 150; round++) {
		struct block blocks[18];
		size_t n = 3 + (size_t)rand_r(&seed) % 16;
		_cleanup_free_ char *text = random_policy(&seed, blocks, n);
		struct compiled c = test_compile(text, NULL);

		for (int probe = 0; probe < 200; probe++) {
			const struct block *b = &blocks[(size_t)rand_r(&seed) % n];
			struct sluice_prefix at = random_prefix(&seed, rand_r(&seed) % 2 ? &b->cidr : &b->except);
			uint16_t port = (uint16_t)(rand_r(&seed) % 42);
			bool cluster = rand_r(&seed) % 2;
			char addr[ADDR_TEXT_MAX];

			addr_format(&at.addr, addr);
			if (test_verdict(c.img, addr, IPPROTO_TCP, port, cluster) !=
			    naive(blocks, n, &at.addr, port, cluster))
				fail_msg("round %d: %s:%u cluster %d\n%s", round, addr, port, cluster, text);
		}
		compiled_clear(&c);
	}
}

static uint64_t cluster_of(struct compiler *c, const struct store *s, const struct inventory *inv)
{
	assert_int_equal(compiler_begin(c, s, inv), 0);
	return compiler_cluster(c);
}

/* The number of the cluster's addresses: another with each of them, and with whose it is; the same whatever else changes. */
static void number_of_the_cluster(void **state)
{
	static const uint64_t seed[2] = { 1, 2 };
	const struct sluice_addr addr = test_addr("10.0.0.1"), other = test_addr("10.0.0.2");
	const struct label labels[] = { { "a", "b" } };
	struct subject pod = { .namespace_name = "ns", .name = "p", .addrs = &addr, .naddrs = 1 };
	struct kept_pod kept = { &pod, 1 };
	struct inventory_service service = { .namespace_name = "ns", .name = "s", .addrs = &other, .naddrs = 1 };
	struct inventory inv = { .kept = &kept, .nkept = 1 };
	CLEANUP(compiler_freep) struct compiler *c = NULL;
	CLEANUP(store_freep) struct store *s = NULL;
	uint64_t first, now;

	(void)state;
	assert_int_equal(store_new(&s), 0);
	assert_int_equal(compiler_new(seed, &c), 0);
	first = cluster_of(c, s, &inv);
	pod.labels = labels;
	pod.nlabels = 1;
	kept.version++;
	assert_true(cluster_of(c, s, &inv) == first);
	pod.host_network = true;
	kept.version++;
	now = cluster_of(c, s, &inv);
	assert_true(now != first);
	pod.addrs = &other;
	kept.version++;
	assert_true(cluster_of(c, s, &inv) != now);
	pod = (struct subject){ .namespace_name = "ns", .name = "p", .addrs = &addr, .naddrs = 1, .not_running = true };
	kept.version++;
	now = cluster_of(c, s, &inv);
	assert_true(now != first);
	inv.services = &service;
	inv.nservices = 1;
	assert_true(cluster_of(c, s, &inv) != now);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_when_unselected),
		cmocka_unit_test(precedence),
		cmocka_unit_test(default_deny),
		cmocka_unit_test(many_ports),
		cmocka_unit_test(protocols),
		cmocka_unit_test(cluster_addresses),
		cmocka_unit_test(names_and_flags),
		cmocka_unit_test(a_lease_opens),
		cmocka_unit_test(canonical),
		cmocka_unit_test(random_policies),
		cmocka_unit_test(number_of_the_cluster),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
