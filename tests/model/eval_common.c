/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/model/eval_private.h"

/* ---- YAML ------------------------------------------------------------------------------------------------------ */

bool ev_is(const struct ynode *node, const char *text)
{
	return node && node->kind == YNODE_SCALAR && strcmp(node->text, text) == 0;
}

size_t ev_count(const struct ynode *list)
{
	return list && list->kind == YNODE_SEQUENCE ? list->count : 0;
}

long ev_number(const struct ynode *node)
{
	char *end;
	long n;

	if (!node || node->kind != YNODE_SCALAR || node->text[0] == '\0')
		return -1;
	n = strtol(node->text, &end, 10);
	return *end ? -1 : n;
}

/* ---- addresses ------------------------------------------------------------------------------------------------- */

static bool has_addr(const struct world_addrs *list, const struct sluice_addr *addr)
{
	for (size_t i = 0; i < list->count; i++)
		if (addr_compare(&list->items[i], addr) == 0)
			return true;
	return false;
}

/* IPv4 and IPv6 are different worlds: ::/0 holds no IPv4 address, though it is carried inside ::ffff:0:0/96. */
static bool text_holds(const char *cidr, const struct sluice_addr *addr)
{
	struct sluice_prefix p;

	if (prefix_parse(cidr, &p) < 0 || (strchr(cidr, ':') != NULL) == addr_is_ipv4(addr))
		return false;
	return prefix_contains(&p, addr);
}

static bool is_api_server(const struct world_service *s)
{
	return strcmp(s->namespace_name, "default") == 0 && strcmp(s->name, "kubernetes") == 0;
}

/* Inside the Service CIDR, but no Service that is known: a ClusterIP with no backend (hazard 13). */
struct ev_dest ev_find_dest(const struct world *w, const struct sluice_addr *addr)
{
	static const struct world_service unknown;
	struct ev_dest d = {};

	for (size_t i = 0; i < 2; i++)
		if (w->service_cidrs[i] && text_holds(w->service_cidrs[i], addr))
			d.service = &unknown;
	for (size_t i = 0; i < w->npods; i++)
		if (!w->pods[i].finished && !w->pods[i].host_network && has_addr(&w->pods[i].addrs, addr))
			d.pod = &w->pods[i];
	for (size_t i = 0; i < w->nnodes; i++)
		if (has_addr(&w->nodes[i].addrs, addr))
			d.node = &w->nodes[i];
	for (size_t i = 0; i < w->nservices; i++) {
		const struct world_service *s = &w->services[i];

		if (has_addr(&s->addrs, addr))
			d.service = s;
		if (is_api_server(s) && has_addr(&s->outside, addr))
			d.api_server = true;
	}
	return d;
}

bool ev_in_cluster(const struct ev_dest *d)
{
	return d->pod || d->node || d->service;
}

static bool one_holds(const char *const *cidrs, const struct sluice_addr *addr)
{
	for (; *cidrs; cidrs++)
		if (text_holds(*cidrs, addr))
			return true;
	return false;
}

bool ev_cidr_holds(const struct ynode *cidr, const struct sluice_addr *addr)
{
	return text_holds(cidr->text, addr);
}

bool ev_block_holds(const struct ynode *block, const struct sluice_addr *addr)
{
	const struct ynode *except = ynode_get(block, "except");

	if (!ev_cidr_holds(ynode_get(block, "cidr"), addr))
		return false;
	for (size_t i = 0; i < ev_count(except); i++)
		if (ev_cidr_holds(except->items[i], addr))
			return false;
	return true;
}

/* NAT64, IPv4-translated, 6to4, Teredo (whose client is stored inverted). */
bool ev_embedded_v4(const struct sluice_addr *addr, struct sluice_addr *ret)
{
	static const struct {
		const char *cidr;
		int at;
		uint8_t turned;
	} forms[] = {
		{ "64:ff9b::/96", 12, 0 }, { "64:ff9b:1::/48", 12, 0 }, { "::ffff:0:0:0/96", 12, 0 },
		{ "2002::/16", 2, 0 },	   { "2001::/32", 12, 0xff },
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (!text_holds(forms[i].cidr, addr))
			continue;
		*ret = (struct sluice_addr){ .b = { [10] = 0xff, [11] = 0xff } };
		for (int k = 0; k < 4; k++)
			ret->b[12 + k] = addr->b[forms[i].at + k] ^ forms[i].turned;
		return true;
	}
	return false;
}

bool ev_never_leaves(const struct sluice_addr *addr)
{
	static const char *const cidrs[] = { "0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/96", "ff00::/8", NULL };
	struct sluice_addr v4;

	return one_holds(cidrs, addr) || (ev_embedded_v4(addr, &v4) && one_holds(cidrs, &v4));
}

