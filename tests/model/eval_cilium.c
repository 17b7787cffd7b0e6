/* SPDX-License-Identifier: Apache-2.0 */
/* CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy: an entry is its L3 members or'ed, and'ed with its ports. */
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "tests/model/eval_private.h"

/* ---- who is selected, and what then ---------------------------------------------------------------------------- */

bool ev_cilium_subject(const struct world *w, const struct ev_policy *p, const struct world_pod *from)
{
	if (p->namespace_name && strcmp(p->namespace_name, from->namespace_name) != 0)
		return false;
	return ev_cilium_selects(w, ynode_get(p->spec, "endpointSelector"), from, NULL);
}

/* Any egress or egressDeny section turns default deny on unless enableDefaultDeny.egress is false. */
bool ev_cilium_isolates(const struct ev_policy *p)
{
	const struct ynode *wish = ynode_get(p->spec, "enableDefaultDeny");

	if (wish && ev_is(ynode_get(wish, "egress"), "false"))
		return false;
	return ynode_get(p->spec, "egress") || ynode_get(p->spec, "egressDeny");
}

/* ---- L3 members ------------------------------------------------------------------------------------------------ */

/* CIDRs and names never meet an address that is a pod's, a node's or a ClusterIP. */
static bool to_cidr(const struct ev_ctx *c, const struct ynode *list)
{
	for (size_t i = 0; i < ev_count(list); i++)
		if (!ev_in_cluster(&c->dest) && ev_cidr_holds(list->items[i], &c->flow->to))
			return true;
	return false;
}

static bool group_holds(const struct ynode *group, const struct ynode *except, const struct sluice_addr *addr)
{
	const struct ynode *cidrs = ynode_get(group, "externalCIDRs");

	for (size_t i = 0; i < ev_count(except); i++)
		if (ev_cidr_holds(except->items[i], addr))
			return false;
	for (size_t i = 0; i < ev_count(cidrs); i++)
		if (ev_cidr_holds(cidrs->items[i], addr))
			return true;
	return false;
}

static bool group_meant(const struct ev_policy *group, const struct ynode *item)
{
	const struct ynode *selector = ynode_get(item, "cidrGroupSelector");
	const struct ynode *labels = ynode_get(ynode_get(group->object, "metadata"), "labels");
	struct world_labels l = {};

	if (!selector)
		return ev_is(ynode_get(item, "cidrGroupRef"), group->name);
	for (; labels && l.count < labels->count && l.count < sizeof(l.items) / sizeof(l.items[0]); l.count++)
		l.items[l.count] =
			(struct world_label){ ynode_key(labels, l.count)->text, ynode_value(labels, l.count)->text };
	return ev_selects(selector, &l);
}

static bool cidr_set_item(const struct ev_ctx *c, const struct ynode *item)
{
	if (ynode_get(item, "cidr"))
		return ev_block_holds(item, &c->flow->to);
	for (size_t i = 0; i < c->policies->count; i++) {
		const struct ev_policy *g = &c->policies->items[i];

		if (g->kind == EV_CIDR_GROUP && group_meant(g, item) &&
		    group_holds(g->spec, ynode_get(item, "except"), &c->flow->to))
			return true;
	}
	return false;
}

static bool to_cidr_set(const struct ev_ctx *c, const struct ynode *list)
{
	for (size_t i = 0; i < ev_count(list); i++)
		if (!ev_in_cluster(&c->dest) && cidr_set_item(c, list->items[i]))
			return true;
	return false;
}

static bool to_endpoints(const struct ev_ctx *c, const struct ev_policy *p, const struct ynode *list)
{
	for (size_t i = 0; i < ev_count(list); i++)
		if (c->dest.pod && ev_cilium_selects(c->world, list->items[i], c->dest.pod, p->namespace_name))
			return true;
	return false;
}

