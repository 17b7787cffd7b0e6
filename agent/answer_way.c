/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/answer_way.h"

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "bpf/abi.h"

#define BUFFER 256 /* a request */

static struct nlmsghdr *put_route(char *buf, const struct sluice_addr *addr, uint32_t ifindex)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	bool v4 = addr_is_ipv4(addr);
	struct rtmsg *h;

	nlh->nlmsg_type = RTM_NEWROUTE;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
	h = mnl_nlmsg_put_extra_header(nlh, sizeof(*h));
	h->rtm_family = v4 ? AF_INET : AF_INET6;
	h->rtm_dst_len = v4 ? 32 : 128;
	h->rtm_table = RT_TABLE_UNSPEC;
	h->rtm_protocol = RTPROT_STATIC;
	h->rtm_scope = v4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	h->rtm_type = RTN_UNICAST;
	mnl_attr_put(nlh, RTA_DST, v4 ? 4 : 16, v4 ? (const void *)&addr->w[3] : addr);
	mnl_attr_put_u32(nlh, RTA_TABLE, SLUICE_ANSWER_TABLE);
	mnl_attr_put_u32(nlh, RTA_OIF, ifindex);
	return nlh;
}

static struct nlmsghdr *put_address(char *buf, uint32_t ifindex)
{
	static const uint8_t address[] = SLUICE_ANSWER_ADDRESS;
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifaddrmsg *h;

	nlh->nlmsg_type = RTM_NEWADDR;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
	h = mnl_nlmsg_put_extra_header(nlh, sizeof(*h));
	h->ifa_family = AF_INET;
	h->ifa_prefixlen = 32;
	/* Never chosen as a source, and none of the node's (net_addresses). */
	h->ifa_scope = RT_SCOPE_HOST;
	h->ifa_index = ifindex;
	mnl_attr_put(nlh, IFA_LOCAL, sizeof(address), address);
	return nlh;
}

int answer_way_admit(struct nlsock *n, uint32_t ifindex)
{
	char buf[BUFFER];

	return nlsock_talk(n, put_address(buf, ifindex), NULL, NULL);
}

int answer_way_put(struct nlsock *n, const struct sluice_addr *addr, uint32_t ifindex)
{
	char buf[BUFFER];

	return nlsock_talk(n, put_route(buf, addr, ifindex), NULL, NULL);
}
