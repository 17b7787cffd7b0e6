/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By hand, since there may be ten thousand at a time: members that say nothing are left out, and every value is followed by a
 * comma, which the end of its object or list takes back.
 */
#include "agent/kube/write.h"

#include <netinet/in.h>
#include <string.h>

#include "base/addr.h"

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void add_string(struct strbuf *b, const char *text)
{
	strbuf_add(b, "\"", 1);
	while (*text) {
		size_t n = 0;

		while ((unsigned char)text[n] >= ' ' && text[n] != '"' && text[n] != '\\')
			n++;
		strbuf_add(b, text, n);
		text += n;
		if (*text)
			strbuf_addf(b, "\\u%04x", (unsigned int)(unsigned char)*text++);
	}
	strbuf_add(b, "\"", 1);
}

static void add_key(struct strbuf *b, const char *key)
{
	if (key)
		strbuf_addf(b, "\"%s\":", key);
}

/* `key` NULL: in a list. */
static void open_with(struct strbuf *b, const char *key, const char *bracket)
{
	add_key(b, key);
	strbuf_adds(b, bracket);
}

static void close_with(struct strbuf *b, const char *bracket)
{
	if (!b->failed && b->data[b->len - 1] == ',')
		b->len--;
	strbuf_adds(b, bracket);
	strbuf_add(b, ",", 1);
}

static void member(struct strbuf *b, const char *key, const char *text)
{
	if (!text)
		return;
	add_key(b, key);
	add_string(b, text);
	strbuf_add(b, ",", 1);
}

static void number(struct strbuf *b, const char *key, unsigned int n)
{
	if (n)
		strbuf_addf(b, "\"%s\":%u,", key, n);
}

static void truth(struct strbuf *b, const char *key, bool on)
{
	if (on)
		strbuf_addf(b, "\"%s\":true,", key);
}

/* ---- what the kinds share ---------------------------------------------------------------------------------------- */

static void add_labels(struct strbuf *b, const char *key, const struct label *labels, size_t count)
{
	if (!count)
		return;
	open_with(b, key, "{");
	for (size_t i = 0; i < count; i++) {
		add_string(b, labels[i].key);
		strbuf_add(b, ":", 1);
		add_string(b, labels[i].value);
		strbuf_add(b, ",", 1);
	}
	close_with(b, "}");
}

/* Each by itself, or as the member `as` of an object. */
static void add_addrs(struct strbuf *b, const char *key, const char *as, const struct sluice_addr *addrs, size_t count)
{
	char text[ADDR_TEXT_MAX];

	if (!count)
		return;
	open_with(b, key, "[");
	for (size_t i = 0; i < count; i++) {
		if (as)
			open_with(b, NULL, "{");
		member(b, as, addr_format(&addrs[i], text));
		if (as)
			close_with(b, "}");
	}
	close_with(b, "]");
}

static void add_proto(struct strbuf *b, uint8_t proto)
{
	member(b, "protocol", proto == IPPROTO_TCP ? "TCP" : proto == IPPROTO_UDP ? "UDP" : "SCTP");
}

static void begin(struct strbuf *b, const char *version, const char *kind)
{
	open_with(b, NULL, "{");
	member(b, "apiVersion", version);
	member(b, "kind", kind);
}

static void add_metadata(struct strbuf *b, const struct kube_metadata *m, const struct label *labels, size_t count)
{
	open_with(b, "metadata", "{");
	member(b, "namespace", *m->namespace_name ? m->namespace_name : NULL);
	member(b, "name", m->name);
	member(b, "uid", m->uid);
	if (m->deleting)
		member(b, "deletionTimestamp", "1970-01-01T00:00:00Z");
	if (m->mirrors) {
		open_with(b, "annotations", "{");
		member(b, "kubernetes.io/config.mirror", m->mirrors);
		close_with(b, "}");
	}
	add_labels(b, "labels", labels, count);
	close_with(b, "}");
}

/* ---- kinds ------------------------------------------------------------------------------------------------------- */

static void add_pod_ports(struct strbuf *b, const struct subject *pod)
{
	if (!pod->nports)
		return;
	open_with(b, "containers", "[");
	open_with(b, NULL, "{");
	open_with(b, "ports", "[");
	for (size_t i = 0; i < pod->nports; i++) {
		open_with(b, NULL, "{");
		member(b, "name", pod->ports[i].name);
		number(b, "containerPort", pod->ports[i].port);
		add_proto(b, pod->ports[i].proto);
		close_with(b, "}");
	}
	close_with(b, "]");
	close_with(b, "}");
	close_with(b, "]");
}

