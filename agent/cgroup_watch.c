/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cgroup_watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"

#define PROCS_MAX  (1u << 20)
#define STATUS_MAX 16384
#define MAX_DEPTH  16

static const struct {
	unsigned int bit;
	const char *name;
} capabilities[] = {
	{ CAP_NET_RAW, "CAP_NET_RAW" },
	{ CAP_NET_ADMIN, "CAP_NET_ADMIN" },
	{ CAP_SYS_ADMIN, "CAP_SYS_ADMIN" },
};

/* The permitted set counts: it can be made effective at will. One that ended meanwhile is none. */
static bool pid_escapes(long pid, char *buf, size_t size)
{
	_cleanup_free_ char *text = NULL;
	const char *line, *name;
	unsigned long long set;
	char path[64];
	size_t len;

	snprintf(path, sizeof(path), "/proc/%ld/status", pid);
	if (file_read(AT_FDCWD, path, STATUS_MAX, &text, &len) < 0)
		return false;
	line = strstr(text, "\nCapPrm:");
	if (!line)
		return false;
	set = strtoull(line + strlen("\nCapPrm:"), NULL, 16);
	name = strncmp(text, "Name:\t", 6) == 0 ? text + 6 : "?";
	for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++) {
		if (!(set & 1ull << capabilities[i].bit))
			continue;
		snprintf(buf, size, "process %ld (%.*s) has %s", pid, (int)strcspn(name, "\n"), name,
			 capabilities[i].name);
		return true;
	}
	return false;
}

static int scan_procs(int dir, char *buf, size_t size)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(dir, "cgroup.procs", PROCS_MAX, &text, &len);

	if (r < 0)
		return r;
	for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1) {
		if (pid_escapes(strtol(at, NULL, 10), buf, size))
			return 1;
	}
	return 0;
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int scan(int parent, const char *name, int depth, char *buf, size_t size)
{
	CLEANUP(closedirp) DIR *dir = NULL;
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r;
	const struct dirent *entry;

	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return -errno;
	r = scan_procs(dirfd(dir), buf, size);
	while (r == 0 && depth < MAX_DEPTH && (entry = readdir(dir))) {
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			r = scan(dirfd(dir), entry->d_name, depth + 1, buf, size);
	}
	/* Removed while we looked. */
	return r == -ENOENT && depth > 0 ? 0 : r;
}

int cgroup_watch_escape(const char *path, char *buf, size_t size)
{
	return scan(AT_FDCWD, path, 0, buf, size);
}
