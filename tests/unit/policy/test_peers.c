/* SPDX-License-Identifier: Apache-2.0 */
/* In-cluster peers and selectors against one small cluster. */
#include "tests/unit/policy/policy_test.h"

#define HEAD CNP_HEAD

struct town {
	struct sluice_addr addrs[16];
	struct subject pods[6];
	struct inventory_namespace namespaces[3];
	struct inventory_node nodes[2];
	struct inventory_service services[5];
	struct inventory_slice slices[3];
	struct slice_endpoint endpoints[3];
	struct sluice_prefix cidr;
	struct inventory inv;
};

static const struct label front_labels[] = { { "app", "front" }, { "env", "prod" } };
static const struct label back_labels[] = { { "app", "back" } };
static const struct label red_label[] = { { "team", "red" } };
static const struct label node_labels[] = { { "role", "edge" } };
static const struct pod_port front_ports[] = { { "http", 8080, IPPROTO_TCP } };
static const struct pod_port back_ports[] = { { "http", 9090, IPPROTO_TCP } };
static const struct service_port http_ports[] = { { "http", IPPROTO_TCP, 80, 0, "http", 30080 } };
static const struct service_port headless_ports[] = { { "http", IPPROTO_TCP, 80, 0, "http", 0 } };
static const struct service_port plain_ports[] = { { NULL, IPPROTO_TCP, 443, 6443, NULL, 0 } };
static const struct slice_port ext_ports[] = { { NULL, IPPROTO_TCP, 6443 } };

enum { FRONT, BACK, BACK2, DONE, HOSTNET, BLUE };

static void town_pods(struct town *t)
{
	t->pods[FRONT].name = "front";
	t->pods[FRONT].service_account = "runner";
	t->pods[BACK].name = "back-0";
	t->pods[BACK].hostname = "back-0";
	t->pods[BACK].subdomain = "peers";
	t->pods[BACK2].name = "back-1";
	t->pods[BACK2].not_ready = true;
	t->pods[DONE].name = "done";
	t->pods[DONE].not_running = true;
	t->pods[HOSTNET].name = "hostnet";
	t->pods[HOSTNET].host_network = true;
	t->pods[BLUE].name = "blue";
}

static void town_services(struct town *t)
{
	t->services[0] = (struct inventory_service){ .namespace_name = "ns",
						     .name = "front",
						     .labels = red_label,
						     .nlabels = 1,
						     .selector = front_labels,
						     .nselector = 1,
						     .addrs = &t->addrs[7],
						     .naddrs = 1,
						     .externals = &t->addrs[12],
						     .nexternals = 1,
						     .ports = http_ports,
						     .nports = 1 };
	t->services[1] = (struct inventory_service){ .namespace_name = "ns",
						     .name = "mix",
						     .selector = back_labels,
						     .nselector = 1,
						     .addrs = &t->addrs[8],
						     .naddrs = 1,
						     .ports = http_ports,
						     .nports = 1 };
	t->services[2] = (struct inventory_service){ .namespace_name = "ns",
						     .name = "ext",
						     .addrs = &t->addrs[9],
						     .naddrs = 1,
						     .ports = plain_ports,
						     .nports = 1 };
	t->services[3] = (struct inventory_service){ .namespace_name = "ns",
						     .name = "peers",
						     .selector = back_labels,
						     .nselector = 1,
						     .ports = headless_ports,
						     .nports = 1 };
	t->services[4] = (struct inventory_service){ .namespace_name = "default",
						     .name = "kubernetes",
						     .addrs = &t->addrs[10],
						     .naddrs = 1,
						     .ports = plain_ports,
						     .nports = 1 };
}

/*
 * ns: front 10.0.0.1, back 10.0.0.2 (ready) and 10.0.0.3 (not), done 10.0.0.4 (finished), hostnet on node 10.1.0.1;
 * far (team=red): blue 10.0.0.6. Services of ns: front 172.20.0.1:80, mix 172.20.0.2:80 (front and back by slice),
 * ext 172.20.0.3:443 (192.0.2.1:6443), peers (headless, of the backs); default/kubernetes 172.20.0.9 (10.1.0.2).
 */
