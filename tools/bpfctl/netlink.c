/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A dump is read whole into a list of message copies before anything is removed, since removing while the kernel walks
 * its tables may skip entries. A rule or route is then removed by sending its own message back with the type of a
 * deletion, as `ip rule flush` does: whatever distinguishes it from its neighbours is in there.
 */
#include "tools/bpfctl/netlink.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "bpf/abi.h"

struct messages {
	struct nlmsghdr **items;
	size_t count;
};

static void messages_clear(struct messages *m)
{
	for (size_t i = 0; i < m->count; i++)
		free(m->items[i]);
	free(m->items);
	*m = (struct messages){};
}
#define _cleanup_messages_ __attribute__((cleanup(messages_clear)))

static int keep_message(const struct nlmsghdr *nlh, void *data)
{
	struct messages *m = data;
	struct nlmsghdr **grown = reallocarray(m->items, m->count + 1, sizeof(*grown));

	if (!grown)
		return MNL_CB_ERROR;
	m->items = grown;
	grown[m->count] = malloc(nlh->nlmsg_len);
	if (!grown[m->count])
		return MNL_CB_ERROR;
	memcpy(grown[m->count++], nlh, nlh->nlmsg_len);
	return MNL_CB_OK;
}

static int dump(struct nlsock *nl, uint16_t type, const void *header, size_t len, struct messages *ret)
{
	char buf[MNL_NLMSG_HDRLEN + 64] = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	memcpy(mnl_nlmsg_put_extra_header(nlh, len), header, len);
	return nlsock_talk(nl, nlh, keep_message, ret);
}

static int send_back(struct nlsock *nl, struct nlmsghdr *nlh, uint16_t type)
{
	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	return nlsock_talk(nl, nlh, NULL, NULL);
}

static const struct nlattr *find_attr(const struct nlmsghdr *nlh, size_t header, uint16_t type)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, header)
	{
		if (mnl_attr_get_type(attr) == type)
			return attr;
	}
	return NULL;
}

static uint32_t attr_u32(const struct nlmsghdr *nlh, size_t header, uint16_t type)
{
	const struct nlattr *attr = find_attr(nlh, header, type);

	return attr && mnl_attr_validate(attr, MNL_TYPE_U32) >= 0 ? mnl_attr_get_u32(attr) : 0;
}

