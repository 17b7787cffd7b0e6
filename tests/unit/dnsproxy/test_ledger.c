/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/dnsproxy/dns_test.h"
#include "tests/unit/dnsproxy/fake.h"

#include <errno.h>

#include "base/clock.h"
#include "bpf/lease_use.h"

#define NOW   (1000 * NSEC_PER_SEC)
#define LATER (NOW + 100 * NSEC_PER_SEC) /* nobody has asked lately */
#define SIZE  64

static struct fake f;
static struct compiled policy;
static struct ledger *ledger;

static void live(uint32_t endpoint, uint32_t generation)
{
	f.endpoints[endpoint].generation = generation;
}

static int set_up(void **state)
{
	(void)state;
	policy = test_compile(CNP_HEAD "  egress:\n  - toFQDNs: [{matchName: a.example}]\n", NULL);
	fake_new(&f, policy.img);
	f.maps.nleases = f.max_leases = SIZE;
	live(4, 104);
	live(5, 105);
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

/* Address number `n`. */
static struct sluice_addr address(uint32_t n)
{
	char text[32];

	snprintf(text, sizeof(text), "198.51.%u.%u", n / 256, n % 256);
	return test_addr(text);
}

static int ask(uint32_t endpoint, uint32_t n, uint64_t seconds, uint64_t now)
{
	static const struct wire_name text = { .len = 9, .text = "a.example" };
	const uint32_t set = SLUICE_SET_NAME | 1;
	struct lease_request req = { .policy = 1,
				     .text = &text,
				     .name = 7,
				     .now = now,
				     .expires = now + seconds * NSEC_PER_SEC,
				     .by = { endpoint, f.endpoints[endpoint].generation },
				     .nsets = 1,
				     .sets = &set };
	struct sluice_addr addr = address(n);
	struct lease_result res = {};

	return lease_write(&f.maps, ledger, &req, &addr, &res);
}

static bool is_open(uint32_t n)
{
	struct sluice_addr addr = address(n);

	return lease_holds(&f.maps, 1, 0, &addr, 0);
}

static uint32_t open_count(uint32_t first, uint32_t count)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < count; i++)
		n += is_open(first + i);
	return n;
}

static void use(uint32_t n, uint64_t now)
{
	struct sluice_addr addr = address(n);

	f.lease_use[lease_use_index(1, &addr)] = now;
}

/* Hazard 20: whatever one endpoint asks, another keeps its leases and gets new ones, up to an equal part. */
static void a_flood_takes_its_own_part(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(ask(4, 1000 + i, 600, NOW), 0);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(ask(3, i, 600, LATER), 0);
	assert_int_equal(open_count(1000, 3), 3);
	assert_int_equal(f.nleases, SIZE);
	assert_int_equal(ledger_held(ledger, 3), SIZE - 3);
	assert_true(is_open(499));		 /* the last asked for are there, */
	assert_int_equal(open_count(0, 400), 0); /* and the first have gone */
	for (uint32_t i = 3; i < SIZE / 2; i++)
		assert_int_equal(ask(4, 1000 + i, 600, LATER), 0);
	assert_int_equal(open_count(1000, SIZE / 2), SIZE / 2);
	/* A third: each has a third then. */
	for (uint32_t i = 0; i < SIZE / 3; i++)
		assert_int_equal(ask(5, 2000 + i, 600, LATER), 0);
	assert_int_equal(open_count(2000, SIZE / 3), SIZE / 3);
	assert_in_range(ledger_held(ledger, 4), SIZE / 3, SIZE / 3 + 1);
	/* Beyond its part it pays with its own. */
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(ask(5, 3000 + i, 600, LATER), 0);
	assert_in_range(ledger_held(ledger, 4), SIZE / 3, SIZE / 3 + 1);
	assert_in_range(ledger_held(ledger, 3), SIZE / 3, SIZE / 3 + 1);
}

static void what_has_run_out_goes_first(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(ask(4, 1000 + i, 50, NOW), 0);
	for (uint32_t i = 0; i < SIZE - 4; i++)
		assert_int_equal(ask(3, i, 600, NOW), 0);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(ask(3, 500 + i, 600, LATER), 0);
	assert_int_equal(open_count(0, SIZE - 4), SIZE - 4);
	assert_int_equal(open_count(1000, 4), 0);
}

