/* SPDX-License-Identifier: Apache-2.0 */
/* Fragments: the later follow an admitted first, for a short while, and nothing in pieces reaches port 53. */
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/bpf/harness.h"

#define NO   SLUICE_REASON_POLICY_DEFAULT
#define FRAG SLUICE_REASON_FRAGMENT

struct piece {
	const char *dst;
	uint8_t proto;
	uint16_t dport;
	uint16_t offset; /* in 8 bytes */
	bool more;
	uint32_t id;
};

static struct frame build(const struct piece *p)
{
	bool v6 = strchr(p->dst, ':') != NULL;
	struct frame f;

	frame_eth(&f, HOST_MAC, POD_MAC, v6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP);
	frame_ip(&f, v6 ? POD6 : POD4, p->dst, v6 ? IPPROTO_FRAGMENT : p->proto);
	frame_fragment(&f, p->offset, p->more, p->id, p->proto);
	if (p->offset)
		frame_bytes(&f, NULL, 64);
	else if (p->proto == IPPROTO_TCP)
		frame_tcp(&f, 1000, p->dport, SYN);
	else if (p->proto == IPPROTO_UDP)
		frame_udp(&f, 1000, p->dport, 32);
	else
		frame_icmp(&f, v6 ? 128 : 8, 0, 1000);
	frame_end(&f);
	return f;
}

static void expect(struct harness *h, struct piece p, enum sluice_reason reason)
{
	struct frame f = build(&p);

	if (reason)
		expect_drop(h, &f, reason);
	else
		expect_pass(h, &f);
}

static void every_protocol_and_family(void **state)
{
	static const char *const peers[] = { PEER4, PEER6 };
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };
	uint32_t id = 100;

	allow(*state, PEER4, 0, 443);
	allow(*state, PEER6, 0, 443);
	for (size_t i = 0; i < 4; i++, id++) {
		struct piece p = { peers[i / 2], protos[i % 2], 443, 0, true, id };
		struct piece later = { p.dst, p.proto, 0, 3, true, id }, last = { p.dst, p.proto, 0, 11, false, id };

		expect(*state, later, FRAG);
		expect(*state, p, 0);
		expect(*state, later, 0);
		expect(*state, last, 0);
	}
}

/* Whatever differs makes it another datagram. */
static void only_the_same_datagram(void **state)
{
	struct piece first = { PEER4, IPPROTO_UDP, 443, 0, true, 7 }, later = { PEER4, IPPROTO_UDP, 0, 5, false, 7 };
	struct piece other;

	allow(*state, "0.0.0.0/0", 0, 443);
	expect(*state, first, 0);
	other = later;
	other.dst = "192.0.2.8";
	expect(*state, other, FRAG);
	other = later;
	other.proto = IPPROTO_TCP;
	expect(*state, other, FRAG);
	other = later;
	other.id = 8;
	expect(*state, other, FRAG);
	other = later;
	other.proto = IPPROTO_GRE; /* unknown protocols have no later pieces either */
	expect(*state, other, FRAG);
	expect(*state, later, 0);
}

static void a_denied_first_opens_nothing(void **state)
{
	allow(*state, PEER4, 0, 443);
	expect(*state, (struct piece){ PEER4, IPPROTO_UDP, 80, 0, true, 7 }, NO);
	expect(*state, (struct piece){ PEER4, IPPROTO_UDP, 0, 5, false, 7 }, FRAG);
	expect(*state, (struct piece){ PEER4, IPPROTO_ICMP, 0, 0, true, 8 }, NO);
	expect(*state, (struct piece){ PEER4, IPPROTO_ICMP, 0, 5, false, 8 }, FRAG);
}

/* A second first with another port is judged for itself. */
static void overlapping_first(void **state)
{
	allow(*state, PEER4, 0, 443);
	expect(*state, (struct piece){ PEER4, IPPROTO_UDP, 443, 0, true, 7 }, 0);
	expect(*state, (struct piece){ PEER4, IPPROTO_UDP, 80, 0, true, 7 }, NO);
}

static void a_policy_change_ends_them(void **state)
{
	struct piece later = { PEER4, IPPROTO_UDP, 0, 5, true, 7 };

	allow(*state, PEER4, 0, 443);
	expect(*state, (struct piece){ PEER4, IPPROTO_UDP, 443, 0, true, 7 }, 0);
	expect(*state, later, 0);
	set_state(*state, SLUICE_MODE_ENFORCE, 0, 2);
	expect(*state, later, FRAG);
}

