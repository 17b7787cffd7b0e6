/* SPDX-License-Identifier: Apache-2.0 */
/* Quarantine, open and audit, and the way from one to the other. What holds in every mode is in test_reasons.c. */
#include <netinet/in.h>

#include "base/cleanup.h"
#include "tests/bpf/harness.h"

#define NO	  SLUICE_REASON_POLICY_DEFAULT
#define FORWARDED 7

/* Bit by bit zero: nobody has filled it in, so nothing leaves. */
static void zeroed_state_is_quarantine(void **state)
{
	struct harness *h = *state;
	struct frame frames[] = { pod_tcp(PEER4, 1000, 443, SYN), pod_tcp(PEER4, 1000, 443, ACK),
				  pod_udp(PEER6, 1000, 53), pod_echo(PEER4, false, 1), pod_echo(PEER4, true, 1) };

	allow(h, "0.0.0.0/0", 0, 0);
	allow(h, "::/0", 0, 0);
	h->endpoints[TEST_ENDPOINT].state = 0;
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++)
		expect_drop(h, &frames[i], SLUICE_REASON_QUARANTINE);
	assert_int_equal(count_flows(h), 0);
}

static void quarantine_cuts_live_flows(void **state)
{
	struct harness *h = *state;
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN), data = pod_tcp(PEER4, 1000, 443, ACK);

	allow(h, PEER4, 0, 0);
	expect_pass(h, &syn);
	set_state(h, SLUICE_MODE_QUARANTINE, 0, 1); /* same policy and epoch: the mode alone must do */
	expect_drop(h, &data, SLUICE_REASON_QUARANTINE);
	set_state(h, SLUICE_MODE_ENFORCE, 0, 1);
	expect_pass(h, &data);
}

static void open_judges_nothing(void **state)
{
	struct harness *h = *state;
	struct frame frames[] = { pod_tcp(PEER4, 1000, 443, SYN), pod_udp(PEER6, 1000, 53),
				  pod_udp("224.0.0.251", 1000, 5353) };

	set_state(h, SLUICE_MODE_OPEN, SLUICE_STATE_NAMES, 1);
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++)
		expect_pass(h, &frames[i]);
	assert_int_equal(count_flows(h), 0);
	assert_int_equal(total(h, SLUICE_TOTAL_DNS_ASSIGNED), 0);
}

/* Connections from outside are noted while open, so that a first policy does not cut them; datagrams prove nothing. */
static void open_then_enforce(void **state)
{
	struct harness *h = *state;
	struct frame syn = peer_tcp(PEER4, 5000, 80, SYN), datagram = peer_udp(PEER4, 5000, 80);
	struct frame answer = pod_tcp(PEER4, 80, 5000, ACK), udp = pod_udp(PEER4, 80, 5000);
	struct frame own = pod_tcp(PEER4, 1000, 443, ACK);

	set_state(h, SLUICE_MODE_OPEN, 0, 1);
	assert_int_equal(run_to_pod(h, &syn, FORWARDED), PASS);
	assert_int_equal(run_to_pod(h, &datagram, FORWARDED), PASS);
	expect_pass(h, &own);
	set_state(h, SLUICE_MODE_ENFORCE, 0, 2);
	expect_pass(h, &answer);
	expect_drop(h, &udp, NO);
	expect_drop(h, &own, NO);
}

static void audit_reports_once_and_passes(void **state)
{
	struct harness *h = *state;
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN), data = pod_tcp(PEER4, 1000, 443, ACK);
	struct sluice_flow flow;
	uint64_t forwarded;

	set_state(h, SLUICE_MODE_AUDIT, 0, 1);
	expect_audit(h, &syn, NO);
	assert_true(find_flow(h, POD4, PEER4, IPPROTO_TCP, 1000, 443, &flow));
	assert_int_equal(flow.flags, SLUICE_FLOW_AUDIT);
	forwarded = total(h, SLUICE_TOTAL_FORWARDED);
	drain_events(h, NULL);
	for (int i = 0; i < 5; i++)
		assert_int_equal(run_from_pod(h, &data), PASS);
	assert_int_equal(drain_events(h, NULL), 0);
	assert_int_equal(h->runtime[TEST_ENDPOINT].audited, 6);
	assert_int_equal(total(h, SLUICE_TOTAL_FORWARDED), forwarded); /* audited packets are not "forwarded" */
}

