/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which interfaces are closed, and whose each is, on a real kernel: veths whose peers are in a child's namespace. The main
 * loop's part is called by hand, so that what happens without it is the closing thread's.
 */
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/discover.h"
#include "base/addr.h"
#include "base/cleanup.h"
#include "policy/vpc_name.h"

#define SKIP	77
#define MANY	40
#define BURST	100
#define WAIT_MS 5000
#define TOO_FEW 4096 /* bytes of news, which the kernel doubles */

static char root[64], pins[96], run[96];
static pid_t elsewhere, apart; /* whose namespaces the peers are in */

struct node {
	struct config *config;
	struct kernel *k;
	struct publisher *p;
	struct endpoints *e;
	struct discover *d;
};

static void node_close(struct node *n)
{
	discover_freep(&n->d);
	endpoints_freep(&n->e);
	publisher_freep(&n->p);
	kernel_freep(&n->k);
	config_freep(&n->config);
}

static void node_open(struct node *n, bool any)
{
	*n = (struct node){};
	assert_int_equal(config_new(&n->config), 0);
	free(n->config->pin_path);
	free(n->config->run_dir);
	n->config->pin_path = strdup(pins);
	n->config->run_dir = strdup(run);
	n->config->interfaces.any = any;
	assert_int_equal(kernel_open(n->config, &n->k), 0);
	assert_int_equal(publisher_open(n->k, run, &n->p), 0);
	assert_int_equal(endpoints_open(n->k, n->p, &n->e), 0);
	assert_int_equal(discover_open(n->k, n->e, &n->config->interfaces, &n->d), 0);
}

static void command(const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	assert_int_equal(system(line), 0);
}

static void add_veth(const char *interface, pid_t peer)
{
	command("ip link add %s up type veth peer name eth-%s netns %d", interface, interface + 3, peer);
}

static void add_pod(const char *interface)
{
	add_veth(interface, elsewhere);
}

static int state_of(const struct node *n, const char *interface)
{
	return kernel_attached(n->k, if_nametoindex(interface));
}

static bool comes_closed(const struct node *n, const char *interface)
{
	for (unsigned int ms = 0; ms < WAIT_MS && state_of(n, interface) != ATTACH_STATE_FIRST; ms++)
		usleep(1000);
	return state_of(n, interface) == ATTACH_STATE_FIRST;
}

static json_int_t counted(const struct node *n, const char *what)
{
	json_t *all = discover_json(n->d);
	json_int_t ret = json_integer_value(json_object_get(all, what));

	json_decref(all);
	return ret;
}

static const char *found(const struct node *n, const char *name, const char *address, char ret[IF_NAMESIZE])
{
	struct sluice_addr addr;

	discover_read(n->d);
	assert_int_equal(addr_parse(address, &addr), 0);
	return discover_interface(n->d, "ns", name, &addr, 1, ret);
}

static pid_t new_namespace(void)
{
	int ready[2];
	pid_t pid;
	char c;

	if (pipe(ready) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWNET) == 0 && write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		pid = -1;
	close(ready[0]);
	return pid;
}

static int set_up(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/sluice-live-XXXXXX");
	if (!mkdtemp(root) || mount("bpf", root, "bpf", 0, "mode=700") < 0)
		return -1;
	snprintf(pins, sizeof(pins), "%s/sluice", root);
	snprintf(run, sizeof(run), "/tmp/sluice-run-XXXXXX");
	if (!mkdtemp(run) || system("ip link set lo up"))
		return -1;
	elsewhere = new_namespace();
	apart = new_namespace();
	return elsewhere > 0 && apart > 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	char line[256];

	(void)state;
	kill(elsewhere, SIGKILL);
	kill(apart, SIGKILL);
	waitpid(elsewhere, NULL, 0);
	waitpid(apart, NULL, 0);
	snprintf(line, sizeof(line),
		 "for i in $(ip -o link show type veth | cut -d: -f2 | cut -d@ -f1); do ip link del $i 2>/dev/null; "
		 "done; rm -rf %s",
		 run);
	if (system(line))
		return -1;
	umount(root);
	return rmdir(root);
}

/* ---- closing ----------------------------------------------------------------------------------------------------- */

