/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one pod's change costs a node: the pass over its endpoints, by pods in the cluster, policies and endpoints of the
 * node. The objects and manifests are read as the agent reads them, and pods kept as its cache keeps them. Processor time; the
 * least of some rounds.
 *
 *   bench-pass [--quick | PODS POLICIES ENDPOINTS SERVICES]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/strbuf.h"
#include "policy/compile.h"
#include "policy/objects.h"

#define NAMESPACES    50
#define APPS	      40 /* per namespace */
#define SERVICE_PODS  5
#define PODS_PER_NODE 50

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

__attribute__((noreturn)) static void fail(const char *what)
{
	fprintf(stderr, "bench-pass: %s\n", what);
	exit(1);
}

struct size {
	unsigned int pods;
	unsigned int policies;
	unsigned int endpoints;
	unsigned int services;
};

/* ---- the world --------------------------------------------------------------------------------------------------- */

static void put_pod(struct strbuf *t, unsigned int n)
{
	strbuf_addf(t,
		    "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: pod-%05u\n  namespace: ns-%02u\n"
		    "  labels: {app: app-%u, tier: tier-%u, pod-template-hash: h%u, release: stable}\n"
		    "spec: {nodeName: node-%u, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}\n"
		    "status: {phase: Running, podIPs: [{ip: 10.%u.%u.%u}]}\n",
		    n, n % NAMESPACES, n / NAMESPACES % APPS, n % 7, n % 97, n / PODS_PER_NODE, 1 + n / 62500,
		    n / 250 % 250, 1 + n % 250);
}

static void put_node(struct strbuf *t, unsigned int n)
{
	strbuf_addf(t,
		    "---\napiVersion: v1\nkind: Node\nmetadata: {name: node-%u, labels: {zone: z%u}}\n"
		    "status: {addresses: [{type: InternalIP, address: 10.200.%u.%u}]}\n",
		    n, n % 3, n / 250, 1 + n % 250);
}

static void put_service(struct strbuf *t, unsigned int n)
{
	strbuf_addf(t,
		    "---\napiVersion: v1\nkind: Service\nmetadata: {name: svc-%u, namespace: ns-%02u}\n"
		    "spec: {clusterIPs: [172.20.%u.%u], selector: {app: app-%u},\n"
		    "       ports: [{name: http, port: 80, targetPort: 8080, protocol: TCP}]}\n"
		    "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: svc-%u, namespace: "
		    "ns-%02u, labels: {kubernetes.io/service-name: svc-%u}}\n"
		    "addressType: IPv4\nports: [{name: http, port: 8080, protocol: TCP}]\nendpoints:\n",
		    n, n % NAMESPACES, n / 250, 1 + n % 250, n / NAMESPACES % APPS, n, n % NAMESPACES, n);
	for (unsigned int i = 0; i < SERVICE_PODS; i++) {
		unsigned int pod = n + i * NAMESPACES * APPS;

		strbuf_addf(t,
			    "- {addresses: [10.%u.%u.%u], conditions: {ready: true}, targetRef: {kind: Pod, name: "
			    "pod-%05u}}\n",
			    1 + pod / 62500, pod / 250 % 250, 1 + pod % 250, pod);
	}
}

/* One kind at a time, since a file has a limit. */
static void read_objects(struct objects *o, struct strbuf *text)
{
	struct diags diags = {};
	struct yctx ctx = { .file = "world.yaml", .diags = &diags };
	CLEANUP(ydocs_freep) struct ydocs *docs = NULL;

	if (text->failed || yaml_read("world.yaml", text->data, text->len, &diags, &docs) < 0)
		fail("the objects cannot be read");
	for (size_t i = 0; i < docs->count; i++)
		objects_add(o, &ctx, docs->roots[i]);
	if (ctx.errors)
		fail("an object is refused");
	diags_clear(&diags);
	strbuf_clear(text);
}

static void build_world(const struct size *size, struct objects *o)
{
	CLEANUP(strbuf_clear) struct strbuf text = {};

	for (unsigned int n = 0; n < NAMESPACES; n++)
		strbuf_addf(&text,
			    "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ns-%02u, labels: {team: t%u}}\n", n,
			    n % 5);
	for (unsigned int n = 0; n < size->pods; n++) {
		put_pod(&text, n);
		if (n % 500 == 0)
			read_objects(o, &text);
	}
	for (unsigned int n = 0; n <= size->pods / PODS_PER_NODE; n++)
		put_node(&text, n);
	for (unsigned int n = 0; n < size->services; n++) {
		put_service(&text, n);
		if (n % 100 == 0)
			read_objects(o, &text);
	}
	read_objects(o, &text);
}

/* ---- the policies ------------------------------------------------------------------------------------------------ */

