/* SPDX-License-Identifier: Apache-2.0 */
/* Folders laid out as kubelets do, in a place of the test's own. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/pod_cgroup.h"
#include "base/cgroup.h"
#include "base/cleanup.h"
#include "base/file.h"

#define UID	"0d6c5c1e-94d0-4d5a-8b3a-0a7d3c4b1e2f"
#define SLICE	"0d6c5c1e_94d0_4d5a_8b3a_0a7d3c4b1e2f"
#define CLASSES 3

static char dir[64];

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/sluice-cgroup-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[96];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void remove_all(void)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -rf %s/*", dir);
	assert_int_equal(system(command), 0);
}

/* The folder and all above it. */
static void make(const char *path)
{
	char full[PATH_MAX];
	size_t len = (size_t)snprintf(full, sizeof(full), "%s/%s/", dir, path);

	for (size_t i = strlen(dir) + 1; i < len; i++) {
		if (full[i] != '/')
			continue;
		full[i] = '\0';
		assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
		full[i] = '/';
	}
}

static void set_controllers(const char *text)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/cgroup.controllers", dir);
	assert_int_equal(file_replace(AT_FDCWD, path, text, strlen(text), 0644), 0);
}

static int find(const struct pod_cgroups *p, const char *uid, char ret[PATH_MAX])
{
	char full[PATH_MAX];
	int r = pod_cgroups_find(p, uid, full, sizeof(full));

	snprintf(ret, PATH_MAX, "%s", r == 0 ? full + strlen(dir) + 1 : "");
	return r;
}

static void test_layouts(void **state)
{
	static const char *const paths[] = {
		"kubepods/pod" UID,
		"kubepods/burstable/pod" UID,
		"kubepods/besteffort/pod" UID,
		"kubepods.slice/kubepods-pod" SLICE ".slice",
		"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" SLICE ".slice",
		"kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" SLICE ".slice",
		/* --cgroup-root, and kubelets beside each other */
		"kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
		"kubelet-kubepods-burstable-pod" SLICE ".slice",
		"cluster/node2/kubepods/burstable/pod" UID,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		CLEANUP(pod_cgroups_freep) struct pod_cgroups *p = NULL;
		char found[PATH_MAX];

		make("system.slice/kubelet.service");
		make("cluster/node1/kubepods/podother");
		make(paths[i]);
		assert_int_equal(pod_cgroups_new(dir, &p), 0);
		pod_cgroups_scan(p);
		assert_int_equal(find(p, UID, found), 0);
		assert_string_equal(found, paths[i]);
		assert_int_equal(find(p, UID "0", found), -ENOENT);
		remove_all();
	}
}

/* What looks like a pod's but is not where its kubelet puts it. */
static void test_elsewhere(void **state)
{
	CLEANUP(pod_cgroups_freep) struct pod_cgroups *p = NULL;
	char found[PATH_MAX], link[PATH_MAX];

	(void)state;
	make("kubepods/podother/kubepods/pod" UID);
	make("kubepods/guaranteed/pod" UID);
	make("user.slice/notkubepods.slice/notkubepods-pod" SLICE ".slice");
	make("a/b/c/d/kubepods/pod" UID);
	make("elsewhere");
	snprintf(link, sizeof(link), "%s/kubepods/pod%s", dir, UID);
	assert_int_equal(symlink("../elsewhere", link), 0);
	set_controllers("cpu memory pids\n");
	assert_int_equal(pod_cgroups_new(dir, &p), 0);
	pod_cgroups_scan(p);
	assert_int_equal(find(p, UID, found), -ENOENT);
}

static void test_uids(void **state)
{
	static const char *const bad[] = {
		"",
		"../podother",
		"a/b",
		"..",
		"a.b",
		"a_b",
		"0123456789012345678901234567890123456789012345678901234567890123",
	};
	CLEANUP(pod_cgroups_freep) struct pod_cgroups *p = NULL;
	char found[PATH_MAX];

	(void)state;
	make("kubepods/podother");
	make("kubepods/pod");
	assert_int_equal(pod_cgroups_new(dir, &p), 0);
	pod_cgroups_scan(p);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(find(p, bad[i], found), -EINVAL);
	/* A static pod's has no hyphens. */
	make("kubepods/burstable/poda77a352d02ed56f15a0bb1d9d3aa5bf6");
	assert_int_equal(find(p, "a77a352d02ed56f15a0bb1d9d3aa5bf6", found), 0);
}

static void test_version_1(void **state)
{
	CLEANUP(pod_cgroups_freep) struct pod_cgroups *p = NULL, *whole = NULL;
	char found[PATH_MAX];

	(void)state;
	set_controllers("");
	assert_int_equal(pod_cgroups_new(dir, &p), 0);
	pod_cgroups_scan(p);
	assert_int_equal(find(p, UID, found), -EOPNOTSUPP);
	/* cgroup2 beside version 1, and the kubelet uses both. */
	make("kubepods/burstable");
	pod_cgroups_scan(p);
	assert_int_equal(find(p, UID, found), -ENOENT);
	make("kubepods/burstable/pod" UID);
	assert_int_equal(find(p, UID, found), 0);
	/* A node of version 2 on which no kubelet has started yet. */
	remove_all();
	set_controllers("cpuset cpu io memory pids\n");
	assert_int_equal(pod_cgroups_new(dir, &whole), 0);
	pod_cgroups_scan(whole);
	assert_int_equal(find(whole, UID, found), -ENOENT);
}

static bool has_news(struct pod_cgroups *p)
{
	struct pollfd fd = { .fd = pod_cgroups_fd(p), .events = POLLIN };
	int n = poll(&fd, 1, 0);

	pod_cgroups_read(p);
	return n == 1;
}

static void test_news(void **state)
{
	static const char *const folders[CLASSES] = { "kubepods/pod" UID, "kubepods/burstable/pod" UID,
						      "kubepods/besteffort/pod" UID };
	CLEANUP(pod_cgroups_freep) struct pod_cgroups *p = NULL;

	(void)state;
	make("kubepods/burstable");
	make("kubepods/besteffort");
	assert_int_equal(pod_cgroups_new(dir, &p), 0);
	pod_cgroups_scan(p);
	pod_cgroups_scan(p);
	assert_false(has_news(p));
	for (size_t i = 0; i < CLASSES; i++) {
		char path[PATH_MAX];

		make(folders[i]);
		assert_true(has_news(p));
		make("kubepods/burstable");
		assert_false(has_news(p));
		snprintf(path, sizeof(path), "%s/%s", dir, folders[i]);
		assert_int_equal(rmdir(path), 0);
		assert_true(has_news(p));
	}
}

/* The real one: this machine's root has no cgroup.events, and what is in it does. */
static void test_root(void **state)
{
	char root[PATH_MAX], own[PATH_MAX], path[PATH_MAX + 32];
	int r = cgroup_root_path(root, sizeof(root));

	(void)state;
	if (r == -ENOENT || r == -EXDEV)
		skip();
	assert_int_equal(r, 0);
	snprintf(path, sizeof(path), "%s/cgroup.events", root);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof(path), "%s/cgroup.procs", root);
	assert_int_equal(access(path, F_OK), 0);
	if (cgroup_own_path(own, sizeof(own)) == 0)
		assert_int_equal(strncmp(own, root, strlen(root)), 0);
	assert_int_equal(cgroup_root_path(root, 2), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_layouts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_elsewhere, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_uids, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_version_1, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_news, set_up, tear_down),
		cmocka_unit_test(test_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
