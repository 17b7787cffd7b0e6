/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do the queries that the kernel programs hand over arrive at the proxy? Whatever comes between (a firewall's input rules, a
 * check of the way back, a setting nobody thought of) shows in the two counts, and in nothing else (hazard 29). And do its
 * answers get out? What a firewall's output rules drop, the proxy is told by the kernel.
 */
#ifndef SLUICE_AGENT_ARRIVAL_H
#define SLUICE_AGENT_ARRIVAL_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/firewall.h"
#include "agent/kernel.h"
#include "base/strbuf.h"

enum { ARRIVAL_UDP, ARRIVAL_TCP, ARRIVAL_MAX };

struct arrival {
	struct arrival_way {
		uint64_t handed, arrived; /* the counts when something last arrived, or at first */
		uint64_t handed_before;	  /* at the last look: these had the time to arrive */
		uint64_t lost;		  /* handed over since, and none of them arrived */
		bool proven;		  /* some did, after the last loss */
	} ways[ARRIVAL_MAX];
	struct {
		uint64_t barred; /* answers, at the last look */
		uint64_t lost;	 /* of those, in a row */
		bool proven;	 /* some got out, after the last that did not */
	} out;
	bool begun;
};

/* Looks at the counts; meant for every few seconds. */
void arrival_look(struct arrival *a, const struct kernel *k, uint64_t now);

/*
 * A line for what does not arrive or get out; and, until something has, one for each part of the firewall (NULL: not known) that
 * may be the reason.
 */
void arrival_problems(const struct arrival *a, struct firewall *f, struct strbuf *problems);

#endif
