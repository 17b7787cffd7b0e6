/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/dnsproxy/dns_test.h"
#include "tests/unit/dnsproxy/fake.h"

#include "base/clock.h"

#define NOW    (1000 * NSEC_PER_SEC)
#define SET(n) (SLUICE_SET_NAME | (n))

static struct fake f;
static struct compiled policy;
static struct ledger *ledger;

static int set_up(void **state)
{
	(void)state;
	policy = test_compile(CNP_HEAD "  egress:\n  - toFQDNs: [{matchName: a.example}]\n", NULL);
	fake_new(&f, policy.img);
	return ledger_new(&f.maps, &ledger);
}

static int tear_down(void **state)
{
	(void)state;
	ledger_freep(&ledger);
	fake_free(&f);
	compiled_clear(&policy);
	return 0;
}

static int open_for(uint32_t set, uint64_t name, uint64_t expires, struct lease_result *res)
{
	static const struct wire_name text = { .len = 9, .text = "a.example" };
	struct lease_request req = { .policy = 1,
				     .text = &text,
				     .name = name,
				     .now = NOW,
				     .expires = expires,
				     .by = { 3, 77 },
				     .nsets = 1,
				     .sets = &set };
	struct sluice_addr addr = test_addr("192.0.2.1");

	return lease_write(&f.maps, ledger, &req, &addr, res);
}

static void lengths_are_clamped(void **state)
{
	(void)state;
	assert_int_equal(lease_length(60, 0, 3600, 5), 65 * NSEC_PER_SEC);
	assert_int_equal(lease_length(0, 0, 3600, 5), 5 * NSEC_PER_SEC); /* TTL 0 is still of use */
	assert_int_equal(lease_length(0, 30, 3600, 5), 35 * NSEC_PER_SEC);
	assert_int_equal(lease_length(0x7fffffff, 0, 3600, 5), 3605 * NSEC_PER_SEC);
}

static void unchanged_is_not_written(void **state)
{
	struct lease_result res = {};

	(void)state;
	assert_int_equal(open_for(SET(1), 7, NOW + 60 * NSEC_PER_SEC, &res), 0);
	assert_int_equal(res.written, 1);
	assert_int_equal(open_for(SET(1), 7, NOW + 60 * NSEC_PER_SEC + NSEC_PER_MSEC, &res), 0);
	assert_int_equal(open_for(SET(1), 7, NOW + 10 * NSEC_PER_SEC, &res), 0); /* a promise stands */
	assert_int_equal(res.written, 1);
	assert_int_equal(f.leases[0].slots[0].expires, NOW + 60 * NSEC_PER_SEC);
	assert_int_equal(open_for(SET(1), 7, NOW + 90 * NSEC_PER_SEC, &res), 0);
	assert_int_equal(res.written, 2);
	assert_int_equal(f.leases[0].slots[0].expires, NOW + 90 * NSEC_PER_SEC);
	assert_int_equal(f.nleases, 1);
	assert_int_equal(f.leases[0].slots[1].set, 0);
}

static void slots_are_taken_in_order_and_end(void **state)
{
	struct lease_result res = {};

	(void)state;
	for (uint32_t i = 0; i < SLUICE_LEASE_SLOTS; i++)
		assert_int_equal(open_for(SET(i + 1), i + 1, NOW + (i + 60) * NSEC_PER_SEC, &res), 0);
	assert_int_equal(res.reused, 0);
	/* Eight sets live: a ninth has no place, and none of them goes. */
	assert_int_equal(open_for(SET(9), 9, NOW + 60 * NSEC_PER_SEC, &res), -ENOSPC);
	for (uint32_t i = 0; i < SLUICE_LEASE_SLOTS; i++)
		assert_int_equal(f.leases[0].slots[i].set, SET(i + 1));
	/* Another name of a set that is there opens the same: it shares the slot. */
	assert_int_equal(open_for(SET(4), 44, NOW + 30 * NSEC_PER_SEC, &res), 0);
	assert_int_equal(f.leases[0].slots[3].name, 44);
	assert_int_equal(f.leases[0].slots[3].expires, NOW + 63 * NSEC_PER_SEC);
	assert_int_equal(res.reused, 1);
	/* One that has run out makes room. */
	f.leases[0].slots[5].expires = NOW - 1;
	assert_int_equal(open_for(SET(9), 9, NOW + 60 * NSEC_PER_SEC, &res), 0);
	assert_int_equal(f.leases[0].slots[5].set, SET(9));
	assert_int_equal(f.leases[0].slots[5].expires, NOW + 60 * NSEC_PER_SEC);
	assert_int_equal(res.reused, 2);
}

