/* SPDX-License-Identifier: Apache-2.0 */
/* Kubernetes objects as an inventory: what is read of each, what outlives the text, what is passed over. */
#include "policy/objects.h"

#include <netinet/in.h>

#include "base/strbuf.h"
#include "tests/unit/policy/policy_test.h"

#define POD(name, rest)                                                                                                \
	"apiVersion: v1\nkind: Pod\nmetadata: {name: " name ", namespace: ns, labels: {app: web}}\n" rest
#define DOC "---\n"

struct read {
	struct objects o;
	struct diags diags;
	size_t errors;
	size_t others; /* documents that hold something else */
};

/* The text and its tree are gone afterwards. */
static void read_all(struct read *r, const char *text)
{
	struct yctx c = { .file = "f", .diags = &r->diags };
	char *copy = strdup(text);
	struct ydocs *docs = NULL;

	*r = (struct read){};
	assert_non_null(copy);
	assert_int_equal(yaml_read("f", copy, strlen(copy), &r->diags, &docs), 0);
	for (size_t i = 0; i < docs->count; i++)
		r->others += objects_add(&r->o, &c, docs->roots[i]) != NULL;
	r->errors = c.errors;
	ydocs_freep(&docs);
	free(copy);
}

static void read_clear(struct read *r)
{
	objects_clear(&r->o);
	diags_clear(&r->diags);
}

static void test_pod(void **state)
{
	CLEANUP(read_clear) struct read r;
	const struct subject *p;

	(void)state;
	read_all(
		&r,
		POD("a", "spec: {nodeName: n1, serviceAccountName: sa, hostname: h, subdomain: s, containers: [{ports: "
			 "[{name: http, containerPort: 8080}, {containerPort: 1}]}, {ports: [{name: dns, "
			 "containerPort: 53, protocol: UDP}]}]}\n"
			 "status: {phase: Running, podIPs: [{ip: 10.0.0.1}, {ip: \"fd00::1\"}]}\n")
			DOC POD("b",
				"spec: {hostNetwork: true}\nstatus: {phase: Succeeded, podIP: 10.0.0.2, conditions: "
				"[{type: Ready, status: \"False\"}]}\n"));
	assert_int_equal(r.errors, 0);
	assert_int_equal(r.o.npods, 2);
	p = &r.o.pods[0];
	assert_string_equal(p->namespace_name, "ns");
	assert_string_equal(p->name, "a");
	assert_string_equal(p->node, "n1");
	assert_string_equal(p->service_account, "sa");
	assert_string_equal(p->hostname, "h");
	assert_string_equal(p->subdomain, "s");
	assert_string_equal(p->labels[0].value, "web");
	assert_int_equal(p->naddrs, 2);
	assert_int_equal(p->nports, 2);
	assert_string_equal(p->ports[1].name, "dns");
	assert_int_equal(p->ports[1].proto, IPPROTO_UDP);
	assert_false(p->not_running || p->not_ready || p->host_network);
	p = &r.o.pods[1];
	assert_true(p->not_running && p->not_ready && p->host_network);
	assert_int_equal(p->naddrs, 1);
}

static void test_the_others(void **state)
{
	CLEANUP(read_clear) struct read r;
	const struct inventory_service *s;

	(void)state;
	read_all(&r,
		 "apiVersion: v1\nkind: List\nitems:\n"
		 "- {apiVersion: v1, kind: Namespace, metadata: {name: ns, labels: {team: a}}}\n"
		 "- {apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: Hostname, address: "
		 "n1}, "
		 "{type: InternalIP, address: 10.1.0.1}]}}\n" DOC
		 "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: ns}\n"
		 "spec: {clusterIPs: [172.20.0.1], externalIPs: [192.0.2.1], selector: {app: web}, "
		 "publishNotReadyAddresses: true, ports: [{name: p, port: 80, targetPort: http, nodePort: 30080}, "
		 "{port: 81, targetPort: 8081, protocol: SCTP}]}\n"
		 "status: {loadBalancer: {ingress: [{ip: 192.0.2.2}]}}\n" DOC
		 "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
		 "metadata: {name: web-1, namespace: ns, labels: {kubernetes.io/service-name: web}}\n"
		 "endpoints: [{addresses: [10.0.0.1], conditions: {ready: false}, targetRef: {kind: Pod, name: a}}]\n"
		 "ports: [{name: p, port: 8080}]\n" DOC
		 "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: nobody's}\n");
	assert_int_equal(r.errors, 0);
	assert_int_equal(r.others, 0);
	assert_string_equal(r.o.namespaces[0].labels[0].key, "team");
	assert_int_equal(r.o.nodes[0].naddrs, 1);
	s = &r.o.services[0];
	assert_int_equal(s->naddrs, 1);
	assert_int_equal(s->nexternals, 2);
	assert_true(s->publish_not_ready);
	assert_string_equal(s->ports[0].target_name, "http");
	assert_int_equal(s->ports[0].node_port, 30080);
	assert_int_equal(s->ports[1].target_port, 8081);
	assert_int_equal(s->ports[1].proto, IPPROTO_SCTP);
	assert_int_equal(r.o.nslices, 1); /* without the label it is behind no Service */
	assert_string_equal(r.o.slices[0].service, "web");
	assert_true(r.o.slices[0].endpoints[0].not_ready);
	assert_string_equal(r.o.slices[0].endpoints[0].pod, "a");
	assert_int_equal(r.o.slices[0].ports[0].port, 8080);
}

