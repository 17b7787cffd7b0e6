/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel side as the agent holds it: programs loaded, maps made or adopted from their pins, the shared ones mapped
 * into memory. One agent at a time: the pin folder is locked while a `struct kernel` lives.
 */
#ifndef SLUICE_AGENT_KERNEL_H
#define SLUICE_AGENT_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/config.h"
#include "bpf/abi.h"
#include "dnsproxy/lines.h"

struct kernel {
	struct veth_bpf *skel;
	struct cgroup_bpf *cgroup; /* NULL: this kernel, or our capabilities, cannot hold cgroup endpoints */
	char *pin_path;
	int lock;		 /* of the pin folder */
	bool adopted;		 /* the maps were there before */
	enum attach_mode attach; /* TCX or CLSACT, decided */
	int from_pod;		 /* program fds, owned by the skeleton */
	int to_pod;
	struct sluice_settings *settings;
	struct sluice_endpoint *endpoints;
	struct sluice_runtime *runtime;
	uint64_t *lease_use;			 /* SLUICE_LEASE_USE_WORDS of them */
	uint64_t *cluster_quiet;		 /* SLUICE_CLUSTER_QUIET_WORDS of them */
	const struct sluice_dns_record *dns_log; /* [0] is the head */
	const struct sluice_dns_stats *dns_stats;
	uint32_t nendpoints;
	uint32_t ndns_log;
	uint32_t max_dests; /* prefixes that all policies together may have */
	/* Map fds, owned by the skeleton. */
	int ifindexes, labels, dests, rules, leases, names, cluster, flows, events, totals;
	struct lines lines;
	int proxy_peers; /* -1: there is no filter for the proxy (proxy_filter.h) */
};

/*
 * Loads, pins and maps. Maps that are pinned are taken as they are, with the size they were made with. 0; -EBUSY: another
 * agent holds the folder; -EPROTO: the pins are another version's; else -errno. The reason is logged.
 */
int kernel_open(const struct config *config, struct kernel **ret);
void kernel_freep(struct kernel **k); /* everything in the kernel stays as it is */

/*
 * Writes the quotas and flags that the programs read. No endpoint gets more of the flow table than its share among `endpoints`
 * of them, however much limits allow: else a few could fill it for all.
 */
void kernel_configure(struct kernel *k, const struct config *config, size_t endpoints);

/* As PINPATH/programs/<name>; whoever opens that finds this program or the one before. 0 or -errno. */
int kernel_pin_program(const struct kernel *k, int fd, const char *name);

/*
 * Do the pins of maps and programs lead to those that this agent holds? Where not, whoever opens them (the DNS proxy, bpfctl,
 * sluice-cni) would talk to others: they are put back. Returns how many did not.
 */
unsigned int kernel_check_pins(const struct kernel *k);

/* One of SLUICE_MAP_TOTALS: enum sluice_total. */
uint64_t kernel_total(const struct kernel *k, uint32_t index);

/*
 * Puts both programs on the interface, or takes over what an earlier agent or sluice-cni left there with the present
 * programs, without a gap. Quick: see kernel_settle. 0 or -errno.
 */
int kernel_attach(struct kernel *k, uint32_t ifindex);
/* Only what the pod sends, which is what cannot wait; kernel_attach does the rest. 0 or -errno. */
int kernel_close(struct kernel *k, uint32_t ifindex);
/*
 * The slow half, for a quiet moment: one hook's filter is exchanged for a TCX link, where that is the way. Blocks for a
 * grace period. 1: that was done, call again; 0: there is nothing (more) to do; -errno.
 */
int kernel_settle(struct kernel *k, uint32_t ifindex);
/* Takes them off. What is not there is no error. */
void kernel_detach(struct kernel *k, uint32_t ifindex);

enum attach_state {
	ATTACH_STATE_MISSING = 0, /* a program is not there, or another's is in its place */
	ATTACH_STATE_FIRST = 1,	  /* both are there, and nothing runs before them */
	ATTACH_STATE_BEHIND = 2,  /* something runs before one, and could let everything by it */
};
/* The worse of the two hooks' states, or -errno. */
int kernel_attached(const struct kernel *k, uint32_t ifindex);
/* Is a link at our place, with another program than ours? sluice-cni puts its own there, which drops everything. */
bool kernel_has_plugins(const struct kernel *k, uint32_t ifindex);
/* Is anything on it that stands where ours does: an earlier agent's, sluice-cni's? */
bool kernel_present(const struct kernel *k, uint32_t ifindex);
/* Back to ATTACH_STATE_FIRST, the new before the old goes. 0 or -errno. */
int kernel_repair(struct kernel *k, uint32_t ifindex);
/* The interface has gone: so do its links' pins. */
void kernel_forget(struct kernel *k, uint32_t ifindex);
/* Is the pin folder still the one this agent holds? When it was taken away and made anew, another agent may hold that. */
bool kernel_is_ours(const struct kernel *k);
/* Links of interfaces that are gone. */
void kernel_prune_links(struct kernel *k);

/* The programs a second time, over the same maps. */
struct kernel_copy;
int kernel_copy_open(const struct kernel *k, struct kernel_copy **ret); /* 0 or -errno */
void kernel_copy_freep(struct kernel_copy **c);
int kernel_copy_from_pod(const struct kernel_copy *c); /* fds, owned by the copy */
int kernel_copy_to_pod(const struct kernel_copy *c);

#endif
