/* SPDX-License-Identifier: Apache-2.0 */
/* What endpoints.c and apply.c share. Private to them. */
#ifndef SLUICE_AGENT_APPLY_H
#define SLUICE_AGENT_APPLY_H

#include "agent/cluster.h"
#include "agent/endpoints.h"

struct endpoints {
	struct kernel *k;
	struct publisher *p;
	struct endpoint *items;
	size_t count;
	struct endpoints_file *wanted; /* NULL: no endpoints file was read yet */
	char *file;
	struct cluster cluster;
	struct cluster in_force; /* what the kernel holds of it, while `in_force_known` */
	bool in_force_known;
	uint64_t in_force_of;	   /* compiler_cluster() of the pass that made it so */
	struct compiler *compiler; /* kept from pass to pass */
	uint64_t now;		   /* of the present apply */
	uint16_t epoch;		   /* of every state word */
	bool changed;
	bool left;		 /* an endpoint has, and its links may have lost their interface */
	int names;		 /* a socket to ask for interfaces by name */
	endpoints_keep_fn *keep; /* NULL: none is kept */
	void *keep_context;
};

#endif
