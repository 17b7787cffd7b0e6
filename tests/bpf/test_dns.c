/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port 53 on a real veth: a pod's sockets ask, sockets in the proxy's place answer. bpf_sk_assign only shows its effect
 * where the stack receives the packet.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_link.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/bpf/harness.h"

#define PROXY4	"127.0.53.53"
#define PROXY6	"::1"
#define QUERY	"not parsed here"
#define WAIT_MS 5000
#define A_WHILE 200

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static int slots[SLUICE_SOCK_MAX] = { -1, -1, -1, -1, -1, -1 };

static socklen_t address(const char *text, uint16_t port, struct sockaddr_storage *ret)
{
	struct sluice_addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr_to_sockaddr(&addr, port, ret);
}

static bool is_v6(const char *text)
{
	return strchr(text, ':') != NULL;
}

static void set_int(int fd, int level, int option, int value)
{
	assert_int_equal(setsockopt(fd, level, option, &value, sizeof(value)), 0);
}

/* As the proxy makes them; mark 0 for somebody else's. */
static int bound_socket(const char *at, int type, int mark)
{
	struct sockaddr_storage ss;
	socklen_t len = address(at, 53, &ss);
	int fd = socket(ss.ss_family, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	set_int(fd, SOL_SOCKET, SO_REUSEADDR, type == SOCK_STREAM);
	if (is_v6(at)) {
		set_int(fd, SOL_IPV6, IPV6_TRANSPARENT, 1);
		set_int(fd, SOL_IPV6, IPV6_V6ONLY, 1);
		set_int(fd, SOL_IPV6, IPV6_RECVORIGDSTADDR, 1);
	} else {
		set_int(fd, SOL_IP, IP_TRANSPARENT, 1);
		set_int(fd, SOL_IP, IP_RECVORIGDSTADDR, 1);
	}
	if (mark)
		set_int(fd, SOL_SOCKET, SO_MARK, mark);
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static void fill_slot(struct harness *h, uint32_t slot, const char *at, int type)
{
	uint64_t fd = (uint64_t)(slots[slot] = bound_socket(at, type, type == SOCK_STREAM ? SLUICE_SOCK_MARK : 0));

	assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.dns_sockets), &slot, &fd, BPF_ANY), 0);
}

static int start_proxy(void **state)
{
	struct harness *h = *state;

	if (harness_reset(state))
		return -1;
	fill_slot(h, SLUICE_SOCK_UDP4, PROXY4, SOCK_DGRAM);
	fill_slot(h, SLUICE_SOCK_UDP6, PROXY6, SOCK_DGRAM);
	fill_slot(h, SLUICE_SOCK_TCP4, PROXY4, SOCK_STREAM);
	fill_slot(h, SLUICE_SOCK_TCP6, PROXY6, SOCK_STREAM);
	set_state(h, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1);
	return 0;
}

/* A socket that closes leaves its slot. */
static int stop_proxy(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(slots); i++) {
		if (slots[i] >= 0)
			close(slots[i]);
		slots[i] = -1;
	}
	return 0;
}

static bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

static uint16_t local_port(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct sluice_addr addr;
	uint16_t port;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	assert_int_equal(addr_from_sockaddr(&ss, &addr, &port), 0);
	return port;
}

/* Connected, so that an answer from another address than the one asked does not arrive. */
static int pod_ask(struct harness *h, const char *server)
{
	struct sockaddr_storage ss;
	socklen_t len = address(server, 53, &ss);
	int fd = pod_socket(h, ss.ss_family, SOCK_DGRAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
	assert_int_equal(send(fd, QUERY, sizeof(QUERY), 0), sizeof(QUERY));
	return fd;
}

/* Receives one query, checks which address it was for, and answers from there. */
static void proxy_answers(int fd, const char *server)
{
	char data[256], control[256], text[INET6_ADDRSTRLEN];
	struct sockaddr_storage from;
	struct iovec iov = { data, sizeof(data) };
	struct msghdr m = { .msg_name = &from,
			    .msg_namelen = sizeof(from),
			    .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	bool v6 = is_v6(server);
	struct cmsghdr *c;

	assert_true(readable(fd, WAIT_MS));
	assert_int_equal(recvmsg(fd, &m, 0), sizeof(QUERY));
	assert_string_equal(data, QUERY);
	c = CMSG_FIRSTHDR(&m);
	assert_non_null(c);
	assert_int_equal(c->cmsg_type, v6 ? IPV6_ORIGDSTADDR : IP_ORIGDSTADDR);
	if (v6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)CMSG_DATA(c))->sin6_addr, text, sizeof(text));
	else
		inet_ntop(AF_INET, &((struct sockaddr_in *)CMSG_DATA(c))->sin_addr, text, sizeof(text));
	assert_string_equal(text, server);

	/* From the address asked: a socket of its own stands for the packet info the proxy uses. */
	int reply = bound_socket(server, SOCK_DGRAM, 0);

	assert_int_equal(sendto(reply, "answer", 7, 0, (struct sockaddr *)&from, m.msg_namelen), 7);
	close(reply);
}

