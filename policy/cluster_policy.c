/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ClusterNetworkPolicy, of networking.k8s.aws/v1alpha1 and of policy.networking.k8s.io/v1alpha2: tiers above and below
 * the namespaces' policies. The two differ in how they write ports, in limits, and in what the order of rules means
 * (compile.c); the rest is one.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "policy/manifest.h"
#include "policy/read.h"

struct cluster {
	struct policy *policy;
	bool aws;
	bool tier;
	bool priority;
	bool subject;
};

struct cluster_rule {
	struct cluster *cluster;
	struct entry *entry;
	bool action;
	const struct ynode *to;
	const struct ynode *ports;
};

#define AWS_RULES      100
#define UPSTREAM_RULES 25
#define AWS_NAMES      25
#define AWS_NETWORKS   25

static bool read_limited(struct yctx *c, const struct ynode *node, const char *what, size_t least, size_t most)
{
	if (!read_list(c, node, what))
		return false;
	if (node->count < least || node->count > most) {
		yctx_error(c, node, "%s: expected from %zu to %zu items, got %zu", what, least, most, node->count);
		return false;
	}
	return true;
}

/* ---- pods and namespaces ------------------------------------------------------------------------------------------ */

struct pods {
	struct selector *out;
	size_t given;
	bool ok;
};

static void read_namespace_selector(struct yctx *c, const struct ynode *node, void *out)
{
	struct pods *p = out;

	p->given++;
	p->ok = read_selector(c, node, "namespaceSelector", SELECTOR_NAMESPACES, p->out) && p->ok;
}

static void read_pod_selector(struct yctx *c, const struct ynode *node, void *out)
{
	struct pods *p = out;

	p->given++;
	p->ok = read_selector(c, node, "podSelector", SELECTOR_PODS, p->out) && p->ok;
}

static bool read_pods(struct yctx *c, const struct ynode *node, struct selector *ret)
{
	static const struct yfield fields[] = {
		{ "namespaceSelector", read_namespace_selector },
		{ "podSelector", read_pod_selector },
	};
	struct pods p = { .out = ret, .ok = true };

	if (!yread_fields(c, node, "pods", fields, ARRAY_SIZE(fields), &p))
		return false;
	if (p.given == 2)
		return p.ok;
	yctx_error(c, node, "pods: expected both namespaceSelector and podSelector");
	return false;
}

static void read_subject_namespaces(struct yctx *c, const struct ynode *node, void *out)
{
	struct policy *p = ((struct cluster *)out)->policy;

	p->selector_known = read_selector(c, node, "namespaces", SELECTOR_NAMESPACES, &p->selector);
}

static void read_subject_pods(struct yctx *c, const struct ynode *node, void *out)
{
	struct policy *p = ((struct cluster *)out)->policy;

	p->selector_known = read_pods(c, node, &p->selector);
}

static void read_subject(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = {
		{ "namespaces", read_subject_namespaces },
		{ "pods", read_subject_pods },
	};
	struct cluster *cluster = out;
	struct policy *p = cluster->policy;

	cluster->subject = true;
	if (yread_fields(c, node, "subject", fields, ARRAY_SIZE(fields), cluster) && node->count == 1)
		return;
	if (node->kind == YNODE_MAPPING && node->count != 1)
		yctx_error(c, node, "subject: expected exactly one of namespaces and pods");
	p->selector_known = false;
}

/* ---- peers -------------------------------------------------------------------------------------------------------- */

static void read_peer_namespaces(struct yctx *c, const struct ynode *node, void *out)
{
	struct cluster_rule *r = out;
	struct peer *peer = read_peer_add(c, r->entry, node, PEER_PODS, "namespaces", NULL);

	if (peer)
		read_selector(c, node, "namespaces", SELECTOR_NAMESPACES, &peer->selector);
}

static void read_peer_pods(struct yctx *c, const struct ynode *node, void *out)
{
	struct cluster_rule *r = out;
	struct peer *peer = read_peer_add(c, r->entry, node, PEER_PODS, "pods", NULL);

	if (peer)
		read_pods(c, node, &peer->selector);
}

static void read_peer_nodes(struct yctx *c, const struct ynode *node, void *out)
{
	struct cluster_rule *r = out;
	struct peer *peer = read_peer_add(c, r->entry, node, PEER_NODES, "nodes", NULL);

	if (peer)
		read_selector(c, node, "nodes", SELECTOR_PODS, &peer->selector);
}

