/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * TCX: each program sits on its interface by a link, pinned as links/IFINDEX-from and links/IFINDEX-to, so that it stays
 * when the agent ends. A link of an earlier agent is updated to the present program in one step. A link whose interface
 * has gone has ifindex 0. New links go to the head of the chain (BPF_F_BEFORE): what runs before us could end it.
 * Debian 12's libbpf and <linux/bpf.h> know nothing of TCX; the few numbers are from include/uapi/linux/bpf.h of 6.6.
 *
 * clsact: a filter of priority 1 with a handle of our own (the AWS agent deletes handle 1), replaced in one step.
 *
 * An interface that changes from one way to the other gets the new one before the old one goes.
 */
#include "agent/attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/kernel.h"
#include "base/cleanup.h"
#include "base/log.h"

#define TCX_INGRESS 46
#define TCX_EGRESS  47
#define TCX_BEFORE  (1u << 3) /* BPF_F_BEFORE */

struct hook {
	const char *name; /* in the pin's */
	uint32_t tcx;
	enum bpf_tc_attach_point tc;
};

static const struct hook hooks[] = {
	{ "from", TCX_INGRESS, BPF_TC_INGRESS }, /* what the pod sends comes in on the host's end */
	{ "to", TCX_EGRESS, BPF_TC_EGRESS },
};

static int hook_program(const struct kernel *k, const struct hook *h)
{
	return h == &hooks[0] ? k->from_pod : k->to_pod;
}

static uint32_t program_id(int fd)
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) == 0 ? info.id : 0;
}

/* ---- TCX --------------------------------------------------------------------------------------------------------- */

/* union bpf_attr's link_create with the `tcx` member. */
struct tcx_link_create {
	uint32_t prog_fd;
	uint32_t target_ifindex;
	uint32_t attach_type;
	uint32_t flags;
	uint32_t relative_fd_or_id;
	uint32_t pad;
	uint64_t expected_revision;
};

static int tcx_link_create(int prog, uint32_t ifindex, uint32_t type)
{
	struct tcx_link_create attr = {
		.prog_fd = (uint32_t)prog,
		.target_ifindex = ifindex,
		.attach_type = type,
		.flags = TCX_BEFORE,
	};
	long fd = syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));

	return fd < 0 ? -errno : (int)fd;
}

int attach_choose(enum attach_mode wanted, int prog, enum attach_mode *ret)
{
	int fd;

	if (wanted == ATTACH_CLSACT) {
		*ret = ATTACH_CLSACT;
		return 0;
	}
	/* On an interface that cannot exist: a kernel with TCX says ENODEV, one without does not know the type. */
	fd = tcx_link_create(prog, INT_MAX, TCX_INGRESS);
	if (fd >= 0)
		close(fd);
	if (fd >= 0 || fd == -ENODEV) {
		*ret = ATTACH_TCX;
		return 0;
	}
	if (wanted == ATTACH_TCX) {
		log_error("bpf.attach is tcx, and this kernel has none (%s); it came with 6.6", strerror(-fd));
		return -EOPNOTSUPP;
	}
	*ret = ATTACH_CLSACT;
	return 0;
}

static int link_path(const struct kernel *k, uint32_t ifindex, const struct hook *h, char *buf, size_t size)
{
	return snprintf(buf, size, "%s/links/%u-%s", k->pin_path, ifindex, h->name) < (int)size ? 0 : -ENAMETOOLONG;
}

/* `tcx.ifindex` lies where `xdp.ifindex` does, first in the union; 0 once the interface has gone. */
static int link_info(int fd, uint32_t *ret_ifindex, uint32_t *ret_program)
{
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	*ret_ifindex = info.xdp.ifindex;
	*ret_program = info.prog_id;
	return 0;
}

static int tcx_create(const struct kernel *k, uint32_t ifindex, const struct hook *h, const char *path)
{
	_cleanup_close_ int fd = tcx_link_create(hook_program(k, h), ifindex, h->tcx);

	if (fd < 0)
		return fd;
	return bpf_obj_pin(fd, path) < 0 ? -errno : 0;
}

