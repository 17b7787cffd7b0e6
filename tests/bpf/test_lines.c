/* SPDX-License-Identifier: Apache-2.0 */
/* The lines before the leases (bpf/lease_line.h): what one opens, when it is not believed, and how they are written. */
#include <netinet/in.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "bpf/lease_line.h"
#include "tests/bpf/harness.h"

#define NO    SLUICE_REASON_POLICY_DEFAULT
#define NEVER (~0ull)

/* Of one name, under set 1; its line, and nothing in the hash. */
static struct sluice_lease lease_of(const char *addr)
{
	struct sluice_lease lease = { .key.policy = TEST_POLICY };

	assert_int_equal(addr_parse(addr, &lease.key.addr), 0);
	lease.slots[2] = (struct sluice_lease_slot){
		.expires = NEVER, .name = 1001, .set = SLUICE_SET_NAME | 1, .generation = TEST_GENERATION
	};
	return lease;
}

static void allow_set(struct harness *h, uint32_t set, uint16_t port)
{
	add_rule(h, TEST_POLICY, SLUICE_SET_NAME | set, IPPROTO_TCP, port, 16,
		 (struct sluice_rule){ .precedence = SLUICE_PRECEDENCE_ALLOW, .rule = 3, .verdict = SLUICE_ALLOW });
}

static int reset(void **state)
{
	int r = harness_reset(state);

	set_state(*state, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1);
	allow_set(*state, 1, 443);
	return r;
}

static void put_line(struct harness *h, const struct sluice_lease *lease)
{
	lines_put(&h->lines, lease, 0);
}

static void put_hash(struct harness *h, const struct sluice_lease *lease)
{
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.leases), &lease->key, lease, BPF_ANY), 0);
}

static void expect(struct harness *h, const char *addr, uint16_t port, uint8_t reason)
{
	static uint16_t sport = 2000;
	struct frame f = pod_tcp(addr, ++sport, port, SYN);

	if (reason)
		expect_drop(h, &f, reason);
	else
		expect_pass(h, &f);
}

/* Where the lease's line is; false: it has none. */
static bool find_line(struct harness *h, const struct sluice_lease_key *key, uint32_t *ret_index,
		      struct sluice_lease_line *ret)
{
	*ret_index = lease_line_index(h->settings->lease_lines, key->policy, &key->addr);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(bpf_map_lookup_elem(h->lines.fd, ret_index, ret), 0);
		if (ret->key.policy == key->policy && addr_equal(&ret->key.addr, &key->addr))
			return true;
		*ret_index = lease_line_other(*ret_index);
	}
	return false;
}

static bool has_line(struct harness *h, const struct sluice_lease *lease)
{
	struct sluice_lease_line line;
	uint32_t index;

	return find_line(h, &lease->key, &index, &line);
}

/* ---- what a line opens ------------------------------------------------------------------------------------------- */

static void a_line_opens_what_its_lease_says(void **state)
{
	struct harness *h = *state;
	struct sluice_lease lease = lease_of(PEER4), lease6 = lease_of(PEER6);
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN);
	struct sluice_flow flow;

	put_line(h, &lease);
	put_line(h, &lease6);
	expect_pass(h, &syn);
	assert_true(find_flow(h, POD4, PEER4, IPPROTO_TCP, 1000, 443, &flow));
	assert_int_equal(flow.name, 1001);
	assert_int_equal(flow.rule, 3);
	assert_int_equal(flow.flags, SLUICE_FLOW_LEASE);
	expect(h, PEER6, 443, 0);
	expect(h, PEER4, 80, NO);
	expect(h, "192.0.2.8", 443, NO);
}

static void another_policys_line_opens_nothing(void **state)
{
	struct harness *h = *state;
	struct sluice_lease lease = lease_of(PEER4);

	lease.key.policy++;
	put_line(h, &lease);
	expect(h, PEER4, 443, NO);
}

static void what_denies_a_lease_denies_its_line(void **state)
{
	struct harness *h = *state;
	struct sluice_lease lease = lease_of(PEER4);

	put_line(h, &lease);
	deny(h, "192.0.2.0/24", 0, 0);
	expect(h, PEER4, 443, SLUICE_REASON_POLICY_DENY);
}

/* Half of one and half of another: each bit of it alone, in whichever place the line is. */
static void a_line_is_believed_whole_or_not_at_all(void **state)
{
	static const char *const addrs[] = { PEER4, PEER6 };
	struct harness *h = *state;

	h->settings->tombstone_quota = 4096;
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++) {
		struct sluice_lease lease = lease_of(addrs[i]);
		struct sluice_lease_line line;
		uint32_t index;

		put_line(h, &lease);
		assert_true(find_line(h, &lease.key, &index, &line));
		for (size_t bit = 0; bit < 8 * offsetof(struct sluice_lease_line, zero); bit++) {
			struct sluice_lease_line torn = line;

			((uint8_t *)&torn)[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(bpf_map_update_elem(h->lines.fd, &index, &torn, BPF_ANY), 0);
			expect(h, addrs[i], 443, NO);
		}
		assert_int_equal(bpf_map_update_elem(h->lines.fd, &index, &line, BPF_ANY), 0);
		expect(h, addrs[i], 443, 0);
		h->settings->name_key[0]++;
		expect(h, addrs[i], 443, NO);
	}
}

