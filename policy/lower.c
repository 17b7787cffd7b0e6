/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * The policies that select the endpoint, in canonical order, become address rules and name rules, each with a rule
 * number that leads back to its line and a rank that says how strong it is. Rule numbers are in that order too, so equal
 * selections give equal bytes.
 *
 * Peers of the cluster become the addresses the inventory has for them. What means every address of the cluster (`all`,
 * `cluster`, a rule without destination) stays one rule; the kernel's table of cluster addresses tells them apart.
 */
#include "policy/lower.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "policy/match.h"

/* Entries with more peers share one rule number, or each prefix of a long list would cost a rule set of its own. */
#define PEERS_WITH_OWN_RULE 64

static const struct sluice_prefix all_ipv4 = { .addr = { .b = { [10] = 0xff, [11] = 0xff } }, .bits = 96 };
static const struct sluice_prefix all_ipv6 = { .bits = 0 };

void lowering_clear(struct lowering *lo)
{
	dests_clear(&lo->parts.dests);
	sets_clear(&lo->parts.sets);
	trie_clear(&lo->parts.trie);
	strbuf_clear(&lo->parts.strings);
	free(lo->parts.sources);
	free(lo->parts.policies);
	free(lo->rules);
	free(lo->names);
	free(lo->ranks);
	for (size_t i = 0; i < lo->nowned; i++)
		free(lo->owned[i]);
	free(lo->owned);
}

static uint32_t add_string(struct lowering *lo, const char *text)
{
	uint32_t offset = (uint32_t)lo->parts.strings.len;

	strbuf_add(&lo->parts.strings, text, strlen(text) + 1);
	return offset;
}

struct port_range *lower_own_ports(struct lowering *lo, size_t n)
{
	struct port_range *ports = calloc(n ? n : 1, sizeof(*ports));
	struct port_range **slot = ports ? array_push(&lo->owned, &lo->nowned, sizeof(*slot)) : NULL;

	if (!slot) {
		free(ports);
		return NULL;
	}
	*slot = ports;
	return ports;
}

/* ---- ranks ------------------------------------------------------------------------------------------------------- */

static uint32_t tier_base(enum tier tier)
{
	switch (tier) {
	case TIER_ADMIN:
		return SLUICE_PRECEDENCE_ADMIN;
	case TIER_NAMESPACE:
		return SLUICE_PRECEDENCE_ALLOW;
	case TIER_BASELINE:
		return SLUICE_PRECEDENCE_BASELINE;
	}
	return 0;
}

static uint32_t level_of(const struct policy *p)
{
	return p->tier == TIER_NAMESPACE ? SLUICE_PRECEDENCE_ALLOW : tier_base(p->tier) + ((1000 - p->priority) << 6);
}

/* AWS's policies of a level are one list, in the order of their actions; each of upstream's is a list of its own. */
static uint32_t group_of(const struct policy *p, size_t place)
{
	return p->kind == POLICY_CLUSTER ? (uint32_t)place + 1 : 0;
}

static uint32_t action_order(enum action action)
{
	switch (action) {
	case ACTION_DENY:
		return 0;
	case ACTION_ALLOW:
		return 1;
	case ACTION_PASS:
		return 2;
	}
	return 0;
}

static bool has_names(const struct policy *p)
{
	for (size_t i = 0; i < p->nentries; i++)
		for (size_t k = 0; k < p->entries[i].npeers; k++)
			if (p->entries[i].peers[k].kind == PEER_NAME)
				return true;
	return false;
}

/* Which of the lists of a level has name rules. */
static uint32_t names_of_level(const struct selection *sel, uint32_t level)
{
	uint32_t found = GROUP_NONE;

	for (size_t i = 0; i < sel->count; i++) {
		const struct policy *p = sel->policies[i];
		uint32_t group = group_of(p, i);

		if (level_of(p) != level || !has_names(p))
			continue;
		found = found == GROUP_NONE || found == group ? group : GROUP_MANY;
	}
	return found;
}

static struct rank entry_rank(const struct lowering *lo, const struct entry *e)
{
	const struct policy *p = lo->policy;
	uint32_t index = (uint32_t)(e - p->entries);
	struct rank r = { .level = level_of(p), .group = lo->group, .action = e->action, .names = GROUP_NONE };

	if (p->kind == POLICY_CLUSTER) {
		r.order = index;
		r.precedence = r.level + 40 - index; /* the reader lets at most 25 through */
	} else {
		r.order = action_order(e->action);
		r.precedence = r.level + (policy_is_cluster(p) ? 3 - r.order : 1 - r.order);
	}
	r.names = lo->level_names;
	return r;
}

