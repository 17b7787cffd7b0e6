/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * The backends of a Service are what its EndpointSlices say. Where none is known (a file of manifests, without the
 * slices that a cluster makes of them), they are the running pods that its selector finds, as the cluster would have it.
 * A slice can be written by hand: an address counts as a pod's only when the inventory holds a running pod with it.
 */
#include "policy/inventory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "policy/pods.h"

/* ---- the cluster's addresses ------------------------------------------------------------------------------------- */

struct addrs {
	struct sluice_addr *items;
	size_t count;
	bool failed;
};

static void add_addrs(struct addrs *out, const struct sluice_addr *addrs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct sluice_addr *slot = array_push(&out->items, &out->count, sizeof(*slot));

		if (slot)
			*slot = addrs[i];
		else
			out->failed = true;
	}
}

static int compare_addrs(const void *a, const void *b)
{
	return addr_compare(a, b);
}

int inventory_cluster(const struct inventory *inv, struct sluice_addr **ret, size_t *ret_count)
{
	struct addrs all = {};
	size_t kept = 0;

	for (size_t i = 0; i < inv->npods; i++)
		if (!inv->pods[i].not_running)
			add_addrs(&all, inv->pods[i].addrs, inv->pods[i].naddrs);
	for (size_t i = 0; i < inv->nkept; i++)
		if (!inv->kept[i].pod->not_running)
			add_addrs(&all, inv->kept[i].pod->addrs, inv->kept[i].pod->naddrs);
	for (size_t i = 0; i < inv->nnodes; i++)
		add_addrs(&all, inv->nodes[i].addrs, inv->nodes[i].naddrs);
	for (size_t i = 0; i < inv->nservices; i++)
		add_addrs(&all, inv->services[i].addrs, inv->services[i].naddrs);
	if (all.failed) {
		free(all.items);
		return -ENOMEM;
	}
	if (all.count > 1)
		qsort(all.items, all.count, sizeof(*all.items), compare_addrs);
	for (size_t i = 0; i < all.count; i++)
		if (kept == 0 || addr_compare(&all.items[kept - 1], &all.items[i]) != 0)
			all.items[kept++] = all.items[i];
	*ret = all.items;
	*ret_count = kept;
	return 0;
}

bool index_in_cluster(const struct inventory_index *index, const struct sluice_addr *addr)
{
	return index->ncluster > 0 &&
	       bsearch(addr, index->cluster, index->ncluster, sizeof(*addr), compare_addrs) != NULL;
}

/* ---- the API server ------------------------------------------------------------------------------------------------ */

bool service_is_api_server(const struct inventory_service *s)
{
	return strcmp(s->namespace_name, "default") == 0 && strcmp(s->name, "kubernetes") == 0;
}

bool index_bars_names(const struct inventory_index *index, const struct sluice_addr *addr)
{
	if (index->napi_server > 0 &&
	    bsearch(addr, index->api_server, index->napi_server, sizeof(*addr), compare_addrs) != NULL)
		return true;
	for (size_t i = 0; i < index->inv->nservice_cidrs; i++)
		if (prefix_contains(&index->inv->service_cidrs[i], addr))
			return true;
	return false;
}

static int compare_slices(const void *a, const void *b)
{
	const struct inventory_slice *x = *(const struct inventory_slice *const *)a;
	const struct inventory_slice *y = *(const struct inventory_slice *const *)b;
	int order = strcmp(x->namespace_name, y->namespace_name);

	if (order == 0)
		order = strcmp(x->service, y->service);
	return order ? order : (x > y) - (x < y);
}

static int compare_pods(const void *a, const void *b)
{
	return pods_compare(*(const struct subject *const *)a, *(const struct subject *const *)b);
}

/* ---- members ----------------------------------------------------------------------------------------------------- */

static bool has_addr(const struct subject *pod, const struct sluice_addr *addr)
{
	for (size_t i = 0; i < pod->naddrs; i++)
		if (addr_compare(&pod->addrs[i], addr) == 0)
			return true;
	return false;
}

