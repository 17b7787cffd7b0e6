/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only what an inventory needs is read, and what an object lacks has the meaning of a running, ready one: these files are
 * written by hand, or come from `kubectl get -o yaml`, with all that the API adds.
 */
#include "tools/bpfctl/objects.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "policy/array.h"
#include "tools/bpfctl/tree.h"

struct reader {
	struct objects *objects;
	struct yctx *ctx;
	const struct ynode *root;
};

void objects_clear(struct objects *o)
{
	for (size_t i = 0; i < o->nblocks; i++)
		free(o->blocks[i]);
	free(o->blocks);
	free(o->pods);
	free(o->pod_nodes);
	free(o->namespaces);
	free(o->nodes);
	free(o->services);
	free(o->slices);
	*o = (struct objects){};
}

/* An array that lives as long as the objects; never NULL-sized. */
static void *room(struct reader *r, size_t count, size_t size)
{
	void **slot = array_push(&r->objects->blocks, &r->objects->nblocks, sizeof(*slot));

	if (slot)
		*slot = calloc(count ? count : 1, size);
	if (slot && *slot)
		return *slot;
	r->ctx->oom = true;
	return NULL;
}

/* ---- what the kinds share ----------------------------------------------------------------------------------------- */

static const char *namespace_of(const struct ynode *root)
{
	const char *text = tree_text(root, "metadata", "namespace", NULL);

	return text ? text : "default";
}

static const struct label *read_labels(struct reader *r, const struct ynode *mapping, size_t *ret_count)
{
	struct label *labels;

	*ret_count = 0;
	if (!mapping || mapping->kind != YNODE_MAPPING || mapping->count == 0)
		return NULL;
	labels = room(r, mapping->count, sizeof(*labels));
	for (size_t i = 0; labels && i < mapping->count; i++) {
		const char *value = tree_text(ynode_value(mapping, i), NULL);

		labels[(*ret_count)++] =
			(struct label){ .key = ynode_key(mapping, i)->text, .value = value ? value : "" };
	}
	return labels;
}

static const struct label *object_labels(struct reader *r, size_t *ret_count)
{
	const struct ynode *metadata = ynode_get(r->root, "metadata");

	return read_labels(r, metadata ? ynode_get(metadata, "labels") : NULL, ret_count);
}

static void add_addr(struct reader *r, const struct ynode *node, struct sluice_addr *addrs, size_t *count)
{
	const char *text = tree_text(node, NULL);

	if (!text || !*text || !strcmp(text, "None"))
		return;
	if (addr_parse(text, &addrs[*count]) < 0)
		yctx_error(r->ctx, node, "expected an IP address, got %.100s", text);
	else
		(*count)++;
}

/* The addresses of a list: its items, or their members `member`. */
static const struct sluice_addr *read_addrs(struct reader *r, const struct ynode *parent, const char *key,
					    const char *member, size_t *ret_count)
{
	const struct ynode *list;
	size_t n = tree_list(parent, key, &list);
	struct sluice_addr *addrs = n ? room(r, n, sizeof(*addrs)) : NULL;

	*ret_count = 0;
	for (size_t i = 0; addrs && i < n; i++) {
		const struct ynode *node = member ? ynode_get(list->items[i], member) : list->items[i];

		if (node)
			add_addr(r, node, addrs, ret_count);
	}
	return addrs;
}

static const struct sluice_addr *read_one_addr(struct reader *r, const struct ynode *parent, const char *key,
					       size_t *ret_count)
{
	const struct ynode *node = parent ? ynode_get(parent, key) : NULL;
	struct sluice_addr *addrs = node ? room(r, 1, sizeof(*addrs)) : NULL;

	*ret_count = 0;
	if (addrs)
		add_addr(r, node, addrs, ret_count);
	return addrs;
}

static uint8_t read_proto(struct reader *r, const struct ynode *port)
{
	const char *text = tree_text(port, "protocol", NULL);

	if (!text || !strcmp(text, "TCP"))
		return IPPROTO_TCP;
	if (!strcmp(text, "UDP"))
		return IPPROTO_UDP;
	if (strcmp(text, "SCTP") != 0)
		yctx_error(r->ctx, port, "protocol: expected TCP, UDP or SCTP, got %.100s", text);
	return IPPROTO_SCTP;
}

static uint16_t read_port(struct reader *r, const struct ynode *port, const char *key)
{
	const struct ynode *node = ynode_get(port, key);
	uint64_t n = 0;

	if (node && !ynode_is_null(node))
		yread_uint(r->ctx, node, key, 0, UINT16_MAX, &n);
	return (uint16_t)n;
}

static bool is_true(const struct ynode *parent, const char *key)
{
	const char *text = tree_text(parent, key, NULL);

	return text && !strcmp(text, "true");
}

/* ---- kinds -------------------------------------------------------------------------------------------------------- */

static bool is_running(const struct ynode *status)
{
	const char *phase = tree_text(status, "phase", NULL);

	return !phase || !strcmp(phase, "Running");
}

