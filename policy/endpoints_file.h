/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The endpoints file: who is behind which interface, on hosts without Kubernetes, and the objects that policies' peers
 * are resolved against.
 */
#ifndef SLUICE_POLICY_ENDPOINTS_FILE_H
#define SLUICE_POLICY_ENDPOINTS_FILE_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "policy/compile.h"
#include "policy/diag.h"
#include "policy/objects.h"
#include "policy/yaml.h"

struct static_endpoint {
	char *namespace_name;
	char *name;
	char *uid;	      /* the pod's; NULL: not known, or it is no pod */
	struct label *labels; /* owned strings */
	size_t nlabels;
	char interface[IF_NAMESIZE]; /* "": in a cgroup */
	char *cgroup;		     /* absolute path; NULL: behind an interface */
	struct sluice_addr addrs[SLUICE_ENDPOINT_ADDRS];
	size_t naddrs;
	uint32_t line; /* in the file, for messages */
	uint32_t column;
};

struct static_endpoints {
	struct static_endpoint *items;
	size_t count;
};

struct endpoints_file {
	struct static_endpoints endpoints;
	struct objects objects;
};

/*
 * The whole file as sluiced reads it: at most one document `endpoints:`, each endpoint complete, and any number of
 * documents that are objects. 0; -EINVAL with diagnostics, `ret` untouched; -ENOMEM.
 */
int endpoints_file_read(const char *file, const char *text, size_t len, struct diags *diags,
			struct endpoints_file **ret);
void endpoints_file_freep(struct endpoints_file **f); /* NULL-safe, sets NULL */
/*
 * Adds the items of the list `node`. With `placed` an endpoint must say its interface and addresses; without, it stands
 * for a verdict only, and its namespace is "default" when it says none. Mistakes are reported through `c`.
 */
void static_endpoints_add(struct yctx *c, const struct ynode *node, bool placed, struct static_endpoints *list);
void static_endpoints_clear(struct static_endpoints *list);
/* Both leave in `to` what came so far, for static_endpoint_clear(). 0 or -ENOMEM. */
int static_endpoint_set_labels(struct static_endpoint *to, const struct label *labels, size_t nlabels);
int static_endpoint_copy(const struct static_endpoint *from, struct static_endpoint *to);
void static_endpoint_clear(struct static_endpoint *e);
/* As selectors see it; borrows. */
struct subject static_endpoint_subject(const struct static_endpoint *e);

#endif
