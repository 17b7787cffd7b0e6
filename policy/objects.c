/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only what an inventory needs is read, and what an object lacks has the meaning of a running, ready one: these files are
 * written by hand, or come from `kubectl get -o yaml`, with all that the API adds.
 */
#include "policy/objects.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "policy/array.h"
#include "policy/pods.h"

/* One object by itself takes little, many together few chunks. */
#define FIRST_CHUNK   512u
#define CHUNK_DOUBLES 7u

struct reader {
	struct objects *objects;
	struct yctx *ctx;
	const struct ynode *root;
};

void objects_clear(struct objects *o)
{
	for (size_t i = 0; i < o->nchunks; i++)
		free(o->chunks[i]);
	free(o->chunks);
	free(o->pods);
	free(o->kept);
	free(o->namespaces);
	free(o->nodes);
	free(o->services);
	free(o->slices);
	free(o->places);
	*o = (struct objects){};
}

static size_t next_chunk(const struct objects *o)
{
	return FIRST_CHUNK << (o->nchunks < CHUNK_DOUBLES ? o->nchunks : CHUNK_DOUBLES);
}

/* Sees to it that so many bytes are left. False: out of memory, which the context knows. */
static bool reserve(struct reader *r, size_t bytes)
{
	struct objects *o = r->objects;
	size_t chunk = next_chunk(o);
	void **slot;

	o->used += bytes;
	if (bytes <= o->left)
		return true;
	chunk = bytes > chunk ? bytes : chunk;
	slot = array_push(&o->chunks, &o->nchunks, sizeof(*slot));
	if (slot)
		*slot = calloc(1, chunk);
	if (!slot || !*slot) {
		r->ctx->oom = true;
		return false;
	}
	o->free = *slot;
	o->left = chunk;
	return true;
}

/* Zeroed memory that lives as long as the objects, never NULL-sized. NULL: out of memory, which the context knows. */
static void *room(struct reader *r, size_t count, size_t size)
{
	const size_t unit = _Alignof(max_align_t);
	struct objects *o = r->objects;
	size_t bytes = count && size ? (count * size + unit - 1) / unit * unit : unit;
	void *ret;

	if (!reserve(r, bytes))
		return NULL;
	ret = o->free;
	o->free += bytes;
	o->left -= bytes;
	return ret;
}

/* A copy that lives as long as the objects; of NULL, NULL. Text needs no alignment, and is taken from a chunk's other end. */
static const char *keep(struct reader *r, const char *text)
{
	struct objects *o = r->objects;
	size_t bytes = text ? strlen(text) + 1 : 0;

	if (!text || !reserve(r, bytes))
		return NULL;
	o->left -= bytes;
	return memcpy(o->free + o->left, text, bytes);
}

/* ---- what the kinds share ----------------------------------------------------------------------------------------- */

static const char *namespace_of(struct reader *r)
{
	const char *text = ynode_text(r->root, "metadata", "namespace", NULL);

	return text ? keep(r, text) : "default";
}

static const char *name_of(struct reader *r)
{
	return keep(r, ynode_text(r->root, "metadata", "name", NULL));
}

static const struct label *read_labels(struct reader *r, const struct ynode *mapping, size_t *ret_count)
{
	struct label *labels;

	*ret_count = 0;
	if (!mapping || mapping->kind != YNODE_MAPPING || mapping->count == 0)
		return NULL;
	labels = room(r, mapping->count, sizeof(*labels));
	*ret_count = labels ? mapping->count : 0;
	for (size_t i = 0; i < *ret_count; i++) {
		const char *value = ynode_text(ynode_value(mapping, i), NULL);

		labels[i] = (struct label){ keep(r, ynode_key(mapping, i)->text), keep(r, value ? value : "") };
	}
	return labels;
}

