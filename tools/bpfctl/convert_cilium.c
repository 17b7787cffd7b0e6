/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS's and Kubernetes' kinds as Cilium's. Cilium takes one sort of destination per entry, so a rule becomes up to three
 * entries of the same ports; and it learns addresses only from queries that rules.dns makes it see, so a policy with
 * names gets an entry for the cluster's DNS. Of the tiers, Admin's Deny is a deny that turns on nothing else, and Accept
 * an allow that beats no deny; Pass and the Baseline tier cannot be said.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tools/bpfctl/convert.h"

struct cilium {
	struct writer allow;
	struct writer deny;
	struct writer dns; /* items of rules.dns */
	bool namespaced;
	bool deep_noted;
	bool prefixes_noted;
	size_t rules;
	size_t denies;
};

/* One rule on its way: the entries it becomes share its ports. */
struct rule {
	struct cilium *cilium;
	const struct tree_entry *entry;
	struct writer *w;
	struct writer lines; /* of the entry being made */
	size_t count;
	char *ports;	/* the toPorts member, or "" */
	char *numbered; /* the same without named ports */
};

/* ---- ports -------------------------------------------------------------------------------------------------------- */

struct ports {
	struct strbuf b;
	bool named; /* named ones too */
};

static void add_port(const struct tree_port *p, void *context)
{
	struct ports *ports = context;
	const char *separator = ports->b.len ? ", " : "";
	char number[8];

	if (p->name && !ports->named)
		return;
	snprintf(number, sizeof(number), "%u", p->first);
	strbuf_addf(&ports->b, "%s{port: %s, protocol: %s", separator, writer_quote(p->name ? p->name : number),
		    p->protocol);
	if (!p->name && p->first && p->last != p->first)
		strbuf_addf(&ports->b, ", endPort: %u", p->last);
	strbuf_adds(&ports->b, "}");
}

/* "toPorts: [{ports: [...]}]"; "" when every port is meant; NULL when nothing of it can be said, or without memory. */
static char *ports_text(const struct tree_entry *e, bool named, bool *ret_failed)
{
	struct ports ports = { .named = named };
	bool restricted = tree_each_port(e, add_port, &ports);
	struct strbuf out = {};
	char *text;

	if (restricted && ports.b.len)
		strbuf_addf(&out, "toPorts: [{ports: [%s]}]", ports.b.data);
	*ret_failed = *ret_failed || ports.b.failed || out.failed;
	if (restricted && !ports.b.len) {
		strbuf_clear(&ports.b);
		return NULL;
	}
	strbuf_clear(&ports.b);
	text = strbuf_take(&out);
	*ret_failed = *ret_failed || !text;
	return text;
}

/* ---- entries ------------------------------------------------------------------------------------------------------ */

static void end_entry(struct rule *r, const char *member, const char *ports)
{
	size_t *total = r->entry->action == TREE_DENY ? &r->cilium->denies : &r->cilium->rules;

	if (r->count && !ports)
		writer_note(r->w, 2, r->entry->node, "a named port cannot go with %s; the destinations are left out",
			    member);
	if (r->count && ports) {
		(*total)++;
		writer_line(r->w, 2, "- %s:", member);
		writer_append(r->w, &r->lines);
		if (*ports)
			writer_line(r->w, 4, "%s", ports);
	} else {
		strbuf_clear(&r->lines.out);
		r->w->notes += r->lines.notes;
	}
	r->count = 0;
	r->lines = (struct writer){};
}

static void add_name(const struct tree_name *n, void *context)
{
	struct rule *r = context;
	const char *member = n->pattern.deep ? "matchPattern" : "matchName";
	char text[300];

	snprintf(text, sizeof(text), "%s%s", n->pattern.deep ? "**." : "", n->pattern.text);
	if (n->pattern.deep && !r->cilium->deep_noted) {
		writer_note(&r->lines, 4, n->node, "narrower before Cilium 1.19, to which **. is one label only");
		r->cilium->deep_noted = true;
	}
	writer_line(&r->lines, 4, "- %s: %s", member, writer_quote(text));
	writer_line(&r->cilium->dns, 10, "- %s: %s", member, writer_quote(text));
	r->count++;
}

static bool is_link_local(const struct sluice_prefix *p)
{
	return p->bits >= 112 && addr_is_ipv4(&p->addr) && p->addr.b[12] == 169 && p->addr.b[13] == 254;
}

