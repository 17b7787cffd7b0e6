/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only a real veth shows: tags that the stack has taken out of the frame, and headers beyond the linear part of
 * the buffer. And the bounds on neighbour messages.
 */
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/bpf/harness.h"

static const uint8_t MULTICAST6[6] = { 0x33, 0x33, 0xff, 0, 0, 5 };
static const uint8_t STRANGER[6] = { 2, 0, 0, 0, 0, 9 };
static const uint8_t BROADCAST[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static struct sockaddr_ll pod_device(struct harness *h)
{
	return (struct sockaddr_ll){ .sll_family = AF_PACKET, .sll_ifindex = h->pod_ifindex, .sll_halen = 6 };
}

static void send_from_pod(struct harness *h, const struct frame *f)
{
	struct sockaddr_ll to = pod_device(h);
	int fd = pod_socket(h, AF_PACKET, SOCK_RAW, 0);

	assert_int_equal(sendto(fd, f->data, f->len, 0, (struct sockaddr *)&to, sizeof(to)), f->len);
	close(fd);
}

/* The inner frame behind one or two tags. */
static struct frame tag(const struct frame *inner, const uint16_t *types, size_t n)
{
	struct frame f = { .len = 0 };

	frame_bytes(&f, inner->data, 12);
	for (size_t i = 0; i < n; i++) {
		frame_u16(&f, types[i]);
		frame_u16(&f, (uint16_t)(i * 5)); /* the first is VLAN 0: a priority tag */
	}
	frame_bytes(&f, inner->data + 12, inner->len - 12);
	return f;
}

/* Of an attempt, and in the middle of a flow that passes. */
static void tags_out_of_band(void **state)
{
	static const uint16_t tags[][2] = { { 0x8100, 0 }, { 0x88a8, 0 }, { 0x8100, 0x8100 }, { 0x88a8, 0x8100 } };
	static const enum sluice_mode modes[] = { SLUICE_MODE_ENFORCE, SLUICE_MODE_AUDIT, SLUICE_MODE_OPEN };
	struct harness *h = *state;
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN), ack = pod_tcp(PEER4, 1000, 443, ACK);

	allow(h, PEER4, 0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(modes) * ARRAY_SIZE(tags); i++) {
		const uint16_t *types = tags[i % ARRAY_SIZE(tags)];
		struct frame tagged_syn = tag(&syn, types, types[1] ? 2 : 1);
		struct frame tagged_ack = tag(&ack, types, types[1] ? 2 : 1);
		uint64_t before = total(h, SLUICE_REASON_VLAN), forwarded;

		set_state(h, modes[i / ARRAY_SIZE(tags)], 0, 1);
		expect_pass(h, &syn);
		expect_pass(h, &ack);
		forwarded = total(h, SLUICE_TOTAL_FORWARDED);
		send_from_pod(h, &tagged_syn);
		send_from_pod(h, &tagged_ack);
		wait_total(h, SLUICE_REASON_VLAN, before + 2);
		assert_int_equal(total(h, SLUICE_TOTAL_FORWARDED), forwarded);
	}
}

/*
 * A ring's frames go out without a copy: the Ethernet header is linear, everything behind it lies in pages. Too short
 * for a parser that looks at the linear part only. They are no longer the sender's own pages by then, which it could write to
 * after the verdict: veth_xmit() has had them copied (skb_orphan_frags).
 */
static void send_paged(struct harness *h, const struct frame *f)
{
	struct tpacket_req req = { .tp_block_size = 4096, .tp_block_nr = 1, .tp_frame_size = 4096, .tp_frame_nr = 1 };
	struct sockaddr_ll to = pod_device(h);
	int fd = pod_socket(h, AF_PACKET, SOCK_RAW, 0);
	struct tpacket_hdr *ring;

	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_TX_RING, &req, sizeof(req)), 0);
	ring = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(ring != MAP_FAILED);
	memcpy((uint8_t *)ring + TPACKET_HDRLEN - sizeof(struct sockaddr_ll), f->data, f->len);
	ring->tp_len = (unsigned int)f->len;
	ring->tp_status = TP_STATUS_SEND_REQUEST;
	assert_int_equal(sendto(fd, NULL, 0, 0, (struct sockaddr *)&to, sizeof(to)), f->len);
	munmap(ring, 4096);
	close(fd);
}

static void headers_in_pages(void **state)
{
	static const char *const peers[] = { PEER4, PEER6 };
	struct harness *h = *state;

	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct frame f = pod_tcp(peers[i], 1000, 443, SYN), denied = pod_tcp(peers[i], 1000, 80, SYN);
		uint64_t malformed = total(h, SLUICE_REASON_MALFORMED), no = total(h, SLUICE_REASON_POLICY_DEFAULT);

		allow(h, peers[i], IPPROTO_TCP, 443);
		send_paged(h, &f);
		wait_origin(h, peers[i], IPPROTO_TCP, 1000, 443, SLUICE_ORIGIN_POD);
		send_paged(h, &denied);
		wait_total(h, SLUICE_REASON_POLICY_DEFAULT, no + 1);
		assert_int_equal(total(h, SLUICE_REASON_MALFORMED), malformed);
	}
}

/* ---- bounds on neighbour messages -------------------------------------------------------------------------------- */

static struct frame advertisement(size_t options)
{
	struct frame f;

	frame_eth(&f, HOST_MAC, POD_MAC, ETHERTYPE_IPV6);
	frame_ip(&f, POD6, "fe80::1", IPPROTO_ICMPV6);
	frame_nd(&f, 136, POD6);
	frame_bytes(&f, NULL, options);
	frame_end(&f);
	return f;
}

static void nd_carries_no_payload(void **state)
{
	struct frame f = advertisement(32);

	expect_pass(*state, &f);
	f = advertisement(40);
	expect_drop(*state, &f, SLUICE_REASON_NEIGHBOUR);
	f = advertisement(1000);
	expect_drop(*state, &f, SLUICE_REASON_NEIGHBOUR);
}

/* On a bridge another station would hear it. */
static void nd_to_another_station(void **state)
{
	struct frame f = advertisement(8);

	memcpy(f.data, STRANGER, 6);
	expect_drop(*state, &f, SLUICE_REASON_L2);
	memcpy(f.data, BROADCAST, 6);
	expect_drop(*state, &f, SLUICE_REASON_L2);
	memcpy(f.data, MULTICAST6, 6);
	expect_pass(*state, &f);
}

static void arp_carries_no_payload(void **state)
{
	struct frame f;

	frame_eth(&f, BROADCAST, POD_MAC, ETHERTYPE_ARP);
	frame_arp(&f, 1, POD_MAC, POD4, "169.254.1.1");
	frame_bytes(&f, NULL, 18); /* Ethernet's least length */
	expect_pass(*state, &f);
	frame_bytes(&f, NULL, 1);
	expect_drop(*state, &f, SLUICE_REASON_NEIGHBOUR);
}

#define TEST(f) cmocka_unit_test_setup(f, harness_reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tags_out_of_band),	     TEST(headers_in_pages),	   TEST(nd_carries_no_payload),
		TEST(nd_to_another_station), TEST(arp_carries_no_payload),
	};

	return cmocka_run_group_tests(tests, harness_open_node, harness_close);
}
