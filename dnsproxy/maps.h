/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's tables as the proxy uses them; kmaps.c is the real thing, tests have arrays. 0 or -errno. */
#ifndef SLUICE_DNSPROXY_MAPS_H
#define SLUICE_DNSPROXY_MAPS_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"

typedef void maps_lease_fn(const struct sluice_lease *lease, void *context);

struct maps {
	void *context;
	int (*find_interface)(void *context, uint32_t ifindex, struct sluice_if *ret);
	int (*find_asker)(void *context, const struct sluice_asker_key *key, struct sluice_asker *ret);
	bool (*in_cluster)(void *context, const struct sluice_addr *addr);
	int (*get_lease)(void *context, const struct sluice_lease_key *key, struct sluice_lease *ret);
	int (*put_lease)(void *context, const struct sluice_lease *lease);
	int (*delete_lease)(void *context, const struct sluice_lease_key *key);
	/* Hands out every lease of the table as it stands. */
	int (*each_lease)(void *context, maps_lease_fn *each, void *each_context);
	int (*put_name)(void *context, const struct sluice_name *name); /* an entry that is there already is success */
	/* Mapped, written by others while we read. */
	const struct sluice_settings *settings;
	const struct sluice_endpoint *endpoints;
	uint32_t nendpoints;
	const __u64 *lease_use; /* SLUICE_LEASE_USE_WORDS of them */
	uint32_t nleases;	/* the most there may be */
	/* Mapped, ours to write. */
	struct sluice_dns_stats *stats;
	struct sluice_dns_log_head *log;
	uint32_t nrecords;
};

#endif
