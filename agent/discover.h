/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interfaces that are a pod's, found by their announcement and closed before it is known whose they are; and the watch over
 * the programs on all interfaces that have them.
 */
#ifndef SLUICE_AGENT_DISCOVER_H
#define SLUICE_AGENT_DISCOVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/claim.h"
#include "agent/config.h"
#include "agent/endpoints.h"
#include "agent/kernel.h"
#include "agent/links.h"

struct discover;

/* Finds what is there. 0 or -errno. */
int discover_open(struct kernel *k, struct endpoints *e, const struct config_interfaces *wanted, struct discover **ret);
void discover_freep(struct discover **d);
void discover_configure(struct discover *d, const struct config_interfaces *wanted);

int discover_fd(const struct discover *d);
/* Takes in the news; what is a pod's is closed when this returns. True: discover_run has something to do, soon. */
bool discover_read(struct discover *d);

/*
 * Slots for what nobody has claimed, after endpoints_reconcile has put endpoints on what it knows. True: news came meanwhile,
 * to be run again for.
 */
bool discover_run(struct discover *d);

/* A moment in which nothing else is going on: one step of what is slow (kernel_settle), if there was quiet long enough. */
void discover_idle(struct discover *d, uint64_t now);

/* Every second: the programs of a bounded number of interfaces are looked at, in turn, and put back where need be. */
void discover_check(struct discover *d);

/*
 * Which interface is the pod's that has these addresses and made no claim: the one that a host route to one of them leads to, and to none that
 * it does not have (hazard 28: after a pod of that name another may have come). Without any such route the one the Amazon VPC
 * CNI would name after it. "" when there is none. Returns `ret`.
 */
const char *discover_interface(const struct discover *d, const char *namespace_name, const char *name,
			       const struct sluice_addr *addrs, size_t naddrs, char ret[IF_NAMESIZE]);

/*
 * The claim that was made on an interface for that pod, and the interface; NULL: there is none, or host routes to others than the
 * claim's addresses lead to it.
 */
struct claim *discover_claim(const struct discover *d, const char *uid, const char *namespace_name, const char *name,
			     char ret[IF_NAMESIZE]);

/*
 * The i-th further interface of the pod that is on `interface`: it leads into the same namespace, nobody claimed it, and host routes
 * lead to it. Fills in its name and, as addresses, where these routes go. False: there are no more.
 */
bool discover_sibling(const struct discover *d, const char *interface, size_t i, struct static_endpoint *ret);

struct discover_request {
	const char *interface;
	const struct claim *claim; /* NULL: none is made */
};

/*
 * What is on the interface now, for sluice-cni, which has just closed it: that is taken over at once. Its claim is kept as long as
 * the interface is there. {"mode": "quarantine"} also when there is no such interface or what is on it is not the claimed pod's.
 * `ret_news`: something may be put on it now. NULL when memory runs out.
 */
json_t *discover_interface_json(struct discover *d, const struct discover_request *request, bool *ret_news);

json_t *discover_json(const struct discover *d);

#endif
