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

#include "base/cleanup.h"
#include "policy/array.h"
#include "policy/cnp.h"
#include "policy/manifest.h"
#include "policy/read.h"

/* ---- entries and sections -------------------------------------------------------------------------------------- */

/* `{}` allows nothing; ports alone are for every destination. */
static void finish_entry(struct yctx *c, struct cnp_entry *e)
{
	struct entry *entry = e->entry;
	char words[CNP_WORDS];

	if (e->icmps && e->to_ports)
		yctx_error(c, e->icmps, "icmps beside toPorts in one entry; expected one of them, and an entry each");
	if (e->unrestricted_ports) {
		for (size_t i = 0; i < entry->nnamed; i++)
			free(entry->named[i].name);
		free(entry->named);
		free(entry->ports);
		free(entry->ports_text);
		entry->named = NULL;
		entry->ports = NULL;
		entry->ports_text = NULL;
		entry->nports = entry->nnamed = 0;
	} else if (e->ports_given && entry->nports + entry->nnamed == 0) {
		entry->nothing = true;
	}
	if (!e->l3_given && e->ports_given)
		read_peer_add(c, entry, e->node, PEER_ANY, cnp_words(e, e->icmps ? "icmps" : "toPorts", words), NULL);
	read_check_named(c, e->node, entry);
}

static void read_entry(struct yctx *c, const struct ynode *node, struct cnp *cnp)
{
	static const struct yfield fields[] = {
		{ "toFQDNs", cnp_read_to_fqdns },	{ "toCIDR", cnp_read_to_cidr },
		{ "toCIDRSet", cnp_read_to_cidr_set },	{ "toEndpoints", cnp_read_to_endpoints },
		{ "toEntities", cnp_read_to_entities }, { "toServices", cnp_read_to_services },
		{ "toPorts", cnp_read_to_ports },	{ "icmps", cnp_read_icmps },
	};
	struct entry *entry = array_push(&cnp->policy->entries, &cnp->policy->nentries, sizeof(*entry));
	struct cnp_entry e = { .cnp = cnp, .entry = entry, .node = node };

	if (!entry) {
		c->oom = true;
		return;
	}
	entry->action = cnp->deny ? ACTION_DENY : ACTION_ALLOW;
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
	cnp->egress = true;
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
	(void)out;
	read_ignored_text(c, node, "description");
}

static void read_default_deny(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp *cnp = out;

	if (!ynode_is_null(node))
		cnp->opted = yread_bool(c, node, "enableDefaultDeny.egress", &cnp->opted_in);
}

static void read_default_deny_ingress(struct yctx *c, const struct ynode *node, void *out)
{
	bool ignored;

	(void)out;
	if (!ynode_is_null(node))
		yread_bool(c, node, "enableDefaultDeny.ingress", &ignored);
}

static void read_enable_default_deny(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = {
		{ "egress", read_default_deny },
		{ "ingress", read_default_deny_ingress },
	};

	if (!ynode_is_null(node))
		yread_fields(c, node, "enableDefaultDeny", fields, ARRAY_SIZE(fields), out);
}

static void read_log_value(struct yctx *c, const struct ynode *node, void *out)
{
	const char *text;

	(void)out;
	if (yread_text(c, node, "log.value", &text) && strlen(text) > 32)
		yctx_error(c, node, "log.value: expected at most 32 characters");
}

static void read_log(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = { { "value", read_log_value } };

	yctx_notice(c, node, "log.value is not put into the flow log");
	yread_fields(c, node, "log", fields, ARRAY_SIZE(fields), out);
}

/* They name the rule for Cilium's own tools, and no verdict hangs on them. */
static void read_rule_labels(struct yctx *c, const struct ynode *node, void *out)
{
	(void)out;
	if (!ynode_is_null(node))
		yread_sequence(c, node, "labels");
}

static void read_node_selector(struct yctx *c, const struct ynode *node, void *out)
{
	(void)out;
	yctx_error(c, node, "nodeSelector is not supported: nodes are not filtered here; expected endpointSelector");
}

/* A namespaced policy selects in its own namespace; naming another is a mistake Cilium corrects silently. */
static bool check_own_namespace(struct yctx *c, const struct ynode *node, const struct policy *p)
{
	for (size_t i = 0; i < p->selector.count; i++) {
		const struct requirement *r = &p->selector.items[i];

		if (r->scope != SCOPE_NAMESPACE_NAME || r->operation != OP_IN || r->nvalues != 1 ||
		    strcmp(r->values[0], p->namespace_name) == 0)
			continue;
		yctx_error(c, node, "endpointSelector: a policy of namespace %s cannot select in %s", p->namespace_name,
			   r->values[0]);
		return false;
	}
	return true;
}

static void read_endpoint_selector(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp *cnp = out;
	struct policy *p = cnp->policy;

	cnp->selector = true;
	if (!read_selector(c, node, "endpointSelector", SELECTOR_CILIUM, &p->selector))
		return;
	if (p->namespace_name &&
	    (!check_own_namespace(c, node, p) || !selector_in_namespace(c, &p->selector, p->namespace_name)))
		return;
	p->selector_known = true;
}

static void read_spec(struct yctx *c, const struct ynode *node, struct policy *p)
{
	static const struct yfield fields[] = {
		{ "endpointSelector", read_endpoint_selector },
		{ "description", read_description },
		{ "enableDefaultDeny", read_enable_default_deny },
		{ "labels", read_rule_labels },
		{ "log", read_log },
		{ "nodeSelector", read_node_selector },
		{ "egress", read_egress },
		{ "egressDeny", read_egress_deny },
		{ "ingress", read_ingress },
		{ "ingressDeny", read_ingress },
	};
	struct cnp cnp = { .policy = p };

	yread_fields(c, node, "spec", fields, ARRAY_SIZE(fields), &cnp);
	if (node->kind != YNODE_MAPPING)
		return;
	p->isolates = cnp.opted ? cnp.opted_in : cnp.egress;
	if (!cnp.selector)
		yctx_error(c, node, "spec: expected a member endpointSelector");
	if (cnp.sections == 0)
		yctx_error(c, node, "spec: expected at least one of egress, egressDeny, ingress, ingressDeny");
}

void cnp_read(struct yctx *c, const struct ynode *spec, struct policy *p)
{
	read_spec(c, spec, p);
}
