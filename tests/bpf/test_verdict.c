/* SPDX-License-Identifier: Apache-2.0 */
/* The verdict over CIDRs, ports, leases and the cluster, asked with frames; test_differential.c asks it at random. */
#include <netinet/in.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "bpf/lease_use.h"
#include "tests/bpf/harness.h"

struct ask {
	const char *dst;
	uint8_t proto;
	uint16_t port;
	uint8_t reason; /* 0: passes */
};

static void ask(struct harness *h, const struct ask *asks, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t sport = (uint16_t)(2000 + i);
		struct frame f = asks[i].proto == IPPROTO_TCP	? pod_tcp(asks[i].dst, sport, asks[i].port, SYN)
				 : asks[i].proto == IPPROTO_UDP ? pod_udp(asks[i].dst, sport, asks[i].port)
								: pod_echo(asks[i].dst, false, sport);

		if (asks[i].reason)
			expect_drop(h, &f, asks[i].reason);
		else
			expect_pass(h, &f);
	}
}

#define ASK(h, asks) ask(h, asks, ARRAY_SIZE(asks))

#define NO   SLUICE_REASON_POLICY_DEFAULT
#define DENY SLUICE_REASON_POLICY_DENY

static void nothing_is_allowed_by_nothing(void **state)
{
	static const struct ask asks[] = { { PEER4, IPPROTO_TCP, 443, NO },
					   { PEER6, IPPROTO_UDP, 443, NO },
					   { PEER4, IPPROTO_ICMP, 0, NO } };

	ASK(*state, asks);
}

static void longest_prefix_decides(void **state)
{
	static const struct ask asks[] = {
		{ "198.51.100.1", IPPROTO_TCP, 443, 0 },	  { "198.51.100.127", IPPROTO_TCP, 443, 0 },
		{ "198.51.100.128", IPPROTO_TCP, 443, DENY },	  { "198.51.100.200", IPPROTO_TCP, 443, 0 },
		{ "198.51.101.1", IPPROTO_TCP, 443, NO },	  { "2001:db8:1::1", IPPROTO_TCP, 443, 0 },
		{ "2001:db8:1:8000::1", IPPROTO_TCP, 443, DENY }, { "2001:db8:2::1", IPPROTO_TCP, 443, NO },
	};

	allow(*state, "198.51.100.0/24", 0, 0);
	deny(*state, "198.51.100.128/25", 0, 0);
	allow(*state, "198.51.100.200", 0, 0);
	allow(*state, "2001:db8:1::/48", 0, 0);
	deny(*state, "2001:db8:1:8000::/49", 0, 0);
	ASK(*state, asks);
}

/* 0.0.0.0/0 is ::ffff:0:0/96 and never meets IPv6, nor ::/0 what has an IPv4 entry. */
static void families_are_apart(void **state)
{
	static const struct ask asks[] = { { PEER4, IPPROTO_TCP, 443, 0 }, { PEER6, IPPROTO_TCP, 443, NO } };

	allow(*state, "0.0.0.0/0", 0, 0);
	ASK(*state, asks);
}

static void ports_and_protocols(void **state)
{
	static const struct sluice_rule yes = { .precedence = SLUICE_PRECEDENCE_ALLOW,
						.rule = 1,
						.verdict = SLUICE_ALLOW };
	static const struct sluice_rule no = { .precedence = SLUICE_PRECEDENCE_DENY,
					       .rule = 2,
					       .verdict = SLUICE_DENY };
	static const struct ask asks[] = {
		{ PEER4, IPPROTO_TCP, 443, 0 },	    { PEER4, IPPROTO_TCP, 444, NO }, { PEER4, IPPROTO_TCP, 7999, NO },
		{ PEER4, IPPROTO_TCP, 8000, 0 },    { PEER4, IPPROTO_TCP, 8007, 0 }, { PEER4, IPPROTO_TCP, 8008, NO },
		{ PEER4, IPPROTO_TCP, 8003, DENY }, { PEER4, IPPROTO_UDP, 9, 0 },    { PEER4, IPPROTO_UDP, 65535, 0 },
		{ PEER4, IPPROTO_ICMP, 0, NO },
	};

	add_dest(*state, TEST_POLICY, PEER4, 5, 5);
	add_rule(*state, TEST_POLICY, 5, IPPROTO_TCP, 443, 16, yes);
	add_rule(*state, TEST_POLICY, 5, IPPROTO_TCP, 8000, 13, yes);
	add_rule(*state, TEST_POLICY, 5, IPPROTO_TCP, 8003, 16, no);
	add_rule(*state, TEST_POLICY, 5, IPPROTO_UDP, 0, 0, yes);
	ASK(*state, asks);
}

