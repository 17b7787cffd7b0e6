/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reject mode: who is answered, by what, with which checksums; who is not; and what a pod's own stack makes of it over a
 * real veth.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/bpf/harness.h"

#define REDIRECT  7
#define FORWARDED 7

static const char *const peers[] = { PEER4, PEER6 };

static int reset(void **state)
{
	struct harness *h;
	int err = harness_reset(state);

	h = *state;
	h->settings->flags = SLUICE_SETTING_REJECT;
	h->settings->reject_rate = 1000000;
	h->settings->reject_burst = 1000;
	return err;
}

/* ---- the answer as bytes ----------------------------------------------------------------------------------------- */

struct answer {
	uint8_t data[FRAME_MAX];
	size_t len;
};

static int run_for_answer(struct harness *h, const struct frame *f, struct answer *ret)
{
	struct __sk_buff ctx = { .ifindex = (uint32_t)h->host_ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->data, .data_size_in = (uint32_t)f->len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .data_out = ret->data, .data_size_out = sizeof(ret->data));

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(h->skel->progs.from_pod), &opts), 0);
	ret->len = opts.data_size_out;
	return (int)opts.retval;
}

static uint32_t sum16(const uint8_t *p, size_t len, uint32_t sum)
{
	assert_int_equal(len % 2, 0);
	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Of addresses, protocol and length; `ip` is the network header. */
static uint32_t pseudo_sum(const uint8_t *ip, uint8_t proto, size_t len)
{
	bool v6 = ip[0] >> 4 == 6;

	return sum16(ip + (v6 ? 8 : 12), v6 ? 32 : 8, (uint32_t)len + proto);
}

/* The headers of an answer to `f`: Ethernet turned round, addresses turned round, right lengths and IPv4 checksum. */
static const uint8_t *check_headers(const struct frame *f, const struct answer *a, uint8_t proto)
{
	const uint8_t *ip = a->data + ETH_HLEN, *asked = f->data + ETH_HLEN;
	bool v6 = f->family == 6;
	size_t header = v6 ? 40 : 20, addr = v6 ? 16 : 4, at = v6 ? 8 : 12;

	assert_memory_equal(a->data, f->data + 6, 6);
	assert_memory_equal(a->data + 6, f->data, 6);
	assert_memory_equal(a->data + 12, f->data + 12, 2);
	assert_int_equal(ip[0], v6 ? 0x60 : 0x45);
	assert_int_equal(ip[v6 ? 6 : 9], proto);
	assert_int_equal(ip[v6 ? 7 : 8], 64);
	assert_int_equal(ip[v6 ? 4 : 2] << 8 | ip[v6 ? 5 : 3], a->len - ETH_HLEN - (v6 ? 40 : 0));
	if (!v6)
		assert_int_equal(sum16(ip, 20, 0), 0xffff);
	assert_memory_equal(ip + at, asked + at + addr, addr);
	assert_memory_equal(ip + at + addr, asked + at, addr);
	return ip + header;
}

static void check_reset(const struct frame *f, const struct answer *a, uint32_t seq, uint32_t ack, uint8_t flags,
			bool partial)
{
	const uint8_t *tcp = check_headers(f, a, IPPROTO_TCP), *asked = f->data + f->transport;
	uint32_t pseudo = pseudo_sum(a->data + ETH_HLEN, IPPROTO_TCP, 20), number;

	assert_ptr_equal(tcp + 20, a->data + a->len);
	assert_memory_equal(tcp, asked + 2, 2);
	assert_memory_equal(tcp + 2, asked, 2);
	memcpy(&number, tcp + 4, 4);
	assert_int_equal(ntohl(number), seq);
	memcpy(&number, tcp + 8, 4);
	assert_int_equal(ntohl(number), ack);
	assert_int_equal(tcp[12], 0x50);
	assert_int_equal(tcp[13], flags);
	if (partial)
		assert_int_equal(tcp[16] << 8 | tcp[17], sum16(tcp, 0, pseudo));
	else
		assert_int_equal(sum16(tcp, 20, pseudo), 0xffff);
}

static void put_u32(struct frame *f, size_t at, uint32_t v)
{
	v = htonl(v);
	memcpy(f->data + at, &v, sizeof(v));
}

/* With `len` bytes behind the header. */
static struct frame segment(const char *peer, uint8_t flags, size_t len)
{
	struct frame f = pod_tcp(peer, 1000, 443, flags);

	put_u32(&f, f.transport + 8, flags & ACK ? 7000 : 0);
	frame_bytes(&f, NULL, len);
	frame_end(&f);
	frame_checksums(&f);
	return f;
}

/* RFC 9293 section 3.10.7.1. */
static void resets(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct frame syn = segment(peers[i], SYN, 0), fast = segment(peers[i], SYN, 100);
		struct frame data = segment(peers[i], ACK | PSH, 1000);
		struct answer a;

		assert_int_equal(run_for_answer(*state, &syn, &a), REDIRECT);
		check_reset(&syn, &a, 0, 1001, RST | ACK, false);
		assert_int_equal(run_for_answer(*state, &fast, &a), REDIRECT);
		check_reset(&fast, &a, 0, 1101, RST | ACK, false);
		assert_int_equal(run_for_answer(*state, &data, &a), REDIRECT);
		check_reset(&data, &a, 7000, 0, RST, false);
	}
}

