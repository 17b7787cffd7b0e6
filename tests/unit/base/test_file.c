/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"

struct place {
	char path[32];
	int fd;
};

static int make_place(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	if (!p)
		return -1;
	strcpy(p->path, "/tmp/sluice-file-XXXXXX");
	if (!mkdtemp(p->path))
		return -1;
	p->fd = open(p->path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	*state = p;
	return p->fd < 0;
}

static int remove_place(void **state)
{
	struct place *p = *state;

	unlinkat(p->fd, "f", 0);
	unlinkat(p->fd, "d", AT_REMOVEDIR);
	close(p->fd);
	rmdir(p->path);
	free(p);
	return 0;
}

static void replaces_and_reads(void **state)
{
	struct place *p = *state;
	_cleanup_free_ char *first = NULL, *second = NULL;
	struct stat st;
	size_t len;

	assert_int_equal(file_replace(p->fd, "f", "one", 3, 0644), 0);
	assert_int_equal(file_read(p->fd, "f", 100, &first, &len), 0);
	assert_string_equal(first, "one");
	assert_int_equal(file_replace(p->fd, "f", "", 0, 0600), 0);
	assert_int_equal(file_read(p->fd, "f", 100, &second, &len), 0);
	assert_int_equal(len, 0);
	assert_int_equal(fstatat(p->fd, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(faccessat(p->fd, "f.tmp", F_OK, 0), -1);
}

static void bounds_and_errors(void **state)
{
	struct place *p = *state;
	char *text = NULL;
	size_t len = 9;

	assert_int_equal(file_read(p->fd, "missing", 10, &text, &len), -ENOENT);
	assert_int_equal(mkdirat(p->fd, "d", 0755), 0);
	assert_int_equal(file_read(p->fd, "d", 10, &text, &len), -EISDIR);
	/* Would wait for ever for who writes it. */
	assert_int_equal(mkfifoat(p->fd, "f", 0644), 0);
	assert_int_equal(file_read(p->fd, "f", 10, &text, &len), -ENOTSUP);
	assert_int_equal(file_replace(p->fd, "f", "12345", 5, 0644), 0);
	assert_int_equal(file_read(p->fd, "f", 4, &text, &len), -EFBIG);
	assert_int_equal(file_replace(p->fd, "d", "x", 1, 0644), -EISDIR);
	assert_int_equal(faccessat(p->fd, "d.tmp", F_OK, 0), -1);
	assert_null(text);
	assert_int_equal(len, 9);
}

static void in_parts(void **state)
{
	struct place *p = *state;
	_cleanup_free_ char *text = NULL, *still = NULL;
	struct file_parts f = {};
	size_t len;

	file_parts_begin(&f, p->fd, "f", 0600);
	file_parts_add(&f, "on", 2);
	file_parts_add(&f, "", 0);
	assert_int_equal(faccessat(p->fd, "f", F_OK, 0), -1);
	file_parts_add(&f, "e", 1);
	assert_int_equal(file_parts_end(&f, true, true), 0);
	assert_int_equal(file_read(p->fd, "f", 100, &text, &len), 0);
	assert_string_equal(text, "one");
	file_parts_begin(&f, p->fd, "f", 0600);
	file_parts_add(&f, "two", 3);
	assert_int_equal(file_parts_end(&f, false, true), 0);
	assert_int_equal(file_read(p->fd, "f", 100, &still, &len), 0);
	assert_string_equal(still, "one");
	assert_int_equal(faccessat(p->fd, "f.tmp", F_OK, 0), -1);
	file_parts_begin(&f, -1, "f", 0600);
	file_parts_add(&f, "x", 1);
	assert_int_equal(file_parts_end(&f, true, false), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(replaces_and_reads, make_place, remove_place),
		cmocka_unit_test_setup_teardown(bounds_and_errors, make_place, remove_place),
		cmocka_unit_test_setup_teardown(in_parts, make_place, remove_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
