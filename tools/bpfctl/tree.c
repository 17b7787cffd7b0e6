/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "policy/array.h"

/* ---- documents ---------------------------------------------------------------------------------------------------- */

static const struct {
	const char *group; /* with its slash */
	const char *name;
	enum tree_kind kind;
	bool namespaced;
} kinds[] = {
	{ "cilium.io/", "CiliumNetworkPolicy", TREE_CNP, true },
	{ "cilium.io/", "CiliumClusterwideNetworkPolicy", TREE_CCNP, false },
	{ "cilium.io/", "CiliumCIDRGroup", TREE_CIDR_GROUP, false },
	{ "networking.k8s.aws/", "ApplicationNetworkPolicy", TREE_ANP, true },
	{ "networking.k8s.aws/", "ClusterNetworkPolicy", TREE_AWS_CLUSTER, false },
	{ "policy.networking.k8s.io/", "ClusterNetworkPolicy", TREE_UPSTREAM_CLUSTER, false },
	{ "networking.k8s.io/", "NetworkPolicy", TREE_NP, true },
};

bool tree_is_cilium(enum tree_kind kind)
{
	return kind == TREE_CNP || kind == TREE_CCNP;
}

bool tree_is_tiered(enum tree_kind kind)
{
	return kind == TREE_AWS_CLUSTER || kind == TREE_UPSTREAM_CLUSTER;
}

const char *tree_text(const struct ynode *node, ...)
{
	const char *text;
	va_list ap;

	va_start(ap, node);
	text = ynode_vtext(node, ap);
	va_end(ap);
	return text;
}

size_t tree_list(const struct ynode *node, const char *key, const struct ynode **ret)
{
	return ynode_list(node, key, ret);
}

static int add_spec(struct tree *t, const char *file, const struct ynode *root, const struct ynode *spec, size_t kind,
		    size_t index)
{
	struct tree_policy *p = array_push(&t->items, &t->count, sizeof(*p));
	const char *ns = tree_text(root, "metadata", "namespace", NULL);

	if (!p)
		return -ENOMEM;
	*p = (struct tree_policy){ .kind = kinds[kind].kind, .file = file, .root = root, .spec = spec, .index = index };
	p->name = tree_text(root, "metadata", "name", NULL);
	p->name = p->name ? p->name : "(no name)";
	p->namespace_name = kinds[kind].namespaced ? (ns ? ns : "default") : NULL;
	return 0;
}

static int add_object(struct tree *t, const char *file, const struct ynode *root, size_t kind)
{
	const struct ynode *spec = ynode_get(root, "spec"), *specs;
	size_t n = tree_list(root, "specs", &specs);
	int r = spec && spec->kind == YNODE_MAPPING ? add_spec(t, file, root, spec, kind, 0) : 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		if (specs->items[i]->kind == YNODE_MAPPING)
			r = add_spec(t, file, root, specs->items[i], kind, i + (spec ? 1 : 0));
	}
	return r;
}

static int add_root(struct tree *t, const char *file, const struct ynode *root)
{
	const char *version = tree_text(root, "apiVersion", NULL), *name = tree_text(root, "kind", NULL);
	const struct ynode *items;
	size_t n = tree_list(root, "items", &items);
	int r = 0;

	if (!version || !name)
		return 0;
	if (strcmp(name + (strlen(name) < 4 ? 0 : strlen(name) - 4), "List") == 0) {
		for (size_t i = 0; r == 0 && i < n; i++)
			r = add_root(t, file, items->items[i]);
		return r;
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!strcmp(kinds[i].name, name) && !strncmp(version, kinds[i].group, strlen(kinds[i].group)))
			return add_object(t, file, root, i);
	}
	return 0;
}

int tree_add(struct tree *t, const char *file, const char *text, size_t len)
{
	CLEANUP(diags_clear) struct diags unheard = {};
	CLEANUP(ydocs_freep) struct ydocs *docs = NULL;
	int r = yaml_read(file, text, len, &unheard, &docs);
	struct ydocs **slot;
	char **name;

	if (r < 0)
		return r;
	slot = array_push(&t->docs, &t->ndocs, sizeof(*slot));
	name = slot ? array_push(&t->files, &t->nfiles, sizeof(*name)) : NULL;
	if (!name || !(*name = strdup(file)))
		return -ENOMEM;
	*slot = TAKE_PTR(docs);
	for (size_t i = 0; r == 0 && i < (*slot)->count; i++)
		r = add_root(t, *name, (*slot)->roots[i]);
	return r;
}

