/* SPDX-License-Identifier: Apache-2.0 */
/* The verdict of `policy explain` on an image compiled from manifests, with leases and cluster addresses made up here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "policy/compile.h"
#include "tools/bpfctl/explain.h"
#include "tools/bpfctl/manifests.h"

static const char manifests[] = "apiVersion: cilium.io/v2\n"
				"kind: CiliumNetworkPolicy\n"
				"metadata: {name: p, namespace: ns}\n"
				"spec:\n"
				"  endpointSelector: {matchLabels: {tier: sandbox}}\n"
				"  egress:\n"
				"  - toFQDNs: [{matchName: pypi.org}]\n"
				"    toPorts: [{ports: [{port: \"443\", protocol: TCP}]}]\n"
				"  - toCIDR: [192.0.2.0/24]\n"
				"    toPorts: [{ports: [{port: \"80\", protocol: TCP}]}]\n"
				"  - toCIDR: [0.0.0.0/0]\n"
				"    toPorts: [{ports: [{port: \"123\", protocol: UDP}]}]\n"
				"  egressDeny:\n"
				"  - toCIDR: [198.51.100.0/24]\n"
				"---\n"
				"endpoints:\n"
				"- {namespace: ns, name: a, labels: {tier: sandbox}, addresses: [10.0.0.1]}\n"
				"- {namespace: ns, name: b, labels: {tier: none}, addresses: [192.0.2.9]}\n";

struct fixture {
	struct store *store;
	struct fleet fleet;
	uint8_t *bytes;
	struct image *img;
	struct sluice_lease lease;
	bool have_lease;
	struct explain_world world;
};

static bool find_lease(void *context, uint64_t policy, const struct sluice_addr *addr, struct sluice_lease *ret)
{
	struct fixture *f = context;

	if (!f->have_lease || policy != f->lease.key.policy || addr_compare(addr, &f->lease.key.addr))
		return false;
	*ret = f->lease;
	return true;
}

static bool in_cluster(void *context, const struct sluice_addr *addr)
{
	struct fixture *f = context;

	return addr_compare(addr, &f->fleet.subjects[1].addrs[0]) == 0;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char text[sizeof(manifests)];
	struct diags diags = {};
	struct inventory inventory;
	size_t len;

	memcpy(text, manifests, sizeof(manifests));
	assert_int_equal(fleet_read(&f->fleet, "t.yaml", text, strlen(text), &diags), 1);
	assert_int_equal(f->fleet.count, 2);
	fleet_blank(text, strlen(text));
	assert_int_equal(store_new(&f->store), 0);
	assert_int_equal(store_update(f->store, "t.yaml", text, strlen(text), &diags), 0);
	inventory = (struct inventory){ .pods = f->fleet.subjects, .npods = f->fleet.count };
	assert_int_equal(compile(f->store, fleet_find(&f->fleet, "ns/a"), &inventory, &diags, &f->bytes, &len), 0);
	assert_int_equal(image_open(f->bytes, len, &f->img), 0);
	diags_clear(&diags);
	f->world = (struct explain_world){
		.find_lease = find_lease, .in_cluster = in_cluster, .context = f, .policy = 9, .now = 1000
	};
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	image_freep(&f->img);
	free(f->bytes);
	store_freep(&f->store);
	fleet_clear(&f->fleet);
	free(f);
	return 0;
}

static struct explain_answer ask(struct fixture *f, const char *to, const char *port)
{
	struct explain_answer answer;
	struct explain_query q = {};

	assert_int_equal(explain_parse_target(to, &q), 0);
	assert_int_equal(explain_parse_port(port, &q), 0);
	explain(f->img, &f->world, &q, &answer);
	return answer;
}

static void assert_answer(struct fixture *f, const char *to, const char *port, bool allowed, enum explain_by by)
{
	struct explain_answer a = ask(f, to, port);

	if (a.allowed != allowed || a.by != by)
		fail_msg("%s %s: allowed %d by %s", to, port, a.allowed, explain_by_name(a.by));
}

static void test_addresses(void **state)
{
	struct fixture *f = *state;

	assert_answer(f, "192.0.2.7", "80", true, EXPLAIN_BY_RULE);
	assert_answer(f, "192.0.2.7", "81", false, EXPLAIN_BY_NOTHING);
	assert_answer(f, "192.0.2.7", "80/udp", false, EXPLAIN_BY_NOTHING);
	assert_answer(f, "192.0.2.9", "80", false,
		      EXPLAIN_BY_NOTHING); /* in the cluster: no CIDR of Cilium's meets it */
	assert_answer(f, "127.0.0.1", "80", false, EXPLAIN_BY_CLASS);
	assert_answer(f, "203.0.113.1", "123/UDP", true, EXPLAIN_BY_RULE);
	assert_answer(f, "198.51.100.1", "123/UDP", false, EXPLAIN_BY_RULE);
	assert_int_equal(ask(f, "198.51.100.1", "123/UDP").reason, SLUICE_REASON_POLICY_DENY);
	assert_int_equal(ask(f, "192.0.2.7", "81").reason, SLUICE_REASON_POLICY_DEFAULT);
}