static int open_by(uint32_t generation, uint64_t expires, struct lease_result *res)
{
	static const struct wire_name text = { .len = 9, .text = "a.example" };
	const uint32_t set = SET(1);
	struct lease_request req = { .policy = 1,
				     .text = &text,
				     .name = 7,
				     .now = NOW,
				     .expires = expires,
				     .by = { 3, generation },
				     .nsets = 1,
				     .sets = &set };
	struct sluice_addr addr = test_addr("192.0.2.1");

	return lease_write(&f.maps, ledger, &req, &addr, res);
}

/* Hazard 24: a lease is open to those that lived when it was last asked for; one write for each that is younger. */
static void the_youngest_asker_bounds_it(void **state)
{
	struct sluice_addr addr = test_addr("192.0.2.1");
	struct lease_result res = {};

	(void)state;
	assert_int_equal(open_by(10, NOW + 60 * NSEC_PER_SEC, &res), 0);
	assert_true(lease_holds(&f.maps, 1, 9, &addr, NOW));
	assert_true(lease_holds(&f.maps, 1, 10, &addr, NOW));
	assert_false(lease_holds(&f.maps, 1, 11, &addr, NOW));
	assert_int_equal(open_by(9, NOW + 60 * NSEC_PER_SEC, &res), 0);
	assert_int_equal(res.written, 1);
	assert_int_equal(open_by(11, NOW + 60 * NSEC_PER_SEC, &res), 0);
	assert_int_equal(res.written, 2);
	assert_true(lease_holds(&f.maps, 1, 11, &addr, NOW));
	/* An older one renews it and takes nothing from the younger. */
	assert_int_equal(open_by(9, NOW + 90 * NSEC_PER_SEC, &res), 0);
	assert_int_equal(f.leases[0].slots[0].generation, 11);
	/* Taken for another set, nothing of the old is left. */
	f.leases[0].slots[0].set = SET(2);
	f.leases[0].slots[0].expires = NOW - 1;
	for (int i = 1; i < SLUICE_LEASE_SLOTS; i++)
		f.leases[0].slots[i] = (struct sluice_lease_slot){ NOW + 1, 5, SET(9), 99 };
	assert_int_equal(open_by(9, NOW + 60 * NSEC_PER_SEC, &res), 0);
	assert_int_equal(f.leases[0].slots[0].generation, 9);
}

/* Hazard 23: what is no name set never gets into the table. */
static void only_name_sets(void **state)
{
	struct lease_result res = {};

	(void)state;
	assert_int_equal(open_for(1, 7, NOW + 60 * NSEC_PER_SEC, &res), -EINVAL);
	assert_int_equal(f.nleases, 0);
}

static void leases_end(void **state)
{
	struct sluice_addr addr = test_addr("192.0.2.1");
	struct lease_result res = {};

	(void)state;
	assert_false(lease_holds(&f.maps, 1, 77, &addr, NOW));
	assert_int_equal(open_for(SET(1), 7, NOW + 60 * NSEC_PER_SEC, &res), 0);
	assert_true(lease_holds(&f.maps, 1, 77, &addr, NOW));
	assert_false(lease_holds(&f.maps, 2, 77, &addr, NOW));
	assert_false(lease_holds(&f.maps, 1, 77, &addr, NOW + 60 * NSEC_PER_SEC));
}

/* What is in the table is not what a name opened only because it is there. */
static void other_sets_are_no_leases(void **state)
{
	struct sluice_addr addr = test_addr("192.0.2.1");
	struct lease_result res = {};

	(void)state;
	assert_int_equal(open_for(SET(1), 7, NOW + 60 * NSEC_PER_SEC, &res), 0);
	f.leases[0].slots[0].set = 1;
	assert_false(lease_holds(&f.maps, 1, 77, &addr, NOW));
}

/* Each name has a slot while there are some, so that the log can tell them; one that has run out is kept as long. */
static void names_have_slots_of_their_own(void **state)
{
	struct lease_result res = {};

	(void)state;
	assert_int_equal(open_for(SET(1), 7, NOW + 60 * NSEC_PER_SEC, &res), 0);
	assert_int_equal(open_for(SET(1), 8, NOW + 60 * NSEC_PER_SEC, &res), 0);
	assert_int_equal(f.leases[0].slots[0].name, 7);
	assert_int_equal(f.leases[0].slots[1].name, 8);
	f.leases[0].slots[0].expires = NOW - 1;
	assert_int_equal(open_for(SET(1), 9, NOW + 60 * NSEC_PER_SEC, &res), 0);
	assert_int_equal(f.leases[0].slots[0].name, 7);
	assert_int_equal(f.leases[0].slots[2].name, 9);
}

