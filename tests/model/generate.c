/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/model/generate.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"

/* xorshift64*, Vigna 2016: repeatable everywhere. */
uint32_t chance(struct rng *r, uint32_t below)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return (uint32_t)((r->state * 2685821657736338717ull) >> 33) % below;
}

#define PICK(r, list) ((list)[chance(r, ARRAY_SIZE(list))])

/* ---- what there is --------------------------------------------------------------------------------------------- */

static const char *const namespaces[] = { "a", "b", "default" };
static const char *const apps[] = { "web", "db", "dns" };
static const char *const tiers[] = { "front", "back" };
static const char *const teams[] = { "red", "blue" };
static const char *const accounts[] = { "default", "runner" };
static const char *const port_names[] = { "http", "dns" };
static const char *const service_names[] = { "s0", "s1", "s2" };

static const char *const cidrs[] = { "0.0.0.0/0",     "10.0.0.0/8",	   "10.0.0.0/29",    "10.0.0.2/31",
				     "10.0.0.1/32",   "10.1.0.0/16",	   "10.1.0.1/32",    "172.20.0.0/16",
				     "172.20.0.1/32", "192.0.0.0/16",	   "192.0.2.0/24",   "192.0.2.0/25",
				     "192.0.2.0/28",  "192.0.2.1/32",	   "192.0.2.128/25", "198.51.100.0/24",
				     "::/0",	      "2001:db8::/32",	   "2001:db8::/64",  "2001:db8::1/128",
				     "fd00::/8",      "fd00::1/128",	   "fd02::/112",     "64:ff9b::/96",
				     "2002::/16",     "169.254.169.254/32" };
static const char *const outside[] = { "192.0.2.1",    "192.0.2.2",   "192.0.2.10",  "192.0.2.129",   "192.0.3.1",
				       "198.51.100.1", "2001:db8::1", "2001:db8::2", "2001:db8:1::1", "2001:db9::1" };
static const char *const odd[] = { "169.254.169.254",	"127.0.0.1",	   "224.0.0.1",	       "172.20.0.77",
				   "10.0.0.77",		"fe80::1",	   "ff02::1",	       "fd00:ec2::254",
				   "64:ff9b::c000:201", "64:ff9b::a00:1",  "2002:c000:201::1", "::1",
				   "::ffff:0:c000:201", "100.100.100.200", "fd20:ce::254",     "192.0.0.192" };

static const char *const cilium_patterns[] = { "a.example.com",	   "b.example.com",   "*.example.com",
					       "**.example.com",   "a*.example.com",  "*b.example.com",
					       "a.*.com",	   "x.a.example.com", "*.a.example.com",
					       "example.com",	   "*.*.example.com", "*a*.example.com",
					       "A.Example.COM.",   "*.com",	      "*",
					       "**.a.example.com", "*example.com" };
static const char *const aws_patterns[] = { "a.example.com",   "b.example.com", "*.example.com",  "x.a.example.com",
					    "*.a.example.com", "example.com",	"B.Example.com.", "*.x.a.example.com" };
const char *const asked_names[] = { "a.example.com", "b.example.com", "ab.example.com",	   "x.a.example.com",
				    "example.com",   "a.other.com",   "y.x.a.example.com", "com",
				    "a.example.net", "xexample.com" };
const size_t nasked_names = ARRAY_SIZE(asked_names);

static const uint16_t numbers[] = { 53, 80, 443, 8080, 6443 };
static const uint16_t near_numbers[] = { 53, 80, 443, 8080, 6443, 79, 81, 444, 1024, 1025, 8079, 65535, 1 };
static const struct {
	uint16_t first;
	uint16_t last;
} ranges[] = { { 79, 81 }, { 1, 1024 }, { 443, 443 }, { 80, 443 }, { 8000, 8100 }, { 81, 65535 }, { 444, 8080 } };

/* ---- the cluster ----------------------------------------------------------------------------------------------- */

static void add_addr(struct world_addrs *list, const char *prefix, unsigned int n)
{
	char text[ADDR_TEXT_MAX];

	snprintf(text, sizeof(text), "%s%x", prefix, n);
	if (addr_parse(text, &list->items[list->count]) == 0)
		list->count++;
}

static void add_label(struct world_labels *list, const char *key, const char *value)
{
	list->items[list->count++] = (struct world_label){ key, value };
}

