/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"

#define NAMESPACE_LABEL "io.kubernetes.pod.namespace"

/* ---- selectors ------------------------------------------------------------------------------------------------- */

/* Cilium's label source before the key; only Kubernetes' own labels are known here. NULL: another source. */
static const char *strip_source(const char *key)
{
	const char *colon = strchr(key, ':');

	if (!colon)
		return key;
	if (strncmp(key, "k8s:", 4) == 0 || strncmp(key, "any:", 4) == 0)
		return colon + 1;
	return NULL;
}

static bool add_requirement(struct yctx *c, const char *key, const char *value, struct selector *ret)
{
	struct requirement *r = array_push(&ret->labels, &ret->nlabels, sizeof(*r));

	if (r) {
		r->key = strdup(key);
		r->value = strdup(value);
	}
	if (r && r->key && r->value)
		return true;
	c->oom = true;
	return false;
}

static bool set_namespace(struct yctx *c, const struct ynode *key, const char *value, struct selector *ret)
{
	if (ret->namespace_name && strcmp(ret->namespace_name, value) != 0) {
		yctx_error(c, key, "the selector asks for two namespaces, %s and %s", ret->namespace_name, value);
		return false;
	}
	free(ret->namespace_name);
	ret->namespace_name = strdup(value);
	if (!ret->namespace_name)
		c->oom = true;
	return ret->namespace_name != NULL;
}

static bool read_label(struct yctx *c, const struct ynode *key_node, const struct ynode *value_node, bool cilium,
		       struct selector *ret)
{
	const char *key = cilium ? strip_source(key_node->text) : key_node->text;
	const char *value;

	if (!key || *key == '\0') {
		yctx_error(c, key_node, "label key %s: expected a Kubernetes label, with k8s: or any: before it or not",
			   key_node->text);
		return false;
	}
	if (!yread_text(c, value_node, key_node->text, &value))
		return false;
	if (cilium && strcmp(key, NAMESPACE_LABEL) == 0)
		return set_namespace(c, key_node, value, ret);
	if (cilium && strncmp(key, "io.cilium.k8s.", 14) == 0) {
		yctx_error(c, key_node, "label key %s is not supported; expected a label of the pod or %s",
			   key_node->text, NAMESPACE_LABEL);
		return false;
	}
	return add_requirement(c, key, value, ret);
}

bool read_selector(struct yctx *c, const struct ynode *node, const char *what, bool cilium, struct selector *ret)
{
	const struct ynode *labels;
	bool ok = yread_mapping(c, node, what);

	for (size_t i = 0; ok && i < node->count; i++) {
		const struct ynode *key = ynode_key(node, i);

		if (strcmp(key->text, "matchLabels") == 0)
			continue;
		yctx_error(c, key, "%s: member %s is not supported; expected one of: matchLabels", what, key->text);
		ok = false;
	}
	labels = ynode_get(node, "matchLabels");
	if (!labels)
		return ok;
	if (!yread_mapping(c, labels, "matchLabels"))
		return false;
	for (size_t i = 0; i < labels->count; i++)
		ok = read_label(c, ynode_key(labels, i), ynode_value(labels, i), cilium, ret) && ok;
	return ok;
}

/* ---- peers ----------------------------------------------------------------------------------------------------- */

struct peer *read_peer_add(struct yctx *c, struct entry *e, const struct ynode *at, enum peer_kind kind,
			   const char *words, const char *text)
{
	_cleanup_free_ char *described = NULL;
	struct peer *peer;

	if (asprintf(&described, "%s%s%s", words, text ? " " : "", text ? text : "") < 0)
		described = NULL;
	peer = described ? array_push(&e->peers, &e->npeers, sizeof(*peer)) : NULL;
	if (!peer) {
		c->oom = true;
		return NULL;
	}
	peer->kind = kind;
	peer->line = at->line;
	peer->column = at->column;
	peer->text = TAKE_PTR(described);
	return peer;
}

void read_name(struct yctx *c, struct entry *e, const struct ynode *node, enum name_dialect dialect,
	       enum peer_kind kind, const char *words)
{
	struct name_pattern name;
	struct peer *peer;
	const char *text, *why = NULL;
	int r;

	if (!yread_text(c, node, words, &text))
		return;
	r = name_pattern_parse(dialect, text, &name, &why);
	if (r < 0) {
		yctx_error(c, node, "%s: %.300s %s", words, text, why);
		return;
	}
	if (why)
		yctx_warn(c, node, "%s: %.300s %s%s", words, text, why, r == NAME_NEVER ? "; it is left out" : "");
	if (r == NAME_NEVER)
		return;
	for (size_t i = 0; i < e->npeers; i++) {
		if (e->peers[i].kind == kind && e->peers[i].name.all == name.all &&
		    e->peers[i].name.deep == name.deep && strcmp(e->peers[i].name.text, name.text) == 0) {
			yctx_warn(c, node, "%s: %s is listed twice", words, text);
			return;
		}
	}
	peer = read_peer_add(c, e, node, kind, words, text);
	if (peer)
		peer->name = name;
}

