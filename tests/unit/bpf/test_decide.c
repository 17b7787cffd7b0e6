/* SPDX-License-Identifier: Apache-2.0 */
/* The verdict's order, on tables of one entry each. The kernel's agreement is tests/bpf/test_differential.c's. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "bpf/abi.h"

#define ADDRESS_SET 1
#define CLUSTER_SET 2
#define NAME_SET    (SLUICE_SET_NAME | 3)
#define V4_SET	    4

/* What each set says; a set whose rule is 0 says nothing. */
struct sluice_tables {
	struct sluice_rule sets[5];
	struct sluice_lease lease;
	bool in_cluster;
	bool v4_in_cluster;
};

static bool tables_find_dest(const struct sluice_tables *t, __u64 policy, const struct sluice_addr *addr,
			     struct sluice_dest *ret)
{
	(void)t;
	(void)policy;
	*ret = (struct sluice_dest){ ADDRESS_SET, CLUSTER_SET };
	if (addr_is_ipv4(addr))
		*ret = (struct sluice_dest){ V4_SET, V4_SET };
	return true;
}

static bool tables_find_rule(const struct sluice_tables *t, __u64 policy, __u32 set, __u8 proto, __be16 port,
			     struct sluice_rule *ret)
{
	(void)policy;
	(void)proto;
	(void)port;
	*ret = t->sets[set & 7];
	return ret->rule != 0;
}

static const struct sluice_lease *tables_find_lease(const struct sluice_tables *t, __u64 policy,
						    const struct sluice_addr *addr)
{
	(void)policy;
	(void)addr;
	return &t->lease;
}

static bool tables_in_cluster(const struct sluice_tables *t, const struct sluice_addr *addr)
{
	return addr_is_ipv4(addr) ? t->v4_in_cluster : t->in_cluster;
}

#include "bpf/decide.h"

#define NOW 1000

static struct sluice_query query(const char *remote)
{
	struct sluice_query q = { .policy = 9, .now = NOW, .port = htons(443), .proto = IPPROTO_TCP };

	assert_int_equal(addr_parse(remote, &q.remote), 0);
	return q;
}

/* The name set allows at ALLOW through a lease good until NOW + 1. */
static struct sluice_tables tables(const struct sluice_query *q)
{
	struct sluice_tables t = { .lease.key = { q->policy, q->remote } };

	t.lease.slots[7] = (struct sluice_lease_slot){ .expires = NOW + 1, .name = 77, .set = NAME_SET };
	t.sets[3] = (struct sluice_rule){ SLUICE_PRECEDENCE_ALLOW, 30, SLUICE_ALLOW, 0, 0 };
	return t;
}

static void expect(const struct sluice_tables *t, const struct sluice_query *q, uint8_t reason, uint32_t rule)
{
	struct sluice_decision d = decide(t, q);

	assert_int_equal(d.reason, reason);
	assert_int_equal(d.verdict, reason ? SLUICE_DENY : SLUICE_ALLOW);
	assert_int_equal(d.rule, rule);
	assert_int_equal(d.lease, rule == 30);
	assert_int_equal(d.name, rule == 30 ? 77 : 0);
}

static void lease_clock(void **state)
{
	struct sluice_query q = query("2001:db8::1");
	struct sluice_tables t = tables(&q);

	(void)state;
	expect(&t, &q, SLUICE_REASON_NONE, 30);
	q.now = NOW + 1;
	expect(&t, &q, SLUICE_REASON_POLICY_DEFAULT, 0);
	q.live = 1;
	expect(&t, &q, SLUICE_REASON_NONE, 30);
	t.sets[3].verdict = SLUICE_DENY; /* a live flow's name that is no longer allowed */
	expect(&t, &q, SLUICE_REASON_POLICY_DEFAULT, 0);
}

static void lease_of_the_youngest_asker(void **state)
{
	struct sluice_query q = query("2001:db8::1");
	struct sluice_tables t = tables(&q);

	(void)state;
	t.lease.slots[7].generation = 20;
	q.generation = 20;
	expect(&t, &q, SLUICE_REASON_NONE, 30);
	q.generation = 19;
	expect(&t, &q, SLUICE_REASON_NONE, 30);
	q.generation = 21;
	expect(&t, &q, SLUICE_REASON_POLICY_DEFAULT, 0);
	q.live = 1; /* no flow of it can have come by this lease */
	expect(&t, &q, SLUICE_REASON_POLICY_DEFAULT, 0);
}

static void precedence(void **state)
{
	struct sluice_query q = query("2001:db8::1");
	struct sluice_tables t = tables(&q);

	(void)state;
	t.sets[1] = (struct sluice_rule){ SLUICE_PRECEDENCE_ALLOW, 10, SLUICE_DENY, 0, 0 };
	expect(&t, &q, SLUICE_REASON_POLICY_DENY, 10);
	t.sets[1].precedence--;
	expect(&t, &q, SLUICE_REASON_NONE, 30);
	t.sets[1] = (struct sluice_rule){ SLUICE_PRECEDENCE_ALLOW, 10, SLUICE_ALLOW, 0, 0 };
	expect(&t, &q, SLUICE_REASON_NONE, 10);
}