/* Addresses as kube-proxy reads them: a backend that only we could not read would be one that nobody judges. */
static void test_odd_addresses(void **state)
{
	static const char *const same[] = { "10.0.0.1", "010.000.0.01", "::ffff:10.0.0.1", "::ffff:a00:1",
					    "0:0:0:0:0:FFFF:010.0.0.001" };
	CLEANUP(strbuf_clear) struct strbuf text = {};
	CLEANUP(read_clear) struct read r;
	struct sluice_addr wanted;

	(void)state;
	strbuf_addf(&text, "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
			   "metadata: {name: s, labels: {kubernetes.io/service-name: s}}\nendpoints:\n");
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		strbuf_addf(&text, "- {addresses: [\"%s\"]}\n", same[i]);
	strbuf_addf(&text, "- {addresses: [\"00fd::00a0\"]}\n" DOC
			   "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: FQDN\n"
			   "metadata: {name: n, labels: {kubernetes.io/service-name: s}}\n"
			   "endpoints: [{addresses: [a.example.com]}]\n");
	read_all(&r, text.data);
	assert_int_equal(r.errors, 0);
	assert_int_equal(r.o.nslices, 1);
	assert_int_equal(r.o.slices[0].nendpoints, ARRAY_SIZE(same) + 1);
	assert_int_equal(addr_parse("10.0.0.1", &wanted), 0);
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		assert_memory_equal(&r.o.slices[0].endpoints[i].addrs[0], &wanted, sizeof(wanted));
	assert_int_equal(addr_parse("fd::a0", &wanted), 0);
	assert_memory_equal(&r.o.slices[0].endpoints[ARRAY_SIZE(same)].addrs[0], &wanted, sizeof(wanted));
}

/* More than one chunk of memory, and an array larger than one. */
static void test_many(void **state)
{
	CLEANUP(strbuf_clear) struct strbuf text = {};
	CLEANUP(read_clear) struct read r;

	(void)state;
	strbuf_addf(&text, "apiVersion: v1\nkind: PodList\nitems:\n");
	for (int i = 0; i < 3000; i++)
		strbuf_addf(&text,
			    "- {apiVersion: v1, kind: Pod, metadata: {name: pod-%d, labels: {index: \"%d\"}}, "
			    "status: {podIP: 10.0.%d.%d}}\n",
			    i, i, i / 250, i % 250 + 1);
	strbuf_addf(&text, DOC "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  ports:\n");
	for (int i = 1; i <= 3000; i++)
		strbuf_addf(&text, "  - {name: p%d, port: %d}\n", i, i);
	read_all(&r, text.data);
	assert_int_equal(r.errors, 0);
	assert_int_equal(r.o.npods, 3000);
	assert_string_equal(r.o.pods[2999].name, "pod-2999");
	assert_string_equal(r.o.pods[1234].labels[0].value, "1234");
	assert_string_equal(r.o.services[0].ports[2999].name, "p3000");
	assert_true(r.o.nchunks > 1);
}

static void test_mistakes(void **state)
{
	CLEANUP(read_clear) struct read r;

	(void)state;
	read_all(&r, POD("a", "status: {podIP: 10.0.0.300}\n") DOC
		 "apiVersion: v1\nkind: Pod\nmetadata: {}\n" DOC
		 "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 70000}]}\n" DOC
		 "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 7, protocol: GRE}]}\n" DOC
		 "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n" DOC "apiVersion: v2\nkind: Pod\n" DOC
		 "apiVersion: v1\nkind: List\n" DOC "a: 1\n");
	assert_int_equal(r.errors, 4);
	assert_int_equal(r.others, 4);
	assert_true(has_diag(&r.diags, "f:4:17: error: ", "10.0.0.300"));
	assert_true(has_diag(&r.diags, "f:6:1: error: ", "metadata.name"));
	assert_true(has_diag(&r.diags, "f:13:", "70000"));
	assert_true(has_diag(&r.diags, "f:18:", "GRE"));
}