static void the_idlest_goes(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < SIZE; i++)
		assert_int_equal(ask(3, i, 600, NOW), 0);
	assert_int_equal(ask(3, 0, 600, LATER), 0); /* renewed */
	assert_int_equal(ask(3, 1000, 600, LATER), 0);
	assert_true(is_open(0));
	assert_false(is_open(1));
}

/* Another endpoint of the policy asked for it too: the flood of the one that pays for it does not take it away. */
static void what_another_asked_for_stays(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < SIZE; i++)
		assert_int_equal(ask(3, i, 600, NOW), 0);
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(ask(4, i, 600, NOW), 0);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(ask(3, 1000 + i, 600, LATER), 0);
	assert_int_equal(open_count(0, 20), 20);
	assert_int_equal(f.nleases, SIZE);
}

/* A flow lives by it: it goes for nobody but an endpoint that has less. */
static void what_lives_is_kept(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < SIZE; i++)
		assert_int_equal(ask(3, i, 50, NOW), 0);
	for (uint32_t i = 0; i < SIZE - 1; i++)
		use(i, LATER); /* expired, too */
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(ask(3, 1000 + i, 600, LATER), 0);
	assert_int_equal(open_count(0, SIZE - 1), SIZE - 1);
	use(1009, LATER);
	assert_int_equal(ask(3, 2000, 600, LATER), -E2BIG);
	assert_int_equal(open_count(0, SIZE - 1), SIZE - 1);
	assert_int_equal(ask(4, 3000, 600, LATER), 0);
	assert_true(is_open(3000));
}

static void the_dead_leave_room(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < SIZE / 2; i++)
		assert_int_equal(ask(3, i, 600, NOW), 0);
	for (uint32_t i = 0; i < SIZE / 2; i++)
		assert_int_equal(ask(4, 1000 + i, 600, NOW), 0);
	live(4, 204); /* another pod in the slot */
	assert_int_equal(ask(4, 2000, 600, NOW), 0);
	assert_int_equal(ledger_held(ledger, 4), 1);
	for (uint32_t i = 1; i < SIZE / 2; i++)
		assert_int_equal(ask(4, 2000 + i, 600, NOW), 0);
	assert_int_equal(open_count(0, SIZE / 2), SIZE / 2);
	assert_int_equal(open_count(2000, SIZE / 2), SIZE / 2);
	/* Nobody has taken its slot yet. */
	live(3, 0);
	for (uint32_t i = 0; i < SIZE / 2; i++)
		assert_int_equal(ask(5, 3000 + i, 600, NOW), 0);
	assert_int_equal(open_count(2000, SIZE / 2), SIZE / 2);
	assert_int_equal(open_count(3000, SIZE / 2), SIZE / 2);
}

/* What others put into the table, and took out of it. */
static void the_table_is_walked_when_it_knows_more(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < SIZE / 2; i++)
		assert_int_equal(ask(3, i, 600, NOW), 0);
	for (uint32_t i = 0; i < SIZE / 2; i++)
		assert_int_equal(ask(4, 1000 + i, 600, NOW), 0);
	ledger_freep(&ledger);
	assert_int_equal(ledger_new(&f.maps, &ledger), 0);
	assert_int_equal(ask(3, 500, 600, LATER), 0);
	assert_int_equal(f.walks, 1);
	assert_int_equal(ledger_held(ledger, 3), SIZE / 2);
	assert_int_equal(ledger_held(ledger, 4), SIZE / 2);
	assert_int_equal(open_count(1000, SIZE / 2), SIZE / 2);
	/* All go but one, and others come. */
	f.nleases = 1;
	for (uint32_t i = 0; i < SIZE; i++) {
		f.leases[i].key = (struct sluice_lease_key){ .policy = 9, .addr = address(i) };
		f.leases[i].slots[0] =
			(struct sluice_lease_slot){ LATER + 600 * NSEC_PER_SEC, 7, SLUICE_SET_NAME | 1, 105 };
	}
	f.nleases = SIZE;
	for (uint32_t i = 0; i < SIZE / 2; i++)
		assert_int_equal(ask(3, 700 + i, 600, LATER + 60 * NSEC_PER_SEC), 0);
	assert_int_equal(f.walks, 2);
	assert_int_equal(open_count(700, SIZE / 2), SIZE / 2);
}

