/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies and the cluster from files alone, for the commands that work without a node: manifests into a store, and
 * beside them what they are judged against, `endpoints:` documents and Kubernetes objects.
 */
#ifndef SLUICE_TOOLS_BPFCTL_OFFLINE_H
#define SLUICE_TOOLS_BPFCTL_OFFLINE_H

#include <stdint.h>

#include "policy/compile.h"
#include "policy/image.h"
#include "tools/bpfctl/explain.h"
#include "tools/bpfctl/manifests.h"
#include "tools/bpfctl/tree.h"

/* `= {}` is an empty one, fit for offline_clear. */
struct offline {
	struct store *store;
	struct diags diags; /* of the manifests */
	struct fleet fleet;
	struct tree tree; /* the manifests as they stand */
	size_t nfiles;
	char cluster_domain[256]; /* "": cluster.local */
};
void offline_clear(struct offline *off);

/* What the agent's configuration says of the cluster, for the options of the commands. */
#define OFFLINE_CLUSTER_DOMAIN_OPT                                                                                     \
	{                                                                                                              \
		0, "cluster-domain", "NAME", "dns.clusterDomain (default cluster.local)"                               \
	}
#define OFFLINE_SERVICE_CIDRS_OPT                                                                                      \
	{                                                                                                              \
		0, "service-cidrs", "CIDR[,CIDR...]", "cluster.serviceCIDRs (default: none)"                           \
	}

/* Their values, each NULL when it was not given; before offline_compile(). 0; -EINVAL with a message. */
int offline_set_cluster(struct offline *off, const char *domain, const char *service_cidrs);
const char *offline_domain(const struct offline *off); /* the cluster's, as given or by default */

/* Adds a file or a directory. 0; -errno with a message. */
int offline_add(struct offline *off, const char *path);

/* An endpoint's policy: an image, or the mode that stands in its place. */
struct offline_image {
	enum sluice_mode mode; /* OPEN: nothing selects it; else ENFORCE */
	uint8_t *bytes;
	struct image *img; /* NULL when open */
};
void offline_image_clear(struct offline_image *image);
/* 0 or -errno; remarks of the compiler go to `diags`. */
int offline_compile(struct offline *off, const struct subject *subject, struct diags *diags, struct offline_image *ret);
/*
 * False for a pod on its node's network that no label (its own or its namespace's) puts under its policies: it is not
 * enforced then.
 */
bool offline_is_enforced(const struct offline *off, const struct subject *subject);
/*
 * The addresses behind NAME.NAMESPACE.svc and the cluster domain as the inventory knows them: the Service's own, or those of its
 * pods when it has none. Number of them, at most `max`; 0 for any other name.
 */
size_t offline_service_addrs(const struct offline *off, const char *name, struct sluice_addr *ret, size_t max);
/* Is it one of the cluster's own DNS servers? Its port 53 is never handed to the proxy. */
bool offline_backs_resolver(const struct offline *off, const struct subject *subject);
/* What explain() needs to know of the world. */
struct explain_world offline_world(struct offline *off, const struct subject *subject);

#endif
