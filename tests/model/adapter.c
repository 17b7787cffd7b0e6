/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/model/adapter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "policy/verdict.h"

#define POLICY 7
#define NOW    1000

/* ---- the inventory --------------------------------------------------------------------------------------------- */

static void copy_labels(const struct world_labels *from, struct label *to)
{
	for (size_t i = 0; i < from->count; i++)
		to[i] = (struct label){ from->items[i].key, from->items[i].value };
}

static void add_cluster(struct adapter_world *a, const struct world_addrs *addrs)
{
	for (size_t i = 0; i < addrs->count; i++)
		a->cluster[a->ncluster++] = addrs->items[i];
}

static void add_pod(struct adapter_world *a, const struct world_pod *p, size_t i)
{
	copy_labels(&p->labels, a->pod_labels[i]);
	for (size_t k = 0; k < p->nports; k++)
		a->pod_ports[i][k] = (struct pod_port){ p->ports[k].name, p->ports[k].number, p->ports[k].proto };
	a->pods[i] = (struct subject){
		.namespace_name = p->namespace_name,
		.name = p->name,
		.labels = a->pod_labels[i],
		.nlabels = p->labels.count,
		.addrs = p->addrs.items,
		.naddrs = p->addrs.count,
		.service_account = p->account,
		.ports = a->pod_ports[i],
		.nports = p->nports,
		.not_running = p->finished,
		.not_ready = !p->ready,
		.host_network = p->host_network,
	};
	if (!p->finished)
		add_cluster(a, &p->addrs);
}

static void add_node(struct adapter_world *a, const struct world_node *n, size_t i)
{
	copy_labels(&n->labels, a->node_labels[i]);
	a->nodes[i] = (struct inventory_node){
		.name = n->name,
		.labels = a->node_labels[i],
		.nlabels = n->labels.count,
		.addrs = n->addrs.items,
		.naddrs = n->addrs.count,
		.local = n->local,
	};
	add_cluster(a, &n->addrs);
}

/* A Service whose selector does not find its backends has them in an EndpointSlice. */
static void add_slice(struct adapter_world *a, const struct world_service *s, size_t i)
{
	for (size_t k = 0; k < s->outside.count; k++)
		a->slice_endpoints[i][k] = (struct slice_endpoint){ .addrs = &s->outside.items[k], .naddrs = 1 };
	for (size_t k = 0; k < s->nports; k++)
		a->slice_ports[i][k] = (struct slice_port){ .name = k ? "second" : "first",
							    .proto = s->ports[k].proto,
							    .port = s->ports[k].target };
	a->slices[a->inv.nslices++] = (struct inventory_slice){
		.namespace_name = s->namespace_name,
		.service = s->name,
		.endpoints = a->slice_endpoints[i],
		.nendpoints = s->outside.count,
		.ports = a->slice_ports[i],
		.nports = s->nports,
	};
}

static void add_service(struct adapter_world *a, const struct world_service *s, size_t i)
{
	copy_labels(&s->labels, a->service_labels[i]);
	copy_labels(&s->selector, a->selectors[i]);
	for (size_t k = 0; k < s->nports; k++)
		a->service_ports[i][k] =
			(struct service_port){ .name = k ? "second" : "first",
					       .proto = s->ports[k].proto,
					       .port = s->ports[k].port,
					       .target_port = s->ports[k].target_name ? 0 : s->ports[k].target,
					       .target_name = s->ports[k].target_name };
	a->services[i] = (struct inventory_service){
		.namespace_name = s->namespace_name,
		.name = s->name,
		.labels = a->service_labels[i],
		.nlabels = s->labels.count,
		.selector = a->selectors[i],
		.nselector = s->selector.count,
		.addrs = s->addrs.items,
		.naddrs = s->addrs.count,
		.ports = a->service_ports[i],
		.nports = s->nports,
	};
	if (s->selector.count == 0)
		add_slice(a, s, i);
	add_cluster(a, &s->addrs);
}

