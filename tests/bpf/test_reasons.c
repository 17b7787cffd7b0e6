/* SPDX-License-Identifier: Apache-2.0 */
/* Every reason to drop, from the frame that gives it, in enforce, audit and open mode. Everything is allowed by policy. */
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/bpf/harness.h"

static const uint8_t BROADCAST[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
static const uint8_t MULTICAST6[6] = { 0x33, 0x33, 0xff, 0, 0, 5 };
static const uint8_t STRANGER[6] = { 2, 0, 0, 0, 0, 9 };

static int allow_everything(void **state)
{
	int err = harness_reset(state);

	if (err)
		return err;
	allow(*state, "0.0.0.0/0", 0, 0);
	allow(*state, "::/0", 0, 0);
	return 0;
}

/* A reason no mode lifts. */
static void expect_hard(struct harness *h, const struct frame *f, enum sluice_reason reason)
{
	static const enum sluice_mode modes[] = { SLUICE_MODE_ENFORCE, SLUICE_MODE_AUDIT, SLUICE_MODE_OPEN };

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		set_state(h, modes[i], 0, 1);
		expect_drop(h, f, reason);
	}
	set_state(h, SLUICE_MODE_ENFORCE, 0, 1);
}

static void expect_soft(struct harness *h, const struct frame *f, enum sluice_reason reason)
{
	expect_drop(h, f, reason);
	set_state(h, SLUICE_MODE_AUDIT, 0, 1);
	expect_audit(h, f, reason);
	set_state(h, SLUICE_MODE_OPEN, 0, 1);
	expect_pass(h, f);
	set_state(h, SLUICE_MODE_ENFORCE, 0, 1);
}

static struct frame from_to(const char *src, const char *dst, uint8_t proto)
{
	struct frame f;

	frame_eth(&f, HOST_MAC, POD_MAC, strchr(src, ':') ? ETHERTYPE_IPV6 : ETHERTYPE_IP);
	frame_ip(&f, src, dst, proto);
	return f;
}

static void ordinary_traffic_passes(void **state)
{
	struct harness *h = *state;
	static const char *const peers[] = { PEER4, PEER6 };

	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct frame tcp = pod_tcp(peers[i], 1000, 443, SYN), udp = pod_udp(peers[i], 1000, 123);
		struct frame echo = pod_echo(peers[i], false, 7);

		expect_pass(h, &tcp);
		expect_pass(h, &udp);
		expect_pass(h, &echo);
	}
	assert_int_equal(h->runtime[TEST_ENDPOINT].flows, 6);
}

static void unknown_interface_drops(void **state)
{
	struct harness *h = *state;
	struct frame f = pod_tcp(PEER4, 1000, 443, SYN);
	int known = h->host_ifindex;
	uint64_t before = total(h, SLUICE_REASON_QUARANTINE);

	allow(h, PEER4, 0, 0);
	expect_pass(h, &f);
	h->host_ifindex = h->pod_ifindex;
	assert_int_equal(run_from_pod(h, &f), DROP);
	h->host_ifindex = known;
	assert_int_equal(total(h, SLUICE_REASON_QUARANTINE), before + 1);
}

/* Interfaces whose numbers are alike in their lower bits share a hint, and nothing else. */
static void alike_interfaces(void **state)
{
	struct harness *h = *state;
	struct frame f = pod_tcp(PEER4, 1000, 443, SYN);
	struct sluice_if link = { TEST_ENDPOINT + 1, TEST_GENERATION + 1 };
	int known = h->host_ifindex;
	uint32_t alike = (uint32_t)known + 1024;
	char command[128];

	snprintf(command, sizeof(command), "ip link add sluice-q index %u type veth peer name sluice-r", alike);
	assert_int_equal(system(command), 0);
	allow(h, PEER4, 0, 0);
	h->endpoints[link.endpoint] = h->endpoints[TEST_ENDPOINT];
	h->endpoints[link.endpoint].generation = link.generation;
	h->endpoints[link.endpoint].ifindex = alike;
	h->endpoints[link.endpoint].state = SLUICE_STATE(SLUICE_MODE_QUARANTINE, 0, 1, TEST_POLICY);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.ifindexes), &alike, &link, BPF_ANY), 0);
	for (int i = 0; i < 3; i++) {
		expect_pass(h, &f);
		h->host_ifindex = (int)alike;
		assert_int_equal(run_from_pod(h, &f), DROP);
		h->host_ifindex = known;
	}
	h->endpoints[link.endpoint].generation = 0;
	h->host_ifindex = (int)alike;
	assert_int_equal(run_from_pod(h, &f), DROP);
	h->host_ifindex = known;
}

