/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/kube/spool.h"
#include "base/cleanup.h"
#include "base/file.h"

#define PARTS 1000

struct place {
	char path[32];
	int dir;
	int done;
};

static int make_place(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	strcpy(p->path, "/tmp/spool-XXXXXX");
	if (!mkdtemp(p->path))
		return -1;
	p->dir = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->done = eventfd(0, EFD_CLOEXEC);
	*state = p;
	return p->dir < 0 || p->done < 0;
}

static int remove_place(void **state)
{
	struct place *p = *state;

	unlinkat(p->dir, "f", 0);
	close(p->dir);
	close(p->done);
	rmdir(p->path);
	free(p);
	return 0;
}

/* Numbered parts, all that fit in `all` too. The thread's end is heard before it is joined. */
static int write_parts(const struct place *p, int dir, int result, struct strbuf *all)
{
	struct kube_spool *s = NULL;
	eventfd_t ended;

	assert_int_equal(kube_spool_start(dir, "f", p->done, &s), 0);
	for (int i = 0; i < PARTS; i++) {
		struct strbuf part = {};

		strbuf_addf(&part, "%d\n", i);
		strbuf_add(all, part.data, part.len);
		kube_spool_add(s, &part);
		assert_null(part.data);
	}
	kube_spool_end(s, result);
	assert_int_equal(eventfd_read(p->done, &ended), 0);
	return kube_spool_join(&s);
}

static void is_file(const struct place *p, const char *text)
{
	_cleanup_free_ char *found = NULL;
	size_t len;

	assert_int_equal(file_read(p->dir, "f", 1 << 20, &found, &len), 0);
	assert_string_equal(found, text);
	assert_int_equal(faccessat(p->dir, "f.tmp", F_OK, 0), -1);
}

static void test_whole(void **state)
{
	CLEANUP(strbuf_clear) struct strbuf all = {};
	const struct place *p = *state;

	assert_int_equal(write_parts(p, p->dir, 0, &all), 0);
	is_file(p, all.data);
}

static void test_not_whole(void **state)
{
	CLEANUP(strbuf_clear) struct strbuf all = {};
	const struct place *p = *state;

	assert_int_equal(file_replace(p->dir, "f", "old", 3, 0600), 0);
	assert_int_equal(write_parts(p, p->dir, -EINVAL, &all), -EINVAL);
	is_file(p, "old");
}

/* The disk's trouble, and all parts are taken all the same. */
static void test_no_folder(void **state)
{
	CLEANUP(strbuf_clear) struct strbuf all = {};

	assert_int_equal(write_parts(*state, -1, 0, &all), -EBADF);
}

static void test_no_memory(void **state)
{
	const struct place *p = *state;
	struct strbuf part = { .failed = true };
	struct kube_spool *s = NULL;

	assert_int_equal(file_replace(p->dir, "f", "old", 3, 0600), 0);
	assert_int_equal(kube_spool_start(p->dir, "f", p->done, &s), 0);
	kube_spool_add(s, &part);
	kube_spool_end(s, 0);
	assert_int_equal(kube_spool_join(&s), -ENOMEM);
	is_file(p, "old");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole, make_place, remove_place),
		cmocka_unit_test_setup_teardown(test_not_whole, make_place, remove_place),
		cmocka_unit_test_setup_teardown(test_no_folder, make_place, remove_place),
		cmocka_unit_test_setup_teardown(test_no_memory, make_place, remove_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