/* Whatever address it asks, the proxy is asked, and its answer opens nothing (hazard 1). */
static void any_resolver_is_the_proxy(void **state)
{
	static const char *const servers[] = { "8.8.8.8", "192.0.2.53", "169.254.20.10", "2001:db8::53",
					       "fd00:ec2::253" };
	struct harness *h = *state;

	for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
		uint64_t assigned = total(h, SLUICE_TOTAL_DNS_ASSIGNED);
		int pod = pod_ask(h, servers[i]);
		uint16_t port = local_port(pod);
		char answer[16];

		proxy_answers(slots[is_v6(servers[i]) ? SLUICE_SOCK_UDP6 : SLUICE_SOCK_UDP4], servers[i]);
		assert_true(readable(pod, WAIT_MS));
		assert_int_equal(recv(pod, answer, sizeof(answer), 0), 7);
		assert_int_equal(flow_origin(h, servers[i], IPPROTO_UDP, port, 53), 0);
		assert_int_equal(total(h, SLUICE_TOTAL_DNS_ASSIGNED), assigned + 1);
		close(pod);
	}
	assert_int_equal(count_flows(h), 0);
	assert_int_equal(h->runtime[TEST_ENDPOINT].dns_assigned, ARRAY_SIZE(servers));
	assert_int_equal(total(h, SLUICE_TOTAL_DNS_DATAGRAMS), ARRAY_SIZE(servers));
	assert_int_equal(total(h, SLUICE_TOTAL_DNS_SYNS), 0);
}

/* Also after an answer came, also where a rule allows the address and a live flow of before exists. */
static void without_a_socket_nothing_leaves(void **state)
{
	struct harness *h = *state;
	uint64_t forwarded;
	int pod;

	allow(h, "8.8.8.8", 0, 53);
	set_state(h, SLUICE_MODE_ENFORCE, 0, 1);
	pod = pod_ask(h, "8.8.8.8");
	wait_origin(h, "8.8.8.8", IPPROTO_UDP, local_port(pod), 53, SLUICE_ORIGIN_POD);
	set_state(h, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1);
	assert_int_equal(send(pod, QUERY, sizeof(QUERY), 0), sizeof(QUERY));
	proxy_answers(slots[SLUICE_SOCK_UDP4], "8.8.8.8");
	stop_proxy(state);
	forwarded = total(h, SLUICE_TOTAL_FORWARDED);
	assert_int_equal(send(pod, QUERY, sizeof(QUERY), 0), sizeof(QUERY));
	wait_counter(&h->runtime[TEST_ENDPOINT].drops[SLUICE_REASON_DNS_SOCKET], 1);
	assert_int_equal(total(h, SLUICE_TOTAL_FORWARDED), forwarded);
	close(pod);
}

/* The node's own resolver on its own address is passed over. */
static void a_resolver_of_the_nodes_is_not_reached(void **state)
{
	int foreign = bound_socket(NODE4, SOCK_DGRAM, 0), pod = pod_ask(*state, NODE4);

	assert_true(readable(slots[SLUICE_SOCK_UDP4], WAIT_MS));
	assert_false(readable(foreign, A_WHILE));
	close(foreign);
	close(pod);
}

static void an_explicit_deny_stands(void **state)
{
	struct harness *h = *state;
	int pod;

	deny(h, "8.8.8.8", IPPROTO_UDP, 53);
	pod = pod_ask(h, "8.8.8.8");
	wait_counter(&h->runtime[TEST_ENDPOINT].drops[SLUICE_REASON_POLICY_DENY], 1);
	assert_false(readable(slots[SLUICE_SOCK_UDP4], A_WHILE));
	close(pod);
	deny(h, "64:ff9b::/96", 0, 0);
	pod = pod_ask(h, "64:ff9b::808:404");
	wait_counter(&h->runtime[TEST_ENDPOINT].drops[SLUICE_REASON_POLICY_DENY], 2);
	close(pod);
	pod = pod_ask(h, "2002:808:808::1"); /* 8.8.8.8 in another coat */
	wait_counter(&h->runtime[TEST_ENDPOINT].drops[SLUICE_REASON_POLICY_DENY], 3);
	close(pod);
}

