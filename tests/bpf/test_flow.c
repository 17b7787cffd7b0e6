/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows: who opened them, what a policy change does to them, and what a denial leaves behind. Frames from outside come
 * with an ingress interface; those this node makes itself have none.
 */
#include <netinet/in.h>

#include "base/cleanup.h"
#include "tests/bpf/harness.h"

#define NO	  SLUICE_REASON_POLICY_DEFAULT
#define FORWARDED 7 /* some other interface */
#define OWN	  0

static void expect_origin(struct harness *h, const char *remote, uint8_t proto, uint16_t lport, uint16_t rport,
			  enum sluice_flow_origin origin)
{
	assert_int_equal(flow_origin(h, remote, proto, lport, rport), origin);
}

/* What arrives never drops here, whatever it does to the flows. */
static void arrive(struct harness *h, struct frame f, int ingress)
{
	assert_int_equal(run_to_pod(h, &f, ingress), PASS);
}

static void states(void **state)
{
	struct harness *h = *state;
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN), ack = pod_tcp(PEER4, 1000, 443, ACK);
	struct frame fin = pod_tcp(PEER4, 1000, 443, FIN | ACK), rst = pod_tcp(PEER4, 1000, 443, RST);
	struct sluice_flow flow;

	allow(h, PEER4, IPPROTO_TCP, 443);
	expect_pass(h, &syn);
	expect_pass(h, &ack);
	assert_true(find_flow(h, POD4, PEER4, IPPROTO_TCP, 1000, 443, &flow));
	assert_int_equal(flow.origin, SLUICE_ORIGIN_POD);
	assert_int_equal(flow.flags, 0);
	assert_int_equal(flow.rule, 1);
	assert_int_equal(flow.judged, SLUICE_STATE_JUDGED(h->endpoints[TEST_ENDPOINT].state));
	arrive(h, peer_tcp(PEER4, 443, 1000, SYN | ACK), FORWARDED);
	arrive(h, peer_tcp(PEER4, 443, 1000, FIN | ACK), FORWARDED);
	expect_pass(h, &fin);
	expect_pass(h, &rst);
	assert_true(find_flow(h, POD4, PEER4, IPPROTO_TCP, 1000, 443, &flow));
	assert_int_equal(flow.flags,
			 SLUICE_FLOW_SEEN_REPLY | SLUICE_FLOW_FIN_LOCAL | SLUICE_FLOW_FIN_REMOTE | SLUICE_FLOW_RST);
	/* The opening packet counts only from the second on: a flow is written before it is counted. */
	assert_in_range(flow.tx_packets, 3, 4);
	assert_in_range(flow.tx_bytes, 3 * syn.len, 4 * syn.len);
	assert_int_equal(flow.rx_packets, 2);
	expect_pass(h, &syn); /* the tuple used anew */
	assert_true(find_flow(h, POD4, PEER4, IPPROTO_TCP, 1000, 443, &flow));
	assert_int_equal(flow.flags, 0);
	assert_int_equal(h->runtime[TEST_ENDPOINT].flows, 1);
	assert_int_equal(count_flows(h), 1);
}

/* The same for a flow from outside whose tuple the peer uses anew: it is not closing any more, and is kept as long. */
static void states_from_outside(void **state)
{
	struct harness *h = *state;
	struct sluice_flow flow;

	arrive(h, peer_tcp(PEER4, 443, 1000, SYN), FORWARDED);
	arrive(h, peer_tcp(PEER4, 443, 1000, FIN | ACK), FORWARDED);
	arrive(h, peer_tcp(PEER4, 443, 1000, RST), FORWARDED);
	assert_true(find_flow(h, POD4, PEER4, IPPROTO_TCP, 1000, 443, &flow));
	assert_int_equal(flow.flags, SLUICE_FLOW_SEEN_REPLY | SLUICE_FLOW_FIN_REMOTE | SLUICE_FLOW_RST);
	arrive(h, peer_tcp(PEER4, 443, 1000, SYN), FORWARDED);
	assert_true(find_flow(h, POD4, PEER4, IPPROTO_TCP, 1000, 443, &flow));
	assert_int_equal(flow.flags & (SLUICE_FLOW_FIN_REMOTE | SLUICE_FLOW_RST), 0);
	assert_int_equal(flow.origin, SLUICE_ORIGIN_OUTSIDE);
}

