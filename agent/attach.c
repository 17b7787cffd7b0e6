/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * TCX: each program sits on its interface by a link, pinned as links/IFINDEX-from and links/IFINDEX-to, so that it stays
 * when the agent ends. A link of an earlier agent, or of sluice-cni, is updated to the present program in one step. A link
 * whose interface has gone has ifindex 0. New links go to the head of the chain (BPF_F_BEFORE): what runs before us could
 * end it. Debian 12's libbpf and <linux/bpf.h> know nothing of TCX; the few numbers are from include/uapi/linux/bpf.h of 6.6.
 *
 * clsact: filters, see tc.c.
 *
 * Adding to a TCX chain waits for an RCU grace period with the RTNL lock held, 8 to 20 ms a hook, in which no interface of
 * the node can be made or changed; a filter takes some 60 us. So where TCX is the way, a new interface gets filters first,
 * which enforce just the same, and kernel_settle exchanges them for links, a hook at a time, when nothing else is going on.
 * An interface that changes from one way to the other gets the new one before the old one goes.
 *
 * A program cannot be in a chain twice. To get to its head again, a second copy of the program goes there first, then the old
 * link is taken out, and the new link's program exchanged for the first copy.
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
#include "agent/tc.h"
#include "base/cleanup.h"
#include "base/log.h"

#define TCX_INGRESS 46
#define TCX_EGRESS  47
#define TCX_BEFORE  (1u << 3) /* BPF_F_BEFORE */

struct hook {
	const char *name; /* in the pin's */
	uint32_t tcx;
	enum tc_hook tc;
};

static const struct hook hooks[] = {
	{ "from", TCX_INGRESS, TC_HOOK_INGRESS }, /* what the pod sends comes in on the host's end */
	{ "to", TCX_EGRESS, TC_HOOK_EGRESS },
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

/*
 * `tcx.ifindex` lies where `xdp.ifindex` does, first in the union; of a cgroup's link (the DNS proxy's) its cgroup's id
 * stands there. Either is 0 once its object is gone.
 */
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

/* 1: there is a link, and it has the present program now; 0: none that lives. */
static int tcx_renew(const struct kernel *k, uint32_t ifindex, const struct hook *h)
{
	_cleanup_close_ int fd = -1;
	uint32_t there = 0, program = 0;
	char path[PATH_MAX];
	int prog = hook_program(k, h);
	int r = link_path(k, ifindex, h, path, sizeof(path));

	if (r < 0)
		return r;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (link_info(fd, &there, &program) < 0 || there != ifindex) {
		unlink(path);
		return 0;
	}
	return program == program_id(prog) || bpf_link_update(fd, prog, NULL) == 0 ? 1 : -errno;
}

static int tcx_attach(const struct kernel *k, uint32_t ifindex, const struct hook *h)
{
	char path[PATH_MAX];
	int r = tcx_renew(k, ifindex, h);

	if (r != 0)
		return r < 0 ? r : 0;
	r = link_path(k, ifindex, h, path, sizeof(path));
	return r < 0 ? r : tcx_create(k, ifindex, h, path);
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

/* The id of the program that runs first on the hook; 0: none, or it cannot be told. */
static uint32_t tcx_first(uint32_t ifindex, const struct hook *h)
{
	uint32_t ids[64] = {}, flags = 0, count = ARRAY_SIZE(ids);

	/* With more programs than there is room for, the kernel fills what there is and says ENOSPC. */
	if (bpf_prog_query((int)ifindex, h->tcx, 0, &flags, ids, &count) < 0 && errno != ENOSPC)
		return 0;
	return count ? ids[0] : 0;
}

static int tcx_state(const struct kernel *k, uint32_t ifindex, const struct hook *h)
{
	_cleanup_close_ int fd = -1;
	uint32_t there = 0, program = 0;
	char path[PATH_MAX];
	int r = link_path(k, ifindex, h, path, sizeof(path));

	if (r < 0)
		return r;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? ATTACH_STATE_MISSING : -errno;
	r = link_info(fd, &there, &program);
	if (r < 0)
		return r;
	if (there != ifindex || program != program_id(hook_program(k, h)))
		return ATTACH_STATE_MISSING;
	return tcx_first(ifindex, h) == program ? ATTACH_STATE_FIRST : ATTACH_STATE_BEHIND;
}

static int tcx_exchange(const struct kernel *k, const struct hook *h, const char *path, int copy, uint32_t ifindex)
{
	_cleanup_close_ int old = bpf_obj_get(path);
	_cleanup_close_ int fd = tcx_link_create(copy, ifindex, h->tcx);
	char fresh[PATH_MAX];
	int r;

	if (fd < 0)
		return fd;
	if (snprintf(fresh, sizeof(fresh), "%s_new", path) >= (int)sizeof(fresh))
		return -ENAMETOOLONG;
	unlink(fresh);
	if (bpf_obj_pin(fd, fresh) < 0)
		return -errno;
	if (old >= 0)
		bpf_link_detach(old);
	r = bpf_link_update(fd, hook_program(k, h), NULL) < 0 ? -errno : 0;
	return rename(fresh, path) < 0 ? -errno : r;
}

/* Somebody got in front of our link. */
static int tcx_move_first(const struct kernel *k, uint32_t ifindex, const struct hook *h)
{
	CLEANUP(kernel_copy_freep) struct kernel_copy *copy = NULL;
	char path[PATH_MAX];
	int r = link_path(k, ifindex, h, path, sizeof(path));

	if (r == 0)
		r = kernel_copy_open(k, &copy);
	if (r < 0)
		return r;
	return tcx_exchange(k, h, path, h == &hooks[0] ? kernel_copy_from_pod(copy) : kernel_copy_to_pod(copy),
			    ifindex);
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

static int filter_state(const struct kernel *k, uint32_t ifindex, const struct hook *h)
{
	struct tc_place place = {};
	int r = tc_find(ifindex, h->tc, &place);

	if (r < 0)
		return r;
	if (place.handle == 0 || place.program != program_id(hook_program(k, h)))
		return ATTACH_STATE_MISSING;
	/* What is on a TCX chain runs before all filters. */
	if (!place.first || (k->attach == ATTACH_TCX && tcx_first(ifindex, h)))
		return ATTACH_STATE_BEHIND;
	return ATTACH_STATE_FIRST;
}

static int hook_state(const struct kernel *k, uint32_t ifindex, const struct hook *h)
{
	int state = k->attach == ATTACH_TCX ? tcx_state(k, ifindex, h) : ATTACH_STATE_MISSING;

	return state == ATTACH_STATE_MISSING ? filter_state(k, ifindex, h) : state;
}

int kernel_attach(struct kernel *k, uint32_t ifindex)
{
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		const struct hook *h = &hooks[i];
		int r = k->attach == ATTACH_TCX ? tcx_renew(k, ifindex, h) : 0;

		if (r == 0)
			r = tc_put(ifindex, h->tc, hook_program(k, h));
		else if (r == 1)
			tc_remove(ifindex, h->tc); /* both would judge each packet twice */
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < ARRAY_SIZE(hooks) && k->attach == ATTACH_CLSACT; i++)
		tcx_detach(k, ifindex, &hooks[i]);
	return 0;
}

int kernel_close(struct kernel *k, uint32_t ifindex)
{
	const struct hook *from = &hooks[0];
	int r = k->attach == ATTACH_TCX ? tcx_renew(k, ifindex, from) : 0;

	if (r != 0)
		return r < 0 ? r : 0;
	r = tc_put(ifindex, from->tc, hook_program(k, from));
	/* Its priority may be taken by a filter of another kind. What is on a TCX chain runs before that. */
	return r < 0 && k->attach == ATTACH_TCX ? tcx_attach(k, ifindex, from) : r;
}

int kernel_settle(struct kernel *k, uint32_t ifindex)
{
	for (size_t i = 0; i < ARRAY_SIZE(hooks) && k->attach == ATTACH_TCX; i++) {
		const struct hook *h = &hooks[i];
		struct tc_place place = {};
		int r = tc_find(ifindex, h->tc, &place);

		if (r < 0)
			return r;
		if (place.handle == 0)
			continue;
		r = tcx_attach(k, ifindex, h);
		if (r < 0)
			return r;
		tc_remove(ifindex, h->tc);
		return 1;
	}
	return 0;
}

void kernel_detach(struct kernel *k, uint32_t ifindex)
{
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		tcx_detach(k, ifindex, &hooks[i]);
		tc_remove(ifindex, hooks[i].tc);
	}
}

int kernel_attached(const struct kernel *k, uint32_t ifindex)
{
	int worst = ATTACH_STATE_FIRST;

	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		int state = hook_state(k, ifindex, &hooks[i]);

		if (state < 0 || state == ATTACH_STATE_MISSING)
			return state;
		if (state == ATTACH_STATE_BEHIND)
			worst = state;
	}
	return worst;
}

