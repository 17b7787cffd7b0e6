/* SPDX-License-Identifier: Apache-2.0 */
/* `policy check --resolve`: the exact names of manifests against DNS. */
#ifndef SLUICE_TOOLS_BPFCTL_CHECK_RESOLVE_H
#define SLUICE_TOOLS_BPFCTL_CHECK_RESOLVE_H

#include <jansson.h>

#include "policy/diag.h"
#include "tools/bpfctl/resolve.h"
#include "tools/bpfctl/tree.h"

/*
 * Asks for every exact name that a policy opens, but not for those below the cluster's `domain`. Diagnostics at the places of the names; `*ret` is a list of what was
 * found, a new reference. 0; -EINVAL: options->server is no address; -ETIMEDOUT: there were names, and not one question
 * was answered; -ENOMEM; -errno.
 */
int check_resolve(const struct tree *t, const char *domain, const struct resolve_options *options, struct diags *diags,
		  json_t **ret);

#endif
