/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/model/evaluator.h"

#include <netinet/in.h>
#include <string.h>

#include "tests/model/eval_private.h"

/* ---- loading --------------------------------------------------------------------------------------------------- */

static const struct {
	const char *api_version;
	const char *kind;
	enum ev_kind is;
	bool namespaced;
} kinds[] = {
	{ "cilium.io/v2", "CiliumNetworkPolicy", EV_CNP, true },
	{ "cilium.io/v2", "CiliumClusterwideNetworkPolicy", EV_CCNP, false },
	{ "cilium.io/v2", "CiliumCIDRGroup", EV_CIDR_GROUP, false },
	{ "cilium.io/v2alpha1", "CiliumCIDRGroup", EV_CIDR_GROUP, false },
	{ "networking.k8s.aws/v1alpha1", "ApplicationNetworkPolicy", EV_ANP, true },
	{ "networking.k8s.io/v1", "NetworkPolicy", EV_NETWORK_POLICY, true },
	{ "networking.k8s.aws/v1alpha1", "ClusterNetworkPolicy", EV_AWS_CLUSTER, false },
	{ "policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", EV_UPSTREAM_CLUSTER, false },
};

static bool add_spec(struct ev_policies *to, struct ev_policy p, const struct ynode *spec)
{
	if (to->count == EV_MAX)
		return false;
	p.spec = spec;
	to->items[to->count++] = p;
	return true;
}

static bool add_object(struct ev_policies *to, const struct ynode *object)
{
	const struct ynode *metadata = ynode_get(object, "metadata"), *specs = ynode_get(object, "specs");
	struct ev_policy p = { .object = object };
	size_t k = 0, n = sizeof(kinds) / sizeof(kinds[0]);

	while (k < n && (!ev_is(ynode_get(object, "kind"), kinds[k].kind) ||
			 !ev_is(ynode_get(object, "apiVersion"), kinds[k].api_version)))
		k++;
	if (k == n || !metadata)
		return false;
	p.kind = kinds[k].is;
	p.name = ynode_get(metadata, "name")->text;
	if (kinds[k].namespaced)
		p.namespace_name =
			ynode_get(metadata, "namespace") ? ynode_get(metadata, "namespace")->text : "default";
	if (ynode_get(object, "spec") && !add_spec(to, p, ynode_get(object, "spec")))
		return false;
	for (size_t i = 0; i < ev_count(specs); i++)
		if (!add_spec(to, p, specs->items[i]))
			return false;
	return true;
}

bool ev_load(const struct ydocs *docs, struct ev_policies *ret)
{
	ret->count = 0;
	for (size_t i = 0; i < docs->count; i++)
		if (!ynode_is_null(docs->roots[i]) && !add_object(ret, docs->roots[i]))
			return false;
	return true;
}

/* ---- who is selected ------------------------------------------------------------------------------------------- */

static bool is_cilium(const struct ev_policy *p)
{
	return p->kind == EV_CNP || p->kind == EV_CCNP;
}

static bool is_cluster(const struct ev_policy *p)
{
	return p->kind == EV_AWS_CLUSTER || p->kind == EV_UPSTREAM_CLUSTER;
}

static bool selected_by(const struct world *w, const struct ev_policy *p, const struct world_pod *from)
{
	if (p->kind == EV_CIDR_GROUP)
		return false;
	return is_cilium(p) ? ev_cilium_subject(w, p, from) : ev_k8s_subject(w, p, from);
}

/* A NetworkPolicy or ApplicationNetworkPolicy that isolates nobody has no egress rules that count. */
static bool counts(const struct ev_policy *p)
{
	return is_cilium(p) || is_cluster(p) || ev_k8s_isolates(p);
}

bool ev_isolated(const struct ev_policies *p, const struct world *w, const struct world_pod *from)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct ev_policy *q = &p->items[i];

		if (!selected_by(w, q, from) || is_cluster(q))
			continue;
		if (is_cilium(q) ? ev_cilium_isolates(q) : ev_k8s_isolates(q))
			return true;
	}
	return false;
}

