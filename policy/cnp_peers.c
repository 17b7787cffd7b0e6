/* SPDX-License-Identifier: Apache-2.0 */
/* CiliumNetworkPolicy: the L3 members of an entry. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "policy/cnp.h"
#include "policy/read.h"

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

const char *cnp_words(const struct cnp_entry *e, const char *member, char *buf)
{
	snprintf(buf, CNP_WORDS, "%s%s", e->cnp->deny ? "egressDeny " : "", member);
	return buf;
}

void cnp_read_to_cidr(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp_entry *e = out;
	char words[CNP_WORDS];

	if (!l3_member(c, node, e, "toCIDR"))
		return;
	cnp_words(e, "toCIDR", words);
	for (size_t i = 0; i < node->count; i++)
		read_cidr_except(c, e->entry, node->items[i], NULL, words, false);
}

/* ---- toCIDRSet --------------------------------------------------------------------------------------------------- */

struct cidr_set {
	const struct ynode *cidr;
	const struct ynode *except;
	const struct ynode *group;
	const struct ynode *group_selector;
};

static void take_cidr(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct cidr_set *)out)->cidr = node;
}

static void take_except(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct cidr_set *)out)->except = node;
}

static void take_group(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct cidr_set *)out)->group = node;
}

static void take_group_selector(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct cidr_set *)out)->group_selector = node;
}

/* The group's prefixes are another object's, so whether an except lies in one of them shows when they are joined. */
static void read_group(struct yctx *c, const struct cidr_set *s, struct cnp_entry *e)
{
	const struct ynode *at = s->group ? s->group : s->group_selector;
	const char *name = "by labels";
	char words[CNP_WORDS];
	struct peer *peer;

	if (s->group && !yread_text(c, s->group, "cidrGroupRef", &name))
		return;
	peer = read_peer_add(c, e->entry, at, PEER_CIDR_GROUP, cnp_words(e, "toCIDRSet group", words), name);
	if (!peer)
		return;
	if (s->group)
		yread_string(c, s->group, "cidrGroupRef", &peer->group);
	else
		read_selector(c, s->group_selector, "cidrGroupSelector", SELECTOR_PODS, &peer->selector);
	if (s->except)
		read_except(c, s->except, peer);
}

static void read_cidr_set(struct yctx *c, const struct ynode *node, struct cnp_entry *e)
{
	static const struct yfield fields[] = {
		{ "cidr", take_cidr },
		{ "except", take_except },
		{ "cidrGroupRef", take_group },
		{ "cidrGroupSelector", take_group_selector },
	};
	struct cidr_set s = {};
	char words[CNP_WORDS];

	if (!yread_fields(c, node, "toCIDRSet", fields, ARRAY_SIZE(fields), &s) && node->kind != YNODE_MAPPING)
		return;
	if ((s.cidr != NULL) + (s.group != NULL) + (s.group_selector != NULL) != 1) {
		yctx_error(c, node, "toCIDRSet: expected exactly one of cidr, cidrGroupRef and cidrGroupSelector");
		return;
	}
	if (s.cidr)
		read_cidr_except(c, e->entry, s.cidr, s.except, cnp_words(e, "toCIDRSet", words), false);
	else
		read_group(c, &s, e);
}

void cnp_read_to_cidr_set(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp_entry *e = out;

	if (!l3_member(c, node, e, "toCIDRSet"))
		return;
	for (size_t i = 0; i < node->count; i++)
		read_cidr_set(c, node->items[i], e);
}

/* ---- toFQDNs ----------------------------------------------------------------------------------------------------- */

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

void cnp_read_fqdns(struct yctx *c, const struct ynode *list, struct cnp_entry *e, enum peer_kind kind,
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

void cnp_read_to_fqdns(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp_entry *e = out;

	if (e->cnp->deny) {
		yctx_error(c, node, "toFQDNs is not supported in egressDeny; names can only be allowed");
		return;
	}
	if (l3_member(c, node, e, "toFQDNs"))
		cnp_read_fqdns(c, node, e, PEER_NAME, "toFQDNs");
}

/* ---- toEndpoints and toEntities ---------------------------------------------------------------------------------- */

/* "toEndpoints app=web", as far as it is short. */
static void describe_selector(const struct selector *s, char *buf, size_t size)
{
	int len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < s->count && len < (int)size; i++)
		len += snprintf(buf + len, size - (size_t)len, "%s%.60s%s%.60s", i ? "," : "", s->items[i].key,
				s->items[i].nvalues ? "=" : "", s->items[i].nvalues ? s->items[i].values[0] : "");
}

/* A peer that says nothing of namespaces means the policy's own; cluster-wide policies have none. */
static void read_endpoints(struct yctx *c, const struct ynode *node, struct cnp_entry *e)
{
	const struct policy *p = e->cnp->policy;
	struct selector selector = {};
	char words[CNP_WORDS], text[160];
	struct peer *peer;

	if (read_selector(c, node, "toEndpoints", SELECTOR_CILIUM, &selector) && p->namespace_name &&
	    !selector_names_namespace(&selector))
		selector_in_namespace(c, &selector, p->namespace_name);
	describe_selector(&selector, text, sizeof(text));
	peer = read_peer_add(c, e->entry, node, PEER_PODS, cnp_words(e, "toEndpoints", words), text[0] ? text : NULL);
	if (peer)
		peer->selector = selector;
	else
		selector_clear(&selector);
}

