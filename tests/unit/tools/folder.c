/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/tools/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"

void folder_make(struct folder *f)
{
	*f = (struct folder){ .path = "/tmp/sluice-test-XXXXXX" };
	assert_non_null(mkdtemp(f->path));
}

const char *folder_add(struct folder *f, const char *name, const char *text)
{
	_cleanup_fclose_ FILE *file = NULL;
	char *path = NULL;

	assert_true(f->count < ARRAY_SIZE(f->files));
	assert_true(asprintf(&path, "%s/%s", f->path, name) > 0);
	f->files[f->count++] = path;
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
	return path;
}

void folder_remove(struct folder *f)
{
	for (size_t i = 0; i < f->count; i++) {
		unlink(f->files[i]);
		free(f->files[i]);
	}
	rmdir(f->path);
	f->count = 0;
}
