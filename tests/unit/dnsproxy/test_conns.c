/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of cgroup endpoints by loopback, since there the test can say who asks. */
#include "tests/unit/dnsproxy/dns_test.h"
#include "tests/unit/dnsproxy/fake.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "dnsproxy/conns.h"

#define FULL (CONNS_MAX / CONNS_PER_ENDPOINT) /* endpoints that have all connections together */

static struct fake f;
static struct compiled policy;
static struct conns *conns;
static struct sockaddr_in server = { .sin_family = AF_INET };
static int loop, listener;
static int clients[CONNS_MAX + 4];
static unsigned int nclients;

static const char names_policy[] = CNP_HEAD "  egress:\n  - toFQDNs: [{matchName: pypi.org}]\n";

static int set_up(void **state)
{
	socklen_t len = sizeof(server);
	int fds[SLUICE_SOCK_MAX];

	(void)state;
	policy = test_compile(names_policy, NULL);
	fake_new(&f, policy.img);
	for (uint32_t i = 0; i < FAKE_ENDPOINTS; i++) {
		f.endpoints[i] = (struct sluice_endpoint){ .generation = 100 + i };
		f.endpoints[i].state = SLUICE_STATE(SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1, 1);
	}
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server.sin_port = 0;
	assert_int_equal(bind(listener, (struct sockaddr *)&server, sizeof(server)), 0);
	assert_int_equal(listen(listener, 16), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&server, &len), 0);
	for (int i = 0; i < SLUICE_SOCK_MAX; i++)
		fds[i] = i == SLUICE_SOCK_TCP4 ? listener : -1;
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(conns_new(loop, fds, &f.maps, &conns), 0);
	conns_set_core(conns, f.core);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	while (nclients > 0)
		close(clients[--nclients]);
	conns_freep(&conns);
	close(listener);
	close(loop);
	fake_free(&f);
	compiled_clear(&policy);
	return 0;
}

static void turn(void)
{
	uint64_t now;

	assert_int_equal(loop_run_once(loop, 200, &now), 0);
	conns_resume(conns, now);
}

/* A connection of an endpoint, which the proxy has seen. */
static int connect_as(uint32_t endpoint)
{
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(own);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&own, &len), 0);
	f.asker_key =
		(struct sluice_asker_key){ .addr = test_addr("127.0.0.1"), .port = own.sin_port, .proto = IPPROTO_TCP };
	f.asker = (struct sluice_asker){ .endpoint = endpoint, .generation = 100 + endpoint };
	assert_int_equal(connect(fd, (struct sockaddr *)&server, sizeof(server)), 0);
	clients[nclients++] = fd;
	turn();
	return fd;
}

/* The resolver is silent: it stays under way. */
static void ask_on(int fd)
{
	struct msg m = query("pypi.org", WIRE_A);
	uint8_t prefix[2] = { (uint8_t)(m.len >> 8), (uint8_t)m.len };
	uint32_t before = core_in_flight(f.core);

	assert_int_equal(send(fd, prefix, 2, MSG_NOSIGNAL), 2);
	assert_int_equal(send(fd, m.data, m.len, MSG_NOSIGNAL), (ssize_t)m.len);
	for (int i = 0; i < 10 && core_in_flight(f.core) == before; i++)
		turn();
	assert_int_equal(core_in_flight(f.core), before + 1);
}

static bool is_open(int fd)
{
	struct pollfd p = { fd, POLLIN | POLLRDHUP, 0 };

	return poll(&p, 1, 0) == 0;
}

static unsigned int open_of(unsigned int first, unsigned int count)
{
	unsigned int n = 0;

	for (unsigned int i = first; i < first + count; i++)
		n += is_open(clients[i]);
	return n;
}

/* All there are, busy, of as few endpoints as can have them: 0 and those after it. */
static void fill_busy(void)
{
	for (unsigned int i = 0; i < CONNS_MAX; i++)
		ask_on(connect_as(i / CONNS_PER_ENDPOINT));
	assert_int_equal(conns_open_count(conns), CONNS_MAX);
	assert_int_equal(open_of(0, CONNS_MAX), CONNS_MAX);
}

static void an_endpoint_has_so_many(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < CONNS_PER_ENDPOINT; i++)
		assert_true(is_open(connect_as(2)));
	assert_false(is_open(connect_as(2)));
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_TCP_REFUSED], 1);
	assert_true(is_open(connect_as(3)));
	assert_int_equal(conns_open_count(conns), CONNS_PER_ENDPOINT + 1);
}

/* Who asks nothing gives way first, however many others its owner has. */
static void the_idle_make_room(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < CONNS_MAX; i++) {
		int fd = connect_as(i / CONNS_PER_ENDPOINT);

		if (i != 40)
			ask_on(fd);
	}
	assert_true(is_open(connect_as(FULL)));
	assert_int_equal(open_of(0, CONNS_MAX), CONNS_MAX - 1);
	assert_false(is_open(clients[40]));
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_TCP_REFUSED], 0);
}

static void several_do_not_take_all(void **state)
{
	int fd;

	(void)state;
	fill_busy();
	ask_on(clients[0]); /* was the longest silent of endpoint 0 */
	fd = connect_as(FULL);
	assert_true(is_open(fd));
	assert_int_equal(conns_open_count(conns), CONNS_MAX);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_TCP_REFUSED], 1);
	assert_true(is_open(clients[0]));
	assert_false(is_open(clients[1]));
	ask_on(fd);
	/* The next takes of another, which has most now. */
	ask_on(connect_as(FULL));
	assert_int_equal(open_of(0, CONNS_PER_ENDPOINT), CONNS_PER_ENDPOINT - 1);
	assert_int_equal(open_of(CONNS_PER_ENDPOINT, CONNS_PER_ENDPOINT), CONNS_PER_ENDPOINT - 1);
	/* Who has as many as anybody, but for one, takes nothing from them. */
	assert_false(is_open(connect_as(0)));
	assert_int_equal(conns_open_count(conns), CONNS_MAX);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_TCP_REFUSED], 3);
}

/* What was asked by a connection that made room is answered to nobody, least of all to who has its place. */
static void a_place_is_not_a_connection(void **state)
{
	struct core_asker gone = { .tcp = true };
	int fd;

	(void)state;
	fill_busy();
	gone.connection = 0;
	gone.connection_use = 1; /* of endpoint 0's first, as it was */
	fd = connect_as(FULL);
	assert_false(is_open(clients[0]));
	conns_reply(conns, &gone, (const uint8_t *)"nobody's", 8, clock_now());
	conns_resume(conns, clock_now());
	assert_true(is_open(fd));
	gone.connection_use = 2;
	ask_on(fd);
	conns_reply(conns, &gone, (const uint8_t *)"its own", 7, clock_now());
	conns_resume(conns, clock_now());
	assert_false(is_open(fd)); /* something to read */
}

/* Which interface a connection came by, an emulator of another processor's programs does not tell. */
static bool interfaces_are_told(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM, 0);
	char bytes[256];
	socklen_t len = sizeof(bytes);

	return getsockopt(fd, IPPROTO_IP, IP_PKTOPTIONS, bytes, &len) == 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_endpoint_has_so_many, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_idle_make_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(several_do_not_take_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_place_is_not_a_connection, set_up, tear_down),
	};

	if (!interfaces_are_told()) {
		puts("skipped: no IP_PKTOPTIONS here");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