static void make_pod(struct rng *r, struct world *w, unsigned int i)
{
	static const char *const names[] = { "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7" };
	struct world_pod *p = &w->pods[w->npods++];

	p->namespace_name = namespaces[chance(r, 8) ? i % 2 : 2];
	p->name = names[i];
	p->account = PICK(r, accounts);
	add_label(&p->labels, "app", PICK(r, apps));
	if (chance(r, 3))
		add_label(&p->labels, "tier", PICK(r, tiers));
	p->host_network = i > 0 && chance(r, 12) == 0;
	add_addr(&p->addrs, p->host_network ? "10.1.0." : "10.0.0.", p->host_network ? 1 + i % 2 : i + 1);
	if (chance(r, 4) && !p->host_network)
		add_addr(&p->addrs, "fd00::", i + 1);
	p->ports[p->nports++] = (struct world_port){ "http", IPPROTO_TCP, chance(r, 2) ? 80 : 8080 };
	if (chance(r, 2))
		p->ports[p->nports++] = (struct world_port){ "dns", IPPROTO_UDP, 53 };
	p->ready = chance(r, 5) > 0;
	p->finished = chance(r, 12) == 0;
}

static void make_service(struct rng *r, struct world *w, unsigned int i)
{
	struct world_service *s = &w->services[w->nservices++];

	s->namespace_name = namespaces[i % 2];
	s->name = service_names[i];
	add_label(&s->labels, "tier", PICK(r, tiers));
	add_addr(&s->addrs, "172.20.0.", i + 1);
	if (chance(r, 2))
		add_addr(&s->addrs, "fd02::", i + 1);
	if (i < 2) {
		add_label(&s->selector, "app", PICK(r, apps));
		if (chance(r, 3) == 0)
			add_label(&s->selector, "tier", PICK(r, tiers));
	} else {
		add_addr(&s->outside, "192.0.2.", 1);
		add_addr(&s->outside, "2001:db8::", 1);
	}
	s->ports[s->nports++] = (struct world_service_port){ IPPROTO_TCP, 80, chance(r, 2) ? 80 : 8080, NULL };
	if (s->selector.count > 0 && chance(r, 3) == 0)
		s->ports[0] = (struct world_service_port){ IPPROTO_TCP, 80, 0, "http" };
	if (chance(r, 2))
		s->ports[s->nports++] = (struct world_service_port){ IPPROTO_UDP, 53, 53, NULL };
}

/* Its addresses are the world's, or a node's. */
static void make_api_server(struct rng *r, struct world *w)
{
	struct world_service *s = &w->services[w->nservices++];

	s->namespace_name = "default";
	s->name = "kubernetes";
	add_addr(&s->addrs, "172.20.0.", 9);
	add_addr(&s->outside, chance(r, 2) ? "192.0.2." : "10.1.0.", 2);
	s->ports[s->nports++] = (struct world_service_port){ IPPROTO_TCP, 443, 6443, NULL };
}

void generate_world(struct rng *r, struct world *w)
{
	*w = (struct world){};
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
		struct world_namespace *ns = &w->namespaces[w->nnamespaces++];

		ns->name = namespaces[i];
		if (chance(r, 4))
			add_label(&ns->labels, "team", PICK(r, teams));
	}
	for (unsigned int i = 0, n = 3 + chance(r, 4); i < n; i++)
		make_pod(r, w, i);
	for (unsigned int i = 0; i < 2; i++) {
		struct world_node *n = &w->nodes[w->nnodes++];

		n->name = i ? "n1" : "n0";
		n->local = i == 0;
		add_label(&n->labels, "tier", PICK(r, tiers));
		add_addr(&n->addrs, "10.1.0.", i + 1);
		add_addr(&n->addrs, "fd01::", i + 1);
	}
	for (unsigned int i = 0; i < 3; i++)
		make_service(r, w, i);
	make_api_server(r, w);
	w->service_cidrs[0] = "172.20.0.0/16";
	w->service_cidrs[1] = "fd02::/112";
}

/* ---- manifests: parts ------------------------------------------------------------------------------------------ */

struct gen {
	struct rng *r;
	struct strbuf *t;
	uint32_t features;
	unsigned int serial; /* makes names of objects */
	unsigned int owner[2]
			  [4]; /* which list of a tier and priority has names: 1 AWS's, 2 + serial one of upstream's */
};

static bool has(const struct gen *g, enum feature f)
{
	return g->features & (1u << f);
}

static uint32_t dice(struct gen *g, uint32_t below)
{
	return chance(g->r, below);
}

static void put(struct gen *g, const char *text)
{
	strbuf_adds(g->t, text);
}

static void comma(struct gen *g, uint32_t i)
{
	if (i > 0)
		put(g, ", ");
}

static void put_expression(struct gen *g, const char *prefix, const char *key, const char *const *values, size_t n)
{
	static const char *const operators[] = { "In", "NotIn", "Exists", "DoesNotExist" };
	uint32_t op = dice(g, 4);

	strbuf_addf(g->t, "matchExpressions: [{key: \"%s%s\", operator: %s", prefix, key, operators[op]);
	if (op < 2) {
		strbuf_addf(g->t, ", values: [%s", values[dice(g, (uint32_t)n)]);
		if (dice(g, 3) == 0)
			strbuf_addf(g->t, ", other");
		put(g, "]");
	}
	put(g, "}]");
}