/* ---- rule numbers ------------------------------------------------------------------------------------------------ */

static int begin_policy(struct lowering *lo, const struct policy *p, size_t place)
{
	uint32_t *slot;

	lo->policy = p;
	lo->group = group_of(p, place);
	lo->level_names = policy_is_cluster(p) && lo->sel ? names_of_level(lo->sel, level_of(p)) : GROUP_NONE;
	if (lo->level_names == GROUP_MANY && lo->diags)
		diag_add(lo->diags, DIAG_WARNING, p->file, p->line, p->column,
			 "another ClusterNetworkPolicy of the same tier and priority (%u) has domainNames too; a Deny "
			 "or "
			 "Pass of either for an address comes before the names of both",
			 p->priority);
	lo->policy_title = add_string(lo, p->title);
	lo->policy_kind = add_string(lo, p->kind_name);
	lo->policy_file = add_string(lo, p->file);
	slot = array_push(&lo->parts.policies, &lo->parts.npolicies, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	*slot = lo->policy_title;
	return 0;
}

/* A rule number for "WORDS PORTS" at a line. */
static int add_source(struct lowering *lo, uint32_t line, uint32_t column, const char *words, const char *ports,
		      const struct rank *rank, uint32_t *ret)
{
	struct fmt_source *s = array_push(&lo->parts.sources, &lo->parts.nsources, sizeof(*s));
	struct rank *slot = array_push(&lo->ranks, &lo->nranks, sizeof(*slot));

	if (!s || !slot)
		return -ENOMEM;
	*slot = *rank;
	s->policy = lo->policy_title;
	s->kind = lo->policy_kind;
	s->file = lo->policy_file;
	s->line = line;
	s->column = column;
	s->text = (uint32_t)lo->parts.strings.len;
	strbuf_addf(&lo->parts.strings, "%s %s", words, ports ? ports : "any port");
	strbuf_add(&lo->parts.strings, "", 1);
	*ret = (uint32_t)lo->parts.nsources;
	return 0;
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static struct addr_rule *add_rule(struct lowering *lo, const struct grant *grant, const struct sluice_prefix *prefix)
{
	struct addr_rule *r = array_push(&lo->rules, &lo->nrules, sizeof(*r));

	if (!r)
		return NULL;
	r->prefix = *prefix;
	r->outside = true;
	r->grant = *grant;
	return r;
}

struct addr_rule *lower_address(struct lowering *lo, const struct grant *grant, const struct sluice_addr *addr)
{
	const struct sluice_prefix prefix = { .addr = *addr, .bits = 128 };
	struct addr_rule *r = add_rule(lo, grant, &prefix);

	if (r) {
		r->inside = true;
		r->cluster = true;
	}
	return r;
}

static int lower_everywhere(struct lowering *lo, const struct grant *grant, bool outside, bool inside)
{
	const struct sluice_prefix *const families[] = { &all_ipv4, &all_ipv6 };

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct addr_rule *r = add_rule(lo, grant, families[i]);

		if (!r)
			return -ENOMEM;
		r->outside = outside;
		r->inside = inside;
	}
	return 0;
}

static int lower_prefix(struct lowering *lo, const struct grant *grant, const struct peer *peer,
			const struct sluice_prefix *prefix)
{
	struct addr_rule *r = add_rule(lo, grant, prefix);

	if (!r)
		return -ENOMEM;
	r->inside = peer->cluster;
	r->written = peer->cluster;
	r->excepts = peer->excepts;
	r->nexcepts = peer->nexcepts;
	return 0;
}

static void say(struct lowering *lo, const struct peer *peer, const char *format, const char *what)
{
	if (lo->diags)
		diag_add(lo->diags, DIAG_WARNING, lo->policy->file, peer->line, peer->column, format, what);
}

static int lower_groups(struct lowering *lo, const struct grant *grant, const struct peer *peer)
{
	const struct policy *group;
	size_t at = 0, found = 0;

	while ((group = select_group(lo->store, peer, &at))) {
		found++;
		for (size_t i = 0; i < group->nprefixes; i++)
			if (lower_prefix(lo, grant, peer, &group->prefixes[i]) < 0)
				return -ENOMEM;
	}
	if (found == 0)
		say(lo, peer, "%s: no such CiliumCIDRGroup is in force; it stands for no address", peer->text);
	return 0;
}

/* ---- pods -------------------------------------------------------------------------------------------------------- */

static uint32_t proto_bit(uint8_t proto)
{
	return proto == IPPROTO_TCP    ? PROTO_TCP
	       : proto == IPPROTO_UDP  ? PROTO_UDP
	       : proto == IPPROTO_SCTP ? PROTO_SCTP
				       : 0;
}

static size_t resolve_named(const struct entry *e, const struct subject *pod, struct port_range *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < e->nnamed; i++) {
		for (size_t k = 0; k < pod->nports; k++) {
			const struct pod_port *p = &pod->ports[k];

			if (!p->name || strcmp(p->name, e->named[i].name) != 0 ||
			    !(e->named[i].protos & proto_bit(p->proto)))
				continue;
			if (ret)
				ret[n] = (struct port_range){ proto_bit(p->proto), p->port, p->port };
			n++;
		}
	}
	return n;
}

