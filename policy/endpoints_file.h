/* SPDX-License-Identifier: Apache-2.0 */
/* `endpoints:` documents: who is behind which interface, on hosts without Kubernetes. */
#ifndef SLUICE_POLICY_ENDPOINTS_FILE_H
#define SLUICE_POLICY_ENDPOINTS_FILE_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "policy/compile.h"
#include "policy/diag.h"
#include "policy/yaml.h"

struct static_endpoint {
	char *namespace_name;
	char *name;
	struct label *labels; /* owned strings */
	size_t nlabels;
	char interface[IF_NAMESIZE];
	struct sluice_addr addrs[SLUICE_ENDPOINT_ADDRS];
	size_t naddrs;
	uint32_t line; /* in the file, for messages */
	uint32_t column;
};

struct static_endpoints {
	struct static_endpoint *items;
	size_t count;
};

/*
 * The whole file as sluiced reads it: one document, and each endpoint complete. 0; -EINVAL with diagnostics, `ret`
 * untouched; -ENOMEM. Freed by static_endpoints_freep (NULL-safe, sets NULL).
 */
int static_endpoints_read(const char *file, const char *text, size_t len, struct diags *diags,
			  struct static_endpoints **ret);
/*
 * Adds the items of the list `node`. With `placed` an endpoint must say its interface and addresses; without, it stands
 * for a verdict only, and its namespace is "default" when it says none. Mistakes are reported through `c`.
 */
void static_endpoints_add(struct yctx *c, const struct ynode *node, bool placed, struct static_endpoints *list);
void static_endpoints_clear(struct static_endpoints *list);
void static_endpoints_freep(struct static_endpoints **list);
/* As selectors see it; borrows. */
struct subject static_endpoint_subject(const struct static_endpoint *e);

#endif
