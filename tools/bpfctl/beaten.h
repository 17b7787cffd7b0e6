/* SPDX-License-Identifier: Apache-2.0 */
/* The rules that spoke for a destination and did not decide. */
#ifndef SLUICE_TOOLS_BPFCTL_BEATEN_H
#define SLUICE_TOOLS_BPFCTL_BEATEN_H

#include <jansson.h>
#include <stdbool.h>

#include "policy/compile.h"
#include "policy/image.h"
#include "tools/bpfctl/explain.h"
#include "tools/bpfctl/offline.h"

/* Who knows the rules that speak for a destination: files, or the agent. */
struct beaten_source {
	/* As compile_trace(); the strings live until the next call. 0 or -errno. */
	int (*trace)(void *context, const struct trace_query *q, struct trace_rule **ret, size_t *ret_count);
	void *context;
	bool in_cluster; /* the address asked for is one of the cluster's */
};

/*
 * A list of {policy, kind, file, line, column, text, action}, the strongest first, without the rule `winner` (NULL: none
 * decided); a new reference. 0; -errno of the source.
 */
int beaten_rules(const struct beaten_source *source, const struct explain_query *q, const struct image_source *winner,
		 json_t **ret);

/* From files. */
struct beaten_files {
	struct offline *off;
	const struct subject *subject;
};
struct beaten_source beaten_from_files(struct beaten_files *files, const struct explain_query *q);

/* From the agent that listens on `socket`: what its manifests and its inventory say. */
struct beaten_agent {
	const char *socket;
	uint32_t endpoint;
	uint32_t generation;
	json_t *answer;	 /* the last; the caller's to drop */
	bool is_current; /* as far as was asked, what is in force was compiled from the same */
};
struct beaten_source beaten_from_agent(struct beaten_agent *agent, bool in_cluster);

#endif