static void town_build(struct town *t)
{
	static const char *const texts[] = { "10.0.0.1",   "10.0.0.2",	"10.0.0.3",    "10.0.0.4",   "10.1.0.1",
					     "10.0.0.6",   "10.1.0.2",	"172.20.0.1",  "172.20.0.2", "172.20.0.3",
					     "172.20.0.9", "192.0.2.1", "198.51.100.7" };

	memset(t, 0, sizeof(*t));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		t->addrs[i] = test_addr(texts[i]);
	for (size_t i = 0; i < ARRAY_SIZE(t->pods); i++)
		t->pods[i] = (struct subject){ .namespace_name = i == BLUE ? "far" : "ns",
					       .labels = i == FRONT ? front_labels : back_labels,
					       .nlabels = i == FRONT ? 2 : 1,
					       .addrs = &t->addrs[i],
					       .naddrs = 1,
					       .ports = i == FRONT ? front_ports : back_ports,
					       .nports = 1 };
	town_pods(t);
	t->namespaces[0] = (struct inventory_namespace){ .name = "ns" };
	t->namespaces[1] = (struct inventory_namespace){ .name = "far", .labels = red_label, .nlabels = 1 };
	t->nodes[0] = (struct inventory_node){
		.name = "n0", .labels = node_labels, .nlabels = 1, .addrs = &t->addrs[4], .naddrs = 1, .local = true
	};
	t->nodes[1] = (struct inventory_node){ .name = "n1", .addrs = &t->addrs[6], .naddrs = 1 };
	town_services(t);
	t->endpoints[0] = (struct slice_endpoint){ .addrs = &t->addrs[11], .naddrs = 1 };
	t->endpoints[1] = (struct slice_endpoint){ .addrs = &t->addrs[6], .naddrs = 1 };
	t->slices[0] = (struct inventory_slice){ .namespace_name = "ns",
						 .service = "ext",
						 .endpoints = &t->endpoints[0],
						 .nendpoints = 1,
						 .ports = ext_ports,
						 .nports = 1 };
	t->slices[1] = (struct inventory_slice){ .namespace_name = "default",
						 .service = "kubernetes",
						 .endpoints = &t->endpoints[1],
						 .nendpoints = 1,
						 .ports = ext_ports,
						 .nports = 1 };
	assert_int_equal(prefix_parse("172.20.0.0/16", &t->cidr), 0);
	t->inv = (struct inventory){ .pods = t->pods,
				     .npods = ARRAY_SIZE(t->pods),
				     .namespaces = t->namespaces,
				     .nnamespaces = 2,
				     .nodes = t->nodes,
				     .nnodes = 2,
				     .services = t->services,
				     .nservices = 5,
				     .slices = t->slices,
				     .nslices = 2,
				     .service_cidrs = &t->cidr,
				     .nservice_cidrs = 1 };
}

static char ask(const struct town *t, const struct image *img, const char *addr, uint16_t port)
{
	struct sluice_query q = { .remote = test_addr(addr), .proto = IPPROTO_TCP, .port = htons(port) };
	struct verdict_tables tables = { .img = img };
	struct sluice_addr *cluster = NULL;
	struct sluice_decision d;

	assert_int_equal(inventory_cluster(&t->inv, &cluster, &tables.ncluster), 0);
	tables.cluster = cluster;
	d = verdict_decide(&tables, &q);
	free(cluster);
	return d.verdict == SLUICE_ALLOW ? 'A' : d.reason == SLUICE_REASON_POLICY_DENY ? 'D' : '-';
}

