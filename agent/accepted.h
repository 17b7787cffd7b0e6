/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last text of each policy source that was taken whole, kept over a restart: to an agent that meets a source with a wrong
 * text first, it is the last good one. `dir` is a folder's descriptor, or -1: nothing is kept.
 */
#ifndef SLUICE_AGENT_ACCEPTED_H
#define SLUICE_AGENT_ACCEPTED_H

#include <stddef.h>

#include "policy/compile.h"

void accepted_keep(int dir, const char *source, const char *text, size_t len); /* failing is logged */
void accepted_forget(int dir, const char *source);
/* The kept text; free(). 0 or -errno, -ENOENT when there is none. */
int accepted_read(int dir, const char *source, char **ret, size_t *ret_len);
/* Gives the kept text to the store as the source's, if there is one. */
void accepted_recall(int dir, const char *source, struct store *store);

#endif
