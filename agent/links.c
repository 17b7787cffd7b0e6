/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/links.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "policy/array.h"

#define BUFFER	      65536
#define NEWS_BUFFER   (8 << 20) /* a burst of thousands of interfaces */
#define DUMP_TRIES    5
#define INET_BITS(f)  ((f) == AF_INET ? 32u : 128u)
#define INET_BYTES(f) ((f) == AF_INET ? 4u : 16u)

struct links {
	struct links_handlers handlers;
	struct mnl_socket *ask;
	struct mnl_socket *news;
	struct link *items; /* by ifindex, ascending */
	size_t count;
	uint32_t seq;
	uint64_t resyncs;
	bool quiet; /* the first reading: nobody is told */
	bool changed;
	bool stale; /* an address or default route went: how many are left is read, not counted */
	char buf[BUFFER] __attribute__((aligned(NLMSG_ALIGNTO)));
};

void links_freep(struct links **l)
{
	if (!*l)
		return;
	if ((*l)->ask)
		mnl_socket_close((*l)->ask);
	if ((*l)->news)
		mnl_socket_close((*l)->news);
	free((*l)->items);
	free(*l);
	*l = NULL;
}

int links_fd(const struct links *l)
{
	return mnl_socket_get_fd(l->news);
}

uint64_t links_resyncs(const struct links *l)
{
	return l->resyncs;
}

size_t links_count(const struct links *l)
{
	return l->count;
}

struct link *links_at(const struct links *l, size_t i)
{
	return &l->items[i];
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

/* Where it is, or would be. */
static size_t place_of(const struct links *l, uint32_t ifindex)
{
	size_t low = 0, high = l->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (l->items[mid].ifindex < ifindex)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct link *links_find(const struct links *l, uint32_t ifindex)
{
	size_t at = place_of(l, ifindex);

	return at < l->count && l->items[at].ifindex == ifindex ? &l->items[at] : NULL;
}

struct link *links_after(const struct links *l, uint32_t ifindex)
{
	size_t at = ifindex == UINT32_MAX ? l->count : place_of(l, ifindex + 1);

	return at < l->count ? &l->items[at] : NULL;
}

struct link *links_find_name(const struct links *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++) {
		if (strcmp(l->items[i].name, name) == 0)
			return &l->items[i];
	}
	return NULL;
}

static struct link *insert(struct links *l, uint32_t ifindex)
{
	size_t at = place_of(l, ifindex);

	if (!array_push(&l->items, &l->count, sizeof(*l->items)))
		return NULL;
	memmove(&l->items[at + 1], &l->items[at], (l->count - 1 - at) * sizeof(*l->items));
	l->items[at] = (struct link){ .ifindex = ifindex, .netnsid = -1, .came = clock_now() };
	return &l->items[at];
}

static void tell_changed(struct links *l, struct link *link)
{
	l->changed = true;
	if (!l->quiet)
		l->handlers.changed(l->handlers.context, link);
}

static void remove_link(struct links *l, struct link *link)
{
	size_t at = (size_t)(link - l->items);

	l->changed = true;
	if (!l->quiet)
		l->handlers.gone(l->handlers.context, link);
	memmove(link, link + 1, (l->count - 1 - at) * sizeof(*link));
	l->count--;
}

/* ---- interfaces -------------------------------------------------------------------------------------------------- */

static bool is_veth(const struct nlattr *linkinfo)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, linkinfo)
	{
		if (mnl_attr_get_type(attr) == IFLA_INFO_KIND && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
			return strcmp(mnl_attr_get_str(attr), "veth") == 0;
	}
	return false;
}