/* No SYN needed, none trusted: every packet without a flow is judged. */
static void every_packet_is_judged(void **state)
{
	static const uint8_t flags[] = { SYN, SYN | ACK, ACK, ACK | PSH, FIN | ACK, RST, RST | ACK };

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct frame f = pod_tcp(PEER4, (uint16_t)(1000 + i), 443, flags[i]);

		expect_drop(*state, &f, NO);
		expect_origin(*state, PEER4, IPPROTO_TCP, (uint16_t)(1000 + i), 443, SLUICE_ORIGIN_TOMBSTONE);
	}
	assert_int_equal(((struct harness *)*state)->runtime[TEST_ENDPOINT].flows, 0);
	assert_int_equal(((struct harness *)*state)->runtime[TEST_ENDPOINT].tombstones, ARRAY_SIZE(flags));
}

static void policy_switch_judges_again(void **state)
{
	struct harness *h = *state;
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN), data = pod_tcp(PEER4, 1000, 443, ACK);
	uint64_t cut = total(h, SLUICE_TOTAL_FLOWS_CUT);

	allow(h, PEER4, IPPROTO_TCP, 443);
	expect_pass(h, &syn);
	deny(h, PEER4, IPPROTO_TCP, 443); /* the tables alone change nothing before the state does */
	expect_pass(h, &data);
	set_state(h, SLUICE_MODE_ENFORCE, 0, 2);
	expect_drop(h, &data, SLUICE_REASON_CUT);
	assert_int_equal(total(h, SLUICE_TOTAL_FLOWS_CUT), cut + 1);
	expect_origin(h, PEER4, IPPROTO_TCP, 1000, 443, SLUICE_ORIGIN_TOMBSTONE);
	expect_drop(h, &data, SLUICE_REASON_POLICY_DENY);
	assert_int_equal(h->runtime[TEST_ENDPOINT].flows, 0);
	assert_int_equal(h->runtime[TEST_ENDPOINT].tombstones, 1);
	allow(h, PEER4, IPPROTO_TCP, 443); /* and the other way */
	set_state(h, SLUICE_MODE_ENFORCE, 0, 3);
	expect_pass(h, &data);
	expect_origin(h, PEER4, IPPROTO_TCP, 1000, 443, SLUICE_ORIGIN_POD);
	assert_int_equal(h->runtime[TEST_ENDPOINT].flows, 1);
	assert_int_equal(h->runtime[TEST_ENDPOINT].tombstones, 0);
}

static void another_policy_id_judges_again(void **state)
{
	struct harness *h = *state;
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN), data = pod_tcp(PEER4, 1000, 443, ACK);

	allow(h, PEER4, IPPROTO_TCP, 443);
	expect_pass(h, &syn);
	h->endpoints[TEST_ENDPOINT].state = SLUICE_STATE(SLUICE_MODE_ENFORCE, 0, 1, TEST_POLICY + 1);
	expect_drop(h, &data, SLUICE_REASON_CUT);
}

/* Hazard 7: a new connection on a tuple that is still known is a new question. */
static void syn_on_a_known_tuple(void **state)
{
	struct harness *h = *state;
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN), data = pod_tcp(PEER4, 1000, 443, ACK);

	allow_name(h, PEER4, 1, IPPROTO_TCP, 443);
	expect_pass(h, &syn);
	expect_pass(h, &data);
	set_lease(h, PEER4, 1, false);
	expect_pass(h, &data);
	expect_drop(h, &syn, NO);
	expect_drop(h, &data, NO);
}