/* A checksum that is still to be computed stays that way: CHECKSUM_PARTIAL cannot be cleared. */
static void resets_left_partial(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct frame f = segment(peers[i], SYN, 60);
		uint32_t sum = sum16(NULL, 0, pseudo_sum(f.data + f.ip, IPPROTO_TCP, 80));
		struct answer a;

		f.data[f.transport + 16] = (uint8_t)(sum >> 8);
		f.data[f.transport + 17] = (uint8_t)sum;
		assert_int_equal(run_for_answer(*state, &f, &a), REDIRECT);
		check_reset(&f, &a, 0, 1061, RST | ACK, true);
	}
}

static void check_error(const struct frame *f, const struct answer *a)
{
	bool v6 = f->family == 6;
	const uint8_t *icmp = check_headers(f, a, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	size_t quoted = v6 ? 48 : 28;

	assert_ptr_equal(icmp + 8 + quoted, a->data + a->len);
	assert_int_equal(icmp[0], v6 ? ICMP6_DST_UNREACH : ICMP_DEST_UNREACH);
	assert_int_equal(icmp[1], v6 ? ICMP6_DST_UNREACH_ADMIN : ICMP_PKT_FILTERED);
	assert_memory_equal(icmp + 8, f->data + ETH_HLEN, quoted);
	assert_int_equal(sum16(icmp, 8 + quoted, v6 ? pseudo_sum(icmp - 40, IPPROTO_ICMPV6, 8 + quoted) : 0), 0xffff);
}

static void errors(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct frame udp = pod_udp(peers[i], 1000, 443), echo = pod_echo(peers[i], false, 9);
		struct answer a;

		frame_checksums(&udp);
		assert_int_equal(run_for_answer(*state, &udp, &a), REDIRECT);
		check_error(&udp, &a);
		assert_int_equal(run_for_answer(*state, &echo, &a), REDIRECT);
		check_error(&echo, &a);
	}
}

/* Whoever completes a checksum sums from the transport header on and writes where UDP has it: right before and after. */
static void errors_survive_partial(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct frame f = pod_udp(peers[i], 1000, 443);
		uint32_t sum = sum16(NULL, 0, pseudo_sum(f.data + f.ip, IPPROTO_UDP, 24));
		struct answer a;
		uint8_t *icmp;

		f.data[f.transport + 6] = (uint8_t)(sum >> 8);
		f.data[f.transport + 7] = (uint8_t)sum;
		assert_int_equal(run_for_answer(*state, &f, &a), REDIRECT);
		check_error(&f, &a);
		icmp = a.data + f.transport;
		sum = ~sum16(icmp, a.len - f.transport, 0) & 0xffff;
		sum = sum ? sum : 0xffff;
		icmp[6] = (uint8_t)(sum >> 8);
		icmp[7] = (uint8_t)sum;
		check_error(&f, &a);
	}
}

