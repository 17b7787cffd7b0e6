/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ApplicationNetworkPolicy, networking.k8s.aws/v1alpha1: the egress side. Where AWS's controller and its documentation
 * differ (a rule without `to`), the documentation is followed, with a warning.
 */
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "policy/manifest.h"
#include "policy/read.h"

struct anp {
	struct policy *policy;
	const struct ynode *types;
	const struct ynode *egress;
	bool selector;
	bool type_egress;
	bool type_given;
};

struct anp_rule {
	struct entry *entry;
	const struct ynode *to;
	const struct ynode *ports;
};

/* ---- peers ----------------------------------------------------------------------------------------------------- */

struct anp_peer {
	struct entry *entry;
	size_t given;
};

static void read_domain_names(struct yctx *c, const struct ynode *node, void *out)
{
	struct anp_peer *p = out;

	p->given++;
	if (!read_list(c, node, "domainNames"))
		return;
	if (node->count == 0)
		yctx_error(c, node, "domainNames: expected at least one name");
	for (size_t i = 0; i < node->count; i++)
		read_name(c, p->entry, node->items[i], NAME_AWS, PEER_NAME, "domainNames");
}

static void read_ip_block(struct yctx *c, const struct ynode *node, void *out)
{
	struct anp_peer *p = out;

	p->given++;
	read_cidr_block(c, p->entry, node, "ipBlock", true);
}

static void read_peers(struct yctx *c, const struct ynode *node, struct entry *entry)
{
	static const struct yfield fields[] = {
		{ "domainNames", read_domain_names },
		{ "ipBlock", read_ip_block },
	};

	for (size_t i = 0; i < node->count; i++) {
		struct anp_peer p = { .entry = entry };

		if (yread_fields(c, node->items[i], "to", fields, ARRAY_SIZE(fields), &p) && p.given != 1)
			yctx_error(c, node->items[i], "to: expected exactly one of domainNames and ipBlock");
	}
}

/* ---- ports ----------------------------------------------------------------------------------------------------- */

struct anp_port {
	const struct ynode *protocol;
	const struct ynode *port;
	const struct ynode *end_port;
};

static void take_protocol(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct anp_port *)out)->protocol = node;
}

static void take_port(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct anp_port *)out)->port = node;
}

static void take_end_port(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct anp_port *)out)->end_port = node;
}

static bool read_protocol(struct yctx *c, const struct ynode *node, uint32_t *ret_protos, const char **ret_name)
{
	const char *text;

	if (!yread_text(c, node, "protocol", &text))
		return false;
	if (strcmp(text, "TCP") == 0)
		*ret_protos = PROTO_TCP;
	else if (strcmp(text, "UDP") == 0)
		*ret_protos = PROTO_UDP;
	else if (strcmp(text, "SCTP") == 0)
		*ret_protos = PROTO_SCTP;
	else {
		yctx_error(c, node, "protocol: %s is not supported; expected one of: TCP, UDP, SCTP", text);
		return false;
	}
	*ret_name = text;
	return true;
}

static bool read_range(struct yctx *c, const struct ynode *at, const struct anp_port *p, uint16_t *first,
		       uint16_t *last)
{
	uint64_t port, end;

	if (!p->port && p->end_port) {
		yctx_error(c, at, "endPort: expected a port beside it");
		return false;
	}
	*first = 0;
	*last = UINT16_MAX;
	if (!p->port)
		return true;
	if (p->port->kind == YNODE_SCALAR && p->port->scalar == YSCALAR_STRING) {
		yctx_error(
			c, p->port,
			"port: a named port (%s) cannot go with names or prefixes; expected a number from 1 to 65535",
			p->port->text);
		return false;
	}
	if (!yread_uint(c, p->port, "port", 1, UINT16_MAX, &port))
		return false;
	end = port;
	if (p->end_port && !yread_uint(c, p->end_port, "endPort", port, UINT16_MAX, &end))
		return false;
	*first = (uint16_t)port;
	*last = (uint16_t)end;
	return true;
}

static void read_port(struct yctx *c, const struct ynode *node, struct entry *entry)
{
	static const struct yfield fields[] = {
		{ "protocol", take_protocol },
		{ "port", take_port },
		{ "endPort", take_end_port },
	};
	struct anp_port p = {};
	uint32_t protos = PROTO_TCP;
	const char *name = "TCP";
	uint16_t first = 0, last = 0;
	bool ok = yread_fields(c, node, "ports", fields, ARRAY_SIZE(fields), &p);

	if (p.protocol)
		ok = read_protocol(c, p.protocol, &protos, &name) && ok;
	ok = read_range(c, node, &p, &first, &last) && ok;
	if (ok)
		read_port_add(c, entry, protos, name, first, last);
}

