/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `policy check --resolve` against a name server of the test's own, a thread on loopback in a network namespace of its
 * own, so that nothing is asked of anyone else. Skipped where namespaces cannot be made.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "tests/unit/tools/capture.h"
#include "tests/unit/tools/folder.h"
#include "tools/bpfctl/out.h"

#define SERVER "127.0.0.1:5353"

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_PTR = 12, TYPE_AAAA = 28 };

static const struct record {
	const char *name;
	uint16_t type;
	const char *data;
} zone[] = {
	{ "a.example.com", TYPE_A, "192.0.2.1" },
	{ "a.example.com", TYPE_AAAA, "2001:db8::1" },
	{ "b.example.com", TYPE_A, "192.0.2.1" },
	{ "alias.example.com", TYPE_CNAME, "edge.example.net" },
	{ "edge.example.net", TYPE_A, "192.0.2.3" },
	{ "listed.example.com", TYPE_CNAME, "a.example.com" },
	{ "empty.example.com", TYPE_CNAME, "nowhere.example.net" },
	{ "nowhere.example.net", TYPE_PTR, "x" },
	{ "3.2.0.192.in-addr.arpa", TYPE_PTR, "host3.cdn.example.net" },
};

/* ---- the server --------------------------------------------------------------------------------------------------- */

struct message {
	uint8_t bytes[512];
	size_t len;
};

static void put16(struct message *m, unsigned int v)
{
	m->bytes[m->len++] = (uint8_t)(v >> 8);
	m->bytes[m->len++] = (uint8_t)v;
}

static void put_name(struct message *m, const char *name)
{
	while (*name) {
		size_t n = strcspn(name, ".");

		m->bytes[m->len++] = (uint8_t)n;
		memcpy(m->bytes + m->len, name, n);
		m->len += n;
		name += n + (name[n] == '.');
	}
	m->bytes[m->len++] = 0;
}

static void put_record(struct message *m, const struct record *r)
{
	size_t length_at;

	put_name(m, r->name);
	put16(m, r->type);
	put16(m, 1);
	put16(m, 0);
	put16(m, 60);
	length_at = m->len;
	put16(m, 0);
	if (r->type == TYPE_A)
		m->len += inet_pton(AF_INET, r->data, m->bytes + m->len) == 1 ? 4 : 0;
	else if (r->type == TYPE_AAAA)
		m->len += inet_pton(AF_INET6, r->data, m->bytes + m->len) == 1 ? 16 : 0;
	else
		put_name(m, r->data);
	m->bytes[length_at + 1] = (uint8_t)(m->len - length_at - 2);
}

/* The name of the question; its end. */
static size_t read_question(const uint8_t *query, size_t len, char *name)
{
	size_t at = 12, out = 0;

	while (at < len && query[at]) {
		if (out)
			name[out++] = '.';
		memcpy(name + out, query + at + 1, query[at]);
		out += query[at];
		at += query[at] + 1u;
	}
	name[out] = '\0';
	return at + 5;
}

/* Follows aliases. "silent.*" gets no answer, "broken.*" a server failure. */
static bool answer(const uint8_t *query, size_t len, struct message *m)
{
	char name[256];
	size_t end = read_question(query, len, name);
	unsigned int type = query[end - 3], count = 0;
	const char *next = name;
	bool exists = false;

	if (!strncmp(name, "silent.", 7))
		return false;
	memcpy(m->bytes, query, end);
	m->len = end;
	while (next) {
		const char *wanted = next;

		next = NULL;
		for (size_t i = 0; i < ARRAY_SIZE(zone); i++) {
			if (strcasecmp(zone[i].name, wanted) != 0)
				continue;
			exists = true;
			if (zone[i].type != type && zone[i].type != TYPE_CNAME)
				continue;
			put_record(m, &zone[i]);
			count++;
			if (zone[i].type == TYPE_CNAME)
				next = zone[i].data;
		}
	}
	m->bytes[2] = 0x81;
	m->bytes[3] = 0x80 | (!strncmp(name, "broken.", 7) ? 2 : exists ? 0 : 3);
	m->bytes[7] = (uint8_t)count;
	memset(m->bytes + 8, 0, 4);
	return true;
}

static void *serve(void *context)
{
	int fd = *(int *)context;
	uint8_t query[512];
	struct sockaddr_storage from;

	for (;;) {
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(fd, query, sizeof(query), 0, (struct sockaddr *)&from, &size);
		struct message m = {};

		if (n < 17)
			return NULL;
		if (answer(query, (size_t)n, &m))
			sendto(fd, m.bytes, m.len, 0, (struct sockaddr *)&from, size);
	}
}

/* ---- the namespace ------------------------------------------------------------------------------------------------ */

struct world {
	struct folder folder;
	pthread_t thread;
	int fd;
};

static struct world world;

static bool loopback_up(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };

	return fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &ifr) == 0;
}