static const struct label *object_labels(struct reader *r, size_t *ret_count)
{
	const struct ynode *metadata = ynode_get(r->root, "metadata");

	return read_labels(r, metadata ? ynode_get(metadata, "labels") : NULL, ret_count);
}

/*
 * As kube-proxy reads it: zeros in front of a number do not count, and an IPv4 address mapped into IPv6 is that one. Old
 * objects have such, and EndpointSlices that are written by hand; one that only we cannot read would be a backend that
 * nobody judges.
 */
static int parse_addr(const char *text, struct sluice_addr *ret)
{
	char plain[INET6_ADDRSTRLEN];
	struct in6_addr in6;
	size_t len = 0;

	for (const char *p = text; *p; p++) {
		bool begins = p == text || p[-1] == '.' || p[-1] == ':';

		while (begins && *p == '0' && isdigit((unsigned char)p[1]))
			p++;
		if (len + 1 == sizeof(plain))
			return -EINVAL;
		plain[len++] = *p;
	}
	plain[len] = '\0';
	if (inet_pton(AF_INET6, plain, &in6) != 1)
		return addr_parse(plain, ret);
	addr_from_in6(&in6, ret);
	return 0;
}

static void add_addr(struct reader *r, const struct ynode *node, struct sluice_addr *addrs, size_t *count)
{
	const char *text = ynode_text(node, NULL);

	if (!text || !*text || !strcmp(text, "None"))
		return;
	if (parse_addr(text, &addrs[*count]) < 0)
		yctx_error(r->ctx, node, "expected an IP address, got %.100s", text);
	else
		(*count)++;
}

/* The addresses of a list: its items, or their members `member`. */
static const struct sluice_addr *read_addrs(struct reader *r, const struct ynode *parent, const char *key,
					    const char *member, size_t *ret_count)
{
	const struct ynode *list;
	size_t n = ynode_list(parent, key, &list);
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
	const char *text = ynode_text(port, "protocol", NULL);

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
	const char *text = ynode_text(parent, key, NULL);

	return text && !strcmp(text, "true");
}

/* ---- kinds -------------------------------------------------------------------------------------------------------- */

static bool is_running(const struct ynode *status)
{
	const char *phase = ynode_text(status, "phase", NULL);

	return !phase || !strcmp(phase, "Running");
}

static bool is_ready(const struct ynode *status)
{
	const struct ynode *list;
	size_t n = ynode_list(status, "conditions", &list);

	for (size_t i = 0; i < n; i++) {
		const char *type = ynode_text(list->items[i], "type", NULL);
		const char *value = ynode_text(list->items[i], "status", NULL);

		if (type && value && !strcmp(type, "Ready"))
			return !strcasecmp(value, "true");
	}
	return true;
}