/* ---- rules ----------------------------------------------------------------------------------------------------- */

static void take_to(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct anp_rule *)out)->to = node;
}

static void take_ports(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct anp_rule *)out)->ports = node;
}

static void read_rule(struct yctx *c, const struct ynode *node, struct policy *policy)
{
	static const struct yfield fields[] = { { "to", take_to }, { "ports", take_ports } };
	struct entry *entry = array_push(&policy->entries, &policy->nentries, sizeof(*entry));
	struct anp_rule r = { .entry = entry };

	if (!entry) {
		c->oom = true;
		return;
	}
	entry->line = node->line;
	entry->column = node->column;
	if (!yread_fields(c, node, "egress rule", fields, ARRAY_SIZE(fields), &r) && node->kind != YNODE_MAPPING)
		return;
	if (r.ports && read_list(c, r.ports, "ports")) {
		if (r.ports->count == 0)
			yctx_warn(c, r.ports, "ports is empty: every port is meant");
		for (size_t i = 0; i < r.ports->count; i++)
			read_port(c, r.ports->items[i], entry);
	}
	if (r.to && !read_list(c, r.to, "to"))
		return;
	if (!r.to || r.to->count == 0) {
		yctx_warn(
			c, r.to ? r.to : node,
			"an egress rule without to means every destination, as documented (AWS's controller drops it)");
		read_peer_add(c, entry, node, PEER_ANY, "egress", NULL);
		return;
	}
	read_peers(c, r.to, entry);
}

/* ---- spec ------------------------------------------------------------------------------------------------------ */

static void read_pod_selector(struct yctx *c, const struct ynode *node, void *out)
{
	struct anp *a = out;
	struct policy *p = a->policy;

	a->selector = true;
	if (!read_selector(c, node, "podSelector", false, &p->selector))
		return;
	p->selector.namespace_name = strdup(p->namespace_name);
	if (p->selector.namespace_name)
		p->selector_known = true;
	else
		c->oom = true;
}

static void read_policy_types(struct yctx *c, const struct ynode *node, void *out)
{
	struct anp *a = out;

	if (!read_list(c, node, "policyTypes"))
		return;
	a->type_given = node->count > 0;
	for (size_t i = 0; i < node->count; i++) {
		const char *text;

		if (!yread_text(c, node->items[i], "policyTypes", &text))
			continue;
		if (strcmp(text, "Egress") == 0)
			a->type_egress = true;
		else if (strcmp(text, "Ingress") != 0)
			yctx_error(c, node->items[i],
				   "policyTypes: %s is not supported; expected one of: Egress, Ingress", text);
	}
}

static void take_egress(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct anp *)out)->egress = node;
}

static void read_ingress(struct yctx *c, const struct ynode *node, void *out)
{
	(void)out;
	yctx_notice(c, node, "ingress is not enforced here; only egress is");
}

static void finish_spec(struct yctx *c, const struct ynode *node, struct anp *a)
{
	struct policy *p = a->policy;
	size_t rules = a->egress && a->egress->kind == YNODE_SEQUENCE ? a->egress->count : 0;

	p->isolates = a->type_given ? a->type_egress : rules > 0;
	if (a->egress && !ynode_is_null(a->egress) && yread_sequence(c, a->egress, "egress"))
		for (size_t i = 0; i < a->egress->count; i++)
			read_rule(c, a->egress->items[i], p);
	if (!a->selector)
		yctx_error(c, node, "spec: expected a member podSelector");
	if (a->type_given && !a->type_egress && rules > 0)
		yctx_warn(c, a->egress, "policyTypes lacks Egress: the egress rules are ignored");
	if (!a->type_given && a->egress && rules == 0)
		yctx_warn(c, a->egress,
			  "egress without rules and without policyTypes isolates nobody; "
			  "write policyTypes: [Egress] to deny everything");
}

void anp_read(struct yctx *c, const struct ynode *spec, struct policy *p)
{
	static const struct yfield fields[] = {
		{ "podSelector", read_pod_selector },
		{ "policyTypes", read_policy_types },
		{ "egress", take_egress },
		{ "ingress", read_ingress },
	};
	struct anp a = { .policy = p };

	yread_fields(c, spec, "spec", fields, ARRAY_SIZE(fields), &a);
	if (spec->kind == YNODE_MAPPING)
		finish_spec(c, spec, &a);
}
