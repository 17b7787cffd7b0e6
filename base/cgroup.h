/* SPDX-License-Identifier: Apache-2.0 */
/* Where cgroup2 is mounted and where this process sits in it, whatever else is mounted beside it. */
#ifndef SLUICE_BASE_CGROUP_H
#define SLUICE_BASE_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The folder of this process's own cgroup. 0; -ENOENT: there is no cgroup2; -errno. */
int cgroup_own_path(char *ret, size_t size);

/*
 * Where the hierarchy's root is mounted, beside cgroup v1 too (/sys/fs/cgroup/unified). 0; -ENOENT: there is no cgroup2;
 * -EXDEV: only a part of it is mounted here; -errno.
 */
int cgroup_root_path(char *ret, size_t size);

/* Is the open folder the root of the hierarchy? */
bool cgroup_is_root(int dir);

/*
 * The id of the cgroup at `path` (its inode number), and how far below the hierarchy's root it is. 0; -ENOENT; -EINVAL:
 * it is not on cgroup2; -errno.
 */
int cgroup_identify(const char *path, uint64_t *ret_id, uint32_t *ret_level);

#endif
