/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cgroup endpoint, with sockets of its own: BPF_PROG_TEST_RUN has neither connect nor a cgroup's storage. The node side
 * of the harness is the host, the pod side the world.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/cleanup.h"
#include "cgroup.skel.h"
#include "tests/bpf/harness.h"

#define HOST		4u /* endpoint */
#define HOST_GENERATION 78u
#define PROXY4		"127.0.53.53"

static struct cgroup_bpf *programs;
static char folder[256], outside[256];
static int proxies[2] = { -1, -1 }; /* UDP4, UDP on ::1 */

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

static int socket_on(int family, int type, const char *address, uint16_t port)
{
	int fd = socket(family, type | SOCK_CLOEXEC, 0);
	struct sockaddr_storage ss;
	struct sluice_addr addr;
	socklen_t len;

	assert_true(fd >= 0);
	assert_int_equal(addr_parse(address, &addr), 0);
	len = addr_to_sockaddr(&addr, port, &ss);
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
	return fd;
}

static void join(const char *path)
{
	char file[300];
	int fd;

	snprintf(file, sizeof(file), "%s/cgroup.procs", path);
	fd = open(file, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "0", 1), 1);
	close(fd);
}

static void load(struct harness *h)
{
	struct bpf_map *map, *shared;

	programs = cgroup_bpf__open();
	assert_non_null(programs);
	bpf_object__for_each_map(map, programs->obj)
	{
		shared = bpf_object__find_map_by_name(h->skel->obj, bpf_map__name(map));
		if (shared && strcmp(bpf_map__name(map), "work") != 0)
			assert_int_equal(bpf_map__reuse_fd(map, bpf_map__fd(shared)), 0);
	}
	assert_int_equal(cgroup_bpf__load(programs), 0);
}

static void attach(uint64_t id)
{
	const struct sluice_if owner = { HOST, HOST_GENERATION };
	int cgroup = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct bpf_program *prog;

	assert_true(cgroup >= 0);
	bpf_object__for_each_program(prog, programs->obj)
	{
		/* Held until the process ends. */
		assert_true(bpf_link_create(bpf_program__fd(prog), cgroup, bpf_program__expected_attach_type(prog),
					    NULL) >= 0);
	}
	close(cgroup);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(programs->maps.attached), &id, &owner, BPF_ANY), 0);
}

static void enter_slot(struct harness *h, uint32_t slot, int fd)
{
	uint64_t value = (uint64_t)fd;

	assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.dns_sockets), &slot, &value, BPF_ANY), 0);
}

static int open_all(void **state)
{
	struct harness *h;
	uint32_t level = 0;
	uint64_t id = 0;
	int r = harness_open_node(state);

	if (r != 0)
		return r;
	h = *state;
	assert_int_equal(cgroup_own_path(outside, sizeof(outside)), 0);
	snprintf(folder, sizeof(folder), "%.200s/sluice-test-%d", outside, (int)getpid());
	assert_int_equal(mkdir(folder, 0755), 0);
	assert_int_equal(cgroup_identify(folder, &id, &level), 0);
	load(h);
	attach(id);
	h->endpoints[HOST] = (struct sluice_endpoint){ .cgroup = id, .level = level, .generation = HOST_GENERATION };
	proxies[0] = socket_on(AF_INET, SOCK_DGRAM, PROXY4, 53);
	proxies[1] = socket_on(AF_INET6, SOCK_DGRAM, "::1", 0);
	enter_slot(h, SLUICE_SOCK_UDP4, proxies[0]);
	enter_slot(h, SLUICE_SOCK_LOOP_UDP6, proxies[1]);
	return 0;
}

static int close_all(void **state)
{
	join(outside);
	for (int i = 0; i < 20 && rmdir(folder) < 0; i++)
		usleep(50000);
	return harness_close(state);
}

static int reset(void **state)
{
	struct harness *h = *state;
	int r = harness_reset(state);

	h->endpoints[HOST].state = h->endpoints[TEST_ENDPOINT].state;
	memset(&h->runtime[HOST], 0, sizeof(h->runtime[HOST]));
	return r;
}

static void set_mode(struct harness *h, enum sluice_mode mode, uint64_t flags)
{
	h->endpoints[HOST].state = SLUICE_STATE(mode, flags, 1, TEST_POLICY);
}

/* ---- from within ------------------------------------------------------------------------------------------------- */

/* Runs `body` in a process in the cgroup; its errno or 0, as it returns. */
static int within(int (*body)(const void *argument), const void *argument)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		join(folder);
		_exit(body(argument));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

struct target {
	int family, type;
	const char *address;
	uint16_t port;
};