void links_parse(const struct nlmsghdr *nlh, struct link *ret)
{
	const struct nlattr *attr;

	ret->netnsid = -1;
	ret->master = 0;
	ret->veth = false;
	mnl_attr_for_each(attr, nlh, sizeof(struct ifinfomsg))
	{
		uint16_t len = mnl_attr_get_payload_len(attr);

		switch (mnl_attr_get_type(attr)) {
		case IFLA_IFNAME:
			if (mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0 && len <= sizeof(ret->name))
				strcpy(ret->name, mnl_attr_get_str(attr));
			break;
		case IFLA_ADDRESS:
			if (len == sizeof(ret->mac))
				memcpy(ret->mac, mnl_attr_get_payload(attr), sizeof(ret->mac));
			break;
		case IFLA_MASTER:
			ret->master = mnl_attr_get_u32(attr);
			break;
		case IFLA_LINK_NETNSID:
			ret->netnsid = (int32_t)mnl_attr_get_u32(attr);
			ret->elsewhere = true;
			break;
		case IFLA_LINKINFO:
			ret->veth = is_veth(attr);
			break;
		}
	}
}

/*
 * Between two readings an index may have gone from one interface to another whose news were lost: name, hardware address and
 * peer tell them apart. In the order of news an index is only given again after RTM_DELLINK.
 */
static bool is_another(const struct link *was, const struct link *is)
{
	return strcmp(was->name, is->name) != 0 || memcmp(was->mac, is->mac, sizeof(is->mac)) != 0 ||
	       was->netnsid != is->netnsid;
}

static int take_link(struct links *l, const struct nlmsghdr *nlh, bool reading)
{
	const struct ifinfomsg *h = mnl_nlmsg_get_payload(nlh);
	struct link *link = links_find(l, (uint32_t)h->ifi_index), is;

	/* A bridge tells of its ports with messages of its own family, also when one leaves it. */
	if (h->ifi_family != AF_UNSPEC)
		return 0;
	if (nlh->nlmsg_type == RTM_DELLINK) {
		if (link)
			remove_link(l, link);
		return 0;
	}
	if (link && reading) {
		is = *link;
		links_parse(nlh, &is);
		if (is_another(link, &is)) {
			remove_link(l, link);
			link = NULL;
		}
	}
	if (!link) {
		link = insert(l, (uint32_t)h->ifi_index);
		if (!link)
			return -ENOMEM;
		link->announced = h->ifi_change == ~0u;
	}
	links_parse(nlh, link);
	link->seen = true;
	tell_changed(l, link);
	return 0;
}

/* ---- addresses and routes ---------------------------------------------------------------------------------------- */

/* News repeat what is there already, so that only "none" and "some" can be told apart, and what is left only by reading. */
static void count_one(struct links *l, const struct link *link, unsigned int *count, bool add)
{
	if (add)
		++*count;
	else if (link->veth && link->elsewhere)
		l->stale = true;
}

static void take_address(struct links *l, const struct nlmsghdr *nlh)
{
	const struct ifaddrmsg *h = mnl_nlmsg_get_payload(nlh);
	struct link *link = links_find(l, h->ifa_index);

	if (!link || (h->ifa_family != AF_INET && h->ifa_family != AF_INET6) || h->ifa_scope >= RT_SCOPE_LINK ||
	    h->ifa_prefixlen == INET_BITS(h->ifa_family))
		return;
	count_one(l, link, &link->subnets, nlh->nlmsg_type == RTM_NEWADDR);
	tell_changed(l, link);
}

static void set_apart(struct link *link, size_t i, bool apart)
{
	link->apart = (link->apart & ~(1u << i)) | (uint32_t)apart << i;
}

static void take_host_route(struct link *link, const struct sluice_addr *addr, bool add, bool apart)
{
	size_t i = 0;

	while (i < link->nroutes && addr_compare(&link->routes[i], addr) != 0)
		i++;
	if (add && i == link->nroutes && i < SLUICE_ENDPOINT_ADDRS) {
		link->routes[link->nroutes++] = *addr;
		link->routes_moved = true;
		set_apart(link, i, apart);
		link->apart_moved |= apart;
	} else if (!add && i < link->nroutes) {
		link->routes[i] = link->routes[--link->nroutes];
		set_apart(link, i, link->apart >> link->nroutes & 1);
		set_apart(link, link->nroutes, false);
		link->routes_moved = true;
	}
}

