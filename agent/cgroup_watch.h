/* SPDX-License-Identifier: Apache-2.0 */
/* What a cgroup's processes could do about their programs. */
#ifndef SLUICE_AGENT_CGROUP_WATCH_H
#define SLUICE_AGENT_CGROUP_WATCH_H

#include <stddef.h>

/*
 * Is there a process in the cgroup at `path`, or below, that its programs do not hold (hazard 31): with a capability to send
 * beneath IP, or to leave? 1 with its description in `buf`; 0; -errno.
 */
int cgroup_watch_escape(const char *path, char *buf, size_t size);

#endif