static void test_closed_without_the_main_loop(void **state)
{
	CLEANUP(node_close) struct node n;

	(void)state;
	node_open(&n, true);
	add_pod("eni1");
	assert_true(comes_closed(&n, "eni1"));
	add_pod("random1");
	assert_true(comes_closed(&n, "random1"));
	assert_true(counted(&n, "slowest_microseconds") > 0);
	/* the main loop takes them as they are */
	discover_read(n.d);
	discover_run(n.d);
	assert_int_equal(counted(&n, "closed_at_announcement"), 2);
	assert_int_equal(counted(&n, "failed"), 0);
	assert_int_equal(counted(&n, "unknown"), 2);
	assert_int_equal(state_of(&n, "eni1"), ATTACH_STATE_FIRST);
}

/* Whoever makes interfaces holds the lock that both threads need: the main loop hears of each, and leaves it to the other. */
static void test_the_main_loop_waits(void **state)
{
	CLEANUP(node_close) struct node n;
	pid_t maker;
	int status = -1;

	(void)state;
	node_open(&n, true);
	maker = fork();
	if (maker == 0) {
		char line[160];

		snprintf(line, sizeof(line),
			 "for i in $(seq %d); do echo link add eni$i up type veth peer name p$i netns %d; done | "
			 "ip -batch -",
			 BURST, elsewhere);
		_exit(system(line) != 0);
	}
	while (waitpid(maker, &status, WNOHANG) == 0)
		discover_read(n.d);
	discover_read(n.d);
	assert_int_equal(status, 0);
	assert_int_equal(counted(&n, "closed_at_announcement"), BURST);
	assert_int_equal(counted(&n, "closed_by_hand"), 0);
}

static void test_others_are_left_alone(void **state)
{
	CLEANUP(node_close) struct node n;

	(void)state;
	node_open(&n, false);
	add_veth("random1", apart);
	command("ip link add eni2 up type veth peer name eni3");
	add_pod("eni1"); /* announced after them */
	assert_true(comes_closed(&n, "eni1"));
	discover_read(n.d);
	discover_run(n.d);
	assert_int_equal(state_of(&n, "random1"), ATTACH_STATE_MISSING);
	assert_int_equal(state_of(&n, "eni2"), ATTACH_STATE_MISSING);
	/* by another configuration from now on */
	n.config->interfaces.any = true;
	discover_configure(n.d, &n.config->interfaces);
	add_pod("random2");
	assert_true(comes_closed(&n, "random2"));
}

/* What a change of the interface announces is no new interface. */
static void test_the_way_out_stays_open(void **state)
{
	CLEANUP(node_close) struct node n;

	(void)state;
	add_veth("uplink1", apart);
	command("ip address add 10.9.9.1/24 dev uplink1");
	node_open(&n, true);
	command("ip link set uplink1 down && ip link set uplink1 mtu 1400 up");
	add_pod("eni1");
	assert_true(comes_closed(&n, "eni1"));
	discover_read(n.d);
	discover_run(n.d);
	assert_int_equal(state_of(&n, "uplink1"), ATTACH_STATE_MISSING);
}

/* The Amazon VPC CNI's interface for the other IP family: only the namespace says whose it is. */
static void test_siblings(void **state)
{
	struct static_endpoint more = {};
	CLEANUP(node_close) struct node n;
	struct sluice_addr addr;

	(void)state;
	node_open(&n, false);
	add_pod("vethbefore");
	add_pod("eni1");
	add_veth("random1", apart);
	assert_true(comes_closed(&n, "eni1"));
	add_pod("vethafter");
	discover_read(n.d);
	discover_run(n.d);
	assert_int_equal(state_of(&n, "vethafter"), ATTACH_STATE_FIRST);
	assert_int_equal(state_of(&n, "vethbefore"), ATTACH_STATE_FIRST);
	assert_int_equal(state_of(&n, "random1"), ATTACH_STATE_MISSING);
	assert_int_equal(counted(&n, "unknown"), 3);
	/* closed, and nobody's as long as no route says which addresses it has */
	assert_false(discover_sibling(n.d, "eni1", 0, &more));
	command("ip route add 169.254.172.2/32 dev vethafter");
	command("ip route add 169.254.172.3/32 dev random1");
	discover_read(n.d);
	assert_true(discover_sibling(n.d, "eni1", 0, &more));
	assert_string_equal(more.interface, "vethafter");
	assert_int_equal(addr_parse("169.254.172.2", &addr), 0);
	assert_int_equal(more.naddrs, 1);
	assert_memory_equal(&more.addrs[0], &addr, sizeof(addr));
	assert_false(discover_sibling(n.d, "eni1", 1, &more));
	assert_false(discover_sibling(n.d, "random1", 0, &more));
	/* the node's way out, were it ever there */
	command("ip route add default dev vethbefore");
	discover_read(n.d);
	discover_run(n.d);
	assert_int_equal(state_of(&n, "vethbefore"), ATTACH_STATE_MISSING);
}