static int set_up(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(5353),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	(void)state;
	world.fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (world.fd < 0 || bind(world.fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return -1;
	folder_make(&world.folder);
	return pthread_create(&world.thread, NULL, serve, &world.fd);
}

static int tear_down(void **state)
{
	(void)state;
	shutdown(world.fd, SHUT_RDWR);
	pthread_join(world.thread, NULL);
	close(world.fd);
	folder_remove(&world.folder);
	return 0;
}

/* ---- tests -------------------------------------------------------------------------------------------------------- */

#define POLICY(names)                                                                                                  \
	"apiVersion: networking.k8s.aws/v1alpha1\nkind: ApplicationNetworkPolicy\nmetadata: {name: p, namespace: "     \
	"ns}\nspec:\n  podSelector: {}\n  policyTypes: [Egress]\n  egress:\n  - to: [{ipBlock: {cidr: "                \
	"10.0.0.10/32}}]\n    ports: [{port: 53, protocol: UDP}, {port: 53}]\n" names

static json_t *check(const char *name, const char *text)
{
	const char *file = folder_add(&world.folder, name, text);
	_cleanup_free_ char *out = NULL;
	json_t *o;

	assert_int_equal(capture_words(&out, "policy", "check", "--resolve", "--resolver", SERVER, "--timeout", "1",
				       "-o", "json", file, NULL),
			 CTL_OK);
	o = json_loads(out, 0, NULL);
	assert_non_null(o);
	return o;
}

static bool says(const json_t *o, const char *level, int line, const char *words)
{
	const json_t *d;
	size_t i;

	json_array_foreach(json_object_get(o, "diagnostics"), i, d)
	{
		if (!strcmp(get_text(d, "level"), level) && get_number(d, "line") == line &&
		    strstr(get_text(d, "message"), words))
			return true;
	}
	return false;
}

static void test_statuses(void **state)
{
	_cleanup_json_ json_t *o = check("status.yaml", POLICY("  - to:\n    - domainNames:\n"
							       "      - a.example.com\n"
							       "      - none.example.com\n"
							       "      - empty.example.com\n"
							       "      - silent.example.com\n"
							       "      - broken.example.com\n"
							       "      - \"*.example.org\"\n"
							       "      - web.ns.svc.cluster.local\n"));
	const json_t *names = json_object_get(o, "names"), *a = json_array_get(names, 0);

	(void)state;
	assert_int_equal(json_array_size(names), 5);
	assert_string_equal(get_text(a, "name"), "a.example.com");
	assert_string_equal(get_text(a, "status"), "ok");
	assert_int_equal(json_array_size(json_object_get(a, "addresses")), 2);
	assert_string_equal(get_text(json_array_get(names, 1), "status"), "failed");
	assert_string_equal(get_text(json_array_get(names, 2), "status"), "no-address");
	assert_string_equal(get_text(json_array_get(names, 3), "status"), "no-such-name");
	assert_string_equal(get_text(json_array_get(names, 4), "status"), "timeout");
	assert_true(says(o, "warning", 13, "does not exist"));
	assert_true(says(o, "warning", 14, "has no address"));
	assert_true(says(o, "warning", 15, "no resolver answered"));
	assert_true(says(o, "warning", 16, "refused to answer"));
	assert_false(says(o, "warning", 12, "a.example.com"));
}

/* What is below the cluster's own domain is not asked outside; another cluster's is. */
static void test_cluster_domain(void **state)
{
	const char *file =
		folder_add(&world.folder, "domain.yaml",
			   POLICY("  - to:\n    - domainNames: [a.example.com, web.ns.svc.cluster.local]\n"));
	_cleanup_free_ char *out = NULL;
	_cleanup_json_ json_t *o = NULL;

	(void)state;
	assert_int_equal(capture_words(&out, "policy", "check", "--resolve", "--resolver", SERVER, "--timeout", "1",
				       "--cluster-domain", "example.com", "-o", "json", file, NULL),
			 CTL_OK);
	o = json_loads(out, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(o, "names")), 1);
	assert_string_equal(get_text(json_array_get(json_object_get(o, "names"), 0), "name"),
			    "web.ns.svc.cluster.local");
}

static void test_chains(void **state)
{
	_cleanup_json_ json_t *o = check(
		"chain.yaml",
		POLICY("  - to: [{domainNames: [a.example.com]}]\n  - to: [{domainNames: [alias.example.com]}]\n"
		       "  - to: [{domainNames: [listed.example.com]}]\n  - to: [{domainNames: [b.example.com]}]\n"));

	(void)state;
	assert_true(says(o, "notice", 11, "alias.example.com leads to edge.example.net"));
	assert_true(says(o, "notice", 11, "192.0.2.3, which is also host3.cdn.example.net"));
	assert_false(says(o, "notice", 12, "leads to"));
	assert_true(says(o, "notice", 13, "b.example.com shares the address 192.0.2.1 with a.example.com"));
}

static void test_nobody_answers(void **state)
{
	_cleanup_free_ char *out = NULL, *bad = NULL, *lone = NULL;
	const char *file =
		folder_add(&world.folder, "silent.yaml", POLICY("  - to: [{domainNames: [silent.example.com]}]\n"));

	(void)state;
	assert_int_equal(
		capture_words(&out, "policy", "check", "-r", "--resolver", SERVER, "--timeout", "1", file, NULL),
		CTL_UNREACHABLE);
	assert_int_equal(capture_words(&bad, "policy", "check", "-r", "--resolver", "nonsense", file, NULL), CTL_USAGE);
	assert_int_equal(capture_words(&lone, "policy", "check", "--resolver", SERVER, file, NULL), CTL_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_cluster_domain),
		cmocka_unit_test(test_chains),
		cmocka_unit_test(test_nobody_answers),
	};

	if ((unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) || !loopback_up()) {
		fprintf(stderr, "skipped: no network namespace of its own: %s\n", strerror(errno));
		return 77;
	}
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