static void audit_shares_the_verdict(void **state)
{
	struct harness *h = *state;
	struct frame yes = pod_tcp(PEER4, 1000, 443, SYN), no = pod_tcp(PEER4, 1000, 80, SYN);

	allow(h, PEER4, IPPROTO_TCP, 443);
	set_state(h, SLUICE_MODE_AUDIT, 0, 1);
	expect_pass(h, &yes);
	expect_audit(h, &no, NO);
}

/* What passed under audit is judged at the first packet after it, with the very same policy and epoch. */
static void audit_then_enforce(void **state)
{
	struct harness *h = *state;
	struct frame allowed = pod_tcp(PEER4, 1000, 443, SYN), allowed_data = pod_tcp(PEER4, 1000, 443, ACK);
	struct frame denied = pod_tcp(PEER4, 1000, 80, SYN), denied_data = pod_tcp(PEER4, 1000, 80, ACK);

	allow(h, PEER4, IPPROTO_TCP, 443);
	set_state(h, SLUICE_MODE_AUDIT, 0, 1);
	expect_pass(h, &allowed);
	expect_audit(h, &denied, NO);
	set_state(h, SLUICE_MODE_ENFORCE, 0, 1);
	expect_pass(h, &allowed_data);
	expect_drop(h, &denied_data, NO);
	assert_int_equal(flow_origin(h, PEER4, IPPROTO_TCP, 1000, 80), SLUICE_ORIGIN_TOMBSTONE);
}

static void audit_leaves_outside_flows_alone(void **state)
{
	struct harness *h = *state;
	struct frame in = peer_tcp(PEER4, 5000, 80, SYN), own = pod_tcp(PEER4, 80, 5000, SYN);
	struct frame answer = pod_tcp(PEER4, 80, 5000, ACK);

	set_state(h, SLUICE_MODE_AUDIT, 0, 1);
	assert_int_equal(run_to_pod(h, &in, FORWARDED), PASS);
	expect_audit(h, &own, NO);
	set_state(h, SLUICE_MODE_ENFORCE, 0, 1);
	expect_pass(h, &answer);
}

/* DNS too: without a proxy the query goes where it was addressed, and the report says why it would have dropped. */
static void audit_dns(void **state)
{
	struct harness *h = *state;
	struct frame f = pod_udp(PEER4, 1000, 53);

	set_state(h, SLUICE_MODE_AUDIT, SLUICE_STATE_NAMES, 1);
	expect_audit(h, &f, SLUICE_REASON_DNS_SOCKET);
}

static void audit_without_room(void **state)
{
	struct harness *h = *state;
	struct frame f = pod_udp(PEER4, 1000, 443), allowed = pod_udp(PEER6, 1000, 443);

	h->settings->flow_quota = 0;
	allow(h, PEER6, 0, 0);
	set_state(h, SLUICE_MODE_AUDIT, 0, 1);
	expect_audit(h, &f, NO);
	expect_audit(h, &allowed, SLUICE_REASON_FLOWS_FULL);
}

/* An interface nobody knows may not drown the others' events. */
static void strays_share_an_event_rate(void **state)
{
	struct harness *h = *state;
	struct frame f = pod_tcp(PEER4, 1000, 443, SYN);
	uint32_t ifindex = (uint32_t)h->host_ifindex;
	int cpus = libbpf_num_possible_cpus();

	h->settings->event_rate = 1;
	h->settings->event_burst = 2;
	bpf_map_delete_elem(bpf_map__fd(h->skel->maps.ifindexes), &ifindex);
	h->endpoints[TEST_ENDPOINT].generation = 0;
	drain_events(h, NULL);
	for (int i = 0; i < 200; i++)
		assert_int_equal(run_from_pod(h, &f), DROP);
	assert_in_range(drain_events(h, NULL), 1, 4 * cpus);
}

#define TEST(f) cmocka_unit_test_setup(f, harness_reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(zeroed_state_is_quarantine),
		TEST(quarantine_cuts_live_flows),
		TEST(open_judges_nothing),
		TEST(open_then_enforce),
		TEST(audit_reports_once_and_passes),
		TEST(audit_shares_the_verdict),
		TEST(audit_then_enforce),
		TEST(audit_leaves_outside_flows_alone),
		TEST(audit_dns),
		TEST(audit_without_room),
		TEST(strays_share_an_event_rate),
	};

	return cmocka_run_group_tests(tests, harness_open, harness_close);
}
