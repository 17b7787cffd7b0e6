/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/node_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/api.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "tools/bpfctl/ctl.h"

#define CONFIG_MAX (1u << 20)

static int read_config(const char *path, struct config **ret)
{
	CLEANUP(diags_clear) struct diags diags = {};
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read_stream(AT_FDCWD, path, CONFIG_MAX, &text, &len);

	if (r < 0) {
		ctl_error("%s: %s", path, strerror(-r));
		return r;
	}
	r = config_read(path, text, len, &diags, ret);
	for (size_t i = 0; i < diags.count; i++) {
		char line[1024];

		ctl_error("%s", diag_format(&diags.items[i], line, sizeof(line)));
	}
	return r;
}

int node_files_config(const char *path, struct config **ret)
{
	int r = path ? read_config(path, ret) : config_new(ret);

	if (r == -ENOMEM)
		ctl_error("out of memory");
	return r;
}

static void remove_file(const char *dir, const char *name, bool dry, node_files_report_fn *report, void *context)
{
	char path[PATH_MAX];
	int error;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return;
	/* Of a file that is not there, unlink() says first that the file system is read-only, as a container's root is. */
	if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	error = dry || unlink(path) == 0 ? 0 : -errno;
	report(context, "file", path, error);
}

/* What a write that was interrupted has left (base/file.h) goes with it. */
void node_files_remove_cni(const struct config_cni *cni, bool dry, node_files_report_fn *report, void *context)
{
	remove_file(cni->conf_dir, API_CNI_CONFLIST, dry, report, context);
	remove_file(cni->conf_dir, API_CNI_CONFLIST ".tmp", dry, report, context);
	remove_file(cni->bin_dir, API_CNI_PLUGIN, dry, report, context);
	remove_file(cni->bin_dir, API_CNI_PLUGIN ".tmp", dry, report, context);
}
