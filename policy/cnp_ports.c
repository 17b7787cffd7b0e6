/* SPDX-License-Identifier: Apache-2.0 */
/* CiliumNetworkPolicy: ports, DNS rules and ICMP types of an entry. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "policy/cnp.h"
#include "policy/read.h"

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
		yctx_error(
			c, node,
			"port: expected a number from 0 to 65535 as a string, without leading zeros, or a port's name, "
			"got %.100s",
			text);
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
	/* To Cilium an endPort of 0 is none. */
	if (end == 0)
		return true;
	if (end < *first || (*first == 0 && end != UINT16_MAX)) {
		yctx_error(c, p->end_port, "endPort: expected at least port %u%s, got %llu", *first,
			   *first ? "" : " (0 is every port; only 65535 goes with it)", (unsigned long long)end);
		return false;
	}
	*last = (uint16_t)end;
	return true;
}

/* A name as IANA gives them (RFC 6335 section 5.1): at most 15 letters, digits and hyphens, with a letter. */
static bool is_port_name(const struct ynode *node)
{
	bool letter = false;

	if (node->kind != YNODE_SCALAR || node->scalar != YSCALAR_STRING || strlen(node->text) > 15)
		return false;
	for (const char *p = node->text; *p; p++) {
		if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z'))
			letter = true;
		else if (!(*p >= '0' && *p <= '9') && *p != '-')
			return false;
	}
	return letter;
}

static void read_named_port(struct yctx *c, const struct cnp_port *p, uint32_t protos, struct cnp_entry *e)
{
	char name[16];
	size_t i = 0;

	if (p->end_port) {
		yctx_error(c, p->end_port, "endPort: cannot go with a named port (%s)", p->port->text);
		return;
	}
	for (const char *t = p->port->text; *t; t++)
		name[i++] = (char)(*t >= 'A' && *t <= 'Z' ? *t - 'A' + 'a' : *t);
	name[i] = '\0';
	read_named_add(c, e->entry, protos, name);
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
	if (p.port && is_port_name(p.port)) {
		read_named_port(c, &p, protos, e);
		return;
	}
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
		const struct ynode *proto = ynode_get(ports->items[i], "protocol");

		if (ynode_get(ports->items[i], "endPort")) {
			yctx_error(c, ports->items[i], "rules.dns: expected port \"53\" without endPort");
			return false;
		}
		if (!port || port->kind != YNODE_SCALAR || strcmp(port->text, "53") != 0) {
			yctx_error(c, port ? port : ports->items[i],
				   "rules.dns: expected port \"53\", the only one DNS rules work on");
			return false;
		}
		if (proto && proto->kind == YNODE_SCALAR && strcasecmp(proto->text, "SCTP") == 0) {
			yctx_error(c, proto, "rules.dns: expected protocol UDP, TCP or ANY");
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
		cnp_read_fqdns(c, node, t->entry, PEER_ASK, "rules.dns");
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

void cnp_read_to_ports(struct yctx *c, const struct ynode *node, void *out)
{
	struct cnp_entry *e = out;

	if (!read_list(c, node, "toPorts"))
		return;
	if (node->count == 0)
		yctx_warn(c, node, "toPorts is empty: every port is meant");
	e->to_ports = node;
	if (node->count > 0)
		e->ports_given = node;
	for (size_t i = 0; i < node->count; i++)
		read_to_ports_item(c, node->items[i], e);
}

/* ---- icmps ------------------------------------------------------------------------------------------------------- */

struct icmp_name {
	const char *name;
	uint8_t type;
};

/* Cilium's words for the types of IANA's registries. */
static const struct icmp_name icmp4_names[] = {
	{ "EchoReply", 0 },
	{ "DestinationUnreachable", 3 },
	{ "Redirect", 5 },
	{ "Echo", 8 },
	{ "EchoRequest", 8 },
	{ "RouterAdvertisement", 9 },
	{ "RouterSelection", 10 },
	{ "TimeExceeded", 11 },
	{ "ParameterProblem", 12 },
	{ "Timestamp", 13 },
	{ "TimestampReply", 14 },
	{ "Photuris", 40 },
	{ "ExtendedEchoRequest", 42 },
	{ "ExtendedEchoReply", 43 },
};

static const struct icmp_name icmp6_names[] = {
	{ "DestinationUnreachable", 1 },
	{ "PacketTooBig", 2 },
	{ "TimeExceeded", 3 },
	{ "ParameterProblem", 4 },
	{ "EchoRequest", 128 },
	{ "EchoReply", 129 },
	{ "MulticastListenerQuery", 130 },
	{ "MulticastListenerReport", 131 },
	{ "MulticastListenerDone", 132 },
	{ "RouterSolicitation", 133 },
	{ "RouterAdvertisement", 134 },
	{ "NeighborSolicitation", 135 },
	{ "NeighborAdvertisement", 136 },
	{ "RedirectMessage", 137 },
	{ "RouterRenumbering", 138 },
	{ "ICMPNodeInformationQuery", 139 },
	{ "ICMPNodeInformationResponse", 140 },
	{ "InverseNeighborDiscoverySolicitation", 141 },
	{ "InverseNeighborDiscoveryAdvertisement", 142 },
	{ "HomeAgentAddressDiscoveryRequest", 144 },
	{ "HomeAgentAddressDiscoveryReply", 145 },
	{ "MobilePrefixSolicitation", 146 },
	{ "MobilePrefixAdvertisement", 147 },
	{ "DuplicateAddressRequestCodeSuffix", 157 },
	{ "DuplicateAddressConfirmationCodeSuffix", 158 },
	{ "ExtendedEchoRequest", 160 },
	{ "ExtendedEchoReply", 161 },
};

struct icmp_field {
	const struct ynode *type;
	const struct ynode *family;
};

static void take_type(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct icmp_field *)out)->type = node;
}

