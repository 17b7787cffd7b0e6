/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes in on an interface with a barrier, and when the barrier goes, on a real kernel: a veth whose peer is in another
 * namespace, where a socket sends by it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/barrier.h"
#include "agent/closer.h"
#include "agent/nft.h"
#include "base/cleanup.h"

#define SKIP	    77
#define INTERFACE   "eni97a39772326"
#define MAC	    "02:00:00:00:00:01"
#define ADDRESS	    "192.0.2.1"
#define PORT	    7000
#define WAIT_USEC   20000
#define TRIES	    250
#define IN_A_ROW    5
#define NO_PROGRAM  (-1)
#define NOBODYS	    1000000 /* ifindex */
#define LINE_LENGTH 512

static int elsewhere = -1; /* the pod's namespace */
static int sender = -1, receiver = -1;

static void command(const char *format, ...)
{
	char line[LINE_LENGTH];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	assert_int_equal(system(line), 0);
}

static int udp_socket(void)
{
	const struct timeval wait = { .tv_usec = WAIT_USEC };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
	return fd;
}

/* The other namespace, and a socket that stays in it. */
static int set_up(void **state)
{
	const struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	_cleanup_close_ int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_true(here >= 0);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	elsewhere = open("/proc/self/ns/net", O_RDONLY); /* for `ip`, by its path here */
	sender = udp_socket();
	assert_int_equal(setns(here, CLONE_NEWNET), 0);
	receiver = udp_socket();
	return bind(receiver, (const struct sockaddr *)&any, sizeof(any));
}

static int tear_down(void **state)
{
	(void)state;
	if (if_nametoindex(INTERFACE))
		command("ip link delete " INTERFACE);
	closep(&sender);
	closep(&receiver);
	closep(&elsewhere);
	return 0;
}

static void add_pod(void)
{
	char there[64];

	snprintf(there, sizeof(there), "/proc/%d/fd/%d", getpid(), elsewhere);
	command("ip link add " INTERFACE " up address " MAC " type veth peer name eth0 netns %s && "
		"ip address add " ADDRESS "/24 dev " INTERFACE,
		there);
	command("nsenter --net=%s sh -c 'ip address add 192.0.2.2/24 dev eth0 && ip link set eth0 up && "
		"ip neighbour add " ADDRESS " lladdr " MAC " nud permanent dev eth0'",
		there);
}

static bool arrives(void)
{
	const struct sockaddr_in to = { AF_INET, htons(PORT), { inet_addr(ADDRESS) }, {} };
	char c = 0;

	assert_int_equal(sendto(sender, &c, sizeof(c), 0, (const struct sockaddr *)&to, sizeof(to)), sizeof(c));
	return recv(receiver, &c, sizeof(c), 0) == sizeof(c);
}

/* What was asked for happens by another thread, and soon. */
static bool gets_through(void)
{
	for (unsigned int i = 0; i < TRIES; i++) {
		if (arrives())
			return true;
	}
	return false;
}

static bool is_kept_in(void)
{
	unsigned int in_a_row = 0;

	for (unsigned int i = 0; i < TRIES && in_a_row < IN_A_ROW; i++) {
		in_a_row++;
		if (arrives()) {
			in_a_row = 0;
			usleep(WAIT_USEC);
		}
	}
	return in_a_row == IN_A_ROW;
}

static struct barrier *open_or_skip(void)
{
	struct barrier *ret = NULL;
	int r = barrier_open(&ret);

	if (nft_is_lacking(r))
		skip();
	assert_int_equal(r, 0);
	return ret;
}

static void test_put_and_taken(void **state)
{
	CLEANUP(barrier_freep) struct barrier *b = open_or_skip();

	(void)state;
	add_pod();
	assert_true(gets_through());
	for (unsigned int i = 0; i < 3; i++) {
		barrier_put(b, if_nametoindex(INTERFACE));
		assert_true(is_kept_in());
		barrier_take(b, if_nametoindex(INTERFACE));
		assert_true(gets_through());
	}
	assert_int_equal(barrier_failed(b), 0);
	assert_true(barrier_slowest(b) > 0);
}

static void test_ends_with_its_interface(void **state)
{
	CLEANUP(barrier_freep) struct barrier *b = open_or_skip();
	unsigned int first;

	(void)state;
	barrier_put(b, NOBODYS);
	add_pod();
	first = if_nametoindex(INTERFACE);
	barrier_put(b, first);
	assert_true(is_kept_in());
	command("ip link delete " INTERFACE);
	/* On what has the name next it would be until here. */
	barrier_take(b, first);
	add_pod();
	assert_true(gets_through());
	assert_int_equal(barrier_failed(b), 0);
}

static void test_only_its_owner_opens_it(void **state)
{
	CLEANUP(barrier_freep) struct barrier *b = open_or_skip();

	(void)state;
	add_pod();
	barrier_put(b, if_nametoindex(INTERFACE));
	assert_true(is_kept_in());
	command("nft flush ruleset");
	assert_true(is_kept_in());
	barrier_freep(&b);
	assert_true(gets_through());
}

/* The closing thread's programs cannot be put: what it does besides keeps the pod in until somebody else has closed it. */
static void test_stays_without_programs(void **state)
{
	const struct config_interfaces all = { .any = true };
	CLEANUP(barrier_freep) struct barrier *probe = open_or_skip();
	CLEANUP(closer_freep) struct closer *c = NULL;

	(void)state;
	barrier_freep(&probe);
	assert_int_equal(closer_open(NO_PROGRAM, NO_PROGRAM, &all, &c), 0);
	add_pod();
	assert_true(is_kept_in());
	assert_false(closer_has(c, if_nametoindex(INTERFACE)));
	assert_true(closer_slowest_barrier(c) > 0);
	closer_let_through(c, if_nametoindex(INTERFACE));
	assert_true(gets_through());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_put_and_taken, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ends_with_its_interface, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_only_its_owner_opens_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stays_without_programs, set_up, tear_down),
	};

	if (unshare(CLONE_NEWNET) < 0) {
		fprintf(stderr, "skipped: namespaces of its own need root: %s\n", strerror(errno));
		return SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
