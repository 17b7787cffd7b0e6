/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On a cluster's node: what the API says becomes endpoints, inventory and policies, as the files do elsewhere.
 */
#ifndef SLUICE_AGENT_KUBERNETES_H
#define SLUICE_AGENT_KUBERNETES_H

#include <jansson.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "agent/claim.h"
#include "agent/config.h"
#include "agent/discover.h"
#include "agent/endpoints.h"
#include "agent/host_pods.h"
#include "agent/kernel.h"
#include "base/strbuf.h"

struct kubernetes;

/*
 * Begins to listen. `changed` is called from the event loop whenever kubernetes_refresh() may have something to do.
 * `store` and `accepted` are as for kube_policies_new(). 0; -errno, logged.
 */
int kubernetes_open(sd_event *event, const struct config *config, struct kernel *kernel, struct store *store,
		    int accepted, void (*changed)(void *context), void *context, struct kubernetes **ret);
void kubernetes_freep(struct kubernetes **k);

/* As far as it is obeyed at once: what is said of policies. */
void kubernetes_configure(struct kubernetes *k, const struct config *config);
/* The agent ends: `ended` is called from the event loop when nothing is left to be said, soon in any case. */
void kubernetes_end(struct kubernetes *k, void (*ended)(void *context), void *context);

/* Every collection was heard once. */
bool kubernetes_synced(const struct kubernetes *k);
/*
 * The cluster is known whole, and endpoints and inventory are as it says: heard, or as last known until something is heard.
 * Otherwise nothing of it may be put in force, since half of it may open.
 */
bool kubernetes_known(const struct kubernetes *k);
/* Why it is not ready: what it goes by while not everything was heard. */
void kubernetes_write_unsynced(const struct kubernetes *k, struct strbuf *out);
/* The policies go to that store from now on, all of them at once. */
void kubernetes_move(struct kubernetes *k, struct store *store);

/*
 * Brings pods of this node to their endpoints, where their interface is known, and what changed of the inventory. True: the
 * policies or the inventory are others than before, or an interface may be another pod's.
 */
bool kubernetes_refresh(struct kubernetes *k, struct endpoints *e, const struct discover *d);
/* Notes in it which addresses the API has of the pod so far. */
void kubernetes_note_before(const struct kubernetes *k, struct claim *claim);
/* Interfaces, routes or claims changed: pods may be found on them now. */
void kubernetes_links_changed(struct kubernetes *k);
/*
 * Every second: users are told what is amiss with pods and policies, where that is wanted. `ready`: new pods are held to their
 * policies from their first packet.
 */
void kubernetes_tell(struct kubernetes *k, const struct endpoints *e, const struct kernel *kernel, bool ready);
/* What is amiss that is no pod's quarantine: a line each, appended. */
void kubernetes_problems(const struct kubernetes *k, json_t *list);
/* Where Services have their addresses: by the configuration, and by the API. Borrowed until the next call. Returns how many. */
size_t kubernetes_service_cidrs(const struct kubernetes *k, const struct config *config,
				const struct sluice_prefix **ret);
/* The addresses of the cluster's DNS Service, kube-system/kube-dns: into `ret`, at most `max`. Returns how many. */
size_t kubernetes_dns(const struct kubernetes *k, struct proxy_resolver *ret, size_t max);

/* Is this agent uninstalled, so that what it put in force is to go with it? */
bool kubernetes_uninstalled(const struct kubernetes *k);
/* The i-th pod of this node on the node's own network, with whether its cgroup holds it, and why not. False: there is none. */
bool kubernetes_host_pod(const struct kubernetes *k, size_t i, struct host_pod_view *ret);

json_t *kubernetes_json(const struct kubernetes *k);
void kubernetes_metrics(const struct kubernetes *k, struct strbuf *out);
/* What is wrong with the policy object that the store calls `file`; "" when nothing is, or it is none of the cluster's. */
const char *kubernetes_policy_message(const struct kubernetes *k, const char *file);

#endif
