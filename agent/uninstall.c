/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/uninstall.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* Installed and built, the two are in one folder. */
static int find_bpfctl(char ret[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 1);
	char *slash;

	if (n < 0)
		return -errno;
	ret[n] = '\0';
	slash = strrchr(ret, '/') + 1;
	if ((size_t)snprintf(slash, (size_t)(ret + PATH_MAX - slash), "bpfctl") >= (size_t)(ret + PATH_MAX - slash))
		return -ENAMETOOLONG;
	return 0;
}

int uninstall(const char *config_path)
{
	char path[PATH_MAX];
	int r = find_bpfctl(path);

	log_info("ending; uninstalled: everything of Sluice is taken off this node");
	if (r == 0) {
		execl(path, "bpfctl", "cleanup", "--config", config_path, (char *)NULL);
		r = -errno;
	}
	log_error("bpfctl cleanup: %s; what is in force stays in force", strerror(-r));
	return r;
}
