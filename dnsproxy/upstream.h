/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets to the trusted resolvers. UDP: per resolver a pool of connected sockets, each on a port of the kernel's
 * choosing and replaced after some uses, so that an answer cannot be forged by who does not see the question (RFC 5452
 * section 4). TCP (streams.h): for answers that are too long for UDP, and for who asks by TCP, where a connection stands.
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

/* Ends connections that are idle or old; about once a second. */
void upstream_sweep(struct upstream *u, uint64_t now);

/* As struct core_io has them. Queries wait for upstream_flush. */
bool upstream_ready_tcp(struct upstream *u, const struct proxy_resolver *resolver, uint32_t index, uint32_t endpoint,
			uint64_t now);
int upstream_ask(struct upstream *u, const struct proxy_resolver *resolver, uint32_t index, bool tcp, uint32_t endpoint,
		 const uint8_t *msg, size_t len, uint64_t now, uint32_t *ret_transport);
void upstream_asked(struct upstream *u, uint32_t transport, bool tcp);
uint16_t upstream_random(struct upstream *u);

#endif
