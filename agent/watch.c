/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "policy/array.h"

/*
 * A file that is written in place is read when its writer closes it, not before; IN_CREATE is for links, which are whole
 * from the start.
 */
#define EVENTS                                                                                                         \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF |        \
	 IN_ONLYDIR)

struct folder {
	char *path;
	int wd; /* -1: not watched */
};

struct watch {
	int fd;
	struct folder *folders;
	size_t count;
};

void watch_clear(struct watch *w)
{
	for (size_t i = 0; i < w->count; i++) {
		if (w->folders[i].wd >= 0)
			inotify_rm_watch(w->fd, w->folders[i].wd);
		free(w->folders[i].path);
	}
	free(w->folders);
	w->folders = NULL;
	w->count = 0;
}

void watch_freep(struct watch **w)
{
	if (!*w)
		return;
	watch_clear(*w);
	closep(&(*w)->fd);
	free(*w);
	*w = NULL;
}

int watch_new(struct watch **ret)
{
	CLEANUP(watch_freep) struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (w->fd < 0)
		return -errno;
	*ret = TAKE_PTR(w);
	return 0;
}

int watch_fd(const struct watch *w)
{
	return w->fd;
}

int watch_add(struct watch *w, const char *path)
{
	struct folder *f;
	char *copy;

	for (size_t i = 0; i < w->count; i++) {
		if (strcmp(w->folders[i].path, path) == 0)
			return 0;
	}
	copy = strdup(path);
	f = copy ? array_push(&w->folders, &w->count, sizeof(*f)) : NULL;
	if (!f) {
		free(copy);
		return -ENOMEM;
	}
	*f = (struct folder){ copy, inotify_add_watch(w->fd, path, EVENTS) };
	return 0;
}

int watch_add_parent(struct watch *w, const char *file)
{
	char path[PATH_MAX];
	char *slash;

	if (snprintf(path, sizeof(path), "%s", file) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	slash = strrchr(path, '/');
	if (!slash)
		return watch_add(w, ".");
	slash[slash == path] = '\0';
	return watch_add(w, path);
}

static struct folder *find_folder(struct watch *w, int wd)
{
	for (size_t i = 0; i < w->count; i++) {
		if (w->folders[i].wd == wd)
			return &w->folders[i];
	}
	return NULL;
}

/* A new name that is whole already: a symbolic link, or another hard link of a file. */
static bool is_link(const struct folder *f, const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/%s", f->path, name) >= (int)sizeof(path) || lstat(path, &st) < 0)
		return false;
	return S_ISLNK(st.st_mode) || (S_ISREG(st.st_mode) && st.st_nlink > 1);
}

static bool take_event(struct watch *w, const struct inotify_event *e)
{
	struct folder *f = find_folder(w, e->wd);

	if (e->mask & IN_Q_OVERFLOW)
		return true;
	if (!f)
		return false;
	if (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) {
		if (!(e->mask & IN_IGNORED))
			inotify_rm_watch(w->fd, f->wd);
		f->wd = -1;
		return true;
	}
	if ((e->mask & IN_CREATE) && !(e->mask & (IN_CLOSE_WRITE | IN_MOVED_TO)))
		return e->len && is_link(f, e->name);
	return true;
}

bool watch_read(struct watch *w)
{
	char buf[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool changed = false;
	ssize_t n;

	while ((n = read(w->fd, buf, sizeof(buf))) > 0) {
		for (char *at = buf; at < buf + n;) {
			const struct inotify_event *e = (const struct inotify_event *)at;

			changed = take_event(w, e) || changed;
			at += sizeof(*e) + e->len;
		}
	}
	return changed;
}

bool watch_retry(struct watch *w)
{
	bool any = false;

	for (size_t i = 0; i < w->count; i++) {
		struct folder *f = &w->folders[i];

		if (f->wd >= 0)
			continue;
		f->wd = inotify_add_watch(w->fd, f->path, EVENTS);
		any = any || f->wd >= 0;
	}
	return any;
}
