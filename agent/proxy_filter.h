/* SPDX-License-Identifier: Apache-2.0 */
/* The egress filter that the DNS proxy puts on its own cgroup (bpf/proxy.bpf.c): loaded, pinned and told by the agent. */
#ifndef SLUICE_AGENT_PROXY_FILTER_H
#define SLUICE_AGENT_PROXY_FILTER_H

#include "agent/kernel.h"
#include "dnsproxy/settings.h"

/* Fills k->proxy_peers. A proxy that runs keeps the programs it has; the maps are the same. 0 or -errno. */
int proxy_filter_open(struct kernel *k);

/* Lets the proxy reach the resolvers of `s` as well as those it could. 0 or -errno. */
int proxy_filter_add(const struct kernel *k, const struct proxy_settings *s);
/* Nothing but them any more. */
void proxy_filter_trim(const struct kernel *k, const struct proxy_settings *s);

#endif