/* A route that replaces another comes without news of that one's end. */
static void forget_host_route(struct links *l, const struct sluice_addr *addr)
{
	for (size_t i = 0; i < l->count; i++)
		take_host_route(&l->items[i], addr, false, false);
}

struct route {
	const struct nlattr *dst; /* NULL: the default route */
	uint32_t oif;		  /* 0: none */
	uint32_t table;
};

static void read_route(const struct nlmsghdr *nlh, struct route *ret)
{
	const struct rtmsg *h = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;

	*ret = (struct route){ .table = h->rtm_table };
	mnl_attr_for_each(attr, nlh, sizeof(*h))
	{
		if (mnl_attr_get_type(attr) == RTA_DST)
			ret->dst = attr;
		else if (mnl_attr_validate(attr, MNL_TYPE_U32) < 0)
			continue;
		else if (mnl_attr_get_type(attr) == RTA_OIF)
			ret->oif = mnl_attr_get_u32(attr);
		else if (mnl_attr_get_type(attr) == RTA_TABLE)
			ret->table = mnl_attr_get_u32(attr);
	}
}

static void take_route(struct links *l, const struct nlmsghdr *nlh)
{
	const struct rtmsg *h = mnl_nlmsg_get_payload(nlh);
	bool add = nlh->nlmsg_type == RTM_NEWROUTE;
	struct sluice_addr addr;
	struct route route;
	struct link *link;

	if ((h->rtm_family != AF_INET && h->rtm_family != AF_INET6) || h->rtm_type != RTN_UNICAST ||
	    h->rtm_flags & RTM_F_CLONED)
		return;
	read_route(nlh, &route);
	link = route.oif ? links_find(l, route.oif) : NULL;
	/* Those of our own table are our own doing. */
	if (!link || route.table == SLUICE_ANSWER_TABLE)
		return;
	if (h->rtm_dst_len == 0) {
		count_one(l, link, &link->defaults, add);
	} else if (h->rtm_dst_len == INET_BITS(h->rtm_family) && route.dst &&
		   mnl_attr_get_payload_len(route.dst) == INET_BYTES(h->rtm_family)) {
		if (h->rtm_family == AF_INET)
			addr_from_in(mnl_attr_get_payload(route.dst), &addr);
		else
			addr_from_in6(mnl_attr_get_payload(route.dst), &addr);
		if (add && nlh->nlmsg_flags & NLM_F_REPLACE)
			forget_host_route(l, &addr);
		take_host_route(link, &addr, add, route.table != RT_TABLE_MAIN && route.table != RT_TABLE_LOCAL);
	} else {
		return;
	}
	tell_changed(l, link);
}

/* What its owner does not see: a filter or qdisc of the interface was changed. */
static void take_filters(struct links *l, const struct nlmsghdr *nlh)
{
	const struct tcmsg *h = mnl_nlmsg_get_payload(nlh);
	struct link *link = links_find(l, (uint32_t)h->tcm_ifindex);

	if (!link || !link->guarded)
		return;
	/* Our own doing. */
	if (nlh->nlmsg_type == RTM_NEWTFILTER && TC_H_MAJ(h->tcm_info) >> 16 == SLUICE_TC_PRIORITY &&
	    (h->tcm_handle == SLUICE_TC_HANDLE || h->tcm_handle == SLUICE_TC_HANDLE_2))
		return;
	link->suspect = true;
	l->changed = true;
}

static int take(const struct nlmsghdr *nlh, struct links *l, bool reading)
{
	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return take_link(l, nlh, reading);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		take_address(l, nlh);
		return 0;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		take_route(l, nlh);
		return 0;
	case RTM_NEWTFILTER:
	case RTM_DELTFILTER:
	case RTM_DELQDISC:
		take_filters(l, nlh);
		return 0;
	}
	return 0;
}

static int take_read(const struct nlmsghdr *nlh, void *data)
{
	return take(nlh, data, true) < 0 ? MNL_CB_ERROR : MNL_CB_OK;
}

