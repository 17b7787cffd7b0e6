/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy's settings file, kept in step with the configuration and the node's resolv.conf. */
#ifndef SLUICE_AGENT_PROXY_SETTINGS_H
#define SLUICE_AGENT_PROXY_SETTINGS_H

#include "agent/config.h"
#include "agent/kernel.h"

/*
 * Writes RUNDIR/proxy/settings (in the folder `dir`) when it would differ from what is there, and raises the generation
 * by which the proxy notices. Where the configuration names no resolver, those of the cluster are asked, and without any
 * the node's. Logs when there is no resolver to ask. 0 or -errno.
 */
int proxy_settings_write(struct kernel *k, int dir, const struct config *config, const struct proxy_resolver *cluster,
			 size_t ncluster, struct proxy_settings *ret);

#endif