/* The flow key holds the generation: who comes after inherits nothing. */
static void next_generation_inherits_nothing(void **state)
{
	struct harness *h = *state;
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN), data = pod_tcp(PEER4, 1000, 443, ACK);
	struct sluice_if link = { TEST_ENDPOINT, TEST_GENERATION + 1 };
	uint32_t ifindex = (uint32_t)h->host_ifindex;

	allow_name(h, PEER4, 1, IPPROTO_TCP, 443);
	expect_pass(h, &syn);
	set_lease(h, PEER4, 1, false);
	h->endpoints[TEST_ENDPOINT].generation++;
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.ifindexes), &ifindex, &link, BPF_ANY), 0);
	assert_int_equal(run_from_pod(h, &data), DROP);
}

/* An element whose content is another key's: recycled while it was read. It speaks for nobody. */
static void recycled_flow(void **state)
{
	struct harness *h = *state;
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN), data = pod_tcp(PEER4, 1000, 443, ACK);
	int fd = bpf_map__fd(h->skel->maps.flows);
	struct sluice_flow_key key;
	struct sluice_flow flow;

	allow_name(h, PEER4, 1, IPPROTO_TCP, 443);
	expect_pass(h, &syn);
	set_lease(h, PEER4, 1, false);
	expect_pass(h, &data);
	assert_int_equal(bpf_map_get_next_key(fd, NULL, &key), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &flow), 0);
	flow.key.rport++;
	assert_int_equal(bpf_map_update_elem(fd, &key, &flow, BPF_ANY), 0);
	expect_drop(h, &data, NO);
}

/* ---- from outside ------------------------------------------------------------------------------------------------ */

static void replies_to_outside(void **state)
{
	struct harness *h = *state;
	struct frame tcp = pod_tcp(PEER4, 80, 5000, SYN | ACK), udp = pod_udp(PEER6, 81, 5001);
	struct frame echo = pod_echo(PEER4, true, 9);

	arrive(h, peer_tcp(PEER4, 5000, 80, SYN), FORWARDED);
	arrive(h, peer_udp(PEER6, 5001, 81), FORWARDED);
	arrive(h, peer_echo(PEER4, false, 9), FORWARDED);
	expect_origin(h, PEER4, IPPROTO_TCP, 80, 5000, SLUICE_ORIGIN_OUTSIDE);
	expect_origin(h, PEER6, IPPROTO_UDP, 81, 5001, SLUICE_ORIGIN_OUTSIDE);
	expect_origin(h, PEER4, IPPROTO_ICMP, 9, 0, SLUICE_ORIGIN_OUTSIDE);
	expect_pass(h, &tcp);
	expect_pass(h, &udp);
	expect_pass(h, &echo);
	set_state(h, SLUICE_MODE_ENFORCE, 0, 2); /* replies are no egress, under any policy */
	expect_pass(h, &tcp);
	assert_int_equal(h->runtime[TEST_ENDPOINT].flows, 3);
}

/* A flow from outside carries answers, not what the pod opens itself. */
static void own_attempts_on_outside_flows(void **state)
{
	struct harness *h = *state;
	struct frame syn = pod_tcp(PEER4, 80, 5000, SYN), request = pod_echo(PEER4, false, 9);
	struct frame answer = pod_tcp(PEER4, 80, 5000, ACK);

	arrive(h, peer_tcp(PEER4, 5000, 80, SYN), FORWARDED);
	arrive(h, peer_echo(PEER4, false, 9), FORWARDED);
	expect_drop(h, &syn, NO);
	expect_drop(h, &request, NO);
	expect_drop(h, &answer, NO); /* the denial outlives it */
}

