/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What address rules have lately said is believed for a second, under the very state it was said under and for the very same
 * question, and never where a lease has a say (bpf/recent.h). Answers are planted in all places of all CPUs, so that
 * only what they say about themselves keeps them from being believed.
 */
#include <netinet/in.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "tests/bpf/harness.h"

#define NO	SLUICE_REASON_POLICY_DEFAULT
#define PLANTED 77 /* the rule */

static void plant(struct harness *h, const struct sluice_recent *r)
{
	size_t cpus = (size_t)libbpf_num_possible_cpus();
	_cleanup_free_ struct sluice_recent *all = calloc(cpus, sizeof(*all));

	assert_non_null(all);
	for (size_t i = 0; i < cpus; i++)
		all[i] = *r;
	for (uint32_t i = 0; i < SLUICE_RECENTS; i++)
		assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.recents), &i, all, BPF_ANY), 0);
	h->changed = false;
}

/* That PEER4 443 is allowed, by a rule that no table has. */
static struct sluice_recent allowed(const struct harness *h)
{
	struct sluice_recent r = { .state = h->endpoints[TEST_ENDPOINT].state,
				   .until = clock_now() + 1000000000ull,
				   .rule = PLANTED,
				   .port = htons(443),
				   .proto = IPPROTO_TCP,
				   .verdict = SLUICE_ALLOW };

	assert_int_equal(addr_parse(PEER4, &r.remote), 0);
	return r;
}

static bool believed(struct harness *h, const struct sluice_recent *r)
{
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN);

	plant(h, r);
	return run_from_pod(h, &syn) == PASS;
}

static void very_same_question(void **state)
{
	struct harness *h = *state;
	struct sluice_recent r = allowed(h);
	struct sluice_flow flow;

	assert_true(believed(h, &r));
	assert_true(find_flow(h, POD4, PEER4, IPPROTO_TCP, 1000, 443, &flow));
	assert_int_equal(flow.rule, PLANTED);
	r.state = SLUICE_STATE(SLUICE_MODE_ENFORCE, 0, 2, TEST_POLICY);
	assert_false(believed(h, &r));
	r.state = SLUICE_STATE(SLUICE_MODE_ENFORCE, 0, 1, TEST_POLICY + 1);
	assert_false(believed(h, &r));
	r.state = SLUICE_STATE(SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1, TEST_POLICY);
	assert_false(believed(h, &r));
	r = allowed(h);
	r.remote.b[15] ^= 1;
	assert_false(believed(h, &r));
	r = allowed(h);
	r.remote.b[0] ^= 1;
	assert_false(believed(h, &r));
	r = allowed(h);
	r.port = htons(444);
	assert_false(believed(h, &r));
	r = allowed(h);
	r.proto = IPPROTO_UDP;
	assert_false(believed(h, &r));
	r = (struct sluice_recent){};
	assert_false(believed(h, &r));
}

static void for_a_second(void **state)
{
	struct harness *h = *state;
	struct sluice_recent r = allowed(h);
	uint64_t now = clock_now();

	r.until = now - 100000000; /* the programs' clock is coarse */
	assert_false(believed(h, &r));
	assert_true(believed(h, &(struct sluice_recent){ r.state, now + 1000000000ull, r.remote, r.rule, r.port,
							 r.proto, r.verdict }));
}

/* Sums what is kept of the state in force; the last of it in `*ret`. */
static unsigned int kept(struct harness *h, struct sluice_recent *ret)
{
	size_t cpus = (size_t)libbpf_num_possible_cpus();
	_cleanup_free_ struct sluice_recent *all = calloc(cpus, sizeof(*all));
	unsigned int n = 0;

	assert_non_null(all);
	for (uint32_t i = 0; i < SLUICE_RECENTS; i++) {
		assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(h->skel->maps.recents), &i, all), 0);
		for (size_t k = 0; k < cpus; k++) {
			if (all[k].state != h->endpoints[TEST_ENDPOINT].state)
				continue;
			*ret = all[k];
			n++;
		}
	}
	return n;
}

/* A verdict is kept as it was given, and asked again under the next state. */
static void is_kept(void **state)
{
	static const enum sluice_verdict verdicts[] = { SLUICE_ALLOW, SLUICE_DENY };
	struct harness *h = *state;
	struct frame first = pod_tcp(PEER4, 1000, 443, SYN), second = pod_tcp(PEER4, 1001, 443, SYN);

	for (uint16_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
		bool yes = verdicts[i] == SLUICE_ALLOW;
		struct sluice_recent r;

		set_state(h, SLUICE_MODE_ENFORCE, 0, (uint16_t)(10 + 2 * i));
		(yes ? allow : deny)(h, PEER4, IPPROTO_TCP, 443);
		assert_int_equal(run_from_pod(h, &first), yes ? PASS : DROP);
		assert_int_equal(kept(h, &r), 1);
		assert_int_equal(r.verdict, verdicts[i]);
		assert_int_equal(r.rule, yes ? 1 : 2);
		assert_int_equal(r.reason, yes ? SLUICE_REASON_NONE : SLUICE_REASON_POLICY_DENY);
		assert_in_range(r.until, clock_now(), clock_now() + 1000000000ull);
		(yes ? deny : allow)(h, PEER4, IPPROTO_TCP, 443);
		h->changed = false; /* behind the programs' back */
		if (yes)
			expect_pass(h, &second);
		else
			expect_drop(h, &second, SLUICE_REASON_POLICY_DENY);
		set_state(h, SLUICE_MODE_ENFORCE, 0, (uint16_t)(11 + 2 * i));
		if (yes)
			expect_drop(h, &second, SLUICE_REASON_POLICY_DENY);
		else
			expect_pass(h, &second);
	}
}

/* A name may open it at any time, and what one opened ends with its lease. */
static void not_where_leases_have_a_say(void **state)
{
	struct harness *h = *state;
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN), other = pod_tcp(PEER4, 1001, 443, SYN);
	struct sluice_recent r;

	set_state(h, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1);
	add_rule(h, TEST_POLICY, SLUICE_SET_NAME | 1, IPPROTO_TCP, 443, 16,
		 (struct sluice_rule){ .precedence = SLUICE_PRECEDENCE_ALLOW, .rule = 3, .verdict = SLUICE_ALLOW });
	expect_drop(h, &syn, NO);
	assert_int_equal(kept(h, &r), 0);
	set_lease(h, PEER4, 1, true);
	expect_pass(h, &syn);
	assert_int_equal(kept(h, &r), 0);
	set_lease(h, PEER4, 1, false);
	expect_drop(h, &other, NO);
}

#define TEST(f) cmocka_unit_test_setup(f, harness_reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(very_same_question),
		TEST(for_a_second),
		TEST(is_kept),
		TEST(not_where_leases_have_a_say),
	};

	return cmocka_run_group_tests(tests, harness_open, harness_close);
}
