/* SPDX-License-Identifier: Apache-2.0 */
/* What `bpfctl run` hands its agent: the policies, and who the command is for them. */
#ifndef SLUICE_TOOLS_BPFCTL_RUN_POLICY_H
#define SLUICE_TOOLS_BPFCTL_RUN_POLICY_H

#include <stddef.h>

#include "base/strbuf.h"

/* Borrowed texts. */
struct run_policy {
	const char *const *files; /* manifests */
	size_t nfiles;
	const char *const *allow; /* NAME[:PORT[/PROTOCOL]], ADDRESS or CIDR likewise */
	size_t nallow;
	const char *const *labels; /* KEY=VALUE, over those that the selectors ask for */
	size_t nlabels;
	const char *namespace_name; /* NULL: that of the policies */
};

/*
 * Copies the manifests into the folder `dir` and writes what `allow` says beside them, and appends the endpoint's
 * namespace and labels, as members of a YAML flow mapping, to `ret_endpoint`. The command has every label that a policy's
 * selector wants, and the policies' namespace, so each policy of the files applies to it unless it says otherwise. 0;
 * -EINVAL and -errno with a message on stderr.
 */
int run_policy_write(const struct run_policy *p, int dir, struct strbuf *ret_endpoint);

#endif