static void put_pod_selector(struct gen *g)
{
	uint32_t kind = dice(g, 6);

	put(g, "{");
	if (kind > 3 && has(g, FEATURE_EXPRESSIONS))
		put_expression(g, "", kind == 4 ? "app" : "tier", kind == 4 ? apps : tiers, 2);
	else if (kind > 0)
		strbuf_addf(g->t, "matchLabels: {%s: %s}", kind > 1 ? "app" : "tier",
			    kind > 1 ? PICK(g->r, apps) : PICK(g->r, tiers));
	put(g, "}");
}

static void put_namespace_selector(struct gen *g)
{
	uint32_t kind = dice(g, 5);

	put(g, "{");
	if (kind == 0 && has(g, FEATURE_EXPRESSIONS))
		put_expression(g, "", "team", teams, 2);
	else if (kind < 3)
		strbuf_addf(g->t, "matchLabels: {team: %s}", PICK(g->r, teams));
	else if (kind == 3)
		strbuf_addf(g->t, "matchLabels: {kubernetes.io/metadata.name: %s}", PICK(g->r, namespaces));
	put(g, "}");
}

/* `subject`: of a namespaced policy itself, which names no namespace. */
static void put_cilium_selector(struct gen *g, bool subject)
{
	static const char *const prefixes[] = { "", "k8s:", "any:" };
	const char *prefix = PICK(g->r, prefixes);
	uint32_t kind = dice(g, has(g, FEATURE_CILIUM_LABELS) ? 9 : 5);

	put(g, "{");
	if (kind == 0)
		;
	else if (kind == 1 && has(g, FEATURE_EXPRESSIONS))
		put_expression(g, prefix, "app", apps, 3);
	else if (kind < 4 || subject)
		strbuf_addf(g->t, "matchLabels: {\"%s%s\": %s}", prefix, kind < 3 ? "app" : "tier",
			    kind < 3 ? PICK(g->r, apps) : PICK(g->r, tiers));
	else if (kind == 4)
		strbuf_addf(g->t, "matchLabels: {\"k8s:io.kubernetes.pod.namespace\": %s}", PICK(g->r, namespaces));
	else if (kind == 5)
		strbuf_addf(g->t, "matchLabels: {\"k8s:io.cilium.k8s.policy.serviceaccount\": %s}",
			    PICK(g->r, accounts));
	else if (kind == 6)
		strbuf_addf(g->t, "matchLabels: {\"k8s:io.cilium.k8s.namespace.labels.team\": %s}", PICK(g->r, teams));
	else if (kind == 7)
		put_expression(g, "k8s:", "io.kubernetes.pod.namespace", namespaces, 3);
	else
		strbuf_addf(g->t, "matchLabels: {\"k8s:io.kubernetes.pod.namespace\": %s, \"k8s:app\": %s}",
			    PICK(g->r, namespaces), PICK(g->r, apps));
	put(g, "}");
}

static bool strictly_inside(const char *inner, const char *outer)
{
	struct sluice_prefix i, o;

	if ((strchr(inner, ':') == NULL) != (strchr(outer, ':') == NULL))
		return false;
	return prefix_parse(inner, &i) == 0 && prefix_parse(outer, &o) == 0 && i.bits > o.bits &&
	       prefix_contains(&o, &i.addr);
}

static void put_except(struct gen *g, const char *cidr)
{
	const char *list[2];
	uint32_t n = 0;

	for (int tries = 0; tries < 12 && n < 2; tries++) {
		const char *e = PICK(g->r, cidrs);

		if (strictly_inside(e, cidr) && (n == 0 || strcmp(e, list[0]) != 0))
			list[n++] = e;
	}
	if (n == 0)
		return;
	put(g, ", except: [");
	for (uint32_t i = 0; i < n; i++) {
		comma(g, i);
		strbuf_addf(g->t, "\"%s\"", list[i]);
	}
	put(g, "]");
}

static void put_block(struct gen *g)
{
	const char *cidr = PICK(g->r, cidrs);

	strbuf_addf(g->t, "{cidr: \"%s\"", cidr);
	if (dice(g, 2))
		put_except(g, cidr);
	put(g, "}");
}

static void put_cidrs(struct gen *g)
{
	uint32_t n = 1 + dice(g, 2), first = dice(g, ARRAY_SIZE(cidrs));

	put(g, "[");
	for (uint32_t i = 0; i < n; i++) {
		comma(g, i);
		strbuf_addf(g->t, "\"%s\"", cidrs[(first + 7 * i) % ARRAY_SIZE(cidrs)]);
	}
	put(g, "]");
}

static void put_domain_names(struct gen *g)
{
	uint32_t n = 1 + dice(g, 2), first = dice(g, ARRAY_SIZE(aws_patterns));

	put(g, "domainNames: [");
	for (uint32_t i = 0; i < n; i++) {
		comma(g, i);
		strbuf_addf(g->t, "\"%s\"", aws_patterns[(first + 3 * i) % ARRAY_SIZE(aws_patterns)]);
	}
	put(g, "]");
}