static const char *family_name(uint8_t family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

/* ---- rules and routes --------------------------------------------------------------------------------------------- */

/* The rules into our tables, or those around one that lead past it; all have our mark under exactly our mask. */
static bool rule_is_ours(const struct nlmsghdr *nlh)
{
	const struct fib_rule_hdr *h = mnl_nlmsg_get_payload(nlh);
	uint32_t mark = attr_u32(nlh, sizeof(*h), FRA_FWMARK), table = attr_u32(nlh, sizeof(*h), FRA_TABLE);

	if (attr_u32(nlh, sizeof(*h), FRA_FWMASK) != mark)
		return false;
	if (mark == SLUICE_SOCK_MARK)
		return h->action == FR_ACT_TO_TBL && table == SLUICE_ANSWER_TABLE;
	if (mark != SLUICE_FWMARK)
		return false;
	if (h->action == FR_ACT_GOTO || h->action == FR_ACT_NOP)
		return attr_u32(nlh, sizeof(*h), FRA_PRIORITY) <= SLUICE_RULE_PREF + 1;
	return table == SLUICE_ROUTE_TABLE;
}

static int remove_rules_of(struct nlsock *nl, uint8_t family, bool dry, netlink_report_fn *report, void *context)
{
	_cleanup_messages_ struct messages found = {};
	struct fib_rule_hdr h = { .family = family };
	int r = dump(nl, RTM_GETRULE, &h, sizeof(h), &found);

	for (size_t i = 0; r == 0 && i < found.count; i++) {
		const struct fib_rule_hdr *rule = mnl_nlmsg_get_payload(found.items[i]);
		char what[64];

		if (found.items[i]->nlmsg_type != RTM_NEWRULE || rule->family != family ||
		    !rule_is_ours(found.items[i]))
			continue;
		snprintf(what, sizeof(what), "%s rule %u fwmark 0x%x", family_name(family),
			 attr_u32(found.items[i], sizeof(h), FRA_PRIORITY),
			 attr_u32(found.items[i], sizeof(h), FRA_FWMARK));
		report(context, "rule", what, dry ? 0 : send_back(nl, found.items[i], RTM_DELRULE));
	}
	return r == -EAFNOSUPPORT || r == -EOPNOTSUPP ? 0 : r;
}

int netlink_remove_rules(struct nlsock *nl, bool dry, netlink_report_fn *report, void *context)
{
	int r = remove_rules_of(nl, AF_INET, dry, report, context);

	return r < 0 ? r : remove_rules_of(nl, AF_INET6, dry, report, context);
}

static bool table_is_ours(uint32_t table)
{
	return table == SLUICE_ROUTE_TABLE || table == SLUICE_ANSWER_TABLE;
}

static int remove_routes_of(struct nlsock *nl, uint8_t family, bool dry, netlink_report_fn *report, void *context)
{
	_cleanup_messages_ struct messages found = {};
	struct rtmsg h = { .rtm_family = family };
	int r = dump(nl, RTM_GETROUTE, &h, sizeof(h), &found);

	for (size_t i = 0; r == 0 && i < found.count; i++) {
		const struct rtmsg *route = mnl_nlmsg_get_payload(found.items[i]);
		char what[64];

		if (found.items[i]->nlmsg_type != RTM_NEWROUTE || route->rtm_family != family ||
		    !table_is_ours(attr_u32(found.items[i], sizeof(h), RTA_TABLE)))
			continue;
		snprintf(what, sizeof(what), "%s route /%u in table %u", family_name(family), route->rtm_dst_len,
			 attr_u32(found.items[i], sizeof(h), RTA_TABLE));
		report(context, "route", what, dry ? 0 : send_back(nl, found.items[i], RTM_DELROUTE));
	}
	return r == -EAFNOSUPPORT || r == -EOPNOTSUPP ? 0 : r;
}

/* By which the interfaces of pods on branch ENIs pass rp_filter (agent/answer_way.h). */
static int remove_addresses(struct nlsock *nl, bool dry, netlink_report_fn *report, void *context)
{
	static const uint8_t ours[] = SLUICE_ANSWER_ADDRESS;
	_cleanup_messages_ struct messages found = {};
	struct ifaddrmsg h = { .ifa_family = AF_INET };
	int r = dump(nl, RTM_GETADDR, &h, sizeof(h), &found);

	for (size_t i = 0; r == 0 && i < found.count; i++) {
		const struct ifaddrmsg *address = mnl_nlmsg_get_payload(found.items[i]);
		const struct nlattr *local = find_attr(found.items[i], sizeof(h), IFA_LOCAL);
		char what[64];

		if (found.items[i]->nlmsg_type != RTM_NEWADDR || !local ||
		    mnl_attr_get_payload_len(local) != sizeof(ours) ||
		    memcmp(mnl_attr_get_payload(local), ours, sizeof(ours)) != 0)
			continue;
		snprintf(what, sizeof(what), "of interface %u", address->ifa_index);
		report(context, "address", what, dry ? 0 : send_back(nl, found.items[i], RTM_DELADDR));
	}
	return r;
}

int netlink_remove_routes(struct nlsock *nl, bool dry, netlink_report_fn *report, void *context)
{
	int r = remove_routes_of(nl, AF_INET, dry, report, context);

	if (r == 0)
		r = remove_addresses(nl, dry, report, context);
	return r < 0 ? r : remove_routes_of(nl, AF_INET6, dry, report, context);
}

/* ---- clsact filters ----------------------------------------------------------------------------------------------- */

static const char *attr_text(const struct nlattr *attr)
{
	return attr && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0 ? mnl_attr_get_str(attr) : "";
}

/* libbpf names a filter "PROGRAM:[ID]", tc "OBJECT:[SECTION]"; the programs' names are what we can be sure of. */
static bool program_is_ours(const char *name)
{
	static const char *const ours[] = { "from_pod", "to_pod", "sluice_deny" };

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		size_t len = strlen(ours[i]);

		if (!strncmp(name, ours[i], len) && (name[len] == '\0' || name[len] == ':'))
			return true;
	}
	return false;
}

static const char *filter_program(const struct nlmsghdr *nlh)
{
	const struct nlattr *options = find_attr(nlh, sizeof(struct tcmsg), TCA_OPTIONS), *attr;

	if (strcmp(attr_text(find_attr(nlh, sizeof(struct tcmsg), TCA_KIND)), "bpf") || !options)
		return "";
	mnl_attr_for_each_nested(attr, options)
	{
		if (mnl_attr_get_type(attr) == TCA_BPF_NAME)
			return attr_text(attr);
	}
	return "";
}

