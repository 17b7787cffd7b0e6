/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent needs of rtnetlink: its policy routing, the node's addresses, and the news of both. */
#ifndef SLUICE_AGENT_NET_H
#define SLUICE_AGENT_NET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr_type.h"
#include "base/strbuf.h"

struct net;

int net_open(struct net **ret); /* 0 or -errno */
void net_freep(struct net **net);

/*
 * What makes handed-over queries arrive: `ip rule pref SLUICE_RULE_PREF fwmark SLUICE_FWMARK lookup SLUICE_ROUTE_TABLE`
 * and `local default dev lo` there, in both families; for IPv4 also the way past them that src_valid_mark needs. What is there
 * already is no error; a family that the kernel does not have is none either. `ret_added` counts what was missing. 0 or
 * -errno.
 */
int net_ensure_routing(struct net *net, unsigned int *ret_added);

/* The node's own addresses of global and site scope; free(). 0 or -errno. */
int net_addresses(struct net *net, struct sluice_addr **ret, size_t *ret_count);

/* A descriptor that becomes readable with news; net_read_news takes them in. */
int net_news_fd(const struct net *net);
struct net_news {
	bool addresses;
	bool routing; /* rules or routes: ours may be gone */
};
int net_read_news(struct net *net, struct net_news *ret);

/* Settings of this network namespace under which handed-over DNS does not work (hazard 29), one line each. */
void net_preflight(struct strbuf *problems);

#endif
