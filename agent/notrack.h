/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nf_tables table `inet sluice` of this network namespace: DNS that is handed over to the proxy, and the proxy's answers,
 * are not tracked (hazard 20). With them tracked kube-proxy's rules would turn a query to the cluster DNS Service's address into
 * one to a backend after the kernel program has chosen its socket, and TCP would never meet that socket again.
 *
 * It opens nothing: verdicts are made before netfilter. A pod cannot put a packet under the mark: a mark does not outlive the
 * way through a veth, and from there on only the kernel program sets it.
 */
#ifndef SLUICE_AGENT_NOTRACK_H
#define SLUICE_AGENT_NOTRACK_H

#include <stdbool.h>

struct notrack;

int notrack_open(struct notrack **ret); /* 0 or -errno */
void notrack_freep(struct notrack **n);

/*
 * Sees to it that the table is there and holds what it should, which costs one question while nobody has changed any table.
 * Whatever else bears its name is replaced, in one transaction. `*ret_made`: it was missing, or another. 0 or -errno.
 */
int notrack_ensure(struct notrack *n, bool *ret_made);

/* Does this error of either say that the kernel lacks a part of nf_tables? */
bool notrack_is_lacking(int error);

/* 1: it is there, whole or not; 0: it is not; -errno. */
int notrack_exists(struct notrack *n);
/* -ENOENT when there is none. 0 or -errno. */
int notrack_remove(struct notrack *n);

#endif
