/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names under the cluster domain. In AWS's dialect such a name opens the running pods that the inventory holds for that
 * very name, and nothing that an answer says (hazard 16: a DNS server for the cluster makes up answers for
 * 6-6-6-6.ns.pod.cluster.local, and slices can be written by hand). So it is resolved here, to the pods' addresses.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/lower.h"

static const char *domain_of(const struct inventory_index *index)
{
	return index->inv->cluster_domain ? index->inv->cluster_domain : "cluster.local";
}

/* Is `name` strictly below `suffix`, at a dot? */
static bool below(const char *name, const char *suffix)
{
	size_t len = strlen(name), n = strlen(suffix);

	return len > n + 1 && name[len - n - 1] == '.' && strcmp(name + len - n, suffix) == 0;
}

static bool equal_or_below(const char *name, const char *suffix)
{
	return strcmp(name, suffix) == 0 || below(name, suffix);
}

/* Can the pattern match a name under the domain at all? Most cannot, and then no name is made up for comparing. */
static bool may_meet(const struct name_view *p, const char *domain)
{
	if (p->all)
		return true;
	return below(p->text, domain) || (p->deep && (equal_or_below(domain, p->text) || strcmp(p->text, domain) == 0));
}

static bool matches(const struct name_view *p, const char *name)
{
	return name_view_matches(p, name, strlen(name));
}

bool service_dns_name(const struct inventory_index *index, const struct inventory_service *s, char *buf, size_t size)
{
	int len = snprintf(buf, size, "%s.%s.svc.%s", s->name, s->namespace_name, domain_of(index));

	return len > 0 && (size_t)len < size;
}

/* 10.0.0.7 as 10-0-0-7, and the like for IPv6. */
static void dashed(const struct sluice_addr *addr, char *buf)
{
	addr_format(addr, buf);
	for (char *p = buf; *p; p++)
		if (*p == '.' || *p == ':')
			*p = '-';
}

static int open_pod(struct lowering *lo, const struct name_rule *rule, const struct subject *pod,
		    const struct sluice_addr *addr)
{
	if (pod->host_network)
		return 0;
	return lower_address(lo, &rule->grant, addr) ? 0 : -ENOMEM;
}

/* HOSTNAME.SERVICE.NS.svc.DOMAIN; a pod without a hostname has its dashed address for one. */
static bool member_matches(const struct name_view *p, const struct member *m, const char *service)
{
	char name[512], address[ADDR_TEXT_MAX];

	if (matches(p, service))
		return true;
	dashed(&m->addr, address);
	snprintf(name, sizeof(name), "%s.%s", m->hostname ? m->hostname : address, service);
	return matches(p, name);
}

static int open_service(struct lowering *lo, const struct name_rule *rule, const struct inventory_service *s)
{
	const struct members *m = service_members(lo->index, s);
	char name[320];

	if (s->naddrs > 0 || !service_dns_name(lo->index, s, name, sizeof(name)))
		return 0;
	for (size_t i = 0; i < m->count; i++)
		if (m->items[i].pod && member_matches(rule->name, &m->items[i], name) &&
		    open_pod(lo, rule, m->items[i].pod, &m->items[i].addr) < 0)
			return -ENOMEM;
	return 0;
}

static int open_pods(struct lowering *lo, const struct name_rule *rule)
{
	for (size_t i = 0; i < lo->index->npods; i++) {
		const struct subject *pod = lo->index->pods[i];

		for (size_t k = 0; k < pod->naddrs; k++) {
			char address[ADDR_TEXT_MAX], name[512];

			dashed(&pod->addrs[k], address);
			snprintf(name, sizeof(name), "%s.%s.pod.%s", address, pod->namespace_name,
				 domain_of(lo->index));
			if (matches(rule->name, name) && open_pod(lo, rule, pod, &pod->addrs[k]) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

void lower_name_meets(const struct inventory_index *index, const struct name_view *name, bool *ret_services,
		      bool *ret_pods)
{
	char services[320], pods[320];

	snprintf(services, sizeof(services), "svc.%s", domain_of(index));
	snprintf(pods, sizeof(pods), "pod.%s", domain_of(index));
	*ret_services = may_meet(name, services);
	*ret_pods = may_meet(name, pods);
}

int lower_pod_names(struct lowering *lo, const struct name_rule *rule)
{
	const struct inventory *inv = lo->index->inv;
	bool services, pods;

	lower_name_meets(lo->index, rule->name, &services, &pods);
	for (size_t i = 0; services && i < inv->nservices; i++)
		if (open_service(lo, rule, &inv->services[i]) < 0)
			return -ENOMEM;
	return pods ? open_pods(lo, rule) : 0;
}
