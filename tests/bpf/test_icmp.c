/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP and ICMPv6: echo by rule and by identifier, errors never, other types never. */
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/bpf/harness.h"

#define NO	  SLUICE_REASON_POLICY_DEFAULT
#define FORWARDED 7

static const char *const peers[] = { PEER4, PEER6 };

static void echo_by_rule(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct frame f = pod_echo(peers[i], false, 1), g = pod_echo(peers[i], false, 2);

		expect_drop(*state, &f, NO);
		allow(*state, peers[i], i ? IPPROTO_ICMPV6 : IPPROTO_ICMP, 0);
		expect_pass(*state, &g);
	}
}

/* An entry with ports admits no ICMP, and one family's protocol is not the other's. */
static void other_rules_open_no_echo(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct frame f = pod_echo(peers[i], false, 1);

		allow(*state, peers[i], IPPROTO_TCP, 0);
		allow(*state, peers[i], IPPROTO_UDP, 0);
		allow(*state, peers[i], i ? IPPROTO_ICMP : IPPROTO_ICMPV6, 0);
		expect_drop(*state, &f, NO);
	}
}

static void a_lease_opens_echo_when_its_set_does(void **state)
{
	struct frame f = pod_echo(PEER4, false, 1), g = pod_echo(PEER6, false, 1);

	allow_name(*state, PEER4, 1, IPPROTO_ICMP, 8 << 8);
	allow_name(*state, PEER6, 2, IPPROTO_TCP, 443);
	expect_pass(*state, &f);
	expect_drop(*state, &g, NO);
}

/* The identifier is the flow: an answer to one ping is no leave to send others. */
static void answers_by_identifier(void **state)
{
	struct harness *h = *state;

	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct frame in = peer_echo(peers[i], false, 5), right = pod_echo(peers[i], true, 5);
		struct frame wrong = pod_echo(peers[i], true, 6), request = pod_echo(peers[i], false, 5);

		expect_drop(h, &wrong, NO);
		assert_int_equal(run_to_pod(h, &in, FORWARDED), PASS);
		expect_pass(h, &right);
		expect_drop(h, &wrong, NO);
		expect_drop(h, &request, NO);
	}
}

/* A reply opens nothing from outside, so a peer cannot invite replies by sending some. */
static void replies_open_nothing(void **state)
{
	struct frame in = peer_echo(PEER4, true, 5), out = pod_echo(PEER4, true, 5);

	assert_int_equal(run_to_pod(*state, &in, FORWARDED), PASS);
	expect_drop(*state, &out, NO);
}

/* Hazard 6: whatever it quotes, even a live flow: an error carries bytes of the pod's choosing to whom it likes. */
static void errors_never(void **state)
{
	struct harness *h = *state;
	struct frame in = peer_tcp(PEER4, 5000, 80, SYN), f;

	allow(h, "0.0.0.0/0", 0, 0);
	assert_int_equal(run_to_pod(h, &in, FORWARDED), PASS);
	frame_eth(&f, HOST_MAC, POD_MAC, ETHERTYPE_IP);
	frame_ip(&f, POD4, PEER4, IPPROTO_ICMP);
	frame_icmp(&f, 3, 4, 0);
	frame_bytes(&f, in.data + in.ip, 28);
	frame_end(&f);
	expect_drop(h, &f, SLUICE_REASON_ICMP_ERROR);
}

static void never_leaves_comes_before_the_error(void **state)
{
	struct frame f = pod_echo("224.0.0.1", false, 1);

	allow(*state, "0.0.0.0/0", 0, 0);
	expect_drop(*state, &f, SLUICE_REASON_NEVER_LEAVES);
}

#define TEST(f) cmocka_unit_test_setup(f, harness_reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(echo_by_rule),
		TEST(other_rules_open_no_echo),
		TEST(a_lease_opens_echo_when_its_set_does),
		TEST(answers_by_identifier),
		TEST(replies_open_nothing),
		TEST(errors_never),
		TEST(never_leaves_comes_before_the_error),
	};

	return cmocka_run_group_tests(tests, harness_open, harness_close);
}