/* However short a lease is: the next second's answer finds it over, though it would end within a second of it. */
static void what_has_run_out_is_written_again(void **state)
{
	struct lease_result res = {};

	(void)state;
	assert_int_equal(open_for(SET(1), 7, NOW + NSEC_PER_SEC / 2, &res), 0);
	f.leases[0].slots[0].expires = NOW - NSEC_PER_SEC / 4;
	assert_int_equal(open_for(SET(1), 7, NOW + NSEC_PER_SEC / 2, &res), 0);
	assert_int_equal(res.written, 2);
	assert_int_equal(f.leases[0].slots[0].expires, NOW + NSEC_PER_SEC / 2);
}

/* All that differs by so much shares a set of the memo. */
#define ALIAS LEASE_MEMO_SETS

static const struct lease_memo_entry *recall(const struct lease_memo *memo, uint64_t policy_id, uint64_t name,
					     uint32_t nsets, uint32_t set, const char *addr)
{
	const uint32_t sets[2] = { set, SET(2) };
	const struct lease_request req = {
		.policy = policy_id, .name = name, .now = NOW, .by = { 3, 77 }, .nsets = nsets, .sets = sets
	};
	const struct sluice_addr a = test_addr(addr);

	return lease_recall(memo, ledger, &req, &a);
}

static void remember(struct lease_memo *memo, uint32_t nsets)
{
	static const struct wire_name text = { .len = 9, .text = "a.example" };
	const uint32_t sets[2] = { SET(1), SET(2) };
	const struct lease_request req = { .policy = 1,
					   .text = &text,
					   .name = 7,
					   .now = NOW,
					   .expires = NOW + 60 * NSEC_PER_SEC,
					   .by = { 3, 77 },
					   .nsets = nsets,
					   .sets = sets };
	const struct sluice_addr addr = test_addr("2001:db8::1");
	struct lease_result res = {};

	assert_int_equal(lease_write(&f.maps, ledger, &req, &addr, &res), 0);
	lease_remember(memo, &req, &addr, &res);
}

/* Each part of what is asked for counts, also where their places in the memo are the same. */
static void the_memo_confuses_nothing(void **state)
{
	static struct lease_memo memo;

	(void)state;
	memset(&memo, 0, sizeof(memo));
	remember(&memo, 1);
	assert_non_null(recall(&memo, 1, 7, 1, SET(1), "2001:db8::1"));
	assert_null(recall(&memo, 1 + ALIAS, 7, 1, SET(1), "2001:db8::1"));
	assert_null(recall(&memo, 1, 7 + ALIAS, 1, SET(1), "2001:db8::1"));
	assert_null(recall(&memo, 1, 7, 1, SET(2), "2001:db8::1"));
	assert_null(recall(&memo, 1, 7, 1, SET(1), "2001:db9::1"));
	assert_null(recall(&memo, 1, 7, 2, SET(1), "2001:db8::1"));
}

static void several_sets_are_not_remembered(void **state)
{
	static struct lease_memo memo;

	(void)state;
	memset(&memo, 0, sizeof(memo));
	remember(&memo, 2);
	assert_false(memo.used);
	assert_null(recall(&memo, 1, 7, 1, SET(1), "2001:db8::1"));
}

static void names_have_keyed_ids(void **state)
{
	struct wire_name n = { .len = 9, .text = "a.example" };
	uint64_t first = lease_name_id(&f.maps, &n);

	(void)state;
	assert_int_equal(first, lease_name_id(&f.maps, &n));
	assert_int_not_equal(first, 0);
	f.settings.name_key[1] = 99;
	assert_int_not_equal(first, lease_name_id(&f.maps, &n));
}

/* Its text is there before a lease tells of it, and is not written for one that stands. */
static void names_come_with_the_first_lease(void **state)
{
	struct lease_result res = {};

	(void)state;
	assert_int_equal(open_for(SET(1), 7, NOW + 60 * NSEC_PER_SEC, &res), 0);
	assert_int_equal(f.nnames, 1);
	assert_int_equal(f.names[0].id, 7);
	assert_memory_equal(f.names[0].text, "a.example", 10);
	f.nnames = 0;
	res = (struct lease_result){};
	assert_int_equal(open_for(SET(1), 7, NOW + 60 * NSEC_PER_SEC, &res), 0);
	assert_int_equal(f.nnames, 0);
	f.max_names = 0;
	assert_int_equal(open_for(SET(2), 8, NOW + 60 * NSEC_PER_SEC, &res), -E2BIG);
	assert_int_equal(f.lease_writes, 1);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lengths_are_clamped),
		TEST(unchanged_is_not_written),
		TEST(slots_are_taken_in_order_and_end),
		TEST(the_youngest_asker_bounds_it),
		TEST(only_name_sets),
		TEST(leases_end),
		TEST(other_sets_are_no_leases),
		TEST(names_have_slots_of_their_own),
		TEST(what_has_run_out_is_written_again),
		TEST(the_memo_confuses_nothing),
		TEST(several_sets_are_not_remembered),
		TEST(names_have_keyed_ids),
		TEST(names_come_with_the_first_lease),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
