/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/policy_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/accepted.h"
#include "agent/diag_log.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "policy/array.h"

#define POLICY_FILE_MAX (64u << 20)

struct policy_file {
	char *path;
	char *text; /* as last given to the store */
	size_t len;
	struct diags diags;
	bool seen; /* in the present scan */
};

struct policy_dir {
	char *path;
	int accepted;
	struct store *store;
	struct policy_file *files;
	size_t count;
};

static void file_clear(struct policy_file *f)
{
	free(f->path);
	free(f->text);
	diags_clear(&f->diags);
}

void policy_dir_freep(struct policy_dir **d)
{
	if (!*d)
		return;
	for (size_t i = 0; i < (*d)->count; i++)
		file_clear(&(*d)->files[i]);
	free((*d)->files);
	free((*d)->path);
	store_freep(&(*d)->store);
	free(*d);
	*d = NULL;
}

int policy_dir_new(const char *path, int accepted, struct policy_dir **ret)
{
	CLEANUP(policy_dir_freep) struct policy_dir *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->accepted = accepted;
	d->path = strdup(path);
	if (!d->path || store_new(&d->store) < 0)
		return -ENOMEM;
	*ret = TAKE_PTR(d);
	return 0;
}

const char *policy_dir_path(const struct policy_dir *d)
{
	return d->path;
}

struct store *policy_dir_store(const struct policy_dir *d)
{
	return d->store;
}

static struct policy_file *find_file(struct policy_dir *d, const char *path)
{
	for (size_t i = 0; i < d->count; i++) {
		if (strcmp(d->files[i].path, path) == 0)
			return &d->files[i];
	}
	return NULL;
}

static struct policy_file *add_file(struct policy_dir *d, const char *path)
{
	char *copy = strdup(path);
	struct policy_file *f = copy ? array_push(&d->files, &d->count, sizeof(*f)) : NULL;

	if (f)
		f->path = copy;
	else
		free(copy);
	return f;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Takes `text`. 1: it is another one than before. */
static int take_text(struct policy_dir *d, const char *path, char *text, size_t len)
{
	struct policy_file *f = find_file(d, path);
	int r;

	if (!f) {
		f = add_file(d, path);
		accepted_recall(d->accepted, path, d->store);
	}
	if (!f) {
		free(text);
		return -ENOMEM;
	}
	f->seen = true;
	if (f->text && f->len == len && memcmp(f->text, text, len) == 0) {
		free(text);
		return 0;
	}
	free(f->text);
	f->text = text;
	f->len = len;
	diags_clear(&f->diags);
	r = store_update(d->store, path, text, len, &f->diags);
	diag_log(&f->diags);
	if (r < 0) {
		/* Not taken: the next scan tries again. */
		log_error("%s: %s", path, strerror(-r));
		free(f->text);
		f->text = NULL;
		return r;
	}
	if (r == 0)
		accepted_keep(d->accepted, f->path, f->text, f->len);
	return 1;
}

static int scan_file(struct policy_dir *d, const char *name)
{
	char path[PATH_MAX], *text;
	size_t len;
	int r;

	if (snprintf(path, sizeof(path), "%s/%s", d->path, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	r = file_read(AT_FDCWD, path, POLICY_FILE_MAX, &text, &len);
	if (r == -ENOENT)
		return 0; /* gone since the directory was read */
	if (r < 0) {
		/* What it says is not known, so it must not open anything: as if it were no YAML. */
		log_error("%s: %s", path, strerror(-r));
		text = strdup("[");
		len = 1;
	}
	return text ? take_text(d, path, text, len) : -ENOMEM;
}

static bool is_manifest(const char *name)
{
	static const char *const endings[] = { ".yaml", ".yml", ".json" };
	const char *dot = strrchr(name, '.');

	if (name[0] == '.' || !dot)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		if (strcmp(dot, endings[i]) == 0)
			return true;
	}
	return false;
}

static int is_manifest_entry(const struct dirent *entry)
{
	return is_manifest(entry->d_name);
}

static int remove_unseen(struct policy_dir *d)
{
	size_t kept = 0;

	for (size_t i = 0; i < d->count; i++) {
		struct policy_file *f = &d->files[i];

		if (f->seen) {
			d->files[kept++] = *f;
			continue;
		}
		log_info("%s: gone, and with it what it said", f->path);
		store_remove(d->store, f->path);
		accepted_forget(d->accepted, f->path);
		file_clear(f);
	}
	if (kept == d->count)
		return 0;
	d->count = kept;
	return 1;
}

int policy_dir_scan(struct policy_dir *d)
{
	struct dirent **entries = NULL;
	int count = scandir(d->path, &entries, is_manifest_entry, alphasort), changed = 0, error = 0;

	if (count < 0)
		return -errno;
	for (size_t i = 0; i < d->count; i++)
		d->files[i].seen = false;
	for (int i = 0; i < count; i++) {
		int r = scan_file(d, entries[i]->d_name);

		changed |= r > 0;
		error = r < 0 ? r : error;
		free(entries[i]);
	}
	free(entries);
	if (error) {
		/* A file that was not taken in would otherwise be missed below and taken for gone. */
		log_error("%s: %s; files that are gone stay in force until it can be read whole", d->path,
			  strerror(-error));
		return changed;
	}
	return remove_unseen(d) || changed;
}

/* ---- for bpfctl -------------------------------------------------------------------------------------------------- */

static json_t *diagnostics_json(const struct policy_dir *d, const char *file)
{
	const struct policy_file *f = find_file((struct policy_dir *)d, file);
	json_t *list = json_array();

	for (size_t i = 0; f && i < f->diags.count; i++) {
		char line[1024];

		json_array_append_new(list, json_string(diag_format(&f->diags.items[i], line, sizeof(line))));
	}
	return list;
}

json_t *policy_dir_json(const struct policy_dir *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < store_entry_count(d->store); i++) {
		struct store_entry e;

		store_entry_at(d->store, i, &e);
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:i, s:b, s:b, s:o}", "policy", e.policy, "kind", e.kind,
					"file", e.file, "line", (int)e.line, "refused", e.refused, "last_good",
					e.last_good, "diagnostics",
					e.refused || e.last_good ? diagnostics_json(d, e.file) : json_array()));
	}
	return list;
}
