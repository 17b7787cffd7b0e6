/* SPDX-License-Identifier: Apache-2.0 */
/* A text of manifests to policies. Private. */
#ifndef SLUICE_POLICY_MANIFEST_H
#define SLUICE_POLICY_MANIFEST_H

#include "policy/model.h"
#include "policy/yaml.h"

struct manifest {
	struct policy **policies; /* refused ones among them */
	size_t count;
};

/* 0; -EINVAL when the text is no YAML (one diagnostic); -ENOMEM. Refused policies are marked, not missing. */
int manifest_read(const char *file, const char *text, size_t len, struct diags *diags, struct manifest *ret);
void manifest_clear(struct manifest *m);

/* The front ends. `p` has kind, file and metadata; errors go to `c`, and are counted there. */
void cnp_read(struct yctx *c, const struct ynode *root, struct policy *p);
void anp_read(struct yctx *c, const struct ynode *root, struct policy *p); /* and NetworkPolicy */
void cluster_policy_read(struct yctx *c, const struct ynode *root, struct policy *p);
void cidr_group_read(struct yctx *c, const struct ynode *root, struct policy *p);
void cidr_group_labels(struct yctx *c, const struct ynode *labels, struct policy *p); /* may be NULL */

#endif