static void test_lost_news(void **state)
{
	CLEANUP(node_close) struct node n;
	int size = TOO_FEW;

	(void)state;
	node_open(&n, true);
	assert_int_equal(setsockopt(discover_fd(n.d), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)), 0);
	for (unsigned int i = 0; i < MANY; i++) {
		char name[IF_NAMESIZE];

		snprintf(name, sizeof(name), "eni%u", i);
		add_pod(name);
	}
	command("ip link del eni0");
	discover_read(n.d);
	assert_true(counted(&n, "resyncs") > 0);
	discover_run(n.d);
	assert_int_equal(counted(&n, "guarded"), MANY - 1);
	assert_int_equal(counted(&n, "unknown"), MANY - 1);
}

/* ---- whose it is ------------------------------------------------------------------------------------------------- */

static void test_found_by_route(void **state)
{
	CLEANUP(node_close) struct node n;
	char name[IF_NAMESIZE];

	(void)state;
	node_open(&n, true);
	add_pod("random1");
	assert_string_equal(found(&n, "web-0", "10.0.1.5", name), "");
	command("ip route add 10.0.1.5/32 dev random1");
	assert_string_equal(found(&n, "web-0", "10.0.1.5", name), "random1");
	/* of a table that only some rule leads to, as branch interfaces have theirs */
	add_pod("vlan1");
	command("ip route add 10.0.1.6/32 dev vlan1 table 101");
	assert_string_equal(found(&n, "web-1", "10.0.1.6", name), "vlan1");
	/* routes to another's address too */
	command("ip route add 10.0.1.7/32 dev random1");
	assert_string_equal(found(&n, "web-0", "10.0.1.5", name), "");
}

/* Hazard 28: the name of the interface is the pod's name's, whichever pod has it. */
static void test_a_pod_of_the_same_name(void **state)
{
	CLEANUP(node_close) struct node n;
	char interface[IF_NAMESIZE] = "eni", name[IF_NAMESIZE];

	(void)state;
	vpc_name_hash("ns", "web-0", interface + strlen(interface));
	node_open(&n, true);
	add_pod(interface);
	assert_string_equal(found(&n, "web-0", "10.0.1.5", name), interface); /* no route contradicts */
	assert_string_equal(found(&n, "web-1", "10.0.1.5", name), "");
	command("ip route add 10.0.1.5/32 dev %s", interface);
	assert_string_equal(found(&n, "web-0", "10.0.1.5", name), interface);
	/* made anew, it has another address, and who still has the old one in mind does not get it */
	command("ip link del %s", interface);
	add_pod(interface);
	command("ip route add 10.0.1.9/32 dev %s", interface);
	assert_string_equal(found(&n, "web-0", "10.0.1.5", name), "");
	assert_string_equal(found(&n, "web-0", "10.0.1.9", name), interface);
	/* nor a pod of another name that the old route led to */
	add_pod("random1");
	command("ip route replace 10.0.1.9/32 dev random1");
	assert_string_equal(found(&n, "web-2", "10.0.1.9", name), "random1");
}

static struct claim claim_of(const char *uid, const char *address)
{
	struct claim c = { .namespace_name = "ns", .name = "web-0", .naddrs = 1 };

	snprintf(c.uid, sizeof(c.uid), "%s", uid);
	assert_int_equal(addr_parse(address, &c.addrs[0]), 0);
	return c;
}

static const char *mode_said(struct node *n, const char *interface, const struct claim *claim, char ret[32])
{
	const struct discover_request request = { interface, claim };
	bool news = false;
	json_t *answer = discover_interface_json(n->d, &request, &news);

	snprintf(ret, 32, "%s", json_string_value(json_object_get(answer, "mode")));
	json_decref(answer);
	return ret;
}

static bool claimed(const struct node *n, const char *uid, char name[IF_NAMESIZE])
{
	name[0] = '\0';
	return discover_claim(n->d, uid, "ns", "web-0", name) != NULL;
}

