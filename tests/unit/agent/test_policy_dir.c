/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/policy_dir.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

#define GOOD(name)                                                                                                     \
	"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: " name ", namespace: ns}\n"             \
	"spec:\n  endpointSelector: {}\n  egress: [{}]\n"

static char dir[64];

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/sluice-policies-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const names[] = { "a.yaml", "b.yml", "c.json", "notes.txt", ".hidden.yaml", "d.yaml" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		if (unlink(path) < 0)
			rmdir(path);
	}
	rmdir(dir);
	return 0;
}

static void put(const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(file_replace(AT_FDCWD, path, text, strlen(text), 0644), 0);
}

static void drop(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(unlink(path), 0);
}

static struct policy_dir *open_dir(void)
{
	struct policy_dir *d = NULL;

	assert_int_equal(policy_dir_new(dir, -1, &d), 0);
	return d;
}

static void test_follows_files(void **state)
{
	CLEANUP(policy_dir_freep) struct policy_dir *d = open_dir();

	(void)state;
	put("a.yaml", GOOD("a"));
	put("b.yml", GOOD("b"));
	put("c.json", "{}");
	put("notes.txt", "not: [ a manifest");
	put(".hidden.yaml", "not: [ a manifest");
	assert_int_equal(policy_dir_scan(d), 1);
	assert_int_equal(store_policy_count(policy_dir_store(d)), 2);
	assert_int_equal(policy_dir_scan(d), 0);
	put("a.yaml", GOOD("a2"));
	assert_int_equal(policy_dir_scan(d), 1);
	assert_int_equal(store_policy_count(policy_dir_store(d)), 2);
	drop("a.yaml");
	assert_int_equal(policy_dir_scan(d), 1);
	assert_int_equal(store_policy_count(policy_dir_store(d)), 1);
}

static void test_keeps_the_last_good(void **state)
{
	CLEANUP(policy_dir_freep) struct policy_dir *d = open_dir();
	json_t *list, *entry;

	(void)state;
	put("a.yaml", GOOD("a"));
	assert_int_equal(policy_dir_scan(d), 1);
	put("a.yaml", GOOD("a") "  description: x\n  bogus: 1\n");
	assert_int_equal(policy_dir_scan(d), 1);
	assert_int_equal(store_policy_count(policy_dir_store(d)), 1);
	assert_int_equal(store_refused_count(policy_dir_store(d)), 1);
	list = policy_dir_json(d);
	entry = json_array_get(list, 0);
	assert_true(json_is_true(json_object_get(entry, "last_good")));
	assert_int_equal(json_array_size(json_object_get(entry, "diagnostics")), 1);
	json_decref(list);
}

/* What cannot be read may say anything; it must neither open nor take away what was there. */
static void test_unreadable(void **state)
{
	CLEANUP(policy_dir_freep) struct policy_dir *d = open_dir();
	const struct subject subject = { .namespace_name = "elsewhere", .name = "x" };
	const struct inventory inventory = {};
	CLEANUP(freep) uint8_t *image = NULL;
	struct diags diags = {};
	char path[128];
	size_t len;

	(void)state;
	put("a.yaml", GOOD("a"));
	assert_int_equal(policy_dir_scan(d), 1);
	assert_int_equal(compile(policy_dir_store(d), &subject, &inventory, &diags, &image, &len), 1);
	snprintf(path, sizeof(path), "%s/d.yaml", dir);
	assert_int_equal(mkdir(path, 0755), 0); /* -EISDIR */
	assert_int_equal(policy_dir_scan(d), 1);
	assert_int_equal(store_policy_count(policy_dir_store(d)), 1);
	assert_int_equal(store_refused_count(policy_dir_store(d)), 1);
	assert_int_equal(compile(policy_dir_store(d), &subject, &inventory, &diags, &image, &len), 0);
	diags_clear(&diags);
}

/* Over a restart too: a broken text must not take away what the last agent had in force. */
static void test_last_good_over_a_restart(void **state)
{
	char keep[] = "/tmp/sluice-accepted-XXXXXX", command[64];
	struct policy_dir *d = NULL;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(keep));
	fd = open(keep, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	put("a.yaml", GOOD("a"));
	assert_int_equal(policy_dir_new(dir, fd, &d), 0);
	assert_int_equal(policy_dir_scan(d), 1);
	put("a.yaml", GOOD("a") "  description: x\n  bogus: 1\n");
	assert_int_equal(policy_dir_scan(d), 1);
	policy_dir_freep(&d);
	assert_int_equal(policy_dir_new(dir, fd, &d), 0);
	assert_int_equal(policy_dir_scan(d), 1);
	assert_int_equal(store_policy_count(policy_dir_store(d)), 1);
	assert_int_equal(store_refused_count(policy_dir_store(d)), 1);
	drop("a.yaml");
	assert_int_equal(policy_dir_scan(d), 1);
	policy_dir_freep(&d);
	/* Gone is gone: a new file of that name does not find it. */
	put("a.yaml", GOOD("a") "  description: x\n  bogus: 1\n");
	assert_int_equal(policy_dir_new(dir, fd, &d), 0);
	assert_int_equal(policy_dir_scan(d), 1);
	assert_int_equal(store_policy_count(policy_dir_store(d)), 0);
	policy_dir_freep(&d);
	close(fd);
	snprintf(command, sizeof(command), "rm -r %s", keep);
	assert_int_equal(system(command), 0);
}

static void test_directory_that_goes(void **state)
{
	CLEANUP(policy_dir_freep) struct policy_dir *d = open_dir();

	(void)state;
	put("a.yaml", GOOD("a"));
	assert_int_equal(policy_dir_scan(d), 1);
	drop("a.yaml");
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(policy_dir_scan(d), -ENOENT);
	assert_int_equal(store_policy_count(policy_dir_store(d)), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_follows_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_keeps_the_last_good, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unreadable, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_last_good_over_a_restart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_directory_that_goes, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