/* An answer that is remembered opens nothing once its lease has made room. */
static void what_has_gone_is_not_remembered(void **state)
{
	struct ledger_asker by = { 3, 77 };
	struct sluice_lease_key key = { .policy = 1, .addr = address(0) };
	uint32_t place;

	(void)state;
	place = ledger_note(ledger, &key, by, NOW + 600 * NSEC_PER_SEC, NOW);
	assert_int_not_equal(place, 0);
	assert_true(ledger_touch(ledger, place, &key, by, NOW));
	f.leases[f.nleases++].key = key;
	assert_true(ledger_make_room(ledger, by, NOW));
	assert_int_equal(f.nleases, 0);
	assert_false(ledger_touch(ledger, place, &key, by, NOW));
	assert_false(ledger_touch(ledger, 0, &key, by, NOW));
}

/* ---- which of them goes, and what that rests on ------------------------------------------------------------------ */

static struct ledger_asker asker(uint32_t endpoint)
{
	return (struct ledger_asker){ endpoint, f.endpoints[endpoint].generation };
}

static struct sluice_lease_key key_of(uint32_t n)
{
	return (struct sluice_lease_key){ .policy = 1, .addr = address(n) };
}

static void fill(uint32_t endpoint, uint32_t first, uint32_t count, uint64_t now)
{
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(ask(endpoint, first + i, 600, now), 0);
}

/* Asked for again, it is behind those that were not, also among those that are all recent. */
static void the_longest_unasked_goes(void **state)
{
	(void)state;
	fill(3, 0, SIZE, NOW);
	fill(3, 0, 1, NOW);
	fill(3, 1000, 1, NOW);
	assert_true(is_open(0));
	assert_false(is_open(1));
}

/* An answer that was remembered does not move it, but says that somebody is about to connect. */
static void what_was_just_told_stays(void **state)
{
	struct sluice_lease_key key = key_of(0);
	uint32_t place;

	(void)state;
	place = ledger_note(ledger, &key, asker(3), NOW + 600 * NSEC_PER_SEC, NOW);
	fill(3, 0, SIZE, NOW);
	assert_true(ledger_touch(ledger, place, &key, asker(3), LATER));
	fill(3, 1000, 1, LATER);
	assert_true(is_open(0));
	assert_false(is_open(1));
}

/* What has run out goes before what is only idle, also where the hand has not come yet. */
static void what_has_run_out_is_found_in_the_list(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < SIZE; i++)
		assert_int_equal(ask(3, i, i == 40 ? 50 : 600, NOW), 0);
	for (uint32_t i = 2; i < SIZE; i++)
		if (i != 40)
			fill(3, i, 1, NOW); /* so it is the third now */
	fill(3, 1000, 1, LATER);
	assert_true(is_open(0));
	assert_false(is_open(40));
}

/* Whoever comes into a dead endpoint's slot is charged with nothing of that, whether the table is full or not. */
static void a_new_one_is_charged_with_its_own(void **state)
{
	(void)state;
	fill(4, 0, 10, NOW);
	assert_int_equal(ledger_held(ledger, 4), 10);
	live(4, 204);
	fill(4, 100, 1, NOW);
	assert_int_equal(ledger_held(ledger, 4), 1);
}

/* Two asked, one is dead: the other has it for itself then, and pays for it like for any. */
static void what_one_has_left_is_shared_no_more(void **state)
{
	(void)state;
	fill(5, 0, 1, NOW);
	fill(4, 0, 1, NOW);
	assert_int_equal(ledger_held(ledger, 4), 0);
	live(5, 0);
	fill(4, 0, 1, NOW);
	assert_int_equal(ledger_held(ledger, 4), 1);
	fill(4, 1, SIZE - 1, NOW);
	fill(4, 1000, 1, LATER);
	assert_false(is_open(0));
}

/* Others' flows live by what a dead endpoint has asked for. */
static void what_lives_outlives_its_asker(void **state)
{
	(void)state;
	fill(5, 0, 40, NOW);
	fill(3, 100, SIZE - 40, NOW);
	for (uint32_t i = 0; i < 40; i++)
		use(i, LATER);
	live(5, 0);
	fill(3, 1000, 20, LATER);
	assert_int_equal(ledger_held(ledger, 5), 0);
	assert_int_equal(open_count(0, 40), 40);
	assert_int_equal(open_count(1000, 20), 20);
}

/* A key is a policy and an address. */
static void a_lease_is_one_policys(void **state)
{
	struct sluice_lease_key key = key_of(0);
	uint32_t place = ledger_note(ledger, &key, asker(3), NOW + 600 * NSEC_PER_SEC, NOW);

	(void)state;
	assert_true(ledger_touch(ledger, place, &key, asker(3), NOW));
	key.policy = 2;
	assert_false(ledger_touch(ledger, place, &key, asker(3), NOW));
}

