/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a host-network pod's cgroup holds it, by what its manifest lets its containers do. */
#ifndef SLUICE_AGENT_KUBE_ESCAPE_H
#define SLUICE_AGENT_KUBE_ESCAPE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Could a container of the pod send past the programs of its cgroup, or leave it (hazard 31)? Then why, the first that is found,
 * in `buf`. `pod` is the object as the API has it.
 */
bool kube_escape(json_t *pod, char *buf, size_t size);

#endif
