/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ApplicationNetworkPolicy, networking.k8s.aws/v1alpha1, and NetworkPolicy, networking.k8s.io/v1, which is the same
 * without names: the egress side. Where AWS's controller and its documentation differ (a rule without `to`), the
 * documentation is followed, with a warning.
 */
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "policy/manifest.h"
#include "policy/read.h"

struct anp {
	struct policy *policy;
	const struct ynode *egress;
	bool selector;
	bool type_egress;
	bool type_given;
};

struct anp_rule {
	struct anp *anp;
	struct entry *entry;
	const struct ynode *to;
	const struct ynode *ports;
};

/* ---- peers ------------------------------------------------------------------------------------------------------- */

struct anp_peer {
	struct entry *entry;
	const struct ynode *names;
	const struct ynode *block;
	const struct ynode *pods;
	const struct ynode *namespaces;
};

static void take_names(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct anp_peer *)out)->names = node;
}

static void take_block(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct anp_peer *)out)->block = node;
}

static void take_pods(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct anp_peer *)out)->pods = node;
}

static void take_namespaces(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct anp_peer *)out)->namespaces = node;
}

static void read_domain_names(struct yctx *c, const struct ynode *node, struct entry *entry)
{
	if (!read_list(c, node, "domainNames"))
		return;
	if (node->count == 0)
		yctx_error(c, node, "domainNames: expected at least one name");
	for (size_t i = 0; i < node->count; i++)
		read_name(c, entry, node->items[i], NAME_AWS, PEER_NAME, "domainNames");
}

static void read_pod_peer(struct yctx *c, const struct ynode *node, const struct anp_peer *p,
			  const char *namespace_name)
{
	struct peer *peer = read_peer_add(c, p->entry, node, PEER_PODS,
					  !p->namespaces ? "podSelector"
					  : p->pods	 ? "namespaceSelector and podSelector"
							 : "namespaceSelector",
					  NULL);

	if (!peer)
		return;
	if (p->pods)
		read_selector(c, p->pods, "podSelector", SELECTOR_PODS, &peer->selector);
	if (p->namespaces)
		read_selector(c, p->namespaces, "namespaceSelector", SELECTOR_NAMESPACES, &peer->selector);
	else
		selector_in_namespace(c, &peer->selector, namespace_name);
}

static void read_peer(struct yctx *c, const struct ynode *node, const struct anp_rule *rule)
{
	static const struct yfield fields[] = {
		{ "podSelector", take_pods },
		{ "namespaceSelector", take_namespaces },
		{ "ipBlock", take_block },
		{ "domainNames", take_names },
	};
	const struct policy *policy = rule->anp->policy;
	bool names = policy->kind == POLICY_ANP;
	struct anp_peer p = { .entry = rule->entry };
	bool pods;

	if (!yread_fields(c, node, "to", fields, ARRAY_SIZE(fields) - !names, &p))
		return;
	pods = p.pods || p.namespaces;
	if (pods + (p.block != NULL) + (p.names != NULL) != 1) {
		yctx_error(c, node,
			   "to: expected exactly one of %sipBlock, and podSelector or namespaceSelector or both",
			   names ? "domainNames, " : "");
		return;
	}
	if (p.names)
		read_domain_names(c, p.names, rule->entry);
	else if (p.block)
		read_cidr_block(c, rule->entry, p.block, "ipBlock", true);
	else
		read_pod_peer(c, node, &p, policy->namespace_name);
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
	if (!yread_uint(c, p->port, "port", 1, UINT16_MAX, &port))
		return false;
	end = port;
	if (p->end_port && !yread_uint(c, p->end_port, "endPort", port, UINT16_MAX, &end))
		return false;
	*first = (uint16_t)port;
	*last = (uint16_t)end;
	return true;
}

