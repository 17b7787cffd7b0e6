/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy, cilium.io/v2: the egress side.
 *
 * A member that is null is refused where leaving it out would open more than a list would: a template that yields
 * `toCIDR:` with nothing after it must not become a rule for every destination.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "policy/manifest.h"
#include "policy/read.h"

struct cnp {
	struct policy *policy;
	size_t sections; /* of the present spec */
	bool deny;	 /* the present section is egressDeny */
	bool selector;	 /* the present spec has one */
};

struct cnp_entry {
	struct cnp *cnp;
	struct entry *entry;
	const struct ynode *node;
	const char *l3;		 /* the non-empty L3 member seen, NULL: none */
	bool l3_given;		 /* one was given, maybe empty */
	bool ports_given;	 /* toPorts has items */
	bool unrestricted_ports; /* one of them has no ports */
};

/* ---- L3 members ------------------------------------------------------------------------------------------------ */

/* One per entry, as upstream: "combining toCIDR and toFQDNs is not supported yet". */
static bool l3_member(struct yctx *c, const struct ynode *node, struct cnp_entry *e, const char *member)
{
	e->l3_given = true;
	if (!read_list(c, node, member))
		return false;
	if (node->count == 0) {
		yctx_warn(c, node, "%s is empty: the entry selects no destination", member);
		return false;
	}
	if (e->l3) {
		yctx_error(c, node, "%s beside %s in one entry; expected one of them, and an entry each", member,
			   e->l3);
		return false;
	}
	e->l3 = member;
	return true;
}

static const char *peer_words(const struct cnp_entry *e, const char *member, char *buf, size_t size)
{
	snprintf(buf, size, "%s%s", e->cnp->deny ? "egressDeny " : "", member);
	return buf;
}

static void read_to_cidr(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp_entry *e = out;
	char words[40];

	if (!l3_member(c, node, e, "toCIDR"))
		return;
	for (size_t i = 0; i < node->count; i++) {
		char text[ADDR_TEXT_MAX];
		struct sluice_prefix prefix;
		struct peer *peer;

		if (!read_cidr(c, node->items[i], "toCIDR", &prefix))
			continue;
		peer = read_peer_add(c, e->entry, node->items[i], PEER_CIDR,
				     peer_words(e, "toCIDR", words, sizeof(words)), prefix_format(&prefix, text));
		if (peer)
			peer->prefix = prefix;
	}
}

static void read_to_cidr_set(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp_entry *e = out;
	char words[40];

	if (!l3_member(c, node, e, "toCIDRSet"))
		return;
	peer_words(e, "toCIDRSet", words, sizeof(words));
	for (size_t i = 0; i < node->count; i++)
		read_cidr_block(c, e->entry, node->items[i], words, false);
}

struct fqdn {
	struct cnp_entry *entry;
	enum peer_kind kind;
	const char *words;
	size_t given;
};

static void read_match_name(struct yctx *c, const struct ynode *node, void *out)
{
	struct fqdn *f = out;

	if (f->given++ == 0)
		read_name(c, f->entry->entry, node, NAME_CILIUM_NAME, f->kind, f->words);
}

static void read_match_pattern(struct yctx *c, const struct ynode *node, void *out)
{
	struct fqdn *f = out;

	if (f->given++ == 0)
		read_name(c, f->entry->entry, node, NAME_CILIUM_PATTERN, f->kind, f->words);
}

/* Items of toFQDNs and of rules.dns are the same: exactly one of matchName and matchPattern. */
static void read_fqdns(struct yctx *c, const struct ynode *list, struct cnp_entry *e, enum peer_kind kind,
		       const char *words)
{
	static const struct yfield fields[] = {
		{ "matchName", read_match_name },
		{ "matchPattern", read_match_pattern },
	};

	for (size_t i = 0; i < list->count; i++) {
		struct fqdn f = { .entry = e, .kind = kind, .words = words };

		if (yread_fields(c, list->items[i], words, fields, ARRAY_SIZE(fields), &f) && f.given != 1)
			yctx_error(c, list->items[i], "%s: expected exactly one of matchName and matchPattern", words);
	}
}

static void read_to_fqdns(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp_entry *e = out;

	if (e->cnp->deny) {
		yctx_error(c, node, "toFQDNs is not supported in egressDeny; names can only be allowed");
		return;
	}
	if (l3_member(c, node, e, "toFQDNs"))
		read_fqdns(c, node, e, PEER_NAME, "toFQDNs");
}