/* The entry's ports at that pod. 1: it has none of them. */
static int pod_grant(struct lowering *lo, const struct entry *e, const struct subject *pod, struct grant *grant)
{
	size_t n = resolve_named(e, pod, NULL);
	struct port_range *ports;

	if (e->nnamed == 0)
		return 0;
	if (n + e->nports == 0)
		return 1;
	ports = lower_own_ports(lo, n + e->nports);
	if (!ports)
		return -ENOMEM;
	if (e->nports > 0)
		memcpy(ports, e->ports, e->nports * sizeof(*ports));
	resolve_named(e, pod, ports + e->nports);
	grant->ports = ports;
	grant->nports = n + e->nports;
	return 0;
}

static int lower_pod(struct lowering *lo, const struct entry *e, const struct grant *grant, const struct subject *pod)
{
	struct grant own = *grant;
	int r = pod_grant(lo, e, pod, &own);

	for (size_t i = 0; r == 0 && i < pod->naddrs; i++)
		if (!lower_address(lo, &own, &pod->addrs[i]))
			return -ENOMEM;
	return r < 0 ? r : 0;
}

static int lower_pods(struct lowering *lo, const struct entry *e, const struct grant *grant,
		      const struct selector *selector)
{
	const struct picked *found;

	if (resolver_find(lo->resolver, selector, e->action == ACTION_DENY, &found) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < lo->index->npods; i++)
		if (picked_has(found, &lo->resolver->pods.slots, i) && lower_pod(lo, e, grant, lo->index->pods[i]) < 0)
			return -ENOMEM;
	return 0;
}

/*
 * Whether a Pass means them is not known, as their Namespace is not: with it an allow of a lower tier might open them,
 * without it one of this tier. So they are denied here.
 */
static int lower_doubtful(struct lowering *lo, const struct entry *e, const struct grant *grant,
			  const struct peer *peer)
{
	struct grant deny = *grant;
	const struct picked *found;

	if (e->action != ACTION_PASS || !resolver_doubts(lo->resolver, &peer->selector))
		return 0;
	if (resolver_find(lo->resolver, &peer->selector, true, &found) < 0)
		return -ENOMEM;
	deny.rank.action = ACTION_DENY;
	for (size_t i = 0; i < lo->index->npods; i++) {
		const struct subject *pod = lo->index->pods[i];

		if (!picked_has(found, &lo->resolver->pods.slots, i) ||
		    selector_match_peer(&peer->selector, pod, lo->index->inv) != MATCH_UNKNOWN)
			continue;
		if (lower_pod(lo, e, &deny, pod) < 0)
			return -ENOMEM;
	}
	return 0;
}

static bool node_fits(const struct peer *peer, const struct inventory_node *node)
{
	switch (peer->nodes) {
	case NODES_ALL:
		return selector_matches_labels(&peer->selector, node->labels, node->nlabels);
	case NODES_LOCAL:
		return node->local;
	case NODES_REMOTE:
		return !node->local;
	}
	return false;
}

static int lower_nodes(struct lowering *lo, const struct grant *grant, const struct peer *peer)
{
	const struct inventory *inv = lo->index->inv;

	for (size_t i = 0; i < inv->nnodes; i++)
		for (size_t k = 0; node_fits(peer, &inv->nodes[i]) && k < inv->nodes[i].naddrs; k++)
			if (!lower_address(lo, grant, &inv->nodes[i].addrs[k]))
				return -ENOMEM;
	return 0;
}

/* ---- Services as peers ------------------------------------------------------------------------------------------- */

/*
 * To Cilium a Service with a selector stands for its pods, and one without for prefixes, which mean no address of the
 * cluster. A pod on its node's network is the node, and no pod. `all`: every backend, whatever it is.
 */
static bool member_counts(const struct inventory_service *s, const struct member *m, bool all)
{
	if (all)
		return true;
	return s->nselector == 0 || (m->pod && !m->pod->host_network);
}