/* Ports 8080 and 9090 of front, back-0, back-1, done, node n0, blue; then node n1:6443 and the world. */
static const struct {
	const char *egress, *want;
} selector_rows[] = {
	{ "{toEndpoints: [{}]}", "AA AA AA -- -- -- - -" },
	{ "{toEndpoints: [{matchLabels: {app: back}}]}", "-- AA AA -- -- -- - -" },
	{ "{toEndpoints: [{matchLabels: {k8s:app: back, any:app: back}}]}", "-- AA AA -- -- -- - -" },
	{ "{toEndpoints: [{matchExpressions: [{key: app, operator: In, values: [front, x]}]}]}",
	  "AA -- -- -- -- -- - -" },
	{ "{toEndpoints: [{matchExpressions: [{key: app, operator: NotIn, values: [front]}]}]}",
	  "-- AA AA -- -- -- - -" },
	{ "{toEndpoints: [{matchExpressions: [{key: env, operator: Exists}]}]}", "AA -- -- -- -- -- - -" },
	{ "{toEndpoints: [{matchExpressions: [{key: env, operator: DoesNotExist}]}]}", "-- AA AA -- -- -- - -" },
	{ "{toEndpoints: [{matchLabels: {io.kubernetes.pod.namespace: far}}]}", "-- -- -- -- -- AA - -" },
	{ "{toEndpoints: [{matchLabels: {io.cilium.k8s.namespace.labels.team: red}}]}", "-- -- -- -- -- AA - -" },
	{ "{toEndpoints: [{matchExpressions: [{key: io.kubernetes.pod.namespace, operator: Exists}]}]}",
	  "AA AA AA -- -- AA - -" },
	{ "{toEndpoints: [{matchLabels: {io.cilium.k8s.policy.serviceaccount: runner}}]}", "AA -- -- -- -- -- - -" },
	{ "{toEndpoints: [{}], toPorts: [{ports: [{port: http}]}]}", "A- -A -A -- -- -- - -" },
	{ "{toEndpoints: [{}], toPorts: [{ports: [{port: HTTP, protocol: UDP}]}]}", "-- -- -- -- -- -- - -" },
	{ "{toPorts: [{ports: [{port: http}]}]}", "A- -A -A -- -- -A - -" },
	{ "{toEntities: [cluster]}", "AA AA AA -- AA AA A -" },
	{ "{toEntities: [host]}", "-- -- -- -- AA -- - -" },
	{ "{toEntities: [remote-node]}", "-- -- -- -- -- -- A -" },
	{ "{toEntities: [kube-apiserver]}", "-- -- -- -- -- -- A -" },
	{ "{toEntities: [world]}", "-- -- -- AA -- -- - A" },
	{ "{toEntities: [all]}", "AA AA AA AA AA AA A A" },
	{ "{toEntities: [none]}", "-- -- -- -- -- -- - -" },
	{ "{toCIDR: [10.0.0.0/8]}", "-- -- -- AA -- -- - -" },
	{ "{toServices: [{k8sService: {serviceName: front, namespace: ns}}]}", "AA -- -- -- -- -- - -" },
	{ "{toServices: [{k8sServiceSelector: {selector: {matchLabels: {team: red}}}}]}", "AA -- -- -- -- -- - -" },
	{ "{toServices: [{k8sService: {serviceName: peers, namespace: far}}]}", "-- -- -- -- -- -- - -" },
	{ "{toEndpoints: [], toPorts: [{ports: [{port: \"8080\"}]}]}", "-- -- -- -- -- -- - -" },
	{ "{icmps: [{fields: [{type: 8}]}]}", "-- -- -- -- -- -- - -" },
};

static void selectors(void **state)
{
	static const char *const places[] = { "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.1.0.1", "10.0.0.6" };
	struct town t;

	(void)state;
	town_build(&t);
	for (size_t i = 0; i < ARRAY_SIZE(selector_rows); i++) {
		char text[1024], got[32], *p = got;
		struct compiled c;

		snprintf(text, sizeof(text), HEAD "  egress: [%s]\n", selector_rows[i].egress);
		c = test_compile(text, &t.inv);
		for (size_t k = 0; k < ARRAY_SIZE(places); k++) {
			*p++ = ask(&t, c.img, places[k], 8080);
			*p++ = ask(&t, c.img, places[k], 9090);
			*p++ = ' ';
		}
		*p++ = ask(&t, c.img, "10.1.0.2", 6443);
		*p++ = ' ';
		*p++ = ask(&t, c.img, "8.8.8.8", 6443);
		*p = '\0';
		if (strcmp(got, selector_rows[i].want) != 0)
			fail_msg("%s: %s, expected %s", selector_rows[i].egress, got, selector_rows[i].want);
		compiled_clear(&c);
	}
}

/*
 * The namespace of 10.0.0.6 is not told of yet: what asks for its labels allows it to nobody, and denies it. Where nobody
 * tells of namespaces it has none.
 */