static void what_opens_nothing(void **state)
{
	struct harness *h = *state;
	static const uint8_t flags[] = { SYN | ACK, ACK, RST, RST | ACK, FIN | ACK };
	struct frame error;

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		arrive(h, peer_tcp(PEER4, 5000, 80, flags[i]), FORWARDED);
	arrive(h, peer_echo(PEER4, true, 9), FORWARDED);
	arrive(h, peer_tcp(PEER4, 53, 80, SYN), FORWARDED); /* hazard 1 */
	arrive(h, peer_udp(PEER4, 53, 4000), FORWARDED);
	arrive(h, peer_udp(PEER6, 53, 4000), FORWARDED);
	error = peer_echo(PEER4, false, 1);
	error.data[error.transport] = 3;
	arrive(h, error, FORWARDED);
	arrive(h, peer_udp(PEER4, 53, 4000), OWN); /* the proxy's answer */
	arrive(h, peer_udp(PEER4, 5000, 80), OWN); /* this host, in a peer's name */
	arrive(h, peer_tcp(PEER4, 5000, 80, SYN), OWN);
	assert_int_equal(count_flows(h), 0);
	assert_int_equal(h->runtime[TEST_ENDPOINT].flows, 0);
}

/* Whoever forges such a source towards the pod: no answer goes there, flow or not. */
static void answers_to_what_never_leaves(void **state)
{
	static const char *const forged[] = { "127.0.0.1", "224.0.0.5", "255.255.255.255",
					      "::1",	   "ff02::1",	"64:ff9b::7f00:1" };

	for (size_t i = 0; i < ARRAY_SIZE(forged); i++) {
		struct frame f = pod_udp(forged[i], 80, 5000);

		arrive(*state, peer_udp(forged[i], 5000, 80), FORWARDED);
		expect_drop(*state, &f, SLUICE_REASON_NEVER_LEAVES);
	}
}

static void only_the_own_address_is_opened(void **state)
{
	struct harness *h = *state;
	struct frame f = peer_udp(PEER4, 5000, 80);

	f.data[f.ip + 19]++;
	arrive(h, f, FORWARDED);
	assert_int_equal(count_flows(h), 0);
}

/* Hazard 2: a cooperating peer keeps sending, and turns nothing. */
static void tombstones_stay(void **state)
{
	struct harness *h = *state;
	struct frame udp = pod_udp(PEER4, 4000, 5000), tcp = pod_tcp(PEER4, 4000, 5000, SYN);
	struct frame ack = pod_tcp(PEER4, 4000, 5000, SYN | ACK);

	expect_drop(h, &udp, NO);
	expect_drop(h, &tcp, NO);
	for (int i = 0; i < 3; i++) {
		arrive(h, peer_udp(PEER4, 5000, 4000), FORWARDED);
		arrive(h, peer_tcp(PEER4, 5000, 4000, SYN), FORWARDED);
		expect_drop(h, &udp, NO);
		expect_drop(h, &ack, NO);
	}
	expect_origin(h, PEER4, IPPROTO_UDP, 4000, 5000, SLUICE_ORIGIN_TOMBSTONE);
	expect_origin(h, PEER4, IPPROTO_TCP, 4000, 5000, SLUICE_ORIGIN_TOMBSTONE);
}

/* While the peer keeps sending, a tombstone is not forgotten: the agent collects those that nothing has touched. */
static void tombstones_are_kept_young(void **state)
{
	struct harness *h = *state;
	struct frame udp = pod_udp(PEER4, 4000, 5000);
	struct sluice_flow flow;

	expect_drop(h, &udp, NO);
	assert_true(find_flow(h, POD4, PEER4, IPPROTO_UDP, 4000, 5000, &flow));
	flow.last_seen = 1;
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.flows), &flow.key, &flow, BPF_EXIST), 0);
	arrive(h, peer_udp(PEER4, 5000, 4000), FORWARDED);
	assert_true(find_flow(h, POD4, PEER4, IPPROTO_UDP, 4000, 5000, &flow));
	assert_true(flow.last_seen > 1);
}

static void cut_flows_stay_cut(void **state)
{
	struct harness *h = *state;
	struct frame udp = pod_udp(PEER4, 4000, 5000);

	allow(h, PEER4, IPPROTO_UDP, 5000);
	expect_pass(h, &udp);
	deny(h, PEER4, IPPROTO_UDP, 5000);
	set_state(h, SLUICE_MODE_ENFORCE, 0, 2);
	arrive(h, peer_udp(PEER4, 5000, 4000), FORWARDED);
	expect_drop(h, &udp, SLUICE_REASON_CUT);
	arrive(h, peer_udp(PEER4, 5000, 4000), FORWARDED);
	expect_drop(h, &udp, SLUICE_REASON_POLICY_DENY);
}

