/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cilium's kinds as AWS's. Allow entries become rules of an ApplicationNetworkPolicy, deny entries a
 * ClusterNetworkPolicy of the Admin tier. An entry of whose destinations nothing is left is left out whole: without `to`
 * it would open everything.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tools/bpfctl/convert.h"

struct anp {
	struct writer allow; /* rules */
	struct writer deny;
	size_t rules;
	size_t denies;
	bool any_namespace; /* of a cluster-wide policy: a peer without a namespace is of any */
};

/* The peers of one entry, as lines of a list. */
struct peers {
	struct writer w;
	const struct tree_entry *entry;
	bool deny;
	bool any_namespace;
	size_t count;
	bool noted; /* that prefixes meet the cluster's addresses */
};

/* ---- names -------------------------------------------------------------------------------------------------------- */

/* The text in AWS's dialect; false: it has none. `*ret_wider`: it matches more. */
static bool aws_name(const struct name_pattern *p, char *ret, size_t size, bool *ret_wider)
{
	struct name_pattern parsed;
	const char *why, *text = p->text;

	*ret_wider = !p->deep && !strncmp(text, "*.", 2);
	if (p->all)
		return false;
	snprintf(ret, size, "%s%s", p->deep ? "*." : "", text);
	return name_pattern_parse(NAME_AWS, ret, &parsed, &why) == NAME_OK;
}

static void name_peer(const struct tree_name *n, void *context)
{
	struct peers *peers = context;
	char text[300];
	bool wider;

	if (n->ask_only)
		return;
	if (!aws_name(&n->pattern, text, sizeof(text), &wider)) {
		writer_note(&peers->w, 8, n->node, "%s cannot be said in domainNames: list the names you need",
			    writer_quote(n->node->text));
		return;
	}
	if (wider)
		writer_note(&peers->w, 8, n->node, "wider: %s is one label in Cilium, any number here",
			    writer_quote(n->node->text));
	writer_line(&peers->w, 8, "- %s", writer_quote(text));
	peers->count++;
}

static void name_peers(struct peers *peers)
{
	struct peers names = { .entry = peers->entry };

	tree_each_name(peers->entry, name_peer, &names);
	if (names.count)
		writer_line(&peers->w, 4, "- domainNames:");
	writer_append(&peers->w, &names.w);
	peers->count += names.count;
}

/* ---- prefixes ----------------------------------------------------------------------------------------------------- */

static bool is_link_local(const struct sluice_prefix *p)
{
	return p->bits >= 112 && addr_is_ipv4(&p->addr) && p->addr.b[12] == 169 && p->addr.b[13] == 254;
}

static void except_lines(struct peers *peers, const struct ynode *except)
{
	writer_line(&peers->w, 8, "except:");
	for (size_t i = 0; i < except->count; i++)
		writer_line(&peers->w, 8, "- %s", writer_quote(except->items[i]->text));
}

static void prefix_peer(const struct tree_block *b, void *context)
{
	struct peers *peers = context;
	bool except = b->except && b->except->kind == YNODE_SEQUENCE && b->except->count;
	const char *entity = tree_text(b->node, NULL);
	char text[ADDR_TEXT_MAX];

	if (except && peers->deny) {
		writer_note(&peers->w, 4, b->node, "a deny with exceptions cannot be said: %s is not denied",
			    prefix_format(&b->prefix, text));
		return;
	}
	if (!peers->noted && !is_link_local(&b->prefix) && !(entity && !strcmp(entity, "all")) &&
	    b->node != peers->entry->node) {
		writer_note(&peers->w, 4, b->node,
			    "wider: prefixes meet pods, nodes and ClusterIPs here, in Cilium they never do");
		peers->noted = true;
	}
	peers->count++;
	prefix_format(&b->prefix, text);
	if (peers->deny) {
		writer_line(&peers->w, 4, "- networks: [%s]", writer_quote(text));
		return;
	}
	writer_line(&peers->w, 4, "- ipBlock:");
	writer_line(&peers->w, 8, "cidr: %s", writer_quote(text));
	if (except)
		except_lines(peers, b->except);
}

/* ---- pods --------------------------------------------------------------------------------------------------------- */