static void test_rule_has_a_place(void **state)
{
	struct fixture *f = *state;
	struct image_source source;

	assert_true(image_rule_source(f->img, ask(f, "192.0.2.7", "80").rule, &source));
	assert_string_equal(source.policy, "ns/p");
	assert_int_equal(source.line, 9);
}

static void test_names(void **state)
{
	struct fixture *f = *state;

	assert_answer(f, "pypi.org", "443", true, EXPLAIN_BY_NAME_RULE);
	assert_answer(f, "PyPI.org.", "443", true, EXPLAIN_BY_NAME_RULE);
	assert_true(ask(f, "pypi.org", "443").askable);
	assert_answer(f, "pypi.org", "80", false, EXPLAIN_BY_NOTHING);
	assert_answer(f, "evil.org", "443", false, EXPLAIN_BY_NOTHING);
	assert_true(ask(f, "evil.org", "443").has_askable);
	assert_false(ask(f, "evil.org", "443").askable);
	assert_answer(f, "evil.org", "123/UDP", true, EXPLAIN_BY_RULE); /* the any-address rule's verdict */
}

static void test_dns_goes_to_the_proxy(void **state)
{
	struct fixture *f = *state;

	assert_answer(f, "8.8.8.8", "53/UDP", true, EXPLAIN_BY_DNS_PROXY);
	assert_answer(f, "8.8.8.8", "53/TCP", true, EXPLAIN_BY_DNS_PROXY);
	assert_answer(f, "198.51.100.1", "53/UDP", false, EXPLAIN_BY_RULE); /* an explicit deny of the resolver */
	assert_answer(f, "evil.org", "53/UDP", true, EXPLAIN_BY_DNS_PROXY);
}

static void test_leases(void **state)
{
	struct fixture *f = *state;
	struct image_match match = {};

	assert_answer(f, "203.0.113.5", "443", false, EXPLAIN_BY_NOTHING);
	image_match_name(f->img, "pypi.org", 8, &match);
	assert_int_equal(match.nsets, 1);
	f->lease = (struct sluice_lease){ .key.policy = 9,
					  .slots[0] = { .expires = 2000, .name = 5, .set = match.sets[0] } };
	assert_int_equal(addr_parse("203.0.113.5", &f->lease.key.addr), 0);
	f->have_lease = true;
	assert_answer(f, "203.0.113.5", "443", true, EXPLAIN_BY_NAME_RULE);
	assert_int_equal(ask(f, "203.0.113.5", "443").name, 5);
	f->world.now = 2000;
	assert_answer(f, "203.0.113.5", "443", false, EXPLAIN_BY_NOTHING);
	f->world.now = 1000;
	f->have_lease = false;
}

static void test_modes(void **state)
{
	struct explain_answer a;

	(void)state;
	explain_mode(SLUICE_MODE_QUARANTINE, &a);
	assert_false(a.allowed);
	assert_int_equal(a.reason, SLUICE_REASON_QUARANTINE);
	explain_mode(SLUICE_MODE_OPEN, &a);
	assert_true(a.allowed);
}

static void test_what_is_no_question(void **state)
{
	struct explain_query q = {};

	(void)state;
	assert_int_not_equal(explain_parse_target("", &q), 0);
	assert_int_not_equal(explain_parse_target("a..b", &q), 0);
	assert_int_not_equal(explain_parse_target("10.0.0.300", &q), 0);
	assert_int_equal(explain_parse_target("10.example.com", &q), 0);
	assert_int_not_equal(explain_parse_target("exa mple", &q), 0);
	assert_int_not_equal(explain_parse_target("[192.0.2.1", &q), 0);
	assert_int_equal(explain_parse_target("[2001:db8::1]", &q), 0);
	assert_false(q.is_name);
	assert_int_not_equal(explain_parse_port("0", &q), 0);
	assert_int_not_equal(explain_parse_port("65536", &q), 0);
	assert_int_not_equal(explain_parse_port("443/GRE", &q), 0);
	assert_int_not_equal(explain_parse_port("/TCP", &q), 0);
	assert_int_equal(explain_parse_port("0/ICMP", &q), 0);
	assert_int_not_equal(explain_parse_port("256/ICMP", &q), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_rule_has_a_place),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_dns_goes_to_the_proxy),
		cmocka_unit_test(test_leases),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_what_is_no_question),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
