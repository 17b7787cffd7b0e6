/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's word on an interface, over its socket (agent/api.h). */
#ifndef SLUICE_TOOLS_SLUICE_CNI_AGENT_H
#define SLUICE_TOOLS_SLUICE_CNI_AGENT_H

#include <stdbool.h>

/*
 * Waits until the agent says that the interface's policy is in force, at most `seconds`; an agent that is not there may come.
 * False: the time is over, and the interface is closed.
 */
bool agent_wait(const char *socket_path, const char *interface, double seconds);

#endif