static void namespaces_not_heard_of(void **state)
{
#define LABELS(operation)    "{matchExpressions: [{key: io.cilium.k8s.namespace.labels.team, operator: " operation "}]}"
#define ENDPOINTS(operation) "{toEndpoints: [" LABELS(operation) "]}"
#define ALLOWED(operation)   HEAD "  egress: [" ENDPOINTS(operation) "]\n"
#define DENIED(operation)    HEAD "  egress: [{toEntities: [all]}]\n  egressDeny: [" ENDPOINTS(operation) "]\n"
#define CLUSTER(rest)                                                                                                  \
	"apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: c}\n"             \
	"spec:\n  tier: Admin\n  priority: 1\n  subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: "   \
	"{app: web}}}}\n  egress:\n" rest
#define TO(operation) "to: [{namespaces: {matchExpressions: [{key: team, operator: " operation "}]}}]"
#define BY_NAME(name) "to: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: " name "}}}]"
	static const struct {
		const char *text;
		char told, untold;
	} rows[] = {
		{ ALLOWED("In, values: [red]"), '-', '-' },
		{ ALLOWED("NotIn, values: [red]"), '-', 'A' },
		{ ALLOWED("Exists"), '-', '-' },
		{ ALLOWED("DoesNotExist"), '-', 'A' },
		{ DENIED("In, values: [red]"), 'D', 'A' },
		{ DENIED("NotIn, values: [red]"), 'D', 'D' },
		{ DENIED("Exists"), 'D', 'A' },
		{ HEAD "  egress: [{toEndpoints: [{matchLabels: {io.kubernetes.pod.namespace: far}}]}]\n", 'A', 'A' },
		{ HEAD "  egress: [{toEndpoints: [{matchExpressions: [{key: app, operator: In, values: [x]}, {key: "
		       "io.cilium.k8s.namespace.labels.team, operator: Exists}]}]}]\n  egressDeny: [{toEndpoints: "
		       "[{matchExpressions: [{key: app, operator: In, values: [x]}, {key: "
		       "io.cilium.k8s.namespace.labels.team, operator: Exists}]}]}]\n",
		  '-', '-' },
		{ CLUSTER("  - {action: Accept, " TO("DoesNotExist") "}\n  - {action: Deny, " BY_NAME("far") "}\n"),
		  'D', 'A' },
		{ CLUSTER("  - {action: Accept, " BY_NAME("far") "}\n  - {action: Deny, " TO("Exists") "}\n"), 'A',
		  'A' },
		/* A Pass would skip the Deny, and its absence would leave the Accept. */
		{ CLUSTER("  - {action: Pass, " TO("DoesNotExist") "}\n  - {action: Deny, " BY_NAME("far") "}\n"), 'D',
		  'A' },
		{ CLUSTER("  - {action: Pass, " TO("Exists") "}\n  - {action: Accept, " BY_NAME("far") "}\n"), 'D',
		  'A' },
		{ CLUSTER("  - {action: Pass, " BY_NAME("far") "}\n  - {action: Deny, " TO("Exists") "}\n"), 'A', 'A' },
	};
	struct compiled c;
	struct town t;

	(void)state;
	town_build(&t);
	t.inv.nnamespaces = 1;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
		char got;

		t.inv.namespaces_told = i % 2 == 0;
		c = test_compile(rows[i / 2].text, &t.inv);
		got = ask(&t, c.img, "10.0.0.6", 1);
		if (got != (i % 2 == 0 ? rows[i / 2].told : rows[i / 2].untold))
			fail_msg("%s: %c%s", rows[i / 2].text, got, i % 2 == 0 ? "" : " where nobody tells");
		compiled_clear(&c);
	}
	/* An address that two pods have, of which one passes for certain. */
	t.inv.namespaces_told = true;
	t.pods[FRONT].addrs = t.pods[BLUE].addrs;
	c = test_compile(CLUSTER("  - {action: Pass, " TO("DoesNotExist") "}\n"), &t.inv);
	assert_int_equal(ask(&t, c.img, "10.0.0.6", 1), 'D');
	compiled_clear(&c);
}

