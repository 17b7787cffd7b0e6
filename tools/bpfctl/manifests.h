/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests and `endpoints:` documents from files, for the commands that work without a node: `policy check` and
 * `policy explain -f`.
 */
#ifndef SLUICE_TOOLS_BPFCTL_MANIFESTS_H
#define SLUICE_TOOLS_BPFCTL_MANIFESTS_H

#include <stddef.h>

#include "policy/compile.h"
#include "policy/diag.h"
#include "policy/endpoints_file.h"
#include "policy/objects.h"

struct paths {
	char **items;
	size_t count;
};
void paths_clear(struct paths *p);
/*
 * Adds a file, or a directory's *.yaml, *.yml and *.json in the order of their names. 0, -ENOENT when a directory holds
 * none, -errno.
 */
int paths_add(struct paths *p, const char *path);

/* The file's bytes as the store wants them; "-" is standard input. 0 or -errno, with a message. */
int paths_read(const char *path, char **ret, size_t *ret_len);

#define FLEET_CIDRS 8

/*
 * The endpoints of documents `endpoints: [...]`, and Kubernetes objects; `subjects` borrow from them: the endpoints, then
 * the pods that are none of them.
 */
struct fleet {
	struct static_endpoints endpoints;
	struct objects objects;
	struct subject *subjects;
	size_t count;
	const char *cluster_domain; /* borrowed; NULL: cluster.local */
	struct sluice_prefix service_cidrs[FLEET_CIDRS];
	size_t nservice_cidrs;
};
void fleet_clear(struct fleet *f);
/*
 * Adds the endpoints of every `endpoints:` document in the text, and its objects. Number of documents `endpoints:`, 0 for
 * a text that is no YAML; -EINVAL when one of them is wrong; -ENOMEM.
 */
int fleet_read(struct fleet *f, const char *file, const char *text, size_t len, struct diags *diags);
/*
 * The text without its `endpoints:` documents, blanked and not cut, so that lines keep their numbers. `text` is changed
 * in place.
 */
void fleet_blank(char *text, size_t len);
/* As `subject` sees it, or anyone when NULL: which node is its own. Borrows; one at a time. */
struct inventory fleet_inventory(struct fleet *f, const struct subject *subject);
bool fleet_has_addr(const struct fleet *f, const struct sluice_addr *addr);
const struct subject *fleet_find(const struct fleet *f, const char *pod); /* "namespace/name" */

#endif