static void read_peer_networks(struct yctx *c, const struct ynode *node, void *out)
{
	struct cluster_rule *r = out;

	if (!read_limited(c, node, "networks", 1, AWS_NETWORKS))
		return;
	for (size_t i = 0; i < node->count; i++)
		read_cidr_except(c, r->entry, node->items[i], NULL, "networks", true);
}

static void read_peer_names(struct yctx *c, const struct ynode *node, void *out)
{
	struct cluster_rule *r = out;

	if (!read_limited(c, node, "domainNames", 1, AWS_NAMES))
		return;
	if (r->entry->action != ACTION_ALLOW)
		yctx_error(c, node, "domainNames: expected action Accept; names can only be allowed");
	for (size_t i = 0; i < node->count; i++)
		read_name(c, r->entry, node->items[i], NAME_AWS, PEER_NAME, "domainNames");
}

static void read_peer(struct yctx *c, const struct ynode *node, struct cluster_rule *r)
{
	static const struct yfield fields[] = {
		{ "namespaces", read_peer_namespaces }, { "pods", read_peer_pods },
		{ "networks", read_peer_networks },	{ "domainNames", read_peer_names },
		{ "nodes", read_peer_nodes },
	};

	if (yread_fields(c, node, "to", fields, ARRAY_SIZE(fields) - r->cluster->aws, r) && node->count != 1)
		yctx_error(c, node, "to: expected exactly one of namespaces, pods, networks, domainNames%s",
			   r->cluster->aws ? "" : ", nodes");
}

/* ---- ports -------------------------------------------------------------------------------------------------------- */

static const struct protocol {
	const char *name;  /* AWS's */
	const char *lower; /* upstream's member */
	uint32_t protos;
} protocols[] = {
	{ "TCP", "tcp", PROTO_TCP },
	{ "UDP", "udp", PROTO_UDP },
	{ "SCTP", "sctp", PROTO_SCTP },
};

struct cluster_port {
	struct entry *entry;
	const struct protocol *protocol;
	const struct ynode *number;
	const struct ynode *start;
	const struct ynode *end;
};

static void take_number(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct cluster_port *)out)->number = node;
}

static void take_start(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct cluster_port *)out)->start = node;
}

static void take_end(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct cluster_port *)out)->end = node;
}

static void read_protocol(struct yctx *c, const struct ynode *node, void *out)
{
	struct cluster_port *p = out;
	const char *text;

	if (!yread_text(c, node, "protocol", &text))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		if (strcmp(text, protocols[i].name) == 0) {
			p->protocol = &protocols[i];
			return;
		}
	}
	yctx_error(c, node, "protocol: %.60s is not supported; expected one of: TCP, UDP, SCTP", text);
}

static void add_number(struct yctx *c, const struct cluster_port *p)
{
	uint64_t n;

	if (yread_uint(c, p->number, "port", 1, UINT16_MAX, &n))
		read_port_add(c, p->entry, p->protocol->protos, p->protocol->name, (uint16_t)n, (uint16_t)n);
}

static void add_range(struct yctx *c, const struct ynode *at, const struct cluster_port *p)
{
	uint64_t start, end;

	if (!p->start || !p->end) {
		yctx_error(c, at, "expected members start and end");
		return;
	}
	if (yread_uint(c, p->start, "start", 1, UINT16_MAX - 1, &start) &&
	    yread_uint(c, p->end, "end", start + 1, UINT16_MAX, &end))
		read_port_add(c, p->entry, p->protocol->protos, p->protocol->name, (uint16_t)start, (uint16_t)end);
}

