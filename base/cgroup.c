/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

#define PROC_MAX  (1 << 20)
#define DEPTH_MAX 32

/* "0::/path" is the line of cgroup2, whether other hierarchies are mounted or not (cgroups(7)). Cuts `text` up. */
static const char *own_line(char *text)
{
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (strncmp(line, "0::", 3) == 0)
			return line + 3;
	return NULL;
}

struct mount {
	char root[PATH_MAX]; /* the part of the tree that it shows; from within a cgroup namespace perhaps "/../.." */
	char point[PATH_MAX];
};

/* proc(5): "36 35 98:0 /root /mount/point options [fields] - type source options". */
static bool read_mount(const char *line, struct mount *ret)
{
	const char *type = strstr(line, " - ");

	return type && strncmp(type, " - cgroup2 ", 11) == 0 &&
	       sscanf(line, "%*d %*d %*s %4095s %4095s", ret->root, ret->point) == 2;
}

/* Where the mount shows `path`. */
static bool join(const struct mount *m, const char *path, char *ret, size_t size)
{
	size_t len = strcmp(m->root, "/") == 0 ? 0 : strlen(m->root);

	if (strncmp(path, m->root, len) != 0 || (path[len] != '/' && path[len] != '\0'))
		return false;
	path += len;
	return snprintf(ret, size, "%s%s", m->point, strcmp(path, "/") == 0 ? "" : path) < (int)size;
}

/* Processes of other pid namespaces are listed as 0. */
static bool lists_me(const char *path)
{
	_cleanup_free_ char *text = NULL;
	char procs[PATH_MAX];
	size_t len;

	if (snprintf(procs, sizeof(procs), "%s/cgroup.procs", path) >= (int)sizeof(procs) ||
	    file_read(AT_FDCWD, procs, PROC_MAX, &text, &len) < 0)
		return false;
	for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (strtol(line, NULL, 10) == getpid())
			return true;
	return false;
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* From `path` down to the cgroup that lists this process, which `path` becomes; each process is in one. */
static bool find_me(char *path, size_t size, unsigned int depth)
{
	CLEANUP(closedirp) DIR *dir = NULL;
	size_t len = strlen(path);
	struct dirent *entry;

	if (lists_me(path))
		return true;
	dir = depth < DEPTH_MAX ? opendir(path) : NULL;
	while (dir && (entry = readdir(dir))) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		if (snprintf(path + len, size - len, "/%s", entry->d_name) < (int)(size - len) &&
		    find_me(path, size, depth + 1))
			return true;
		path[len] = '\0';
	}
	return false;
}

/*
 * From within a cgroup namespace this process's path begins at the namespace's root, and a mount from outside shows more than
 * that: there it is looked for.
 */
int cgroup_own_path(char *ret, size_t size)
{
	_cleanup_free_ char *cgroups = NULL, *mounts = NULL;
	char outside[PATH_MAX] = "";
	const char *path;
	size_t len;
	int r = file_read(AT_FDCWD, "/proc/self/cgroup", PROC_MAX, &cgroups, &len);

	if (r == 0)
		r = file_read(AT_FDCWD, "/proc/self/mountinfo", PROC_MAX, &mounts, &len);
	if (r < 0)
		return r;
	path = own_line(cgroups);
	for (char *line = strtok(mounts, "\n"); path && line; line = strtok(NULL, "\n")) {
		struct mount m;

		if (!read_mount(line, &m))
			continue;
		if (join(&m, path, ret, size))
			return 0;
		if (strncmp(m.root, "/..", 3) == 0)
			strcpy(outside, m.point);
	}
	if (!outside[0] || strlen(outside) >= size)
		return -ENOENT;
	strcpy(ret, outside);
	return find_me(ret, size, 0) ? 0 : -ENOENT;
}

/* The root has no such file, whatever a cgroup namespace makes it look like. */
bool cgroup_is_root(int dir)
{
	return faccessat(dir, "cgroup.events", F_OK, 0) < 0;
}

int cgroup_root_path(char *ret, size_t size)
{
	_cleanup_free_ char *mounts = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, "/proc/self/mountinfo", PROC_MAX, &mounts, &len);
	int found = -ENOENT;

	if (r < 0)
		return r;
	for (char *line = strtok(mounts, "\n"); line; line = strtok(NULL, "\n")) {
		_cleanup_close_ int dir = -1;
		char point[PATH_MAX];
		struct statfs fs;
		const char *type = strstr(line, " - ");

		if (!type || strncmp(type, " - cgroup2 ", 11) != 0 ||
		    sscanf(line, "%*d %*d %*s %*s %4095s", point) != 1)
			continue;
		dir = open(point, O_PATH | O_DIRECTORY | O_CLOEXEC);
		/* What is mounted over it by now may be anything. */
		if (dir < 0 || fstatfs(dir, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
			continue;
		if (cgroup_is_root(dir))
			return snprintf(ret, size, "%s", point) < (int)size ? 0 : -ENAMETOOLONG;
		found = -EXDEV;
	}
	return found;
}

/* Up from `dir` until the root, which has no cgroup.events. */
static int count_levels(int dir, uint32_t *ret)
{
	_cleanup_close_ int at = fcntl(dir, F_DUPFD_CLOEXEC, 3);
	uint32_t level = 0;

	while (at >= 0 && !cgroup_is_root(at)) {
		int up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		struct statfs fs;

		/* A mount of a part of the tree: how far it is to the root cannot be seen. */
		if (up >= 0 && (fstatfs(up, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)) {
			close(up);
			return -EXDEV;
		}
		close(at);
		at = up;
		level++;
	}
	if (at < 0)
		return -errno;
	*ret = level;
	return 0;
}

int cgroup_identify(const char *path, uint64_t *ret_id, uint32_t *ret_level)
{
	_cleanup_close_ int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;
	struct stat st;
	int r;

	if (dir < 0 || fstatfs(dir, &fs) < 0 || fstat(dir, &st) < 0)
		return -errno;
	if (fs.f_type != CGROUP2_SUPER_MAGIC)
		return -EINVAL;
	r = count_levels(dir, ret_level);
	if (r == 0)
		*ret_id = st.st_ino;
	return r;
}