/* Only what names the filter: the kernel refuses a deletion that carries the dumped options. */
static int delete_filter(struct nlsock *nl, const struct nlmsghdr *found)
{
	char buf[MNL_SOCKET_BUFFER_SIZE > 8192 ? 8192 : 4096];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	memcpy(mnl_nlmsg_put_extra_header(nlh, sizeof(struct tcmsg)), mnl_nlmsg_get_payload(found),
	       sizeof(struct tcmsg));
	mnl_attr_put_strz(nlh, TCA_KIND, "bpf");
	return send_back(nl, nlh, RTM_DELTFILTER);
}

static int delete_clsact(struct nlsock *nl, int ifindex)
{
	char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct tcmsg *tc = mnl_nlmsg_put_extra_header(nlh, sizeof(*tc));

	tc->tcm_ifindex = ifindex;
	tc->tcm_parent = TC_H_CLSACT;
	tc->tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	mnl_attr_put_strz(nlh, TCA_KIND, "clsact");
	return send_back(nl, nlh, RTM_DELQDISC);
}

struct hook_result {
	size_t removed;
	size_t others;
	bool clsact; /* there is one */
};

static int remove_on_hook(struct nlsock *nl, int ifindex, uint32_t minor, bool dry, netlink_report_fn *report,
			  void *context, struct hook_result *result)
{
	_cleanup_messages_ struct messages found = {};
	struct tcmsg h = { .tcm_ifindex = ifindex, .tcm_parent = TC_H_MAKE(TC_H_CLSACT, minor) };
	int r = dump(nl, RTM_GETTFILTER, &h, sizeof(h), &found);
	char name[IF_NAMESIZE], what[128];

	if (r < 0)
		return r == -EINVAL || r == -ENODEV || r == -ENOENT
			       ? 0
			       : r; /* no clsact there, or the interface has gone */
	result->clsact = true;
	for (size_t i = 0; i < found.count; i++) {
		const struct tcmsg *tc = mnl_nlmsg_get_payload(found.items[i]);
		int error;

		if (found.items[i]->nlmsg_type != RTM_NEWTFILTER || tc->tcm_handle == 0)
			continue; /* handle 0 is the head of a priority, not a filter */
		if (!program_is_ours(filter_program(found.items[i]))) {
			result->others++;
			continue;
		}
		error = dry ? 0 : delete_filter(nl, found.items[i]);
		snprintf(what, sizeof(what), "%s on %s, handle 0x%x", filter_program(found.items[i]),
			 if_indextoname((unsigned int)ifindex, name) ? name : "?", tc->tcm_handle);
		report(context, "filter", what, error);
		result->removed += error == 0;
	}
	return 0;
}

static bool is_linked(const struct netlink_indexes *linked, int ifindex)
{
	for (size_t i = 0; i < linked->count; i++) {
		if (linked->items[i] == (uint32_t)ifindex)
			return true;
	}
	return false;
}

static int remove_on_interface(struct nlsock *nl, int ifindex, bool linked, bool dry, netlink_report_fn *report,
			       void *context)
{
	struct hook_result result = {};
	char name[IF_NAMESIZE];
	int r = remove_on_hook(nl, ifindex, TC_H_MIN_INGRESS, dry, report, context, &result);

	if (r == 0)
		r = remove_on_hook(nl, ifindex, TC_H_MIN_EGRESS, dry, report, context, &result);
	if (r == 0 && (result.removed || (linked && result.clsact)) && !result.others)
		report(context, "clsact", if_indextoname((unsigned int)ifindex, name) ? name : "?",
		       dry ? 0 : delete_clsact(nl, ifindex));
	return r;
}

int netlink_remove_filters(struct nlsock *nl, const struct netlink_indexes *linked, bool dry, netlink_report_fn *report,
			   void *context)
{
	_cleanup_messages_ struct messages links = {};
	struct ifinfomsg h = { .ifi_family = AF_UNSPEC };
	int r = dump(nl, RTM_GETLINK, &h, sizeof(h), &links);

	for (size_t i = 0; r == 0 && i < links.count; i++) {
		const struct ifinfomsg *link = mnl_nlmsg_get_payload(links.items[i]);

		if (links.items[i]->nlmsg_type == RTM_NEWLINK)
			r = remove_on_interface(nl, link->ifi_index, is_linked(linked, link->ifi_index), dry, report,
						context);
	}
	return r;
}