/* Hazard 2: were it to meet to_pod on some way of its own, an answer opens nothing and turns no tombstone. */
static void answers_open_nothing(void **state)
{
	struct harness *h = *state;

	add_cluster(h, PEER4, SLUICE_CLUSTER_NODE, true);
	add_cluster(h, PEER6, SLUICE_CLUSTER_NODE, true);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct frame asked[] = { pod_tcp(peers[i], 1000, 443, SYN), pod_udp(peers[i], 1000, 443),
					 pod_echo(peers[i], false, 9) };

		for (size_t k = 0; k < ARRAY_SIZE(asked); k++) {
			struct frame f = { .len = 0 };
			struct answer a;
			unsigned int flows;

			assert_int_equal(run_for_answer(h, &asked[k], &a), REDIRECT);
			flows = count_flows(h);
			frame_bytes(&f, a.data, a.len);
			assert_int_equal(run_to_pod(h, &f, h->host_ifindex), PASS);
			assert_int_equal(run_to_pod(h, &f, 0), PASS);
			assert_int_equal(count_flows(h), flows);
			assert_int_equal(run_from_pod(h, &asked[k]), REDIRECT);
		}
	}
	assert_int_equal(h->runtime[TEST_ENDPOINT].flows, 0);
}

/* ---- who is not answered ----------------------------------------------------------------------------------------- */

static void expect_silence(struct harness *h, const struct frame *f)
{
	uint64_t rejected = total(h, SLUICE_TOTAL_REJECTED);

	assert_int_equal(run_from_pod(h, f), DROP);
	assert_int_equal(total(h, SLUICE_TOTAL_REJECTED), rejected);
}

static void nobody_asked_for_these(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		const char *group = i ? "ff02::1" : "224.0.0.1";
		struct frame frames[] = { pod_tcp(peers[i], 1000, 443, RST), pod_tcp(peers[i], 1000, 443, RST | ACK),
					  pod_echo(peers[i], true, 9),	     pod_udp(group, 1000, 443),
					  pod_tcp(group, 1000, 443, SYN),    pod_tcp(peers[i], 1000, 443, 0) };

		for (size_t k = 0; k < ARRAY_SIZE(frames); k++)
			expect_silence(*state, &frames[k]);
	}
}

static void icmp_errors_are_not_answered(void **state)
{
	struct frame f;

	frame_eth(&f, HOST_MAC, POD_MAC, ETHERTYPE_IP);
	frame_ip(&f, POD4, PEER4, IPPROTO_ICMP);
	frame_icmp(&f, 3, 1, 0);
	frame_bytes(&f, NULL, 28);
	frame_end(&f);
	expect_silence(*state, &f);
}

static void fragments_are_not_answered(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		for (int more = 0; more < 2; more++) {
			struct frame f;

			frame_eth(&f, HOST_MAC, POD_MAC, i ? ETHERTYPE_IPV6 : ETHERTYPE_IP);
			frame_ip(&f, i ? POD6 : POD4, peers[i], i ? IPPROTO_FRAGMENT : IPPROTO_UDP);
			frame_fragment(&f, more ? 0 : 8, more, 5, IPPROTO_UDP);
			frame_udp(&f, 1000, 443, 16);
			frame_end(&f);
			expect_silence(*state, &f);
		}
	}
}

static void odd_headers_are_not_answered(void **state)
{
	static const uint8_t nops[] = { 1, 1, 1, 1 };
	struct frame f;

	frame_eth(&f, HOST_MAC, POD_MAC, ETHERTYPE_IP);
	frame_ip(&f, POD4, PEER4, IPPROTO_UDP);
	frame_options(&f, nops, sizeof(nops));
	frame_udp(&f, 1000, 443, 16);
	frame_end(&f);
	expect_silence(*state, &f);
	frame_eth(&f, HOST_MAC, POD_MAC, ETHERTYPE_IPV6);
	frame_ip(&f, POD6, PEER6, IPPROTO_DSTOPTS);
	frame_extension(&f, IPPROTO_UDP);
	frame_udp(&f, 1000, 443, 16);
	frame_end(&f);
	expect_silence(*state, &f);
}

/* Only what a policy denies: not the forged, not in quarantine, and nothing where the mode is to drop. */
static void only_policy_is_told(void **state)
{
	struct harness *h = *state;
	struct frame f = pod_tcp(PEER4, 1000, 443, SYN), forged = pod_tcp(PEER4, 1000, 443, SYN);

	forged.data[forged.ip + 15] ^= 1;
	expect_silence(h, &forged);
	set_state(h, SLUICE_MODE_QUARANTINE, 0, 1);
	expect_silence(h, &f);
	set_state(h, SLUICE_MODE_ENFORCE, 0, 2);
	h->settings->flags = 0;
	expect_silence(h, &f);
	h->settings->flags = SLUICE_SETTING_REJECT;
	set_state(h, SLUICE_MODE_AUDIT, 0, 3);
	expect_audit(h, &f, SLUICE_REASON_POLICY_DEFAULT);
	set_state(h, SLUICE_MODE_ENFORCE, 0, 4);
	assert_int_equal(run_from_pod(h, &f), REDIRECT);
}