static void test_claimed(void **state)
{
	const struct claim old = claim_of("u1", "10.0.1.5"), fresh = claim_of("u2", "10.0.1.5");
	CLEANUP(node_close) struct node n;
	char interface[IF_NAMESIZE] = "eni", name[IF_NAMESIZE], mode[32];

	(void)state;
	vpc_name_hash("ns", "web-0", interface + strlen(interface));
	node_open(&n, true);
	add_pod(interface);
	assert_string_equal(mode_said(&n, interface, &old, mode), "quarantine");
	assert_true(claimed(&n, "u1", name));
	assert_string_equal(name, interface);
	assert_false(claimed(&n, "u2", name));
	/* neither its name nor a route gives it to anybody else */
	assert_string_equal(found(&n, "web-0", "10.0.1.5", name), "");
	command("ip route add 10.0.1.5/32 dev %s", interface);
	assert_string_equal(found(&n, "web-0", "10.0.1.5", name), "");
	assert_true(claimed(&n, "u1", name));
	/* it goes with the interface, and the pod of the same name does not get it */
	command("ip link del %s", interface);
	add_pod(interface);
	discover_read(n.d);
	assert_false(claimed(&n, "u1", name));
	assert_string_equal(mode_said(&n, interface, &fresh, mode), "quarantine");
	assert_false(claimed(&n, "u1", name));
	assert_true(claimed(&n, "u2", name));
	/* what leads to another address leads to another pod */
	command("ip route add 10.0.1.9/32 dev %s", interface);
	discover_read(n.d);
	assert_false(claimed(&n, "u2", name));
}

static struct endpoints_file *one_endpoint(const char *uid, const char *interface)
{
	struct endpoints_file *file = calloc(1, sizeof(*file));
	struct static_endpoint *e = calloc(1, sizeof(*e));

	assert_true(file && e);
	e->namespace_name = strdup("ns");
	e->name = strdup("web-0");
	e->uid = strdup(uid);
	snprintf(e->interface, sizeof(e->interface), "%s", interface);
	assert_int_equal(addr_parse("10.0.1.5", &e->addrs[0]), 0);
	e->naddrs = 1;
	file->endpoints = (struct static_endpoints){ e, 1 };
	return file;
}

/* The answer is about the pod that asks: another's policy on its interface is none. And two pods share no endpoint. */
static void test_the_answer_is_about_the_claimant(void **state)
{
	const struct claim old = claim_of("u1", "10.0.1.5"), fresh = claim_of("u2", "10.0.1.5");
	struct endpoints_input in = {};
	CLEANUP(store_freep) struct store *store = NULL;
	CLEANUP(node_close) struct node n;
	uint32_t generation;
	char mode[32];

	(void)state;
	node_open(&n, true);
	assert_int_equal(store_new(&store), 0);
	in.store = store;
	add_pod("eni1");
	/* What the closing thread does to it is over, or it would be met by the apply. */
	assert_true(comes_closed(&n, "eni1"));
	mode_said(&n, "eni1", &old, mode);
	endpoints_want(n.e, one_endpoint("u1", "eni1"), "test");
	endpoints_reconcile(n.e);
	endpoints_apply(n.e, &in);
	assert_string_equal(mode_said(&n, "eni1", &old, mode), "open");
	assert_string_equal(mode_said(&n, "eni1", NULL, mode), "open");
	assert_string_equal(mode_said(&n, "eni1", &fresh, mode), "quarantine");
	generation = endpoints_at(n.e, 0)->generation;
	endpoints_want(n.e, one_endpoint("u1", "eni1"), "test");
	assert_int_equal(endpoints_at(n.e, 0)->generation, generation);
	endpoints_want(n.e, one_endpoint("u2", "eni1"), "test");
	endpoints_reconcile(n.e);
	assert_int_not_equal(endpoints_at(n.e, 0)->generation, generation);
	endpoints_apply(n.e, &in);
	assert_string_equal(mode_said(&n, "eni1", &fresh, mode), "open");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_closed_without_the_main_loop, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_main_loop_waits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_others_are_left_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_way_out_stays_open, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_siblings, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lost_news, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_found_by_route, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_pod_of_the_same_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_claimed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_answer_is_about_the_claimant, set_up, tear_down),
	};

	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		fprintf(stderr, "skipped: namespaces of its own need root: %s\n", strerror(errno));
		return SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