static void put_fqdns(struct gen *g)
{
	uint32_t n = 1 + dice(g, 2), first = dice(g, ARRAY_SIZE(cilium_patterns));

	put(g, "[");
	for (uint32_t i = 0; i < n; i++) {
		const char *name = cilium_patterns[(first + 5 * i) % ARRAY_SIZE(cilium_patterns)];

		comma(g, i);
		strbuf_addf(g->t, "{%s: \"%s\"}", strchr(name, '*') || dice(g, 4) == 0 ? "matchPattern" : "matchName",
			    name);
	}
	put(g, "]");
}

/* ---- CiliumNetworkPolicy --------------------------------------------------------------------------------------- */

static void put_cilium_port(struct gen *g, bool named)
{
	static const char *const protos[] = { "TCP", "UDP", "ANY", "SCTP", "tcp" };
	uint32_t kind = dice(g, 8), range = dice(g, ARRAY_SIZE(ranges));

	if (kind < 2)
		strbuf_addf(g->t, "{port: \"%u\", endPort: %u", ranges[range].first, ranges[range].last);
	else if (kind == 2 && named)
		strbuf_addf(g->t, "{port: %s", PICK(g->r, port_names));
	else
		strbuf_addf(g->t, "{port: \"%u\"", kind == 3 ? 0 : PICK(g->r, numbers));
	if (dice(g, 3))
		strbuf_addf(g->t, ", protocol: %s", protos[dice(g, kind == 7 ? 5 : 3)]);
	put(g, "}");
}

static void put_icmps(struct gen *g)
{
	static const char *const fields[] = { "{type: 8}", "{family: IPv4, type: 0}", "{family: IPv6, type: 128}",
					      "{family: IPv6, type: EchoRequest}", "{type: EchoRequest}" };

	strbuf_addf(g->t, ", icmps: [{fields: [%s]}]", PICK(g->r, fields));
}

static void put_to_ports(struct gen *g, bool named)
{
	if (dice(g, 8) == 0 && has(g, FEATURE_ICMPS)) {
		put_icmps(g);
		return;
	}
	put(g, ", toPorts: [");
	for (uint32_t i = 0, n = 1 + (dice(g, 4) == 0); i < n; i++) {
		comma(g, i);
		put(g, "{ports: [");
		for (uint32_t k = 0, m = 1 + dice(g, 2); k < m; k++) {
			comma(g, k);
			put_cilium_port(g, named && has(g, FEATURE_NAMED_PORTS));
		}
		put(g, "]}");
	}
	put(g, "]");
}

static void put_entities(struct gen *g, bool deny)
{
	static const char *const basic[] = { "world", "all", "none" };
	static const char *const more[] = { "cluster", "host", "remote-node", "kube-apiserver", "world", "health" };

	strbuf_addf(g->t, "toEntities: [%s]",
		    has(g, FEATURE_ENTITIES) && dice(g, 3) ? more[dice(g, deny ? 5 : 6)] : PICK(g->r, basic));
}

static void put_to_services(struct gen *g)
{
	if (dice(g, 3))
		strbuf_addf(g->t, "toServices: [{k8sService: {serviceName: %s, namespace: %s}}]",
			    PICK(g->r, service_names), namespaces[dice(g, 2)]);
	else
		strbuf_addf(g->t,
			    "toServices: [{k8sServiceSelector: {selector: {matchLabels: {tier: %s}}, namespace: %s}}]",
			    PICK(g->r, tiers), namespaces[dice(g, 2)]);
}

static void put_cidr_set(struct gen *g)
{
	put(g, "toCIDRSet: [");
	if (has(g, FEATURE_CIDR_GROUP) && dice(g, 3) == 0)
		strbuf_addf(g->t,
			    dice(g, 2) ? "{cidrGroupRef: g%u}" : "{cidrGroupSelector: {matchLabels: {grade: g%u}}}",
			    dice(g, 2));
	else
		put_block(g);
	put(g, "]");
}

/* Port 53 to wherever, and names that may be asked. */
static void put_dns_entry(struct gen *g)
{
	put(g, "{toEndpoints: [{matchLabels: {app: dns}}], toPorts: [{ports: [{port: \"53\", protocol: ANY}], "
	       "rules: {dns: ");
	put_fqdns(g);
	put(g, "}}]}");
}