/* Whoever wrote the row knew that no name stands above it: what a lease would say is not asked. */
static void settled(void **state)
{
	struct sluice_query q = query("64:ff9b::c000:207");
	struct sluice_tables t = tables(&q);

	(void)state;
	t.sets[1] = (struct sluice_rule){ SLUICE_PRECEDENCE_BASELINE, 10, SLUICE_ALLOW, 0, 0 };
	expect(&t, &q, SLUICE_REASON_NONE, 30);
	t.sets[1].settled = 1;
	expect(&t, &q, SLUICE_REASON_NONE, 10);
	t.sets[1].verdict = SLUICE_DENY;
	expect(&t, &q, SLUICE_REASON_POLICY_DENY, 10);
	/* What denies the embedded address decides, and its row is the one that counts. */
	t.sets[1].verdict = SLUICE_ALLOW;
	t.sets[4] = (struct sluice_rule){ SLUICE_PRECEDENCE_BASELINE, 40, SLUICE_DENY, 0, 0 };
	expect(&t, &q, SLUICE_REASON_NONE, 30);
	t.sets[4].settled = 1;
	expect(&t, &q, SLUICE_REASON_POLICY_DENY, 40);
}

static void only_name_sets(void **state)
{
	struct sluice_query q = query("2001:db8::1");
	struct sluice_tables t = tables(&q);

	(void)state;
	t.lease.slots[7].set &= ~SLUICE_SET_NAME;
	expect(&t, &q, SLUICE_REASON_POLICY_DEFAULT, 0);
}

static void recycled_lease(void **state)
{
	struct sluice_query q = query("2001:db8::1");
	struct sluice_tables t = tables(&q);

	(void)state;
	t.lease.key.policy++;
	expect(&t, &q, SLUICE_REASON_POLICY_DEFAULT, 0);
	t.lease.key.policy--;
	t.lease.key.addr.b[15]++;
	expect(&t, &q, SLUICE_REASON_POLICY_DEFAULT, 0);
}

static void cluster(void **state)
{
	struct sluice_query q = query("2001:db8::1");
	struct sluice_tables t = tables(&q);

	(void)state;
	t.in_cluster = true;
	t.sets[1] = (struct sluice_rule){ SLUICE_PRECEDENCE_ALLOW, 10, SLUICE_ALLOW, 0, 0 };
	expect(&t, &q, SLUICE_REASON_POLICY_DEFAULT, 0); /* neither the name nor the outside set */
	t.sets[2] = (struct sluice_rule){ SLUICE_PRECEDENCE_ALLOW, 20, SLUICE_ALLOW, 0, 0 };
	expect(&t, &q, SLUICE_REASON_NONE, 20);
}

static void embedded(void **state)
{
	struct sluice_query q = query("64:ff9b::c000:207");
	struct sluice_tables t = tables(&q);

	(void)state;
	expect(&t, &q, SLUICE_REASON_NONE, 30);
	t.v4_in_cluster = true; /* a node's address behind NAT64 is a node's */
	expect(&t, &q, SLUICE_REASON_POLICY_DEFAULT, 0);
	t.v4_in_cluster = false;
	t.sets[4] = (struct sluice_rule){ SLUICE_PRECEDENCE_ALLOW, 40, SLUICE_ALLOW, 0, 0 };
	t.sets[3].rule = 0;
	expect(&t, &q, SLUICE_REASON_POLICY_DEFAULT, 0); /* allows nothing */
	t.sets[1] = (struct sluice_rule){ SLUICE_PRECEDENCE_ALLOW, 10, SLUICE_ALLOW, 0, 0 };
	t.sets[4] = (struct sluice_rule){ SLUICE_PRECEDENCE_DENY, 40, SLUICE_DENY, 0, 0 };
	expect(&t, &q, SLUICE_REASON_POLICY_DENY, 40);
	t.sets[4].precedence = SLUICE_PRECEDENCE_ALLOW;
	expect(&t, &q, SLUICE_REASON_POLICY_DENY, 40);
	t.sets[4].precedence = 1; /* an Admin allow of the address itself stands above a Baseline deny of the other */
	expect(&t, &q, SLUICE_REASON_NONE, 10);
}

static void never_leaves_first(void **state)
{
	struct sluice_query q = query("ff02::1");
	struct sluice_tables t = tables(&q);

	(void)state;
	t.sets[1] = (struct sluice_rule){ ~0u, 10, SLUICE_ALLOW, 0, 0 };
	expect(&t, &q, SLUICE_REASON_NEVER_LEAVES, 0);
	assert_int_equal(decide_dns(&t, &q).reason, SLUICE_REASON_NEVER_LEAVES);
}

static void port_53(void **state)
{
	struct sluice_query q = query("64:ff9b::c000:207");
	struct sluice_tables t = tables(&q);

	(void)state;
	t.sets[3].rule = 0;
	assert_int_equal(decide_dns(&t, &q).verdict, SLUICE_ALLOW); /* no rule is no obstacle */
	t.sets[4] = (struct sluice_rule){ 1, 40, SLUICE_DENY, 0, 0 };
	assert_int_equal(decide_dns(&t, &q).reason, SLUICE_REASON_POLICY_DENY);
	t.sets[4].rule = 0;
	t.sets[1] = (struct sluice_rule){ 1, 10, SLUICE_DENY, 0, 0 };
	assert_int_equal(decide_dns(&t, &q).reason, SLUICE_REASON_POLICY_DENY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lease_clock),	  cmocka_unit_test(lease_of_the_youngest_asker),
		cmocka_unit_test(precedence),	  cmocka_unit_test(only_name_sets),
		cmocka_unit_test(recycled_lease), cmocka_unit_test(cluster),
		cmocka_unit_test(embedded),	  cmocka_unit_test(never_leaves_first),
		cmocka_unit_test(port_53),	  cmocka_unit_test(settled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