/* Words of two lines of the same lease, as two writers may leave them for a moment. */
static void lines_do_not_mix(void **state)
{
	struct harness *h = *state;
	struct sluice_lease lease = lease_of(PEER4);
	struct sluice_lease_line old, line;
	uint32_t index;

	lease.slots[2].expires = 1;
	lease.slots[2].name = 1002;
	lease.slots[2].generation = TEST_GENERATION - 1;
	put_line(h, &lease);
	assert_true(find_line(h, &lease.key, &index, &old));
	lease = lease_of(PEER4);
	put_line(h, &lease);
	assert_true(find_line(h, &lease.key, &index, &line));
	for (unsigned int words = 1; words < 1u << 3; words++) {
		struct sluice_lease_line mixed = old;

		mixed.slot.expires = line.slot.expires;
		mixed.slot.generation = line.slot.generation;
		if (words & 1)
			mixed.slot.name = line.slot.name;
		if (words & 2)
			mixed.check = line.check;
		if (words & 4)
			mixed.slot.set++;
		if (words == 3) /* then it is the new one */
			continue;
		assert_int_equal(bpf_map_update_elem(h->lines.fd, &index, &mixed, BPF_ANY), 0);
		expect(h, PEER4, 443, NO);
	}
}

/* ---- where the lease is asked ------------------------------------------------------------------------------------ */

/* A line that is behind its lease denies nothing. */
static void where_a_line_opens_nothing_the_lease_is_asked(void **state)
{
	struct harness *h = *state;
	struct sluice_lease lease = lease_of(PEER4), behind = lease;

	behind.slots[2].expires = 1;
	put_line(h, &behind);
	expect(h, PEER4, 443, NO);
	behind = lease;
	behind.slots[2].generation = TEST_GENERATION - 1;
	put_line(h, &behind);
	expect(h, PEER4, 443, NO);
	behind = lease;
	behind.slots[2].set = SLUICE_SET_NAME | 2;
	put_line(h, &behind);
	expect(h, PEER4, 443, NO);
	assert_true(has_line(h, &lease));
	behind = lease;
	behind.slots[5] = lease.slots[2];
	behind.slots[5].set = SLUICE_SET_NAME | 2;
	put_hash(h, &behind);
	expect(h, PEER4, 443, 0);
	behind = lease;
	behind.slots[2].expires = 1;
	put_line(h, &behind);
	expect(h, PEER4, 443, 0);
}

/* A line is no witness for a flow that lives: a slot that has run out speaks for it, and what deleted the lease ends that. */
static void a_live_flow_asks_the_lease(void **state)
{
	struct harness *h = *state;
	struct sluice_lease lease = lease_of(PEER4);
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN), data = pod_tcp(PEER4, 1000, 443, ACK);

	write_lease(h, &lease);
	expect_pass(h, &syn);
	set_state(h, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 2);
	expect_pass(h, &data);
	assert_int_equal(bpf_map_delete_elem(bpf_map__fd(h->skel->maps.leases), &lease.key), 0);
	assert_true(has_line(h, &lease));
	set_state(h, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 3);
	expect_drop(h, &data, SLUICE_REASON_CUT);
}

/* Pins of an agent that had no lines. */
static void without_lines_leases_are_asked(void **state)
{
	struct harness *h = *state;
	struct sluice_lease lease = lease_of(PEER4);

	put_line(h, &lease);
	h->settings->lease_lines = 0;
	expect(h, PEER4, 443, NO);
	put_line(h, &lease);
	lines_clear(&h->lines, &lease.key);
	put_hash(h, &lease);
	expect(h, PEER4, 443, 0);
}

/* ---- how lines are written --------------------------------------------------------------------------------------- */

static void a_lease_of_one_set_has_a_line(void **state)
{
	struct harness *h = *state;
	struct sluice_lease lease = lease_of(PEER4);
	struct sluice_lease_line line;
	uint32_t index;

	lines_put(&h->lines, &lease, 100);
	assert_true(has_line(h, &lease));
	lease.slots[4] = lease.slots[2];
	lease.slots[4].name = 1002;
	lease.slots[4].expires = 101;
	lines_put(&h->lines, &lease, 100);
	assert_true(find_line(h, &lease.key, &index, &line));
	assert_int_equal(line.slot.name, 1001);
	lease.slots[4].set++;
	lines_put(&h->lines, &lease, 100);
	assert_false(has_line(h, &lease));
	expect(h, PEER4, 443, NO);
	/* The first one ran out. */
	lease.slots[2].expires = 100;
	lines_put(&h->lines, &lease, 100);
	assert_true(find_line(h, &lease.key, &index, &line));
	assert_int_equal(line.slot.name, 1002);
	lines_put(&h->lines, &lease, 101);
	assert_false(has_line(h, &lease));
}