void tree_clear(struct tree *t)
{
	for (size_t i = 0; i < t->ndocs; i++)
		ydocs_freep(&t->docs[i]);
	for (size_t i = 0; i < t->nfiles; i++)
		free(t->files[i]);
	free(t->docs);
	free(t->files);
	free(t->items);
	*t = (struct tree){};
}

/* ---- entries ------------------------------------------------------------------------------------------------------ */

static enum tree_action entry_action(const struct ynode *node)
{
	const char *action = tree_text(node, "action", NULL);

	if (action && !strcmp(action, "Deny"))
		return TREE_DENY;
	return action && !strcmp(action, "Pass") ? TREE_PASS : TREE_ALLOW;
}

void tree_each_entry(const struct tree_policy *p, tree_entry_fn fn, void *context)
{
	static const char *const sections[] = { "egress", "egressDeny" };

	if (p->kind == TREE_CIDR_GROUP)
		return;
	for (size_t s = 0; s < (tree_is_cilium(p->kind) ? 2 : 1); s++) {
		const struct ynode *list;
		size_t n = tree_list(p->spec, sections[s], &list);

		for (size_t i = 0; i < n; i++) {
			struct tree_entry e = { .policy = p, .node = list->items[i] };

			if (e.node->kind != YNODE_MAPPING)
				continue;
			e.action = s == 1 ? TREE_DENY : tree_is_tiered(p->kind) ? entry_action(e.node) : TREE_ALLOW;
			fn(&e, context);
		}
	}
}

/* ---- names -------------------------------------------------------------------------------------------------------- */

static void one_name(const struct tree_entry *e, const struct ynode *node, enum name_dialect dialect, bool ask_only,
		     tree_name_fn fn, void *context)
{
	struct tree_name n = { .entry = e, .node = node, .dialect = dialect, .ask_only = ask_only };
	const char *why;

	if (node && node->kind == YNODE_SCALAR && name_pattern_parse(dialect, node->text, &n.pattern, &why) == NAME_OK)
		fn(&n, context);
}

static void fqdn_names(const struct tree_entry *e, const struct ynode *parent, const char *key, bool ask_only,
		       tree_name_fn fn, void *context)
{
	const struct ynode *list;
	size_t n = tree_list(parent, key, &list);

	for (size_t i = 0; i < n; i++) {
		one_name(e, ynode_get(list->items[i], "matchName"), NAME_CILIUM_NAME, ask_only, fn, context);
		one_name(e, ynode_get(list->items[i], "matchPattern"), NAME_CILIUM_PATTERN, ask_only, fn, context);
	}
}

static void cilium_names(const struct tree_entry *e, tree_name_fn fn, void *context)
{
	const struct ynode *ports;
	size_t n = tree_list(e->node, "toPorts", &ports);

	fqdn_names(e, e->node, "toFQDNs", false, fn, context);
	for (size_t i = 0; i < n; i++) {
		const struct ynode *rules = ynode_get(ports->items[i], "rules");

		if (rules)
			fqdn_names(e, rules, "dns", true, fn, context);
	}
}

void tree_each_name(const struct tree_entry *e, tree_name_fn fn, void *context)
{
	const struct ynode *peers, *names;
	size_t n;

	if (tree_is_cilium(e->policy->kind)) {
		cilium_names(e, fn, context);
		return;
	}
	n = tree_list(e->node, "to", &peers);
	for (size_t i = 0; i < n; i++) {
		size_t count = tree_list(peers->items[i], "domainNames", &names);

		for (size_t k = 0; k < count; k++)
			one_name(e, names->items[k], NAME_AWS, false, fn, context);
	}
}

/* ---- prefixes ----------------------------------------------------------------------------------------------------- */

static void one_block(const struct tree_entry *e, const struct ynode *node, const struct ynode *except,
		      tree_block_fn fn, void *context)
{
	struct tree_block b = { .entry = e, .node = node, .except = except };

	if (node && node->kind == YNODE_SCALAR && prefix_parse(node->text, &b.prefix) >= 0)
		fn(&b, context);
}

static void everywhere(const struct tree_entry *e, const struct ynode *node, tree_block_fn fn, void *context)
{
	struct tree_block v4 = { .entry = e, .node = node, .everywhere = true };
	struct tree_block v6 = v4;

	if (prefix_parse("0.0.0.0/0", &v4.prefix) == 0 && prefix_parse("::/0", &v6.prefix) == 0) {
		fn(&v4, context);
		fn(&v6, context);
	}
}