bool read_cidr(struct yctx *c, const struct ynode *node, const char *what, struct sluice_prefix *ret)
{
	char masked[ADDR_TEXT_MAX];
	const char *text;
	int r;

	if (!yread_text(c, node, what, &text))
		return false;
	r = prefix_parse(text, ret);
	if (r == -EAFNOSUPPORT) {
		yctx_error(c, node, "%s: %s is IPv4 in IPv6's clothes; expected the IPv4 prefix itself", what, text);
		return false;
	}
	if (r < 0) {
		yctx_error(c, node, "%s: expected a prefix such as 10.0.0.0/8 or 2001:db8::/32, got %s", what, text);
		return false;
	}
	if (r == PREFIX_HOST_BITS)
		yctx_warn(c, node, "%s: %s has host bits set; it is read as %s", what, text,
			  prefix_format(ret, masked));
	return true;
}

static bool prefix_inside(const struct sluice_prefix *inner, const struct sluice_prefix *outer)
{
	return inner->bits >= outer->bits && prefix_contains(outer, &inner->addr) &&
	       (inner->bits >= 96 && addr_is_ipv4(&inner->addr)) == (outer->bits >= 96 && addr_is_ipv4(&outer->addr));
}

void read_except(struct yctx *c, const struct ynode *node, struct peer *peer)
{
	if (!read_list(c, node, "except"))
		return;
	for (size_t i = 0; i < node->count; i++) {
		char outer[ADDR_TEXT_MAX];
		struct sluice_prefix prefix, *slot;

		if (!read_cidr(c, node->items[i], "except", &prefix))
			continue;
		if (!prefix_inside(&prefix, &peer->prefix)) {
			yctx_error(c, node->items[i], "except: expected a prefix inside %s, got %s",
				   prefix_format(&peer->prefix, outer), node->items[i]->text);
			continue;
		}
		slot = array_push(&peer->excepts, &peer->nexcepts, sizeof(*slot));
		if (!slot) {
			c->oom = true;
			return;
		}
		*slot = prefix;
	}
}

void read_cidr_block(struct yctx *c, struct entry *e, const struct ynode *node, const char *words, bool cluster)
{
	const struct ynode *cidr, *except;
	struct sluice_prefix prefix;
	char text[ADDR_TEXT_MAX + 16];
	struct peer *peer;

	if (!yread_mapping(c, node, words))
		return;
	for (size_t i = 0; i < node->count; i++) {
		const char *key = ynode_key(node, i)->text;

		if (strcmp(key, "cidr") != 0 && strcmp(key, "except") != 0)
			yctx_error(c, ynode_key(node, i),
				   "%s: member %s is not supported; expected one of: cidr, except", words, key);
	}
	cidr = ynode_get(node, "cidr");
	except = ynode_get(node, "except");
	if (!cidr) {
		yctx_error(c, node, "%s: expected a member cidr", words);
		return;
	}
	if (!read_cidr(c, cidr, "cidr", &prefix))
		return;
	prefix_format(&prefix, text);
	if (except && except->kind == YNODE_SEQUENCE && except->count > 0)
		strcat(text, " with except");
	peer = read_peer_add(c, e, cidr, PEER_CIDR, words, text);
	if (!peer)
		return;
	peer->prefix = prefix;
	peer->cluster = cluster;
	if (except)
		read_except(c, except, peer);
}

/* ---- ports and lists ------------------------------------------------------------------------------------------- */

static void describe_port(struct yctx *c, struct entry *e, const char *proto, uint16_t first, uint16_t last)
{
	_cleanup_free_ char *old = TAKE_PTR(e->ports_text);
	const char *before = old ? old : "", *comma = old ? "," : "";
	int len;

	if (first == 0 && last == UINT16_MAX)
		len = asprintf(&e->ports_text, "%s%sany/%s", before, comma, proto);
	else if (first == last)
		len = asprintf(&e->ports_text, "%s%s%u/%s", before, comma, first, proto);
	else
		len = asprintf(&e->ports_text, "%s%s%u-%u/%s", before, comma, first, last, proto);
	if (len >= 0)
		return;
	e->ports_text = NULL;
	c->oom = true;
}

void read_port_add(struct yctx *c, struct entry *e, uint32_t protos, const char *proto_name, uint16_t first,
		   uint16_t last)
{
	struct port_range *slot = array_push(&e->ports, &e->nports, sizeof(*slot));

	if (!slot) {
		c->oom = true;
		return;
	}
	slot->protos = protos;
	slot->first = first;
	slot->last = last;
	if (e->nports <= 8)
		describe_port(c, e, proto_name, first, last);
}

bool read_list(struct yctx *c, const struct ynode *node, const char *what)
{
	if (ynode_is_null(node)) {
		yctx_error(c, node, "%s: expected a list, got nothing; leave the member out or give it items", what);
		return false;
	}
	return yread_sequence(c, node, what);
}