/* `n` leases that have the same two places, the same one first, and run out one after the other. */
static void neighbours(struct harness *h, struct sluice_lease *leases, size_t n)
{
	size_t found = 0;
	uint32_t place = 0;

	for (uint32_t i = 0; found < n; i++) {
		struct sluice_lease lease = lease_of("8.0.0.0");
		uint32_t at;

		lease.key.addr.w[3] = htonl(0x08000000 + i);
		at = lease_line_index(h->settings->lease_lines, TEST_POLICY, &lease.key.addr);
		if (found && at != place)
			continue;
		place = at;
		lease.slots[2].expires = 1000 + found;
		leases[found++] = lease;
	}
}

static void leases_take_lines_from_each_other(void **state)
{
	struct harness *h = *state;
	static const int turns[] = { 2, 1, 1, 1 };
	struct sluice_lease l[3];

	neighbours(h, l, ARRAY_SIZE(l));
	lines_put(&h->lines, &l[1], 0);
	lines_put(&h->lines, &l[0], 0);
	assert_true(has_line(h, &l[0]) && has_line(h, &l[1]));
	/* What is over sooner goes. */
	lines_put(&h->lines, &l[2], 0);
	assert_true(has_line(h, &l[1]) && has_line(h, &l[2]) && !has_line(h, &l[0]));
	lines_clear(&h->lines, &l[0].key);
	assert_true(has_line(h, &l[1]) && has_line(h, &l[2]));
	/* Its own place, whichever it is, and whoever has the other. */
	for (size_t i = 0; i < ARRAY_SIZE(turns); i++) {
		l[turns[i]].slots[2].expires += 100;
		lines_put(&h->lines, &l[turns[i]], 0);
		assert_true(has_line(h, &l[1]) && has_line(h, &l[2]));
	}
	lines_clear(&h->lines, &l[1].key);
	assert_true(has_line(h, &l[2]) && !has_line(h, &l[1]));
	lines_clear(&h->lines, &l[2].key);
	assert_false(has_line(h, &l[2]));
}

static void a_line_is_found_in_either_place(void **state)
{
	struct harness *h = *state;
	struct sluice_lease l[2];
	char text[ADDR_TEXT_MAX];

	neighbours(h, l, ARRAY_SIZE(l));
	for (size_t i = 0; i < ARRAY_SIZE(l); i++) {
		l[i].slots[2].expires = NEVER;
		put_line(h, &l[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(l); i++) {
		addr_format(&l[i].key.addr, text);
		expect(h, text, 443, 0);
		lines_clear(&h->lines, &l[i].key);
		expect(h, text, 443, NO);
	}
}

/* Two writers may have taken both places for one lease. */
static void both_places_are_cleared(void **state)
{
	struct harness *h = *state;
	struct sluice_lease lease = lease_of(PEER4);
	struct sluice_lease_line line, there;
	uint32_t index, other;

	for (int put = 0; put < 2; put++) {
		put_line(h, &lease);
		assert_true(find_line(h, &lease.key, &index, &line));
		other = lease_line_other(index);
		assert_int_equal(bpf_map_update_elem(h->lines.fd, &other, &line, BPF_ANY), 0);
		if (put) {
			put_line(h, &lease);
			assert_int_equal(bpf_map_lookup_elem(h->lines.fd, &index, &line), 0);
			assert_int_equal(bpf_map_lookup_elem(h->lines.fd, &other, &there), 0);
			assert_true((line.key.policy == 0) != (there.key.policy == 0));
		} else {
			lines_clear(&h->lines, &lease.key);
			assert_false(has_line(h, &lease));
		}
	}
}

#define TEST(f) cmocka_unit_test_setup(f, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_line_opens_what_its_lease_says),
		TEST(another_policys_line_opens_nothing),
		TEST(what_denies_a_lease_denies_its_line),
		TEST(a_line_is_believed_whole_or_not_at_all),
		TEST(lines_do_not_mix),
		TEST(where_a_line_opens_nothing_the_lease_is_asked),
		TEST(a_live_flow_asks_the_lease),
		TEST(without_lines_leases_are_asked),
		TEST(a_lease_of_one_set_has_a_line),
		TEST(leases_take_lines_from_each_other),
		TEST(a_line_is_found_in_either_place),
		TEST(both_places_are_cleared),
	};

	return cmocka_run_group_tests(tests, harness_open, harness_close);
}