/* Hazard 12. Teredo and the local-use NAT64 prefix hold addresses at places nobody can know: refused whole. */
bool ev_no_name_opens(const struct sluice_addr *addr)
{
	static const char *const cidrs[] = { "169.254.0.0/16",	      "fe80::/10",
					     "fd00:ec2::/32",	      "2001::/32",
					     "64:ff9b:1::/48",	      "168.63.129.16/32",
					     "100.100.100.200/32",    "192.0.0.192/32",
					     "fd20:ce::254/128",      "fd00:c1::a9fe:a9fe/128",
					     "fd00:42::42/128",	      "fd00:100::100:200/128",
					     "fd00:a9fe:a9fe::1/128", NULL };
	struct sluice_addr v4;

	return ev_never_leaves(addr) || one_holds(cidrs, addr) || (ev_embedded_v4(addr, &v4) && one_holds(cidrs, &v4));
}

/* ---- selectors ------------------------------------------------------------------------------------------------- */

static const char *label_of(const struct world_labels *labels, const char *key)
{
	for (size_t i = 0; i < labels->count; i++)
		if (strcmp(labels->items[i].key, key) == 0)
			return labels->items[i].value;
	return NULL;
}

static bool in_values(const struct ynode *values, const char *value)
{
	for (size_t i = 0; i < ev_count(values); i++)
		if (strcmp(values->items[i]->text, value) == 0)
			return true;
	return false;
}

/* `value` is what the key has; NULL when the label is not there. NotIn holds for who lacks the label. */
static bool expression_holds(const struct ynode *expression, const char *value)
{
	const struct ynode *operator= ynode_get(expression, "operator");
	const struct ynode *values = ynode_get(expression, "values");

	if (ev_is(operator, "In"))
		return value && in_values(values, value);
	if (ev_is(operator, "NotIn"))
		return !value || !in_values(values, value);
	if (ev_is(operator, "Exists"))
		return value != NULL;
	return value == NULL;
}

typedef const char *(*label_source)(const void *of, const char *key);

static bool selects(const struct ynode *selector, label_source source, const void *of)
{
	const struct ynode *labels = ynode_get(selector, "matchLabels");
	const struct ynode *expressions = ynode_get(selector, "matchExpressions");

	for (size_t i = 0; labels && labels->kind == YNODE_MAPPING && i < labels->count; i++) {
		const char *value = source(of, ynode_key(labels, i)->text);

		if (!value || strcmp(value, ynode_value(labels, i)->text) != 0)
			return false;
	}
	for (size_t i = 0; i < ev_count(expressions); i++) {
		const struct ynode *e = expressions->items[i];

		if (!expression_holds(e, source(of, ynode_get(e, "key")->text)))
			return false;
	}
	return true;
}

static const char *plain_label(const void *of, const char *key)
{
	return label_of(of, key);
}

bool ev_selects(const struct ynode *selector, const struct world_labels *labels)
{
	return selects(selector, plain_label, labels);
}

static const struct world_namespace *find_namespace(const struct world *w, const char *name)
{
	for (size_t i = 0; i < w->nnamespaces; i++)
		if (strcmp(w->namespaces[i].name, name) == 0)
			return &w->namespaces[i];
	return NULL;
}

/* Kubernetes gives every namespace the label kubernetes.io/metadata.name. */
static const char *namespace_label(const struct world_namespace *ns, const char *key)
{
	return strcmp(key, "kubernetes.io/metadata.name") == 0 ? ns->name : label_of(&ns->labels, key);
}

static const char *namespace_source(const void *of, const char *key)
{
	return namespace_label(of, key);
}

bool ev_selects_namespace(const struct world *w, const struct ynode *selector, const char *namespace_name)
{
	const struct world_namespace *ns = find_namespace(w, namespace_name);

	return ns && selects(selector, namespace_source, ns);
}

struct cilium_pod {
	const struct world *world;
	const struct world_pod *pod;
};

static const char *without_source(const char *key)
{
	return strncmp(key, "k8s:", 4) == 0 || strncmp(key, "any:", 4) == 0 ? key + 4 : key;
}

#define NAMESPACE_KEY	 "io.kubernetes.pod.namespace"
#define NAMESPACE_LABELS "io.cilium.k8s.namespace.labels."
#define ACCOUNT_KEY	 "io.cilium.k8s.policy.serviceaccount"

