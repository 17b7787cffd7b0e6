/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/nft.h"

#include <arpa/inet.h>
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

struct nlmsghdr *nft_put_edge(void *buf, uint16_t type)
{
	return put_header(buf, type, 0, NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES);
}

void nft_put_be32(struct nlmsghdr *nlh, uint16_t type, uint32_t value)
{
	mnl_attr_put_u32(nlh, type, htonl(value));
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

int nft_generation(struct nlsock *n, uint32_t *ret)
{
	char buf[128];
	int r;

	*ret = 0;
	r = nlsock_talk(n, nft_put(buf, NFT_MSG_GETGEN, NLM_F_ACK, NFPROTO_UNSPEC), take_generation, ret);
	return r == 0 && *ret == 0 ? -EPROTO : r;
}