static void cilium_blocks(const struct tree_entry *e, tree_block_fn fn, void *context)
{
	static const char *const members[] = { "toEndpoints", "toCIDR",	  "toCIDRSet", "toEntities",
					       "toServices",  "toGroups", "toNodes",   "toFQDNs" };
	const struct ynode *list;
	size_t n = tree_list(e->node, "toCIDR", &list);
	bool some = false;

	for (size_t i = 0; i < n; i++)
		one_block(e, list->items[i], NULL, fn, context);
	n = tree_list(e->node, "toCIDRSet", &list);
	for (size_t i = 0; i < n; i++)
		one_block(e, ynode_get(list->items[i], "cidr"), ynode_get(list->items[i], "except"), fn, context);
	n = tree_list(e->node, "toEntities", &list);
	for (size_t i = 0; i < n; i++) {
		const char *entity = tree_text(list->items[i], NULL);

		if (entity && (!strcmp(entity, "world") || !strcmp(entity, "all")))
			everywhere(e, list->items[i], fn, context);
	}
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		some = some || ynode_get(e->node, members[i]);
	if (!some && tree_list(e->node, "toPorts", &list))
		everywhere(e, e->node, fn, context);
}

void tree_each_block(const struct tree_entry *e, tree_block_fn fn, void *context)
{
	const struct ynode *peers, *networks;
	size_t n;

	if (tree_is_cilium(e->policy->kind)) {
		cilium_blocks(e, fn, context);
		return;
	}
	n = tree_list(e->node, "to", &peers);
	if (n == 0 && !tree_is_tiered(e->policy->kind))
		everywhere(e, e->node, fn, context);
	for (size_t i = 0; i < n; i++) {
		const struct ynode *block = ynode_get(peers->items[i], "ipBlock");
		size_t count = tree_list(peers->items[i], "networks", &networks);

		if (block)
			one_block(e, ynode_get(block, "cidr"), ynode_get(block, "except"), fn, context);
		for (size_t k = 0; k < count; k++)
			one_block(e, networks->items[k], NULL, fn, context);
	}
}

/* ::/0 holds the v4-mapped range as bytes, and says nothing of IPv4. */
static bool holds(const struct sluice_prefix *p, const struct sluice_addr *addr)
{
	return prefix_contains(p, addr) && (p->bits >= 96 || !addr_is_ipv4(addr));
}

bool tree_block_holds(const struct tree_block *b, const struct sluice_addr *addr)
{
	struct sluice_prefix except;

	if (!holds(&b->prefix, addr))
		return false;
	for (size_t i = 0; b->except && b->except->kind == YNODE_SEQUENCE && i < b->except->count; i++) {
		const char *text = tree_text(b->except->items[i], NULL);

		if (text && prefix_parse(text, &except) >= 0 && holds(&except, addr))
			return false;
	}
	return true;
}

/* ---- ports -------------------------------------------------------------------------------------------------------- */

static const char *protocol_name(const char *text, const char *otherwise)
{
	static const char *const names[] = { "TCP", "UDP", "SCTP", "ANY" };

	for (size_t i = 0; text && i < ARRAY_SIZE(names); i++) {
		if (!strcasecmp(text, names[i]))
			return names[i];
	}
	return otherwise;
}

static void set_range(struct tree_port *p, const char *first, const char *last)
{
	char *end;
	unsigned long n;

	p->first = 0;
	p->last = UINT16_MAX;
	if (!first)
		return;
	n = strtoul(first, &end, 10);
	if (*end || end == first || n > UINT16_MAX) {
		p->name = first;
		return;
	}
	if (n == 0)
		return;
	p->first = p->last = (uint16_t)n;
	n = last ? strtoul(last, NULL, 10) : 0;
	if (n > p->first && n <= UINT16_MAX)
		p->last = (uint16_t)n;
}

static bool cilium_ports(const struct tree_entry *e, tree_port_fn fn, void *context)
{
	const struct ynode *to_ports, *ports;
	size_t n = tree_list(e->node, "toPorts", &to_ports);
	bool restricted = n > 0 || ynode_get(e->node, "icmps");

	for (size_t i = 0; i < n; i++) {
		size_t count = tree_list(to_ports->items[i], "ports", &ports);

		restricted = restricted && count > 0;
		for (size_t k = 0; k < count; k++) {
			const struct ynode *item = ports->items[k];
			struct tree_port p = { .node = item };

			p.protocol = protocol_name(tree_text(item, "protocol", NULL), "ANY");
			set_range(&p, tree_text(item, "port", NULL), tree_text(item, "endPort", NULL));
			fn(&p, context);
		}
	}
	return restricted;
}

