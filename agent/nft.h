/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to nf_tables of this network namespace. */
#ifndef SLUICE_AGENT_NFT_H
#define SLUICE_AGENT_NFT_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/nlsock.h"

int nft_open(struct nlsock **ret); /* 0; -EPROTONOSUPPORT: the kernel has no netfilter by netlink; -errno */

/* Does this error say that the kernel lacks a part of nf_tables? */
bool nft_is_lacking(int error);

/* Begins a message of nf_tables in `buf`. `type`: NFT_MSG_*; `family`: NFPROTO_*. */
struct nlmsghdr *nft_put(void *buf, uint16_t type, uint16_t flags, uint8_t family);
/* Begins or ends a batch: NFNL_MSG_BATCH_*. */
struct nlmsghdr *nft_put_edge(void *buf, uint16_t type);
void nft_put_be32(struct nlmsghdr *nlh, uint16_t type, uint32_t value);

/* Of all tables of the namespace: it is another after every change, and never 0. 0 or -errno. */
int nft_generation(struct nlsock *n, uint32_t *ret);

#endif