static int open_target(const struct target *t, struct sockaddr_storage *ss, socklen_t *len)
{
	struct sluice_addr addr;

	if (addr_parse(t->address, &addr) < 0)
		_exit(99);
	*len = addr_to_sockaddr(&addr, t->port, ss);
	return socket(t->family, t->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* EINPROGRESS is a connection that is being tried. */
static int do_connect(const void *argument)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd = open_target(argument, &ss, &len);

	if (fd < 0)
		return errno;
	return connect(fd, (struct sockaddr *)&ss, len) < 0 ? errno : 0;
}

static int do_send(const void *argument)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd = open_target(argument, &ss, &len);

	if (fd < 0)
		return errno;
	return sendto(fd, "x", 1, 0, (struct sockaddr *)&ss, len) < 0 ? errno : 0;
}

static int try_connect(const char *address, uint16_t port)
{
	const struct target t = { strchr(address, ':') ? AF_INET6 : AF_INET, SOCK_STREAM, address, port };

	return within(do_connect, &t);
}

static int try_send(const char *address, uint16_t port)
{
	const struct target t = { strchr(address, ':') ? AF_INET6 : AF_INET, SOCK_DGRAM, address, port };

	return within(do_send, &t);
}

/* Asks `address`, answers as the proxy, and compares whom the answer seems to be from. */
struct question {
	struct target target;
	int proxy;
	bool connected;
};

static int answer_as_proxy(int proxy)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	char buf[16];

	if (recvfrom(proxy, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&peer, &len) != 8)
		return 90;
	join(outside);
	return sendto(proxy, "answered", 8, 0, (struct sockaddr *)&peer, len) == 8 ? 0 : 91;
}

static int do_ask(const void *argument)
{
	const struct question *q = argument;
	struct sockaddr_storage to, from = {};
	socklen_t len, from_len = sizeof(from);
	struct sluice_addr wanted, got;
	uint16_t port = 0;
	char buf[16];
	int fd = open_target(&q->target, &to, &len), r;

	if (q->connected && connect(fd, (struct sockaddr *)&to, len) < 0)
		return errno;
	if (sendto(fd, "question", 8, 0, q->connected ? NULL : (struct sockaddr *)&to, q->connected ? 0 : len) != 8)
		return errno;
	r = answer_as_proxy(q->proxy);
	if (r)
		return r;
	if (recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len) != 8)
		return 92;
	if (q->connected && getpeername(fd, (struct sockaddr *)&from, &from_len) < 0)
		return 93;
	addr_parse(q->target.address, &wanted);
	if (addr_from_sockaddr(&from, &got, &port) < 0)
		return 94;
	return addr_compare(&wanted, &got) == 0 && port == 53 ? 0 : 95;
}

/* ---- the tests --------------------------------------------------------------------------------------------------- */

static void a_policy_opens_what_it_names(void **state)
{
	struct harness *h = *state;

	set_mode(h, SLUICE_MODE_ENFORCE, 0);
	allow(h, "10.0.1.5/32", IPPROTO_TCP, 80);
	allow(h, "fd00::5/128", IPPROTO_UDP, 9);
	assert_int_equal(try_connect(POD4, 80), EINPROGRESS);
	assert_int_equal(try_send(POD6, 9), 0);
	assert_int_equal(h->runtime[HOST].flows, 2);
}

static void the_rest_fails_at_once_and_is_counted(void **state)
{
	struct harness *h = *state;

	set_mode(h, SLUICE_MODE_ENFORCE, 0);
	allow(h, "10.0.1.5/32", IPPROTO_TCP, 80);
	assert_int_equal(try_connect(POD4, 81), EPERM);
	assert_int_equal(try_connect(POD6, 80), EPERM);
	assert_int_equal(try_send(POD4, 80), EPERM);
	assert_int_equal(h->runtime[HOST].drops[SLUICE_REASON_POLICY_DEFAULT], 3);
}

static void modes_are_those_of_a_veth(void **state)
{
	struct harness *h = *state;

	set_mode(h, SLUICE_MODE_AUDIT, 0);
	assert_int_equal(try_connect(POD4, 81), EINPROGRESS);
	assert_true(h->runtime[HOST].audited > 0);
	set_mode(h, SLUICE_MODE_OPEN, 0);
	assert_int_equal(try_send(POD4, 80), 0);
	set_mode(h, SLUICE_MODE_QUARANTINE, 0);
	assert_int_equal(try_send(POD4, 80), EPERM);
	assert_int_equal(h->runtime[HOST].drops[SLUICE_REASON_QUARANTINE], 1);
	/* Whose storage is of another generation is nobody. */
	set_mode(h, SLUICE_MODE_OPEN, 0);
	h->endpoints[HOST].generation++;
	assert_int_equal(try_send(POD4, 80), EPERM);
	h->endpoints[HOST].generation--;
}

static int do_raw(const void *argument)
{
	const int *family = argument;
	int fd = socket(*family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);

	return fd < 0 ? errno : 0;
}

