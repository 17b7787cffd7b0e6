/* SPDX-License-Identifier: Apache-2.0 */
/* A program on an interface that drops every frame from the pod, in the place where the agent's will be. */
#ifndef SLUICE_TOOLS_SLUICE_CNI_DENY_H
#define SLUICE_TOOLS_SLUICE_CNI_DENY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Drops from now on, or is enforced already: a link pinned as PINPATH/links/IFINDEX-from where the kernel has TCX and PINPATH
 * can be made, else a clsact filter, which needs no pin. 0 or -errno.
 */
int deny_put(const char *pin_path, uint32_t ifindex);

/* Is a program there, this one or the agent's? */
bool deny_is_there(const char *pin_path, uint32_t ifindex);

#endif