static void over_the_rate(void **state)
{
	struct harness *h = *state;
	uint64_t rejected = total(h, SLUICE_TOTAL_REJECTED), held = total(h, SLUICE_TOTAL_REJECTS_SUPPRESSED);
	uint64_t dropped = total(h, SLUICE_REASON_POLICY_DEFAULT);
	struct frame f = pod_tcp(PEER4, 1000, 443, SYN);
	unsigned int answers = 0;

	h->settings->reject_rate = 1;
	h->settings->reject_burst = 3;
	for (int i = 0; i < 20; i++)
		answers += run_from_pod(h, &f) == REDIRECT;
	assert_in_range(answers, 3, 10); /* and one for each second that the loop took */
	assert_int_equal(total(h, SLUICE_TOTAL_REJECTED) - rejected, answers);
	assert_int_equal(total(h, SLUICE_TOTAL_REJECTS_SUPPRESSED) - held, 20 - answers);
	assert_int_equal(h->runtime[TEST_ENDPOINT].rejected, answers);
	assert_int_equal(h->runtime[TEST_ENDPOINT].rejects_suppressed, 20 - answers);
	assert_int_equal(total(h, SLUICE_REASON_POLICY_DEFAULT) - dropped, 20);
}

/* ---- over a veth ------------------------------------------------------------------------------------------------- */

static socklen_t set_peer(struct sockaddr_storage *to, size_t i)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)to;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;

	memset(to, 0, sizeof(*to));
	to->ss_family = i ? AF_INET6 : AF_INET;
	if (i)
		v6->sin6_port = htons(443);
	else
		v4->sin_port = htons(443);
	assert_int_equal(inet_pton(to->ss_family, peers[i], i ? (void *)&v6->sin6_addr : (void *)&v4->sin_addr), 1);
	return i ? sizeof(*v6) : sizeof(*v4);
}

/* The error a connected socket of the pod's has within ten seconds; 0 when it has none. */
static int error_of(struct harness *h, size_t peer, int type)
{
	struct sockaddr_storage to;
	socklen_t len = set_peer(&to, peer), size = sizeof(int);
	int fd = pod_socket(h, to.ss_family, type | SOCK_NONBLOCK, 0), error = 0;
	struct pollfd p = { .fd = fd, .events = type == SOCK_STREAM ? POLLOUT : POLLIN };

	if (connect(fd, (struct sockaddr *)&to, len) < 0)
		assert_int_equal(errno, EINPROGRESS);
	if (type == SOCK_DGRAM)
		assert_int_equal(send(fd, "12345", 5, 0), 5);
	poll(&p, 1, 10000);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
	close(fd);
	return error;
}

/* The stack's own segments, checksums left to the device: the pod's stack takes the answers, and to_pod sees none. */
static void a_pod_is_told(void **state)
{
	struct harness *h = *state;
	uint64_t noted = total(h, SLUICE_TOTAL_INBOUND_NOTED);
	struct sluice_flow flow;

	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		assert_int_equal(error_of(h, i, SOCK_STREAM), ECONNREFUSED);
		assert_int_equal(error_of(h, i, SOCK_DGRAM), i ? EACCES : EHOSTUNREACH);
	}
	assert_int_equal(total(h, SLUICE_TOTAL_INBOUND_NOTED), noted);
	for (struct sluice_flow_key key, *from = NULL;
	     bpf_map_get_next_key(bpf_map__fd(h->skel->maps.flows), from, &key) == 0; from = &key) {
		assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(h->skel->maps.flows), &key, &flow), 0);
		assert_int_equal(flow.origin, SLUICE_ORIGIN_TOMBSTONE);
		assert_int_equal(flow.rx_packets, 0);
	}
}

#define TEST(f) cmocka_unit_test_setup(f, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(resets),
		TEST(resets_left_partial),
		TEST(errors),
		TEST(errors_survive_partial),
		TEST(answers_open_nothing),
		TEST(nobody_asked_for_these),
		TEST(icmp_errors_are_not_answered),
		TEST(fragments_are_not_answered),
		TEST(odd_headers_are_not_answered),
		TEST(only_policy_is_told),
		TEST(over_the_rate),
		TEST(a_pod_is_told),
	};

	return cmocka_run_group_tests(tests, harness_open_node, harness_close);
}
