/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to nf_tables of this network namespace. */
#ifndef SLUICE_AGENT_NFT_H
#define SLUICE_AGENT_NFT_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/nlsock.h"

#define NFT_MESSAGE_MAX 1024
#define NFT_BATCH_MAX	(16 * NFT_MESSAGE_MAX)

int nft_open(struct nlsock **ret); /* 0; -EPROTONOSUPPORT: the kernel has no netfilter by netlink; -errno */

/* Does this error say that the kernel lacks a part of nf_tables? */
bool nft_is_lacking(int error);

/* Begins a message of nf_tables in `buf`. `type`: NFT_MSG_*; `family`: NFPROTO_*. */
struct nlmsghdr *nft_put(void *buf, uint16_t type, uint16_t flags, uint8_t family);
void nft_put_be32(struct nlmsghdr *nlh, uint16_t type, uint32_t value);

/* Messages of which the kernel does all or nothing. Those added are written at nft_batch_at, up to NFT_MESSAGE_MAX each. */
struct nft_batch {
	uint32_t first, next; /* sequence numbers */
	size_t len;
	struct nlmsghdr *last;
	char buf[NFT_BATCH_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
};
void nft_batch_begin(struct nft_batch *b, const struct nlsock *n);
void *nft_batch_at(struct nft_batch *b);
void nft_batch_add(struct nft_batch *b, struct nlmsghdr *nlh);
int nft_batch_send(struct nft_batch *b, struct nlsock *n); /* 0 or -errno: the first mishap */

/* Of all tables of the namespace: it is another after every change, and never 0. 0 or -errno. */
int nft_generation(struct nlsock *n, uint32_t *ret);

#endif