static void add_block(const struct tree_block *b, void *context)
{
	struct rule *r = context;
	char text[ADDR_TEXT_MAX];

	if (b->everywhere)
		return;
	if (!r->cilium->prefixes_noted && !is_link_local(&b->prefix)) {
		writer_note(&r->lines, 4, b->node,
			    "narrower: prefixes never meet pods, nodes and ClusterIPs in Cilium");
		r->cilium->prefixes_noted = true;
	}
	writer_line(&r->lines, 4, "- cidr: %s", writer_quote(prefix_format(&b->prefix, text)));
	r->count++;
	if (!b->except || b->except->kind != YNODE_SEQUENCE || !b->except->count)
		return;
	writer_line(&r->lines, 6, "except:");
	for (size_t i = 0; i < b->except->count; i++)
		writer_line(&r->lines, 6, "- %s", writer_quote(b->except->items[i]->text));
}

static const char *pod_key(const char *key, bool *ret_ns, char *buf, size_t size)
{
	*ret_ns = false;
	snprintf(buf, size, "k8s:%s", key);
	return buf;
}

static const char *namespace_key(const char *key, bool *ret_ns, char *buf, size_t size)
{
	*ret_ns = false;
	if (!strcmp(key, "kubernetes.io/metadata.name"))
		return "k8s:io.kubernetes.pod.namespace";
	snprintf(buf, size, "k8s:io.cilium.k8s.namespace.labels.%s", key);
	return buf;
}

/* Pods of `pods` in the namespaces of `namespaces`; an empty namespace selector is every namespace. */
static char *selector_of(const struct ynode *namespaces, const struct ynode *pods)
{
	struct selector_text s = {};

	selector_text_add(&s, &s, pods, pod_key);
	if (namespaces) {
		size_t before = s.labels.len + s.expressions.len;

		selector_text_add(&s, &s, namespaces, namespace_key);
		if (before == s.labels.len + s.expressions.len)
			strbuf_addf(&s.expressions, "%s{key: \"k8s:io.kubernetes.pod.namespace\", operator: Exists}",
				    s.expressions.len ? ", " : "");
	}
	return selector_text_take(&s);
}

static void add_pods(struct rule *r, const struct ynode *namespaces, const struct ynode *pods)
{
	_cleanup_free_ char *text = selector_of(namespaces, pods);

	if (!text)
		r->lines.out.failed = true;
	else
		writer_line(&r->lines, 4, "- %s", text);
	r->count++;
}

static void add_peer(struct rule *r, const struct ynode *peer)
{
	const struct ynode *pods = ynode_get(peer, "pods"), *namespaces = ynode_get(peer, "namespaces");

	if (pods)
		add_pods(r, ynode_get(pods, "namespaceSelector"), ynode_get(pods, "podSelector"));
	else if (namespaces)
		add_pods(r, namespaces, NULL);
	else if (ynode_get(peer, "podSelector") || ynode_get(peer, "namespaceSelector"))
		add_pods(r, ynode_get(peer, "namespaceSelector"), ynode_get(peer, "podSelector"));
	else if (ynode_get(peer, "nodes"))
		writer_note(r->w, 2, peer, "nodes cannot be said here; left out");
}

static void write_rule(struct rule *r)
{
	const struct ynode *to;
	size_t n = tree_list(r->entry->node, "to", &to);

	tree_each_name(r->entry, add_name, r);
	end_entry(r, "toFQDNs", r->numbered);
	tree_each_block(r->entry, add_block, r);
	end_entry(r, "toCIDRSet", r->numbered);
	for (size_t i = 0; i < n; i++)
		add_peer(r, to->items[i]);
	end_entry(r, "toEndpoints", r->ports);
	if (n > 0 || tree_is_tiered(r->entry->policy->kind))
		return;
	writer_line(&r->lines, 4, "- all");
	r->count++;
	end_entry(r, "toEntities", r->numbered);
}

static void one_rule(const struct tree_entry *e, void *context)
{
	struct cilium *c = context;
	struct rule r = { .cilium = c, .entry = e, .w = e->action == TREE_DENY ? &c->deny : &c->allow };
	bool failed = false;

	if (e->action == TREE_PASS) {
		writer_note(&c->allow, 2, e->node, "Pass cannot be said; left out");
		return;
	}
	r.ports = ports_text(e, true, &failed);
	r.numbered = ports_text(e, false, &failed);
	if (failed)
		c->allow.out.failed = true;
	else
		write_rule(&r);
	free(r.ports);
	free(r.numbered);
}

