/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "agent/nlsock.h"
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "bpf/abi.h"
#include "policy/array.h"

#define BUFFER 32768

struct net {
	struct nlsock *ask;
	struct mnl_socket *news;
	char buf[BUFFER];
};

void net_freep(struct net **net)
{
	if (!*net)
		return;
	nlsock_freep(&(*net)->ask);
	if ((*net)->news)
		mnl_socket_close((*net)->news);
	free(*net);
	*net = NULL;
}

int net_open(struct net **ret)
{
	CLEANUP(net_freep) struct net *net = calloc(1, sizeof(*net));
	const unsigned int groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_RULE;
	const int more[] = { RTNLGRP_IPV6_RULE };
	int r = net ? nlsock_open(NETLINK_ROUTE, &net->ask) : -ENOMEM;

	if (r < 0)
		return r;
	net->news = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!net->news || mnl_socket_bind(net->news, groups, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(more); i++)
		mnl_socket_setsockopt(net->news, NETLINK_ADD_MEMBERSHIP, (void *)&more[i], sizeof(more[i]));
	*ret = TAKE_PTR(net);
	return 0;
}

/* ---- routing ----------------------------------------------------------------------------------------------------- */

struct rule {
	uint32_t mark;
	uint32_t pref;
	uint8_t action;
	uint32_t argument; /* FR_ACT_TO_TBL: the table; FR_ACT_GOTO: the rule */
	const char *from;  /* the interface it comes in on; NULL: any */
};

static int add_rule(struct net *net, uint8_t family, const struct rule *rule)
{
	char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct fib_rule_hdr *h;

	nlh->nlmsg_type = RTM_NEWRULE;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	h = mnl_nlmsg_put_extra_header(nlh, sizeof(*h));
	h->family = family;
	h->action = rule->action;
	mnl_attr_put_u32(nlh, FRA_PRIORITY, rule->pref);
	mnl_attr_put_u32(nlh, FRA_FWMARK, rule->mark);
	mnl_attr_put_u32(nlh, FRA_FWMASK, rule->mark);
	if (rule->action == FR_ACT_TO_TBL)
		mnl_attr_put_u32(nlh, FRA_TABLE, rule->argument);
	if (rule->action == FR_ACT_GOTO)
		mnl_attr_put_u32(nlh, FRA_GOTO, rule->argument);
	if (rule->from)
		mnl_attr_put_strz(nlh, FRA_IIFNAME, rule->from);
	return nlsock_talk(net->ask, nlh, NULL, NULL);
}

static int add_route(struct net *net, uint8_t family)
{
	char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtmsg *h;

	nlh->nlmsg_type = RTM_NEWROUTE;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	h = mnl_nlmsg_put_extra_header(nlh, sizeof(*h));
	h->rtm_family = family;
	h->rtm_table = RT_TABLE_UNSPEC;
	h->rtm_protocol = RTPROT_STATIC;
	h->rtm_scope = RT_SCOPE_HOST;
	h->rtm_type = RTN_LOCAL;
	mnl_attr_put_u32(nlh, RTA_TABLE, SLUICE_ROUTE_TABLE);
	mnl_attr_put_u32(nlh, RTA_OIF, if_nametoindex("lo"));
	return nlsock_talk(net->ask, nlh, NULL, NULL);
}

/* -EEXIST is what a whole node says. */
static int note(int r, unsigned int *added)
{
	*added += r == 0;
	return r == -EEXIST || r == -EAFNOSUPPORT || r == -EOPNOTSUPP ? 0 : r;
}

/*
 * With src_valid_mark the check of the way back looks a handed-over query's source up under the query's mark, finds our table,
 * where everything is local, and drops it. That look-up says it comes from lo: it is led past the table (hazard 29). The other
 * family has no such check.
 */
static int ensure_way_past(struct net *net, unsigned int *added)
{
	static const struct rule past[] = {
		{ SLUICE_FWMARK, SLUICE_RULE_PREF + 1, FR_ACT_NOP, 0, NULL },
		{ SLUICE_FWMARK, SLUICE_RULE_PREF - 1, FR_ACT_GOTO, SLUICE_RULE_PREF + 1, "lo" },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(past); i++)
		r = note(add_rule(net, AF_INET, &past[i]), added);
	return r;
}