/* The peers of the other kinds. */
static void other_kinds(void **state)
{
#define NP_HEAD                                                                                                        \
	"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: ns}\n"                  \
	"spec:\n  podSelector: {matchExpressions: [{key: app, operator: In, values: [web]}]}\n  policyTypes: "         \
	"[Egress]\n"
#define ADMIN                                                                                                          \
	"apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: c}\n"             \
	"spec:\n  tier: Admin\n  priority: 1\n  subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: "   \
	"{app: web}}}}\n"
	static const struct {
		const char *text, *addr;
		uint16_t port;
		char want;
	} rows[] = {
		{ NP_HEAD "  egress: [{to: [{podSelector: {matchLabels: {app: back}}}]}]\n", "10.0.0.2", 1, 'A' },
		{ NP_HEAD "  egress: [{to: [{podSelector: {matchLabels: {app: back}}}]}]\n", "10.0.0.6", 1, '-' },
		{ NP_HEAD "  egress: [{to: [{namespaceSelector: {matchLabels: {team: red}}}]}]\n", "10.0.0.6", 1, 'A' },
		{ NP_HEAD "  egress: [{to: [{namespaceSelector: {matchLabels: {team: red}}}]}]\n", "10.0.0.2", 1, '-' },
		{ NP_HEAD "  egress: [{to: [{namespaceSelector: {}, podSelector: {matchLabels: {app: front}}}]}]\n",
		  "10.0.0.6", 1, '-' },
		{ NP_HEAD
		  "  egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: far}}}]}]\n",
		  "10.0.0.6", 1, 'A' },
		{ NP_HEAD "  egress: [{to: [{podSelector: {}}], ports: [{port: http}]}]\n", "10.0.0.1", 8080, 'A' },
		{ NP_HEAD "  egress: [{to: [{podSelector: {}}], ports: [{port: http}]}]\n", "10.0.0.1", 9090, '-' },
		{ NP_HEAD "  egress: [{to: [{podSelector: {}}], ports: [{port: 79, endPort: 90}]}]\n", "10.0.0.1", 90,
		  'A' },
		{ NP_HEAD "  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.2/32]}}]}]\n", "10.0.0.2", 1,
		  '-' },
		{ NP_HEAD "  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.2/32]}}]}]\n", "10.0.0.1", 1,
		  'A' },
		{ ADMIN "  egress: [{action: Deny, to: [{namespaces: {matchLabels: {team: red}}}]}]\n", "10.0.0.6", 1,
		  'D' },
		{ ADMIN "  egress: [{action: Deny, to: [{namespaces: {matchLabels: {team: red}}}]}]\n", "10.0.0.2", 1,
		  'A' },
		{ ADMIN
		  "  egress: [{action: Deny, to: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: "
		  "front}}}}], protocols: [{destinationNamedPort: http}]}]\n",
		  "10.0.0.1", 8080, 'D' },
		{ ADMIN "  egress: [{action: Deny, to: [{nodes: {matchLabels: {role: edge}}}]}]\n", "10.1.0.1", 1,
		  'D' },
		{ ADMIN "  egress: [{action: Deny, to: [{nodes: {matchLabels: {role: edge}}}]}]\n", "10.1.0.2", 1,
		  'A' },
	};
	struct town t;

	(void)state;
	town_build(&t);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct compiled c = test_compile(rows[i].text, &t.inv);
		char got = ask(&t, c.img, rows[i].addr, rows[i].port);

		if (got != rows[i].want)
			fail_msg("%s: %s:%u is %c", rows[i].text, rows[i].addr, rows[i].port, got);
		compiled_clear(&c);
	}
}

/* What kube-proxy does not serve goes where it is written, and externalIPs are anybody's to write: backends open none. */
static void services_without_proxy(void **state)
{
	static const struct label other_proxy[] = { { "team", "red" },
						    { "service.kubernetes.io/service-proxy-name", "mine" } };
	static const struct label headless[] = { { "service.kubernetes.io/headless", "" } };
	static const struct {
		const struct label *labels;
		size_t nlabels, naddrs;
		const char *egress;
		uint16_t port;
		char want;
	} rows[] = {
		{ red_label, 1, 1, "{toEndpoints: [{matchLabels: {app: front}}]}", 80, 'A' },
		{ other_proxy, 2, 1, "{toEndpoints: [{matchLabels: {app: front}}]}", 80, '-' },
		{ headless, 1, 1, "{toEndpoints: [{matchLabels: {app: front}}]}", 80, '-' },
		{ red_label, 1, 0, "{toEndpoints: [{matchLabels: {app: front}}]}", 80, '-' },
		{ red_label, 1, 0, "{toEntities: [world]}", 81, 'A' },
	};
	struct town t;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[512], got;
		struct compiled c;

		town_build(&t);
		t.services[0].labels = rows[i].labels;
		t.services[0].nlabels = rows[i].nlabels;
		t.services[0].naddrs = rows[i].naddrs;
		snprintf(text, sizeof(text), HEAD "  egress: [%s]\n", rows[i].egress);
		c = test_compile(text, &t.inv);
		got = ask(&t, c.img, "198.51.100.7", rows[i].port);
		if (got != rows[i].want)
			fail_msg("row %zu: %c, expected %c", i, got, rows[i].want);
		compiled_clear(&c);
	}
}

