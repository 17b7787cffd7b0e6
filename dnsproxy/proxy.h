/* SPDX-License-Identifier: Apache-2.0 */
/* The running proxy: the core, its sockets and the loop. */
#ifndef SLUICE_DNSPROXY_PROXY_H
#define SLUICE_DNSPROXY_PROXY_H

#include "dnsproxy/kmaps.h"
#include "dnsproxy/settings.h"

struct proxy;

/* `fds` are the listening sockets, `dir` the proxy's folder, `signals` a signalfd; all borrowed. 0 or -errno. */
int proxy_new(struct kmaps *k, const int fds[SLUICE_SOCK_MAX], int dir, int signals,
	      const struct proxy_settings *settings, struct proxy **ret);
void proxy_freep(struct proxy **p);

/* Until a signal, or until the maps or the folder are gone, or another proxy has taken over. 0 or -errno. */
int proxy_run(struct proxy *p);

#endif