/* Hazard 20: a train of segments is many queries at the price of one. */
static void trains_are_not_handed_over(void **state)
{
	struct harness *h = *state;
	struct sockaddr_storage ss;
	socklen_t len = address("8.8.8.8", 53, &ss);
	int pod = pod_socket(h, AF_INET, SOCK_DGRAM, 0);
	static const char queries[20 * 40];
	struct frame f = pod_udp("8.8.8.8", 1000, 53);

	set_int(pod, SOL_UDP, UDP_SEGMENT, 40);
	assert_int_equal(sendto(pod, queries, sizeof(queries), 0, (struct sockaddr *)&ss, len), sizeof(queries));
	assert_false(readable(slots[SLUICE_SOCK_UDP4], A_WHILE));
	wait_counter(&h->runtime[TEST_ENDPOINT].drops[SLUICE_REASON_DNS_RATE], 1);
	assert_int_equal(h->runtime[TEST_ENDPOINT].dns_assigned, 0);
	assert_int_equal(run_from_pod_gso(h, &f, 8), DROP);
	close(pod);
}

/* ---- without the ip rule ----------------------------------------------------------------------------------------- */

static uint32_t sent_through(const char *device)
{
	struct ifaddrs *all, *i;
	uint32_t packets = ~0u;

	assert_int_equal(getifaddrs(&all), 0);
	for (i = all; i; i = i->ifa_next) {
		if (!strcmp(i->ifa_name, device) && i->ifa_addr && i->ifa_addr->sa_family == AF_PACKET)
			packets = ((struct rtnl_link_stats *)i->ifa_data)->tx_packets;
	}
	freeifaddrs(all);
	assert_true(packets != ~0u);
	return packets;
}

/* The way to "the internet" of the node, forwarding on, and no `ip rule`. */
static const char OPEN_ROAD[] = "set -e\n"
				"ip link add sluice-x type veth peer name sluice-y\n"
				"sysctl -qw net.ipv6.conf.sluice-x.disable_ipv6=1\n"
				"ip link set sluice-x up\n"
				"ip link set sluice-y up\n"
				"ip route add default dev sluice-x\n"
				"ip neigh add 8.8.8.8 lladdr 02:00:00:00:00:09 dev sluice-x\n"
				"sysctl -qw net.ipv4.ip_forward=1\n"
				"ip rule del pref 5\n";
static const char CLOSED_ROAD[] =
	"ip link del sluice-x; sysctl -qw net.ipv4.ip_forward=0; ip rule add pref 5 fwmark 0x1000/0x1000 lookup 2053";

/* Hazard 29: somebody flushed the rule. DNS is gone, but what carries the proxy's socket is not forwarded. */
static void a_flushed_rule_lets_nothing_out(void **state)
{
	struct harness *h = *state;
	uint64_t forwarded;
	uint32_t before;
	int pod;

	assert_int_equal(system(OPEN_ROAD), 0);
	before = sent_through("sluice-x");
	pod = pod_ask(h, "8.8.8.8");
	close(pod);
	wait_counter(&h->runtime[TEST_ENDPOINT].dns_assigned, 1);
	assert_false(readable(slots[SLUICE_SOCK_UDP4], A_WHILE));
	assert_int_equal(sent_through("sluice-x"), before);
	set_state(h, SLUICE_MODE_OPEN, 0, 1); /* the road is open indeed */
	forwarded = total(h, SLUICE_TOTAL_FORWARDED);
	pod = pod_ask(h, "8.8.8.8");
	close(pod);
	wait_total(h, SLUICE_TOTAL_FORWARDED, forwarded + 1);
	assert_false(readable(slots[SLUICE_SOCK_UDP4], A_WHILE));
	assert_int_equal(sent_through("sluice-x"), before + 1);
	assert_int_equal(system(CLOSED_ROAD), 0);
}

/* ---- TCP --------------------------------------------------------------------------------------------------------- */

static int pod_connect(struct harness *h, const char *server)
{
	struct sockaddr_storage ss;
	socklen_t len = address(server, 53, &ss);
	int fd = pod_socket(h, ss.ss_family, SOCK_STREAM, 0);
	struct timeval tv = { .tv_sec = WAIT_MS / 1000 };
	struct linger at_once = { .l_onoff = 1 };

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	if (connect(fd, (struct sockaddr *)&ss, len)) {
		close(fd);
		return -1;
	}
	return fd;
}

