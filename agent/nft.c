/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/nft.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

int nft_open(struct nlsock **ret)
{
	return nlsock_open(NETLINK_NETFILTER, ret);
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

void nft_put_be32(struct nlmsghdr *nlh, uint16_t type, uint32_t value)
{
	mnl_attr_put_u32(nlh, type, htonl(value));
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

void *nft_batch_at(struct nft_batch *b)
{
	assert(b->len + NFT_MESSAGE_MAX <= sizeof(b->buf));
	return b->buf + b->len;
}

void nft_batch_add(struct nft_batch *b, struct nlmsghdr *nlh)
{
	nlh->nlmsg_seq = b->next++;
	b->len += nlh->nlmsg_len; /* a multiple of NLMSG_ALIGNTO, as are all attributes */
	b->last = nlh;
}

static void add_edge(struct nft_batch *b, uint16_t type)
{
	nft_batch_add(b, put_header(nft_batch_at(b), type, 0, NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES));
}

void nft_batch_begin(struct nft_batch *b, const struct nlsock *n)
{
	b->first = b->next = n->seq + 1;
	b->len = 0;
	add_edge(b, NFNL_MSG_BATCH_BEGIN);
}

/*
 * What is wrong is answered, and the last message in any case, since it asks for it. An answer to the first says that none was
 * looked at.
 */
static int read_result(struct nlsock *n, uint32_t first, uint32_t last)
{
	int result = 0;

	for (;;) {
		ssize_t len = mnl_socket_recvfrom(n->socket, n->buf, sizeof(n->buf));
		int left = (int)len;

		if (len < 0)
			return -errno;
		for (const struct nlmsghdr *nlh = (void *)n->buf; mnl_nlmsg_ok(nlh, left);
		     nlh = mnl_nlmsg_next(nlh, &left)) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);

			if (nlh->nlmsg_type != NLMSG_ERROR)
				continue;
			if (e->error && result == 0)
				result = e->error;
			if (e->msg.nlmsg_seq == first || e->msg.nlmsg_seq == last)
				return result;
		}
	}
}

int nft_batch_send(struct nft_batch *b, struct nlsock *n)
{
	uint32_t last = b->last->nlmsg_seq;

	b->last->nlmsg_flags |= NLM_F_ACK;
	add_edge(b, NFNL_MSG_BATCH_END);
	n->seq = b->next;
	return mnl_socket_sendto(n->socket, b->buf, b->len) < 0 ? -errno : read_result(n, b->first, last);
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

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

int nft_generation(struct nlsock *n, uint32_t *ret)
{
	char buf[128];
	int r;

	*ret = 0;
	r = nlsock_talk(n, nft_put(buf, NFT_MSG_GETGEN, NLM_F_ACK, NFPROTO_UNSPEC), take_generation, ret);
	return r == 0 && *ret == 0 ? -EPROTO : r;
}