/* No room for a tombstone: then nobody may open from outside for a while, or the missing one would be felt. */
static void denial_without_tombstone_holds_the_door(void **state)
{
	struct harness *h = *state;
	struct frame udp = pod_udp(PEER4, 4000, 5000);

	h->settings->tombstone_quota = 0;
	expect_drop(h, &udp, NO);
	assert_int_equal(count_flows(h), 0);
	assert_true(h->runtime[TEST_ENDPOINT].inbound_hold > 0);
	arrive(h, peer_udp(PEER4, 5000, 4000), FORWARDED);
	assert_int_equal(count_flows(h), 0);
	expect_drop(h, &udp, NO);
	add_cluster(h, NODE4, SLUICE_CLUSTER_NODE, true);
	arrive(h, peer_tcp(NODE4, 5000, 80, SYN), OWN); /* probes go on */
	expect_origin(h, NODE4, IPPROTO_TCP, 80, 5000, SLUICE_ORIGIN_HOST);
}

/* ---- from this node ---------------------------------------------------------------------------------------------- */

static void host_flows_pass_in_quarantine(void **state)
{
	struct harness *h = *state;
	struct frame answer = pod_tcp(NODE4, 8080, 40000, SYN | ACK), syn = pod_tcp(NODE4, 8080, 40000, SYN);
	struct frame outside = pod_tcp(PEER4, 8080, 40000, SYN | ACK);

	add_cluster(h, NODE4, SLUICE_CLUSTER_NODE, true);
	set_state(h, SLUICE_MODE_QUARANTINE, 0, 0);
	arrive(h, peer_tcp(NODE4, 40000, 8080, SYN), OWN);
	expect_origin(h, NODE4, IPPROTO_TCP, 8080, 40000, SLUICE_ORIGIN_HOST);
	expect_pass(h, &answer);
	expect_drop(h, &syn, SLUICE_REASON_QUARANTINE);
	arrive(h, peer_tcp(PEER4, 40000, 8080, SYN), FORWARDED);
	expect_drop(h, &outside, SLUICE_REASON_QUARANTINE);
}

static void host_needs_both_signs(void **state)
{
	struct harness *h = *state;

	add_cluster(h, NODE4, SLUICE_CLUSTER_NODE, true);
	add_cluster(h, "10.0.0.2", SLUICE_CLUSTER_NODE, false);
	arrive(h, peer_tcp(NODE4, 40000, 8080, SYN), FORWARDED); /* its address, but not its frame */
	arrive(h, peer_tcp("10.0.0.2", 40000, 8080, SYN), OWN);	 /* another node's address */
	expect_origin(h, NODE4, IPPROTO_TCP, 8080, 40000, SLUICE_ORIGIN_OUTSIDE);
	assert_int_equal(flow_origin(h, "10.0.0.2", IPPROTO_TCP, 8080, 40000), 0);
}

static void a_denied_attempt_leaves_the_probe_alone(void **state)
{
	struct harness *h = *state;
	struct frame answer = pod_tcp(NODE4, 8080, 40000, ACK), syn = pod_tcp(NODE4, 8080, 40000, SYN);

	add_cluster(h, NODE4, SLUICE_CLUSTER_NODE, true);
	arrive(h, peer_tcp(NODE4, 40000, 8080, SYN), OWN);
	expect_drop(h, &syn, NO);
	expect_pass(h, &answer);
}

/* A late packet of the pod's must not make the next probe from that port fail. */
static void a_new_probe_lifts_a_tombstone(void **state)
{
	struct harness *h = *state;
	struct frame late = pod_tcp(NODE4, 8080, 40000, ACK);

	add_cluster(h, NODE4, SLUICE_CLUSTER_NODE, true);
	expect_drop(h, &late, NO);
	arrive(h, peer_tcp(NODE4, 40000, 8080, ACK), OWN);
	arrive(h, peer_tcp(NODE4, 40000, 8080, SYN), FORWARDED);
	expect_drop(h, &late, NO);
	arrive(h, peer_tcp(NODE4, 40000, 8080, SYN), OWN);
	expect_pass(h, &late);
	assert_int_equal(h->runtime[TEST_ENDPOINT].flows, 1);
	assert_int_equal(h->runtime[TEST_ENDPOINT].tombstones, 0);
}

