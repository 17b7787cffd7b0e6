/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent tells the proxy, besides the policy images: one fixed struct in RUNDIR/proxy/settings, replaced by
 * rename, after which the agent raises settings.proxy_generation in the kernel map. RUNDIR/proxy is owned by root,
 * mode 0755, its files 0644; the proxy chroots into it.
 */
#ifndef SLUICE_DNSPROXY_SETTINGS_H
#define SLUICE_DNSPROXY_SETTINGS_H

#include <stdint.h>

#include "bpf/abi.h"

#define PROXY_SETTINGS_MAGIC   0x3153584f52504c53ull /* "SLPROXS1" little-endian on disk */
#define PROXY_DEFAULT_RUN_DIR  "/run/sluice"
#define PROXY_DEFAULT_PIN_PATH "/sys/fs/bpf/sluice"
#define PROXY_DIR	       "proxy" /* below the run directory */
#define PROXY_SETTINGS_FILE    "settings"
#define PROXY_IMAGE_FORMAT     "%016llx.img" /* policy id */

#define PROXY_MAX_RESOLVERS 8
#define PROXY_MAX_SEARCH    32

enum proxy_deny_response {
	PROXY_DENY_EMPTY = 0, /* NOERROR with SOA; NXDOMAIN under a search domain */
	PROXY_DENY_NXDOMAIN = 1,
	PROXY_DENY_REFUSED = 2,
};

enum proxy_ask_only {
	PROXY_ASK_FILTER = 0,
	PROXY_ASK_FORWARD = 1,
	PROXY_ASK_DENY = 2,
};

enum proxy_flags {
	PROXY_DENY_PRIVATE_ANSWERS = 1 << 0,
};

struct proxy_resolver {
	struct sluice_addr addr;
	uint16_t port; /* host order */
	uint16_t pad[3];
};

struct proxy_settings {
	uint64_t magic;
	uint32_t size;	/* sizeof(struct proxy_settings) */
	uint32_t flags; /* enum proxy_flags */
	uint32_t deny_response;
	uint32_t ask_only;
	uint32_t min_ttl; /* seconds; leases and nothing else: the TTL in the answer stays */
	uint32_t max_ttl;
	uint32_t grace;
	uint32_t query_timeout_ms; /* one try at one resolver */
	uint32_t query_tries;
	uint32_t nresolvers;
	uint32_t nsearch;
	uint32_t nqtypes;
	uint32_t new_names; /* a minute and endpoint below wildcards; 0: no limit */
	uint32_t pad;
	uint16_t qtypes[16];
	struct proxy_resolver resolvers[PROXY_MAX_RESOLVERS];
	char search[PROXY_MAX_SEARCH][256]; /* canonical names, NUL-terminated; the cluster domain among them */
	char cluster_domain[256];	    /* "" when there is none */
};

#endif
