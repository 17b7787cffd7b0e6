/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * The program is two instructions and needs nothing: no agent, no map, no pin of another's. The agent finds what is left here
 * by its place (agent/attach.c), and exchanges the program in one step.
 *
 * A link is better than a filter: nothing that is attached later by tc runs before it. On the head of its chain
 * (BPF_F_BEFORE) nothing that is there now does either.
 */
#include "tools/sluice-cni/deny.h"

#include <errno.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tools/sluice-cni/filter.h"

/* Linux 6.6; Debian 12's <linux/bpf.h> is older. */
#define TCX_INGRESS 46
#define TCX_BEFORE  (1u << 3) /* BPF_F_BEFORE */

static int bpf(enum bpf_cmd command, void *attr, unsigned int size)
{
	long r = syscall(SYS_bpf, command, attr, size);

	return r < 0 ? -errno : (int)r;
}

/* r0 = TC_ACT_SHOT, which is TCX_DROP too; exit */
static int load(void)
{
	static const struct bpf_insn drop[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = TC_ACT_SHOT },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SCHED_CLS,
		.insns = (uint64_t)(uintptr_t)drop,
		.insn_cnt = ARRAY_SIZE(drop),
		.license = (uint64_t)(uintptr_t) "GPL",
		.prog_name = "sluice_deny",
	};

	return bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
}

/* ---- links ------------------------------------------------------------------------------------------------------- */

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

static int create_link(int prog, uint32_t ifindex)
{
	struct tcx_link_create attr = {
		.prog_fd = (uint32_t)prog,
		.target_ifindex = ifindex,
		.attach_type = TCX_INGRESS,
		.flags = TCX_BEFORE,
	};

	return bpf(BPF_LINK_CREATE, &attr, sizeof(attr));
}

static int pin(int fd, const char *path)
{
	union bpf_attr attr = { .pathname = (uint64_t)(uintptr_t)path, .bpf_fd = (uint32_t)fd };

	return bpf(BPF_OBJ_PIN, &attr, sizeof(attr));
}

static int link_path(const char *pin_path, uint32_t ifindex, char buf[PATH_MAX])
{
	return snprintf(buf, PATH_MAX, "%s/links/%u-from", pin_path, ifindex) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* A link whose interface has gone says 0; `tcx.ifindex` lies where `xdp.ifindex` does, first in the union. */
static bool link_lives(const char *path, uint32_t ifindex)
{
	union bpf_attr get = { .pathname = (uint64_t)(uintptr_t)path };
	struct bpf_link_info link = {};
	_cleanup_close_ int fd = bpf(BPF_OBJ_GET, &get, sizeof(get));
	union bpf_attr info = {};

	if (fd < 0)
		return false;
	info.info.bpf_fd = (uint32_t)fd;
	info.info.info_len = sizeof(link);
	info.info.info = (uint64_t)(uintptr_t)&link;
	return bpf(BPF_OBJ_GET_INFO_BY_FD, &info, sizeof(info)) == 0 && link.xdp.ifindex == ifindex;
}

static int make_folders(const char *pin_path)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/links", pin_path) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	if ((mkdir(pin_path, 0700) < 0 && errno != EEXIST) || (mkdir(path, 0700) < 0 && errno != EEXIST))
		return -errno;
	return 0;
}

/* 0; -errno: no TCX here, or no place for the pin, without which the link would go with this process. */
static int put_link(const char *pin_path, int prog, uint32_t ifindex)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	int r = link_path(pin_path, ifindex, path);

	if (r < 0)
		return r;
	if (link_lives(path, ifindex))
		return 0;
	r = make_folders(pin_path);
	if (r < 0)
		return r;
	fd = create_link(prog, ifindex);
	if (fd < 0)
		return fd;
	unlink(path); /* of an interface that is gone, whose index this one has now */
	return pin(fd, path);
}

int deny_put(const char *pin_path, uint32_t ifindex)
{
	_cleanup_close_ int prog = load();

	if (prog < 0)
		return prog;
	return put_link(pin_path, prog, ifindex) == 0 ? 0 : filter_put(ifindex, prog);
}

bool deny_is_there(const char *pin_path, uint32_t ifindex)
{
	char path[PATH_MAX];

	return (link_path(pin_path, ifindex, path) == 0 && link_lives(path, ifindex)) || filter_is_there(ifindex);
}
