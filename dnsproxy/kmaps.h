/* SPDX-License-Identifier: Apache-2.0 */
/* The pinned maps: opened once, with privileges; used afterwards without. */
#ifndef SLUICE_DNSPROXY_KMAPS_H
#define SLUICE_DNSPROXY_KMAPS_H

#include <stdbool.h>
#include <stddef.h>

#include "dnsproxy/lines.h"
#include "dnsproxy/maps.h"

struct kmaps {
	int interfaces, askers, cluster, leases, names, sockets;
	struct lines lines;
	int pin; /* O_PATH on the settings pin: tells when it was taken away */
	void *mapped[5];
	size_t mapped_len[5];
	struct maps maps;
};

#define KMAPS_INIT                                                                                                     \
	{                                                                                                              \
		.interfaces = -1, .askers = -1, .cluster = -1, .leases = -1, .names = -1, .sockets = -1, .pin = -1,    \
		.lines.fd = -1                                                                                         \
	}

/* 0; -ENOENT while a pin is missing; -EAGAIN while the agent has not filled them in; -EPROTO when a map is not of our ABI; -errno. `k` is from KMAPS_INIT. */
int kmaps_open(const char *pin_path, struct kmaps *k);
void kmaps_close(struct kmaps *k);

/* Puts the listening sockets (indexed by enum sluice_sock) where the kernel programs look, and lets go of the table. */
int kmaps_enter_sockets(struct kmaps *k, const int fds[SLUICE_SOCK_MAX]);

/* False: the maps were unpinned. Other ones may have taken their place, and we cannot open those any more. */
bool kmaps_pinned(const struct kmaps *k);

#endif