static const char *cilium_source(const void *of, const char *key)
{
	const struct cilium_pod *p = of;

	key = without_source(key);
	if (strcmp(key, NAMESPACE_KEY) == 0)
		return p->pod->namespace_name;
	if (strcmp(key, ACCOUNT_KEY) == 0)
		return p->pod->account;
	if (strncmp(key, NAMESPACE_LABELS, strlen(NAMESPACE_LABELS)) == 0) {
		const struct world_namespace *ns = find_namespace(p->world, p->pod->namespace_name);

		return ns ? namespace_label(ns, key + strlen(NAMESPACE_LABELS)) : NULL;
	}
	return label_of(&p->pod->labels, key);
}

static bool says_namespace(const char *key)
{
	key = without_source(key);
	return strcmp(key, NAMESPACE_KEY) == 0 || strncmp(key, NAMESPACE_LABELS, strlen(NAMESPACE_LABELS)) == 0;
}

static bool selector_says_namespace(const struct ynode *selector)
{
	const struct ynode *labels = ynode_get(selector, "matchLabels");
	const struct ynode *expressions = ynode_get(selector, "matchExpressions");

	for (size_t i = 0; labels && labels->kind == YNODE_MAPPING && i < labels->count; i++)
		if (says_namespace(ynode_key(labels, i)->text))
			return true;
	for (size_t i = 0; i < ev_count(expressions); i++)
		if (says_namespace(ynode_get(expressions->items[i], "key")->text))
			return true;
	return false;
}

bool ev_cilium_selects(const struct world *w, const struct ynode *selector, const struct world_pod *pod,
		       const char *own)
{
	const struct cilium_pod p = { w, pod };

	if (own && !selector_says_namespace(selector) && strcmp(pod->namespace_name, own) != 0)
		return false;
	return selects(selector, cilium_source, &p);
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

static size_t label_len(const char *name)
{
	return strcspn(name, ".");
}

/* `*` stands for zero or more characters within the label. `upto[n]`: the pattern so far matches the first n of them. */
static bool label_matches(const char *pattern, size_t plen, const char *label, size_t len)
{
	bool upto[256] = { true };

	if (len >= sizeof(upto))
		return false;
	for (; plen > 0; pattern++, plen--) {
		for (size_t n = 1; *pattern == '*' && n <= len; n++)
			upto[n] |= upto[n - 1];
		for (size_t n = len; *pattern != '*' && n > 0; n--)
			upto[n] = upto[n - 1] && tolower(*pattern) == label[n - 1];
		if (*pattern != '*')
			upto[0] = false;
	}
	return upto[len];
}

/* Label by label, and as many on either side. A final dot of the pattern says nothing. */
static bool labels_match(const char *pattern, const char *name)
{
	for (;;) {
		size_t plen = label_len(pattern), len = label_len(name);

		if (len == 0 || !label_matches(pattern, plen, name, len))
			return false;
		pattern += plen;
		name += len;
		if (strcmp(pattern, "") == 0 || strcmp(pattern, ".") == 0)
			return *name == '\0';
		if (*name == '\0')
			return false;
		pattern++;
		name++;
	}
}

/* One or more whole labels, then `rest`. */
static bool deeper_matches(const char *rest, const char *name)
{
	for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.'))
		if (labels_match(rest, dot + 1))
			return true;
	return false;
}

/* Section 3, left column. */
bool ev_cilium_name_matches(const char *pattern, const char *name)
{
	size_t stars = strspn(pattern, "*");

	if (stars > 0 && (strcmp(pattern + stars, "") == 0 || strcmp(pattern + stars, ".") == 0))
		return true;
	if (stars >= 2 && pattern[stars] == '.')
		return deeper_matches(pattern + stars + 1, name);
	return labels_match(pattern, name);
}

/* Section 3, right column. */
bool ev_aws_name_matches(const char *pattern, const char *name)
{
	return strncmp(pattern, "*.", 2) == 0 ? deeper_matches(pattern + 2, name) : labels_match(pattern, name);
}

/* ---- ports ----------------------------------------------------------------------------------------------------- */

uint8_t ev_proto(const struct ynode *node)
{
	if (strcasecmp(node->text, "TCP") == 0)
		return IPPROTO_TCP;
	if (strcasecmp(node->text, "UDP") == 0)
		return IPPROTO_UDP;
	return strcasecmp(node->text, "SCTP") == 0 ? IPPROTO_SCTP : 0;
}

bool ev_has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP;
}

bool ev_named_port(const struct ev_ctx *c, const char *name, uint8_t proto)
{
	const struct world_pod *pod = c->dest.pod;

	if (!pod || !ev_has_ports(c->flow->proto) || (proto && proto != c->flow->proto))
		return false;
	for (size_t i = 0; i < pod->nports; i++)
		if (strcmp(pod->ports[i].name, name) == 0 && pod->ports[i].proto == c->flow->proto &&
		    pod->ports[i].number == c->flow->port)
			return true;
	return false;
}