static void read_named(struct yctx *c, const struct anp_port *p, uint32_t protos, struct entry *entry)
{
	const char *text = p->port->text;
	size_t len = strlen(text);

	if (p->end_port)
		yctx_error(c, p->end_port, "endPort: cannot go with a named port (%.60s)", text);
	else if (len == 0 || len > 63 || text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0')
		yctx_error(c, p->port, "port: expected a number from 1 to 65535 or a container port's name, got %.60s",
			   text);
	else
		read_named_add(c, entry, protos, text);
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
	if (p.port && p.port->kind == YNODE_SCALAR && p.port->scalar == YSCALAR_STRING) {
		read_named(c, &p, protos, entry);
		return;
	}
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

static void read_rule_ports(struct yctx *c, const struct anp_rule *r)
{
	size_t errors = c->errors;

	if (!r->ports || !read_list(c, r->ports, "ports"))
		return;
	if (r->ports->count == 0)
		yctx_warn(c, r->ports, "ports is empty: every port is meant");
	for (size_t i = 0; i < r->ports->count; i++)
		read_port(c, r->ports->items[i], r->entry);
	r->entry->nothing = c->errors > errors;
}

static void read_rule_peers(struct yctx *c, const struct ynode *node, const struct anp_rule *r)
{
	if (r->to && !read_list(c, r->to, "to"))
		return;
	if (!r->to || r->to->count == 0) {
		yctx_warn(
			c, r->to ? r->to : node,
			"an egress rule without to means every destination, as documented (AWS's controller drops it)");
		read_peer_add(c, r->entry, node, PEER_ANY, "egress", NULL);
		return;
	}
	for (size_t i = 0; i < r->to->count; i++)
		read_peer(c, r->to->items[i], r);
}

static void read_rule(struct yctx *c, const struct ynode *node, struct anp *anp)
{
	struct policy *policy = anp->policy;
	static const struct yfield fields[] = { { "to", take_to }, { "ports", take_ports } };
	struct entry *entry = array_push(&policy->entries, &policy->nentries, sizeof(*entry));
	struct anp_rule r = { .anp = anp, .entry = entry };

	if (!entry) {
		c->oom = true;
		return;
	}
	entry->line = node->line;
	entry->column = node->column;
	if (!yread_fields(c, node, "egress rule", fields, ARRAY_SIZE(fields), &r) && node->kind != YNODE_MAPPING)
		return;
	read_rule_ports(c, &r);
	read_rule_peers(c, node, &r);
	read_check_named(c, node, entry);
}

/* ---- spec ------------------------------------------------------------------------------------------------------ */

static void read_pod_selector(struct yctx *c, const struct ynode *node, void *out)
{
	struct anp *a = out;
	struct policy *p = a->policy;

	a->selector = true;
	if (!read_selector(c, node, "podSelector", SELECTOR_PODS, &p->selector))
		return;
	p->selector_known = selector_in_namespace(c, &p->selector, p->namespace_name);
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

static void read_rules(struct yctx *c, struct anp *a)
{
	if (!a->egress || ynode_is_null(a->egress) || !yread_sequence(c, a->egress, "egress"))
		return;
	for (size_t i = 0; i < a->egress->count; i++)
		read_rule(c, a->egress->items[i], a);
}

static void finish_spec(struct yctx *c, const struct ynode *node, struct anp *a)
{
	struct policy *p = a->policy;
	size_t rules = a->egress && a->egress->kind == YNODE_SEQUENCE ? a->egress->count : 0;

	p->isolates = a->type_given ? a->type_egress : rules > 0;
	read_rules(c, a);
	if (!a->selector)
		yctx_error(c, node, "spec: expected a member podSelector");
	if (a->type_given && !a->type_egress && rules > 0)
		yctx_warn(c, a->egress, "policyTypes lacks Egress: the egress rules are ignored");
	if (!a->type_given && a->egress && rules == 0)
		yctx_warn(c, a->egress,
			  "egress without rules and without policyTypes isolates nobody; "
			  "write policyTypes: [Egress] to deny everything");
	if (!p->isolates)
		policy_drop_entries(p);
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