static void recycled_slot_drops(void **state)
{
	struct harness *h = *state;
	struct frame f = pod_tcp(PEER4, 1000, 443, SYN);

	h->endpoints[TEST_ENDPOINT].generation++;
	assert_int_equal(run_from_pod(h, &f), DROP);
	h->endpoints[TEST_ENDPOINT].generation = 0;
	assert_int_equal(run_from_pod(h, &f), DROP);
}

static void vlan(void **state)
{
	static const uint16_t types[] = { 0x8100, 0x88a8 };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct frame f;

		frame_eth(&f, HOST_MAC, POD_MAC, types[i]);
		frame_u16(&f, 0);
		frame_u16(&f, ETHERTYPE_IP);
		frame_ip(&f, POD4, PEER4, IPPROTO_TCP);
		frame_tcp(&f, 1000, 443, SYN);
		frame_end(&f);
		expect_hard(*state, &f, SLUICE_REASON_VLAN);
	}
}

static void ethertype(void **state)
{
	static const uint16_t types[] = { 0x0000, 0x002e, 0x86dc, 0x8847, 0x8863, 0x88cc, 0x88e5 };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct frame f;

		frame_eth(&f, HOST_MAC, POD_MAC, types[i]);
		frame_bytes(&f, NULL, 64);
		expect_hard(*state, &f, SLUICE_REASON_ETHERTYPE);
	}
}

static void destination_mac(void **state)
{
	struct frame f = pod_tcp(PEER4, 1000, 443, SYN), g = pod_udp(PEER6, 1000, 5353);

	memcpy(f.data, STRANGER, 6);
	expect_hard(*state, &f, SLUICE_REASON_L2);
	memcpy(f.data, BROADCAST, 6);
	expect_hard(*state, &f, SLUICE_REASON_L2);
	memcpy(g.data, MULTICAST6, 6);
	expect_hard(*state, &g, SLUICE_REASON_L2);
}

static void source_address(void **state)
{
	static const char *const pairs[][2] = {
		{ "10.0.1.6", PEER4 }, { "0.0.0.0", PEER4 }, { "127.0.0.1", PEER4 }, { PEER4, PEER4 },
		{ "fd00::6", PEER6 },  { "::", PEER6 },	     { "fe80::5", PEER6 },   { "::ffff:10.0.1.5", PEER6 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		struct frame f = from_to(pairs[i][0], pairs[i][1], IPPROTO_UDP);

		frame_udp(&f, 1000, 123, 4);
		frame_end(&f);
		expect_hard(*state, &f, SLUICE_REASON_SOURCE);
	}
}

static void never_leaves(void **state)
{
	static const char *const peers[] = { "0.0.0.0",	  "0.1.2.3",   "127.0.0.1",	  "224.0.0.251",
					     "239.1.1.1", "240.0.0.1", "255.255.255.255", "::",
					     "::1",	  "ff02::1",   "ff0e::1",	  "::ffff:192.0.2.7" };

	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct frame f = pod_udp(peers[i], 1000, 123);

		expect_soft(*state, &f, SLUICE_REASON_NEVER_LEAVES);
	}
}

