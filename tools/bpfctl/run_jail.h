/* SPDX-License-Identifier: Apache-2.0 */
/* What a command of `bpfctl run` becomes between fork and exec. */
#ifndef SLUICE_TOOLS_BPFCTL_RUN_JAIL_H
#define SLUICE_TOOLS_BPFCTL_RUN_JAIL_H

#include <signal.h>
#include <sys/types.h>

struct run_jail {
	const char *cgroup;   /* the command's; its programs are on it already */
	const char *hidden;   /* the run's own folder, which the command shall not change */
	const char *user;     /* name or number; NULL: stays who it is */
	sigset_t signals;     /* the mask it starts with */
	const char **command; /* NULL-terminated */
};

enum {
	RUN_JAIL_FAILED = 125, /* as env(1) and their like: it could not be started */
	RUN_JAIL_NOT_EXECUTABLE = 126,
	RUN_JAIL_NOT_FOUND = 127,
};

/*
 * Enters the cgroup, puts itself where it cannot leave it, gives up what gets past its programs, and becomes the command.
 * Returns only when that failed, with the exit code; the reason is on stderr.
 */
int run_jail_exec(const struct run_jail *j);

/* No network socket may come along as standard input, output or error. 0; -EINVAL with a message. */
int run_jail_check_stdio(void);

#endif