/* ---- quotas ------------------------------------------------------------------------------------------------------ */

static void flow_quota(void **state)
{
	struct harness *h = *state;
	struct frame f;

	allow(h, PEER4, 0, 0);
	h->settings->flow_quota = 4;
	for (uint16_t i = 0; i < 4; i++) {
		f = pod_udp(PEER4, (uint16_t)(1000 + i), 443);
		expect_pass(h, &f);
	}
	f = pod_udp(PEER4, 1004, 443);
	expect_drop(h, &f, SLUICE_REASON_FLOWS_FULL);
	assert_int_equal(h->runtime[TEST_ENDPOINT].flows, 4);
	f = pod_udp(PEER4, 1000, 443);
	expect_pass(h, &f); /* who is in goes on */
}

static void tombstone_quota(void **state)
{
	struct harness *h = *state;

	h->settings->tombstone_quota = 3;
	for (uint16_t i = 0; i < 10; i++) {
		struct frame f = pod_udp(PEER4, (uint16_t)(1000 + i), 443);

		expect_drop(h, &f, NO);
	}
	assert_int_equal(count_flows(h), 3);
	assert_int_equal(h->runtime[TEST_ENDPOINT].tombstones, 3);
}

/* A flood from outside leaves the pod a quarter. */
static void strangers_have_three_quarters(void **state)
{
	struct harness *h = *state;
	struct frame f = pod_udp(PEER4, 1000, 443);
	uint64_t full = total(h, SLUICE_TOTAL_FLOWS_FULL);

	h->settings->flow_quota = 8;
	allow(h, PEER4, 0, 0);
	for (uint16_t i = 0; i < 20; i++)
		arrive(h, peer_udp(PEER6, (uint16_t)(5000 + i), 80), FORWARDED);
	assert_int_equal(total(h, SLUICE_TOTAL_FLOWS_FULL), full + 14);
	assert_int_equal(h->runtime[TEST_ENDPOINT].flows, 6);
	expect_pass(h, &f);
	assert_int_equal(count_flows(h), 7);
}

/* Nobody's settings are no settings: zeroed ones deny. */
static void no_quota_is_no_flow(void **state)
{
	struct harness *h = *state;
	struct frame f = pod_udp(PEER4, 1000, 443);

	allow(h, PEER4, 0, 0);
	h->settings->flow_quota = 0;
	expect_drop(h, &f, SLUICE_REASON_FLOWS_FULL);
}

#define TEST(f) cmocka_unit_test_setup(f, harness_reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(states),
		TEST(states_from_outside),
		TEST(every_packet_is_judged),
		TEST(policy_switch_judges_again),
		TEST(another_policy_id_judges_again),
		TEST(syn_on_a_known_tuple),
		TEST(next_generation_inherits_nothing),
		TEST(recycled_flow),
		TEST(replies_to_outside),
		TEST(own_attempts_on_outside_flows),
		TEST(what_opens_nothing),
		TEST(answers_to_what_never_leaves),
		TEST(only_the_own_address_is_opened),
		TEST(tombstones_stay),
		TEST(tombstones_are_kept_young),
		TEST(cut_flows_stay_cut),
		TEST(denial_without_tombstone_holds_the_door),
		TEST(host_flows_pass_in_quarantine),
		TEST(host_needs_both_signs),
		TEST(a_denied_attempt_leaves_the_probe_alone),
		TEST(a_new_probe_lifts_a_tombstone),
		TEST(flow_quota),
		TEST(tombstone_quota),
		TEST(strangers_have_three_quarters),
		TEST(no_quota_is_no_flow),
	};

	return cmocka_run_group_tests(tests, harness_open, harness_close);
}