static void malformed_link_and_network(void **state)
{
	struct frame f = pod_tcp(PEER4, 1000, 443, SYN), g = pod_tcp(PEER6, 1000, 443, SYN), x;

	x = f;
	x.data[14] = 0x65; /* version */
	expect_hard(*state, &x, SLUICE_REASON_MALFORMED);
	x = f;
	x.data[14] = 0x44; /* IHL */
	expect_hard(*state, &x, SLUICE_REASON_MALFORMED);
	x = f;
	x.data[16] = 0xff; /* longer than the frame */
	expect_hard(*state, &x, SLUICE_REASON_MALFORMED);
	x = f;
	x.data[17] = 19; /* shorter than its header */
	expect_hard(*state, &x, SLUICE_REASON_MALFORMED);
	x = g;
	x.data[18] = 0xff;
	expect_hard(*state, &x, SLUICE_REASON_MALFORMED);
	x = g;
	x.data[14] = 0x40;
	expect_hard(*state, &x, SLUICE_REASON_MALFORMED);
}

/* Every prefix of a good packet, its length field honest: never a pass. */
static void cut_short(void **state)
{
	struct frame whole[] = { pod_tcp(PEER4, 1000, 443, SYN), pod_tcp(PEER6, 1000, 443, SYN),
				 pod_udp(PEER4, 1000, 123),	 pod_udp(PEER6, 1000, 123),
				 pod_echo(PEER4, false, 1),	 pod_echo(PEER6, false, 1) };

	for (size_t i = 0; i < ARRAY_SIZE(whole); i++) {
		for (size_t len = whole[i].ip + (whole[i].family == 4 ? 20 : 40); len < whole[i].len; len++) {
			struct frame f = whole[i];

			f.len = len;
			frame_end(&f);
			expect_drop(*state, &f, SLUICE_REASON_MALFORMED);
		}
	}
}

/* Bytes behind the datagram's end are not part of it. */
static void trailer_is_not_header(void **state)
{
	struct frame f = pod_udp(PEER4, 1000, 123);

	f.data[17] = 24;
	expect_hard(*state, &f, SLUICE_REASON_MALFORMED);
}

static void tcp_nonsense(void **state)
{
	static const uint8_t flags[] = { 0, SYN | FIN, SYN | RST, FIN, FIN | PSH | URG, SYN | FIN | ACK, URG };

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct frame f = pod_tcp(PEER4, 1000, 443, flags[i]), g = pod_tcp(PEER6, 1000, 443, flags[i]);

		expect_soft(*state, &f, SLUICE_REASON_TCP_STATE);
		expect_soft(*state, &g, SLUICE_REASON_TCP_STATE);
	}
}

static void bad_data_offset(void **state)
{
	struct frame f = pod_tcp(PEER4, 1000, 443, SYN);

	f.data[f.transport + 12] = 0x40;
	expect_hard(*state, &f, SLUICE_REASON_MALFORMED);
	f.data[f.transport + 12] = 0xf0;
	expect_hard(*state, &f, SLUICE_REASON_MALFORMED);
}

static void other_protocols(void **state)
{
	static const uint8_t protos[] = { 2, 4, 6 + 35, 47, 50, 51, 58, 59, 89, 94, 136, 255 };

	for (size_t i = 0; i < ARRAY_SIZE(protos); i++) {
		struct frame f = from_to(POD4, PEER4, protos[i]);

		frame_bytes(&f, NULL, 32);
		frame_end(&f);
		expect_soft(*state, &f, SLUICE_REASON_PROTOCOL);
	}
	static const uint8_t protos6[] = { 1, 4, 41, 47, 50, 59, 89, 136, 255 };

	for (size_t i = 0; i < ARRAY_SIZE(protos6); i++) {
		struct frame f = from_to(POD6, PEER6, protos6[i]);

		frame_bytes(&f, NULL, 32);
		frame_end(&f);
		expect_soft(*state, &f, SLUICE_REASON_PROTOCOL);
	}
}

static void sctp_by_rule(void **state)
{
	struct frame f = from_to(POD4, PEER4, IPPROTO_SCTP);

	frame_u16(&f, 1000);
	frame_u16(&f, 2000);
	frame_u32(&f, 0);
	frame_end(&f);
	expect_drop(*state, &f, SLUICE_REASON_MALFORMED);
	frame_u32(&f, 0);
	frame_end(&f);
	expect_pass(*state, &f);
}