static int tcx_attach(const struct kernel *k, uint32_t ifindex, const struct hook *h)
{
	_cleanup_close_ int fd = -1;
	uint32_t there = 0, program = 0;
	char path[PATH_MAX];
	int r = link_path(k, ifindex, h, path, sizeof(path));

	if (r < 0)
		return r;
	fd = bpf_obj_get(path);
	if (fd >= 0 && link_info(fd, &there, &program) == 0 && there == ifindex) {
		int prog = hook_program(k, h);

		return program == program_id(prog) || bpf_link_update(fd, prog, NULL) == 0 ? 0 : -errno;
	}
	if (fd >= 0)
		unlink(path);
	return tcx_create(k, ifindex, h, path);
}

static void tcx_detach(const struct kernel *k, uint32_t ifindex, const struct hook *h)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];

	if (link_path(k, ifindex, h, path, sizeof(path)) < 0)
		return;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return;
	bpf_link_detach(fd);
	unlink(path);
}

static int tcx_attached(const struct kernel *k, uint32_t ifindex, const struct hook *h)
{
	_cleanup_close_ int fd = -1;
	uint32_t there = 0, program = 0;
	char path[PATH_MAX];
	int r = link_path(k, ifindex, h, path, sizeof(path));

	if (r < 0)
		return r;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	r = link_info(fd, &there, &program);
	return r < 0 ? r : there == ifindex && program == program_id(hook_program(k, h));
}

/* ---- clsact ------------------------------------------------------------------------------------------------------ */

static int tc_attach(const struct kernel *k, uint32_t ifindex, const struct hook *h)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = SLUICE_TC_HANDLE, .priority = SLUICE_TC_PRIORITY,
		    .prog_fd = hook_program(k, h), .flags = BPF_TC_F_REPLACE);
	libbpf_print_fn_t print = libbpf_set_print(NULL); /* that it is there already is no mishap */
	int r = bpf_tc_hook_create(&hook);

	libbpf_set_print(print);
	if (r < 0 && r != -EEXIST)
		return r;
	hook.attach_point = h->tc;
	return bpf_tc_attach(&hook, &opts);
}

static uint32_t tc_program(uint32_t ifindex, const struct hook *h)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = h->tc);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = SLUICE_TC_HANDLE, .priority = SLUICE_TC_PRIORITY);
	libbpf_print_fn_t print = libbpf_set_print(NULL); /* that there is none is an answer, not a mishap */
	int r = bpf_tc_query(&hook, &opts);

	libbpf_set_print(print);
	return r == 0 ? opts.prog_id : 0;
}

static void tc_detach(uint32_t ifindex, const struct hook *h)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = h->tc);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = SLUICE_TC_HANDLE, .priority = SLUICE_TC_PRIORITY);

	if (tc_program(ifindex, h))
		bpf_tc_detach(&hook, &opts);
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

int kernel_attach(struct kernel *k, uint32_t ifindex)
{
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		const struct hook *h = &hooks[i];
		int r = k->attach == ATTACH_TCX ? tcx_attach(k, ifindex, h) : tc_attach(k, ifindex, h);

		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		if (k->attach == ATTACH_TCX)
			tc_detach(ifindex, &hooks[i]);
		else
			tcx_detach(k, ifindex, &hooks[i]);
	}
	return 0;
}

void kernel_detach(struct kernel *k, uint32_t ifindex)
{
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		tcx_detach(k, ifindex, &hooks[i]);
		tc_detach(ifindex, &hooks[i]);
	}
}

int kernel_attached(const struct kernel *k, uint32_t ifindex)
{
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		const struct hook *h = &hooks[i];
		int r = k->attach == ATTACH_TCX ? tcx_attached(k, ifindex, h)
						: tc_program(ifindex, h) == program_id(hook_program(k, h));

		if (r <= 0)
			return r;
	}
	return 1;
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

void kernel_prune_links(struct kernel *k)
{
	CLEANUP(closedirp) DIR *dir = NULL;
	char path[PATH_MAX];
	struct dirent *entry;

	if (snprintf(path, sizeof(path), "%s/links", k->pin_path) >= (int)sizeof(path))
		return;
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		_cleanup_close_ int fd = -1;
		uint32_t ifindex = 0, program = 0;
		char full[PATH_MAX];

		if (entry->d_name[0] == '.' ||
		    snprintf(full, sizeof(full), "%s/%s", path, entry->d_name) >= (int)sizeof(full))
			continue;
		fd = bpf_obj_get(full);
		if (fd >= 0 && link_info(fd, &ifindex, &program) == 0 && ifindex == 0)
			unlink(full);
	}
}