/* Services: judged by their ready backends on the backends' ports. */
static void services(void **state)
{
#define BACKS	     "{toEndpoints: [{matchLabels: {app: back}}]}"
#define FRONTS(rest) "{toEndpoints: [{matchLabels: {app: front}}]" rest "}"
#define PORT(p)	     ", toPorts: [{ports: [{port: \"" #p "\"}]}]"
	static const struct {
		const char *egress, *deny, *addr;
		uint16_t port;
		char want;
	} rows[] = {
		{ FRONTS(""), NULL, "172.20.0.1", 80, 'A' },
		{ FRONTS(""), NULL, "172.20.0.1", 8080, '-' },
		{ FRONTS(PORT(8080)), NULL, "172.20.0.1", 80, 'A' },
		{ FRONTS(PORT(80)), NULL, "172.20.0.1", 80, '-' },
		{ "{toPorts: [{ports: [{port: \"8080\"}]}]}", NULL, "172.20.0.1", 80, 'A' },
		{ "{toPorts: [{ports: [{port: \"80\"}]}]}", NULL, "172.20.0.1", 80, '-' },
		{ FRONTS(""), "{toEndpoints: [{matchLabels: {app: front}}]" PORT(8080) "}", "172.20.0.1", 80, 'D' },
		{ "{toEntities: [cluster]}", NULL, "172.20.0.1", 80, 'A' },
		{ "{toEntities: [cluster]}", NULL, "172.20.0.1", 81, '-' },
		{ "{toEntities: [cluster]}", NULL, "172.20.0.77", 80, '-' },
		{ "{toEntities: [world]}", NULL, "172.20.0.77", 80, '-' }, /* inside the Service CIDR: not world */
		{ "{toEntities: [world]}", NULL, "172.20.0.1", 80, '-' },
		{ "{toEntities: [world]}", NULL, "172.20.0.3", 443, 'A' }, /* its backend is outside */
		{ "{toCIDR: [172.20.0.0/16]}", NULL, "172.20.0.1", 80, '-' },
		{ "{toCIDR: [192.0.2.0/24]}", NULL, "172.20.0.3", 443, 'A' },
		{ "{toServices: [{k8sService: {serviceName: ext, namespace: ns}}]}", NULL, "172.20.0.3", 443, 'A' },
		{ "{toServices: [{k8sService: {serviceName: ext, namespace: ns}}]}", NULL, "192.0.2.1", 6443, 'A' },
		{ "{toEntities: [kube-apiserver]}", NULL, "172.20.0.9", 443, 'A' },
		/* The not-ready backend does not count; the host-network pod is its node. */
		{ BACKS, NULL, "172.20.0.2", 80, '-' },
		{ BACKS ", {toEntities: [host]}", NULL, "172.20.0.2", 80, 'A' },
		{ BACKS ", {toEntities: [host]}", "{toEntities: [host]}", "172.20.0.2", 80, 'D' },
		/* Other frontends: the load balancer's address and node ports. */
		{ FRONTS(""), NULL, "198.51.100.7", 80, 'A' },
		{ FRONTS(""), NULL, "198.51.100.7", 81, '-' },
		{ "{toEntities: [world]}", NULL, "198.51.100.7", 80, '-' },
		{ "{toEntities: [world]}", NULL, "198.51.100.7", 81, 'A' },
		{ FRONTS(""), NULL, "10.1.0.2", 30080, '-' }, /* others share it, and are not admitted */
		{ FRONTS("") ", {toEndpoints: [{}]}, {toEntities: [host]}", NULL, "10.1.0.2", 30080, 'A' },
	};
	struct town t;

	(void)state;
	town_build(&t);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[1024], got;
		struct compiled c;

		snprintf(text, sizeof(text), HEAD "  egress: [%s]\n%s%s%s", rows[i].egress,
			 rows[i].deny ? "  egressDeny: [" : "", rows[i].deny ? rows[i].deny : "",
			 rows[i].deny ? "]\n" : "");
		c = test_compile(text, &t.inv);
		got = ask(&t, c.img, rows[i].addr, rows[i].port);
		if (got != rows[i].want)
			fail_msg("%s / %s: %s:%u is %c", rows[i].egress, rows[i].deny ? rows[i].deny : "", rows[i].addr,
				 rows[i].port, got);
		compiled_clear(&c);
	}
}