/* A peer without a namespace label means the policy's own namespace; cluster-wide policies have none. */
static void read_to_endpoints(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp_entry *e = out;
	const struct policy *p = e->cnp->policy;
	char words[40];

	if (!l3_member(c, node, e, "toEndpoints"))
		return;
	for (size_t i = 0; i < node->count; i++) {
		struct peer *peer = read_peer_add(c, e->entry, node->items[i], PEER_PODS,
						  peer_words(e, "toEndpoints", words, sizeof(words)), NULL);

		if (!peer)
			return;
		read_selector(c, node->items[i], "toEndpoints", true, &peer->selector);
		if (!peer->selector.namespace_name && p->namespace_name) {
			peer->selector.namespace_name = strdup(p->namespace_name);
			if (!peer->selector.namespace_name)
				c->oom = true;
		}
	}
}

static void read_entity(struct yctx *c, const struct ynode *node, struct cnp_entry *e)
{
	static const char *const nobody[] = { "health", "init", "ingress", "unmanaged", "cluster-mesh" };
	const char *text;
	char words[40];

	if (!yread_text(c, node, "toEntities", &text))
		return;
	peer_words(e, "toEntities", words, sizeof(words));
	if (strcmp(text, "world") == 0) {
		read_peer_add(c, e->entry, node, PEER_WORLD, words, text);
		return;
	}
	if (strcmp(text, "all") == 0) {
		read_peer_add(c, e->entry, node, PEER_ANY, words, text);
		return;
	}
	if (strcmp(text, "none") == 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(nobody); i++) {
		if (strcmp(text, nobody[i]) != 0)
			continue;
		if (e->cnp->deny)
			yctx_error(c, node, "toEntities: %s cannot be denied here, nothing is known of it", text);
		else
			yctx_warn(c, node, "toEntities: %s is nobody here; it allows nothing", text);
		return;
	}
	yctx_error(c, node, "toEntities: %s is not supported; expected one of: world, all, none", text);
}

static void read_to_entities(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp_entry *e = out;

	if (!l3_member(c, node, e, "toEntities"))
		return;
	for (size_t i = 0; i < node->count; i++)
		read_entity(c, node->items[i], e);
}

/* ---- toPorts --------------------------------------------------------------------------------------------------- */

struct cnp_port {
	const struct ynode *port;
	const struct ynode *end_port;
	const struct ynode *protocol;
};

static void take_port(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct cnp_port *)out)->port = node;
}

static void take_end_port(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct cnp_port *)out)->end_port = node;
}

static void take_protocol(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct cnp_port *)out)->protocol = node;
}

static bool read_protocol(struct yctx *c, const struct ynode *node, uint32_t *ret_protos, const char **ret_name)
{
	static const struct {
		const char *name;
		uint32_t protos;
	} known[] = { { "ANY", PROTO_PORTS }, { "TCP", PROTO_TCP }, { "UDP", PROTO_UDP }, { "SCTP", PROTO_SCTP } };
	const char *text;

	if (!yread_text(c, node, "protocol", &text))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcasecmp(text, known[i].name) != 0)
			continue;
		*ret_protos = known[i].protos;
		*ret_name = known[i].name;
		return true;
	}
	yctx_error(c, node, "protocol: %s is not supported; expected one of: TCP, UDP, SCTP, ANY", text);
	return false;
}

/* Digits without leading zeros: upstream reads "010" as octal 8, which nobody means. */
static bool read_port_number(struct yctx *c, const struct ynode *node, uint16_t *ret)
{
	const char *text;
	uint32_t n = 0;

	if (!yread_text(c, node, "port", &text))
		return false;
	if (*text && strspn(text, "0123456789") == strlen(text) && strlen(text) <= 5 &&
	    !(text[0] == '0' && text[1] != '\0'))
		n = (uint32_t)strtoul(text, NULL, 10);
	else
		n = UINT32_MAX;
	if (n > UINT16_MAX) {
		yctx_error(c, node,
			   "port: expected a number from 0 to 65535 as a string, without leading zeros, got %s", text);
		return false;
	}
	*ret = (uint16_t)n;
	return true;
}

static bool read_port_range(struct yctx *c, const struct cnp_port *p, uint16_t *first, uint16_t *last)
{
	uint64_t end;

	if (!read_port_number(c, p->port, first))
		return false;
	*last = *first ? *first : UINT16_MAX;
	if (!p->end_port)
		return true;
	if (!yread_uint(c, p->end_port, "endPort", 0, UINT16_MAX, &end))
		return false;
	if (end < *first || (*first == 0 && end != UINT16_MAX)) {
		yctx_error(c, p->end_port, "endPort: expected at least port %u%s, got %llu", *first,
			   *first ? "" : " (0 is every port; only 65535 goes with it)", (unsigned long long)end);
		return false;
	}
	*last = (uint16_t)end;
	return true;
}