void cnp_read_to_endpoints(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp_entry *e = out;

	if (!l3_member(c, node, e, "toEndpoints"))
		return;
	for (size_t i = 0; i < node->count; i++)
		read_endpoints(c, node->items[i], e);
}

static const struct entity {
	const char *name;
	enum peer_kind kind;
	enum node_choice nodes;
} entities[] = {
	{ "all", PEER_ANY, NODES_ALL },
	{ "world", PEER_WORLD, NODES_ALL },
	{ "cluster", PEER_CLUSTER, NODES_ALL },
	{ "host", PEER_NODES, NODES_LOCAL },
	{ "remote-node", PEER_NODES, NODES_REMOTE },
	{ "kube-apiserver", PEER_APISERVER, NODES_ALL },
};

static bool known_entity(struct yctx *c, const struct ynode *node, const char *text, struct cnp_entry *e)
{
	char words[CNP_WORDS];

	for (size_t i = 0; i < ARRAY_SIZE(entities); i++) {
		struct peer *peer;

		if (strcmp(text, entities[i].name) != 0)
			continue;
		peer = read_peer_add(c, e->entry, node, entities[i].kind, cnp_words(e, "toEntities", words), text);
		if (peer)
			peer->nodes = entities[i].nodes;
		return true;
	}
	return strcmp(text, "none") == 0;
}

static void read_entity(struct yctx *c, const struct ynode *node, struct cnp_entry *e)
{
	static const char *const nobody[] = { "health", "init", "ingress", "unmanaged", "cluster-mesh" };
	const char *text;

	if (!yread_text(c, node, "toEntities", &text) || known_entity(c, node, text, e))
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
	yctx_error(c, node,
		   "toEntities: %s is not supported; expected one of: all, world, cluster, host, remote-node, "
		   "kube-apiserver, none",
		   text);
}

void cnp_read_to_entities(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp_entry *e = out;

	if (!l3_member(c, node, e, "toEntities"))
		return;
	for (size_t i = 0; i < node->count; i++)
		read_entity(c, node->items[i], e);
}

/* ---- toServices -------------------------------------------------------------------------------------------------- */

struct service_ref {
	const struct ynode *name;
	const struct ynode *namespace_name;
	const struct ynode *selector;
};

static void take_name(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct service_ref *)out)->name = node;
}

static void take_namespace(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct service_ref *)out)->namespace_name = node;
}

static void take_selector(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct service_ref *)out)->selector = node;
}

static void add_service(struct yctx *c, const struct ynode *node, struct cnp_entry *e, const struct service_ref *ref)
{
	const char *name = "by labels", *namespace_name = NULL;
	char words[CNP_WORDS], text[400];
	struct peer *peer;

	if (ref->name && !yread_text(c, ref->name, "serviceName", &name))
		return;
	if (ref->namespace_name && !yread_text(c, ref->namespace_name, "namespace", &namespace_name))
		return;
	if (!namespace_name || !*namespace_name)
		yctx_warn(c, node, "toServices without a namespace means Services of every namespace, as in Cilium");
	snprintf(text, sizeof(text), "%s%s%.250s", namespace_name ? namespace_name : "", namespace_name ? "/" : "",
		 name);
	peer = read_peer_add(c, e->entry, node, PEER_SERVICE, cnp_words(e, "toServices", words), text);
	if (!peer)
		return;
	if (ref->name)
		yread_string(c, ref->name, "serviceName", &peer->service);
	else
		read_selector(c, ref->selector, "selector", SELECTOR_PODS, &peer->selector);
	if (namespace_name && *namespace_name)
		yread_string(c, ref->namespace_name, "namespace", &peer->service_namespace);
}

static void read_service(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = { { "serviceName", take_name }, { "namespace", take_namespace } };
	struct service_ref ref = {};

	if (!yread_fields(c, node, "k8sService", fields, ARRAY_SIZE(fields), &ref))
		return;
	if (ref.name)
		add_service(c, node, out, &ref);
	else
		yctx_error(c, node, "k8sService: expected a member serviceName");
}

static void read_service_selector(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = { { "selector", take_selector }, { "namespace", take_namespace } };
	struct service_ref ref = {};

	if (!yread_fields(c, node, "k8sServiceSelector", fields, ARRAY_SIZE(fields), &ref))
		return;
	if (ref.selector)
		add_service(c, node, out, &ref);
	else
		yctx_error(c, node, "k8sServiceSelector: expected a member selector");
}

void cnp_read_to_services(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = {
		{ "k8sService", read_service },
		{ "k8sServiceSelector", read_service_selector },
	};
	struct cnp_entry *e = out;

	if (!l3_member(c, node, e, "toServices"))
		return;
	for (size_t i = 0; i < node->count; i++) {
		if (yread_fields(c, node->items[i], "toServices", fields, ARRAY_SIZE(fields), e) &&
		    node->items[i]->count != 1)
			yctx_error(c, node->items[i],
				   "toServices: expected exactly one of k8sService and k8sServiceSelector");
	}
}
