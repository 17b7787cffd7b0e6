/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/watch.h"
#include "base/cleanup.h"
#include "base/file.h"

static char dir[64], path[128], other[128];

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/sluice-watch-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/file", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	unlink(other);
	rmdir(dir);
	return 0;
}

static void put(const char *name)
{
	assert_int_equal(file_replace(AT_FDCWD, name, "x", 1, 0644), 0);
}

static void test_changes(void **state)
{
	CLEANUP(watch_freep) struct watch *w = NULL;
	int fd;

	(void)state;
	assert_int_equal(watch_new(&w), 0);
	assert_int_equal(watch_add_parent(w, path), 0);
	assert_false(watch_read(w));
	put(path);
	assert_true(watch_read(w));
	assert_false(watch_read(w));
	assert_int_equal(unlink(path), 0);
	assert_true(watch_read(w));
	/* Half-written files are left alone until they are closed; links are whole. */
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_false(watch_read(w));
	assert_int_equal(write(fd, "x", 1), 1);
	assert_false(watch_read(w));
	close(fd);
	assert_true(watch_read(w));
	assert_int_equal(symlink(path, other), 0);
	assert_true(watch_read(w));
}

static void test_folder_that_comes_and_goes(void **state)
{
	CLEANUP(watch_freep) struct watch *w = NULL;

	(void)state;
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(watch_new(&w), 0);
	assert_int_equal(watch_add(w, dir), 0);
	assert_false(watch_retry(w));
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_true(watch_retry(w));
	put(path);
	assert_true(watch_read(w));
	unlink(path);
	assert_int_equal(rmdir(dir), 0);
	assert_true(watch_read(w));
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_true(watch_retry(w));
	put(path);
	assert_true(watch_read(w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_changes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_folder_that_comes_and_goes, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
