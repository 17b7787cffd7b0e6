/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/privs.h"

#include <errno.h>
#include <linux/bpf.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/cleanup.h"

static const int calls[] = {
	SCMP_SYS(accept4),	  SCMP_SYS(brk),
	SCMP_SYS(clock_gettime),  SCMP_SYS(close),
	SCMP_SYS(connect),	  SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_pwait),	  SCMP_SYS(epoll_wait),
	SCMP_SYS(exit),		  SCMP_SYS(exit_group),
	SCMP_SYS(fstat),	  SCMP_SYS(futex),
	SCMP_SYS(getpeername),	  SCMP_SYS(getpid),
	SCMP_SYS(getrandom),	  SCMP_SYS(getsockname),
	SCMP_SYS(getsockopt),	  SCMP_SYS(lseek),
	SCMP_SYS(madvise),	  SCMP_SYS(munmap),
	SCMP_SYS(newfstatat),	  SCMP_SYS(read),
	SCMP_SYS(recvfrom),	  SCMP_SYS(recvmmsg),
	SCMP_SYS(recvmsg),	  SCMP_SYS(restart_syscall),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sendmmsg),	  SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),	  SCMP_SYS(setsockopt),
	SCMP_SYS(shutdown),	  SCMP_SYS(tgkill),
	SCMP_SYS(write),	  SCMP_SYS(writev),
	SCMP_SYS(statx),	  SCMP_SYS(timerfd_settime),
};

static int allow_plain(scmp_filter_ctx ctx)
{
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Resolvers and pods, nothing else: no netlink, no packet sockets, no local ones. */
static int allow_sockets(scmp_filter_ctx ctx)
{
	int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_INET));

	return r < 0 ? r : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_INET6));
}

static int allow_bpf(scmp_filter_ctx ctx)
{
	static const int commands[] = { BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM, BPF_MAP_DELETE_ELEM,
					BPF_MAP_LOOKUP_BATCH };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(commands); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(bpf), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)commands[i]));
	return r;
}

/* Files are read only, and no memory becomes code. */
static int allow_memory_and_files(scmp_filter_ctx ctx)
{
	int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mremap), 0);
	/* O_RDONLY is 0, O_ACCMODE is 3. */
	return r < 0 ? r
		     : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, 3, 0));
}

int privs_seccomp(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!ctx)
		return -ENOMEM;
	/* A tree, not a list: it runs before every call whose arguments matter, bpf() above all. */
	r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = allow_plain(ctx);
	if (r == 0)
		r = allow_sockets(ctx);
	if (r == 0)
		r = allow_bpf(ctx);
	if (r == 0)
		r = allow_memory_and_files(ctx);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}
