/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From manifests to compiled policies. A `store` holds the manifests as last accepted; `compile` turns what of it
 * selects one endpoint into an image. No files are opened here and no clock is read: the caller supplies bytes.
 */
#ifndef SLUICE_POLICY_COMPILE_H
#define SLUICE_POLICY_COMPILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "policy/diag.h"

struct label {
	const char *key;
	const char *value;
};

/* A container port with a name, which rules may use instead of its number. */
struct pod_port {
	const char *name;
	uint16_t port; /* host order */
	uint8_t proto; /* IPPROTO_TCP, UDP, SCTP */
};

/*
 * One enforcement target as selectors see it, and one pod of the inventory as peers see it. Borrowed strings. Zero
 * in the later members means: running, ready, on its own network.
 */
struct subject {
	const char *namespace_name;
	const char *name;
	const struct label *labels;
	size_t nlabels;
	const struct sluice_addr *addrs;
	size_t naddrs;
	const char *service_account; /* NULL: "default" */
	const struct pod_port *ports;
	size_t nports;
	const char *hostname;  /* spec.hostname; NULL: none. With `subdomain` it has a name under a headless Service */
	const char *subdomain; /* spec.subdomain; NULL: none */
	const char *node;      /* spec.nodeName; NULL: not known */
	bool host_network;     /* as a peer it is its node, and no selector finds it */
	bool not_running;      /* Pending, Succeeded or Failed: its addresses are not its own (yet, or any more) */
	bool not_ready;
};

/* A pod that somebody keeps from pass to pass: whoever changes it makes another of it. */
struct kept_pod {
	const struct subject *pod;
	uint64_t version; /* greater than that of every one before, of this name or another; not 0 */
};

/* kubernetes.io/metadata.name is implied. Of one that is not listed, see inventory.namespaces_told. */
struct inventory_namespace {
	const char *name;
	const struct label *labels;
	size_t nlabels;
};

struct inventory_node {
	const char *name;
	const struct label *labels;
	size_t nlabels;
	const struct sluice_addr *addrs;
	size_t naddrs;
	bool local; /* the node the endpoints are on */
};

struct service_port {
	const char *name; /* NULL: none; joins the port with those of the EndpointSlices */
	uint8_t proto;
	uint16_t port;		 /* host order, as all here */
	uint16_t target_port;	 /* 0: `target_name`, or the same as `port` when that is NULL too */
	const char *target_name; /* a container port's name */
	uint16_t node_port;	 /* 0: none */
};

struct inventory_service {
	const char *namespace_name;
	const char *name;
	const struct label *labels;
	size_t nlabels;
	const struct label *selector; /* none: its EndpointSlices are written by hand */
	size_t nselector;
	const struct sluice_addr *addrs; /* clusterIPs; none: headless, or ExternalName */
	size_t naddrs;
	const struct sluice_addr *externals; /* externalIPs and the load balancer's */
	size_t nexternals;
	const struct service_port *ports;
	size_t nports;
	bool publish_not_ready; /* spec.publishNotReadyAddresses */
};

struct slice_endpoint {
	const struct sluice_addr *addrs;
	size_t naddrs;
	const char *hostname; /* NULL: none */
	const char *pod;      /* targetRef's name, of the slice's namespace; NULL: no pod */
	bool not_ready;
};

struct slice_port {
	const char *name; /* NULL: none */
	uint8_t proto;
	uint16_t port;
};

/* An EndpointSlice. Services without one take the inventory's pods that their selector finds. */
struct inventory_slice {
	const char *namespace_name;
	const char *service; /* label kubernetes.io/service-name */
	const struct slice_endpoint *endpoints;
	size_t nendpoints;
	const struct slice_port *ports;
	size_t nports;
};

/* What in-cluster peers are resolved against: in standalone mode the endpoints file. Borrowed. `= {}`: nothing known. */
struct inventory {
	const struct subject *pods;
	size_t npods;
	const struct kept_pod
		*kept; /* further ones, by namespace and name: what is new costs, and not how many there are */
	size_t nkept;
	const struct inventory_namespace *namespaces;
	size_t nnamespaces;
	/*
	 * Whoever lists them lists all, so that of one that is missing the labels are not known yet: a rule that asks for them
	 * allows none of its pods, and denies all. false: one that is missing has no label.
	 */
	bool namespaces_told;
	const struct inventory_node *nodes;
	size_t nnodes;
	const struct inventory_service *services;
	size_t nservices;
	const struct inventory_slice *slices;
	size_t nslices;
	const struct sluice_prefix *service_cidrs; /* an address in one is a ClusterIP, known or not */
	size_t nservice_cidrs;
	const char *cluster_domain; /* NULL: "cluster.local" */
};

/*
 * The addresses of pods, nodes and Services, sorted, each once: what the kernel's `cluster` table should hold, and
 * struct verdict_tables.cluster for verdicts without a kernel. `ret` is the caller's to free. 0, -ENOMEM.
 */
