/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent is told of an interface, and its word on it, over its socket (agent/api.h). */
#ifndef SLUICE_TOOLS_SLUICE_CNI_AGENT_H
#define SLUICE_TOOLS_SLUICE_CNI_AGENT_H

#include <jansson.h>
#include <stdbool.h>

/*
 * The request: whose interface it is by CNI_ARGS (`args`; NULL: not given), and which addresses `result` gives to `ifname` in the
 * pod. Without a pod's uid it claims nothing. NULL when memory runs out.
 */
json_t *agent_request(const char *interface, const char *args, const json_t *result, const char *ifname);

/*
 * Tells the agent, and waits until it says that the interface's policy is in force, at most `seconds`; an agent that is not there
 * may come. False: the time is over, and the interface is closed. With 0 seconds it is told once.
 */
bool agent_wait(const char *socket_path, const json_t *request, double seconds);

#endif
