/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * The hook sees packets before kube-proxy turns a Service's address into a backend's, while rules speak of backends. So
 * each frontend (ClusterIP:port, external address:port, node:nodePort) is judged by what the flattened address rules
 * say about its ready backends on their own ports: any denied, it is denied; all admitted, it is admitted; else it is
 * not, and the backend that spoils it is reported.
 *
 * That word is then one more grant, of the rank of the rule it came from, beside the rules that mean the frontend's
 * address as it is written (prefixes of all kinds but Cilium's). Nothing else reaches a ClusterIP; of other frontends
 * only the Service's own ports are taken out of what the address rules say. Where kube-proxy leaves a Service alone, its
 * backends may deny such a frontend, and not admit it.
 *
 * A ClusterIP gets an entry of its own only where that differs from what the covering prefix says, so policies that do
 * not concern a Service do not grow by it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "policy/lower.h"

struct frontend {
	struct sluice_addr addr;
	bool cluster_ip;
	uint8_t proto;
	uint16_t port;
	bool judged;   /* the backends have a word: `rule` and `action` */
	bool admitted; /* all of them are admitted, be it by default */
	uint32_t rule;
	enum action action;
};

struct frontends {
	struct frontend *items;
	size_t count;
};

static uint32_t proto_bit(uint8_t proto)
{
	return proto == IPPROTO_TCP    ? PROTO_TCP
	       : proto == IPPROTO_UDP  ? PROTO_UDP
	       : proto == IPPROTO_SCTP ? PROTO_SCTP
				       : 0;
}

/* ---- what the rules say of a backend ------------------------------------------------------------------------------ */

static bool judge_backend(const struct lowering *lo, const struct member *m, uint8_t proto, uint16_t port,
			  struct sluice_rule *ret)
{
	struct sluice_dest dest;
	uint32_t set;

	if (!dests_find(&lo->parts.dests, &m->addr, &dest))
		return false;
	set = m->pod || index_in_cluster(lo->index, &m->addr) ? dest.cluster_set : dest.set;
	return set && sets_find(&lo->parts.sets, set, proto, port, ret) && ret->precedence > 0;
}

/* The backends of one port of a Service, of one family. */
struct tally {
	size_t backends;
	size_t allowed;
	size_t denied;
	struct sluice_rule deny;  /* the strongest */
	struct sluice_rule allow; /* the weakest */
	const struct member *spoiler;
};

static void count_backend(const struct lowering *lo, const struct member *m, const struct service_port *port,
			  struct tally *t)
{
	uint16_t number = member_port(m, port);
	struct sluice_rule rule = {};

	if (!number)
		return;
	t->backends++;
	if (!judge_backend(lo, m, port->proto, number, &rule)) {
		t->spoiler = t->spoiler ? t->spoiler : m;
	} else if (rule.verdict == SLUICE_DENY) {
		if (t->denied++ == 0 || rule.precedence > t->deny.precedence)
			t->deny = rule;
		t->spoiler = t->spoiler ? t->spoiler : m;
	} else if (t->allowed++ == 0 || rule.precedence < t->allow.precedence) {
		t->allow = rule;
	}
}

static void report_mixed(const struct lowering *lo, const struct inventory_service *s, const struct service_port *port,
			 const struct tally *t)
{
	const struct fmt_source *source = t->allow.rule ? &lo->parts.sources[t->allow.rule - 1] : NULL;
	const char *strings = lo->parts.strings.data;
	char addr[ADDR_TEXT_MAX];

	if (!lo->diags || t->allowed == 0 || t->allowed == t->backends)
		return;
	diag_add(lo->diags, DIAG_WARNING, source ? strings + source->file : "", source ? source->line : 0,
		 source ? source->column : 0,
		 "Service %s/%s port %u is denied: its backend %s%s%s is not admitted, while %zu of %zu are",
		 s->namespace_name, s->name, port->port, addr_format(&t->spoiler->addr, addr),
		 t->spoiler->pod ? " of pod " : "", t->spoiler->pod ? t->spoiler->pod->name : "", t->allowed,
		 t->backends);
}

static bool same_family(const struct sluice_addr *a, const struct sluice_addr *b)
{
	return addr_is_ipv4(a) == addr_is_ipv4(b);
}

static void judge_port(const struct lowering *lo, const struct inventory_service *s, const struct service_port *port,
		       const struct members *m, const struct sluice_addr *front, struct frontend *ret)
{
	struct tally t = {};

	for (size_t i = 0; i < m->count; i++)
		if (m->items[i].ready && same_family(&m->items[i].addr, front))
			count_backend(lo, &m->items[i], port, &t);
	if (t.denied > 0) {
		ret->judged = true;
		ret->action = ACTION_DENY;
		ret->rule = t.deny.rule;
	} else if (t.backends > 0 && t.allowed == t.backends) {
		ret->judged = ret->admitted = true;
		ret->action = ACTION_ALLOW;
		ret->rule = t.allow.rule;
	}
	report_mixed(lo, s, port, &t);
}

/* ---- frontends ---------------------------------------------------------------------------------------------------- */

/*
 * Does kube-proxy turn this Service's addresses into its backends'? Otherwise what is sent to an external one goes there, and
 * externalIPs are anybody's to write.
 */
static bool is_proxied(const struct inventory_service *s)
{
	static const char *const left_to_others[] = { "service.kubernetes.io/service-proxy-name",
						      "service.kubernetes.io/headless" };

	for (size_t i = 0; i < s->nlabels; i++)
		for (size_t k = 0; k < ARRAY_SIZE(left_to_others); k++)
			if (strcmp(s->labels[i].key, left_to_others[k]) == 0)
				return false;
	return s->naddrs > 0;
}

static int add_frontend(const struct lowering *lo, struct frontends *f, const struct inventory_service *s,
			const struct service_port *port, const struct members *m, const struct sluice_addr *addr,
			uint16_t number, bool cluster_ip)
{
	struct frontend *slot = array_push(&f->items, &f->count, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	slot->addr = *addr;
	slot->cluster_ip = cluster_ip;
	slot->proto = port->proto;
	slot->port = number;
	judge_port(lo, s, port, m, addr, slot);
	if (slot->admitted && !cluster_ip && !is_proxied(s))
		slot->judged = slot->admitted = false;
	return 0;
}

static int add_node_ports(const struct lowering *lo, struct frontends *f, const struct inventory_service *s,
			  const struct service_port *port, const struct members *m)
{
	const struct inventory *inv = lo->index->inv;

	for (size_t i = 0; port->node_port && i < inv->nnodes; i++)
		for (size_t k = 0; k < inv->nodes[i].naddrs; k++)
			if (add_frontend(lo, f, s, port, m, &inv->nodes[i].addrs[k], port->node_port, false) < 0)
				return -ENOMEM;
	return 0;
}

static int add_service(const struct lowering *lo, struct frontends *f, const struct inventory_service *s)
{
	const struct members *m = service_members(lo->index, s);

	for (size_t p = 0; p < s->nports; p++) {
		const struct service_port *port = &s->ports[p];

		for (size_t i = 0; i < s->naddrs; i++)
			if (add_frontend(lo, f, s, port, m, &s->addrs[i], port->port, true) < 0)
				return -ENOMEM;
		for (size_t i = 0; i < s->nexternals; i++)
			if (add_frontend(lo, f, s, port, m, &s->externals[i], port->port, false) < 0)
				return -ENOMEM;
		if (add_node_ports(lo, f, s, port, m) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int compare_frontends(const void *a, const void *b)
{
	const struct frontend *x = a, *y = b;
	int order = addr_compare(&x->addr, &y->addr);

	if (order == 0)
		order = (int)x->proto - (int)y->proto;
	if (order == 0)
		order = (int)x->port - (int)y->port;
	if (order == 0)
		order = (int)x->judged - (int)y->judged;
	if (order == 0)
		order = (x->rule > y->rule) - (x->rule < y->rule);
	return order ? order : (int)x->action - (int)y->action;
}

/* ---- sets of a frontend's address --------------------------------------------------------------------------------- */

struct gather {
	struct lowering *lo;
	struct grant *grants;
	size_t ngrants;
	const struct frontend *fronts; /* of one address */
	size_t nfronts;
	bool cluster_ip;
	enum set_kind kind;
};

static int push_grant(struct gather *g, const struct grant *grant)
{
	struct grant *slot = array_push(&g->grants, &g->ngrants, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	*slot = *grant;
	return 0;
}

static int add_word(struct gather *g, const struct frontend *f, uint32_t rule, enum action action)
{
	struct grant grant = { .nports = 1, .rule = rule, .rank = g->lo->ranks[rule] };
	struct port_range *ports = lower_own_ports(g->lo, 1);

	if (!ports)
		return -ENOMEM;
	*ports = (struct port_range){ proto_bit(f->proto), f->port, f->port };
	grant.ports = ports;
	grant.rank.action = action;
	grant.rank.order = action == ACTION_DENY ? 0 : 1;
	/* A list beside those of its level: of two addresses' rules no order is given, so deny wins. */
	grant.rank.group = GROUP_BACKENDS;
	grant.rank.names = GROUP_NONE;
	return push_grant(g, &grant);
}

/* Two Services at one frontend: which of them kube-proxy takes is not known, so both must be admitted. */
static bool shared_and_spoiled(const struct gather *g, const struct frontend *f)
{
	for (size_t i = 0; i < g->nfronts; i++)
		if (g->fronts[i].proto == f->proto && g->fronts[i].port == f->port && !g->fronts[i].judged)
			return true;
	return false;
}

/* Where a Pass as written skips the backends' own word, the default is left to who has one. */
static int add_judged(struct gather *g, const struct frontend *f)
{
	int r;

	if (f->admitted && shared_and_spoiled(g, f))
		return 0;
	r = f->judged ? add_word(g, f, f->rule, f->action) : 0;
	if (r >= 0 && f->admitted && f->rule && !g->lo->isolated)
		r = add_word(g, f, 0, ACTION_ALLOW);
	return r;
}

static int push_range(struct lowering *lo, struct grant *out, size_t cap, uint32_t protos, uint32_t first,
		      uint32_t last)
{
	struct port_range *ports = (struct port_range *)out->ports;

	(void)lo;
	if (first > last)
		return 0;
	if (out->nports == cap)
		return -E2BIG;
	ports[out->nports++] = (struct port_range){ protos, (uint16_t)first, (uint16_t)last };
	return 0;
}

/* One range of one protocol, less the frontends' ports, which are in order. */
static void cut_range(struct gather *g, struct grant *out, size_t cap, uint32_t bit, const struct port_range *range)
{
	uint32_t first = range->first;

	for (size_t i = 0; i < g->nfronts; i++) {
		const struct frontend *f = &g->fronts[i];

		if (proto_bit(f->proto) != bit || f->port < first || f->port > range->last)
			continue;
		push_range(g->lo, out, cap, bit, first, (uint32_t)f->port - 1);
		first = (uint32_t)f->port + 1;
	}
	push_range(g->lo, out, cap, bit, first, range->last);
}

static int push_cut(struct gather *g, const struct grant *grant)
{
	static const struct port_range every = { .protos = PROTO_ALL, .first = 0, .last = UINT16_MAX };
	const struct port_range *from = grant->nports ? grant->ports : &every;
	size_t n = grant->nports ? grant->nports : 1, cap = n * 5 * (g->nfronts + 1);
	struct grant out = *grant;
	struct port_range *ports = lower_own_ports(g->lo, cap);

	if (!ports)
		return -ENOMEM;
	out.ports = ports;
	out.nports = 0;
	for (size_t i = 0; i < n; i++)
		for (uint32_t bit = 1; bit <= PROTO_ICMPV6; bit <<= 1)
			if (from[i].protos & bit)
				cut_range(g, &out, cap, bit, &from[i]);
	return out.nports ? push_grant(g, &out) : 0;
}

static int gather_rules(struct gather *g, bool inside)
{
	const struct sluice_addr *addr = &g->fronts[0].addr;

	for (size_t i = 0; i < g->lo->nrules; i++) {
		const struct addr_rule *rule = &g->lo->rules[i];
		int r = 0;

		if (!(inside ? rule->inside : rule->outside) || (g->cluster_ip && !rule->written) ||
		    !addr_rule_meets(rule, addr))
			continue;
		r = rule->written ? push_grant(g, &rule->grant) : push_cut(g, &rule->grant);
		if (r < 0)
			return r;
	}
	return 0;
}

static int intern_scope(struct gather *g, bool inside, uint32_t *ret)
{
	int r;

	g->ngrants = 0;
	free(g->grants);
	g->grants = NULL;
	r = gather_rules(g, inside);
	for (size_t i = 0; i < g->nfronts && r >= 0; i++)
		r = add_judged(g, &g->fronts[i]);
	return r < 0 ? r : sets_intern(&g->lo->parts.sets, g->grants, g->ngrants, g->kind, ret, NULL);
}

static int put_address(struct lowering *lo, const struct frontend *fronts, size_t n)
{
	struct gather g = { .lo = lo, .fronts = fronts, .nfronts = n };
	struct sluice_dest dest = {}, now = {};
	int r;

	for (size_t i = 0; i < n; i++)
		g.cluster_ip = g.cluster_ip || fronts[i].cluster_ip;
	dests_find(&lo->parts.dests, &fronts[0].addr, &now);
	r = intern_scope(&g, true, &dest.cluster_set);
	if (r >= 0 && g.cluster_ip)
		dest.set = dest.cluster_set;
	g.kind = lo->nnames > 0 && index_bars_names(lo->index, &fronts[0].addr) ? SET_BARRED : SET_ADDRESSES;
	if (r >= 0 && !g.cluster_ip)
		r = intern_scope(&g, false, &dest.set);
	free(g.grants);
	/* A ClusterIP is in the table of cluster addresses, so its other set is never asked for. */
	if (r < 0 || (dest.cluster_set == now.cluster_set && (g.cluster_ip || dest.set == now.set)))
		return r;
	return dests_put(&lo->parts.dests, &fronts[0].addr, &dest);
}

/* A name that leads to a Service may be asked where some pod behind it, ready or not, is admitted. */
static int ask_service(struct lowering *lo, const struct inventory_service *s)
{
	const struct members *m = service_members(lo->index, s);
	struct name_pattern pattern = {};
	const struct name_view name = name_view_of(&pattern);
	struct sluice_rule rule = {};
	bool admitted = false;

	if (!service_dns_name(lo->index, s, pattern.text, sizeof(pattern.text)))
		return 0;
	for (size_t i = 0; i < m->count && !admitted; i++)
		for (size_t p = 0; p < s->nports && !admitted; p++) {
			uint16_t port = member_port(&m->items[i], &s->ports[p]);

			admitted = port && judge_backend(lo, &m->items[i], s->ports[p].proto, port, &rule) &&
				   rule.verdict == SLUICE_ALLOW;
		}
	return admitted ? trie_add(&lo->parts.trie, &lo->parts.strings, &name, 0, rule.rule) : 0;
}

static int ask_services(struct lowering *lo)
{
	const struct inventory *inv = lo->index->inv;
	int r = 0;

	for (size_t i = 0; lo->isolated && lo->nnames > 0 && i < inv->nservices && r >= 0; i++)
		r = ask_service(lo, &inv->services[i]);
	return r;
}

int services_build(struct lowering *lo)
{
	const struct inventory *inv = lo->index->inv;
	struct frontends f = {};
	int r = ask_services(lo);

	for (size_t i = 0; i < inv->nservices && r >= 0; i++)
		r = add_service(lo, &f, &inv->services[i]);
	if (f.count > 1)
		qsort(f.items, f.count, sizeof(*f.items), compare_frontends);
	for (size_t i = 0, end; i < f.count && r >= 0; i = end) {
		for (end = i + 1; end < f.count && addr_compare(&f.items[end].addr, &f.items[i].addr) == 0;)
			end++;
		r = put_address(lo, f.items + i, end - i);
	}
	free(f.items);
	dests_sort(&lo->parts.dests);
	return r;
}