/* ClusterIPs are judged by what stands behind them (section 7), so no entity holds one itself. */
static bool entity(const struct ev_ctx *c, const struct ynode *e)
{
	const struct ev_dest *d = &c->dest;

	if (ev_is(e, "all"))
		return !d->service;
	if (ev_is(e, "world"))
		return !ev_in_cluster(d);
	if (ev_is(e, "cluster"))
		return d->pod || d->node;
	if (ev_is(e, "host"))
		return d->node && d->node->local;
	if (ev_is(e, "remote-node"))
		return d->node && !d->node->local;
	if (ev_is(e, "kube-apiserver"))
		return d->api_server;
	return false;
}

static bool to_entities(const struct ev_ctx *c, const struct ynode *list)
{
	for (size_t i = 0; i < ev_count(list); i++)
		if (entity(c, list->items[i]))
			return true;
	return false;
}

static bool stands_behind(const struct ev_ctx *c, const struct world_service *s)
{
	if (s->selector.count > 0) {
		if (!c->dest.pod || strcmp(c->dest.pod->namespace_name, s->namespace_name) != 0)
			return false;
		for (size_t i = 0; i < s->selector.count; i++) {
			const struct world_label *want = &s->selector.items[i];
			bool has = false;

			for (size_t k = 0; k < c->dest.pod->labels.count; k++)
				has |= strcmp(c->dest.pod->labels.items[k].key, want->key) == 0 &&
				       strcmp(c->dest.pod->labels.items[k].value, want->value) == 0;
			if (!has)
				return false;
		}
		return true;
	}
	for (size_t i = 0; i < s->outside.count; i++)
		if (!ev_in_cluster(&c->dest) && addr_compare(&s->outside.items[i], &c->flow->to) == 0)
			return true;
	return false;
}

static bool service_meant(const struct world_service *s, const struct ynode *item)
{
	const struct ynode *by_name = ynode_get(item, "k8sService"), *by_label = ynode_get(item, "k8sServiceSelector");

	if (by_name)
		return ev_is(ynode_get(by_name, "serviceName"), s->name) &&
		       ev_is(ynode_get(by_name, "namespace"), s->namespace_name);
	return ev_is(ynode_get(by_label, "namespace"), s->namespace_name) &&
	       ev_selects(ynode_get(by_label, "selector"), &s->labels);
}

static bool to_services(const struct ev_ctx *c, const struct ynode *list)
{
	for (size_t i = 0; i < ev_count(list); i++)
		for (size_t k = 0; k < c->world->nservices; k++)
			if (service_meant(&c->world->services[k], list->items[i]) &&
			    stands_behind(c, &c->world->services[k]))
				return true;
	return false;
}

static bool fqdn_matches(const struct ynode *item, const char *name)
{
	const struct ynode *pattern = ynode_get(item, "matchPattern");

	return ev_cilium_name_matches(pattern ? pattern->text : ynode_get(item, "matchName")->text, name);
}

static bool any_fqdn(const struct ynode *list, const char *name)
{
	for (size_t i = 0; i < ev_count(list); i++)
		if (!name || fqdn_matches(list->items[i], name))
			return true;
	return false;
}

static bool to_fqdns(const struct ev_ctx *c, const struct ynode *list)
{
	for (size_t i = 0; i < c->flow->nnames; i++)
		if (c->names_count && any_fqdn(list, c->flow->names[i]))
			return true;
	return false;
}

/* ---- ports ----------------------------------------------------------------------------------------------------- */

/* "0" is every port; a text that is no number is a port's name. Without a protocol: TCP, UDP and SCTP. */
static bool port_matches(const struct ev_ctx *c, const struct ynode *item)
{
	const struct ynode *protocol = ynode_get(item, "protocol");
	uint8_t proto = protocol ? ev_proto(protocol) : 0;
	long first = ev_number(ynode_get(item, "port")), last = ev_number(ynode_get(item, "endPort"));

	if (first < 0)
		return ev_named_port(c, ynode_get(item, "port")->text, proto);
	if (!ev_has_ports(c->flow->proto) || (proto && proto != c->flow->proto))
		return false;
	if (first == 0)
		return true;
	return c->flow->port >= first && c->flow->port <= (last < 0 ? first : last);
}