void adapter_world(const struct world *w, struct adapter_world *ret)
{
	*ret = (struct adapter_world){};
	for (size_t i = 0; i < w->npods; i++)
		add_pod(ret, &w->pods[i], i);
	for (size_t i = 0; i < w->nnodes; i++)
		add_node(ret, &w->nodes[i], i);
	for (size_t i = 0; i < w->nservices; i++)
		add_service(ret, &w->services[i], i);
	for (size_t i = 0; i < w->nnamespaces; i++) {
		copy_labels(&w->namespaces[i].labels, ret->namespace_labels[i]);
		ret->namespaces[i] = (struct inventory_namespace){ w->namespaces[i].name, ret->namespace_labels[i],
								   w->namespaces[i].labels.count };
	}
	for (size_t i = 0; i < 2 && w->service_cidrs[i]; i++)
		if (prefix_parse(w->service_cidrs[i], &ret->service_cidrs[i]) == 0)
			ret->inv.nservice_cidrs++;
	ret->inv.pods = ret->pods;
	ret->inv.npods = w->npods;
	ret->inv.nodes = ret->nodes;
	ret->inv.nnodes = w->nnodes;
	ret->inv.services = ret->services;
	ret->inv.nservices = w->nservices;
	ret->inv.namespaces = ret->namespaces;
	ret->inv.nnamespaces = w->nnamespaces;
	ret->inv.slices = ret->slices;
	ret->inv.service_cidrs = ret->service_cidrs;
}

/* ---- endpoints ------------------------------------------------------------------------------------------------- */

int adapter_compile(const struct store *s, const struct adapter_world *w, size_t pod, struct adapter_endpoint *ret)
{
	struct diags diags = {};
	int r;

	*ret = (struct adapter_endpoint){ .world = w };
	r = compile(s, &w->pods[pod], &w->inv, &diags, &ret->data, &ret->len);
	diags_clear(&diags);
	ret->open = r == 1;
	return r == 0 ? image_open(ret->data, ret->len, &ret->img) : r == 1 ? 0 : r;
}

void adapter_clear(struct adapter_endpoint *e)
{
	image_freep(&e->img);
	free(e->data);
	e->data = NULL;
}

static struct sluice_lease *lease_of(struct adapter_endpoint *e, const struct sluice_addr *addr)
{
	for (size_t i = 0; i < e->nleases; i++)
		if (addr_compare(&e->leases[i].key.addr, addr) == 0)
			return &e->leases[i];
	e->leases[e->nleases] = (struct sluice_lease){ .key = { .policy = POLICY, .addr = *addr } };
	return &e->leases[e->nleases++];
}

/* As dnsproxy's: the set's own slot, or a free one. A lease with no room stays as it was. */
static bool fill(struct sluice_lease *lease, const struct image_match *m)
{
	struct sluice_lease l = *lease;

	for (uint32_t i = 0; i < m->nsets; i++) {
		size_t k = 0;

		while (k < SLUICE_LEASE_SLOTS && l.slots[k].set != 0 && l.slots[k].set != m->sets[i])
			k++;
		if (k == SLUICE_LEASE_SLOTS)
			return false;
		l.slots[k] = (struct sluice_lease_slot){ .expires = ~0ull, .name = 1, .set = m->sets[i] };
	}
	*lease = l;
	return true;
}

void adapter_lease(struct adapter_endpoint *e, const struct lease *leases, size_t n)
{
	e->nkept = 0;
	e->nleases = 0;
	for (size_t i = 0; i < n && !e->open; i++) {
		struct image_match m;

		image_match_name(e->img, leases[i].name, strlen(leases[i].name), &m);
		if (m.overflow)
			continue;
		if (!m.askable || m.nsets == 0 || fill(lease_of(e, &leases[i].addr), &m))
			e->kept[e->nkept++] = leases[i];
	}
}

struct adapter_answer adapter_judge(const struct adapter_endpoint *e, const struct flow *flow)
{
	bool icmp = flow->proto == IPPROTO_ICMP || flow->proto == IPPROTO_ICMPV6;
	struct verdict_tables t = { e->img, e->leases, e->nleases, e->world->cluster, e->world->ncluster };
	struct sluice_query q = {
		.policy = POLICY,
		.now = NOW,
		.remote = flow->to,
		.port = htons(icmp ? (uint16_t)(flow->port << 8) : flow->port),
		.proto = flow->proto,
	};
	struct adapter_answer a = {};
	struct sluice_decision d;

	if (e->open)
		return (struct adapter_answer){ .allowed = true };
	a.by_proxy = (image_flags(e->img) & IMAGE_NAMES) && flow->port == 53 &&
		     (flow->proto == IPPROTO_TCP || flow->proto == IPPROTO_UDP);
	d = a.by_proxy ? verdict_decide_dns(&t, &q) : verdict_decide(&t, &q);
	a.allowed = d.verdict == SLUICE_ALLOW;
	a.by_lease = d.lease;
	a.rule = d.rule;
	return a;
}