static void icmp_by_type(void **state)
{
	struct frame request = pod_echo(PEER4, false, 1), reply = pod_echo(PEER4, true, 2);

	allow(*state, PEER4, IPPROTO_ICMP, 8 << 8);
	expect_pass(*state, &request);
	expect_drop(*state, &reply, NO);
}

static void another_policys_tables_say_nothing(void **state)
{
	static const struct sluice_rule yes = { .precedence = ~0u, .rule = 1, .verdict = SLUICE_ALLOW };
	static const struct ask asks[] = { { PEER4, IPPROTO_TCP, 443, NO } };

	add_dest(*state, TEST_POLICY + 1, PEER4, 5, 5);
	add_rule(*state, TEST_POLICY + 1, 5, IPPROTO_TCP, 443, 16, yes);
	add_dest(*state, TEST_POLICY | 1ull << 32, PEER4, 5, 5);
	add_rule(*state, TEST_POLICY | 1ull << 32, 5, IPPROTO_TCP, 443, 16, yes);
	ASK(*state, asks);
	add_dest(*state, TEST_POLICY, PEER4, 5, 5); /* the set's rules are the other policy's */
	ASK(*state, asks);
}

static void lease_adds_an_allow(void **state)
{
	static const struct ask asks[] = { { PEER4, IPPROTO_TCP, 443, 0 },
					   { PEER4, IPPROTO_TCP, 80, NO },
					   { PEER4, IPPROTO_UDP, 443, NO },
					   { "192.0.2.8", IPPROTO_TCP, 443, NO } };
	struct sluice_flow flow;

	allow_name(*state, PEER4, 1, IPPROTO_TCP, 443);
	ASK(*state, asks);
	assert_true(find_flow(*state, POD4, PEER4, IPPROTO_TCP, 2000, 443, &flow));
	assert_int_equal(flow.name, 1001);
	assert_int_equal(flow.rule, 3);
	assert_int_equal(flow.flags, SLUICE_FLOW_LEASE);
}

static void deny_beats_lease(void **state)
{
	static const struct ask asks[] = { { PEER4, IPPROTO_TCP, 443, DENY } };

	allow_name(*state, PEER4, 1, IPPROTO_TCP, 443);
	deny(*state, "192.0.2.0/24", 0, 0);
	ASK(*state, asks);
}

/* Admin and Baseline tiers: the higher precedence decides; at equal precedence deny. */
static void precedence_between_sets(void **state)
{
	struct sluice_rule address = { .rule = 8, .verdict = SLUICE_DENY };
	struct sluice_rule name = { .precedence = 100, .rule = 9, .verdict = SLUICE_ALLOW };
	static const struct ask allowed[] = { { PEER4, IPPROTO_TCP, 443, 0 } };
	static const struct ask denied[] = { { PEER4, IPPROTO_TCP, 443, DENY } };

	add_dest(*state, TEST_POLICY, PEER4, 5, 5);
	add_rule(*state, TEST_POLICY, SLUICE_SET_NAME | 1, IPPROTO_TCP, 443, 16, name);
	set_lease(*state, PEER4, 1, true);
	for (uint32_t precedence = 99; precedence <= 101; precedence++) {
		address.precedence = precedence;
		add_rule(*state, TEST_POLICY, 5, IPPROTO_TCP, 443, 16, address);
		set_state(*state, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, (uint16_t)precedence);
		if (precedence < 100)
			ASK(*state, allowed);
		else
			ASK(*state, denied);
	}
}

