/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pinned maps, only ever read: the kernel's own truth, there with or without an agent. Opening checks each map's
 * shape against bpf/abi.h, so that a map of another version is refused and not misread.
 */
#ifndef SLUICE_TOOLS_BPFCTL_PINS_H
#define SLUICE_TOOLS_BPFCTL_PINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"

enum pin {
	PIN_SETTINGS,
	PIN_IFINDEXES,
	PIN_ENDPOINTS,
	PIN_RUNTIME,
	PIN_LABELS,
	PIN_DESTS,
	PIN_RULES,
	PIN_LEASES,
	PIN_LEASE_LINES,
	PIN_LEASE_USE,
	PIN_NAMES,
	PIN_CLUSTER,
	PIN_CLUSTER_QUIET,
	PIN_FLOWS,
	PIN_FRAGS,
	PIN_EVENTS,
	PIN_TOTALS,
	PIN_DNS_SOCKETS,
	PIN_PROXY_PEERS,
	PIN_DNS_LOG,
	PIN_DNS_STATS,
	PIN_MAX,
};

enum pin_kind {
	PIN_KIND_ARRAY,
	PIN_KIND_SHARED, /* an array that is mapped into memory */
	PIN_KIND_PERCPU,
	PIN_KIND_HASH,
	PIN_KIND_TRIE,
	PIN_KIND_RING,
	PIN_KIND_SOCKETS,
};

struct pin_shape {
	const char *name;
	const char *what; /* one line for `map list` */
	enum pin_kind kind;
	uint32_t key_size;
	uint32_t value_size;
};
const struct pin_shape *pin_shape(enum pin pin);
/* The map of that name, or PIN_MAX. */
enum pin pin_find(const char *name);

struct pins;

/*
 * Opens `settings`; the other maps are opened when first used. 0; -ENOENT: nothing is pinned there; -EPERM, -EACCES;
 * -EPROTO: the maps are another version's; else -errno.
 */
int pins_open(const char *path, struct pins **ret);
void pins_freep(struct pins **pins);
/* pins_open with a message that says what to do; NULL when it failed. */
struct pins *pins_require(const char *path);

/* An fd owned by `pins`; -ENOENT, -EPROTO, -errno. `ret_entries` may be NULL. */
int pins_fd(struct pins *pins, enum pin pin, uint32_t *ret_entries);

/* Shared maps, NULL when the map cannot be had. `count` may be NULL. */
const struct sluice_settings *pins_settings(const struct pins *pins);
const struct sluice_endpoint *pins_endpoints(struct pins *pins, uint32_t *count);
const struct sluice_runtime *pins_runtime(struct pins *pins, uint32_t *count);
const struct sluice_dns_record *pins_dns_log(struct pins *pins, uint32_t *count); /* [0] is the head */
const struct sluice_dns_stats *pins_dns_stats(struct pins *pins);

/*
 * Calls `each` for every element of an array, hash or trie until it returns other than 0, which is then returned. An
 * element that vanishes meanwhile is left out. -errno when the map cannot be had.
 */
typedef int pins_each_fn(const void *key, const void *value, void *context);
int pins_each(struct pins *pins, enum pin pin, pins_each_fn *each, void *context);
/* 0, -ENOENT, -errno */
int pins_lookup(struct pins *pins, enum pin pin, const void *key, void *value);
/* Elements in use of a hash, trie or of `endpoints`; negative when it cannot be had or the kind has no such count. */
int64_t pins_used(struct pins *pins, enum pin pin);
/* Sums over the CPUs into ret[SLUICE_TOTAL_MAX]. 0 or -errno. */
int pins_totals(struct pins *pins, __u64 *ret);

/* The lease's name as text into buf of 256 bytes; false: not known. */
bool pins_name(struct pins *pins, uint64_t id, char *buf);

/*
 * Do the programs still sit on the endpoint's interface, by pinned link or filter, or on its cgroup? 1, 0, or -errno when it
 * cannot be told.
 */
int pins_endpoint_attached(const struct pins *pins, const struct sluice_endpoint *ep);

/* A heartbeat older than this is a process that hangs or is gone. */
#define PINS_ALIVE_NSEC (5ull * 1000000000ull)
bool pins_agent_alive(const struct pins *pins, uint64_t now);
bool pins_proxy_alive(struct pins *pins, uint64_t now);
/* Is the egress filter on a DNS proxy's cgroup (dnsproxy/confine.h)? One that ended takes it along. */
bool pins_proxy_confined(const struct pins *pins);

#endif