/* The number of a datagram long gone carries nothing more. */
static void they_grow_old(void **state)
{
	struct harness *h = *state;
	struct piece later = { PEER4, IPPROTO_UDP, 0, 5, true, 7 };
	struct sluice_frag_key key;
	struct sluice_frag frag;
	int fd = bpf_map__fd(h->skel->maps.frags);

	allow(h, PEER4, 0, 443);
	expect(h, (struct piece){ PEER4, IPPROTO_UDP, 443, 0, true, 7 }, 0);
	expect(h, later, 0);
	assert_int_equal(bpf_map_get_next_key(fd, NULL, &key), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &frag), 0);
	assert_true(frag.seen > 0);
	frag.seen = frag.seen > 6000000000u ? frag.seen - 6000000000u : 0;
	assert_int_equal(bpf_map_update_elem(fd, &key, &frag, BPF_ANY), 0);
	expect(h, later, FRAG);
}

static void recycled_entry(void **state)
{
	struct harness *h = *state;
	struct piece later = { PEER4, IPPROTO_UDP, 0, 5, true, 7 };
	struct sluice_frag_key key;
	struct sluice_frag frag;
	int fd = bpf_map__fd(h->skel->maps.frags);

	allow(h, PEER4, 0, 443);
	expect(h, (struct piece){ PEER4, IPPROTO_UDP, 443, 0, true, 7 }, 0);
	assert_int_equal(bpf_map_get_next_key(fd, NULL, &key), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &frag), 0);
	frag.key.id++;
	assert_int_equal(bpf_map_update_elem(fd, &key, &frag, BPF_ANY), 0);
	expect(h, later, FRAG);
}

/* Hazard 3: in pieces to port 53, with name rules or without an admitted first: nothing of it leaves. */
static void port_53(void **state)
{
	static const char *const peers[] = { PEER4, PEER6 };

	allow(*state, "0.0.0.0/0", 0, 0);
	allow(*state, "::/0", 0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		for (int tcp = 0; tcp < 2; tcp++) {
			uint8_t proto = tcp ? IPPROTO_TCP : IPPROTO_UDP;
			uint32_t id = 50 + (uint32_t)tcp;

			set_state(*state, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1);
			expect(*state, (struct piece){ peers[i], proto, 53, 0, true, id }, FRAG);
			expect(*state, (struct piece){ peers[i], proto, 0, 5, false, id }, FRAG);
		}
	}
}

/* Pieces of an admitted datagram under audit pass as its first did, reported with it. */
static void audit(void **state)
{
	struct harness *h = *state;
	struct piece first = { PEER4, IPPROTO_UDP, 443, 0, true, 7 }, later = { PEER4, IPPROTO_UDP, 0, 5, true, 7 };
	struct frame f = build(&first), l = build(&later);

	set_state(h, SLUICE_MODE_AUDIT, 0, 1);
	expect_audit(h, &f, NO);
	drain_events(h, NULL);
	assert_int_equal(run_from_pod(h, &l), PASS);
	assert_int_equal(drain_events(h, NULL), 0);
	set_state(h, SLUICE_MODE_ENFORCE, 0, 1);
	expect_drop(h, &l, FRAG);
}

/* A fragment header only once, an atomic one included. */
static void two_fragment_headers(void **state)
{
	struct frame f;

	allow(*state, "::/0", 0, 0);
	frame_eth(&f, HOST_MAC, POD_MAC, ETHERTYPE_IPV6);
	frame_ip(&f, POD6, PEER6, IPPROTO_FRAGMENT);
	frame_fragment(&f, 0, 0, 0, IPPROTO_FRAGMENT);
	frame_fragment(&f, 0, 1, 9, IPPROTO_UDP);
	frame_udp(&f, 1000, 443, 8);
	frame_end(&f);
	expect_drop(*state, &f, SLUICE_REASON_EXTENSION);
}

static void quarantine_lets_none_through(void **state)
{
	allow(*state, PEER4, 0, 443);
	expect(*state, (struct piece){ PEER4, IPPROTO_UDP, 443, 0, true, 7 }, 0);
	set_state(*state, SLUICE_MODE_QUARANTINE, 0, 1);
	expect(*state, (struct piece){ PEER4, IPPROTO_UDP, 0, 5, true, 7 }, SLUICE_REASON_QUARANTINE);
}

#define TEST(f) cmocka_unit_test_setup(f, harness_reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_protocol_and_family),
		TEST(only_the_same_datagram),
		TEST(a_denied_first_opens_nothing),
		TEST(overlapping_first),
		TEST(a_policy_change_ends_them),
		TEST(they_grow_old),
		TEST(recycled_entry),
		TEST(port_53),
		TEST(audit),
		TEST(two_fragment_headers),
		TEST(quarantine_lets_none_through),
	};

	return cmocka_run_group_tests(tests, harness_open, harness_close);
}