/* ---- documents ---------------------------------------------------------------------------------------------------- */

static char *subject_selector(const struct tree_policy *p)
{
	const struct ynode *subject = ynode_get(p->spec, "subject");
	const struct ynode *pods = subject ? ynode_get(subject, "pods") : NULL;

	if (!tree_is_tiered(p->kind))
		return selector_of(NULL, ynode_get(p->spec, "podSelector"));
	if (pods)
		return selector_of(ynode_get(pods, "namespaceSelector"), ynode_get(pods, "podSelector"));
	return selector_of(subject ? ynode_get(subject, "namespaces") : NULL, NULL);
}

static void write_dns(struct writer *w, struct cilium *c)
{
	if (!c->dns.out.len)
		return;
	writer_line(w, 2,
		    "# Cilium learns the addresses of names from queries it sees, which this entry makes it see.");
	writer_line(w, 2, "- toEndpoints:");
	writer_line(w, 4,
		    "- matchLabels: {\"k8s:io.kubernetes.pod.namespace\": kube-system, \"k8s:k8s-app\": kube-dns}");
	writer_line(w, 4, "toPorts:");
	writer_line(w, 4, "- ports: [{port: \"53\", protocol: UDP}, {port: \"53\", protocol: TCP}]");
	writer_line(w, 6, "rules:");
	writer_line(w, 8, "dns:");
	writer_append(w, &c->dns);
}

static void write_policy(const struct tree_policy *p, struct writer *w, struct cilium *c, const char *selector)
{
	bool tiered = tree_is_tiered(p->kind);

	writer_head(w, "cilium.io/v2", c->namespaced ? "CiliumNetworkPolicy" : "CiliumClusterwideNetworkPolicy", NULL,
		    p->namespace_name);
	writer_line(w, 0, "spec:");
	writer_line(w, 2, "endpointSelector: %s", selector);
	if (tiered)
		writer_line(w, 2, "enableDefaultDeny: {egress: false}");
	if (c->rules) {
		writer_line(w, 2, "egress:");
		write_dns(w, c);
	} else if (!tiered) {
		writer_line(w, 2, "egress: [{}]");
	}
	writer_append(w, &c->allow);
	if (c->denies)
		writer_line(w, 2, "egressDeny:");
	writer_append(w, &c->deny);
}

/* Without policyTypes a policy isolates for egress when it has egress rules. */
static bool is_about_egress(const struct tree_policy *p)
{
	const struct ynode *types, *rules;
	size_t n = tree_list(p->spec, "policyTypes", &types);

	for (size_t i = 0; i < n; i++) {
		const char *text = tree_text(types->items[i], NULL);

		if (text && !strcmp(text, "Egress"))
			return true;
	}
	return n == 0 && tree_list(p->spec, "egress", &rules) > 0;
}

static bool is_convertible(const struct tree_policy *p, struct writer *w)
{
	const char *tier = tree_text(p->spec, "tier", NULL);

	if (tree_is_tiered(p->kind) && tier && !strcmp(tier, "Baseline")) {
		writer_note(w, 0, p->spec,
			    "the Baseline tier cannot be said: a Deny would beat what it yields to; left out");
		return false;
	}
	if (!tree_is_tiered(p->kind) && !is_about_egress(p)) {
		writer_note(w, 0, p->spec, "the policy is not about egress; left out");
		return false;
	}
	return true;
}

void convert_to_cilium(const struct tree_policy *p, struct writer *w)
{
	struct cilium c = { .namespaced = !tree_is_tiered(p->kind) };
	_cleanup_free_ char *selector = NULL;

	if (!is_convertible(p, w))
		return;
	selector = subject_selector(p);
	tree_each_entry(p, one_rule, &c);
	if (tree_is_tiered(p->kind))
		writer_note(w, 0, p->spec,
			    "the Admin tier as a policy beside the others: its Accept beats no deny of theirs, and the "
			    "order of rules does not count");
	if (tree_is_tiered(p->kind) && !c.rules && !c.denies)
		writer_note(w, 0, p->spec, "nothing is left of the policy");
	else if (selector)
		write_policy(p, w, &c, selector);
	else
		w->out.failed = true;
	strbuf_clear(&c.allow.out);
	strbuf_clear(&c.deny.out);
	strbuf_clear(&c.dns.out);
}