static void exchange(int pod, int proxy)
{
	char buf[16];

	for (int i = 0; i < 3; i++) {
		assert_int_equal(send(pod, "query", 6, 0), 6);
		assert_true(readable(proxy, WAIT_MS));
		assert_int_equal(recv(proxy, buf, sizeof(buf), 0), 6);
		assert_int_equal(send(proxy, "answer", 7, 0), 7);
		assert_true(readable(pod, WAIT_MS));
		assert_int_equal(recv(pod, buf, sizeof(buf), 0), 7);
	}
}

static void connect_to_proxy(struct harness *h, const char *server)
{
	int listener = slots[is_v6(server) ? SLUICE_SOCK_TCP6 : SLUICE_SOCK_TCP4];
	int pod = pod_connect(h, server), proxy;

	assert_true(pod >= 0);
	assert_true(readable(listener, WAIT_MS));
	proxy = accept(listener, NULL, NULL);
	assert_true(proxy >= 0);
	assert_int_equal(local_port(proxy), 53);
	exchange(pod, proxy);
	close(pod);
	close(proxy);
}

static void tcp(void **state)
{
	connect_to_proxy(*state, "8.8.8.8");
	connect_to_proxy(*state, "2001:db8::53");
	assert_int_equal(count_flows(*state), 0);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* Hazard 19: with cookies always, the first packet that could find a socket is the ACK. */
static void tcp_with_cookies(void **state)
{
	write_file("/proc/sys/net/ipv4/tcp_syncookies", "2");
	connect_to_proxy(*state, "8.8.8.8");
	connect_to_proxy(*state, "2001:db8::53");
	write_file("/proc/sys/net/ipv4/tcp_syncookies", "1");
}

static void a_listener_of_the_nodes_is_not_reached(void **state)
{
	int foreign = bound_socket(NODE4, SOCK_STREAM, 0);

	connect_to_proxy(*state, NODE4);
	assert_false(readable(foreign, A_WHILE));
	close(foreign);
}

/* A connection from before the policy had names is not the proxy's: it ends. */
static void an_older_connection_ends(void **state)
{
	struct harness *h = *state;
	int foreign = bound_socket(NODE4, SOCK_STREAM, 0), pod, server;
	char buf[16];

	allow(h, NODE4, IPPROTO_TCP, 53);
	set_state(h, SLUICE_MODE_ENFORCE, 0, 1);
	pod = pod_connect(h, NODE4);
	assert_true(pod >= 0);
	assert_true(readable(foreign, WAIT_MS));
	server = accept(foreign, NULL, NULL);
	assert_true(server >= 0);
	exchange(pod, server);
	set_state(h, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1);
	assert_int_equal(send(pod, "query", 6, 0), 6);
	assert_false(readable(server, A_WHILE));
	assert_int_equal(recv(pod, buf, sizeof(buf), 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(pod);
	close(server);
	close(foreign);
}

static void tcp_without_a_listener(void **state)
{
	struct harness *h = *state;
	struct frame f = pod_tcp("8.8.8.8", 1000, 53, SYN);

	stop_proxy(state);
	/* Not expect_drop: late segments of the tests before may drop for the same reason. */
	assert_int_equal(run_from_pod(h, &f), DROP);
	assert_true(h->runtime[TEST_ENDPOINT].drops[SLUICE_REASON_DNS_SOCKET] > 0);
}

/* ---- what is not handed over --------------------------------------------------------------------------------------- */

static void other_ports_and_sources_are_not_queries(void **state)
{
	struct harness *h = *state;
	struct frame dot = pod_tcp(PEER4, 1000, 853, SYN), mdns = pod_udp(PEER4, 1000, 5353);
	struct frame source = pod_udp(PEER4, 53, 4000);

	expect_drop(h, &dot, SLUICE_REASON_POLICY_DEFAULT);
	expect_drop(h, &mdns, SLUICE_REASON_POLICY_DEFAULT);
	expect_drop(h, &source, SLUICE_REASON_POLICY_DEFAULT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start_proxy, stop_proxy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(any_resolver_is_the_proxy),
		TEST(without_a_socket_nothing_leaves),
		TEST(a_resolver_of_the_nodes_is_not_reached),
		TEST(an_explicit_deny_stands),
		TEST(trains_are_not_handed_over),
		TEST(a_flushed_rule_lets_nothing_out),
		TEST(other_ports_and_sources_are_not_queries),
		TEST(tcp),
		TEST(tcp_with_cookies),
		TEST(a_listener_of_the_nodes_is_not_reached),
		TEST(an_older_connection_ends),
		TEST(tcp_without_a_listener),
	};

	return cmocka_run_group_tests(tests, harness_open_node, harness_close);
}