static void raw_sockets_are_refused(void **state)
{
	static const int families[] = { AF_INET, AF_INET6 };

	set_mode(*state, SLUICE_MODE_ENFORCE, 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(within(do_raw, &families[i]), EPERM);
	set_mode(*state, SLUICE_MODE_OPEN, 0);
	assert_int_equal(within(do_raw, &families[0]), 0);
}

static void questions_go_to_the_proxy_under_the_name_they_were_asked(void **state)
{
	static const struct question questions[] = {
		{ { AF_INET, SOCK_DGRAM, "8.8.8.8", 53 }, 0, false },
		{ { AF_INET, SOCK_DGRAM, "8.8.4.4", 53 }, 0, true },
		{ { AF_INET, SOCK_DGRAM, "127.0.0.53", 53 }, 0, true },
		{ { AF_INET6, SOCK_DGRAM, "2001:db8::53", 53 }, 1, false },
		{ { AF_INET6, SOCK_DGRAM, "2001:db8::53", 53 }, 1, true },
	};
	struct harness *h = *state;

	set_mode(h, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES);
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		struct question q = questions[i];

		q.proxy = proxies[q.proxy];
		assert_int_equal(within(do_ask, &q), 0);
	}
	assert_int_equal(h->runtime[HOST].dns_assigned, ARRAY_SIZE(questions));
}

static void the_proxy_learns_who_asks_whom(void **state)
{
	struct sluice_asker_key key, next;
	struct sluice_asker asker;
	struct sluice_addr server;
	int map = bpf_map__fd(programs->maps.dns_askers);

	while (bpf_map_get_next_key(map, NULL, &key) == 0)
		bpf_map_delete_elem(map, &key);
	set_mode(*state, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES);
	assert_int_equal(try_send("8.8.8.8", 53), 0);
	assert_int_equal(bpf_map_get_next_key(map, NULL, &next), 0);
	assert_int_equal(bpf_map_lookup_elem(map, &next, &asker), 0);
	assert_int_equal(addr_parse("8.8.8.8", &server), 0);
	assert_int_equal(addr_compare(&server, &asker.server), 0);
	assert_int_equal(asker.endpoint, HOST);
	assert_int_equal(asker.generation, HOST_GENERATION);
	assert_int_equal(next.proto, IPPROTO_UDP);
}

static void a_question_without_a_proxy_or_against_a_deny_goes_nowhere(void **state)
{
	struct harness *h = *state;
	uint32_t slot = SLUICE_SOCK_UDP4;

	set_mode(h, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES);
	allow(h, "0.0.0.0/0", 0, 0);
	deny(h, "8.8.8.8/32", 0, 0);
	assert_int_equal(try_send("8.8.8.8", 53), EPERM);
	assert_int_equal(h->runtime[HOST].drops[SLUICE_REASON_POLICY_DENY], 1);
	bpf_map_delete_elem(bpf_map__fd(h->skel->maps.dns_sockets), &slot);
	assert_int_equal(try_send("8.8.4.4", 53), EPERM);
	assert_int_equal(h->runtime[HOST].drops[SLUICE_REASON_DNS_SOCKET], 1);
	enter_slot(h, SLUICE_SOCK_UDP4, proxies[0]);
}

/* A port of this process's, which is outside: a relay. */
static void loopback_is_the_hosts(void **state)
{
	struct harness *h = *state;
	int relay = socket_on(AF_INET, SOCK_DGRAM, "127.0.0.1", 7000);

	set_mode(h, SLUICE_MODE_ENFORCE, 0);
	allow(h, "0.0.0.0/0", 0, 0);
	assert_int_equal(try_send("127.0.0.1", 7000), EPERM);
	assert_int_equal(h->runtime[HOST].drops[SLUICE_REASON_NEVER_LEAVES], 1);
	close(relay);
}

static int do_speak_to_itself(const void *argument)
{
	int own = socket_on(AF_INET, SOCK_DGRAM, "127.0.0.1", 7001);
	char c;

	(void)argument;
	return do_send(&(struct target){ AF_INET, SOCK_DGRAM, "127.0.0.1", 7001 })
		       ?: recv(own, &c, 1, MSG_DONTWAIT) != 1;
}

static void its_own_sockets_reach_each_other(void **state)
{
	set_mode(*state, SLUICE_MODE_ENFORCE, 0);
	assert_int_equal(within(do_speak_to_itself, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_policy_opens_what_it_names, reset),
		cmocka_unit_test_setup(the_rest_fails_at_once_and_is_counted, reset),
		cmocka_unit_test_setup(modes_are_those_of_a_veth, reset),
		cmocka_unit_test_setup(raw_sockets_are_refused, reset),
		cmocka_unit_test_setup(questions_go_to_the_proxy_under_the_name_they_were_asked, reset),
		cmocka_unit_test_setup(the_proxy_learns_who_asks_whom, reset),
		cmocka_unit_test_setup(a_question_without_a_proxy_or_against_a_deny_goes_nowhere, reset),
		cmocka_unit_test_setup(loopback_is_the_hosts, reset),
		cmocka_unit_test_setup(its_own_sockets_reach_each_other, reset),
	};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
