/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets that the kernel programs hand port 53 to, and the queries and answers of the two UDP ones. */
#ifndef SLUICE_DNSPROXY_LISTEN_H
#define SLUICE_DNSPROXY_LISTEN_H

#include "bpf/abi.h"
#include "dnsproxy/core.h"
#include "dnsproxy/loop.h"

/*
 * Makes all four, on the first loopback address (127.0.53.N, 100::53:N) that no other proxy holds. Needs CAP_NET_ADMIN
 * and CAP_NET_BIND_SERVICE. 0 or -errno; `fds` are the caller's, -1 for IPv6 where the kernel has none.
 */
int listen_open(int fds[SLUICE_SOCK_MAX], int *ret_n);

struct listen;

/* Serves the two UDP sockets; borrows them. 0 or -errno. */
int listen_new(int loop, const int fds[SLUICE_SOCK_MAX], struct listen **ret);
void listen_freep(struct listen **l);
void listen_set_core(struct listen *l, struct core *core);

/* Queues an answer; listen_flush sends what is queued. */
void listen_reply(struct listen *l, const struct core_asker *to, const uint8_t *msg, size_t len);
void listen_flush(struct listen *l);

#endif