static void read_port(struct yctx *c, const struct ynode *node, struct cnp_entry *e)
{
	static const struct yfield fields[] = {
		{ "port", take_port },
		{ "endPort", take_end_port },
		{ "protocol", take_protocol },
	};
	struct cnp_port p = {};
	uint32_t protos = PROTO_PORTS;
	const char *proto_name = "ANY";
	uint16_t first = 0, last = 0;
	bool ok = yread_fields(c, node, "ports", fields, ARRAY_SIZE(fields), &p);

	if (node->kind == YNODE_MAPPING && !p.port) {
		yctx_error(c, node, "ports: expected a member port");
		return;
	}
	if (p.protocol)
		ok = read_protocol(c, p.protocol, &protos, &proto_name) && ok;
	if (p.port)
		ok = read_port_range(c, &p, &first, &last) && ok;
	if (ok)
		read_port_add(c, e->entry, protos, proto_name, first, last);
}

struct cnp_to_ports {
	struct cnp_entry *entry;
	const struct ynode *ports;
	const struct ynode *rules;
};

static void take_ports(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct cnp_to_ports *)out)->ports = node;
}

static void take_rules(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct cnp_to_ports *)out)->rules = node;
}

/* The proxy answers on port 53 alone, so names anywhere else would be a promise nobody keeps. */
static bool check_dns_ports(struct yctx *c, const struct ynode *at, const struct ynode *ports)
{
	if (!ports || ports->kind != YNODE_SEQUENCE || ports->count == 0) {
		yctx_error(c, at, "rules.dns: expected ports: [{port: \"53\"}] beside it");
		return false;
	}
	for (size_t i = 0; i < ports->count; i++) {
		const struct ynode *port = ynode_get(ports->items[i], "port");

		if (ynode_get(ports->items[i], "endPort")) {
			yctx_error(c, ports->items[i], "rules.dns: expected port \"53\" without endPort");
			return false;
		}
		if (!port || port->kind != YNODE_SCALAR || strcmp(port->text, "53") != 0) {
			yctx_error(c, port ? port : ports->items[i],
				   "rules.dns: expected port \"53\", the only one DNS rules work on");
			return false;
		}
	}
	return true;
}

static void read_dns_rules(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp_to_ports *t = out;

	if (!read_list(c, node, "rules.dns"))
		return;
	if (node->count == 0) {
		yctx_error(c, node, "rules.dns: expected at least one matchName or matchPattern");
		return;
	}
	if (check_dns_ports(c, node, t->ports))
		read_fqdns(c, node, t->entry, PEER_ASK, "rules.dns");
}

static void read_ports_list(struct yctx *c, const struct ynode *node, struct cnp_entry *e)
{
	if (!read_list(c, node, "ports"))
		return;
	if (node->count == 0) {
		yctx_warn(c, node, "ports is empty: every port is meant");
		e->unrestricted_ports = true;
	}
	for (size_t i = 0; i < node->count; i++)
		read_port(c, node->items[i], e);
}

static void read_to_ports_item(struct yctx *c, const struct ynode *node, struct cnp_entry *e)
{
	static const struct yfield allow[] = { { "ports", take_ports }, { "rules", take_rules } };
	static const struct yfield rules[] = { { "dns", read_dns_rules } };
	struct cnp_to_ports t = { .entry = e };

	if (!yread_fields(c, node, "toPorts", allow, e->cnp->deny ? 1 : 2, &t) && node->kind != YNODE_MAPPING)
		return;
	if (t.ports) {
		read_ports_list(c, t.ports, e);
	} else {
		yctx_warn(c, node, "toPorts without ports: every port is meant");
		e->unrestricted_ports = true;
	}
	if (t.rules)
		yread_fields(c, t.rules, "rules", rules, ARRAY_SIZE(rules), &t);
}

static void read_to_ports(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp_entry *e = out;

	if (!read_list(c, node, "toPorts"))
		return;
	if (node->count == 0)
		yctx_warn(c, node, "toPorts is empty: every port is meant");
	e->ports_given = node->count > 0;
	for (size_t i = 0; i < node->count; i++)
		read_to_ports_item(c, node->items[i], e);
}

/* ---- entries and sections -------------------------------------------------------------------------------------- */