static void icmp_errors(void **state)
{
	static const uint8_t types4[] = { 3, 4, 5, 11, 12 }, types6[] = { 0, 1, 2, 3, 4, 100, 127 };

	for (size_t i = 0; i < ARRAY_SIZE(types4); i++) {
		struct frame f = from_to(POD4, PEER4, IPPROTO_ICMP);

		frame_icmp(&f, types4[i], 4, 0);
		frame_bytes(&f, NULL, 28);
		frame_end(&f);
		expect_soft(*state, &f, SLUICE_REASON_ICMP_ERROR);
	}
	for (size_t i = 0; i < ARRAY_SIZE(types6); i++) {
		struct frame f = from_to(POD6, PEER6, IPPROTO_ICMPV6);

		frame_icmp(&f, types6[i], 0, 0);
		frame_bytes(&f, NULL, 48);
		frame_end(&f);
		expect_soft(*state, &f, SLUICE_REASON_ICMP_ERROR);
	}
}

static void other_icmp(void **state)
{
	static const uint8_t types4[] = { 9, 10, 13, 14, 15, 17, 42 }, types6[] = { 130, 131, 132, 138, 143, 255 };

	for (size_t i = 0; i < ARRAY_SIZE(types4); i++) {
		struct frame f = from_to(POD4, PEER4, IPPROTO_ICMP);

		frame_icmp(&f, types4[i], 0, 0);
		frame_end(&f);
		expect_soft(*state, &f, SLUICE_REASON_PROTOCOL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(types6); i++) {
		struct frame f = from_to(POD6, PEER6, IPPROTO_ICMPV6);

		frame_icmp(&f, types6[i], 0, 0);
		frame_end(&f);
		expect_soft(*state, &f, SLUICE_REASON_PROTOCOL);
	}
}

static struct frame with_options(const void *options, size_t len)
{
	struct frame f = from_to(POD4, PEER4, IPPROTO_TCP);

	frame_options(&f, options, len);
	frame_tcp(&f, 1000, 443, SYN);
	frame_end(&f);
	return f;
}

static void ip_options(void **state)
{
	const uint8_t lsrr[8] = { 131, 7, 4, 192, 0, 2, 1, 0 }, ssrr[8] = { 137, 7, 4, 192, 0, 2, 1, 0 };
	const uint8_t hidden[12] = { 1, 1, 7, 3, 0, 131, 7, 4, 192, 0, 2, 1 };
	const uint8_t behind_end[8] = { 0, 131, 7, 4, 1, 1, 1, 1 };
	const uint8_t alert[4] = { 148, 4, 0, 0 }, nops[40] = { [0 ... 39] = 1 };
	struct frame f;

	f = with_options(lsrr, sizeof(lsrr));
	expect_soft(*state, &f, SLUICE_REASON_IP_OPTION);
	f = with_options(ssrr, sizeof(ssrr));
	expect_soft(*state, &f, SLUICE_REASON_IP_OPTION);
	f = with_options(hidden, sizeof(hidden));
	expect_soft(*state, &f, SLUICE_REASON_IP_OPTION);
	f = with_options(behind_end, sizeof(behind_end));
	expect_pass(*state, &f);
	f = with_options(alert, sizeof(alert));
	expect_pass(*state, &f);
	f = with_options(nops, sizeof(nops));
	expect_pass(*state, &f);
}

/* The ports are where the options end, not at a fixed place. */
static void options_move_the_ports(void **state)
{
	const uint8_t nops[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
	struct frame f = with_options(nops, sizeof(nops));
	struct sluice_flow flow;

	expect_pass(*state, &f);
	assert_true(find_flow(*state, POD4, PEER4, IPPROTO_TCP, 1000, 443, &flow));
}

static void bad_options(void **state)
{
	const uint8_t zero_len[4] = { 7, 0, 0, 0 }, one_len[4] = { 7, 1, 0, 0 }, too_long[4] = { 7, 8, 0, 0 };
	const uint8_t cut[4] = { 1, 1, 1, 7 };
	const uint8_t *all[] = { zero_len, one_len, too_long, cut };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct frame f = with_options(all[i], 4);

		/* The last one's length byte is the TCP header's first: 0x03 of port 1000. */
		expect_hard(*state, &f, SLUICE_REASON_MALFORMED);
	}
}

static struct frame with_extensions(const uint8_t *chain, size_t n, uint8_t last)
{
	struct frame f = from_to(POD6, PEER6, n ? chain[0] : last);

	for (size_t i = 0; i < n; i++)
		frame_extension(&f, i + 1 < n ? chain[i + 1] : last);
	frame_tcp(&f, 1000, 443, SYN);
	frame_end(&f);
	return f;
}

static void extension_headers(void **state)
{
	const uint8_t good[][8] = { { 0 }, { 60 }, { 0, 60 }, { 60, 60 }, { 60, 60, 60, 60, 60, 60, 60, 60 } };
	const size_t good_len[] = { 1, 1, 2, 2, 8 };
	struct sluice_flow flow;

	for (size_t i = 0; i < ARRAY_SIZE(good_len); i++) {
		struct frame f = with_extensions(good[i], good_len[i], IPPROTO_TCP);

		expect_pass(*state, &f);
		assert_true(find_flow(*state, POD6, PEER6, IPPROTO_TCP, 1000, 443, &flow));
	}
}

static void extension_chains_refused(void **state)
{
	const uint8_t bad[][9] = { { 43 }, { 51 }, { 60, 0 }, { 0, 43 }, { 60, 60, 60, 60, 60, 60, 60, 60, 60 } };
	const size_t bad_len[] = { 1, 1, 2, 2, 9 };

	for (size_t i = 0; i < ARRAY_SIZE(bad_len); i++) {
		struct frame f = with_extensions(bad[i], bad_len[i], IPPROTO_TCP);

		expect_hard(*state, &f, SLUICE_REASON_EXTENSION);
	}
}

static void extension_longer_than_packet(void **state)
{
	const uint8_t chain[] = { 60 };
	struct frame f = with_extensions(chain, 1, IPPROTO_TCP);

	f.data[f.ip + 41] = 200;
	expect_hard(*state, &f, SLUICE_REASON_MALFORMED);
}

/* ---- fragments --------------------------------------------------------------------------------------------------- */

static struct frame fragment(const char *dst, uint16_t offset, int more, uint32_t id)
{
	bool v6 = strchr(dst, ':') != NULL;
	struct frame f = from_to(v6 ? POD6 : POD4, dst, v6 ? IPPROTO_FRAGMENT : IPPROTO_UDP);

	frame_fragment(&f, offset, more, id, IPPROTO_UDP);
	if (offset == 0)
		frame_udp(&f, 1000, 2000, 8);
	else
		frame_bytes(&f, NULL, 16);
	frame_end(&f);
	return f;
}

static void fragments_follow_the_first(void **state)
{
	static const char *const peers[] = { PEER4, PEER6 };

	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct frame first = fragment(peers[i], 0, 1, 77), later = fragment(peers[i], 2, 0, 77);
		struct frame other = fragment(peers[i], 2, 0, 78);

		expect_soft(*state, &later, SLUICE_REASON_FRAGMENT);
		expect_pass(*state, &first);
		expect_pass(*state, &later);
		expect_soft(*state, &other, SLUICE_REASON_FRAGMENT);
		set_state(*state, SLUICE_MODE_ENFORCE, 0, 2);
		expect_drop(*state, &later, SLUICE_REASON_FRAGMENT);
		set_state(*state, SLUICE_MODE_ENFORCE, 0, 1);
	}
}