int inventory_cluster(const struct inventory *inv, struct sluice_addr **ret, size_t *ret_count);

struct store;

int store_new(struct store **ret); /* 0, -ENOMEM */
void store_freep(struct store **s);

/*
 * Reads `text` as the new content of `file` (the name is used in messages and in rule sources). What is wrong goes to
 * `diags`, all of it, each with line and column. Semantics section 2:
 *  - not YAML, or a policy whose selector cannot be read: the file's last good state stays; without one, the
 *    endpoints it might select are denied unless something else selects them;
 *  - a refused policy: its last good state stays; what the refused text selects beyond that is denied.
 *  - an update that only adds members nobody here knows: what is in force stays, with a warning.
 * 0: the text was taken whole; 1: something was refused (diags has errors), or an older text stands in for something;
 * -ENOMEM.
 */
int store_update(struct store *s, const char *file, const char *text, size_t len, struct diags *diags);

/* The file is gone, and with it everything it said. 0, -ENOENT, -ENOMEM. */
int store_remove(struct store *s, const char *file);

/*
 * Do ApplicationNetworkPolicies and NetworkPolicies in force isolate the pod and admit nothing but domain names? To an agent that
 * enforces these and knows no names, that is nothing at all.
 */
bool store_names_only(const struct store *s, const struct subject *subject);

size_t store_policy_count(const struct store *s);
size_t store_refused_count(const struct store *s);

/* One line per policy or refusal in force, for `bpfctl policy get` and `status`. Borrowed until the store changes. */
struct store_entry {
	const char *policy; /* "namespace/name" */
	const char *kind;
	const char *file;
	uint32_t line;
	bool refused;	/* the present text is refused */
	bool last_good; /* an older text is in force instead */
};
size_t store_entry_count(const struct store *s);
void store_entry_at(const struct store *s, size_t i, struct store_entry *ret);

/*
 * 0: `ret` holds an image (free() it). 1: nothing selects the endpoint; `ret` is untouched and it is open.
 * -ENOMEM; -E2BIG when the image would pass a format limit, with a diagnostic (the caller must deny).
 * Warnings about what the inventory makes of the policies (a Service with one backend that is not admitted) go to
 * `diags`.
 */
int compile(const struct store *s, const struct subject *subject, const struct inventory *inv, struct diags *diags,
	    uint8_t **ret, size_t *ret_len);

/*
 * For many endpoints and an inventory that changes: what passes have in common is kept, so that a pass costs what changed
 * since the last one. `seed` makes keys that nobody outside can aim at; keys of one seed can be compared.
 */
struct compiler;

int compiler_new(const uint64_t seed[2], struct compiler **ret); /* 0, -ENOMEM */
void compiler_freep(struct compiler **c);

/*
 * Begins a pass: takes what store and inventory hold now. Both must stay as they are until the last call of the pass, and
 * the store be the same object in every pass, or have been told from it by a new compiler. 0, -ENOMEM: nothing compiles.
 */
int compiler_begin(struct compiler *c, const struct store *s, const struct inventory *inv);
int compiler_compile(struct compiler *c, const struct subject *subject, struct diags *diags, uint8_t **ret,
		     size_t *ret_len); /* as compile() */

/* A number that is another when an address of a pod, a node or a Service, or whose it is, is. Of the pass that began. */
uint64_t compiler_cluster(const struct compiler *c);

/*
 * A 64-bit fingerprint of the selection and of what its peers resolve to, before any compiling: subjects with equal keys
 * get equal images, so callers compile once per key, and an inventory change that leaves a key as it was concerns none
 * of that endpoint's policies.
 */
uint64_t compiler_key(struct compiler *c, const struct subject *subject);
/* The same key, between passes and without one. 0: no memory. */
uint64_t compiler_key_apart(const struct compiler *like, const struct store *s, const struct inventory *inv,
			    const struct subject *subject);

/*
 * Every rule that speaks for one destination and port, the strongest first: what `explain` shows as decided and beaten.
 * The first is not always the image's own word: a Service's address is judged by its backends.
 */
struct trace_query {
	struct sluice_addr remote;
	bool in_cluster; /* the address is a pod's, a node's or a Service's */
	uint8_t proto;
	uint16_t port;	  /* host order; ICMP: the type in the upper byte */
	const char *name; /* canonical, its name rules too; NULL: none */
};

struct trace_rule {
	const char *policy;
	const char *kind;
	const char *file;
	uint32_t line;
	uint32_t column;
	char text[160];	     /* as struct image_source.text, cut */
	const char *action;  /* "allow", "deny", "pass" */
	uint32_t precedence; /* higher is stronger; deny before allow at equal */
	bool by_name;
};

/* `ret` is the caller's to free; its strings are borrowed until the store changes. 0, -ENOMEM. */
int compile_trace(const struct store *s, const struct subject *subject, const struct inventory *inv,
		  const struct trace_query *q, struct trace_rule **ret, size_t *ret_count);

#endif