/* Who is isolated never comes to the Baseline tier, so its names are none of theirs. */
static bool out_of_reach(const struct ev_policy *p, bool isolated)
{
	return isolated && is_cluster(p) && ev_is(ynode_get(p->spec, "tier"), "Baseline");
}

static bool some_name(const struct ev_policies *p, const struct world *w, const struct world_pod *from,
		      const char *name, bool opens)
{
	bool isolated = ev_isolated(p, w, from);

	for (size_t i = 0; i < p->count; i++) {
		const struct ev_policy *q = &p->items[i];

		if (!selected_by(w, q, from) || !counts(q) || out_of_reach(q, isolated))
			continue;
		if (is_cilium(q) ? ev_cilium_name(q, name, opens) : ev_k8s_name(q, name))
			return true;
	}
	return false;
}

bool ev_has_names(const struct ev_policies *p, const struct world *w, const struct world_pod *from)
{
	return some_name(p, w, from, NULL, false);
}

bool ev_opens(const struct ev_policies *p, const struct world *w, const struct world_pod *from, const char *name)
{
	return some_name(p, w, from, name, true);
}

/* Section 4: isolated endpoints ask what is listed, others with name rules ask everything. */
bool ev_may_ask(const struct ev_policies *p, const struct world *w, const struct world_pod *from, const char *name)
{
	return ev_isolated(p, w, from) ? some_name(p, w, from, name, false) : ev_has_names(p, w, from);
}

/* ---- tiers ----------------------------------------------------------------------------------------------------- */

/*
 * Where a flow was decided. Levels, in the order they are asked: Admin priorities, the namespace tier, Baseline
 * priorities, and last the default of whoever is not isolated.
 */
struct decision {
	long level;
	bool allowed;
	bool by_rule; /* not by a default */
};

#define LEVEL_ADMIN	1
#define LEVEL_NAMESPACE 10000
#define LEVEL_BASELINE	20000
#define LEVEL_DEFAULT	30000

static bool in_tier(const struct ev_policy *p, const char *tier)
{
	return is_cluster(p) && ev_is(ynode_get(p->spec, "tier"), tier);
}

/* What the policies of one tier and priority say together: Deny, then Accept, then Pass. */
static enum ev_action at_priority(const struct ev_ctx *c, const char *tier, long level, long priority)
{
	enum ev_action best = c->word.level == level + priority ? c->word.action : EV_NONE;

	for (size_t i = 0; i < c->policies->count; i++) {
		const struct ev_policy *p = &c->policies->items[i];

		if (in_tier(p, tier) && ev_number(ynode_get(p->spec, "priority")) == priority &&
		    selected_by(c->world, p, c->flow->from)) {
			enum ev_action action = ev_cluster_action(c, p);

			best = action > best ? action : best;
		}
	}
	return best;
}

/* The least priority above `after` that some policy of the tier has; -1: no more. */
static long next_priority(const struct ev_policies *policies, const char *tier, long after)
{
	long next = -1;

	for (size_t i = 0; i < policies->count; i++) {
		const struct ev_policy *p = &policies->items[i];
		long n = in_tier(p, tier) ? ev_number(ynode_get(p->spec, "priority")) : -1;

		if (n > after && (next < 0 || n < next))
			next = n;
	}
	return next;
}

/* Section 2, points 1 and 3. True: decided; a Pass goes on to the next tier, past all that is left of this one. */
static bool cluster_tier(const struct ev_ctx *c, const char *tier, long level, struct decision *ret)
{
	for (long p = next_priority(c->policies, tier, -1); p >= 0; p = next_priority(c->policies, tier, p)) {
		enum ev_action action = at_priority(c, tier, level, p);

		if (action == EV_PASS)
			return false;
		if (action == EV_NONE)
			continue;
		ret->level = level + p;
		ret->allowed = action == EV_ACCEPT;
		ret->by_rule = true;
		return true;
	}
	return false;
}