static const char *from_cilium_key(const char *key, bool *ret_ns, char *buf, size_t size)
{
	static const char ns_prefix[] = "io.cilium.k8s.namespace.labels.";

	(void)buf;
	(void)size;
	if (!strncmp(key, "k8s:", 4) || !strncmp(key, "any:", 4))
		key += 4;
	*ret_ns = true;
	if (!strcmp(key, "io.kubernetes.pod.namespace"))
		return "kubernetes.io/metadata.name";
	if (!strncmp(key, ns_prefix, sizeof(ns_prefix) - 1))
		return key + sizeof(ns_prefix) - 1;
	*ret_ns = false;
	return !strncmp(key, "io.cilium.", 10) || strchr(key, ':') ? NULL : key;
}

static void pod_lines(struct peers *peers, const char *ns, const char *pod, bool with_ns)
{
	if (peers->deny) {
		writer_line(&peers->w, 4, "- pods:");
		writer_line(&peers->w, 8, "namespaceSelector: %s", ns);
		writer_line(&peers->w, 8, "podSelector: %s", pod);
		return;
	}
	writer_line(&peers->w, 4, "- podSelector: %s", pod);
	if (with_ns)
		writer_line(&peers->w, 6, "namespaceSelector: %s", ns);
}

static void pod_peer(struct peers *peers, const struct ynode *selector)
{
	struct selector_text pod = {}, ns = {};
	_cleanup_free_ char *pod_text = NULL, *ns_text = NULL;
	const char *own = peers->entry->policy->namespace_name;
	bool sayable = selector_text_add(&pod, &ns, selector, from_cilium_key), with_ns = ns.given;

	if (!ns.given && own && peers->deny)
		strbuf_addf(&ns.labels, "\"kubernetes.io/metadata.name\": %s", writer_quote(own));
	pod_text = selector_text_take(&pod);
	ns_text = selector_text_take(&ns);
	if (!pod_text || !ns_text) {
		peers->w.out.failed = true;
		return;
	}
	if (!sayable) {
		writer_note(&peers->w, 4, selector, "the selector asks for a label that only Cilium gives; left out");
		return;
	}
	peers->count++;
	pod_lines(peers, ns_text, pod_text, with_ns || peers->any_namespace);
}

static void entity_peer(struct peers *peers, const struct ynode *node)
{
	const char *entity = tree_text(node, NULL);

	if (!entity || !strcmp(entity, "world") || !strcmp(entity, "all") || !strcmp(entity, "none"))
		return; /* the first two as prefixes */
	if (strcmp(entity, "cluster") != 0) {
		writer_note(&peers->w, 4, node, "the entity %s cannot be said; left out", writer_quote(entity));
		return;
	}
	writer_note(&peers->w, 4, node, "narrower: the entity cluster holds nodes too, here only pods are meant");
	peers->count++;
	pod_lines(peers, "{}", "{}", true);
}

/* ---- entries ------------------------------------------------------------------------------------------------------ */

/* What stands in `e` and cannot be said at all. */
static void note_others(struct peers *peers, const struct ynode *e)
{
	static const char *const members[] = { "toServices", "toNodes", "toGroups" };
	const struct ynode *list;
	size_t n = tree_list(e, "toCIDRSet", &list);

	for (size_t i = 0; i < n; i++) {
		if (!ynode_get(list->items[i], "cidr"))
			writer_note(&peers->w, 4, list->items[i], "a CIDR group cannot be said; left out");
	}
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		if (tree_list(e, members[i], &list))
			writer_note(&peers->w, 4, list, "%s cannot be said; left out", members[i]);
	}
}

static void entry_peers(struct peers *peers)
{
	const struct ynode *e = peers->entry->node, *list;
	size_t n;

	name_peers(peers);
	tree_each_block(peers->entry, prefix_peer, peers);
	n = tree_list(e, "toEndpoints", &list);
	for (size_t i = 0; i < n; i++)
		pod_peer(peers, list->items[i]);
	n = tree_list(e, "toEntities", &list);
	for (size_t i = 0; i < n; i++)
		entity_peer(peers, list->items[i]);
	note_others(peers, e);
}

/* ---- ports -------------------------------------------------------------------------------------------------------- */

struct ports {
	struct writer w;
	bool cluster; /* ClusterNetworkPolicy's form */
	bool unsayable;
};