static bool is_ready(const struct ynode *status)
{
	const struct ynode *list;
	size_t n = tree_list(status, "conditions", &list);

	for (size_t i = 0; i < n; i++) {
		const char *type = tree_text(list->items[i], "type", NULL);
		const char *value = tree_text(list->items[i], "status", NULL);

		if (type && value && !strcmp(type, "Ready"))
			return !strcasecmp(value, "true");
	}
	return true;
}

static const struct pod_port *read_pod_ports(struct reader *r, const struct ynode *spec, size_t *ret_count)
{
	const struct ynode *containers, *ports;
	size_t n = tree_list(spec, "containers", &containers), total = 0;
	struct pod_port *all;

	*ret_count = 0;
	for (size_t i = 0; i < n; i++)
		total += tree_list(containers->items[i], "ports", &ports);
	all = total ? room(r, total, sizeof(*all)) : NULL;
	for (size_t i = 0; all && i < n; i++) {
		size_t count = tree_list(containers->items[i], "ports", &ports);

		for (size_t k = 0; k < count; k++) {
			const char *name = tree_text(ports->items[k], "name", NULL);

			if (name)
				all[(*ret_count)++] =
					(struct pod_port){ .name = name,
							   .port = read_port(r, ports->items[k], "containerPort"),
							   .proto = read_proto(r, ports->items[k]) };
		}
	}
	return all;
}

static void read_pod(struct reader *r)
{
	struct objects *o = r->objects;
	const struct ynode *spec = ynode_get(r->root, "spec"), *status = ynode_get(r->root, "status");
	struct subject *pod = array_push(&o->pods, &o->npods, sizeof(*pod));
	const char **node = pod ? array_push(&o->pod_nodes, &o->npod_nodes, sizeof(*node)) : NULL;

	if (!node) {
		r->ctx->oom = true;
		return;
	}
	*node = tree_text(spec, "nodeName", NULL);
	*pod = (struct subject){ .namespace_name = namespace_of(r->root),
				 .name = tree_text(r->root, "metadata", "name", NULL),
				 .service_account = tree_text(spec, "serviceAccountName", NULL),
				 .hostname = tree_text(spec, "hostname", NULL),
				 .subdomain = tree_text(spec, "subdomain", NULL),
				 .host_network = is_true(spec, "hostNetwork"),
				 .not_running = !is_running(status),
				 .not_ready = !is_ready(status) };
	pod->labels = object_labels(r, &pod->nlabels);
	pod->addrs = read_addrs(r, status, "podIPs", "ip", &pod->naddrs);
	if (!pod->naddrs)
		pod->addrs = read_one_addr(r, status, "podIP", &pod->naddrs);
	pod->ports = read_pod_ports(r, spec, &pod->nports);
}

static void read_namespace(struct reader *r)
{
	struct inventory_namespace *ns = array_push(&r->objects->namespaces, &r->objects->nnamespaces, sizeof(*ns));

	if (!ns) {
		r->ctx->oom = true;
		return;
	}
	ns->name = tree_text(r->root, "metadata", "name", NULL);
	ns->labels = object_labels(r, &ns->nlabels);
}

static void read_node(struct reader *r)
{
	const struct ynode *status = ynode_get(r->root, "status"), *list;
	size_t n = tree_list(status, "addresses", &list);
	struct inventory_node *node = array_push(&r->objects->nodes, &r->objects->nnodes, sizeof(*node));
	struct sluice_addr *addrs = room(r, n, sizeof(*addrs));

	if (!node || !addrs) {
		r->ctx->oom = true;
		return;
	}
	node->name = tree_text(r->root, "metadata", "name", NULL);
	node->labels = object_labels(r, &node->nlabels);
	for (size_t i = 0; i < n; i++) {
		const char *type = tree_text(list->items[i], "type", NULL);
		const struct ynode *address = ynode_get(list->items[i], "address");

		if (address && type && (!strcmp(type, "InternalIP") || !strcmp(type, "ExternalIP")))
			add_addr(r, address, addrs, &node->naddrs);
	}
	node->addrs = addrs;
}

static void read_service_port(struct reader *r, const struct ynode *port, struct service_port *ret)
{
	const struct ynode *target = ynode_get(port, "targetPort");

	*ret = (struct service_port){ .name = tree_text(port, "name", NULL),
				      .proto = read_proto(r, port),
				      .port = read_port(r, port, "port"),
				      .node_port = read_port(r, port, "nodePort") };
	if (target && target->kind == YNODE_SCALAR && target->scalar == YSCALAR_STRING)
		ret->target_name = target->text;
	else if (target)
		ret->target_port = read_port(r, port, "targetPort");
}