/* Section 2, point 2: deny beats allow, allows are a union, whoever is isolated and matches nothing is denied. */
static bool namespace_tier(const struct ev_ctx *c, struct decision *ret)
{
	bool here = c->word.level == LEVEL_NAMESPACE;
	bool allowed = here && c->word.action == EV_ACCEPT, denied = here && c->word.action == EV_DENY;

	for (size_t i = 0; i < c->policies->count; i++) {
		const struct ev_policy *p = &c->policies->items[i];

		if (is_cluster(p) || !counts(p) || !selected_by(c->world, p, c->flow->from))
			continue;
		if (is_cilium(p)) {
			allowed |= ev_cilium_matches(c, p, "egress");
			denied |= ev_cilium_matches(c, p, "egressDeny");
		} else {
			allowed |= ev_k8s_allows(c, p);
		}
	}
	ret->level = LEVEL_NAMESPACE;
	ret->allowed = allowed && !denied;
	ret->by_rule = allowed || denied;
	return allowed || denied || ev_isolated(c->policies, c->world, c->flow->from);
}

static struct decision through_tiers(const struct ev_ctx *c)
{
	struct decision d = {};

	if (cluster_tier(c, "Admin", LEVEL_ADMIN, &d) || namespace_tier(c, &d) ||
	    cluster_tier(c, "Baseline", LEVEL_BASELINE, &d))
		return d;
	return (struct decision){ .level = LEVEL_DEFAULT, .allowed = true };
}

/* ---- destinations ---------------------------------------------------------------------------------------------- */

static struct decision judge(const struct ev_policies *p, const struct world *w, const struct ev_flow *flow);

static bool is_backend(const struct world_service *s, const struct world_pod *pod)
{
	if (!pod->ready || pod->finished || s->selector.count == 0 ||
	    strcmp(pod->namespace_name, s->namespace_name) != 0)
		return false;
	for (size_t i = 0; i < s->selector.count; i++) {
		size_t k = 0;

		while (k < pod->labels.count && (strcmp(pod->labels.items[k].key, s->selector.items[i].key) != 0 ||
						 strcmp(pod->labels.items[k].value, s->selector.items[i].value) != 0))
			k++;
		if (k == pod->labels.count)
			return false;
	}
	return true;
}

struct backend {
	struct sluice_addr addr;
	uint16_t port;
};

/* A pod without the port that a name asks for is no backend of it. */
static uint16_t target_port(const struct world_service_port *port, const struct world_pod *pod)
{
	if (!port->target_name)
		return port->target;
	for (size_t i = 0; i < pod->nports; i++)
		if (strcmp(pod->ports[i].name, port->target_name) == 0 && pod->ports[i].proto == port->proto)
			return pod->ports[i].number;
	return 0;
}

/* Those of the ClusterIP's own family. */
static size_t backends_of(const struct world *w, const struct world_service *s, const struct world_service_port *port,
			  bool v4, struct backend *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < w->npods; i++) {
		const struct world_pod *pod = &w->pods[i];
		uint16_t number = target_port(port, pod);

		for (size_t k = 0; number && is_backend(s, pod) && k < pod->addrs.count; k++)
			if (addr_is_ipv4(&pod->addrs.items[k]) == v4)
				ret[n++] = (struct backend){ pod->addrs.items[k], number };
	}
	for (size_t k = 0; s->selector.count == 0 && k < s->outside.count; k++)
		if (addr_is_ipv4(&s->outside.items[k]) == v4)
			ret[n++] = (struct backend){ s->outside.items[k], port->target };
	return n;
}

static const struct world_service_port *service_port(const struct world_service *s, uint8_t proto, uint16_t port)
{
	for (size_t i = 0; i < s->nports; i++)
		if (s->ports[i].proto == proto && s->ports[i].port == port)
			return &s->ports[i];
	return NULL;
}