static void port_lines(struct ports *ports, const struct tree_port *p, const char *protocol)
{
	bool range = p->first != p->last && !(p->first == 0 && p->last == UINT16_MAX);

	if (ports->cluster && p->name) {
		writer_line(&ports->w, 4, "- namedPort: %s", writer_quote(p->name));
	} else if (ports->cluster && p->first == p->last) {
		writer_line(&ports->w, 4, "- portNumber: {protocol: %s, port: %u}", protocol, p->first);
	} else if (ports->cluster) {
		writer_line(&ports->w, 4, "- portRange: {protocol: %s, start: %u, end: %u}", protocol,
			    p->first ? p->first : 1u, p->last);
	} else {
		writer_line(&ports->w, 4, "- protocol: %s", protocol);
		if (p->name)
			writer_line(&ports->w, 6, "port: %s", writer_quote(p->name));
		else if (p->first)
			writer_line(&ports->w, 6, "port: %u", p->first);
		if (range)
			writer_line(&ports->w, 6, "endPort: %u", p->last);
	}
}

static void add_port(const struct tree_port *p, void *context)
{
	static const char *const any[] = { "TCP", "UDP", "SCTP" };
	struct ports *ports = context;

	if (strcmp(p->protocol, "ANY") != 0) {
		port_lines(ports, p, p->protocol);
		return;
	}
	for (size_t i = 0; i < (ports->cluster && p->name ? 1 : ARRAY_SIZE(any)); i++)
		port_lines(ports, p, any[i]);
}

static void note_dns(const struct tree_entry *e, struct writer *w)
{
	const struct ynode *list;
	size_t n = tree_list(e->node, "toPorts", &list);

	for (size_t i = 0; i < n; i++) {
		const struct ynode *rules = ynode_get(list->items[i], "rules");

		if (rules)
			writer_note(w, 2, rules,
				    "rules.dns is left out: what domainNames lists may be asked, names that only "
				    "rules.dns lists may not");
	}
}

static void one_entry(const struct tree_entry *e, void *context)
{
	struct anp *a = context;
	bool deny = e->action == TREE_DENY;
	struct peers peers = { .entry = e, .deny = deny, .any_namespace = a->any_namespace };
	struct ports ports = { .cluster = deny };
	struct writer *w = deny ? &a->deny : &a->allow;
	bool restricted = tree_each_port(e, add_port, &ports);

	entry_peers(&peers);
	note_dns(e, w);
	if (e->node->count && !peers.count)
		writer_note(w, 2, e->node, "nothing of this entry can be said; left out%s",
			    deny ? ", SO IT IS NOT DENIED" : "");
	if (ynode_get(e->node, "icmps")) {
		writer_note(w, 2, e->node, "icmps cannot be said; the entry is left out");
		peers.count = 0;
	}
	if (peers.count) {
		writer_line(w, 2, deny ? "- action: Deny" : "- to:");
		if (deny)
			writer_line(w, 4, "to:");
	}
	if (!peers.count) { /* keep the notes, which are comments all */
		writer_append(w, &peers.w);
		strbuf_clear(&ports.w.out);
		return;
	}
	(*(deny ? &a->denies : &a->rules))++;
	writer_append(w, &peers.w);
	if (restricted && ports.w.out.len)
		writer_line(w, 4, "ports:");
	if (!restricted)
		strbuf_clear(&ports.w.out);
	writer_append(w, &ports.w);
}

/* ---- documents ---------------------------------------------------------------------------------------------------- */

static bool opts_out(const struct tree_policy *p)
{
	const char *text = tree_text(p->spec, "enableDefaultDeny", "egress", NULL);

	return text && !strcmp(text, "false");
}

static void write_allow(struct writer *w, struct anp *a, const char *ns, const char *pods)
{
	writer_head(w, "networking.k8s.aws/v1alpha1", "ApplicationNetworkPolicy", NULL, ns);
	writer_line(w, 0, "spec:");
	writer_line(w, 2, "podSelector: %s", pods);
	writer_line(w, 2, "policyTypes: [Egress]");
	writer_line(w, 2, a->rules ? "egress:" : "egress: []");
	writer_append(w, &a->allow);
}