/* {protocol, port, endPort} of NetworkPolicy; {portNumber}, {portRange}, {namedPort} of AWS's cluster policy. */
static void aws_port(const struct ynode *item, tree_port_fn fn, void *context)
{
	const struct ynode *number = ynode_get(item, "portNumber"), *range = ynode_get(item, "portRange");
	struct tree_port p = { .node = item, .protocol = "ANY" };

	if (number || range) {
		p.protocol = protocol_name(tree_text(number ? number : range, "protocol", NULL), "TCP");
		set_range(&p, number ? tree_text(number, "port", NULL) : tree_text(range, "start", NULL),
			  range ? tree_text(range, "end", NULL) : NULL);
	} else if (ynode_get(item, "namedPort")) {
		p.name = tree_text(item, "namedPort", NULL);
	} else {
		p.protocol = protocol_name(tree_text(item, "protocol", NULL), "TCP");
		set_range(&p, tree_text(item, "port", NULL), tree_text(item, "endPort", NULL));
	}
	fn(&p, context);
}

static void upstream_port(const struct ynode *item, tree_port_fn fn, void *context)
{
	static const struct {
		const char *key;
		const char *name;
	} protocols[] = { { "tcp", "TCP" }, { "udp", "UDP" }, { "sctp", "SCTP" } };
	struct tree_port p = { .node = item, .protocol = "ANY", .name = tree_text(item, "destinationNamedPort", NULL) };

	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		const struct ynode *proto = ynode_get(item, protocols[i].key);
		const struct ynode *port = proto ? ynode_get(proto, "destinationPort") : NULL;
		const char *number = tree_text(port, "number", NULL);

		if (!proto)
			continue;
		p.protocol = protocols[i].name;
		set_range(&p, number ? number : tree_text(port, "range", "start", NULL),
			  number ? NULL : tree_text(port, "range", "end", NULL));
	}
	fn(&p, context);
}

bool tree_each_port(const struct tree_entry *e, tree_port_fn fn, void *context)
{
	bool upstream = e->policy->kind == TREE_UPSTREAM_CLUSTER;
	const struct ynode *ports;
	size_t n;

	if (tree_is_cilium(e->policy->kind))
		return cilium_ports(e, fn, context);
	n = tree_list(e->node, upstream ? "protocols" : "ports", &ports);
	for (size_t i = 0; i < n; i++) {
		if (upstream)
			upstream_port(ports->items[i], fn, context);
		else
			aws_port(ports->items[i], fn, context);
	}
	return n > 0;
}

struct port_search {
	const char *protocol;
	uint16_t port;
	bool found;
};

static void search_port(const struct tree_port *p, void *context)
{
	struct port_search *s = context;

	if (!p->name && s->port >= p->first && s->port <= p->last &&
	    (!strcmp(p->protocol, "ANY") || !strcmp(p->protocol, s->protocol)))
		s->found = true;
}

bool tree_admits_port(const struct tree_entry *e, const char *protocol, uint16_t port)
{
	struct port_search s = { .protocol = protocol, .port = port };

	return !tree_each_port(e, search_port, &s) || s.found;
}

/* ---- selectors ---------------------------------------------------------------------------------------------------- */

/* What a policy selects, as far as plain labels say. */
struct scope {
	const char *namespace_name; /* NULL: any */
	const struct ynode *labels; /* a mapping, or NULL */
	bool unknown;		    /* more is asked than this can hold */
};

static const char *bare_key(const char *key)
{
	return !strncmp(key, "k8s:", 4) || !strncmp(key, "any:", 4) ? key + 4 : key;
}

static bool is_namespace_key(const char *key)
{
	key = bare_key(key);
	return !strcmp(key, "io.kubernetes.pod.namespace") ||
	       !strcmp(key, "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name") ||
	       !strcmp(key, "kubernetes.io/metadata.name");
}