static const struct pod_port *read_pod_ports(struct reader *r, const struct ynode *spec, size_t *ret_count)
{
	const struct ynode *containers, *ports;
	size_t n = ynode_list(spec, "containers", &containers), total = 0;
	struct pod_port *all;

	*ret_count = 0;
	for (size_t i = 0; i < n; i++)
		total += ynode_list(containers->items[i], "ports", &ports);
	all = total ? room(r, total, sizeof(*all)) : NULL;
	for (size_t i = 0; all && i < n; i++) {
		size_t count = ynode_list(containers->items[i], "ports", &ports);

		for (size_t k = 0; k < count; k++) {
			const char *name = ynode_text(ports->items[k], "name", NULL);

			if (name)
				all[(*ret_count)++] =
					(struct pod_port){ .name = keep(r, name),
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

	if (!pod) {
		r->ctx->oom = true;
		return;
	}
	*pod = (struct subject){ .namespace_name = namespace_of(r),
				 .name = name_of(r),
				 .node = keep(r, ynode_text(spec, "nodeName", NULL)),
				 .service_account = keep(r, ynode_text(spec, "serviceAccountName", NULL)),
				 .hostname = keep(r, ynode_text(spec, "hostname", NULL)),
				 .subdomain = keep(r, ynode_text(spec, "subdomain", NULL)),
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
	ns->name = name_of(r);
	ns->labels = object_labels(r, &ns->nlabels);
}

static void read_node(struct reader *r)
{
	const struct ynode *status = ynode_get(r->root, "status"), *list;
	size_t n = ynode_list(status, "addresses", &list);
	struct inventory_node *node = array_push(&r->objects->nodes, &r->objects->nnodes, sizeof(*node));
	struct sluice_addr *addrs = room(r, n, sizeof(*addrs));

	if (!node || !addrs) {
		r->ctx->oom = true;
		return;
	}
	node->name = name_of(r);
	node->labels = object_labels(r, &node->nlabels);
	for (size_t i = 0; i < n; i++) {
		const char *type = ynode_text(list->items[i], "type", NULL);
		const struct ynode *address = ynode_get(list->items[i], "address");

		if (address && type && (!strcmp(type, "InternalIP") || !strcmp(type, "ExternalIP")))
			add_addr(r, address, addrs, &node->naddrs);
	}
	node->addrs = addrs;
}

static void read_service_port(struct reader *r, const struct ynode *port, struct service_port *ret)
{
	const struct ynode *target = ynode_get(port, "targetPort");

	*ret = (struct service_port){ .name = keep(r, ynode_text(port, "name", NULL)),
				      .proto = read_proto(r, port),
				      .port = read_port(r, port, "port"),
				      .node_port = read_port(r, port, "nodePort") };
	if (target && target->kind == YNODE_SCALAR && target->scalar == YSCALAR_STRING)
		ret->target_name = keep(r, target->text);
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
	size_t n = ynode_list(spec, "ports", &list);
	struct inventory_service *s = array_push(&r->objects->services, &r->objects->nservices, sizeof(*s));
	struct service_port *ports = room(r, n, sizeof(*ports));

	if (!s || !ports) {
		r->ctx->oom = true;
		return;
	}
	s->namespace_name = namespace_of(r);
	s->name = name_of(r);
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
	const char *ready = ynode_text(node, "conditions", "ready", NULL);
	const char *kind = ynode_text(node, "targetRef", "kind", NULL);

	*ret = (struct slice_endpoint){ .hostname = keep(r, ynode_text(node, "hostname", NULL)),
					.not_ready = ready && !strcmp(ready, "false") };
	if (kind && !strcmp(kind, "Pod"))
		ret->pod = keep(r, ynode_text(node, "targetRef", "name", NULL));
	ret->addrs = read_addrs(r, node, "addresses", NULL, &ret->naddrs);
}

static void read_slice(struct reader *r)
{
	const struct ynode *endpoints, *ports;
	size_t n = ynode_list(r->root, "endpoints", &endpoints), m = ynode_list(r->root, "ports", &ports);
	const char *service = ynode_text(r->root, "metadata", "labels", "kubernetes.io/service-name", NULL);
	const char *type = ynode_text(r->root, "addressType", NULL);
	struct inventory_slice *s;
	struct slice_endpoint *e;
	struct slice_port *p;

	if (!service || (type && !strcmp(type, "FQDN")))
		return; /* behind no Service, or of names, which kube-proxy leaves alone */
	s = array_push(&r->objects->slices, &r->objects->nslices, sizeof(*s));
	e = room(r, n, sizeof(*e));
	p = room(r, m, sizeof(*p));
	if (!s || !e || !p) {
		r->ctx->oom = true;
		return;
	}
	for (size_t i = 0; i < n; i++)
		read_slice_endpoint(r, endpoints->items[i], &e[i]);
	for (size_t i = 0; i < m; i++)
		p[i] = (struct slice_port){ .name = keep(r, ynode_text(ports->items[i], "name", NULL)),
					    .proto = read_proto(r, ports->items[i]),
					    .port = read_port(r, ports->items[i], "port") };
	*s = (struct inventory_slice){ .namespace_name = namespace_of(r),
				       .service = keep(r, service),
				       .endpoints = e,
				       .nendpoints = n,
				       .ports = p,
				       .nports = m };
}

/* ---- objects that are there twice ---------------------------------------------------------------------------------- */

static void add_place(struct reader *r, const char *kind, bool namespaced)
{
	struct objects *o = r->objects;
	const char *last = o->nplaces ? o->places[o->nplaces - 1].file : NULL;
	struct object_place *p = array_push(&o->places, &o->nplaces, sizeof(*p));

	if (!p) {
		r->ctx->oom = true;
		return;
	}
	*p = (struct object_place){ .kind = kind,
				    .namespace_name = namespaced ? namespace_of(r) : "",
				    .name = name_of(r),
				    .file = last && !strcmp(last, r->ctx->file) ? last : keep(r, r->ctx->file),
				    .line = r->root->line,
				    .column = r->root->column };
}

static int compare_identity(const struct object_place *x, const struct object_place *y)
{
	int order = strcmp(x->kind, y->kind);

	if (order == 0)
		order = strcmp(x->namespace_name, y->namespace_name);
	return order ? order : strcmp(x->name, y->name);
}

static int compare_places(const void *a, const void *b)
{
	const struct object_place *x = *(const struct object_place *const *)a;
	const struct object_place *y = *(const struct object_place *const *)b;
	int order = compare_identity(x, y);

	return order ? order : (x > y) - (x < y); /* in the order they were read */
}

int objects_duplicates(const struct objects *o, struct diags *diags)
{
	_cleanup_free_ const struct object_place **sorted = calloc(o->nplaces + 1, sizeof(*sorted));
	int found = 0;

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < o->nplaces; i++)
		sorted[i] = &o->places[i];
	qsort(sorted, o->nplaces, sizeof(*sorted), compare_places);
	for (size_t i = 1; i < o->nplaces; i++) {
		const struct object_place *first = sorted[i - 1], *p = sorted[i];

		if (compare_identity(first, p) != 0)
			continue;
		found++;
		diag_add(diags, DIAG_ERROR, p->file, p->line, p->column, "%s %s%s%s is already defined in %s:%u:%u",
			 p->kind, p->namespace_name, *p->namespace_name ? "/" : "", p->name, first->file, first->line,
			 first->column);
	}
	return found;
}

/* ---- documents ---------------------------------------------------------------------------------------------------- */

static const struct {
	const char *version;
	const char *kind;
	void (*read)(struct reader *r);
	bool namespaced;
} kinds[] = {
	{ "v1", "Pod", read_pod, true },
	{ "v1", "Namespace", read_namespace, false },
	{ "v1", "Node", read_node, false },
	{ "v1", "Service", read_service, true },
	{ "discovery.k8s.io/v1", "EndpointSlice", read_slice, true },
};

static bool is_list(const char *kind)
{
	size_t len = strlen(kind);

	return len >= 4 && !strcmp(kind + len - 4, "List");
}

const struct ynode *objects_add(struct objects *o, struct yctx *c, const struct ynode *root)
{
	struct reader r = { .objects = o, .ctx = c, .root = root };
	const char *version = ynode_text(root, "apiVersion", NULL), *kind = ynode_text(root, "kind", NULL);
	const struct ynode *items, *other = NULL;
	size_t n = ynode_list(root, "items", &items);

	if (!version || !kind || (is_list(kind) && !items))
		return root;
	for (size_t i = 0; is_list(kind) && i < n; i++) {
		const struct ynode *one = objects_add(o, c, items->items[i]);

		other = other ? other : one;
	}
	if (is_list(kind))
		return other;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kinds[i].version, version) != 0 || strcmp(kinds[i].kind, kind) != 0)
			continue;
		if (!ynode_text(root, "metadata", "name", NULL)) {
			yctx_error(c, root, "%s: expected a metadata.name", kind);
			return NULL;
		}
		kinds[i].read(&r);
		if (!o->unplaced)
			add_place(&r, kinds[i].kind, kinds[i].namespaced);
		return NULL;
	}
	return root;
}

