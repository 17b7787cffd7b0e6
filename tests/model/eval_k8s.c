/* SPDX-License-Identifier: Apache-2.0 */
/* NetworkPolicy, ApplicationNetworkPolicy and both ClusterNetworkPolicies. An address is an address to all of these. */
#include <netinet/in.h>
#include <string.h>

#include "tests/model/eval_private.h"

/* ---- names ----------------------------------------------------------------------------------------------------- */

static bool domain_names_match(const struct ev_ctx *c, const struct ynode *names)
{
	for (size_t i = 0; i < ev_count(names); i++)
		for (size_t k = 0; c->names_count && k < c->flow->nnames; k++)
			if (ev_aws_name_matches(names->items[i]->text, c->flow->names[k]))
				return true;
	return false;
}

static bool peers_name(const struct ynode *peers, const char *name)
{
	for (size_t i = 0; i < ev_count(peers); i++) {
		const struct ynode *names = ynode_get(peers->items[i], "domainNames");

		for (size_t k = 0; k < ev_count(names); k++)
			if (!name || ev_aws_name_matches(names->items[k]->text, name))
				return true;
	}
	return false;
}

bool ev_k8s_name(const struct ev_policy *p, const char *name)
{
	const struct ynode *rules = ynode_get(p->spec, "egress");

	for (size_t i = 0; i < ev_count(rules); i++)
		if (peers_name(ynode_get(rules->items[i], "to"), name))
			return true;
	return false;
}

/* ---- NetworkPolicy and ApplicationNetworkPolicy ---------------------------------------------------------------- */

static bool pods_selected(const struct world *w, const struct ynode *selector, const struct world_pod *from)
{
	return ev_selects_namespace(w, ynode_get(selector, "namespaceSelector"), from->namespace_name) &&
	       ev_selects(ynode_get(selector, "podSelector"), &from->labels);
}

bool ev_k8s_subject(const struct world *w, const struct ev_policy *p, const struct world_pod *from)
{
	const struct ynode *subject = ynode_get(p->spec, "subject");

	if (!subject)
		return strcmp(p->namespace_name, from->namespace_name) == 0 &&
		       ev_selects(ynode_get(p->spec, "podSelector"), &from->labels);
	if (ynode_get(subject, "namespaces"))
		return ev_selects_namespace(w, ynode_get(subject, "namespaces"), from->namespace_name);
	return pods_selected(w, ynode_get(subject, "pods"), from);
}

/* policyTypes says it; without any, having rules does. */
bool ev_k8s_isolates(const struct ev_policy *p)
{
	const struct ynode *types = ynode_get(p->spec, "policyTypes");

	for (size_t i = 0; i < ev_count(types); i++)
		if (ev_is(types->items[i], "Egress"))
			return true;
	return ev_count(types) == 0 && ev_count(ynode_get(p->spec, "egress")) > 0;
}

static bool peer_matches(const struct ev_ctx *c, const struct ev_policy *p, const struct ynode *peer)
{
	const struct ynode *pods = ynode_get(peer, "podSelector"), *namespaces = ynode_get(peer, "namespaceSelector");
	const struct world_pod *to = c->dest.pod;

	if (ynode_get(peer, "ipBlock"))
		return ev_block_holds(ynode_get(peer, "ipBlock"), &c->flow->to);
	if (ynode_get(peer, "domainNames"))
		return domain_names_match(c, ynode_get(peer, "domainNames"));
	if (!to)
		return false;
	if (namespaces ? !ev_selects_namespace(c->world, namespaces, to->namespace_name)
		       : strcmp(to->namespace_name, p->namespace_name) != 0)
		return false;
	return !pods || ev_selects(pods, &to->labels);
}

/* {protocol: TCP unless said, port: number or name or missing for all, endPort} */
static bool port_matches(const struct ev_ctx *c, const struct ynode *item)
{
	const struct ynode *protocol = ynode_get(item, "protocol"), *port = ynode_get(item, "port");
	uint8_t proto = protocol ? ev_proto(protocol) : IPPROTO_TCP;
	long first = ev_number(port), last = ev_number(ynode_get(item, "endPort"));

	if (port && first < 0)
		return ev_named_port(c, port->text, proto);
	if (c->flow->proto != proto)
		return false;
	return !port || (c->flow->port >= first && c->flow->port <= (last < 0 ? first : last));
}

static bool rule_allows(const struct ev_ctx *c, const struct ev_policy *p, const struct ynode *rule)
{
	const struct ynode *to = ynode_get(rule, "to"), *ports = ynode_get(rule, "ports");
	bool peer = ev_count(to) == 0 && !c->dest.service, port = ev_count(ports) == 0;

	for (size_t i = 0; i < ev_count(to); i++)
		peer |= peer_matches(c, p, to->items[i]);
	for (size_t i = 0; i < ev_count(ports); i++)
		port |= port_matches(c, ports->items[i]);
	return peer && port;
}

