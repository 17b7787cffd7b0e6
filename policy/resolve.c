/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A pass reads the whole inventory, but what it costs is what changed since the last, beyond a print of each object but the kept
 * pods (pods.c): sets of the pods that a selector finds are kept and asked only about pods whose content is new (slots.c). A
 * selector that no pass asked for is forgotten with the next. The list of the cluster's addresses is made when one is another.
 */
#include "policy/resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/strbuf.h"
#include "policy/array.h"
#include "policy/match.h"
#include "policy/prints.h"

/* ---- prints ------------------------------------------------------------------------------------------------------ */

static uint64_t print_of(const struct resolver *r, const struct strbuf *b)
{
	return print_from(r->seed, b, 0);
}

static struct pods_input pods_input(const struct resolver *r)
{
	return (struct pods_input){ r->index.inv, r->namespaces, r->every_namespace, r->seed };
}

uint64_t resolver_subject(const struct resolver *r, const struct subject *subject)
{
	CLEANUP(strbuf_clear) struct strbuf b = {};
	const struct pods_input in = pods_input(r);

	pods_put_identity(&b, &in, subject);
	return print_of(r, &b);
}

static int read_namespaces(struct resolver *r, struct strbuf *b)
{
	const struct inventory *inv = r->index.inv;

	free(r->namespaces);
	r->namespaces = calloc(inv->nnamespaces + 1, sizeof(*r->namespaces));
	r->every_namespace = inv->namespaces_told;
	for (size_t i = 0; r->namespaces && i < inv->nnamespaces; i++) {
		b->len = 0;
		put_labels(b, inv->namespaces[i].labels, inv->namespaces[i].nlabels);
		r->namespaces[i] = print_of(r, b);
		put_text(b, inv->namespaces[i].name);
		r->every_namespace += print_of(r, b);
	}
	return r->namespaces ? 0 : -ENOMEM;
}

static int read_pods(struct resolver *r)
{
	const struct pods_input in = pods_input(r);
	int ret = pods_read(&r->pods, &in);

	r->index.pods = r->pods.items;
	r->index.npods = r->pods.count;
	return ret;
}

static void read_nodes(struct resolver *r, struct strbuf *b)
{
	const struct inventory *inv = r->index.inv;

	b->len = 0;
	for (size_t i = 0; i < inv->nnodes; i++) {
		put_labels(b, inv->nodes[i].labels, inv->nodes[i].nlabels);
		put_addrs(b, inv->nodes[i].addrs, inv->nodes[i].naddrs);
		put_number(b, inv->nodes[i].local);
	}
	r->nodes = print_of(r, b);
}

static int read_cluster(struct resolver *r, struct strbuf *b)
{
	const struct inventory *inv = r->index.inv;
	struct sluice_addr *addrs;
	uint64_t print;
	int ret = 0;

	b->len = 0;
	put_number(b, r->pods.places);
	put_number(b, r->nodes);
	for (size_t i = 0; i < inv->nservices; i++)
		put_addrs(b, inv->services[i].addrs, inv->services[i].naddrs);
	print = print_of(r, b);
	if (!r->cluster || print != r->cluster_of) {
		ret = inventory_cluster(inv, &addrs, &r->ncluster);
		if (ret < 0)
			return ret;
		free(r->cluster);
		r->cluster = addrs;
	}
	r->cluster_of = print;
	r->index.cluster = r->cluster;
	r->index.ncluster = r->ncluster;
	return 0;
}

/* ---- Services ---------------------------------------------------------------------------------------------------- */

static bool has_node_port(const struct inventory_service *s)
{
	for (size_t i = 0; i < s->nports; i++)
		if (s->ports[i].node_port)
			return true;
	return false;
}

static void put_service(const struct resolver *r, struct strbuf *b, const struct inventory_service *s)
{
	put_text(b, s->namespace_name);
	put_text(b, s->name);
	put_labels(b, s->labels, s->nlabels);
	put_number(b, s->nselector > 0);
	put_addrs(b, s->addrs, s->naddrs);
	put_addrs(b, s->externals, s->nexternals);
	for (size_t i = 0; i < s->nports; i++) {
		put_number(b, (uint64_t)s->ports[i].proto << 32 | (uint64_t)s->ports[i].port << 16 |
				      s->ports[i].node_port);
	}
	if (has_node_port(s))
		put_number(b, r->nodes);
}

static void put_member(const struct resolver *r, struct strbuf *b, const struct inventory_service *s,
		       const struct member *m)
{
	strbuf_add(b, &m->addr, sizeof(m->addr));
	put_number(b, m->ready | (m->pod != NULL) << 1 | index_in_cluster(&r->index, &m->addr) << 2);
	put_text(b, m->hostname);
	if (m->pod) {
		put_text(b, m->pod->name);
		put_number(b, m->pod->host_network);
		pods_put_effect(b, m->pod);
	}
	for (size_t i = 0; i < s->nports; i++)
		put_number(b, member_port(m, &s->ports[i]));
}

/* Of a Service beyond the rules' reach it only matters whether there is anything behind it. */
static uint64_t presence_of(const struct inventory_service *s, const struct members *m)
{
	uint64_t ready = 0;

	for (size_t i = 0; i < m->count; i++)
		for (size_t p = 0; p < s->nports; p++)
			if (m->items[i].ready && member_port(&m->items[i], &s->ports[p]))
				ready |= addr_is_ipv4(&m->items[i].addr) ? 1 : 2;
	return ready;
}