static int take_news(const struct nlmsghdr *nlh, void *data)
{
	return take(nlh, data, false) < 0 ? MNL_CB_ERROR : MNL_CB_OK;
}

/* ---- reading everything ------------------------------------------------------------------------------------------ */

/* All three headers begin with the family, and a longer one than the kernel looks for does no harm. */
static int dump(struct links *l, uint16_t type, size_t header)
{
	char request[128];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(request);
	int r = MNL_CB_OK;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = ++l->seq;
	memset(mnl_nlmsg_put_extra_header(nlh, header), 0, header);
	if (mnl_socket_sendto(l->ask, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	while (r > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(l->ask, l->buf, sizeof(l->buf));

		if (n < 0)
			return -errno;
		r = mnl_cb_run(l->buf, (size_t)n, l->seq, mnl_socket_get_portid(l->ask), take_read, l);
	}
	return r < 0 ? -errno : 0;
}

static int read_once(struct links *l)
{
	int r;

	for (size_t i = 0; i < l->count; i++) {
		struct link *link = &l->items[i];

		link->seen = false;
		link->subnets = link->defaults = 0;
		link->nroutes = 0;
		link->routes_moved = true;
	}
	r = dump(l, RTM_GETLINK, sizeof(struct ifinfomsg));
	for (size_t i = l->count; r == 0 && i-- > 0;) {
		if (!l->items[i].seen)
			remove_link(l, &l->items[i]);
	}
	if (r == 0)
		r = dump(l, RTM_GETADDR, sizeof(struct ifaddrmsg));
	if (r == 0)
		r = dump(l, RTM_GETROUTE, sizeof(struct rtmsg));
	return r;
}

/* A table that changes under the reader is read again (EINTR says so). */
static int read_all(struct links *l)
{
	int r = -EINTR;

	for (unsigned int i = 0; r == -EINTR && i < DUMP_TRIES; i++) {
		/* The rest of a reading that was broken off would be taken for the next one's. */
		if (l->ask)
			mnl_socket_close(l->ask);
		l->ask = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
		if (!l->ask || mnl_socket_bind(l->ask, 0, MNL_SOCKET_AUTOPID) < 0)
			return -errno;
		r = read_once(l);
	}
	return r == -EINTR ? 0 : r; /* the news of what changed are waiting */
}

static int open_news(struct links *l)
{
	static const int groups[] = { RTNLGRP_LINK,	   RTNLGRP_TC,	       RTNLGRP_IPV4_IFADDR,
				      RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE };
	int size = NEWS_BUFFER;

	l->news = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!l->news || mnl_socket_bind(l->news, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	setsockopt(links_fd(l), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		if (mnl_socket_setsockopt(l->news, NETLINK_ADD_MEMBERSHIP, (void *)&groups[i], sizeof(groups[i])) < 0)
			return -errno;
	}
	return 0;
}

int links_open(const struct links_handlers *handlers, struct links **ret)
{
	CLEANUP(links_freep) struct links *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->handlers = *handlers;
	l->quiet = true;
	/* Listening before reading: what happens in between is news. */
	r = open_news(l);
	if (r == 0)
		r = read_all(l);
	l->quiet = false;
	if (r == 0)
		*ret = TAKE_PTR(l);
	return r;
}

static void reread(struct links *l)
{
	int r = read_all(l);

	l->stale = false;
	if (r < 0)
		log_error("the interfaces cannot be read: %s", strerror(-r));
}

static void resync(struct links *l)
{
	l->resyncs++;
	log_warning("news of interfaces were lost; all are read anew");
	reread(l);
}

bool links_read(struct links *l)
{
	l->changed = false;
	for (;;) {
		ssize_t n = mnl_socket_recvfrom(l->news, l->buf, sizeof(l->buf));

		if (n < 0 && errno == ENOBUFS) {
			resync(l);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (mnl_cb_run(l->buf, (size_t)n, 0, 0, take_news, l) < 0 && errno == ENOMEM)
			resync(l);
	}
	if (l->stale)
		reread(l);
	return l->changed;
}
