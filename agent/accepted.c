/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/accepted.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/api.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/siphash.h"

#define NAME_FORMAT "%016llx" API_ACCEPTED_ENDING
#define NAME_SIZE   32
#define TEXT_MAX    (64u << 20)

/* Of one source; another directory's file of that name has another. */
static void name_of(const char *source, char ret[NAME_SIZE])
{
	static const uint64_t key[2];

	snprintf(ret, NAME_SIZE, NAME_FORMAT, (unsigned long long)siphash24(source, strlen(source), key));
}

void accepted_keep(int dir, const char *source, const char *text, size_t len)
{
	char name[NAME_SIZE];
	int r;

	name_of(source, name);
	r = dir < 0 ? 0 : file_replace(dir, name, text, len, 0600);
	if (r < 0)
		log_warning("%s: cannot be kept for the next start: %s", source, strerror(-r));
}

void accepted_forget(int dir, const char *source)
{
	char name[NAME_SIZE];

	name_of(source, name);
	if (dir >= 0)
		unlinkat(dir, name, 0);
}

int accepted_read(int dir, const char *source, char **ret, size_t *ret_len)
{
	char name[NAME_SIZE];

	name_of(source, name);
	return dir < 0 ? -ENOENT : file_read(dir, name, TEXT_MAX, ret, ret_len);
}

void accepted_recall(int dir, const char *source, struct store *store)
{
	_cleanup_free_ char *text = NULL;
	struct diags ignored = {};
	size_t len;

	if (accepted_read(dir, source, &text, &len) == 0)
		store_update(store, source, text, len, &ignored);
	diags_clear(&ignored);
}
