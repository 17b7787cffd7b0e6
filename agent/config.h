/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice.yaml. Every key has a default; a key that is unknown, or that this version does not act on, is an error with
 * its line and column, since a setting that is read and not obeyed would be a lie.
 */
#ifndef SLUICE_AGENT_CONFIG_H
#define SLUICE_AGENT_CONFIG_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "dnsproxy/settings.h"
#include "policy/diag.h"

enum attach_mode {
	ATTACH_AUTO = 0, /* TCX where the kernel has it (6.6), else clsact */
	ATTACH_TCX,
	ATTACH_CLSACT,
};

struct config_limits {
	/* Table sizes: fixed when the maps are made, that is at the first start or after a cleanup. */
	uint32_t endpoints;
	uint32_t dests;
	uint32_t rules;
	uint32_t leases;
	uint32_t names;
	uint32_t cluster;
	uint32_t flows;
	uint32_t frags;
	uint32_t events; /* bytes of the ring */
	/* Quotas: obeyed at once. */
	uint32_t flow_quota;
	uint32_t tombstone_quota;
	uint32_t dns_rate;
	uint32_t dns_burst;
	uint32_t event_rate;
	uint32_t event_burst;
	uint32_t reject_rate;
	uint32_t reject_burst;
};

#define CONFIG_MAX_PREFIXES 16

/* Which interfaces are a pod's before anything is known of the pod; only veths whose peer is in another namespace count. */
struct config_interfaces {
	bool any; /* interfaces.auto: those too that no prefix names, but for the node's own way out */
	char prefixes[CONFIG_MAX_PREFIXES][IF_NAMESIZE];
	size_t nprefixes;
};

/* Where sluice-cni is put into the node's CNI configuration. */
struct config_cni {
	bool install;
	char *conf_dir;
	char *bin_dir;
	uint32_t wait_seconds;
};

struct config {
	char *policy_dir;
	char *endpoints_file;
	bool audit;
	bool reject; /* denied packets are answered */
	char *pin_path;
	enum attach_mode attach;
	char *socket;
	char *run_dir;
	char *state_dir;  /* "": none */
	char *flows_file; /* "": none */
	bool flows_allowed;
	char *metrics_listen; /* "": none */
	bool kubernetes;
	char *node_name;	   /* "": $NODE_NAME, or the host\'s name */
	char *kubeconfig;	   /* "": the pod\'s service account */
	bool kubernetes_status;	   /* conditions are written, by the holder of the Lease */
	bool enforce_host_network; /* host-network pods without a label too */
	char *startup_taint;	   /* its key; "": none */
	struct config_cni cni;
	struct sluice_prefix *service_cidrs; /* where ClusterIPs are */
	size_t nservice_cidrs;
	/* dns: resolvers and search as written; empty means the node's resolv.conf */
	struct proxy_settings dns;
	struct config_limits limits;
	struct config_interfaces interfaces;
};

/* Does the interface's name begin with one of the prefixes? */
bool config_has_prefix(const struct config_interfaces *wanted, const char *name);

/* The defaults. 0 or -ENOMEM. */
int config_new(struct config **ret);
/* Reads `text` over the defaults. 0; -EINVAL with diagnostics; -ENOMEM. */
int config_read(const char *file, const char *text, size_t len, struct diags *diags, struct config **ret);
void config_freep(struct config **c);

/* Which keys differ that only a new start obeys: a comma-separated list into buf, "" when none; returns buf. */
char *config_restart_keys(const struct config *now, const struct config *wanted, char *buf, size_t size);

/*
 * Fills in what the configuration left to the node: resolvers and search domains of a resolv.conf(5) `text`. Resolvers
 * that are no address, and names that are none, are left out.
 */
void config_fill_resolv(struct proxy_settings *dns, const char *text);

#endif