static void denied_first_opens_no_later(void **state)
{
	struct frame first = fragment(PEER4, 0, 1, 5), later = fragment(PEER4, 2, 0, 5);

	deny(*state, PEER4, 0, 0);
	expect_drop(*state, &first, SLUICE_REASON_POLICY_DENY);
	expect_drop(*state, &later, SLUICE_REASON_FRAGMENT);
}

static void fragments_to_the_proxy(void **state)
{
	static const char *const peers[] = { PEER4, PEER6 };

	set_state(*state, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct frame first = fragment(peers[i], 0, 1, 9), later = fragment(peers[i], 2, 0, 9);

		first.data[first.transport + 2] = 0;
		first.data[first.transport + 3] = 53;
		if (first.transport == 0)
			fail();
		expect_drop(*state, &first, SLUICE_REASON_FRAGMENT);
		expect_drop(*state, &later, SLUICE_REASON_FRAGMENT);
	}
}

static void atomic_fragment_is_whole(void **state)
{
	struct frame f = fragment(PEER6, 0, 0, 3);
	struct sluice_flow flow;

	expect_pass(*state, &f);
	assert_true(find_flow(*state, POD6, PEER6, IPPROTO_UDP, 1000, 2000, &flow));
}

static void first_fragment_needs_its_ports(void **state)
{
	struct frame f = fragment(PEER4, 0, 1, 3);

	f.len = f.transport + 4;
	frame_end(&f);
	expect_hard(*state, &f, SLUICE_REASON_MALFORMED);
}