int net_ensure_routing(struct net *net, unsigned int *ret_added)
{
	static const struct rule ours = { SLUICE_FWMARK, SLUICE_RULE_PREF, FR_ACT_TO_TBL, SLUICE_ROUTE_TABLE, NULL };
	/* Before those of the VPC CNI's branch ENIs (10), which move the local table behind them (20). */
	static const struct rule answers = { SLUICE_SOCK_MARK, SLUICE_RULE_PREF + 2, FR_ACT_TO_TBL, SLUICE_ANSWER_TABLE,
					     NULL };
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	unsigned int added = 0;
	int past = ensure_way_past(net, &added);

	if (past < 0)
		return past;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		/* The route first: a rule that leads to an empty table lets the packet go on to the next rule. */
		int r = note(add_route(net, families[i]), &added);

		if (r == 0)
			r = note(add_rule(net, families[i], &ours), &added);
		if (r == 0)
			r = note(add_rule(net, families[i], &answers), &added);
		if (r < 0)
			return r;
	}
	*ret_added = added;
	return 0;
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

struct addresses {
	struct sluice_addr *items;
	size_t count;
};

static int take_address(const struct nlmsghdr *nlh, void *data)
{
	const struct ifaddrmsg *h = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr, *found = NULL;
	struct addresses *list = data;
	struct sluice_addr *addr;

	if (nlh->nlmsg_type != RTM_NEWADDR || h->ifa_scope >= RT_SCOPE_LINK)
		return MNL_CB_OK;
	mnl_attr_for_each(attr, nlh, sizeof(*h))
	{
		/* On a point-to-point link IFA_ADDRESS is the peer's; IFA_LOCAL comes with IPv4 only. */
		if (mnl_attr_get_type(attr) == IFA_LOCAL || (mnl_attr_get_type(attr) == IFA_ADDRESS && !found))
			found = attr;
	}
	if (!found || mnl_attr_get_payload_len(found) != (h->ifa_family == AF_INET ? 4 : 16))
		return MNL_CB_OK;
	addr = array_push(&list->items, &list->count, sizeof(*addr));
	if (!addr)
		return MNL_CB_ERROR;
	if (h->ifa_family == AF_INET)
		addr_from_in(mnl_attr_get_payload(found), addr);
	else
		addr_from_in6(mnl_attr_get_payload(found), addr);
	return MNL_CB_OK;
}

int net_addresses(struct net *net, struct sluice_addr **ret, size_t *ret_count)
{
	struct addresses list = {};
	char buf[128];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifaddrmsg *h;
	int r;

	nlh->nlmsg_type = RTM_GETADDR;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h = mnl_nlmsg_put_extra_header(nlh, sizeof(*h));
	h->ifa_family = AF_UNSPEC;
	r = nlsock_talk(net->ask, nlh, take_address, &list);
	if (r < 0) {
		free(list.items);
		return r;
	}
	*ret = list.items;
	*ret_count = list.count;
	return 0;
}

/* ---- news -------------------------------------------------------------------------------------------------------- */

int net_news_fd(const struct net *net)
{
	return mnl_socket_get_fd(net->news);
}

static int take_news(const struct nlmsghdr *nlh, void *data)
{
	struct net_news *news = data;

	/* Every new interface brings a link-local one, which is not among the node's (take_address). */
	if (nlh->nlmsg_type == RTM_NEWADDR || nlh->nlmsg_type == RTM_DELADDR)
		news->addresses |= ((const struct ifaddrmsg *)mnl_nlmsg_get_payload(nlh))->ifa_scope < RT_SCOPE_LINK;
	news->routing |= nlh->nlmsg_type == RTM_DELRULE;
	return MNL_CB_OK;
}

int net_read_news(struct net *net, struct net_news *ret)
{
	struct net_news news = {};

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(net->news, net->buf, sizeof(net->buf));

		if (n < 0 && errno == ENOBUFS) {
			/* Something was lost: everything may have changed. */
			news = (struct net_news){ true, true };
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n <= 0)
			break;
		mnl_cb_run(net->buf, (size_t)n, 0, 0, take_news, &news);
	}
	*ret = news;
	return 0;
}

/* ---- preflight --------------------------------------------------------------------------------------------------- */

static int sysctl_value(const char *path)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	return file_read(AT_FDCWD, path, 64, &text, &len) < 0 ? -1 : atoi(text);
}

void net_preflight(struct strbuf *problems)
{
	if (sysctl_value("/proc/sys/net/ipv4/tcp_fwmark_accept") > 0)
		strbuf_adds(problems, "net.ipv4.tcp_fwmark_accept is 1: DNS over TCP to the proxy fails\n");
}
