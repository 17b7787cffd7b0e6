/* SPDX-License-Identifier: Apache-2.0 */
/* Over loopback, to a socket that is given packets as they were sent (UDP_GRO) or as every other is. */
#include "tests/unit/dnsproxy/dns_test.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "dnsproxy/bundle.h"

static struct bundle bundle;
static int sender, receiver;

static void turn_on(int fd, int level, int option)
{
	const int on = 1;

	assert_int_equal(setsockopt(fd, level, option, &on, sizeof(on)), 0);
}

static int set_up(void **state)
{
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_addr = { htonl(0x7f000001) } };
	socklen_t len = sizeof(own);

	(void)state;
	bundle.count = 0;
	receiver = socket(AF_INET, SOCK_DGRAM, 0);
	sender = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(bind(receiver, (struct sockaddr *)&own, len), 0);
	assert_int_equal(getsockname(receiver, (struct sockaddr *)&own, &len), 0);
	assert_int_equal(connect(sender, (struct sockaddr *)&own, len), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	closep(&receiver);
	closep(&sender);
	return 0;
}

/* `len` bytes that say which one it is. */
static void add(char which, size_t len)
{
	uint8_t msg[BUNDLE_SIZE];

	memset(msg, which, len);
	bundle_add(&bundle, msg, len);
}

/* Length of what is received next, which is all of one letter unless it is several; 0: nothing is there. */
static size_t receive(char *ret_first)
{
	struct pollfd p = { receiver, POLLIN, 0 };
	char data[BUNDLE_MAX * BUNDLE_SIZE];
	ssize_t n;

	if (poll(&p, 1, 100) == 0)
		return 0;
	n = recv(receiver, data, sizeof(data), 0);
	assert_true(n > 0);
	*ret_first = data[0];
	return (size_t)n;
}

static void assert_received(char which, size_t len)
{
	char first = 0;

	assert_int_equal(receive(&first), len);
	assert_int_equal(first, which);
}

static void send_all(bool *singly)
{
	assert_int_equal(bundle_send(&bundle, sender, singly), 0);
	assert_int_equal(bundle.count, 0);
}

/* Whoever receives them sees nothing of how they were sent. */
static void they_arrive_one_by_one(void **state)
{
	static const size_t lengths[] = { 12, 40, 40, 512, 33, 40, 12, 41 };
	static const char order[] = "dhbcfeag"; /* the longest first, equal ones as they came */
	bool singly = false;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
		add((char)('a' + i), lengths[i]);
	send_all(&singly);
	assert_false(singly);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
		assert_received(order[i], lengths[order[i] - 'a']);
}

static void a_full_one_arrives(void **state)
{
	bool singly = false;

	(void)state;
	for (int i = 0; i < BUNDLE_MAX; i++)
		add((char)('0' + i), BUNDLE_SIZE);
	send_all(&singly);
	assert_false(singly);
	for (int i = 0; i < BUNDLE_MAX; i++)
		assert_received((char)('0' + i), BUNDLE_SIZE);
	add('x', 20); /* there is room again */
	send_all(&singly);
	assert_received('x', 20);
}

/* Which is what it is for. */
static void equal_ones_go_as_one_packet(void **state)
{
	bool singly = false;

	(void)state;
	turn_on(receiver, IPPROTO_UDP, UDP_GRO);
	for (int i = 0; i < 6; i++)
		add((char)('a' + i), i == 2 ? 30 : 40);
	add('g', 30);
	add('h', 29);
	send_all(&singly);
	assert_received('a', 5 * 40 + 30);
	assert_received('g', 30 + 29);
}

static void singly_is_singly(void **state)
{
	bool singly = true;

	(void)state;
	turn_on(receiver, IPPROTO_UDP, UDP_GRO);
	for (int i = 0; i < 3; i++)
		add((char)('a' + i), 40);
	send_all(&singly);
	assert_true(singly);
	for (int i = 0; i < 3; i++)
		assert_received((char)('a' + i), 40);
}

/* Without checksums the kernel refuses, as it does for a device that computes none: nothing is lost, nor tried again. */
static void who_takes_none_gets_them_singly(void **state)
{
	bool singly = false;

	(void)state;
	turn_on(sender, SOL_SOCKET, SO_NO_CHECK);
	for (int i = 0; i < 5; i++)
		add((char)('a' + i), i < 2 ? 50 : 40);
	send_all(&singly);
	assert_true(singly);
	for (int i = 0; i < 5; i++)
		assert_received((char)('a' + i), i < 2 ? 50 : 40);
}

/* The error of an earlier datagram is told once; it is no reason to send the next ones otherwise. */
static void what_failed_is_kept(void **state)
{
	struct pollfd p = { sender, 0, 0 };
	struct sockaddr_in own;
	socklen_t len = sizeof(own);
	bool singly = false;

	(void)state;
	assert_int_equal(getsockname(receiver, (struct sockaddr *)&own, &len), 0);
	closep(&receiver);
	add('a', 40);
	send_all(&singly);
	assert_int_equal(poll(&p, 1, 1000), 1); /* nobody is there */
	add('b', 40);
	add('c', 40);
	assert_int_equal(bundle_send(&bundle, sender, &singly), -ECONNREFUSED);
	assert_false(singly);
	receiver = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(bind(receiver, (struct sockaddr *)&own, len), 0);
	send_all(&singly);
	assert_received('b', 40);
	assert_received('c', 40);
}

/* What a refusal that came back was about. */
static void assert_refused(char which, size_t len)
{
	char data[BUNDLE_SIZE];

	assert_int_equal(recv(sender, data, sizeof(data), MSG_ERRQUEUE), len);
	assert_int_equal(data[0], which);
}

/*
 * Each is refused before the next is sent, so that one at a time leaves. Had the first stayed where it was, it would have
 * left in the others' place.
 */
static void what_was_sent_is_not_sent_again(void **state)
{
	struct pollfd p = { sender, 0, 0 };
	bool singly = true;

	(void)state;
	turn_on(sender, IPPROTO_IP, IP_RECVERR);
	closep(&receiver);
	add('a', 50);
	add('b', 40);
	add('c', 30);
	send_all(&singly);
	assert_int_equal(poll(&p, 1, 1000), 1);
	assert_refused('a', 50);
	assert_refused('b', 40);
	assert_refused('c', 30);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(they_arrive_one_by_one),	       TEST(a_full_one_arrives),
		TEST(equal_ones_go_as_one_packet),     TEST(singly_is_singly),
		TEST(who_takes_none_gets_them_singly), TEST(what_failed_is_kept),
		TEST(what_was_sent_is_not_sent_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