struct inventory objects_inventory(const struct objects *o)
{
	return (struct inventory){ .namespaces = o->namespaces,
				   .nnamespaces = o->nnamespaces,
				   .namespaces_told = o->namespaces_told,
				   .nodes = o->nodes,
				   .nnodes = o->nnodes,
				   .services = o->services,
				   .nservices = o->nservices,
				   .slices = o->slices,
				   .nslices = o->nslices };
}

/* ---- who there is ------------------------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
	return pods_compare(*(const struct subject *const *)a, *(const struct subject *const *)b);
}

static void join(struct subject *endpoint, const struct subject *pod)
{
	if (!endpoint->nlabels) {
		endpoint->labels = pod->labels;
		endpoint->nlabels = pod->nlabels;
	}
	if (!endpoint->naddrs) {
		endpoint->addrs = pod->addrs;
		endpoint->naddrs = pod->naddrs;
	}
	endpoint->service_account = pod->service_account;
	endpoint->ports = pod->ports;
	endpoint->nports = pod->nports;
	endpoint->hostname = pod->hostname;
	endpoint->subdomain = pod->subdomain;
	endpoint->node = pod->node;
	endpoint->not_ready = pod->not_ready;
}

void subjects_clear(struct subjects *s)
{
	free(s->pods);
	free(s->kept);
	*s = (struct subjects){};
}

/* Of one pod there may be several endpoints, one for each of its interfaces: they stand together. */
static void join_all(struct subject **named, size_t n, struct subject **same, const struct subject *pod)
{
	while (same > named && compare_names(same - 1, &pod) == 0)
		same--;
	for (; same < named + n && compare_names(same, &pod) == 0; same++)
		join(*same, pod);
}