/* `{}` allows nothing; ports alone are for every destination. */
static void finish_entry(struct yctx *c, struct cnp_entry *e)
{
	char words[40];

	if (e->unrestricted_ports) {
		free(e->entry->ports);
		free(e->entry->ports_text);
		e->entry->ports = NULL;
		e->entry->ports_text = NULL;
		e->entry->nports = 0;
	}
	if (!e->l3_given && e->ports_given)
		read_peer_add(c, e->entry, e->node, PEER_ANY, peer_words(e, "toPorts", words, sizeof(words)), NULL);
}

static void read_entry(struct yctx *c, const struct ynode *node, struct cnp *cnp)
{
	static const struct yfield fields[] = {
		{ "toFQDNs", read_to_fqdns },	    { "toCIDR", read_to_cidr },
		{ "toCIDRSet", read_to_cidr_set },  { "toEndpoints", read_to_endpoints },
		{ "toEntities", read_to_entities }, { "toPorts", read_to_ports },
	};
	struct entry *entry = array_push(&cnp->policy->entries, &cnp->policy->nentries, sizeof(*entry));
	struct cnp_entry e = { .cnp = cnp, .entry = entry, .node = node };

	if (!entry) {
		c->oom = true;
		return;
	}
	entry->deny = cnp->deny;
	entry->line = node->line;
	entry->column = node->column;
	yread_fields(c, node, cnp->deny ? "egressDeny entry" : "egress entry", fields, ARRAY_SIZE(fields), &e);
	finish_entry(c, &e);
}

static void read_section(struct yctx *c, const struct ynode *node, struct cnp *cnp, const char *what, bool deny)
{
	cnp->sections++;
	cnp->deny = deny;
	if (ynode_is_null(node) || (node->kind == YNODE_SEQUENCE && node->count == 0)) {
		yctx_error(c, node,
			   "%s is empty, which is no section at all to Cilium; to deny everything write "
			   "egress: [{}]",
			   what);
		return;
	}
	if (!yread_sequence(c, node, what))
		return;
	cnp->policy->isolates = true;
	for (size_t i = 0; i < node->count; i++)
		read_entry(c, node->items[i], cnp);
}

static void read_egress(struct yctx *c, const struct ynode *node, void *out)
{
	read_section(c, node, out, "egress", false);
}

static void read_egress_deny(struct yctx *c, const struct ynode *node, void *out)
{
	read_section(c, node, out, "egressDeny", true);
}

static void read_ingress(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp *cnp = out;

	cnp->sections++;
	yctx_notice(c, node, "ingress is not enforced here; only egress is");
}

static void read_description(struct yctx *c, const struct ynode *node, void *out)
{
	const char *text;

	(void)out;
	if (!ynode_is_null(node))
		yread_text(c, node, "description", &text);
}

/* A namespaced policy selects in its own namespace; naming another is a mistake Cilium corrects silently. */
static void read_endpoint_selector(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp *cnp = out;
	struct policy *p = cnp->policy;
	struct selector *s = &p->selector;

	cnp->selector = true;
	if (!read_selector(c, node, "endpointSelector", true, s))
		return;
	if (!p->namespace_name) {
		p->selector_known = true;
		return;
	}
	if (s->namespace_name && strcmp(s->namespace_name, p->namespace_name) != 0) {
		yctx_error(c, node, "endpointSelector: a policy of namespace %s cannot select in %s", p->namespace_name,
			   s->namespace_name);
		return;
	}
	free(s->namespace_name);
	s->namespace_name = strdup(p->namespace_name);
	if (s->namespace_name)
		p->selector_known = true;
	else
		c->oom = true;
}

static void read_spec(struct yctx *c, const struct ynode *node, struct policy *p)
{
	static const struct yfield fields[] = {
		{ "endpointSelector", read_endpoint_selector },
		{ "description", read_description },
		{ "egress", read_egress },
		{ "egressDeny", read_egress_deny },
		{ "ingress", read_ingress },
		{ "ingressDeny", read_ingress },
	};
	struct cnp cnp = { .policy = p };

	yread_fields(c, node, "spec", fields, ARRAY_SIZE(fields), &cnp);
	if (node->kind != YNODE_MAPPING)
		return;
	if (!cnp.selector)
		yctx_error(c, node, "spec: expected a member endpointSelector");
	if (cnp.sections == 0)
		yctx_error(c, node, "spec: expected at least one of egress, egressDeny, ingress, ingressDeny");
}

void cnp_read(struct yctx *c, const struct ynode *spec, struct policy *p)
{
	read_spec(c, spec, p);
}
