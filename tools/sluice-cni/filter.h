/* SPDX-License-Identifier: Apache-2.0 */
/* A clsact filter at the agent's place (bpf/abi.h), by plain rtnetlink. */
#ifndef SLUICE_TOOLS_SLUICE_CNI_FILTER_H
#define SLUICE_TOOLS_SLUICE_CNI_FILTER_H

#include <stdbool.h>
#include <stdint.h>

/* Makes the clsact qdisc where it is missing. One that is there already, under either handle, is left. 0 or -errno. */
int filter_put(uint32_t ifindex, int program);
bool filter_is_there(uint32_t ifindex);

#endif