/* True: the entry may carry named ports. */
static bool put_cilium_l3(struct gen *g, bool deny)
{
	uint32_t kind = dice(g, 10);

	if (kind < 2 && !deny) {
		put(g, "toFQDNs: ");
		put_fqdns(g);
		return false;
	}
	if (kind < 4) {
		put(g, "toCIDR: ");
		put_cidrs(g);
		return false;
	}
	if (kind < 6) {
		put_cidr_set(g);
		return false;
	}
	if (kind == 6 && has(g, FEATURE_TO_SERVICES)) {
		put_to_services(g);
		return false;
	}
	if (kind < 8) {
		put_entities(g, deny);
		return false;
	}
	put(g, "toEndpoints: [");
	put_cilium_selector(g, false);
	put(g, "]");
	return true;
}

static void put_cilium_entry(struct gen *g, bool deny)
{
	static const char *const bare[] = { "{}", "{toEndpoints: []}", "{toPorts: [{ports: [{port: \"443\"}]}]}",
					    "{toPorts: [{ports: [{port: \"80\", protocol: TCP}]}]}" };
	bool named;

	if (dice(g, 10) == 0) {
		put(g, PICK(g->r, bare));
		return;
	}
	if (!deny && dice(g, 12) == 0) {
		put_dns_entry(g);
		return;
	}
	put(g, "{");
	named = put_cilium_l3(g, deny);
	if (dice(g, 4))
		put_to_ports(g, named);
	put(g, "}");
}

static void put_section(struct gen *g, const char *section, bool deny, uint32_t most)
{
	strbuf_addf(g->t, "  %s:\n", section);
	for (uint32_t i = 0, n = 1 + dice(g, most); i < n; i++) {
		put(g, "  - ");
		put_cilium_entry(g, deny);
		put(g, "\n");
	}
}

static void put_cilium_spec(struct gen *g, bool cluster)
{
	uint32_t sections = dice(g, 8);

	put(g, "endpointSelector: ");
	put_cilium_selector(g, !cluster);
	put(g, "\n");
	if (has(g, FEATURE_DEFAULT_DENY) && dice(g, 4) == 0)
		strbuf_addf(g->t, "  enableDefaultDeny: {egress: %s}\n", dice(g, 4) ? "false" : "true");
	if (sections > 0)
		put_section(g, "egress", false, 4);
	if (sections < 3)
		put_section(g, "egressDeny", true, 2);
}

static void put_cilium(struct gen *g, bool cluster)
{
	strbuf_addf(g->t, "apiVersion: cilium.io/v2\nkind: Cilium%sNetworkPolicy\nmetadata: {name: c%u",
		    cluster ? "Clusterwide" : "", g->serial++);
	if (!cluster)
		strbuf_addf(g->t, ", namespace: %s", namespaces[dice(g, 2)]);
	if (dice(g, 8)) {
		put(g, "}\nspec:\n  ");
		put_cilium_spec(g, cluster);
		return;
	}
	put(g, "}\nspecs:\n");
	for (int i = 0; i < 2; i++) {
		put(g, "- ");
		put_cilium_spec(g, cluster);
	}
}

static void put_cidr_group(struct gen *g, uint32_t n)
{
	strbuf_addf(g->t,
		    "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: g%u, labels: {grade: g%u}}\n"
		    "spec: {externalCIDRs: ",
		    n, n);
	put_cidrs(g);
	put(g, "}\n");
}

/* ---- NetworkPolicy, ApplicationNetworkPolicy ------------------------------------------------------------------- */

static void put_k8s_port(struct gen *g, bool named)
{
	static const char *const protos[] = { "TCP", "UDP", "SCTP" };
	uint32_t kind = dice(g, 8), range = dice(g, ARRAY_SIZE(ranges));

	strbuf_addf(g->t, "{protocol: %s", protos[dice(g, kind == 7 ? 3 : 2)]);
	if (kind < 2)
		strbuf_addf(g->t, ", port: %u, endPort: %u", ranges[range].first, ranges[range].last);
	else if (kind == 2 && named)
		strbuf_addf(g->t, ", port: %s", PICK(g->r, port_names));
	else if (kind > 3)
		strbuf_addf(g->t, ", port: %u", PICK(g->r, numbers));
	put(g, "}");
}

static void put_k8s_peer(struct gen *g, uint32_t kind)
{
	put(g, "{");
	if (kind == 0) {
		put_domain_names(g);
	} else if (kind == 1) {
		put(g, "ipBlock: ");
		put_block(g);
	} else {
		if (kind != 3) {
			put(g, "podSelector: ");
			put_pod_selector(g);
		}
		if (kind != 2) {
			put(g, kind == 3 ? "namespaceSelector: " : ", namespaceSelector: ");
			put_namespace_selector(g);
		}
	}
	put(g, "}");
}