/* externalIPs, and the load balancer's. */
static void read_externals(struct reader *r, const struct ynode *spec, struct inventory_service *s)
{
	const struct ynode *status = ynode_get(r->root, "status");
	const struct ynode *balancer = status ? ynode_get(status, "loadBalancer") : NULL;
	size_t n, m;
	const struct sluice_addr *fixed = read_addrs(r, spec, "externalIPs", NULL, &n);
	const struct sluice_addr *given = read_addrs(r, balancer, "ingress", "ip", &m);
	struct sluice_addr *all = room(r, n + m, sizeof(*all));

	if (!all)
		return;
	if (n)
		memcpy(all, fixed, n * sizeof(*all));
	if (m)
		memcpy(all + n, given, m * sizeof(*all));
	s->externals = all;
	s->nexternals = n + m;
}

static void read_service(struct reader *r)
{
	const struct ynode *spec = ynode_get(r->root, "spec"), *list;
	size_t n = tree_list(spec, "ports", &list);
	struct inventory_service *s = array_push(&r->objects->services, &r->objects->nservices, sizeof(*s));
	struct service_port *ports = room(r, n, sizeof(*ports));

	if (!s || !ports) {
		r->ctx->oom = true;
		return;
	}
	s->namespace_name = namespace_of(r->root);
	s->name = tree_text(r->root, "metadata", "name", NULL);
	s->labels = object_labels(r, &s->nlabels);
	s->selector = read_labels(r, spec ? ynode_get(spec, "selector") : NULL, &s->nselector);
	s->addrs = read_addrs(r, spec, "clusterIPs", NULL, &s->naddrs);
	if (!s->naddrs)
		s->addrs = read_one_addr(r, spec, "clusterIP", &s->naddrs);
	read_externals(r, spec, s);
	s->publish_not_ready = is_true(spec, "publishNotReadyAddresses");
	for (size_t i = 0; i < n; i++)
		read_service_port(r, list->items[i], &ports[i]);
	s->ports = ports;
	s->nports = n;
}

static void read_slice_endpoint(struct reader *r, const struct ynode *node, struct slice_endpoint *ret)
{
	const char *ready = tree_text(node, "conditions", "ready", NULL);
	const char *kind = tree_text(node, "targetRef", "kind", NULL);

	*ret = (struct slice_endpoint){ .hostname = tree_text(node, "hostname", NULL),
					.not_ready = ready && !strcmp(ready, "false") };
	if (kind && !strcmp(kind, "Pod"))
		ret->pod = tree_text(node, "targetRef", "name", NULL);
	ret->addrs = read_addrs(r, node, "addresses", NULL, &ret->naddrs);
}

static void read_slice(struct reader *r)
{
	const struct ynode *endpoints, *ports;
	size_t n = tree_list(r->root, "endpoints", &endpoints), m = tree_list(r->root, "ports", &ports);
	struct inventory_slice *s = array_push(&r->objects->slices, &r->objects->nslices, sizeof(*s));
	struct slice_endpoint *e = room(r, n, sizeof(*e));
	struct slice_port *p = room(r, m, sizeof(*p));

	if (!s || !e || !p) {
		r->ctx->oom = true;
		return;
	}
	for (size_t i = 0; i < n; i++)
		read_slice_endpoint(r, endpoints->items[i], &e[i]);
	for (size_t i = 0; i < m; i++)
		p[i] = (struct slice_port){ .name = tree_text(ports->items[i], "name", NULL),
					    .proto = read_proto(r, ports->items[i]),
					    .port = read_port(r, ports->items[i], "port") };
	*s = (struct inventory_slice){ .namespace_name = namespace_of(r->root),
				       .service = tree_text(r->root, "metadata", "labels", "kubernetes.io/service-name",
							    NULL),
				       .endpoints = e,
				       .nendpoints = n,
				       .ports = p,
				       .nports = m };
}

/* ---- documents ---------------------------------------------------------------------------------------------------- */

void objects_add(struct objects *o, struct yctx *c, const struct ynode *root)
{
	static const struct {
		const char *version;
		const char *kind;
		void (*read)(struct reader *r);
	} kinds[] = {
		{ "v1", "Pod", read_pod },
		{ "v1", "Namespace", read_namespace },
		{ "v1", "Node", read_node },
		{ "v1", "Service", read_service },
		{ "discovery.k8s.io/v1", "EndpointSlice", read_slice },
	};
	struct reader r = { .objects = o, .ctx = c, .root = root };
	const char *version = tree_text(root, "apiVersion", NULL), *kind = tree_text(root, "kind", NULL);
	const struct ynode *items;
	size_t n = tree_list(root, "items", &items);

	if (!version || !kind)
		return;
	for (size_t i = 0; n && i < n && strlen(kind) >= 4 && !strcmp(kind + strlen(kind) - 4, "List"); i++)
		objects_add(o, c, items->items[i]);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kinds[i].version, version) != 0 || strcmp(kinds[i].kind, kind) != 0)
			continue;
		if (tree_text(root, "metadata", "name", NULL))
			kinds[i].read(&r);
		else
			yctx_error(c, root, "%s: expected a metadata.name", kind);
	}
}
