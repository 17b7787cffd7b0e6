/* SPDX-License-Identifier: Apache-2.0 */
/* The policy directory: which file says what, fed to the store as it changes. */
#ifndef SLUICE_AGENT_POLICY_DIR_H
#define SLUICE_AGENT_POLICY_DIR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "policy/compile.h"

struct policy_dir;

/*
 * `accepted` is a folder's descriptor, which stays the caller's, or -1: there each text that was taken whole is kept, so that
 * a new start has a last good text too. 0, -ENOMEM.
 */
int policy_dir_new(const char *path, int accepted, struct policy_dir **ret);
void policy_dir_freep(struct policy_dir **d);
const char *policy_dir_path(const struct policy_dir *d);

/*
 * Reads *.yaml, *.yml and *.json of the directory; what changed goes to the store, and what is wrong is logged with file,
 * line and column. A file that cannot be read counts as one that is no YAML. 1: something changed; 0: nothing; -errno
 * when the directory cannot be read: everything stays as it was.
 */
int policy_dir_scan(struct policy_dir *d);
struct store *policy_dir_store(const struct policy_dir *d); /* others may put their sources in it too */

/* [{"policy", "kind", "file", "line", "refused", "last_good", "diagnostics": [text]}] */
json_t *policy_dir_json(const struct policy_dir *d);

#endif