/* A row that is settled asks no lease, not even one above it: the agent makes rows so only where there is none. */
static void settled_row_asks_no_lease(void **state)
{
	struct sluice_rule address = { .precedence = 99, .rule = 8, .verdict = SLUICE_DENY };
	struct sluice_rule name = { .precedence = 100, .rule = 9, .verdict = SLUICE_ALLOW };
	static const struct ask allowed[] = { { PEER4, IPPROTO_TCP, 443, 0 } };
	static const struct ask denied[] = { { PEER4, IPPROTO_TCP, 443, DENY } };

	add_dest(*state, TEST_POLICY, PEER4, 5, 5);
	add_rule(*state, TEST_POLICY, 5, IPPROTO_TCP, 443, 16, address);
	add_rule(*state, TEST_POLICY, SLUICE_SET_NAME | 1, IPPROTO_TCP, 443, 16, name);
	set_lease(*state, PEER4, 1, true);
	ASK(*state, allowed);
	address.settled = 1;
	add_rule(*state, TEST_POLICY, 5, IPPROTO_TCP, 443, 16, address);
	set_state(*state, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 2);
	ASK(*state, denied);
}

/* Where a group is said to be quiet, nobody looks; an address that is added takes that back for its own. */
static void quiet_groups_are_outside(void **state)
{
	struct harness *h = *state;
	static const struct ask outside[] = { { PEER4, IPPROTO_TCP, 443, 0 }, { PEER6, IPPROTO_TCP, 443, 0 } };
	static const struct ask inside[] = { { PEER4, IPPROTO_TCP, 443, NO }, { PEER6, IPPROTO_TCP, 443, NO } };
	static const struct sluice_rule yes = { .precedence = SLUICE_PRECEDENCE_ALLOW,
						.rule = 1,
						.verdict = SLUICE_ALLOW };

	add_dest(h, TEST_POLICY, PEER4, 5, 0);
	add_dest(h, TEST_POLICY, PEER6, 5, 0);
	add_rule(h, TEST_POLICY, 5, IPPROTO_TCP, 443, 16, yes);
	ASK(h, outside);
	add_cluster(h, PEER4, SLUICE_CLUSTER_POD, false);
	add_cluster(h, PEER6, SLUICE_CLUSTER_POD, false);
	ASK(h, inside);
	set_quiet(h);
	ASK(h, outside);
	add_cluster(h, PEER4, SLUICE_CLUSTER_POD, false);
	add_cluster(h, PEER6, SLUICE_CLUSTER_POD, false);
	ASK(h, inside);
}

/* Hazard 23: a lease may point only to what the policy's own name rules opened, and a deny in it is none. */
static void only_name_sets_count(void **state)
{
	static const struct sluice_rule yes = { .precedence = ~0u, .rule = 1, .verdict = SLUICE_ALLOW };
	static const struct sluice_rule no = { .precedence = ~0u, .rule = 1, .verdict = SLUICE_DENY };
	static const struct ask asks[] = { { PEER4, IPPROTO_TCP, 443, NO } };

	add_rule(*state, TEST_POLICY, 7, IPPROTO_TCP, 443, 16, yes);
	add_lease(*state, PEER4, 7, ~0ull, 1);
	ASK(*state, asks);
	add_rule(*state, TEST_POLICY, SLUICE_SET_NAME | 7, IPPROTO_TCP, 443, 16, no);
	add_lease(*state, PEER4, SLUICE_SET_NAME | 7, ~0ull, 1);
	ASK(*state, asks);
}

/* An element whose content is another key's: recycled while it was read. */
static void recycled_lease_says_nothing(void **state)
{
	struct harness *h = *state;
	static const struct ask asks[] = { { PEER4, IPPROTO_TCP, 443, NO } };
	struct sluice_lease_key key = { .policy = TEST_POLICY };
	struct sluice_lease lease;

	allow_name(h, PEER4, 1, IPPROTO_TCP, 443);
	assert_int_equal(addr_parse(PEER4, &key.addr), 0);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(h->skel->maps.leases), &key, &lease), 0);
	lease.key.addr.b[15]++;
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.leases), &key, &lease, BPF_ANY), 0);
	ASK(h, asks);
	lease.key.addr.b[15]--;
	lease.key.policy++;
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.leases), &key, &lease, BPF_ANY), 0);
	ASK(h, asks);
}