/* An item without ports is no restriction, so it admits ICMP too. */
static bool to_ports(const struct ev_ctx *c, const struct ynode *list)
{
	for (size_t i = 0; i < ev_count(list); i++) {
		const struct ynode *ports = ynode_get(list->items[i], "ports");

		if (ev_count(ports) == 0)
			return true;
		for (size_t k = 0; k < ports->count; k++)
			if (port_matches(c, ports->items[k]))
				return true;
	}
	return false;
}

static bool icmp_field(const struct ev_ctx *c, const struct ynode *field)
{
	const struct ynode *type = ynode_get(field, "type");
	bool v6 = ynode_get(field, "family") && ev_is(ynode_get(field, "family"), "IPv6");
	long number = ev_number(type);

	if (number < 0)
		number = ev_is(type, "EchoRequest") ? (v6 ? 128 : 8) : (v6 ? 129 : 0);
	return c->flow->proto == (v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) && c->flow->port == number;
}

static bool icmps(const struct ev_ctx *c, const struct ynode *list)
{
	for (size_t i = 0; i < ev_count(list); i++) {
		const struct ynode *fields = ynode_get(list->items[i], "fields");

		for (size_t k = 0; k < ev_count(fields); k++)
			if (icmp_field(c, fields->items[k]))
				return true;
	}
	return false;
}

static bool l4_matches(const struct ev_ctx *c, const struct ynode *entry)
{
	const struct ynode *ports = ynode_get(entry, "toPorts"), *types = ynode_get(entry, "icmps");

	if (ev_count(ports) == 0 && ev_count(types) == 0)
		return true;
	return to_ports(c, ports) || icmps(c, types);
}

/* ---- entries --------------------------------------------------------------------------------------------------- */

static bool l3_matches(const struct ev_ctx *c, const struct ev_policy *p, const struct ynode *entry)
{
	return to_cidr(c, ynode_get(entry, "toCIDR")) || to_cidr_set(c, ynode_get(entry, "toCIDRSet")) ||
	       to_endpoints(c, p, ynode_get(entry, "toEndpoints")) || to_entities(c, ynode_get(entry, "toEntities")) ||
	       to_services(c, ynode_get(entry, "toServices")) || to_fqdns(c, ynode_get(entry, "toFQDNs"));
}

static bool has_l3(const struct ynode *entry)
{
	static const char *const members[] = { "toCIDR",     "toCIDRSet",  "toEndpoints",
					       "toEntities", "toServices", "toFQDNs" };

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (ynode_get(entry, members[i]))
			return true;
	return false;
}

/* `{}` matches nothing; ports alone are for every destination (a ClusterIP's backends, not itself). */
static bool entry_matches(const struct ev_ctx *c, const struct ev_policy *p, const struct ynode *entry)
{
	if (has_l3(entry))
		return l3_matches(c, p, entry) && l4_matches(c, entry);
	if (ev_count(ynode_get(entry, "toPorts")) == 0 && ev_count(ynode_get(entry, "icmps")) == 0)
		return false;
	return !c->dest.service && l4_matches(c, entry);
}

bool ev_cilium_matches(const struct ev_ctx *c, const struct ev_policy *p, const char *section)
{
	const struct ynode *entries = ynode_get(p->spec, section);

	for (size_t i = 0; i < ev_count(entries); i++)
		if (entry_matches(c, p, entries->items[i]))
			return true;
	return false;
}

static bool dns_rule(const struct ynode *to_ports, const char *name)
{
	for (size_t i = 0; i < ev_count(to_ports); i++) {
		const struct ynode *rules = ynode_get(to_ports->items[i], "rules");

		if (rules && any_fqdn(ynode_get(rules, "dns"), name))
			return true;
	}
	return false;
}

bool ev_cilium_name(const struct ev_policy *p, const char *name, bool opens)
{
	const struct ynode *entries = ynode_get(p->spec, "egress");

	for (size_t i = 0; i < ev_count(entries); i++)
		if (any_fqdn(ynode_get(entries->items[i], "toFQDNs"), name) ||
		    (!opens && dns_rule(ynode_get(entries->items[i], "toPorts"), name)))
			return true;
	return false;
}