/* Of ten: two with pods of their own namespace, one with pods of others, one with a Service, the rest without any. */
static void put_peers(struct strbuf *t, unsigned int n)
{
	switch (n % 10) {
	case 0:
	case 1:
		strbuf_addf(t, "  - toEndpoints: [{matchLabels: {app: app-%u}}]\n", n / 10 % APPS);
		break;
	case 2:
		strbuf_addf(t,
			    "  - toEndpoints: [{matchLabels: {tier: tier-%u, "
			    "k8s:io.cilium.k8s.namespace.labels.team: t%u}}]\n",
			    n % 7, n % 5);
		break;
	case 3:
		strbuf_addf(t, "  - toServices: [{k8sService: {serviceName: svc-%u, namespace: ns-%02u}}]\n", n,
			    n % NAMESPACES);
		break;
	default:
		strbuf_addf(t, "  - toCIDR: [\"198.51.%u.0/24\"]\n", n % 256);
	}
}

/* Each selects one application of one namespace. */
static void put_policy(struct strbuf *t, unsigned int n)
{
	strbuf_addf(t,
		    "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p%u, namespace: ns-%02u}\n"
		    "spec:\n  endpointSelector: {matchLabels: {app: app-%u}}\n  egress:\n"
		    "  - toFQDNs: [{matchName: host-%u.example.com}]\n",
		    n, n % NAMESPACES, n / NAMESPACES % 5, n);
	put_peers(t, n);
}

static struct store *build_store(const struct size *size)
{
	struct diags diags = {};
	struct store *s = NULL;

	if (store_new(&s) < 0)
		fail("no memory");
	for (unsigned int n = 0; n < size->policies; n++) {
		CLEANUP(strbuf_clear) struct strbuf t = {};
		char file[32];

		snprintf(file, sizeof(file), "p%u.yaml", n);
		put_policy(&t, n);
		if (t.failed || store_update(s, file, t.data, t.len, &diags) != 0)
			fail("a policy is refused");
	}
	diags_clear(&diags);
	return s;
}

/* ---- the pass ---------------------------------------------------------------------------------------------------- */

struct run {
	struct size size;
	struct subject *pods; /* the first are the node's */
	struct objects objects;
	uint64_t version;
	struct store *store;
	struct compiler *compiler;
	uint64_t *keys;
};

struct cost {
	double all;    /* seconds */
	double gather; /* of it: who there is */
	double begin;  /* what changed */
	double keys;   /* whom it concerns */
	unsigned int concerned;
};

/* As agent/apply.c does it: endpoints with one key share an image. */
static void compile_changed(struct run *r, const struct inventory *inv, struct cost *cost)
{
	_cleanup_free_ uint64_t *compiled = calloc(r->size.endpoints, sizeof(*compiled));
	struct diags diags = {};

	for (unsigned int i = 0; i < r->size.endpoints; i++) {
		uint64_t key = compiler_key(r->compiler, &inv->pods[i]);
		_cleanup_free_ uint8_t *image = NULL;
		unsigned int k = 0;
		size_t len;

		while (k < cost->concerned && compiled[k] != key)
			k++;
		if (key == r->keys[i] || k < cost->concerned)
			continue;
		if (compiler_compile(r->compiler, &inv->pods[i], &diags, &image, &len) < 0)
			fail("does not compile");
		compiled[cost->concerned++] = key;
		r->keys[i] = key;
	}
	diags_clear(&diags);
}

static struct cost pass(struct run *r)
{
	CLEANUP(subjects_clear) struct subjects who = {};
	struct inventory inv = objects_inventory(&r->objects);
	struct cost cost = {};
	double start = now();

	if (objects_subjects(&r->objects, r->pods, r->size.endpoints, &who) < 0)
		fail("no memory");
	inv.pods = who.pods;
	inv.npods = who.npods;
	inv.kept = who.kept;
	inv.nkept = who.nkept;
	cost.gather = now() - start;
	if (compiler_begin(r->compiler, r->store, &inv) < 0)
		fail("no memory");
	cost.begin = now() - start - cost.gather;
	for (unsigned int i = 0; i < r->size.endpoints; i++)
		compiler_key(r->compiler, &inv.pods[i]);
	cost.keys = now() - start - cost.gather - cost.begin;
	compile_changed(r, &inv, &cost);
	cost.all = now() - start;
	return cost;
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

static struct kept_pod *kept_of(struct run *r, const struct subject *pod)
{
	size_t i = 0;

