/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's tables as arrays, and a core on top of them whose packets go into arrays too. */
#ifndef SLUICE_TESTS_FAKE_H
#define SLUICE_TESTS_FAKE_H

#include "dnsproxy/core.h"
#include "dnsproxy/lease.h"

#define FAKE_ENDPOINTS 12
#define FAKE_LEASES    128

struct fake_packet {
	uint8_t data[2048];
	size_t len;
};

struct fake {
	struct sluice_settings settings;
	struct sluice_endpoint endpoints[FAKE_ENDPOINTS];
	struct sluice_if links[FAKE_ENDPOINTS]; /* by ifindex - 100 */
	struct sluice_asker_key asker_key;	/* the one that is known, while `asker` has a generation */
	struct sluice_asker asker;
	struct sluice_addr cluster[4];
	uint32_t ncluster;
	struct sluice_lease leases[FAKE_LEASES];
	uint32_t nleases, max_leases;
	struct sluice_name names[FAKE_LEASES];
	uint32_t nnames, max_names;
	__u64 lease_use[SLUICE_LEASE_USE_WORDS];
	uint32_t lease_writes, lease_deletes, walks;
	uint32_t looks; /* at leases and the cluster table */
	struct sluice_dns_stats stats;
	struct sluice_dns_record log[1 + 16];
	struct maps maps;

	struct core *core;
	struct proxy_settings conf;
	const struct image *images[4]; /* by policy id */
	struct fake_packet replies[8]; /* the last ones, nreplies counts all */
	struct core_asker replied_to;
	uint32_t nreplies;
	struct fake_packet asked; /* the last upstream query */
	struct proxy_resolver asked_of;
	uint32_t asked_transport, nasked, nreleased;
	bool asked_tcp;
	bool tcp_stands; /* a connection to a resolver */
	int ask_error;
	uint16_t next_random;
	/* Runs between two steps of the core: what others do meanwhile. */
	void (*on_lease)(struct fake *f);
	void (*on_ask)(struct fake *f);
};

/* `f` is zeroed and set up: endpoint 3, generation 77 on ifindex 103, policy 1 enforced; one resolver 10.0.0.53. */
void fake_new(struct fake *f, const struct image *img);
void fake_free(struct fake *f);

#endif