/* The agent collects what has run out, unseen: that makes room here too. */
static void what_was_collected_makes_room(void **state)
{
	struct sluice_lease_key key = key_of(2000);

	(void)state;
	for (uint32_t i = 0; i < SIZE; i++)
		assert_int_equal(ask(3, i, 50, NOW), 0);
	f.nleases = 0;
	assert_int_not_equal(ledger_note(ledger, &key, asker(4), LATER + 600 * NSEC_PER_SEC, LATER), 0);
	assert_int_equal(ledger_held(ledger, 3), SIZE - 1);
	assert_int_equal(ledger_held(ledger, 4), 1);
}

/* ---- the walk ---------------------------------------------------------------------------------------------------- */

/* Into the kernel's table behind the ledger's back. */
static void put_unseen(uint32_t n, uint32_t generation, uint64_t expires)
{
	struct sluice_lease *lease = &f.leases[f.nleases++];

	*lease = (struct sluice_lease){ .key = key_of(n) };
	lease->slots[0] = (struct sluice_lease_slot){ expires, 7, SLUICE_SET_NAME | 1, generation };
}

/* Several slots: the youngest asker, who alone is known to have asked, and the last end count. */
static void a_walk_reads_all_slots(void **state)
{
	const uint64_t end = LATER + 600 * NSEC_PER_SEC;

	(void)state;
	put_unseen(0, 104, LATER - 1);
	f.leases[0].slots[1] = (struct sluice_lease_slot){ end, 8, SLUICE_SET_NAME | 2, 105 };
	f.leases[0].slots[2] = (struct sluice_lease_slot){ LATER - 1, 9, SLUICE_SET_NAME | 3, 103 };
	for (uint32_t i = 1; i < SIZE; i++)
		put_unseen(i, 104, end);
	fill(3, 1000, 1, LATER);
	assert_int_equal(f.walks, 1);
	assert_int_equal(ledger_held(ledger, 5), 1);
	assert_int_equal(ledger_held(ledger, 4), SIZE - 2);
	assert_true(is_open(0));
}

/* What a walk finds was asked nobody knows when; what is known was just asked for, and stays so, however much that is. */
static void a_walk_changes_nothing_known(void **state)
{
	const uint32_t found = SIZE - 24;

	(void)state;
	live(3, 77);
	fill(3, 1000, SIZE - found, LATER);
	for (uint32_t i = 0; i < found; i++)
		put_unseen(i, 77, LATER + 600 * NSEC_PER_SEC);
	fill(3, 2000, SIZE / 4, LATER);
	assert_int_equal(f.walks, 1);
	assert_int_equal(open_count(1000, SIZE - found), SIZE - found);
	assert_int_equal(open_count(0, found), found - SIZE / 4);
	assert_int_equal(ledger_held(ledger, 3), SIZE);
}

/* What has gone from the table is nobody's charge after a walk: the first one, and each that follows. */
static void a_walk_forgets_what_has_gone(void **state)
{
	(void)state;
	fill(4, 0, 20, NOW);
	fill(5, 100, 20, NOW);
	fill(3, 200, 10, NOW);
	f.nleases = 40;
	assert_true(ledger_make_room(ledger, asker(4), NOW));
	assert_int_equal(f.walks, 1);
	assert_int_equal(ledger_held(ledger, 3), 0);
	assert_int_equal(ledger_held(ledger, 4), 19);
	assert_int_equal(ledger_held(ledger, 5), 20);
	f.nleases = 0;
	for (uint32_t i = 1; i < 20; i++)
		put_unseen(i, 104, NOW + 600 * NSEC_PER_SEC);
	assert_true(ledger_make_room(ledger, asker(4), NOW + 10 * NSEC_PER_SEC));
	assert_int_equal(f.walks, 2);
	assert_int_equal(ledger_held(ledger, 4), 18);
	assert_int_equal(ledger_held(ledger, 5), 0);
}

/* Whatever others put into a full table, to look at all of it is dear, and done every few seconds at most. */
static void walks_have_pauses(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < SIZE; i++)
		put_unseen(i, 104, LATER + 600 * NSEC_PER_SEC);
	fill(3, 1000, 1, LATER);
	assert_int_equal(f.walks, 1);
	f.nleases = 0;
	for (uint32_t i = 0; i < SIZE; i++)
		put_unseen(5000 + i, 105, LATER + 600 * NSEC_PER_SEC);
	assert_int_equal(ask(3, 2000, 600, LATER + NSEC_PER_SEC), -E2BIG);
	assert_int_equal(f.walks, 1);
	assert_int_equal(ask(3, 2000, 600, LATER + 6 * NSEC_PER_SEC), 0);
	assert_int_equal(f.walks, 2);
}

