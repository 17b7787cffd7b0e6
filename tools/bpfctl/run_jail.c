/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * The programs hold every socket made in the cgroup, so what is left to a hostile command is to be elsewhere, to send
 * beneath IP, or to take the programs off (hazard 31). In this order:
 *
 *  1. it enters its cgroup, which becomes the root of a cgroup namespace, so that a fresh mount shows nothing above it
 *  2. in a mount namespace of its own cgroup2 is read-only (root may write cgroup.procs by its file mode, without any
 *     capability), pinned BPF objects are out of sight (likewise), and so is the run's own folder
 *  3. it gives up the capabilities that undo 2, see or send frames, or change the host's network; and, by no_new_privs
 *     and the bounding set, what would give them back
 *  4. open descriptors beyond the three standard ones are closed
 *
 * What stays: a command that runs as root owns the host's files, and can have something else do its sending. --user is for
 * code that one does not trust.
 */
#include "tools/bpfctl/run_jail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "tools/bpfctl/ctl.h"

#define MOUNTS_MAX (1u << 20)

#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#endif
#ifndef CAP_BPF
#define CAP_BPF 39
#endif

static const unsigned char given_up[] = {
	CAP_NET_RAW,	CAP_NET_ADMIN,	  CAP_SYS_ADMIN,       CAP_BPF,	  CAP_PERFMON,	CAP_SYS_PTRACE,
	CAP_SYS_MODULE, CAP_SYS_RAWIO,	  CAP_DAC_READ_SEARCH, CAP_MKNOD, CAP_SYS_BOOT, CAP_SYS_CHROOT,
	CAP_MAC_ADMIN,	CAP_MAC_OVERRIDE, CAP_SYS_TIME,
};

static int failed(const char *what)
{
	int r = -errno;

	ctl_error("%s: %s", what, strerror(-r));
	return r;
}

/* ---- where it is ------------------------------------------------------------------------------------------------- */

static int enter_cgroup(const char *path)
{
	char file[PATH_MAX];
	_cleanup_close_ int fd = -1;

	if (snprintf(file, sizeof(file), "%s/cgroup.procs", path) >= (int)sizeof(file))
		return -ENAMETOOLONG;
	fd = open(file, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, "0", 1) != 1 ? failed(file) : 0;
}

static int make_readonly(const char *path)
{
	const unsigned long flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

	return mount(NULL, path, NULL, flags, NULL) < 0 ? failed(path) : 0;
}

/* Something empty and read-only over it. */
static int hide(const char *path)
{
	return mount("none", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0,mode=0555") < 0
		       ? failed(path)
		       : 0;
}

/* A line of mountinfo, proc(5). A mount point with blanks is written with octal escapes; ours have none. */
static int close_mount(const char *line)
{
	const char *type = strstr(line, " - ");
	char point[PATH_MAX];

	if (!type || sscanf(line, "%*d %*d %*s %*s %4095s", point) != 1)
		return 0;
	if (strncmp(type, " - cgroup2 ", 11) == 0)
		return make_readonly(point);
	return strncmp(type, " - bpf ", 7) == 0 ? hide(point) : 0;
}

static int close_mounts(const char *folder)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (unshare(CLONE_NEWNS | CLONE_NEWCGROUP) < 0)
		return failed("a mount and a cgroup namespace");
	/* What is mounted on the host later shows here, nothing of ours there. */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return failed("/");
	r = file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTS_MAX, &text, &len);
	for (char *line = r == 0 ? strtok(text, "\n") : NULL; r == 0 && line; line = strtok(NULL, "\n"))
		r = close_mount(line);
	return r == 0 ? hide(folder) : r;
}

/* ---- what it may ------------------------------------------------------------------------------------------------- */

static int drop_bounds(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(given_up); i++) {
		if (prctl(PR_CAPBSET_DROP, given_up[i], 0, 0, 0) < 0 && errno != EINVAL)
			return failed("the bounding set");
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return failed("privileges");
	return 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {};

	if (syscall(SYS_capget, &header, data) < 0)
		return failed("capabilities");
	for (size_t i = 0; i < ARRAY_SIZE(given_up); i++) {
		struct __user_cap_data_struct *d = &data[given_up[i] / 32];
		__u32 bit = 1u << given_up[i] % 32;

		d->effective &= ~bit;
		d->permitted &= ~bit;
		d->inheritable &= ~bit;
	}
	return syscall(SYS_capset, &header, data) < 0 ? failed("capabilities") : 0;
}

static int become(const char *user)
{
	char *end = NULL;
	unsigned long id = strtoul(user, &end, 10);
	const struct passwd *pw = user[0] && !*end ? getpwuid((uid_t)id) : getpwnam(user);

	if (!pw && (!user[0] || *end)) {
		ctl_error("no user '%s'", user);
		return -EINVAL;
	}
	if (pw ? initgroups(pw->pw_name, pw->pw_gid) < 0 : setgroups(0, NULL) < 0)
		return failed("groups");
	if (setresgid(pw ? pw->pw_gid : (gid_t)id, pw ? pw->pw_gid : (gid_t)id, pw ? pw->pw_gid : (gid_t)id) < 0 ||
	    setresuid(pw ? pw->pw_uid : (uid_t)id, pw ? pw->pw_uid : (uid_t)id, pw ? pw->pw_uid : (uid_t)id) < 0)
		return failed(user);
	if (pw) {
		setenv("HOME", pw->pw_dir, 1);
		setenv("USER", pw->pw_name, 1);
		setenv("LOGNAME", pw->pw_name, 1);
	}
	return 0;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

int run_jail_check_stdio(void)
{
	static const char *const names[] = { "input", "output", "error" };

	for (int fd = 0; fd < 3; fd++) {
		socklen_t len = sizeof(int);
		int domain = AF_UNIX;

		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain != AF_UNIX) {
			ctl_error("standard %s is a network socket, which no policy of the command's could hold",
				  names[fd]);
			return -EINVAL;
		}
	}
	return 0;
}

static int prepare(const struct run_jail *j)
{
	int r = enter_cgroup(j->cgroup);

	if (r == 0)
		r = close_mounts(j->hidden);
	if (r == 0)
		r = drop_bounds();
	if (r == 0 && j->user)
		r = become(j->user);
	if (r == 0)
		r = drop_capabilities();
	if (r == 0 && close_range(3, ~0u, 0) < 0)
		r = failed("open descriptors");
	return r;
}

int run_jail_exec(const struct run_jail *j)
{
	if (prepare(j) < 0)
		return RUN_JAIL_FAILED;
	sigprocmask(SIG_SETMASK, &j->signals, NULL);
	execvp(j->command[0], (char *const *)(uintptr_t)j->command);
	ctl_error("%s: %s", j->command[0], strerror(errno));
	return errno == ENOENT ? RUN_JAIL_NOT_FOUND : RUN_JAIL_NOT_EXECUTABLE;
}