/* ---- neighbours -------------------------------------------------------------------------------------------------- */

static struct frame arp(const uint8_t *dst, uint16_t operation, const char *sender)
{
	struct frame f;

	frame_eth(&f, dst, POD_MAC, ETHERTYPE_ARP);
	frame_arp(&f, operation, POD_MAC, sender, "169.254.1.1");
	return f;
}

static void arp_for_itself(void **state)
{
	struct frame frames[] = { arp(BROADCAST, 1, POD4), arp(HOST_MAC, 1, POD4), arp(HOST_MAC, 2, POD4),
				  arp(BROADCAST, 2, POD4), arp(BROADCAST, 1, "0.0.0.0") };

	for (size_t i = 0; i < ARRAY_SIZE(frames); i++)
		expect_pass(*state, &frames[i]);
	set_state(*state, SLUICE_MODE_QUARANTINE, 0, 0);
	expect_pass(*state, &frames[2]);
}

static void arp_for_others(void **state)
{
	struct frame f = arp(BROADCAST, 1, "10.0.1.6");

	expect_hard(*state, &f, SLUICE_REASON_NEIGHBOUR);
	f = arp(HOST_MAC, 2, "169.254.1.1");
	expect_hard(*state, &f, SLUICE_REASON_NEIGHBOUR);
	f = arp(HOST_MAC, 2, "0.0.0.0");
	expect_hard(*state, &f, SLUICE_REASON_NEIGHBOUR);
	f = arp(HOST_MAC, 3, POD4);
	expect_hard(*state, &f, SLUICE_REASON_NEIGHBOUR);
	f = arp(HOST_MAC, 2, POD4);
	f.data[22] ^= 1; /* sender MAC is not the frame's */
	expect_hard(*state, &f, SLUICE_REASON_NEIGHBOUR);
	f = arp(STRANGER, 1, POD4);
	expect_hard(*state, &f, SLUICE_REASON_L2);
	f = arp(BROADCAST, 1, POD4);
	f.len -= 4;
	expect_hard(*state, &f, SLUICE_REASON_MALFORMED);
}

static struct frame nd(const char *src, const char *dst, uint8_t type, const char *target)
{
	struct frame f = from_to(src, dst, IPPROTO_ICMPV6);

	if (dst[0] == 'f' && dst[1] == 'f')
		memcpy(f.data, MULTICAST6, 6);
	frame_nd(&f, type, target);
	frame_end(&f);
	return f;
}

static void nd_for_itself(void **state)
{
	struct frame frames[] = {
		nd(POD6, "ff02::1:ff00:1", 135, "fe80::1"),
		nd(LINK6, "fe80::1", 135, "fe80::1"),
		nd(POD6, "fe80::1", 136, POD6),
		nd(LINK6, "fe80::1", 136, POD6),
		nd(LINK6, "ff02::1", 136, LINK6),
		nd("::", "ff02::1:ff00:5", 135, POD6),
		nd("::", "ff02::1:ff00:5", 135, LINK6),
	};

	for (size_t i = 0; i < ARRAY_SIZE(frames); i++)
		expect_pass(*state, &frames[i]);
	set_state(*state, SLUICE_MODE_QUARANTINE, 0, 0);
	expect_pass(*state, &frames[2]);
}

