/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that a thread writes while its parts are still being made, since a disk may take its time and the whole may be large:
 * what is on its way is no more than the disk is behind.
 */
#ifndef SLUICE_AGENT_KUBE_SPOOL_H
#define SLUICE_AGENT_KUBE_SPOOL_H

#include "base/strbuf.h"

struct kube_spool;

/* `dir` and `name` are borrowed until it is joined; `done`, an eventfd, becomes readable when the thread has ended. 0 or -errno. */
int kube_spool_start(int dir, const char *name, int done, struct kube_spool **ret);
/* The next bytes of the file; `part` is `= {}` again. */
void kube_spool_add(struct kube_spool *s, struct strbuf *part);
/* There are no more. 0: the file takes the old one's place, synced. -errno, why it is not whole: the old one stays. Once. */
void kube_spool_end(struct kube_spool *s, int result);
/* Waits for the thread and frees all. 0: the file is in its place; -errno: what went wrong first, here or at its end. */
int kube_spool_join(struct kube_spool **s);

#endif
