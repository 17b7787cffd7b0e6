/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/cleanup.h"

#define WAIT_SECONDS 2 /* for an answer: the kernel's come at once, and the agent's loop must not hang on one */

void nft_freep(struct nft **n)
{
	if (!*n)
		return;
	if ((*n)->socket)
		mnl_socket_close((*n)->socket);
	free(*n);
	*n = NULL;
}

int nft_open(struct nft **ret)
{
	CLEANUP(nft_freep) struct nft *n = calloc(1, sizeof(*n));
	const struct timeval wait = { .tv_sec = WAIT_SECONDS };

	if (!n)
		return -ENOMEM;
	n->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!n->socket || mnl_socket_bind(n->socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(n->socket), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
		return -errno;
	n->seq = (uint32_t)time(NULL);
	*ret = TAKE_PTR(n);
	return 0;
}

bool nft_is_lacking(int error)
{
	return error == -EPROTONOSUPPORT || error == -EOPNOTSUPP || error == -EAFNOSUPPORT || error == -ENOENT;
}

static struct nlmsghdr *put_header(void *buf, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *h;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	h = mnl_nlmsg_put_extra_header(nlh, sizeof(*h));
	h->nfgen_family = family;
	h->version = NFNETLINK_V0;
	h->res_id = htons(resource);
	return nlh;
}

struct nlmsghdr *nft_put(void *buf, uint16_t type, uint16_t flags, uint8_t family)
{
	return put_header(buf, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, family, 0);
}

struct nlmsghdr *nft_put_edge(void *buf, uint16_t type)
{
	return put_header(buf, type, 0, NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES);
}

void nft_put_be32(struct nlmsghdr *nlh, uint16_t type, uint32_t value)
{
	mnl_attr_put_u32(nlh, type, htonl(value));
}

int nft_talk(struct nft *n, struct nlmsghdr *nlh, mnl_cb_t cb, void *data)
{
	uint32_t port = mnl_socket_get_portid(n->socket);
	int r = MNL_CB_OK;

	nlh->nlmsg_seq = ++n->seq;
	if (mnl_socket_sendto(n->socket, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	while (r > MNL_CB_STOP) {
		ssize_t len = mnl_socket_recvfrom(n->socket, n->buf, sizeof(n->buf));

		if (len < 0)
			return -errno;
		r = mnl_cb_run(n->buf, (size_t)len, n->seq, port, cb, data);
	}
	return r < 0 ? -errno : 0;
}

static int take_generation(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(attr) == NFTA_GEN_ID && mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			*(uint32_t *)data = ntohl(mnl_attr_get_u32(attr));
	}
	return MNL_CB_OK;
}

int nft_generation(struct nft *n, uint32_t *ret)
{
	char buf[128];
	int r;

	*ret = 0;
	r = nft_talk(n, nft_put(buf, NFT_MSG_GETGEN, NLM_F_ACK, NFPROTO_UNSPEC), take_generation, ret);
	return r == 0 && *ret == 0 ? -EPROTO : r;
}
