/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods on the node's own network. They are held by their cgroups, where that is asked for: by the label
 * sluice.dev/host-network of the pod or its namespace, or by the configuration. All are listed, each with why it is not
 * enforced when it is not.
 */
#ifndef SLUICE_AGENT_HOST_PODS_H
#define SLUICE_AGENT_HOST_PODS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "agent/endpoints.h"
#include "agent/kernel.h"
#include "agent/kube/cache.h"
#include "base/strbuf.h"

struct host_pods;

/* Borrowed. */
struct host_pods_settings {
	bool enforce; /* those without a label, but for kube-system's and Sluice's own */
	const char
		*own_namespace; /* Sluice's own pods are of this namespace and service account; NULL: there are none */
	const char *own_service_account;
	const char *root; /* of cgroup2; NULL: it is found */
	struct kernel *kernel;
};

/* `changed` is called from the event loop when a refresh would find a pod elsewhere. 0 or -errno. */
int host_pods_new(sd_event *event, const struct host_pods_settings *settings, void (*changed)(void *context),
		  void *context, struct host_pods **ret);
void host_pods_freep(struct host_pods **h);

/*
 * A refresh: begin, each host-network pod of this node that is not finished, end. host_pods_place() fills in the cgroup of
 * a pod that is to be under its policy and whose folder is there: 1. 0: it is no endpoint. -ENOMEM.
 */
void host_pods_begin(struct host_pods *h);
int host_pods_place(struct host_pods *h, const struct kube_pod *pod, const struct inventory_namespace *ns,
		    struct static_endpoint *ret);
/*
 * A pod that the API has no more, or calls finished, is an endpoint as it was until its cgroup has gone: it is added to
 * `list`, as `now` has it.
 */
void host_pods_end(struct host_pods *h, const struct endpoints *now, struct static_endpoints *list);

enum host_pod_state {
	HOST_POD_NOT_ENFORCED,	  /* nobody asked for it */
	HOST_POD_WAITING,	  /* its cgroup, or its programs there, are to come */
	HOST_POD_ENFORCED,	  /* under its policy */
	HOST_POD_NOT_ENFORCEABLE, /* it could get past its programs, where it has any; or cannot have any */
};
#define HOST_POD_STATES 4

struct host_pod_view {
	const char *namespace_name;
	const char *name;
	const char *uid;
	const char *cgroup; /* NULL: not known */
	enum host_pod_state state;
	char reason[192]; /* "" when enforced */
};
/* The i-th, as of the last refresh and what `now` has of it. False: there is none. Borrowed until the next refresh. */
bool host_pods_view(const struct host_pods *h, const struct endpoints *now, size_t i, struct host_pod_view *ret);

json_t *host_pods_json(const struct host_pods *h, const struct endpoints *now);
void host_pods_metrics(const struct host_pods *h, const struct endpoints *now, struct strbuf *out);

#endif
