/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closes a pod's interface when the kernel announces that it was made: by threads that do nothing else, so that whatever the
 * agent is at cannot hold them up. Everything besides (interfaces that were there, that change, that others have put something
 * on) is discover.c's, which hears of each one too.
 */
#ifndef SLUICE_AGENT_CLOSER_H
#define SLUICE_AGENT_CLOSER_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/config.h"

struct closer;

/* The programs stay the caller's. Before capabilities are given up (privs_drop). 0 or -errno. */
int closer_open(int from_pod, int to_pod, const struct config_interfaces *wanted, struct closer **ret);
void closer_freep(struct closer **c);

void closer_configure(struct closer *c, const struct config_interfaces *wanted);
/* Waits until the closing thread has done what it does to an interface whose making was announced; not for long. */
void closer_await(struct closer *c, uint32_t ifindex);
/* Did the interface of that index get both programs here? When it has gone, no longer. */
bool closer_has(const struct closer *c, uint32_t ifindex);
/* The programs are on it by other means, or it is no pod's: the barrier (barrier.h) goes, if there still is one. */
void closer_let_through(struct closer *c, uint32_t ifindex);
/* From an announcement's reading to the barrier being there, at worst; 0: none ever was. */
uint64_t closer_slowest_barrier(const struct closer *c);
/* How many interfaces got none, though this kernel has it: what keeps them is the programs alone. */
uint64_t closer_without_barrier(const struct closer *c);
/* From an announcement's reading to the program being on, at worst. */
uint64_t closer_slowest(const struct closer *c);
/* Does it run before everything that is not real-time? */
bool closer_is_realtime(const struct closer *c);

#endif
