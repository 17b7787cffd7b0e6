/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/privs.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static int set_limits(void)
{
	const struct rlimit files = { 4096, 4096 }, none = { 0, 0 };

	if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_CORE, &none) < 0 ||
	    setrlimit(RLIMIT_NPROC, &none) < 0)
		return -errno;
	return 0;
}

static int clear_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int privs_drop(int dir)
{
	int r = set_limits();

	if (r < 0)
		return r;
	if (fchdir(dir) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return -errno;
	if (setgroups(0, NULL) < 0 || setresgid(PRIVS_NOBODY, PRIVS_NOBODY, PRIVS_NOBODY) < 0 ||
	    setresuid(PRIVS_NOBODY, PRIVS_NOBODY, PRIVS_NOBODY) < 0)
		return -errno;
	r = clear_capabilities();
	if (r < 0)
		return r;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}