static void take_family(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct icmp_field *)out)->family = node;
}

static bool read_family(struct yctx *c, const struct ynode *node, bool *ret_ipv6)
{
	const char *text;

	if (!yread_text(c, node, "family", &text))
		return false;
	*ret_ipv6 = strcmp(text, "IPv6") == 0;
	if (*ret_ipv6 || strcmp(text, "IPv4") == 0)
		return true;
	yctx_error(c, node, "family: expected IPv4 or IPv6, got %.60s", text);
	return false;
}

/* A number, also as a string (the API takes both), or a word. */
static bool read_icmp_type(struct yctx *c, const struct ynode *node, bool ipv6, uint8_t *ret)
{
	const struct icmp_name *names = ipv6 ? icmp6_names : icmp4_names;
	size_t n = ipv6 ? ARRAY_SIZE(icmp6_names) : ARRAY_SIZE(icmp4_names);
	const char *text = node->kind == YNODE_SCALAR && node->scalar != YSCALAR_NULL ? node->text : "";
	size_t len = strlen(text);

	if (len > 0 && len <= 3 && text[strspn(text, "0123456789")] == '\0' && !(len > 1 && text[0] == '0') &&
	    atoi(text) <= UINT8_MAX) {
		*ret = (uint8_t)atoi(text);
		return true;
	}
	for (size_t i = 0; i < n; i++) {
		if (strcmp(text, names[i].name) == 0) {
			*ret = names[i].type;
			return true;
		}
	}
	yctx_error(c, node, "type: expected a number from 0 to 255 or the name of an ICMP%s type, got %.60s",
		   ipv6 ? "v6" : "", text);
	return false;
}

static void read_icmp_field(struct yctx *c, const struct ynode *node, struct cnp_entry *e)
{
	static const struct yfield fields[] = { { "type", take_type }, { "family", take_family } };
	struct icmp_field f = {};
	bool ipv6 = false;
	uint8_t type;

	if (!yread_fields(c, node, "icmps", fields, ARRAY_SIZE(fields), &f))
		return;
	if (!f.type) {
		yctx_error(c, node, "icmps: expected a member type");
		return;
	}
	if (f.family && !read_family(c, f.family, &ipv6))
		return;
	if (read_icmp_type(c, f.type, ipv6, &type))
		read_icmp_add(c, e->entry, ipv6, type);
}

static void read_icmp_fields(struct yctx *c, const struct ynode *node, void *out)
{
	if (!read_list(c, node, "fields"))
		return;
	if (node->count == 0)
		yctx_warn(c, node, "icmps: fields is empty: it opens nothing");
	for (size_t i = 0; i < node->count; i++)
		read_icmp_field(c, node->items[i], out);
}

void cnp_read_icmps(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = { { "fields", read_icmp_fields } };
	struct cnp_entry *e = out;

	if (!read_list(c, node, "icmps"))
		return;
	if (node->count == 0) {
		yctx_warn(c, node, "icmps is empty: every port is meant");
		return;
	}
	e->icmps = node;
	e->ports_given = node;
	for (size_t i = 0; i < node->count; i++)
		yread_fields(c, node->items[i], "icmps", fields, ARRAY_SIZE(fields), e);
}
