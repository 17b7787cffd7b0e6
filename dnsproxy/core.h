/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy without its sockets: queries in, answers and upstream queries out. Every call takes the time; nothing here
 * opens, reads or sleeps, and nothing is allocated after core_new.
 */
#ifndef SLUICE_DNSPROXY_CORE_H
#define SLUICE_DNSPROXY_CORE_H

#include "dnsproxy/conf.h"
#include "dnsproxy/maps.h"
#include "policy/image.h"

#define CORE_FLIGHTS		  4096 /* queries waiting for a resolver */
#define CORE_FLIGHTS_PER_ENDPOINT 512

/* Where a query came from, and its answer goes. */
struct core_asker {
	struct sluice_addr addr;
	struct sluice_addr server; /* the address asked */
	struct sluice_addr from;   /* the address the answer comes from: `server`, or our own on loopback */
	uint32_t ifindex;	   /* the veth it arrived on; 0: of a cgroup endpoint, by loopback */
	uint32_t endpoint;
	uint32_t generation;
	uint32_t connection; /* the I/O side's, for TCP */
	uint32_t connection_use;
	uint16_t port; /* host order */
	bool tcp;
	bool v6;
	bool loop; /* came by the sockets on ::1 */
};

/* What the core needs done. `transport` values are the I/O side's names for its sockets, unique while in use. */
struct core_io {
	void *context;
	void (*reply)(void *context, const struct core_asker *to, const uint8_t *msg, size_t len);
	/* May a query of the endpoint go to the resolver by TCP without waiting for a connection? */
	bool (*ready_tcp)(void *context, const struct proxy_resolver *resolver, uint32_t index, uint32_t endpoint);
	/* 0 and the socket it went out by; -errno: try another resolver. */
	int (*ask)(void *context, const struct proxy_resolver *resolver, uint32_t index, bool tcp, uint32_t endpoint,
		   const uint8_t *msg, size_t len, uint32_t *ret_transport);
	/* The answer that `ask` went out for has come or is no longer waited for. */
	void (*asked)(void *context, uint32_t transport, bool tcp);
	uint16_t (*random)(void *context);
	const struct image *(*policy)(void *context, uint64_t id); /* NULL: there is none that can be used */
};

struct core;

int core_new(const struct maps *maps, const struct core_io *io, const struct proxy_settings *settings,
	     struct core **ret);
void core_freep(struct core **c);
/* Queries under way finish with the resolver they were sent to. */
void core_set_settings(struct core *c, const struct proxy_settings *settings);

/*
 * Fills endpoint and generation from the interface; where that is loopback, from what the endpoint's own program noted of
 * the sender, which also says whom it meant to ask. -ENOENT: nobody's. For TCP, once per connection; a later query of
 * the connection is refused when the endpoint is no longer the same.
 */
int core_identify(struct core *c, struct core_asker *asker);

/* One query. 0: answered, or on its way. -errno: not answered at all; a connection it came by should be closed. */
int core_query(struct core *c, const struct core_asker *from, const uint8_t *msg, size_t len, uint64_t now);

/* Something arrived on an upstream socket. True: it was the answer to a query. */
bool core_answer(struct core *c, uint32_t transport, bool tcp, const uint8_t *msg, size_t len, uint64_t now);
/* An answer by UDP could not be sent. `barred`: the node's packet filter dropped it. */
void core_unsent(struct core *c, bool barred);
/*
 * The socket is of no use. `fault`: queries sent by it go to the next resolver at once. Otherwise the resolver has closed a
 * connection, as it may at any time, and they are put to it once more.
 */
void core_lost(struct core *c, uint32_t transport, bool tcp, bool fault, uint64_t now);

/* Retries and gives up. Returns when to call again at the latest; UINT64_MAX: nothing waits. */
uint64_t core_tick(struct core *c, uint64_t now);

uint32_t core_in_flight(const struct core *c);

#endif