static void write_pod(struct strbuf *b, const struct kube_metadata *m, const struct subject *pod)
{
	begin(b, "v1", "Pod");
	member(b, KUBE_WRITE_ESCAPE, m->escape);
	add_metadata(b, m, pod->labels, pod->nlabels);
	open_with(b, "spec", "{");
	member(b, "nodeName", pod->node);
	member(b, "serviceAccountName", pod->service_account);
	member(b, "hostname", pod->hostname);
	member(b, "subdomain", pod->subdomain);
	truth(b, "hostNetwork", pod->host_network);
	add_pod_ports(b, pod);
	close_with(b, "}");
	open_with(b, "status", "{");
	member(b, "phase", m->finished ? "Succeeded" : pod->not_running ? "Pending" : "Running");
	if (pod->not_ready)
		strbuf_adds(b, "\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}],");
	add_addrs(b, "podIPs", "ip", pod->addrs, pod->naddrs);
	close_with(b, "}");
}

static void write_namespace(struct strbuf *b, const struct kube_metadata *m, const struct inventory_namespace *ns)
{
	begin(b, "v1", "Namespace");
	add_metadata(b, m, ns->labels, ns->nlabels);
}

static void write_node(struct strbuf *b, const struct kube_metadata *m, const struct inventory_node *node)
{
	char text[ADDR_TEXT_MAX];

	begin(b, "v1", "Node");
	add_metadata(b, m, node->labels, node->nlabels);
	open_with(b, "status", "{");
	open_with(b, "addresses", "[");
	for (size_t i = 0; i < node->naddrs; i++) {
		open_with(b, NULL, "{");
		member(b, "type", "InternalIP");
		member(b, "address", addr_format(&node->addrs[i], text));
		close_with(b, "}");
	}
	close_with(b, "]");
	close_with(b, "}");
}

static void add_service_port(struct strbuf *b, const struct service_port *port)
{
	open_with(b, NULL, "{");
	member(b, "name", port->name);
	add_proto(b, port->proto);
	number(b, "port", port->port);
	number(b, "nodePort", port->node_port);
	member(b, "targetPort", port->target_name);
	if (!port->target_name)
		number(b, "targetPort", port->target_port);
	close_with(b, "}");
}

static void write_service(struct strbuf *b, const struct kube_metadata *m, const struct inventory_service *s)
{
	begin(b, "v1", "Service");
	add_metadata(b, m, s->labels, s->nlabels);
	open_with(b, "spec", "{");
	add_labels(b, "selector", s->selector, s->nselector);
	add_addrs(b, "clusterIPs", NULL, s->addrs, s->naddrs);
	add_addrs(b, "externalIPs", NULL, s->externals, s->nexternals);
	truth(b, "publishNotReadyAddresses", s->publish_not_ready);
	open_with(b, "ports", "[");
	for (size_t i = 0; i < s->nports; i++)
		add_service_port(b, &s->ports[i]);
	close_with(b, "]");
	close_with(b, "}");
}

static void add_slice_endpoint(struct strbuf *b, const struct slice_endpoint *e)
{
	open_with(b, NULL, "{");
	member(b, "hostname", e->hostname);
	if (e->not_ready)
		strbuf_adds(b, "\"conditions\":{\"ready\":false},");
	if (e->pod) {
		open_with(b, "targetRef", "{");
		member(b, "kind", "Pod");
		member(b, "name", e->pod);
		close_with(b, "}");
	}
	add_addrs(b, "addresses", NULL, e->addrs, e->naddrs);
	close_with(b, "}");
}

static void write_slice(struct strbuf *b, const struct kube_metadata *m, const struct inventory_slice *s)
{
	const struct label service = { "kubernetes.io/service-name", s->service };

	begin(b, "discovery.k8s.io/v1", "EndpointSlice");
	add_metadata(b, m, &service, 1);
	open_with(b, "endpoints", "[");
	for (size_t i = 0; i < s->nendpoints; i++)
		add_slice_endpoint(b, &s->endpoints[i]);
	close_with(b, "]");
	open_with(b, "ports", "[");
	for (size_t i = 0; i < s->nports; i++) {
		open_with(b, NULL, "{");
		member(b, "name", s->ports[i].name);
		add_proto(b, s->ports[i].proto);
		number(b, "port", s->ports[i].port);
		close_with(b, "}");
	}
	close_with(b, "]");
}

void kube_write_object(struct strbuf *out, const struct kube_metadata *m, const struct objects *one)
{
	if (one->npods)
		write_pod(out, m, one->pods);
	else if (one->nnamespaces)
		write_namespace(out, m, one->namespaces);
	else if (one->nnodes)
		write_node(out, m, one->nodes);
	else if (one->nservices)
		write_service(out, m, one->services);
	else if (one->nslices)
		write_slice(out, m, one->slices);
	else
		return;
	close_with(out, "}");
	if (!out->failed)
		out->data[--out->len] = '\0'; /* the comma after the whole */
}