bool ev_k8s_allows(const struct ev_ctx *c, const struct ev_policy *p)
{
	const struct ynode *rules = ynode_get(p->spec, "egress");

	for (size_t i = 0; i < ev_count(rules); i++)
		if (rule_allows(c, p, rules->items[i]))
			return true;
	return false;
}

/* ---- ClusterNetworkPolicy -------------------------------------------------------------------------------------- */

static bool cluster_peer_matches(const struct ev_ctx *c, const struct ynode *peer)
{
	const struct ynode *namespaces = ynode_get(peer, "namespaces"), *pods = ynode_get(peer, "pods");
	const struct ynode *networks = ynode_get(peer, "networks"), *nodes = ynode_get(peer, "nodes");

	if (namespaces)
		return c->dest.pod && ev_selects_namespace(c->world, namespaces, c->dest.pod->namespace_name);
	if (pods)
		return c->dest.pod && pods_selected(c->world, pods, c->dest.pod);
	if (nodes)
		return c->dest.node && ev_selects(nodes, &c->dest.node->labels);
	for (size_t i = 0; i < ev_count(networks); i++)
		if (ev_cidr_holds(networks->items[i], &c->flow->to))
			return true;
	return domain_names_match(c, ynode_get(peer, "domainNames"));
}

/* AWS: portNumber {protocol TCP unless said, port}, portRange {protocol, start, end}, namedPort. */
static bool aws_port_matches(const struct ev_ctx *c, const struct ynode *item)
{
	const struct ynode *number = ynode_get(item, "portNumber"), *range = ynode_get(item, "portRange");
	const struct ynode *of = number ? number : range;
	const struct ynode *protocol;

	if (!of)
		return ev_named_port(c, ynode_get(item, "namedPort")->text, 0);
	protocol = ynode_get(of, "protocol");
	if (c->flow->proto != (protocol ? ev_proto(protocol) : IPPROTO_TCP))
		return false;
	if (number)
		return c->flow->port == ev_number(ynode_get(number, "port"));
	return c->flow->port >= ev_number(ynode_get(range, "start")) &&
	       c->flow->port <= ev_number(ynode_get(range, "end"));
}

/* Upstream: {tcp: {destinationPort: {number} or {range: {start, end}}}}, or destinationNamedPort. */
static bool upstream_protocol_matches(const struct ev_ctx *c, const struct ynode *item)
{
	static const struct {
		const char *key;
		uint8_t proto;
	} protos[] = { { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "sctp", IPPROTO_SCTP } };

	if (ynode_get(item, "destinationNamedPort"))
		return ev_named_port(c, ynode_get(item, "destinationNamedPort")->text, 0);
	for (size_t i = 0; i < sizeof(protos) / sizeof(protos[0]); i++) {
		const struct ynode *of = ynode_get(item, protos[i].key);
		const struct ynode *port = of ? ynode_get(of, "destinationPort") : NULL;
		const struct ynode *range = port ? ynode_get(port, "range") : NULL;

		if (!of || protos[i].proto != c->flow->proto)
			continue;
		if (!port)
			return true;
		if (!range)
			return c->flow->port == ev_number(ynode_get(port, "number"));
		return c->flow->port >= ev_number(ynode_get(range, "start")) &&
		       c->flow->port <= ev_number(ynode_get(range, "end"));
	}
	return false;
}

static bool cluster_rule_matches(const struct ev_ctx *c, const struct ev_policy *p, const struct ynode *rule)
{
	const struct ynode *to = ynode_get(rule, "to");
	const struct ynode *ports = ynode_get(rule, p->kind == EV_AWS_CLUSTER ? "ports" : "protocols");
	bool peer = false, port = ev_count(ports) == 0;

	for (size_t i = 0; i < ev_count(to); i++)
		peer |= cluster_peer_matches(c, to->items[i]);
	for (size_t i = 0; i < ev_count(ports); i++)
		port |= p->kind == EV_AWS_CLUSTER ? aws_port_matches(c, ports->items[i])
						  : upstream_protocol_matches(c, ports->items[i]);
	return peer && port;
}

static enum ev_action action_of(const struct ynode *rule)
{
	const struct ynode *action = ynode_get(rule, "action");

	if (ev_is(action, "Deny"))
		return EV_DENY;
	return ev_is(action, "Accept") ? EV_ACCEPT : EV_PASS;
}

/* AWS: Deny, then Accept, then Pass, whatever the order. Upstream: the first rule that matches. */
enum ev_action ev_cluster_action(const struct ev_ctx *c, const struct ev_policy *p)
{
	const struct ynode *rules = ynode_get(p->spec, "egress");
	enum ev_action best = EV_NONE;

	for (size_t i = 0; i < ev_count(rules); i++) {
		if (!cluster_rule_matches(c, p, rules->items[i]))
			continue;
		if (p->kind == EV_UPSTREAM_CLUSTER)
			return action_of(rules->items[i]);
		if (action_of(rules->items[i]) > best)
			best = action_of(rules->items[i]);
	}
	return best;
}
