/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The endpoints of this node: which slot of the kernel's table, on which interface, under which policy.
 *
 * `endpoints_want` says what there should be; `endpoints_reconcile` makes it so as far as the interfaces are there;
 * `endpoints_apply` compiles what selects each and takes it into force.
 */
#ifndef SLUICE_AGENT_ENDPOINTS_H
#define SLUICE_AGENT_ENDPOINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/endpoints_file.h"
#include "agent/kernel.h"
#include "agent/publish.h"
#include "agent/slot.h"
#include "dnsproxy/settings.h"
#include "policy/compile.h"

enum endpoint_phase {
	ENDPOINT_WAITING = 0, /* its interface is not there, or could not be attached to */
	ENDPOINT_ADOPTED,     /* found in the kernel's table, not (yet) confirmed by an endpoints file: left as it is */
	ENDPOINT_READY,
};

struct endpoint {
	enum endpoint_phase phase;
	uint32_t id; /* slot; 0: none (slot 0 is never used) */
	uint32_t generation;
	struct endpoint_place place;
	struct static_endpoint wanted; /* borrowed from the list, or owned by an adopted one */
	struct published *policy;      /* a reference; NULL when open or quarantined */
	uint64_t key;		       /* compiler_key() of `policy`; 0: not known */
	bool told;		       /* that its place is missing */
	char escape[96]; /* of a cgroup: why its programs do not hold it; "" when they do, as last looked */
};

struct endpoints;

/* Takes over the slots in use, each as ENDPOINT_ADOPTED. 0 or -ENOMEM. */
int endpoints_open(struct kernel *k, struct publisher *p, struct endpoints **ret);
void endpoints_freep(struct endpoints **e); /* the kernel's tables stay as they are */

/*
 * Whether an interface that no endpoint is wanted for any more keeps its programs, and so is closed. Without one, such an
 * interface is let go.
 */
typedef bool endpoints_keep_fn(void *context, uint32_t ifindex);
void endpoints_set_keep(struct endpoints *e, endpoints_keep_fn *keep, void *context);

/* Is an endpoint wanted on the interface of that name? */
bool endpoints_wants(const struct endpoints *e, const char *interface);

/* Takes what the file holds, endpoints and inventory; `file` is for messages. */
void endpoints_want(struct endpoints *e, struct endpoints_file *wanted, const char *file);

/*
 * Gives slots to wanted endpoints whose interface is there, attaches the programs, frees the slots of the rest. New ones
 * start in quarantine. Says once what is missing. True when an endpoint or an address came or went.
 */
bool endpoints_reconcile(struct endpoints *e);

/* What compiling depends on besides the endpoints. Borrowed. */
struct endpoints_input {
	const struct store *store;
	const struct sluice_addr *node; /* this node's own addresses */
	size_t nnode;
	const struct proxy_resolver *resolvers;
	size_t nresolvers;
	const struct sluice_prefix *service_cidrs;
	size_t nservice_cidrs;
	const char *cluster_domain; /* NULL: cluster.local */
	bool audit;
};

/*
 * Compiles and takes into force. An endpoint whose policy cannot be compiled or published is quarantined. Returns how
 * many are. DNS of an endpoint that is itself a trusted resolver is not handed over, or the proxy would forward its
 * queries to itself (hazard 18): its port 53 follows the address rules.
 */
size_t endpoints_apply(struct endpoints *e, const struct endpoints_input *in);

/*
 * Every rule that speaks for a destination of that endpoint, as compile_trace(), by the present manifests and inventory.
 * `ret_current`: what is in force was compiled from the same. 0; -ENOENT: no such endpoint; -ENOMEM.
 */
int endpoints_trace(struct endpoints *e, const struct endpoints_input *in, const struct endpoint *ep,
		    const struct trace_query *q, struct trace_rule **ret, size_t *ret_count, bool *ret_current);

/* Is there an endpoint without its programs whose interface is there? */
bool endpoints_waiting(const struct endpoints *e);

/* Has a cgroup come, gone or been made anew? There is no news of cgroups: it is looked at. */
bool endpoints_moved(const struct endpoints *e);

/* Programs that were taken off a cgroup are put back. Returns how many times that was done. */
unsigned int endpoints_repair_cgroups(struct endpoints *e);

/* Looks which cgroup endpoints have processes that their programs do not hold, and says so, once, in the log. */
void endpoints_watch_cgroups(struct endpoints *e);

size_t endpoints_count(const struct endpoints *e);
const struct endpoint *endpoints_at(const struct endpoints *e, size_t i);
/* The endpoint of that slot and generation; NULL. */
const struct endpoint *endpoints_find(const struct endpoints *e, uint32_t id, uint32_t generation);

#endif