static int lower_members(struct lowering *lo, const struct entry *e, const struct grant *grant,
			 const struct inventory_service *s, bool all)
{
	const struct members *m = service_members(lo->index, s);

	for (size_t i = 0; i < m->count; i++) {
		struct grant own = *grant;
		struct addr_rule *rule;
		int r = e->nnamed == 0 ? 0 : m->items[i].pod ? pod_grant(lo, e, m->items[i].pod, &own) : 1;

		if (r < 0)
			return r;
		if (r > 0 || !member_counts(s, &m->items[i], all))
			continue;
		rule = lower_address(lo, &own, &m->items[i].addr);
		if (!rule)
			return -ENOMEM;
		rule->inside = all || s->nselector > 0;
		rule->cluster = rule->inside;
	}
	return 0;
}

bool lower_service_fits(const struct peer *peer, const struct inventory_service *s)
{
	if (peer->service_namespace && strcmp(peer->service_namespace, s->namespace_name) != 0)
		return false;
	if (peer->service)
		return strcmp(peer->service, s->name) == 0;
	return selector_matches_labels(&peer->selector, s->labels, s->nlabels);
}

static int lower_services(struct lowering *lo, const struct entry *e, const struct grant *grant,
			  const struct peer *peer)
{
	const struct inventory *inv = lo->index->inv;

	for (size_t i = 0; i < inv->nservices; i++)
		if (lower_service_fits(peer, &inv->services[i]) &&
		    lower_members(lo, e, grant, &inv->services[i], false) < 0)
			return -ENOMEM;
	return 0;
}

/* Wherever it runs: on a node, in a pod, or beyond the cluster. */
static int lower_apiserver(struct lowering *lo, const struct entry *e, const struct grant *grant)
{
	const struct inventory *inv = lo->index->inv;
	int r = 0;

	for (size_t i = 0; i < inv->nservices && r >= 0; i++)
		if (service_is_api_server(&inv->services[i]))
			r = lower_members(lo, e, grant, &inv->services[i], true);
	return r;
}

/* ---- peers ------------------------------------------------------------------------------------------------------- */

