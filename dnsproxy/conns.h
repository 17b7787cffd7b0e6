/* SPDX-License-Identifier: Apache-2.0 */
/* TCP connections of the pods: accepted, identified, read message by message, answered, and ended when they stall. */
#ifndef SLUICE_DNSPROXY_CONNS_H
#define SLUICE_DNSPROXY_CONNS_H

#include "dnsproxy/core.h"
#include "dnsproxy/loop.h"

#define CONNS_MAX	   256
#define CONNS_PER_ENDPOINT 32
#define CONNS_QUERIES	   16 /* of one connection under way; more wait in its socket */

struct conns;

/* Borrows the listeners among `fds` (by enum sluice_sock); -1: there is none. 0 or -errno. */
int conns_new(int loop, const int fds[SLUICE_SOCK_MAX], const struct maps *maps, struct conns **ret);
void conns_freep(struct conns **c);
void conns_set_core(struct conns *c, struct core *core);

void conns_reply(struct conns *c, const struct core_asker *to, const uint8_t *msg, size_t len, uint64_t now);
/* Goes on with connections that waited for their own answers. */
void conns_resume(struct conns *c, uint64_t now);
/* Ends those that stall; about once a second. */
void conns_sweep(struct conns *c, uint64_t now);
uint32_t conns_open_count(const struct conns *c);

#endif