/* A mixed Service is reported, with the backend that spoils it. */
static void mixed_is_reported(void **state)
{
	CLEANUP(store_freep) struct store *s = NULL;
	struct diags d = {};
	uint8_t *data = NULL;
	struct town t;
	size_t len;

	(void)state;
	town_build(&t);
	assert_int_equal(store_new(&s), 0);
	assert_int_equal(test_update(s, "f", HEAD "  egress: [" BACKS "]\n", &d), 0);
	assert_int_equal(compile(s, &web, &t.inv, &d, &data, &len), 0);
	assert_true(has_diag(
		&d, "f:6:", "Service ns/mix port 80 is denied: its backend 10.1.0.1 of pod hostnet is not admitted"));
	free(data);
	diags_clear(&d);
}

/* Prefixes of the other kinds mean ClusterIPs as they are written; a denied backend still denies. */
static void written_cluster_ips(void **state)
{
#define DNS ANP_HEAD "  egress: [{to: [{ipBlock: {cidr: 172.20.0.0/16}}], ports: [{port: 80}]}]\n"
	struct compiled c;
	struct town t;

	(void)state;
	town_build(&t);
	c = test_compile(DNS, &t.inv);
	assert_int_equal(ask(&t, c.img, "172.20.0.1", 80), 'A');
	assert_int_equal(ask(&t, c.img, "172.20.0.77", 80), 'A');
	assert_int_equal(ask(&t, c.img, "172.20.0.1", 443), '-');
	compiled_clear(&c);
	c = test_compile(DNS "---\n" CNP_HEAD "  egressDeny: [{toEndpoints: [{matchLabels: {app: front}}]}]\n", &t.inv);
	assert_int_equal(ask(&t, c.img, "172.20.0.1", 80), 'D');
	assert_int_equal(ask(&t, c.img, "172.20.0.2", 80), 'A');
	compiled_clear(&c);
}

/* Names under the cluster domain: AWS's dialect opens the pods the inventory has for them, Cilium's none. */
static void cluster_names(void **state)
{
#define NAMED(name) ANP_HEAD "  egress: [{to: [{domainNames: [\"" name "\"]}], ports: [{port: 9090}]}]\n"
	static const struct {
		const char *text;
		const char *want; /* back-0, back-1, blue, hostnet's node, ClusterIP of front */
	} rows[] = {
		{ NAMED("peers.ns.svc.cluster.local"), "AA---" },
		{ NAMED("back-0.peers.ns.svc.cluster.local"), "A----" },
		{ NAMED("10-0-0-3.peers.ns.svc.cluster.local"), "-A---" },
		{ NAMED("*.peers.ns.svc.cluster.local"), "AA---" },
		{ NAMED("10-0-0-6.far.pod.cluster.local"), "--A--" },
		{ NAMED("10-0-0-6.ns.pod.cluster.local"), "-----" },
		{ NAMED("front.ns.svc.cluster.local"), "-----" },
		{ NAMED("peers.ns.svc.example.local"), "-----" },
		{ CNP_HEAD "  egress: [{toFQDNs: [{matchName: peers.ns.svc.cluster.local}]}]\n", "-----" },
	};
	struct town t;

	(void)state;
	town_build(&t);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct compiled c = test_compile(rows[i].text, &t.inv);
		char got[] = { ask(&t, c.img, "10.0.0.2", 9090),   ask(&t, c.img, "10.0.0.3", 9090),
			       ask(&t, c.img, "10.0.0.6", 9090),   ask(&t, c.img, "10.1.0.1", 9090),
			       ask(&t, c.img, "172.20.0.1", 9090), '\0' };

		if (strcmp(got, rows[i].want) != 0)
			fail_msg("%s: %s, expected %s", rows[i].text, got, rows[i].want);
		compiled_clear(&c);
	}
}

