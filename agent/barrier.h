/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps a pod in between the announcement of its interface and the programs: an nf_tables chain that drops all that comes
 * in on that interface. It does without the RTNL lock, which the programs have to wait for.
 */
#ifndef SLUICE_AGENT_BARRIER_H
#define SLUICE_AGENT_BARRIER_H

#include <stdint.h>

struct barrier;

/*
 * Before capabilities are given up (privs_drop). The table goes with `*ret`, or with the process. 0; an error of which
 * nft_is_lacking is true: this kernel cannot; -errno.
 */
int barrier_open(struct barrier **ret);
void barrier_freep(struct barrier **b);

/* By any thread. Neither waits until it is done; what is asked first is done first. */
void barrier_put(struct barrier *b, uint32_t ifindex);
void barrier_take(struct barrier *b, uint32_t ifindex); /* where there is none, nothing happens */

/* From barrier_put to the chain being there, at worst; nanoseconds. */
uint64_t barrier_slowest(const struct barrier *b);
/* How many could not be put. */
uint64_t barrier_failed(const struct barrier *b);

#endif