	while (r->objects.kept[i].pod != pod)
		i++;
	return &r->objects.kept[i];
}

/* A pod of another node becomes one that a policy of the node's lets its endpoints reach, and back. */
static void relabel(struct run *r, unsigned int round)
{
	static const struct label as_peer[] = { { "app", "app-0" }, { "tier", "tier-0" } };
	static const struct label as_other[] = { { "app", "else" }, { "tier", "else" } };
	struct subject *pod = &r->pods[r->size.pods - NAMESPACES + 0];

	pod->labels = round % 2 ? as_peer : as_other;
	pod->nlabels = 2;
	kept_of(r, pod)->version = ++r->version;
}

/* A backend of each of four Services is ready, or not: the last of them is a peer of a policy. */
static void flip_ready(struct run *r, unsigned int round)
{
	struct slice_endpoint *e;

	for (size_t i = 0; i < r->objects.nslices && i < 4; i++) {
		e = (struct slice_endpoint *)r->objects.slices[i].endpoints;
		e->not_ready = round % 2;
	}
}

static void change_policy(struct run *r, unsigned int round)
{
	CLEANUP(strbuf_clear) struct strbuf t = {};
	struct diags diags = {};

	put_policy(&t, 0);
	strbuf_addf(&t, "  - toCIDR: [\"203.0.113.%u/32\"]\n", round % 250);
	if (store_update(r->store, "p0.yaml", t.data, t.len, &diags) != 0)
		fail("a policy is refused");
}

static struct cost least(struct run *r, void (*change)(struct run *r, unsigned int round), unsigned int rounds)
{
	struct cost best = { .all = 1e9 };

	for (unsigned int i = 0; i < rounds; i++) {
		struct cost c;

		change(r, i);
		c = pass(r);
		/* The first two lead from the world as it was made to what the others change to and fro. */
		if (i >= 2 && c.all < best.all)
			best = c;
	}
	return best;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static int compare_kept(const void *a, const void *b)
{
	const struct subject *x = ((const struct kept_pod *)a)->pod, *y = ((const struct kept_pod *)b)->pod;
	int order = strcmp(x->namespace_name, y->namespace_name);

	return order ? order : strcmp(x->name, y->name);
}

static void keep_pods(struct run *r)
{
	struct objects *o = &r->objects;

	r->pods = TAKE_PTR(o->pods);
	o->nkept = o->npods;
	o->npods = 0;
	o->kept = calloc(o->nkept, sizeof(*o->kept));
	if (!o->kept)
		fail("no memory");
	for (size_t i = 0; i < o->nkept; i++)
		o->kept[i] = (struct kept_pod){ &r->pods[i], ++r->version };
	qsort(o->kept, o->nkept, sizeof(*o->kept), compare_kept);
}

static void open_run(struct run *r, const struct size *size)
{
	static const uint64_t seed[2] = { 1, 2 };

	*r = (struct run){ .size = *size };
	build_world(size, &r->objects);
	keep_pods(r);
	r->store = build_store(size);
	r->keys = calloc(size->endpoints, sizeof(*r->keys));
	if (!r->keys || compiler_new(seed, &r->compiler) < 0)
		fail("no memory");
}

static void close_run(struct run *r)
{
	compiler_freep(&r->compiler);
	store_freep(&r->store);
	objects_clear(&r->objects);
	free(r->keys);
	free(r->pods);
}

static double measure(const struct size *size, unsigned int rounds)
{
	struct run r;
	struct cost first, label, ready, policy;

	open_run(&r, size);
	first = pass(&r);
	label = least(&r, relabel, rounds);
	ready = least(&r, flip_ready, rounds);
	policy = least(&r, change_policy, rounds);
	printf("%6u %8u %9u %8u %9.2f %9.2f %7.2f %7.2f %7.2f %8u %9.2f %8u %9.2f\n", size->pods, size->policies,
	       size->endpoints, size->services, first.all * 1e3, label.all * 1e3, label.gather * 1e3, label.begin * 1e3,
	       label.keys * 1e3, label.concerned, ready.all * 1e3, ready.concerned, policy.all * 1e3);
	fflush(stdout);
	close_run(&r);
	return label.all;
}

int main(int argc, char **argv)
{
	static const struct size sizes[] = {
		{ 100, 1000, 50, 5 },	  { 1000, 1000, 250, 50 },  { 10000, 1000, 250, 50 },
		{ 20000, 1000, 250, 50 }, { 50000, 1000, 250, 50 }, { 10000, 1000, 250, 500 },
		{ 10000, 10, 250, 500 },  { 10000, 100, 250, 500 }, { 10000, 10000, 250, 500 },
		{ 10000, 1000, 10, 500 }, { 10000, 1000, 50, 500 }, { 20000, 1000, 250, 1000 },
	};
	bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
	unsigned int given[4] = {};

	printf("  pods policies endpoints services  first ms  label ms (gather   begin    keys, images) ready ms, "
	       "images  "
	       "policy ms\n");
	for (int i = 1; argc == 5 && i < argc; i++)
		given[i - 1] = (unsigned int)atoi(argv[i]);
	if (argc == 5) {
		measure(&(struct size){ given[0], given[1], given[2], given[3] }, 100);
		return 0;
	}
	for (size_t i = 0; i < (quick ? 2 : sizeof(sizes) / sizeof(*sizes)); i++)
		measure(&sizes[i], quick ? 4 : 12);
	return 0;
}