static void write_deny(struct writer *w, struct anp *a, const char *ns, const char *pods)
{
	char name[280];

	snprintf(name, sizeof(name), "%.240s-deny", w->policy->name);
	writer_line(w, 0, "---");
	writer_note(w, 0, w->policy->spec,
		    "egressDeny as a Deny of the Admin tier: no Accept of a stronger Admin policy could beat it there");
	writer_head(w, "networking.k8s.aws/v1alpha1", "ClusterNetworkPolicy", name, NULL);
	writer_line(w, 0, "spec:");
	writer_line(w, 2, "tier: Admin");
	writer_line(w, 2, "priority: 1000");
	writer_line(w, 2, "subject: {pods: {namespaceSelector: %s, podSelector: %s}}", ns, pods);
	writer_line(w, 2, "egress:");
	writer_append(w, &a->deny);
}

/* The one namespace that a cluster-wide policy selects, or NULL. */
static const char *only_namespace(const struct tree_policy *p)
{
	const struct ynode *selector = ynode_get(p->spec, "endpointSelector");
	const struct ynode *labels = selector ? ynode_get(selector, "matchLabels") : NULL;
	char buf[8];
	bool ns;

	for (size_t i = 0; labels && labels->kind == YNODE_MAPPING && i < labels->count; i++) {
		const char *key = from_cilium_key(ynode_key(labels, i)->text, &ns, buf, sizeof(buf));

		if (key && ns && !strcmp(key, "kubernetes.io/metadata.name"))
			return tree_text(ynode_value(labels, i), NULL);
	}
	return NULL;
}

static void write_documents(const struct tree_policy *p, struct writer *w, struct anp *a, const char *ns_text,
			    const char *pod_text)
{
	const char *ns = p->namespace_name ? p->namespace_name : only_namespace(p);
	bool egress = ynode_get(p->spec, "egress") || ynode_get(p->spec, "egressDeny");

	if (ynode_get(p->spec, "ingress") || ynode_get(p->spec, "ingressDeny"))
		writer_note(w, 0, p->spec, "ingress is left out: only egress is converted");
	if (opts_out(p) && egress) {
		writer_note(w, 0, p->spec,
			    "enableDefaultDeny.egress: false cannot be said: its allow rules are left out");
		strbuf_clear(&a->allow.out);
	} else if (egress && ns) {
		write_allow(w, a, ns, pod_text);
	} else if (egress) {
		writer_note(
			w, 0, p->spec,
			"an ApplicationNetworkPolicy is of one namespace: write one in each; the allow rules and the "
			"default deny are left out");
		strbuf_clear(&a->allow.out);
	}
	if (a->denies)
		write_deny(w, a, ns_text, pod_text);
	else
		writer_append(w, &a->deny);
}

static void convert_cilium(const struct tree_policy *p, struct writer *w)
{
	struct selector_text pod = {}, ns = {};
	struct anp a = { .any_namespace = !p->namespace_name };
	_cleanup_free_ char *pod_text = NULL, *ns_text = NULL;

	if (!selector_text_add(&pod, &ns, ynode_get(p->spec, "endpointSelector"), from_cilium_key)) {
		writer_note(w, 0, p->spec, "the endpointSelector asks for a label that only Cilium gives; left out");
		selector_text_clear(&pod);
		selector_text_clear(&ns);
		return;
	}
	if (!ns.given && p->namespace_name)
		strbuf_addf(&ns.labels, "\"kubernetes.io/metadata.name\": %s", writer_quote(p->namespace_name));
	pod_text = selector_text_take(&pod);
	ns_text = selector_text_take(&ns);
	tree_each_entry(p, one_entry, &a);
	if (pod_text && ns_text)
		write_documents(p, w, &a, ns_text, pod_text);
	else
		w->out.failed = true;
	strbuf_clear(&a.allow.out);
	strbuf_clear(&a.deny.out);
}

void convert_to_anp(const struct tree_policy *p, struct writer *w)
{
	if (p->kind == TREE_CIDR_GROUP)
		writer_note(w, 0, p->spec, "a CIDR group cannot be said; left out");
	else if (p->kind == TREE_UPSTREAM_CLUSTER)
		writer_note(w, 0, p->spec,
			    "the order of rules counts in policy.networking.k8s.io and not in networking.k8s.aws; left "
			    "out");
	else
		convert_cilium(p, w);
}
