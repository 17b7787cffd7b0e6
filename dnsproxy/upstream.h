/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets to the trusted resolvers. UDP: per resolver a pool of connected sockets, each on a port of the kernel's
 * choosing and replaced after some uses, so that an answer cannot be forged by who does not see the question (RFC 5452
 * section 4). TCP: one connection per query, for answers that are too long for UDP.
 */
#ifndef SLUICE_DNSPROXY_UPSTREAM_H
#define SLUICE_DNSPROXY_UPSTREAM_H

#include "dnsproxy/core.h"

struct upstream;

int upstream_new(int loop, struct upstream **ret);
void upstream_freep(struct upstream **u);
void upstream_set_core(struct upstream *u, struct core *core);
/* Resolvers may have changed: sockets to others are closed. Queries that wait on one go to the next resolver. */
void upstream_reset(struct upstream *u, uint64_t now);

/* Sends what is queued; at the end of each turn of the loop. */
void upstream_flush(struct upstream *u, uint64_t now);

/* As struct core_io has them; the context is the struct upstream. UDP queries wait for upstream_flush. */
int upstream_ask(void *context, const struct proxy_resolver *resolver, uint32_t index, bool tcp, const uint8_t *msg,
		 size_t len, uint64_t now, uint32_t *ret_transport);
void upstream_asked(void *context, uint32_t transport, bool tcp);
uint16_t upstream_random(void *context);

#endif