/* ---- larger tables ----------------------------------------------------------------------------------------------- */

static uint32_t walked;
static int answer_of_delete;

static int delete_any(void *context, const struct sluice_lease_key *key)
{
	(void)context;
	(void)key;
	return answer_of_delete;
}

static int walk_nothing(void *context, maps_lease_fn *each, void *each_context)
{
	(void)context;
	(void)each;
	(void)each_context;
	walked++;
	return 0;
}

/* A ledger of that size, all of it held by endpoint 3. */
static struct maps use_large(uint32_t size)
{
	struct maps m = f.maps;

	m.nleases = size;
	m.delete_lease = delete_any;
	m.each_lease = walk_nothing;
	return m;
}

static void hold(uint32_t count, uint64_t now)
{
	for (uint32_t i = 0; i < count; i++) {
		struct sluice_lease_key key = key_of(i);

		assert_int_not_equal(ledger_note(ledger, &key, asker(3), LATER + 600 * NSEC_PER_SEC, now), 0);
	}
}

/* Nothing is as it was: after some that have gone already the whole table is looked at, not the next some. */
static void many_that_have_gone_mean_a_walk(void **state)
{
	struct maps m = use_large(4096);

	(void)state;
	ledger_freep(&ledger);
	assert_int_equal(ledger_new(&m, &ledger), 0);
	hold(4096, NOW);
	walked = 0;
	answer_of_delete = -ENOENT;
	assert_true(ledger_make_room(ledger, asker(3), NOW));
	assert_int_equal(walked, 1);
	assert_int_equal(ledger_held(ledger, 3), 0);
}

/* A search is bounded. What it passed over is last in the next one, or one that has many live ones never got further. */
static void a_search_goes_on_where_one_ended(void **state)
{
	struct maps m = use_large(300);

	(void)state;
	ledger_freep(&ledger);
	assert_int_equal(ledger_new(&m, &ledger), 0);
	hold(300, NOW);
	for (uint32_t i = 0; i < 290; i++)
		use(i, LATER);
	answer_of_delete = 0;
	assert_false(ledger_make_room(ledger, asker(3), LATER));
	assert_true(ledger_make_room(ledger, asker(3), LATER));
	assert_int_equal(ledger_held(ledger, 3), 299);
}

/* Addresses that differ in their last bits, of either family, have words of their own. */
static void neighbours_share_no_word(void **state)
{
	static uint16_t used[SLUICE_LEASE_USE_WORDS];
	uint32_t distinct = 0;

	(void)state;
	for (uint32_t i = 0; i < 4096; i++) {
		struct sluice_addr v4 = address(i), v6 = test_addr("2001:db8::");

		v6.b[i % 2 ? 15 : 7] = (uint8_t)i;
		v6.b[i % 2 ? 14 : 6] = (uint8_t)(i >> 8);
		distinct += used[lease_use_index(1, &v4)]++ == 0;
		distinct += used[lease_use_index(1, &v6)]++ == 0;
	}
	assert_true(distinct > 7200); /* 7703 are to be expected of a perfect hash */
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_flood_takes_its_own_part),
		TEST(what_has_run_out_goes_first),
		TEST(the_idlest_goes),
		TEST(what_another_asked_for_stays),
		TEST(what_lives_is_kept),
		TEST(the_dead_leave_room),
		TEST(the_table_is_walked_when_it_knows_more),
		TEST(what_has_gone_is_not_remembered),
		TEST(the_longest_unasked_goes),
		TEST(what_was_just_told_stays),
		TEST(what_has_run_out_is_found_in_the_list),
		TEST(a_new_one_is_charged_with_its_own),
		TEST(what_one_has_left_is_shared_no_more),
		TEST(what_lives_outlives_its_asker),
		TEST(a_lease_is_one_policys),
		TEST(what_was_collected_makes_room),
		TEST(a_walk_reads_all_slots),
		TEST(a_walk_changes_nothing_known),
		TEST(a_walk_forgets_what_has_gone),
		TEST(walks_have_pauses),
		TEST(many_that_have_gone_mean_a_walk),
		TEST(a_search_goes_on_where_one_ended),
		TEST(neighbours_share_no_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