static void put_k8s_rule(struct gen *g, bool names, bool pods)
{
	bool only_pods = pods && dice(g, 2);
	uint32_t n = dice(g, 8) == 0 ? 0 : 1 + dice(g, 2);

	put(g, "  - {");
	if (n > 0)
		put(g, "to: [");
	for (uint32_t i = 0; i < n; i++) {
		comma(g, i);
		put_k8s_peer(g, only_pods ? 2 + dice(g, 3) : names ? dice(g, 2) : 1);
	}
	put(g, n > 0 ? "]" : "");
	if (n == 0 || dice(g, 4)) {
		put(g, n > 0 ? ", ports: [" : "ports: [");
		for (uint32_t k = 0, m = 1 + dice(g, 2); k < m; k++) {
			comma(g, k);
			put_k8s_port(g, n > 0 && only_pods && has(g, FEATURE_NAMED_PORTS));
		}
		put(g, "]");
	}
	put(g, "}\n");
}

static void put_k8s(struct gen *g, bool anp)
{
	strbuf_addf(g->t, "apiVersion: %s\nkind: %sNetworkPolicy\nmetadata: {name: k%u, namespace: %s}\n",
		    anp ? "networking.k8s.aws/v1alpha1" : "networking.k8s.io/v1", anp ? "Application" : "", g->serial++,
		    namespaces[dice(g, 2)]);
	put(g, "spec:\n  podSelector: ");
	put_pod_selector(g);
	put(g, dice(g, 3) ? "\n  policyTypes: [Egress]\n" : "\n");
	put(g, "  egress:\n");
	for (uint32_t i = 0, n = 1 + dice(g, 3); i < n; i++)
		put_k8s_rule(g, anp, !anp || has(g, FEATURE_POD_PEERS));
}

/* ---- ClusterNetworkPolicy -------------------------------------------------------------------------------------- */

static void put_pods(struct gen *g)
{
	put(g, "pods: {namespaceSelector: ");
	put_namespace_selector(g);
	put(g, ", podSelector: ");
	put_pod_selector(g);
	put(g, "}");
}

static void put_cluster_peer(struct gen *g, uint32_t kind)
{
	put(g, "{");
	if (kind == 0) {
		put_domain_names(g);
	} else if (kind < 3) {
		put(g, "networks: ");
		put_cidrs(g);
	} else if (kind == 5) {
		strbuf_addf(g->t, "nodes: {matchLabels: {tier: %s}}", PICK(g->r, tiers));
	} else if (kind == 3) {
		put(g, "namespaces: ");
		put_namespace_selector(g);
	} else {
		put_pods(g);
	}
	put(g, "}");
}

static void put_aws_port(struct gen *g, bool named)
{
	uint32_t kind = dice(g, 6), range = dice(g, ARRAY_SIZE(ranges));

	if (kind == 0 && ranges[range].first < ranges[range].last)
		strbuf_addf(g->t, "{portRange: {protocol: %s, start: %u, end: %u}}", dice(g, 2) ? "TCP" : "UDP",
			    ranges[range].first, ranges[range].last);
	else if (kind == 1 && named)
		strbuf_addf(g->t, "{namedPort: %s}", PICK(g->r, port_names));
	else if (kind == 2)
		strbuf_addf(g->t, "{portNumber: {port: %u}}", PICK(g->r, numbers));
	else
		strbuf_addf(g->t, "{portNumber: {protocol: %s, port: %u}}", dice(g, 2) ? "TCP" : "UDP",
			    PICK(g->r, numbers));
}

static void put_upstream_protocol(struct gen *g, bool named)
{
	uint32_t kind = dice(g, 6), range = dice(g, ARRAY_SIZE(ranges));
	const char *proto = dice(g, 2) ? "tcp" : dice(g, 3) ? "udp" : "sctp";

	if (kind == 0 && ranges[range].first < ranges[range].last)
		strbuf_addf(g->t, "{%s: {destinationPort: {range: {start: %u, end: %u}}}}", proto, ranges[range].first,
			    ranges[range].last);
	else if (kind == 1 && named)
		strbuf_addf(g->t, "{destinationNamedPort: %s}", PICK(g->r, port_names));
	else
		strbuf_addf(g->t, "{%s: {destinationPort: {number: %u}}}", proto, PICK(g->r, numbers));
}

static uint32_t pick_cluster_peer(struct gen *g, bool aws, bool names)
{
	uint32_t peer = dice(g, 7) % 6; /* names twice as often */

	if (!names && peer == 0)
		return 1;
	return peer == 5 && aws ? 4 : peer;
}

static void put_cluster_protocols(struct gen *g, bool aws, bool named)
{
	put(g, aws ? ", ports: [" : ", protocols: [");
	for (uint32_t i = 0, n = 1 + dice(g, 2); i < n; i++) {
		comma(g, i);
		if (aws)
			put_aws_port(g, named);
		else
			put_upstream_protocol(g, named);
	}
	put(g, "]");
}