static void read_named_port(struct yctx *c, const struct ynode *node, void *out)
{
	const char *text;

	if (!yread_text(c, node, "named port", &text))
		return;
	if (!*text || strlen(text) > 63 || text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0')
		yctx_error(c, node, "expected a container port's name, got %.60s", text);
	else
		read_named_add(c, ((struct cluster_port *)out)->entry, PROTO_PORTS, text);
}

static void read_port_number(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = { { "protocol", read_protocol }, { "port", take_number } };
	struct cluster_port p = { .entry = ((struct cluster_port *)out)->entry, .protocol = &protocols[0] };

	if (!yread_fields(c, node, "portNumber", fields, ARRAY_SIZE(fields), &p))
		return;
	if (p.number)
		add_number(c, &p);
	else
		yctx_error(c, node, "portNumber: expected a member port");
}

static void read_port_range(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = {
		{ "protocol", read_protocol },
		{ "start", take_start },
		{ "end", take_end },
	};
	struct cluster_port p = { .entry = ((struct cluster_port *)out)->entry, .protocol = &protocols[0] };

	if (yread_fields(c, node, "portRange", fields, ARRAY_SIZE(fields), &p))
		add_range(c, node, &p);
}

static void read_aws_port(struct yctx *c, const struct ynode *node, struct cluster_port *p)
{
	static const struct yfield fields[] = {
		{ "portNumber", read_port_number },
		{ "portRange", read_port_range },
		{ "namedPort", read_named_port },
	};

	if (yread_fields(c, node, "ports", fields, ARRAY_SIZE(fields), p) && node->count != 1)
		yctx_error(c, node, "ports: expected exactly one of portNumber, portRange and namedPort");
}

/* ---- upstream's protocols ----------------------------------------------------------------------------------------- */

static void read_range(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = { { "start", take_start }, { "end", take_end } };
	struct cluster_port *p = out;

	if (yread_fields(c, node, "range", fields, ARRAY_SIZE(fields), p))
		add_range(c, node, p);
}

static void read_destination_port(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = { { "number", take_number }, { "range", read_range } };
	struct cluster_port *p = out;

	if (!yread_fields(c, node, "destinationPort", fields, ARRAY_SIZE(fields), p))
		return;
	if (node->count != 1)
		yctx_error(c, node, "destinationPort: expected exactly one of number and range");
	else if (p->number)
		add_number(c, p);
}

static void read_transport(struct yctx *c, const struct ynode *node, struct cluster_port *p,
			   const struct protocol *proto)
{
	static const struct yfield fields[] = { { "destinationPort", read_destination_port } };

	p->protocol = proto;
	if (yread_fields(c, node, proto->lower, fields, ARRAY_SIZE(fields), p) && node->count == 0)
		read_port_add(c, p->entry, proto->protos, proto->name, 0, UINT16_MAX);
}

static void read_tcp(struct yctx *c, const struct ynode *node, void *out)
{
	read_transport(c, node, out, &protocols[0]);
}

static void read_udp(struct yctx *c, const struct ynode *node, void *out)
{
	read_transport(c, node, out, &protocols[1]);
}

static void read_sctp(struct yctx *c, const struct ynode *node, void *out)
{
	read_transport(c, node, out, &protocols[2]);
}

static void read_upstream_port(struct yctx *c, const struct ynode *node, struct cluster_port *p)
{
	static const struct yfield fields[] = {
		{ "tcp", read_tcp },
		{ "udp", read_udp },
		{ "sctp", read_sctp },
		{ "destinationNamedPort", read_named_port },
	};

	if (yread_fields(c, node, "protocols", fields, ARRAY_SIZE(fields), p) && node->count != 1)
		yctx_error(c, node, "protocols: expected exactly one of tcp, udp, sctp and destinationNamedPort");
}

/* ---- rules -------------------------------------------------------------------------------------------------------- */

static void read_rule_name(struct yctx *c, const struct ynode *node, void *out)
{
	const char *text;

	(void)out;
	if (yread_text(c, node, "name", &text) && strlen(text) > 100)
		yctx_error(c, node, "name: expected at most 100 characters");
}

static void read_action(struct yctx *c, const struct ynode *node, void *out)
{
	static const char *const words[] = {
		[ACTION_ALLOW] = "Accept", [ACTION_DENY] = "Deny", [ACTION_PASS] = "Pass"
	};
	struct cluster_rule *r = out;
	const char *text;

	r->action = true;
	if (!yread_text(c, node, "action", &text))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(text, words[i]) == 0) {
			r->entry->action = (enum action)i;
			return;
		}
	}
	yctx_error(c, node, "action: %.60s is not supported; expected one of: Accept, Deny, Pass", text);
}

static void take_to(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct cluster_rule *)out)->to = node;
}

static void take_ports(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct cluster_rule *)out)->ports = node;
}

static void read_rule_ports(struct yctx *c, struct cluster_rule *r)
{
	bool aws = r->cluster->aws;
	struct cluster_port p = { .entry = r->entry };

	if (!r->ports || !read_limited(c, r->ports, aws ? "ports" : "protocols", 1, aws ? 100 : UPSTREAM_RULES))
		return;
	for (size_t i = 0; i < r->ports->count; i++) {
		p = (struct cluster_port){ .entry = r->entry };
		if (aws)
			read_aws_port(c, r->ports->items[i], &p);
		else
			read_upstream_port(c, r->ports->items[i], &p);
	}
}

