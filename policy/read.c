/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/read.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"

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
	_cleanup_free_ char *own = NULL;
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
	for (size_t i = 0; i < e->npeers && e->npeers <= 1000; i++) {
		if (e->peers[i].kind == kind && e->peers[i].name.all == name.all &&
		    e->peers[i].name.deep == name.deep && strcmp(e->peers[i].name.text, name.text) == 0) {
			yctx_warn(c, node, "%s: %s is listed twice", words, text);
			return;
		}
	}
	own = strdup(name.text);
	c->oom = c->oom || !own;
	peer = own ? read_peer_add(c, e, node, kind, words, text) : NULL;
	if (!peer)
		return;
	peer->name = (struct name_view){ name.all, name.deep, TAKE_PTR(own) };
	peer->pods = dialect == NAME_AWS;
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

/* The last peer, when it is a prefix that an earlier one says already. Long lists are not searched: it is a remark. */
static void warn_twice(struct yctx *c, const struct ynode *at, const struct entry *e, const char *what)
{
	const struct peer *last = &e->peers[e->npeers - 1];

	for (size_t i = 0; i + 1 < e->npeers && e->npeers <= 1000; i++) {
		const struct peer *p = &e->peers[i];

		if (p->kind == PEER_CIDR && p->prefix.bits == last->prefix.bits &&
		    addr_compare(&p->prefix.addr, &last->prefix.addr) == 0 && p->nexcepts + last->nexcepts == 0) {
			yctx_warn(c, at, "%s: %s is listed twice", what, at->text);
			return;
		}
	}
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
		if (peer->kind == PEER_CIDR && !prefix_inside(&prefix, &peer->prefix)) {
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

void read_cidr_except(struct yctx *c, struct entry *e, const struct ynode *cidr, const struct ynode *except,
		      const char *words, bool cluster)
{
	struct sluice_prefix prefix;
	char text[ADDR_TEXT_MAX + 16];
	struct peer *peer;

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
	warn_twice(c, cidr, e, words);
}

struct cidr_block {
	const struct ynode *cidr;
	const struct ynode *except;
};

static void take_cidr(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct cidr_block *)out)->cidr = node;
}

static void take_except(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct cidr_block *)out)->except = node;
}

void read_cidr_block(struct yctx *c, struct entry *e, const struct ynode *node, const char *words, bool cluster)
{
	static const struct yfield fields[] = { { "cidr", take_cidr }, { "except", take_except } };
	struct cidr_block b = {};

	yread_fields(c, node, words, fields, ARRAY_SIZE(fields), &b);
	if (b.cidr)
		read_cidr_except(c, e, b.cidr, b.except, words, cluster);
	else if (node->kind == YNODE_MAPPING)
		yctx_error(c, node, "%s: expected a member cidr", words);
}

/* ---- ports and lists ------------------------------------------------------------------------------------------- */

/* Adds to "443/TCP,8080/TCP"; a long list is cut, the rule's line says the rest. */
__attribute__((format(printf, 3, 4))) static void describe_port(struct yctx *c, struct entry *e, const char *format,
								...)
{
	_cleanup_free_ char *old = TAKE_PTR(e->ports_text);
	_cleanup_free_ char *more = NULL;
	va_list args;
	int len;

	va_start(args, format);
	len = vasprintf(&more, format, args);
	va_end(args);
	if (len < 0)
		more = NULL;
	if (len < 0 || asprintf(&e->ports_text, "%s%s%s", old ? old : "", old ? "," : "", more) < 0) {
		e->ports_text = NULL;
		c->oom = true;
	}
}

static struct port_range *add_range(struct yctx *c, struct entry *e, uint32_t protos, uint16_t first, uint16_t last)
{
	struct port_range *slot = array_push(&e->ports, &e->nports, sizeof(*slot));

	if (!slot) {
		c->oom = true;
		return NULL;
	}
	*slot = (struct port_range){ .protos = protos, .first = first, .last = last };
	return slot;
}

void read_port_add(struct yctx *c, struct entry *e, uint32_t protos, const char *proto_name, uint16_t first,
		   uint16_t last)
{
	if (!add_range(c, e, protos, first, last) || e->nports > 8)
		return;
	if (first == 0 && last == UINT16_MAX)
		describe_port(c, e, "any/%s", proto_name);
	else if (first == last)
		describe_port(c, e, "%u/%s", first, proto_name);
	else
		describe_port(c, e, "%u-%u/%s", first, last, proto_name);
}

/* The type stands in the upper byte, and every code goes with it. */
void read_icmp_add(struct yctx *c, struct entry *e, bool ipv6, uint8_t type)
{
	uint16_t first = (uint16_t)(type << 8);

	if (add_range(c, e, ipv6 ? PROTO_ICMPV6 : PROTO_ICMP, first, first | 0xff) && e->nports <= 8)
		describe_port(c, e, "%u/%s", type, ipv6 ? "ICMPv6" : "ICMP");
}

void read_named_add(struct yctx *c, struct entry *e, uint32_t protos, const char *name)
{
	struct named_port *slot = array_push(&e->named, &e->nnamed, sizeof(*slot));

	if (slot) {
		slot->protos = protos;
		slot->name = strdup(name);
	}
	if (!slot || !slot->name) {
		c->oom = true;
		return;
	}
	if (e->nports + e->nnamed <= 8)
		describe_port(c, e, "%s", name);
}

static const char *without_ports(const struct peer *p)
{
	switch (p->kind) {
	case PEER_WORLD:
		return "the world";
	case PEER_CIDR:
	case PEER_CIDR_GROUP:
		return "prefixes";
	case PEER_NAME:
	case PEER_ASK:
		return "names";
	case PEER_ANY:
	case PEER_CLUSTER:
	case PEER_PODS:
	case PEER_NODES:
	case PEER_APISERVER:
	case PEER_SERVICE:
		return NULL;
	}
	return NULL;
}

void read_check_named(struct yctx *c, const struct ynode *at, const struct entry *e)
{
	for (size_t i = 0; e->nnamed > 0 && i < e->npeers; i++) {
		const char *what = without_ports(&e->peers[i]);

		if (!what)
			continue;
		yctx_error(c, at, "port: a named port (%s) cannot go with %s; expected a number", e->named[0].name,
			   what);
		return;
	}
}

void read_ignored_text(struct yctx *c, const struct ynode *node, const char *what)
{
	const char *text;

	if (!ynode_is_null(node))
		yread_text(c, node, what, &text);
}

bool read_list(struct yctx *c, const struct ynode *node, const char *what)
{
	if (ynode_is_null(node)) {
		yctx_error(c, node, "%s: expected a list, got nothing; leave the member out or give it items", what);
		return false;
	}
	return yread_sequence(c, node, what);
}