static void put_cluster_rule(struct gen *g, bool aws, bool names)
{
	static const char *const actions[] = { "Accept", "Deny", "Pass" };
	uint32_t action = dice(g, 3), peer = pick_cluster_peer(g, aws, names && action == 0);

	strbuf_addf(g->t, "  - {action: %s, to: [", actions[action]);
	put_cluster_peer(g, peer);
	if (dice(g, 4) == 0) {
		put(g, ", ");
		put_cluster_peer(g, peer == 3 || peer == 4 ? 3 + dice(g, 2) : 1);
	}
	put(g, "]");
	if (dice(g, 3))
		put_cluster_protocols(g, aws, (peer == 3 || peer == 4) && has(g, FEATURE_NAMED_PORTS));
	put(g, "}\n");
}

static void put_cluster(struct gen *g, bool aws)
{
	static const uint32_t priorities[] = { 0, 10, 20, 1000 };
	uint32_t baseline = dice(g, 4) == 0, priority = dice(g, 5) % ARRAY_SIZE(priorities);
	unsigned int self = aws ? 1 : 2 + g->serial, *owner = &g->owner[baseline][priority];

	/* Where lists tie and two of them have names, the compiler denies more than it would have to. */
	if (*owner == 0)
		*owner = self;
	strbuf_addf(g->t, "apiVersion: %s\nkind: ClusterNetworkPolicy\nmetadata: {name: n%u}\nspec:\n",
		    aws ? "networking.k8s.aws/v1alpha1" : "policy.networking.k8s.io/v1alpha2", g->serial++);
	strbuf_addf(g->t, "  tier: %s\n  priority: %u\n  subject: {", baseline ? "Baseline" : "Admin",
		    priorities[priority]);
	if (dice(g, 3) == 0) {
		put(g, "namespaces: {}");
	} else if (dice(g, 2)) {
		put(g, "namespaces: ");
		put_namespace_selector(g);
	} else {
		put_pods(g);
	}
	put(g, "}\n  egress:\n");
	for (uint32_t i = 0, n = 1 + dice(g, 4); i < n; i++)
		put_cluster_rule(g, aws, *owner == self);
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static void put_policy(struct gen *g)
{
	static const enum feature kinds[] = { FEATURE_CNP,
					      FEATURE_CNP,
					      FEATURE_CCNP,
					      FEATURE_ANP,
					      FEATURE_ANP,
					      FEATURE_NETWORK_POLICY,
					      FEATURE_NETWORK_POLICY,
					      FEATURE_AWS_CLUSTER,
					      FEATURE_AWS_CLUSTER,
					      FEATURE_UPSTREAM_CLUSTER };
	enum feature f = PICK(g->r, kinds);

	while (!has(g, f))
		f = PICK(g->r, kinds);
	put(g, "---\n");
	if (f == FEATURE_CNP || f == FEATURE_CCNP)
		put_cilium(g, f == FEATURE_CCNP);
	else if (f == FEATURE_ANP || f == FEATURE_NETWORK_POLICY)
		put_k8s(g, f == FEATURE_ANP);
	else
		put_cluster(g, f == FEATURE_AWS_CLUSTER);
}

void generate_policies(struct rng *r, uint32_t features, struct strbuf *text)
{
	struct gen g = { .r = r, .t = text, .features = features };

	for (uint32_t i = 0, n = 1 + chance(r, 8); i < n; i++)
		put_policy(&g);
	for (uint32_t i = 0; i < 2 && has(&g, FEATURE_CIDR_GROUP); i++) {
		put(&g, "---\n");
		put_cidr_group(&g, i);
	}
}

/* ---- flows ----------------------------------------------------------------------------------------------------- */

static bool pick_addr(struct rng *r, const struct world_addrs *list, struct sluice_addr *ret)
{
	if (list->count == 0)
		return false;
	*ret = list->items[chance(r, (uint32_t)list->count)];
	return true;
}

static bool pick_dest(struct rng *r, const struct world *w, struct sluice_addr *ret)
{
	switch (chance(r, 9)) {
	case 0:
	case 1:
		return pick_addr(r, &w->pods[chance(r, (uint32_t)w->npods)].addrs, ret);
	case 2:
		return pick_addr(r, &w->nodes[chance(r, (uint32_t)w->nnodes)].addrs, ret);
	case 3:
	case 4:
		return pick_addr(r, &w->services[chance(r, (uint32_t)w->nservices)].addrs, ret);
	case 5:
		return addr_parse(PICK(r, odd), ret) == 0;
	default:
		return addr_parse(PICK(r, outside), ret) == 0;
	}
}

void generate_flow(struct rng *r, const struct world *w, struct flow *ret)
{
	uint32_t kind = chance(r, 10);

	while (!pick_dest(r, w, &ret->to))
		;
	if (kind == 0) {
		bool v4 = addr_is_ipv4(&ret->to);

		ret->proto = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
		ret->port = chance(r, 3) ? (v4 ? 8 : 128) : (v4 ? 0 : 129);
		return;
	}
	ret->proto = kind < 7 ? IPPROTO_TCP : kind < 9 ? IPPROTO_UDP : IPPROTO_SCTP;
	ret->port = chance(r, 3) ? PICK(r, numbers) : PICK(r, near_numbers);
}

/* Mostly the world's; now and then an address that no name may open. */
void generate_lease(struct rng *r, struct lease *ret)
{
	static const char *const closed[] = { "10.0.0.1",	   "10.1.0.1",		 "172.20.0.1",
					      "169.254.169.254",   "fd00:ec2::254",	 "64:ff9b::c000:201",
					      "64:ff9b::a00:1",	   "192.0.2.2",		 "172.20.99.9",
					      "fd02::99",	   "64:ff9b::ac14:6309", "::ffff:0:a00:1",
					      "::ffff:0:c000:201", "168.63.129.16",	 "fd20:ce::254" };

	ret->name = asked_names[chance(r, chance(r, 4) ? 4 : (uint32_t)nasked_names)];
	if (addr_parse(chance(r, 8) ? PICK(r, outside) : PICK(r, closed), &ret->addr) < 0)
		abort();
}

/* ---- features -------------------------------------------------------------------------------------------------- */

#define CNP_OF(entry)                                                                                                  \
	"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: a}\n"                     \
	"spec: {endpointSelector: {}, egress: [" entry "]}\n"
#define CLUSTER_OF(group, rest)                                                                                        \
	"apiVersion: " group "\nkind: ClusterNetworkPolicy\nmetadata: {name: p}\n"                                     \
	"spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [{action: Deny, to: [{networks: "         \
	"[\"10.0.0.0/8\"]}]" rest "}]}\n"

static const struct {
	const char *name;
	const char *probe;
} feature_table[FEATURE_MAX] = {
	[FEATURE_CNP] = { "CiliumNetworkPolicy", CNP_OF("{}") },
	[FEATURE_CCNP] = { "CiliumClusterwideNetworkPolicy",
			   "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: p}\n"
			   "spec: {endpointSelector: {}, egress: [{}]}\n" },
	[FEATURE_CIDR_GROUP] = { "CiliumCIDRGroup",
				 "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: g}\n"
				 "spec: {externalCIDRs: [\"10.0.0.0/8\"]}\n" },
	[FEATURE_ANP] = { "ApplicationNetworkPolicy",
			  "apiVersion: networking.k8s.aws/v1alpha1\nkind: ApplicationNetworkPolicy\n"
			  "metadata: {name: p, namespace: a}\nspec: {podSelector: {}, egress: [{}]}\n" },
	[FEATURE_NETWORK_POLICY] = { "NetworkPolicy",
				     "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
				     "metadata: {name: p, namespace: a}\nspec: {podSelector: {}, egress: [{}]}\n" },
	[FEATURE_AWS_CLUSTER] = { "ClusterNetworkPolicy of AWS", CLUSTER_OF("networking.k8s.aws/v1alpha1", "") },
	[FEATURE_UPSTREAM_CLUSTER] = { "ClusterNetworkPolicy", CLUSTER_OF("policy.networking.k8s.io/v1alpha2", "") },
	[FEATURE_EXPRESSIONS] = { "matchExpressions",
				  CNP_OF("{toEndpoints: [{matchExpressions: [{key: app, operator: Exists}]}]}") },
	[FEATURE_CILIUM_LABELS] = { "io.cilium.k8s labels",
				    CNP_OF("{toEndpoints: [{matchLabels: "
					   "{\"k8s:io.cilium.k8s.policy.serviceaccount\": x}}]}") },
	[FEATURE_ENTITIES] = { "entities", CNP_OF("{toEntities: [cluster, host, remote-node, kube-apiserver]}") },
	[FEATURE_TO_SERVICES] = { "toServices",
				  CNP_OF("{toServices: [{k8sService: {serviceName: s, namespace: a}}]}") },
	[FEATURE_NAMED_PORTS] = { "named ports",
				  CNP_OF("{toEndpoints: [{}], toPorts: [{ports: [{port: http, protocol: TCP}]}]}") },
	[FEATURE_ICMPS] = { "icmps", CNP_OF("{icmps: [{fields: [{type: 8}]}]}") },
	[FEATURE_DEFAULT_DENY] = { "enableDefaultDeny",
				   "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n"
				   "metadata: {name: p, namespace: a}\nspec: {endpointSelector: {}, "
				   "enableDefaultDeny: {egress: false}, egress: [{}]}\n" },
	[FEATURE_POD_PEERS] = { "pods in ApplicationNetworkPolicy",
				"apiVersion: networking.k8s.aws/v1alpha1\nkind: ApplicationNetworkPolicy\n"
				"metadata: {name: p, namespace: a}\n"
				"spec: {podSelector: {}, egress: [{to: [{podSelector: {}}]}]}\n" },
};

const char *feature_name(enum feature f)
{
	return feature_table[f].name;
}

const char *feature_probe(enum feature f)
{
	return feature_table[f].probe;
}