/* A node has no ports with names either; upstream's CRD refuses the pair. */
static void check_named_nodes(struct yctx *c, const struct ynode *at, const struct entry *e)
{
	for (size_t i = 0; e->nnamed > 0 && i < e->npeers; i++) {
		if (e->peers[i].kind != PEER_NODES)
			continue;
		yctx_error(c, at, "port: a named port (%s) cannot go with nodes; expected a number", e->named[0].name);
		return;
	}
}

static void read_rule(struct yctx *c, const struct ynode *node, struct cluster *cluster)
{
	const struct yfield fields[] = {
		{ "name", read_rule_name },
		{ "action", read_action },
		{ "to", take_to },
		{ cluster->aws ? "ports" : "protocols", take_ports },
	};
	struct policy *policy = cluster->policy;
	struct entry *entry = array_push(&policy->entries, &policy->nentries, sizeof(*entry));
	struct cluster_rule r = { .cluster = cluster, .entry = entry };

	if (!entry) {
		c->oom = true;
		return;
	}
	entry->line = node->line;
	entry->column = node->column;
	if (!yread_fields(c, node, "egress rule", fields, ARRAY_SIZE(fields), &r) && node->kind != YNODE_MAPPING)
		return;
	if (!r.action)
		yctx_error(c, node, "egress rule: expected a member action");
	read_rule_ports(c, &r);
	if (!r.to)
		yctx_error(c, node, "egress rule: expected a member to; for every destination write networks");
	else if (read_limited(c, r.to, "to", 1, cluster->aws ? AWS_RULES : UPSTREAM_RULES))
		for (size_t i = 0; i < r.to->count; i++)
			read_peer(c, r.to->items[i], &r);
	read_check_named(c, node, entry);
	check_named_nodes(c, node, entry);
}

/* ---- spec --------------------------------------------------------------------------------------------------------- */

static void read_tier(struct yctx *c, const struct ynode *node, void *out)
{
	struct cluster *cluster = out;
	const char *text;

	cluster->tier = true;
	if (!yread_text(c, node, "tier", &text))
		return;
	if (strcmp(text, "Admin") == 0)
		cluster->policy->tier = TIER_ADMIN;
	else if (strcmp(text, "Baseline") == 0)
		cluster->policy->tier = TIER_BASELINE;
	else
		yctx_error(c, node, "tier: expected Admin or Baseline, got %.60s", text);
}

static void read_priority(struct yctx *c, const struct ynode *node, void *out)
{
	struct cluster *cluster = out;
	uint64_t n;

	cluster->priority = true;
	if (yread_uint(c, node, "priority", 0, 1000, &n))
		cluster->policy->priority = (uint32_t)n;
}

static void read_egress(struct yctx *c, const struct ynode *node, void *out)
{
	struct cluster *cluster = out;

	if (ynode_is_null(node) || !read_limited(c, node, "egress", 0, cluster->aws ? AWS_RULES : UPSTREAM_RULES))
		return;
	for (size_t i = 0; i < node->count; i++)
		read_rule(c, node->items[i], cluster);
}

static void read_ingress(struct yctx *c, const struct ynode *node, void *out)
{
	(void)out;
	yctx_notice(c, node, "ingress is not enforced here; only egress is");
}

void cluster_policy_read(struct yctx *c, const struct ynode *spec, struct policy *p)
{
	static const struct yfield fields[] = {
		{ "tier", read_tier },	   { "priority", read_priority }, { "subject", read_subject },
		{ "egress", read_egress }, { "ingress", read_ingress },
	};
	struct cluster cluster = { .policy = p, .aws = p->kind == POLICY_AWS_CLUSTER };

	if (!yread_fields(c, spec, "spec", fields, ARRAY_SIZE(fields), &cluster) && spec->kind != YNODE_MAPPING)
		return;
	if (!cluster.tier)
		yctx_error(c, spec, "spec: expected a member tier");
	if (!cluster.priority)
		yctx_error(c, spec, "spec: expected a member priority");
	if (!cluster.subject)
		yctx_error(c, spec, "spec: expected a member subject");
}