bool kernel_has_plugins(const struct kernel *k, uint32_t ifindex)
{
	_cleanup_close_ int fd = -1;
	uint32_t there = 0, program = 0;
	char path[PATH_MAX];

	if (k->attach != ATTACH_TCX || link_path(k, ifindex, &hooks[0], path, sizeof(path)) < 0)
		return false;
	fd = bpf_obj_get(path);
	return fd >= 0 && link_info(fd, &there, &program) == 0 && there == ifindex &&
	       program != program_id(hook_program(k, &hooks[0]));
}

bool kernel_present(const struct kernel *k, uint32_t ifindex)
{
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		struct tc_place place = {};
		char path[PATH_MAX];

		if (link_path(k, ifindex, &hooks[i], path, sizeof(path)) == 0 && access(path, F_OK) == 0)
			return true;
		if (tc_find(ifindex, hooks[i].tc, &place) == 0 && place.handle)
			return true;
	}
	return false;
}

int kernel_repair(struct kernel *k, uint32_t ifindex)
{
	int r = kernel_attach(k, ifindex);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(hooks) && k->attach == ATTACH_TCX; i++) {
		const struct hook *h = &hooks[i];
		int state = tcx_state(k, ifindex, h);

		if (state == ATTACH_STATE_BEHIND)
			r = tcx_move_first(k, ifindex, h);
		else if (state == ATTACH_STATE_MISSING && tcx_first(ifindex, h))
			r = kernel_settle(k, ifindex) < 0 ? -EIO : 0;
	}
	return r;
}

void kernel_forget(struct kernel *k, uint32_t ifindex)
{
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		char path[PATH_MAX];

		if (link_path(k, ifindex, &hooks[i], path, sizeof(path)) == 0)
			unlink(path);
	}
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
