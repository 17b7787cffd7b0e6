/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's interfaces as rtnetlink tells them, with what identifies whose each is: where its peer is, which host routes
 * lead to it. Kept by its news; after an overflow everything is read anew.
 */
#ifndef SLUICE_AGENT_LINKS_H
#define SLUICE_AGENT_LINKS_H

#include <libmnl/libmnl.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr_type.h"
#include "bpf/abi.h"

struct claim;

struct link {
	uint32_t ifindex;
	char name[IF_NAMESIZE];
	uint8_t mac[6];
	uint32_t master; /* the bridge it is a port of; 0: none */
	int32_t netnsid; /* of its peer's namespace; -1: here */
	bool elsewhere;	 /* its peer is or was in another namespace: it has none for a moment when it goes */
	bool veth;
	unsigned int subnets;				  /* addresses of the host on it that come with a subnet */
	unsigned int defaults;				  /* default routes that lead to it */
	struct sluice_addr routes[SLUICE_ENDPOINT_ADDRS]; /* /32 and /128, of any table */
	size_t nroutes;
	uint32_t apart; /* bit i: routes[i] is of a table that only some are led to, as a branch ENI's is */
	bool announced; /* its making was news */
	bool seen;	/* in the present reading of everything */
	/* discover.c's own: */
	uint32_t slot;	     /* in quarantine; 0: none */
	bool guarded;	     /* our programs were put on it */
	bool half;	     /* of them only the one for what the pod sends */
	bool settled;	     /* nothing is left for kernel_settle */
	bool found_closed;   /* something of ours was on it before we knew it */
	bool routes_moved;   /* since its slot was taken */
	bool apart_moved;    /* one of `apart` came, and answers are not led there yet */
	bool suspect;	     /* somebody changed its filters */
	uint64_t came;	     /* CLOCK_MONOTONIC ns */
	struct claim *claim; /* NULL: none was made */
};

struct links_handlers {
	void *context;
	/* It is new, or something about it has changed. At once, while further news wait. */
	void (*changed)(void *context, struct link *link);
	/* It has gone; `link` is freed afterwards. */
	void (*gone)(void *context, struct link *link);
};

struct links;

/* Reads what there is, without calling any handler. 0 or -errno. */
int links_open(const struct links_handlers *handlers, struct links **ret);
void links_freep(struct links **l);

/* What one RTM_NEWLINK says; what it does not say stays. */
void links_parse(const struct nlmsghdr *nlh, struct link *ret);

int links_fd(const struct links *l);
/* Takes in all news. True: something has changed. */
bool links_read(struct links *l);
/* How often news were lost and everything was read anew. */
uint64_t links_resyncs(const struct links *l);

size_t links_count(const struct links *l);
struct link *links_at(const struct links *l, size_t i); /* valid until the next links_read */
/* The one with the lowest index above `ifindex`; NULL. */
struct link *links_after(const struct links *l, uint32_t ifindex);
struct link *links_find(const struct links *l, uint32_t ifindex);
struct link *links_find_name(const struct links *l, const char *name);

#endif