/* What the ready backends say together: the earliest denial, else, if all are admitted, the latest admission. */
static bool ask_backends(const struct ev_ctx *c, struct decision *ret)
{
	const struct world_service_port *port = service_port(c->dest.service, c->flow->proto, c->flow->port);
	struct backend backends[WORLD_MAX * WORLD_ADDRS];
	size_t n = port ? backends_of(c->world, c->dest.service, port, addr_is_ipv4(&c->flow->to), backends) : 0;
	bool all = n > 0, denied = false;

	for (size_t i = 0; i < n; i++) {
		struct ev_flow flow = { c->flow->from, backends[i].addr, c->flow->proto, backends[i].port, NULL, 0 };
		struct decision d = judge(c->policies, c->world, &flow);
		bool denial = !d.allowed && d.by_rule;

		all &= d.allowed;
		if (denial ? !denied || d.level < ret->level : !denied && (i == 0 || d.level > ret->level))
			*ret = d;
		denied |= denial;
	}
	return denied || all;
}

/*
 * Section 7: admitted when every ready backend, on its target port, is; denied when any is denied, by whatever kind of
 * rule. That word counts where the rule it came from does, beside the CIDRs of the other kinds that hold the ClusterIP
 * itself. Where nothing speaks it is denied, also for who is not isolated (hazard 13: a ClusterIP with no backend).
 */
static struct decision judge_service(const struct ev_ctx *c)
{
	struct decision said = {}, d;
	bool speaks = ask_backends(c, &said);
	struct ev_ctx with = *c;

	if (speaks && said.by_rule)
		with.word = (struct ev_word){ said.level, said.allowed ? EV_ACCEPT : EV_DENY };
	d = through_tiers(&with);
	if (!d.by_rule)
		d.allowed &= speaks && said.allowed;
	return d;
}

/* Hazard 12: what denies the IPv4 address inside an IPv6 one denies the packet too; what allows it allows nothing. */
static struct decision judge_embedded(const struct ev_ctx *c, const struct sluice_addr *v4, struct decision own)
{
	struct ev_flow flow = { c->flow->from, *v4, c->flow->proto, c->flow->port, NULL, 0 };
	struct decision d = judge(c->policies, c->world, &flow);

	return !d.allowed && d.by_rule && d.level <= own.level ? d : own;
}

static struct decision judge(const struct ev_policies *p, const struct world *w, const struct ev_flow *flow)
{
	struct ev_ctx c = { .policies = p, .world = w, .flow = flow, .dest = ev_find_dest(w, &flow->to) };
	struct sluice_addr v4;
	bool embeds = ev_embedded_v4(&flow->to, &v4);
	struct ev_dest d4 = embeds ? ev_find_dest(w, &v4) : (struct ev_dest){};
	struct decision d;

	if (ev_never_leaves(&flow->to))
		return (struct decision){ .level = -1, .by_rule = true };
	c.names_count = !ev_in_cluster(&c.dest) && !c.dest.api_server && !ev_no_name_opens(&flow->to) &&
			!ev_in_cluster(&d4) && !d4.api_server;
	d = c.dest.service ? judge_service(&c) : through_tiers(&c);
	return embeds ? judge_embedded(&c, &v4, d) : d;
}

/* Section 2, point 4. */
static bool selected(const struct ev_policies *p, const struct world *w, const struct world_pod *from)
{
	for (size_t i = 0; i < p->count; i++)
		if (selected_by(w, &p->items[i], from) && counts(&p->items[i]))
			return true;
	return false;
}

bool ev_allowed(const struct ev_policies *p, const struct world *w, const struct ev_flow *flow)
{
	return !selected(p, w, flow->from) || judge(p, w, flow).allowed;
}

bool ev_dns_allowed(const struct ev_policies *p, const struct world *w, const struct ev_flow *flow)
{
	struct ev_flow without = { flow->from, flow->to, flow->proto, flow->port, NULL, 0 };
	struct decision d = judge(p, w, &without);

	return d.allowed || !d.by_rule;
}