static void read_scope_selector(const struct ynode *selector, struct scope *s)
{
	const struct ynode *expressions;

	if (!selector || selector->kind != YNODE_MAPPING)
		return;
	s->unknown = s->unknown || tree_list(selector, "matchExpressions", &expressions);
	s->labels = ynode_get(selector, "matchLabels");
	if (s->labels && s->labels->kind != YNODE_MAPPING)
		s->labels = NULL;
	for (size_t i = 0; s->labels && i < s->labels->count; i++) {
		if (is_namespace_key(ynode_key(s->labels, i)->text) && !s->namespace_name)
			s->namespace_name = tree_text(ynode_value(s->labels, i), NULL);
	}
}

static struct scope scope_of(const struct tree_policy *p)
{
	struct scope s = { .namespace_name = p->namespace_name };
	const struct ynode *subject = ynode_get(p->spec, "subject");
	const struct ynode *pods = subject ? ynode_get(subject, "pods") : NULL;

	if (tree_is_cilium(p->kind)) {
		read_scope_selector(ynode_get(p->spec, "endpointSelector"), &s);
	} else if (!tree_is_tiered(p->kind)) {
		read_scope_selector(ynode_get(p->spec, "podSelector"), &s);
	} else if (pods) {
		struct scope ns = {};

		read_scope_selector(ynode_get(pods, "namespaceSelector"), &ns);
		read_scope_selector(ynode_get(pods, "podSelector"), &s);
		s.unknown = s.unknown || ns.unknown || (ns.labels && ns.labels->count && !ns.namespace_name);
		s.namespace_name = ns.namespace_name;
	} else if (subject) {
		read_scope_selector(ynode_get(subject, "namespaces"), &s);
		s.unknown = s.unknown || (s.labels && s.labels->count && !s.namespace_name);
	}
	return s;
}

static bool has_label(const struct ynode *labels, const char *key, const char *value)
{
	for (size_t i = 0; labels && value && i < labels->count; i++) {
		const char *text = tree_text(ynode_value(labels, i), NULL);

		if (!strcmp(bare_key(ynode_key(labels, i)->text), bare_key(key)) && text && !strcmp(text, value))
			return true;
	}
	return false;
}

bool tree_selects_all_of(const struct tree_policy *a, const struct tree_policy *b)
{
	struct scope x = scope_of(a), y = scope_of(b);

	if (a == b)
		return true;
	if (x.unknown)
		return false;
	if (x.namespace_name && (!y.namespace_name || strcmp(x.namespace_name, y.namespace_name) != 0))
		return false;
	for (size_t i = 0; x.labels && i < x.labels->count; i++) {
		const char *key = ynode_key(x.labels, i)->text;

		if (!is_namespace_key(key) && !has_label(y.labels, key, tree_text(ynode_value(x.labels, i), NULL)))
			return false;
	}
	return true;
}

bool tree_selects_everything(const struct tree_policy *p)
{
	struct scope s = scope_of(p);

	return !s.unknown && !s.namespace_name && (!s.labels || s.labels->count == 0);
}

/* ---- patterns ----------------------------------------------------------------------------------------------------- */

bool pattern_is_exact(const struct name_pattern *p)
{
	return !p->all && !p->deep && !strchr(p->text, '*');
}

/* One label against another; a star of `b` is a character that only a star of `a` matches. */
static bool label_covers(const char *a, size_t na, const char *b, size_t nb)
{
	size_t i = 0, k = 0, star = SIZE_MAX, resume = 0;

	while (k < nb) {
		if (i < na && a[i] == '*') {
			star = i++;
			resume = k;
		} else if (i < na && a[i] == b[k] && b[k] != '*') {
			i++;
			k++;
		} else if (star != SIZE_MAX) {
			i = star + 1;
			k = ++resume;
		} else {
			return false;
		}
	}
	while (i < na && a[i] == '*')
		i++;
	return i == na;
}

static size_t count_labels(const char *text)
{
	size_t n = *text ? 1 : 0;

	for (; *text; text++)
		n += *text == '.';
	return n;
}

bool pattern_covers(const struct name_pattern *a, const struct name_pattern *b)
{
	size_t na = count_labels(a->text), nb = count_labels(b->text);
	const char *x = a->text, *y = b->text;

	if (a->all || b->all)
		return a->all;
	if (a->deep ? nb + b->deep <= na : (b->deep || na != nb))
		return false;
	for (size_t skip = nb - na; skip > 0; skip--)
		y = strchr(y, '.') + 1;
	while (na-- > 0) {
		size_t lx = strcspn(x, "."), ly = strcspn(y, ".");

		if (!label_covers(x, lx, y, ly))
			return false;
		x += lx + (x[lx] == '.');
		y += ly + (y[ly] == '.');
	}
	return true;
}