static int lower_name(struct lowering *lo, const struct entry *e, const struct grant *grant, const struct peer *peer)
{
	struct name_rule *n = array_push(&lo->names, &lo->nnames, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->name = &peer->name;
	n->entry = e;
	n->grant = *grant;
	n->ask = peer->kind == PEER_ASK;
	return peer->pods ? lower_pod_names(lo, n) : 0;
}

/* Ports by container names exist at pods only, so they make one rule per pod of what else is one for all. */
static int lower_all(struct lowering *lo, const struct entry *e, const struct grant *grant, bool outside)
{
	if (e->nnamed == 0)
		return lower_everywhere(lo, grant, outside, true);
	if (lower_pods(lo, e, grant, NULL) < 0)
		return -ENOMEM;
	return e->nports ? lower_everywhere(lo, grant, outside, true) : 0;
}

static int lower_peer(struct lowering *lo, const struct entry *e, const struct peer *peer, const struct grant *grant)
{
	/* Only pods have ports with names, and each peer that means pods looks them up. */
	bool bare = e->nnamed > 0 && e->nports == 0;

	switch (peer->kind) {
	case PEER_ANY:
		return lower_all(lo, e, grant, true);
	case PEER_WORLD:
		return lower_everywhere(lo, grant, true, false);
	case PEER_CLUSTER:
		return lower_all(lo, e, grant, false);
	case PEER_CIDR:
		return lower_prefix(lo, grant, peer, &peer->prefix);
	case PEER_CIDR_GROUP:
		return lower_groups(lo, grant, peer);
	case PEER_PODS:
		return lower_pods(lo, e, grant, &peer->selector) < 0 ? -ENOMEM : lower_doubtful(lo, e, grant, peer);
	case PEER_NODES:
		return bare ? 0 : lower_nodes(lo, grant, peer);
	case PEER_APISERVER:
		return lower_apiserver(lo, e, grant);
	case PEER_SERVICE:
		return lower_services(lo, e, grant, peer);
	case PEER_NAME:
	case PEER_ASK:
		return lower_name(lo, e, grant, peer);
	}
	return 0;
}

static bool by_address(enum peer_kind kind)
{
	return kind != PEER_NAME && kind != PEER_ASK;
}

static const char *entry_words(const struct lowering *lo, const struct entry *e)
{
	if (policy_is_cluster(lo->policy))
		return e->action == ACTION_DENY ? "Deny rule" : e->action == ACTION_PASS ? "Pass rule" : "Accept rule";
	return e->action == ACTION_DENY ? "egressDeny entry" : "egress entry";
}

static int peer_source(struct lowering *lo, const struct entry *e, const struct peer *peer, const struct rank *rank,
		       uint32_t *ret)
{
	_cleanup_free_ char *words = NULL;
	const char *action = policy_is_cluster(lo->policy) && e->action == ACTION_DENY	 ? "Deny "
			     : policy_is_cluster(lo->policy) && e->action == ACTION_PASS ? "Pass "
											 : "";

	if (asprintf(&words, "%s%s", action, peer->text) < 0) {
		words = NULL;
		return -ENOMEM;
	}
	return add_source(lo, peer->line, peer->column, words, peer->kind == PEER_ASK ? "(ask only)" : e->ports_text,
			  rank, ret);
}

static int lower_entry(struct lowering *lo, const struct entry *e)
{
	struct grant grant = { .ports = e->ports, .nports = e->nports, .rank = entry_rank(lo, e) };
	bool shared = e->npeers > PEERS_WITH_OWN_RULE;
	uint32_t shared_rule = 0;
	int r = 0;

	for (size_t i = 0; !e->nothing && i < e->npeers && r >= 0; i++) {
		const struct peer *peer = &e->peers[i];

		if (!shared || !by_address(peer->kind))
			r = peer_source(lo, e, peer, &grant.rank, &grant.rule);
		else if (!shared_rule)
			r = add_source(lo, e->line, e->column, entry_words(lo, e), e->ports_text, &grant.rank,
				       &shared_rule);
		if (shared && by_address(peer->kind))
			grant.rule = shared_rule;
		if (r >= 0)
			r = lower_peer(lo, e, peer, &grant);
	}
	return r;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static const struct rank default_rank = {
	.level = SLUICE_PRECEDENCE_DEFAULT,
	.precedence = SLUICE_PRECEDENCE_DEFAULT,
	.names = GROUP_NONE,
	.action = ACTION_ALLOW,
};

static int begin(struct lowering *lo, const struct inventory_index *index)
{
	struct rank *slot;

	lo->index = index;
	if (trie_init(&lo->parts.trie) < 0)
		return -ENOMEM;
	slot = array_push(&lo->ranks, &lo->nranks, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	*slot = default_rank;
	return 0;
}

int lower_policies(struct lowering *lo, const struct store *s, const struct selection *sel, struct resolver *resolver,
		   struct diags *diags)
{
	const struct grant everything = { .rank = default_rank };
	int r;

	lo->store = s;
	lo->sel = sel;
	lo->resolver = resolver;
	lo->diags = diags;
	lo->isolated = sel->isolated;
	r = begin(lo, &resolver->index);
	for (size_t i = 0; i < sel->count && r >= 0; i++) {
		const struct policy *p = sel->policies[i];

		r = begin_policy(lo, p, i);
		/* Who is isolated never comes to the Baseline tier. */
		for (size_t k = 0; k < p->nentries && r >= 0 && !(p->tier == TIER_BASELINE && lo->isolated); k++)
			r = lower_entry(lo, &p->entries[k]);
	}
	if (r >= 0 && !lo->isolated)
		r = lower_everywhere(lo, &everything, true, true);
	return r;
}

int lower_refusal(struct lowering *lo, const struct policy *p)
{
	static const struct inventory nothing = {};
	static const struct inventory_index no_index = { .inv = &nothing };
	struct rank rank = { .level = SLUICE_PRECEDENCE_ADMIN + (1000u << 6),
			     .precedence = SLUICE_PRECEDENCE_ADMIN + (1000u << 6) + SLUICE_PRECEDENCE_SUB,
			     .names = GROUP_NONE,
			     .action = ACTION_DENY };
	struct grant deny = { .rank = rank };
	_cleanup_free_ char *words = NULL;
	int r;

	if (asprintf(&words, "refused: %s;", p->refusal) < 0) {
		words = NULL;
		return -ENOMEM;
	}
	lo->isolated = true;
	r = begin(lo, &no_index);
	if (r >= 0)
		r = begin_policy(lo, p, 0);
	if (r >= 0)
		r = add_source(lo, p->line, p->column, words, "everything is denied", &rank, &deny.rule);
	if (r < 0 || lower_everywhere(lo, &deny, true, true) < 0)
		return -ENOMEM;
	/* As written: a refusal closes ClusterIPs too. */
	for (size_t i = 0; i < lo->nrules; i++)
		lo->rules[i].written = true;
	return 0;
}
