/* SPDX-License-Identifier: Apache-2.0 */
/* The cgroups that kubelets of this node keep for their pods, and news of them. */
#ifndef SLUICE_AGENT_POD_CGROUP_H
#define SLUICE_AGENT_POD_CGROUP_H

#include <stdbool.h>
#include <stddef.h>

struct pod_cgroups;

/* `root`: where the root of cgroup2 is mounted; NULL: it is found. 0 or -errno; a node without cgroup2 is no error. */
int pod_cgroups_new(const char *root, struct pod_cgroups **ret);
void pod_cgroups_freep(struct pod_cgroups **p);

/*
 * Looks for the kubelets' folders, which may come after the agent, and watches those it finds. Walks all folders near the
 * root: not for every pod.
 */
void pod_cgroups_scan(struct pod_cgroups *p);

/*
 * The folder of the pod with that uid, as the kubelet calls it (of a static pod the one in the mirror's annotation), as far as
 * the last scan saw its kubelet. 0; -ENOENT: it is not there; -EXDEV: this process sees only a part of cgroup2;
 * -EOPNOTSUPP: the node's pods are on cgroup v1; -EINVAL: that is no uid.
 */
int pod_cgroups_find(const struct pod_cgroups *p, const char *uid, char *ret, size_t size);

/* Becomes readable when a folder comes or goes; pod_cgroups_read() takes the news in. */
int pod_cgroups_fd(const struct pod_cgroups *p);
void pod_cgroups_read(struct pod_cgroups *p);

#endif
