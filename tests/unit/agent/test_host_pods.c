/* SPDX-License-Identifier: Apache-2.0 */
/* Host-network pods on a real kernel: folders in this machine's cgroup2, laid out as a kubelet does, get real programs. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/cgroup_programs.h"
#include "agent/host_pods.h"
#include "base/cgroup.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define SKIP 77
#define UID  "0a1b2c3d-0000-4000-8000-000000000001"

static char root[64], pins[96], run[96], kubelet[256], folder[512];

struct node {
	struct config *config;
	struct kernel *k;
	struct publisher *p;
	struct endpoints *e;
	sd_event *event;
	struct host_pods *pods;
	int shut_at_news; /* cgroup_programs_attached() when the news was told */
};

static uint64_t id_of(const char *path)
{
	uint64_t id = 0;
	uint32_t level;

	assert_int_equal(cgroup_identify(path, &id, &level), 0);
	return id;
}

static void on_changed(void *context)
{
	struct node *n = context;

	n->shut_at_news = cgroup_programs_attached(n->k, id_of(folder));
}

static void node_open(struct node *n)
{
	struct host_pods_settings settings = { .root = kubelet };

	*n = (struct node){ .shut_at_news = -1 };
	assert_int_equal(config_new(&n->config), 0);
	free(n->config->pin_path);
	n->config->pin_path = strdup(pins);
	assert_int_equal(kernel_open(n->config, &n->k), 0);
	assert_int_equal(publisher_open(n->k, run, &n->p), 0);
	assert_int_equal(endpoints_open(n->k, n->p, &n->e), 0);
	settings.kernel = n->k;
	assert_true(sd_event_new(&n->event) >= 0);
	assert_int_equal(host_pods_new(n->event, &settings, on_changed, n, &n->pods), 0);
}

static void node_close(struct node *n)
{
	host_pods_freep(&n->pods);
	sd_event_unref(n->event);
	endpoints_freep(&n->e);
	publisher_freep(&n->p);
	kernel_freep(&n->k);
	config_freep(&n->config);
}

/* A refresh; `label` NULL: the API has no such pod. What host_pods_place() returned. */
static int refresh(struct node *n, const char *label)
{
	struct label labels = { .key = "sluice.dev/host-network", .value = label };
	const struct subject subject = {
		.namespace_name = "ns", .name = "p", .labels = &labels, .nlabels = 1, .host_network = true
	};
	const struct kube_pod pod = { .subject = &subject, .uid = UID, .cni_uid = UID };
	CLEANUP(static_endpoints_clear) struct static_endpoints list = {};
	struct static_endpoint found = {};
	int r = 0;

	host_pods_begin(n->pods);
	if (label)
		r = host_pods_place(n->pods, &pod, NULL, &found);
	host_pods_end(n->pods, n->e, &list);
	static_endpoint_clear(&found);
	return r;
}

static int attached(const struct node *n)
{
	return cgroup_programs_attached(n->k, id_of(folder));
}

static void await_news(struct node *n)
{
	while (n->shut_at_news < 0)
		assert_true(sd_event_run(n->event, 10 * 1000000) > 0);
}

static int set_up(void **state)
{
	char mounted[128], class[400];

	(void)state;
	snprintf(root, sizeof(root), "/tmp/sluice-hosts-XXXXXX");
	if (!mkdtemp(root) || mount("bpf", root, "bpf", 0, "mode=700") < 0)
		return -1;
	snprintf(pins, sizeof(pins), "%s/sluice", root);
	snprintf(run, sizeof(run), "/tmp/sluice-run-XXXXXX");
	if (!mkdtemp(run))
		return -1;
	if (cgroup_root_path(mounted, sizeof(mounted)) < 0)
		return -1;
	snprintf(kubelet, sizeof(kubelet), "%s/sluice-unit-%d", mounted, getpid());
	snprintf(class, sizeof(class), "%s/kubepods", kubelet);
	if (mkdir(kubelet, 0755) < 0 || mkdir(class, 0755) < 0)
		return -1;
	snprintf(folder, sizeof(folder), "%s/burstable/pod" UID, class);
	strcat(class, "/burstable");
	return mkdir(class, 0755);
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", run);
	if (system(command))
		return -1;
	for (char *end; strlen(folder) >= strlen(kubelet); *end = '\0') {
		rmdir(folder);
		end = strrchr(folder, '/');
	}
	umount(root);
	return rmdir(root);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

/* Before anything else is done about it: whatever starts in there now gets nothing out. */
static void test_shut_at_its_news(void **state)
{
	CLEANUP(node_close) struct node n;

	(void)state;
	node_open(&n);
	assert_int_equal(refresh(&n, "enforce"), 0);
	assert_int_equal(mkdir(folder, 0755), 0);
	assert_int_equal(attached(&n), 0);
	await_news(&n);
	assert_int_equal(n.shut_at_news, 1);
	assert_int_equal(refresh(&n, "enforce"), 1);
	assert_int_equal(attached(&n), 1);
}

/* The API tells of it only now. */
static void test_folder_before_the_pod(void **state)
{
	CLEANUP(node_close) struct node n;

	(void)state;
	node_open(&n);
	assert_int_equal(mkdir(folder, 0755), 0);
	assert_int_equal(refresh(&n, "enforce"), 1);
	assert_int_equal(attached(&n), 1);
}

/* Nobody else would ever take the programs off: it is no endpoint so far. */
static void test_let_go(void **state)
{
	CLEANUP(node_close) struct node n;

	(void)state;
	node_open(&n);
	refresh(&n, "enforce");
	assert_int_equal(mkdir(folder, 0755), 0);
	await_news(&n);
	assert_int_equal(refresh(&n, "no"), 0);
	assert_int_equal(attached(&n), 0);
	refresh(&n, "enforce");
	assert_int_equal(attached(&n), 1);
	refresh(&n, NULL);
	assert_int_equal(attached(&n), 0);
}

static void test_not_asked_for(void **state)
{
	CLEANUP(node_close) struct node n;

	(void)state;
	node_open(&n);
	refresh(&n, "no");
	assert_int_equal(mkdir(folder, 0755), 0);
	assert_true(sd_event_run(n.event, 0) >= 0);
	assert_int_equal(n.shut_at_news, -1);
	assert_int_equal(refresh(&n, "no"), 0);
	assert_int_equal(attached(&n), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_shut_at_its_news),
		TEST(test_folder_before_the_pod),
		TEST(test_let_go),
		TEST(test_not_asked_for),
	};
	char mounted[128];

	if (cgroup_root_path(mounted, sizeof(mounted)) < 0) {
		fprintf(stderr, "skipped: the root of cgroup2 is not mounted here\n");
		return SKIP;
	}
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		fprintf(stderr, "skipped: namespaces of its own need root: %s\n", strerror(errno));
		return SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