/* An endpoint of a pod's name is that pod, once; the rest of the pods follow. */
static void test_subjects(void **state)
{
	CLEANUP(read_clear) struct read r;
	const struct label own[] = { { "tier", "x" } };
	const struct sluice_addr addr = test_addr("10.0.0.9");
	const struct subject endpoints[] = {
		{ .namespace_name = "ns", .name = "b", .labels = own, .nlabels = 1, .addrs = &addr, .naddrs = 1 },
		{ .namespace_name = "other", .name = "a" },
		{ .namespace_name = "ns", .name = "a" },
	};
	CLEANUP(subjects_clear) struct subjects who = {};
	const struct subject *all;

	(void)state;
	read_all(&r, POD("a", "status: {podIP: 10.0.0.1}\n")
			     DOC POD("b", "spec: {serviceAccountName: sa}\nstatus: {podIP: 10.0.0.2}\n")
				     DOC POD("c", "status: {podIP: 10.0.0.3}\n"));
	assert_int_equal(objects_subjects(&r.o, endpoints, ARRAY_SIZE(endpoints), &who), 0);
	assert_int_equal(who.npods, 4);
	all = who.pods;
	assert_ptr_equal(all[0].labels, own);
	assert_ptr_equal(all[0].addrs, &addr);
	assert_string_equal(all[0].service_account, "sa");
	assert_int_equal(all[1].nlabels, 0);
	assert_string_equal(all[2].labels[0].key, "app");
	assert_int_equal(all[2].naddrs, 1);
	assert_string_equal(all[3].name, "c");
}

/* The same of kept pods, and of a pod with two interfaces, each of which is an endpoint. */
static void test_kept(void **state)
{
	const struct subject a = { .namespace_name = "ns", .name = "a" }, c = { .namespace_name = "ns", .name = "c" },
			     b = { .namespace_name = "ns", .name = "b", .service_account = "sa" },
			     d = { .namespace_name = "ns", .name = "d", .service_account = "sd" };
	struct kept_pod kept[] = { { &a, 4 }, { &b, 2 }, { &c, 9 }, { &d, 1 } };
	const struct objects o = { .kept = kept, .nkept = ARRAY_SIZE(kept) };
	const struct subject endpoints[] = { d, b, { .namespace_name = "ns", .name = "aa" }, b };
	CLEANUP(subjects_clear) struct subjects who = {};
	struct subject bare[ARRAY_SIZE(endpoints)];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++) {
		bare[i] = endpoints[i];
		bare[i].service_account = NULL;
	}
	assert_int_equal(objects_subjects(&o, bare, ARRAY_SIZE(bare), &who), 0);
	assert_int_equal(who.npods, 4);
	assert_string_equal(who.pods[0].service_account, "sd");
	assert_string_equal(who.pods[1].service_account, "sa");
	assert_null(who.pods[2].service_account);
	assert_string_equal(who.pods[3].service_account, "sa");
	assert_int_equal(who.nkept, 2);
	assert_ptr_equal(who.kept[0].pod, &a);
	assert_int_equal(who.kept[0].version, 4);
	assert_ptr_equal(who.kept[1].pod, &c);
}

/* An object that is there twice is told of with both places; equal names of two kinds or namespaces are two objects. */
static void test_duplicates(void **state)
{
	CLEANUP(read_clear) struct read r;

	(void)state;
	read_all(&r, POD("a", "") DOC POD("b", "") DOC POD("a", "status: {podIP: 10.0.0.2}\n") DOC
		 "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: ns}\n" DOC
		 "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: far}\n" DOC
		 "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n" DOC
		 "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n");
	assert_int_equal(objects_duplicates(&r.o, &r.diags), 2);
	assert_true(has_diag(&r.diags, "f:9:1: error", "Pod ns/a is already defined in f:1:1"));
	assert_true(has_diag(&r.diags, "f:26:1: error", "Namespace a is already defined in f:22:1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pod),	      cmocka_unit_test(test_the_others),
		cmocka_unit_test(test_odd_addresses), cmocka_unit_test(test_many),
		cmocka_unit_test(test_mistakes),      cmocka_unit_test(test_subjects),
		cmocka_unit_test(test_duplicates),    cmocka_unit_test(test_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