static void nd_for_others(void **state)
{
	struct frame frames[] = {
		nd(POD6, "fe80::1", 136, "fd00::6"),  /* somebody else's address */
		nd(LINK6, "fe80::1", 136, "fe80::1"), /* the gateway's */
		nd(POD6, PEER6, 136, POD6),	      /* routed: a channel */
		nd("::", "ff02::1:ff00:6", 135, "fd00::6"),
		nd("::", "fe80::1", 136, POD6),
		nd(LINK6, "ff02::1", 134, POD6), /* router advertisement */
		nd(LINK6, "ff02::2", 133, POD6),
		nd(LINK6, "fe80::1", 137, POD6),
	};

	for (size_t i = 0; i < ARRAY_SIZE(frames); i++)
		expect_hard(*state, &frames[i], SLUICE_REASON_NEIGHBOUR);
	struct frame f = nd(POD6, "fe80::1", 136, POD6);

	f.data[f.ip + 7] = 254;
	expect_hard(*state, &f, SLUICE_REASON_NEIGHBOUR);
	f = nd("fd00::6", "fe80::1", 136, POD6);
	expect_hard(*state, &f, SLUICE_REASON_SOURCE);
}

/* Neighbour discovery behind an extension header is neighbour discovery. */
static void nd_in_disguise(void **state)
{
	struct frame f = from_to(LINK6, "ff02::1", 60);

	memcpy(f.data, MULTICAST6, 6);
	frame_extension(&f, IPPROTO_ICMPV6);
	frame_nd(&f, 134, POD6);
	frame_end(&f);
	expect_hard(*state, &f, SLUICE_REASON_NEIGHBOUR);
}

/* ---- quarantine, port 53 ----------------------------------------------------------------------------------------- */

static void quarantine(void **state)
{
	struct frame f = pod_tcp(PEER4, 1000, 443, SYN), g = pod_udp(PEER6, 1000, 53), e = pod_echo(PEER4, true, 4);

	set_state(*state, SLUICE_MODE_QUARANTINE, 0, 0);
	expect_drop(*state, &f, SLUICE_REASON_QUARANTINE);
	expect_drop(*state, &g, SLUICE_REASON_QUARANTINE);
	expect_drop(*state, &e, SLUICE_REASON_QUARANTINE);
	assert_int_equal(count_flows(*state), 0);
}

/* No socket is registered here: what should have gone to the proxy goes nowhere, whatever the address rules say. */
static void dns_never_falls_through(void **state)
{
	static const char *const peers[] = { PEER4, PEER6 };

	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct frame udp = pod_udp(peers[i], 1000, 53), tcp = pod_tcp(peers[i], 1000, 53, SYN);
		struct frame ack = pod_tcp(peers[i], 1000, 53, ACK);

		expect_pass(*state, &udp); /* without name rules: by address */
		expect_pass(*state, &tcp);
		set_state(*state, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1);
		expect_drop(*state, &udp, SLUICE_REASON_DNS_SOCKET); /* with a live flow of before */
		expect_drop(*state, &tcp, SLUICE_REASON_DNS_SOCKET);
		expect_drop(*state, &ack, SLUICE_REASON_DNS_SOCKET);
		set_state(*state, SLUICE_MODE_ENFORCE, 0, 1);
	}
}

static void dns_denied_resolver(void **state)
{
	struct frame f = pod_udp(PEER4, 1000, 53);

	deny(*state, PEER4, IPPROTO_UDP, 53);
	set_state(*state, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1);
	expect_drop(*state, &f, SLUICE_REASON_POLICY_DENY);
}

static void dns_rate(void **state)
{
	struct harness *h = *state;
	struct frame f = pod_udp(PEER4, 1000, 53);
	unsigned int passed = 0;

	h->settings->dns_rate = 1;
	h->settings->dns_burst = 5;
	set_state(h, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1);
	for (int i = 0; i < 20; i++) {
		uint64_t before = h->runtime[TEST_ENDPOINT].drops[SLUICE_REASON_DNS_RATE];

		run_from_pod(h, &f);
		passed += h->runtime[TEST_ENDPOINT].drops[SLUICE_REASON_DNS_RATE] == before;
	}
	assert_in_range(passed, 5, 6);
}