/* The pods of a namespace start here, or after all that sort before it. */
static size_t first_pod(const struct inventory_index *index, const char *namespace_name)
{
	size_t low = 0, high = index->npods;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(index->pods[mid]->namespace_name, namespace_name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static const struct subject *find_pod(const struct inventory_index *index, const char *namespace_name, const char *name,
				      const struct sluice_addr *addr)
{
	const struct subject key = { .namespace_name = namespace_name, .name = name };
	const struct subject *wanted = &key;
	const struct subject **found =
		name ? bsearch(&wanted, index->pods, index->npods, sizeof(*index->pods), compare_pods) : NULL;

	return found && has_addr(*found, addr) ? *found : NULL;
}

static int add_member(struct members *m, const struct member *member)
{
	struct member *slot = array_push(&m->items, &m->count, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	*slot = *member;
	return 0;
}

static int slice_members(const struct inventory_index *index, const struct inventory_slice *s, struct members *ret)
{
	for (size_t i = 0; i < s->nendpoints; i++) {
		const struct slice_endpoint *e = &s->endpoints[i];

		for (size_t k = 0; k < e->naddrs; k++) {
			struct member m = { .addr = e->addrs[k],
					    .hostname = e->hostname,
					    .pod = find_pod(index, s->namespace_name, e->pod, &e->addrs[k]),
					    .slice = s,
					    .ready = !e->not_ready };

			if (add_member(ret, &m) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

static bool service_selects(const struct inventory_service *s, const struct subject *pod)
{
	for (size_t i = 0; i < s->nselector; i++) {
		size_t k = 0;

		while (k < pod->nlabels && strcmp(pod->labels[k].key, s->selector[i].key) != 0)
			k++;
		if (k == pod->nlabels || strcmp(pod->labels[k].value, s->selector[i].value) != 0)
			return false;
	}
	return s->nselector > 0;
}

static int selected_members(const struct inventory_index *index, const struct inventory_service *s, struct members *ret)
{
	for (size_t i = first_pod(index, s->namespace_name); i < index->npods; i++) {
		const struct subject *pod = index->pods[i];

		if (strcmp(pod->namespace_name, s->namespace_name) != 0)
			break;
		if (!service_selects(s, pod))
			continue;
		for (size_t k = 0; k < pod->naddrs; k++) {
			struct member m = { .addr = pod->addrs[k],
					    .pod = pod,
					    .ready = !pod->not_ready || s->publish_not_ready };

			if (pod->hostname && pod->subdomain && strcmp(pod->subdomain, s->name) == 0)
				m.hostname = pod->hostname;
			if (add_member(ret, &m) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

static int compare_members(const void *a, const void *b)
{
	return addr_compare(&((const struct member *)a)->addr, &((const struct member *)b)->addr);
}

static int find_members(const struct inventory_index *index, const struct inventory_service *s, struct members *ret)
{
	const struct inventory_slice key = { .namespace_name = s->namespace_name, .service = s->name };
	size_t low = 0, high = index->inv->nslices, found = 0;
	int r = 0;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(index->slices[mid]->namespace_name, key.namespace_name);

		if (order == 0)
			order = strcmp(index->slices[mid]->service, key.service);
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; r >= 0 && low < index->inv->nslices; low++, found++) {
		const struct inventory_slice *slice = index->slices[low];

		if (strcmp(slice->namespace_name, key.namespace_name) != 0 || strcmp(slice->service, key.service) != 0)
			break;
		r = slice_members(index, slice, ret);
	}
	if (r >= 0 && found == 0)
		r = selected_members(index, s, ret);
	if (r >= 0 && ret->count > 1)
		qsort(ret->items, ret->count, sizeof(*ret->items), compare_members);
	return r;
}

const struct members *service_members(const struct inventory_index *index, const struct inventory_service *s)
{
	return &index->members[s - index->inv->services];
}

static bool same_port_name(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

uint16_t member_port(const struct member *m, const struct service_port *port)
{
	for (size_t i = 0; m->slice && i < m->slice->nports; i++)
		if (m->slice->ports[i].proto == port->proto && same_port_name(m->slice->ports[i].name, port->name))
			return m->slice->ports[i].port;
	if (m->slice)
		return 0;
	if (port->target_port)
		return port->target_port;
	for (size_t i = 0; port->target_name && m->pod && i < m->pod->nports; i++)
		if (m->pod->ports[i].proto == port->proto && m->pod->ports[i].name &&
		    strcmp(m->pod->ports[i].name, port->target_name) == 0)
			return m->pod->ports[i].port;
	return port->target_name ? 0 : port->port;
}

/* ---- the index --------------------------------------------------------------------------------------------------- */

static int add_api_server(struct inventory_index *index, const struct inventory_service *s)
{
	const struct members *m = service_members(index, s);
	struct addrs all = { index->api_server, index->napi_server, false };

	for (size_t i = 0; i < m->count; i++)
		if (!index_in_cluster(index, &m->items[i].addr))
			add_addrs(&all, &m->items[i].addr, 1);
	index->api_server = all.items;
	index->napi_server = all.count;
	return all.failed ? -ENOMEM : 0;
}

static int find_api_server(struct inventory_index *index)
{
	int r = 0;

	for (size_t i = 0; i < index->inv->nservices && r >= 0; i++)
		if (service_is_api_server(&index->inv->services[i]))
			r = add_api_server(index, &index->inv->services[i]);
	if (index->napi_server > 1)
		qsort(index->api_server, index->napi_server, sizeof(*index->api_server), compare_addrs);
	return r;
}

static int find_all_members(struct inventory_index *index)
{
	index->members = calloc(index->inv->nservices + 1, sizeof(*index->members));
	if (!index->members)
		return -ENOMEM;
	index->nmembers = index->inv->nservices;
	for (size_t i = 0; i < index->inv->nservices; i++)
		if (find_members(index, &index->inv->services[i], &index->members[i]) < 0)
			return -ENOMEM;
	return 0;
}

int index_build(struct inventory_index *index)
{
	const struct inventory *inv = index->inv;

	index->slices = calloc(inv->nslices + 1, sizeof(*index->slices));
	if (!index->slices)
		return -ENOMEM;
	for (size_t i = 0; i < inv->nslices; i++)
		index->slices[i] = &inv->slices[i];
	qsort(index->slices, inv->nslices, sizeof(*index->slices), compare_slices);
	return find_all_members(index) < 0 ? -ENOMEM : find_api_server(index);
}

void index_clear(struct inventory_index *index)
{
	for (size_t i = 0; i < index->nmembers; i++)
		free(index->members[i].items);
	free(index->members);
	free(index->slices);
	free(index->api_server);
	*index = (struct inventory_index){};
}