/* Hazard 24: what an endpoint asked for that was there before this one, and none since. */
static void lease_of_the_dead_is_not_inherited(void **state)
{
	struct harness *h = *state;
	static const struct ask denied[] = { { PEER4, IPPROTO_TCP, 443, NO } };
	static const struct ask allowed[] = { { PEER4, IPPROTO_TCP, 443, 0 } };
	struct sluice_lease_key key = { .policy = TEST_POLICY };
	struct sluice_lease lease;

	allow_name(h, PEER4, 1, IPPROTO_TCP, 443);
	assert_int_equal(addr_parse(PEER4, &key.addr), 0);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(h->skel->maps.leases), &key, &lease), 0);
	lease.slots[2].generation = TEST_GENERATION - 1;
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.leases), &key, &lease, BPF_ANY), 0);
	ASK(h, denied);
	/* One that was born later has asked since. */
	lease.slots[2].generation = TEST_GENERATION + 1;
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.leases), &key, &lease, BPF_ANY), 0);
	ASK(h, allowed);
}

/* The proxy and the agent's collection can tell that a lease is of use. */
static void a_flow_marks_its_lease(void **state)
{
	struct harness *h = *state;
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN), other = pod_tcp(PEER4, 1000, 80, SYN);
	struct sluice_addr addr;
	uint64_t word = 0;
	uint32_t index;

	assert_int_equal(addr_parse(PEER4, &addr), 0);
	index = lease_use_index(TEST_POLICY, &addr);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.lease_use), &index, &word, BPF_ANY), 0);
	allow_name(h, PEER4, 1, IPPROTO_TCP, 443);
	expect_drop(h, &other, NO);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(h->skel->maps.lease_use), &index, &word), 0);
	assert_int_equal(word, 0);
	expect_pass(h, &syn);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(h->skel->maps.lease_use), &index, &word), 0);
	assert_int_not_equal(word, 0);
}

static void two_clocks(void **state)
{
	struct harness *h = *state;
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN), data = pod_tcp(PEER4, 1000, 443, ACK | PSH);
	struct frame other = pod_tcp(PEER4, 1001, 443, SYN);

	allow_name(h, PEER4, 1, IPPROTO_TCP, 443);
	expect_pass(h, &syn);
	set_lease(h, PEER4, 1, false);
	expect_pass(h, &data);
	expect_drop(h, &other, NO);
	set_state(h, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 2); /* judged again: the name is still allowed */
	expect_pass(h, &data);
	add_rule(h, TEST_POLICY, SLUICE_SET_NAME | 1, IPPROTO_TCP, 443, 16,
		 (struct sluice_rule){ .precedence = SLUICE_PRECEDENCE_DENY, .rule = 4, .verdict = SLUICE_DENY });
	expect_pass(h, &data);
	set_state(h, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 3); /* and now it is not */
	expect_drop(h, &data, SLUICE_REASON_CUT);
	expect_drop(h, &data, NO);
}

/* An endpoint whose questions go past the proxy has nothing of what others have asked for. */
static void no_lease_without_names(void **state)
{
	struct harness *h = *state;
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN);

	allow_name(h, PEER4, 1, IPPROTO_TCP, 443);
	set_state(h, SLUICE_MODE_ENFORCE, 0, 1);
	expect_drop(h, &syn, NO);
	set_state(h, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1);
	expect_pass(h, &syn);
}

/* What an address rule opened is not kept alive by a name that once had that address. */
static void expired_lease_speaks_for_its_own_flows_only(void **state)
{
	struct harness *h = *state;
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN), data = pod_tcp(PEER4, 1000, 443, ACK);

	allow(h, PEER4, IPPROTO_TCP, 443);
	allow_name(h, PEER4, 1, IPPROTO_TCP, 443);
	expect_pass(h, &syn);
	set_lease(h, PEER4, 1, false);
	add_dest(h, TEST_POLICY, PEER4, 0, 0);
	set_state(h, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 2);
	expect_drop(h, &data, SLUICE_REASON_CUT);
}