static void read_service(struct resolver *r, struct strbuf *b, size_t i, struct slot_content *ret)
{
	const struct inventory_service *s = &r->index.inv->services[i];
	const struct members *m = service_members(&r->index, s);

	b->len = 0;
	put_service(r, b, s);
	put_number(b, presence_of(s, m));
	r->every_presence += print_of(r, b);
	for (size_t k = 0; k < m->count; k++)
		put_member(r, b, s, &m->items[k]);
	ret->print = ret->effect = print_of(r, b);
	r->every_service += ret->effect;
}

static int read_services(struct resolver *r, struct strbuf *b)
{
	const struct inventory *inv = r->index.inv;
	_cleanup_free_ struct slot_content *list = calloc(inv->nservices + 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	r->every_service = r->every_presence = 0;
	for (size_t i = 0; i < inv->nservices; i++)
		read_service(r, b, i, &list[i]);
	return slots_sync(&r->services, list, inv->nservices);
}

static void read_places(struct resolver *r, struct strbuf *b)
{
	const struct inventory *inv = r->index.inv;

	b->len = 0;
	put_text(b, inv->cluster_domain);
	for (size_t i = 0; i < inv->nservice_cidrs; i++) {
		put_addrs(b, &inv->service_cidrs[i].addr, 1);
		put_number(b, inv->service_cidrs[i].bits);
	}
	r->place = print_of(r, b);
	b->len = 0;
	put_addrs(b, r->index.api_server, r->index.napi_server);
	r->api_server = print_of(r, b);
}

/* ---- selectors --------------------------------------------------------------------------------------------------- */

static void found_clear(struct found_pods *f)
{
	picked_clear(&f->pods);
}

/* Those that the last pass asked for. */
static int keep_found(struct resolver *r, uint64_t last)
{
	struct found_pods *old = r->found;
	size_t n = r->nfound;
	int ret = 0;

	keymap_clear(&r->by_selector);
	r->found = NULL;
	r->nfound = 0;
	for (size_t i = 0; i < n; i++) {
		struct found_pods *slot =
			old[i].pods.pass == last && ret == 0 ? array_push(&r->found, &r->nfound, sizeof(*slot)) : NULL;

		if (!slot) {
			found_clear(&old[i]);
			continue;
		}
		*slot = old[i];
		ret = keymap_put(&r->by_selector, slot->key, (uint32_t)(r->nfound - 1));
	}
	free(old);
	return ret;
}

/* `possible`: what it finds is not what it finds for certain. */
static uint64_t selector_print(const struct resolver *r, const struct selector *s, bool possible)
{
	CLEANUP(strbuf_clear) struct strbuf b = {};

	put_number(&b, (s != NULL) | possible << 1);
	put_text(&b, s && s->namespace_name ? s->namespace_name : "");
	for (size_t i = 0; s && i < s->count; i++) {
		put_number(&b, (uint64_t)s->items[i].scope << 32 | (uint64_t)s->items[i].operation);
		put_text(&b, s->items[i].key);
		put_number(&b, s->items[i].nvalues);
		for (size_t k = 0; k < s->items[i].nvalues; k++)
			put_text(&b, s->items[i].values[k]);
	}
	return print_of(r, &b);
}

struct asked {
	const struct resolver *r;
	const struct selector *selector;
	bool possible;
};

static bool pod_fits(void *context, size_t index)
{
	const struct asked *a = context;
	const struct subject *pod = a->r->index.pods[index];

	if (pod->host_network || !a->selector)
		return !pod->host_network;
	return selector_match_peer(a->selector, pod, a->r->index.inv) >= (a->possible ? MATCH_UNKNOWN : MATCH_YES);
}

bool resolver_doubts(const struct resolver *r, const struct selector *selector)
{
	return selector && r->index.inv->namespaces_told && selector_asks_namespace(selector);
}

int resolver_find(struct resolver *r, const struct selector *selector, bool possible, const struct picked **ret)
{
	struct asked a = { r, selector, possible && resolver_doubts(r, selector) };
	uint64_t key = selector_print(r, selector, a.possible);
	struct found_pods *f;
	uint32_t at;

	if (!key)
		return -ENOMEM;
	if (!keymap_get(&r->by_selector, key, &at)) {
		f = array_push(&r->found, &r->nfound, sizeof(*f));
		if (!f || keymap_put(&r->by_selector, key, (uint32_t)(r->nfound - 1)) < 0)
			return -ENOMEM;
		f->key = key;
		at = (uint32_t)(r->nfound - 1);
	}
	f = &r->found[at];
	if (picked_update(&f->pods, &r->pods.slots, pod_fits, &a) < 0)
		return -ENOMEM;
	*ret = &f->pods;
	return 0;
}

/* ---- the pass ---------------------------------------------------------------------------------------------------- */

int resolver_begin(struct resolver *r, const struct inventory *inv)
{
	static const struct inventory nothing = {};
	CLEANUP(strbuf_clear) struct strbuf b = {};
	int ret;

	index_clear(&r->index);
	r->index.inv = inv ? inv : &nothing;
	ret = keep_found(r, r->pods.slots.pass);
	if (ret == 0)
		ret = read_namespaces(r, &b);
	if (ret == 0)
		ret = read_pods(r);
	if (ret < 0)
		return ret;
	read_nodes(r, &b);
	ret = read_cluster(r, &b);
	if (ret == 0)
		ret = index_build(&r->index);
	if (ret == 0)
		ret = read_services(r, &b);
	if (ret == 0)
		read_places(r, &b);
	return b.failed ? -ENOMEM : ret;
}

void resolver_clear(struct resolver *r)
{
	index_clear(&r->index);
	pods_clear(&r->pods);
	slots_clear(&r->services);
	free(r->cluster);
	for (size_t i = 0; i < r->nfound; i++)
		found_clear(&r->found[i]);
	free(r->found);
	keymap_clear(&r->by_selector);
	free(r->namespaces);
}
