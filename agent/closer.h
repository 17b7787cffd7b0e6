/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closes a pod's interface when the kernel announces that it was made: a thread that does nothing else, so that whatever the
 * agent is at cannot hold it up. Everything besides (interfaces that were there, that change, that others have put something
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
/* Did the interface of that index get both programs here? When it has gone, no longer. */
bool closer_has(const struct closer *c, uint32_t ifindex);
/* From an announcement's reading to the program being on, at worst. */
uint64_t closer_slowest(const struct closer *c);
/* Does it run before everything that is not real-time? */
bool closer_is_realtime(const struct closer *c);

#endif
