/* SPDX-License-Identifier: Apache-2.0 */
/* One socket to nf_tables of this network namespace, and the questions that are asked by it. */
#ifndef SLUICE_AGENT_NFT_H
#define SLUICE_AGENT_NFT_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

#define NFT_BUFFER 16384

struct nft {
	struct mnl_socket *socket;
	uint32_t seq;
	char buf[NFT_BUFFER];
};

int nft_open(struct nft **ret); /* 0; -EPROTONOSUPPORT: the kernel has no netfilter by netlink; -errno */
void nft_freep(struct nft **n);

/* Does this error say that the kernel lacks a part of nf_tables? */
bool nft_is_lacking(int error);

/* Begins a message of nf_tables in `buf`. `type`: NFT_MSG_*; `family`: NFPROTO_*. */
struct nlmsghdr *nft_put(void *buf, uint16_t type, uint16_t flags, uint8_t family);
/* Begins or ends a batch: NFNL_MSG_BATCH_*. */
struct nlmsghdr *nft_put_edge(void *buf, uint16_t type);
void nft_put_be32(struct nlmsghdr *nlh, uint16_t type, uint32_t value);

/* Sends, and gives each answer to `cb` until the last. The message asks for one: NLM_F_ACK, NLM_F_DUMP. 0 or -errno. */
int nft_talk(struct nft *n, struct nlmsghdr *nlh, mnl_cb_t cb, void *data);

/* Of all tables of the namespace: it is another after every change, and never 0. 0 or -errno. */
int nft_generation(struct nft *n, uint32_t *ret);

#endif
