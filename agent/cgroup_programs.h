/* SPDX-License-Identifier: Apache-2.0 */
/* The programs of cgroup endpoints: loaded over the tables of the veths', attached by pinned links. */
#ifndef SLUICE_AGENT_CGROUP_PROGRAMS_H
#define SLUICE_AGENT_CGROUP_PROGRAMS_H

#include <stdint.h>

#include "agent/kernel.h"

/* Loads them into k->cgroup. 0 or -errno; without them there are no cgroup endpoints. */
int cgroup_programs_open(struct kernel *k);
void cgroup_programs_close(struct kernel *k);

/* Puts all programs on the cgroup: until cgroup_programs_attach() says whose it is they drop everything. As that returns. */
int cgroup_programs_shut(const struct kernel *k, const char *path, uint64_t id);
/*
 * Puts all programs on the cgroup, or takes over what an earlier agent left there with the present ones, and says whose
 * it is. Until it is said they drop everything. 0; -EOPNOTSUPP: they could not be loaded; -errno.
 */
int cgroup_programs_attach(struct kernel *k, const char *path, uint64_t id, const struct sluice_if *owner);
/* Takes them off. What is not there, or went with its cgroup, is no error. */
void cgroup_programs_detach(struct kernel *k, uint64_t id);
/* Are all there, and are they ours? 1, 0, -errno. */
int cgroup_programs_attached(const struct kernel *k, uint64_t id);

#endif