/* Names of Services that may be reached may be asked by who has name rules; the others' may not. */
static void service_names(void **state)
{
	struct compiled c;
	struct town t;

	(void)state;
	town_build(&t);
	c = test_compile(HEAD "  egress: [" FRONTS("") ", {toFQDNs: [{matchName: a.b}]}]\n", &t.inv);
	assert_int_equal(test_name(c.img, "front.ns.svc.cluster.local"), 'a');
	assert_int_equal(test_name(c.img, "mix.ns.svc.cluster.local"), '-');
	compiled_clear(&c);
	/* One backend is enough to ask, ready or not. */
	c = test_compile(HEAD "  egress: [" BACKS ", {toFQDNs: [{matchName: a.b}]}]\n", &t.inv);
	assert_int_equal(test_name(c.img, "mix.ns.svc.cluster.local"), 'a');
	assert_int_equal(test_name(c.img, "peers.ns.svc.cluster.local"), 'a');
	compiled_clear(&c);
}

static uint64_t key_of(const char *text, const struct inventory *inv)
{
	CLEANUP(store_freep) struct store *s = NULL;
	struct diags d = {};
	uint64_t key;

	assert_int_equal(store_new(&s), 0);
	assert_int_equal(test_update(s, "f", text, &d), 0);
	key = test_key(s, inv);
	diags_clear(&d);
	return key;
}

/* A change of the inventory moves the keys of those it concerns, and no others'. */
static void keys(void **state)
{
#define EGRESS(rule) HEAD "  egress: [" rule "]\n"
	static const struct {
		const char *text;
		bool moves_by_back, moves_by_front;
	} rows[] = {
		{ EGRESS(BACKS), true, false },
		{ EGRESS(FRONTS("")), false, true },
		{ EGRESS("{toCIDR: [8.0.0.0/8]}"), false, false },
		{ EGRESS("{toFQDNs: [{matchName: a.b}]}"), false, false },
		{ EGRESS("{toServices: [{k8sService: {serviceName: mix, namespace: ns}}]}"), true, false },
		/* Which pod such a name is of is not asked: it may be any's. */
		{ NAMED("10-0-0-2.ns.pod.cluster.local"), true, true },
		{ NAMED("a.b"), false, false },
	};
	struct town t;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t before, back, front;

		town_build(&t);
		before = key_of(rows[i].text, &t.inv);
		assert_true(before == key_of(rows[i].text, &t.inv));
		t.addrs[BACK] = test_addr("10.0.9.9");
		back = key_of(rows[i].text, &t.inv);
		town_build(&t);
		t.pods[FRONT].not_running = true;
		front = key_of(rows[i].text, &t.inv);
		if ((back != before) != rows[i].moves_by_back || (front != before) != rows[i].moves_by_front)
			fail_msg("%s", rows[i].text);
	}
}

static void traced(void **state)
{
	CLEANUP(store_freep) struct store *s = NULL;
	struct trace_query q = { .remote = test_addr("8.8.8.8"), .proto = IPPROTO_TCP, .port = 443, .name = "a.b" };
	struct trace_rule *rules = NULL;
	struct diags d = {};
	size_t n = 0;

	(void)state;
	assert_int_equal(store_new(&s), 0);
	assert_int_equal(test_update(s, "f",
				     HEAD "  egress:\n  - toCIDR: [8.0.0.0/8]\n  - toFQDNs: [{matchPattern: \"*.b\"}]\n"
					  "  - toCIDR: [9.0.0.0/8]\n  egressDeny:\n  - toEntities: [world]\n",
				     &d),
			 0);
	assert_int_equal(compile_trace(s, &web, NULL, &q, &rules, &n), 0);
	assert_int_equal(n, 3);
	assert_string_equal(rules[0].text, "egressDeny toEntities world any port");
	assert_string_equal(rules[0].action, "deny");
	assert_int_equal(rules[0].line, 11);
	assert_string_equal(rules[1].text, "toCIDR 8.0.0.0/8 any port");
	assert_true(rules[2].by_name);
	free(rules);
	diags_clear(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(selectors),
		cmocka_unit_test(namespaces_not_heard_of),
		cmocka_unit_test(other_kinds),
		cmocka_unit_test(services),
		cmocka_unit_test(services_without_proxy),
		cmocka_unit_test(mixed_is_reported),
		cmocka_unit_test(written_cluster_ips),
		cmocka_unit_test(cluster_names),
		cmocka_unit_test(service_names),
		cmocka_unit_test(keys),
		cmocka_unit_test(traced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
