/* SPDX-License-Identifier: Apache-2.0 */
/* The few things of rtnetlink that `cleanup` takes away: our rules, our routing table, our clsact filters. */
#ifndef SLUICE_TOOLS_BPFCTL_NETLINK_H
#define SLUICE_TOOLS_BPFCTL_NETLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/nlsock.h"

/* Told of each thing found (`error` 0: it is removed, or would be; else why not). `kind` is "rule", "route", ... */
typedef void netlink_report_fn(void *context, const char *kind, const char *what, int error);

/*
 * `nl` is of NETLINK_ROUTE. Each finds what is ours in this network namespace, both families, reports it, and removes it
 * unless `dry`. 0, or -errno when looking itself failed.
 */
int netlink_remove_rules(struct nlsock *nl, bool dry, netlink_report_fn *report, void *context);
/* And the addresses that go with them. */
int netlink_remove_routes(struct nlsock *nl, bool dry, netlink_report_fn *report, void *context);
/*
 * Filters by the names of our programs; a clsact qdisc goes with its last filter when that one was ours. On the interfaces of
 * `linked`, where links took the filters' place, an empty one is ours too.
 */
struct netlink_indexes {
	uint32_t *items;
	size_t count;
};
int netlink_remove_filters(struct nlsock *nl, const struct netlink_indexes *linked, bool dry, netlink_report_fn *report,
			   void *context);

#endif