/* 300 prefixes of which none touches another, so that IPv4 takes three pages; 198.51.100.1 is not in them. */
static void add_pages(struct harness *h)
{
	char prefix[ADDR_TEXT_MAX];

	h->hold_dests = true;
	for (unsigned int i = 0; i < 300; i++) {
		snprintf(prefix, sizeof(prefix), "11.%u.%u.0/24", i / 100, 2 * (i % 100));
		add_dest(h, TEST_POLICY, prefix, 5, 5);
	}
	h->hold_dests = false;
	commit_dests(h, TEST_POLICY);
}

/* Whoever took away a page below the root, or put another's there: the prefixes in it might deny what a name opens. */
static void broken_tree_opens_nothing(void **state)
{
	static const struct sluice_rule yes = { .precedence = SLUICE_PRECEDENCE_ALLOW,
						.rule = 1,
						.verdict = SLUICE_ALLOW };
	const struct ask whole[] = { { "11.2.198.9", IPPROTO_TCP, 443, 0 }, { "198.51.100.1", IPPROTO_TCP, 443, 0 } };
	const struct ask broken[] = { { "11.2.198.9", IPPROTO_TCP, 443, NO },
				      { "198.51.100.1", IPPROTO_TCP, 443, NO } };
	uint64_t last = SLUICE_DEST_KEY(TEST_POLICY, 2), first = SLUICE_DEST_KEY(TEST_POLICY, 1);
	struct harness *h = *state;
	int fd = bpf_map__fd(h->skel->maps.dests);
	struct sluice_dest_page page;

	add_pages(h);
	add_rule(h, TEST_POLICY, 5, IPPROTO_TCP, 443, 16, yes);
	allow_name(h, "198.51.100.1", 1, IPPROTO_TCP, 443);
	ASK(h, whole);
	assert_int_equal(bpf_map_lookup_elem(fd, &first, &page), 0);
	assert_int_equal(bpf_map_update_elem(fd, &last, &page, BPF_EXIST), 0);
	ASK(h, broken);
	assert_int_equal(bpf_map_delete_elem(fd, &last), 0);
	ASK(h, broken);
}

/* Hazard 12. */
static void addresses_no_name_opens(void **state)
{
	static const char *const closed[] = {
		"169.254.169.254",
		"169.254.0.1",
		"fd00:ec2::254",
		"fd00:ec2::23",
		"168.63.129.16",
		"100.100.100.200",
		"192.0.0.192",
		"fd20:ce::254",
		"fd00:a9fe:a9fe::1",
		"fe80::1",
		"::ffff:0:a9fe:a9fe",
		"::ffff:0:a00:1",
		"64:ff9b::a9fe:a9fe",
		"2002:a9fe:a9fe::1",
		"64:ff9b:1::c000:207",
		"2001:0:1:2:3:4:3fff:fdf8",
		NODE4,
		"64:ff9b::a00:1",
		"2002:a00:1::9",
		"172.20.0.10",
		"10.0.1.77",
	};
	static const char *const open[] = { "10.0.9.9",		 "fd12::1",
					    "64:ff9b::c000:207", "2002:c000:207::1",
					    "::ffff:0:c000:207", "168.63.129.17",
					    "fd20:ce::253",	 PEER6 };

	add_cluster(*state, NODE4, SLUICE_CLUSTER_NODE, true);
	add_cluster(*state, "172.20.0.10", SLUICE_CLUSTER_SERVICE, false);
	add_cluster(*state, "10.0.1.77", SLUICE_CLUSTER_POD, false);
	for (size_t i = 0; i < ARRAY_SIZE(closed); i++) {
		struct ask a = { closed[i], IPPROTO_TCP, 443, NO };

		allow_name(*state, closed[i], 1, IPPROTO_TCP, 443);
		ask(*state, &a, 1);
	}
	for (size_t i = 0; i < ARRAY_SIZE(open); i++) {
		struct ask a = { open[i], IPPROTO_TCP, 443, 0 };

		allow_name(*state, open[i], 1, IPPROTO_TCP, 443);
		ask(*state, &a, 1);
	}
}