/* They are as ordered as the names of the endpoints, which are few: what lies between two of them is none. */
static void take_kept(const struct objects *o, struct subject **named, size_t n, struct subjects *s)
{
	size_t from = 0;

	for (size_t i = 0; i <= n; i++) {
		size_t until = i < n ? pods_kept_from(o->kept, o->nkept, from, named[i]) : o->nkept;

		if (until > from)
			memcpy(&s->kept[s->nkept], &o->kept[from], (until - from) * sizeof(*s->kept));
		s->nkept += until - from;
		from = until;
		if (i < n && from < o->nkept && compare_names(&o->kept[from].pod, &named[i]) == 0)
			join_all(named, n, &named[i], o->kept[from++].pod);
	}
}

int objects_subjects(const struct objects *o, const struct subject *endpoints, size_t n, struct subjects *ret)
{
	_cleanup_free_ struct subject **named = calloc(n + 1, sizeof(*named));
	CLEANUP(subjects_clear)
	struct subjects s = {
		.pods = calloc(n + o->npods + 1, sizeof(*s.pods)),
		.kept = calloc(o->nkept + 1, sizeof(*s.kept)),
	};

	if (!s.pods || !s.kept || !named)
		return -ENOMEM;
	for (; s.npods < n; s.npods++) {
		s.pods[s.npods] = endpoints[s.npods];
		named[s.npods] = &s.pods[s.npods];
	}
	qsort(named, n, sizeof(*named), compare_names);
	for (size_t i = 0; i < o->npods; i++) {
		const struct subject *pod = &o->pods[i];
		struct subject **same = bsearch(&pod, named, n, sizeof(*named), compare_names);

		if (same)
			join_all(named, n, same, pod);
		else
			s.pods[s.npods++] = *pod;
	}
	take_kept(o, named, n, &s);
	*ret = s;
	s = (struct subjects){};
	return 0;
}
