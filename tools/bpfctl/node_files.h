/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration says of an agent's files on a node, and those of them that `cleanup` takes away. */
#ifndef SLUICE_TOOLS_BPFCTL_NODE_FILES_H
#define SLUICE_TOOLS_BPFCTL_NODE_FILES_H

#include <stdbool.h>

#include "agent/config.h"

/*
 * The configuration in the file `path`; NULL: the defaults. Whatever is wrong with it is told as an error. 0, `ret` to
 * config_freep(); -EINVAL; -errno of the file; -ENOMEM.
 */
int node_files_config(const char *path, struct config **ret);

/* As in netlink.h: told of each thing found. */
typedef void node_files_report_fn(void *context, const char *kind, const char *what, int error);

/* sluice-cni: first the list that names it, then the program. Removed unless `dry`. */
void node_files_remove_cni(const struct config_cni *cni, bool dry, node_files_report_fn *report, void *context);

#endif
