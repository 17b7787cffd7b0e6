/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The links are pinned and not held: what is taken over later could close a descriptor, but has no way to the pins. They
 * end with the cgroup; the agent removes the pins of those that have, `bpfctl cleanup` all.
 */
#include "dnsproxy/confine.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "bpf/abi.h"

#define PROC_MAX (1 << 20)

struct hook {
	const char *program;
	enum bpf_attach_type type;
};

static const struct hook hooks[] = {
	{ SLUICE_PROG_PROXY_SENDMSG4, BPF_CGROUP_UDP4_SENDMSG },
	{ SLUICE_PROG_PROXY_SENDMSG6, BPF_CGROUP_UDP6_SENDMSG },
	{ SLUICE_PROG_PROXY_EGRESS, BPF_CGROUP_INET_EGRESS },
};

/* ---- which cgroup ------------------------------------------------------------------------------------------------ */

/* A filter on a shared one (a login's, a shell's) would cut off others. */
static bool is_alone(int dir)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (file_read(dir, "cgroup.procs", PROC_MAX, &text, &len) < 0)
		return false;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (strtol(line, NULL, 10) != getpid())
			return false;
	return true;
}

/* ---- the programs on it ------------------------------------------------------------------------------------------ */

static int open_program(const char *pin_path, const struct hook *h)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s/programs/%s", pin_path, h->program) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

/* A cgroup's id is its inode number. */
static int link_path(const char *pin_path, int cgroup, const struct hook *h, char *ret, size_t size)
{
	struct stat st;

	if (fstat(cgroup, &st) < 0)
		return -errno;
	return snprintf(ret, size, "%s/links/proxy-%llx-%s", pin_path, (unsigned long long)st.st_ino, h->program) <
			       (int)size
		       ? 0
		       : -ENAMETOOLONG;
}

static int attach(const char *pin_path, int cgroup, const struct hook *h)
{
	_cleanup_close_ int program = open_program(pin_path, h), there = -1, link = -1;
	char path[PATH_MAX];
	int r;

	if (program < 0)
		return program;
	r = link_path(pin_path, cgroup, h, path, sizeof(path));
	if (r < 0)
		return r;
	/* An earlier proxy's, here: the program may be a newer one since. */
	there = bpf_obj_get(path);
	if (there >= 0 && bpf_link_update(there, program, NULL) == 0)
		return 0;
	link = bpf_link_create(program, cgroup, h->type, NULL);
	if (link < 0)
		return -errno;
	unlink(path);
	return bpf_obj_pin(link, path) < 0 ? -errno : 0;
}

static bool is_attached(const char *pin_path, int cgroup)
{
	char path[PATH_MAX];

	return link_path(pin_path, cgroup, &hooks[ARRAY_SIZE(hooks) - 1], path, sizeof(path)) == 0 &&
	       access(path, F_OK) == 0;
}

int confine(const char *pin_path)
{
	_cleanup_close_ int cgroup = -1;
	char path[PATH_MAX] = "";
	int r = cgroup_own_path(path, sizeof(path));

	if (r == 0) {
		cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = cgroup < 0 ? -errno : 0;
	}
	if (r < 0) {
		log_warning("no egress filter: no cgroup2 found: %s", strerror(-r));
		return r;
	}
	if (cgroup_is_root(cgroup) || (!is_alone(cgroup) && !is_attached(pin_path, cgroup))) {
		log_warning("no egress filter: cgroup %s is not the proxy's own", path);
		return -EPERM;
	}
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		r = attach(pin_path, cgroup, &hooks[i]);
		if (r == -ENOENT)
			log_warning("no egress filter: the agent has pinned no %s", hooks[i].program);
		else if (r < 0)
			log_error("no egress filter: %s on %s: %s", hooks[i].program, path, strerror(-r));
		if (r < 0)
			return r;
	}
	log_info("cgroup %s lets out queries to the resolvers and answers, nothing else", path);
	return 0;
}