static void event_rate(void **state)
{
	struct harness *h = *state;
	struct frame f = pod_tcp(PEER4, 1000, 443, SYN);
	uint64_t suppressed = total(h, SLUICE_TOTAL_EVENTS_SUPPRESSED);
	unsigned int seen;

	deny(h, PEER4, 0, 0);
	h->settings->event_rate = 1;
	h->settings->event_burst = 3;
	for (int i = 0; i < 50; i++)
		assert_int_equal(run_from_pod(h, &f), DROP);
	seen = drain_events(h, NULL);
	assert_in_range(seen, 3, 4);
	assert_int_equal(total(h, SLUICE_TOTAL_EVENTS_SUPPRESSED) - suppressed, 50 - seen);
	assert_int_equal(h->runtime[TEST_ENDPOINT].events_suppressed, 50 - seen);
	assert_int_equal(h->runtime[TEST_ENDPOINT].drops[SLUICE_REASON_POLICY_DENY], 50);
}

static void event_tells_the_packet(void **state)
{
	struct harness *h = *state;
	struct frame f = pod_tcp(PEER6, 1000, 443, SYN);
	struct sluice_addr local, remote;
	struct sluice_event e;

	deny(h, PEER6, 0, 0);
	expect_drop(h, &f, SLUICE_REASON_POLICY_DENY);
	assert_int_equal(run_from_pod(h, &f), DROP);
	assert_int_equal(drain_events(h, &e), 1);
	assert_int_equal(addr_parse(POD6, &local) | addr_parse(PEER6, &remote), 0);
	assert_memory_equal(&e.local, &local, sizeof(local));
	assert_memory_equal(&e.remote, &remote, sizeof(remote));
	assert_int_equal(e.lport, __builtin_bswap16(1000));
	assert_int_equal(e.rport, __builtin_bswap16(443));
	assert_int_equal(e.proto, IPPROTO_TCP);
	assert_int_equal(e.tcp_flags, SYN);
	assert_int_equal(e.ethertype, ETHERTYPE_IPV6);
	assert_int_equal(e.ifindex, h->host_ifindex);
	assert_int_equal(e.generation, TEST_GENERATION);
	assert_int_equal(e.rule, 2);
	assert_int_equal(e.ip_known, 1);
	assert_int_equal(e.state, h->endpoints[TEST_ENDPOINT].state);
}

#define TEST(f) cmocka_unit_test_setup(f, allow_everything)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ordinary_traffic_passes),
		TEST(unknown_interface_drops),
		TEST(alike_interfaces),
		TEST(recycled_slot_drops),
		TEST(vlan),
		TEST(ethertype),
		TEST(destination_mac),
		TEST(source_address),
		TEST(never_leaves),
		TEST(malformed_link_and_network),
		TEST(cut_short),
		TEST(trailer_is_not_header),
		TEST(tcp_nonsense),
		TEST(bad_data_offset),
		TEST(other_protocols),
		TEST(sctp_by_rule),
		TEST(icmp_errors),
		TEST(other_icmp),
		TEST(ip_options),
		TEST(options_move_the_ports),
		TEST(bad_options),
		TEST(extension_headers),
		TEST(extension_chains_refused),
		TEST(extension_longer_than_packet),
		TEST(fragments_follow_the_first),
		TEST(denied_first_opens_no_later),
		TEST(fragments_to_the_proxy),
		TEST(atomic_fragment_is_whole),
		TEST(first_fragment_needs_its_ports),
		TEST(arp_for_itself),
		TEST(arp_for_others),
		TEST(nd_for_itself),
		TEST(nd_for_others),
		TEST(nd_in_disguise),
		TEST(quarantine),
		TEST(dns_never_falls_through),
		TEST(dns_denied_resolver),
		TEST(dns_rate),
		TEST(event_rate),
		TEST(event_tells_the_packet),
	};

	return cmocka_run_group_tests(tests, harness_open, harness_close);
}