static void cluster_addresses_have_their_own_set(void **state)
{
	static const struct sluice_rule yes = { .precedence = SLUICE_PRECEDENCE_ALLOW,
						.rule = 1,
						.verdict = SLUICE_ALLOW };
	static const struct ask asks[] = {
		{ "10.0.1.77", IPPROTO_TCP, 443, NO },
		{ "10.0.1.77", IPPROTO_TCP, 80, 0 },
		{ "10.0.1.78", IPPROTO_TCP, 443, 0 },
		{ "10.0.1.78", IPPROTO_TCP, 80, NO },
	};

	add_cluster(*state, "10.0.1.77", SLUICE_CLUSTER_POD, false);
	add_dest(*state, TEST_POLICY, "10.0.0.0/8", 5, 6);
	add_rule(*state, TEST_POLICY, 5, IPPROTO_TCP, 443, 16, yes);
	add_rule(*state, TEST_POLICY, 6, IPPROTO_TCP, 80, 16, yes);
	ASK(*state, asks);
}

/* Hazard 12: what denies an IPv4 address denies the IPv6 forms a translator makes it of, and never allows them. */
static void embedded_addresses(void **state)
{
	static const struct ask asks[] = {
		{ "64:ff9b::c000:207", IPPROTO_TCP, 443, DENY },
		{ "2002:c000:207::1", IPPROTO_TCP, 443, DENY },
		{ "64:ff9b:1::c000:207", IPPROTO_TCP, 443, DENY },
		{ "::ffff:0:c000:207", IPPROTO_TCP, 443, DENY },
		{ "2001:0:1:2:3:4:3fff:fdf8", IPPROTO_TCP, 443, DENY },
		{ "64:ff9b::c633:6401", IPPROTO_TCP, 443, 0 },
		{ "2002:c633:6401::1", IPPROTO_TCP, 443, 0 },
		{ "64:ff9b:2::c000:207", IPPROTO_TCP, 443, 0 },
		{ "::ffff:0:c633:6401", IPPROTO_TCP, 443, 0 },
		{ "64:ff9b::7f00:1", IPPROTO_TCP, 443, SLUICE_REASON_NEVER_LEAVES },
		{ "::ffff:0:7f00:1", IPPROTO_TCP, 443, SLUICE_REASON_NEVER_LEAVES },
		{ "2002:e000:1::1", IPPROTO_TCP, 443, SLUICE_REASON_NEVER_LEAVES },
	};
	static const struct ask unallowed[] = { { "64:ff9b::c633:6401", IPPROTO_TCP, 443, NO } };

	allow(*state, "0.0.0.0/0", 0, 0);
	ASK(*state, unallowed);
	allow(*state, "::/0", 0, 0);
	deny(*state, "192.0.2.0/24", 0, 0);
	set_state(*state, SLUICE_MODE_ENFORCE, 0, 2);
	ASK(*state, asks);
}

#define TEST(f) cmocka_unit_test_setup(f, harness_reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_allowed_by_nothing),
		TEST(longest_prefix_decides),
		TEST(families_are_apart),
		TEST(ports_and_protocols),
		TEST(icmp_by_type),
		TEST(another_policys_tables_say_nothing),
		TEST(lease_adds_an_allow),
		TEST(deny_beats_lease),
		TEST(precedence_between_sets),
		TEST(settled_row_asks_no_lease),
		TEST(quiet_groups_are_outside),
		TEST(only_name_sets_count),
		TEST(recycled_lease_says_nothing),
		TEST(lease_of_the_dead_is_not_inherited),
		TEST(a_flow_marks_its_lease),
		TEST(two_clocks),
		TEST(no_lease_without_names),
		TEST(broken_tree_opens_nothing),
		TEST(expired_lease_speaks_for_its_own_flows_only),
		TEST(addresses_no_name_opens),
		TEST(cluster_addresses_have_their_own_set),
		TEST(embedded_addresses),
	};

	return cmocka_run_group_tests(tests, harness_open, harness_close);
}
