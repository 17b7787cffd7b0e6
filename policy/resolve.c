/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A pass reads the whole inventory, but what it costs beyond a print of each object is what changed since the last: sets of
 * the pods that a selector finds are kept and asked only about pods whose content is new (slots.c). A selector that no
 * pass asked for is forgotten with the next.
 */
#include "policy/resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/siphash.h"
#include "base/strbuf.h"
#include "policy/array.h"
#include "policy/match.h"

/* ---- prints ------------------------------------------------------------------------------------------------------ */

static void put_text(struct strbuf *b, const char *text)
{
	strbuf_add(b, text ? text : "", text ? strlen(text) + 1 : 1);
}

static void put_labels(struct strbuf *b, const struct label *labels, size_t n)
{
	strbuf_add(b, &n, sizeof(n));
	for (size_t i = 0; i < n; i++) {
		put_text(b, labels[i].key);
		put_text(b, labels[i].value);
	}
}

static void put_addrs(struct strbuf *b, const struct sluice_addr *addrs, size_t n)
{
	strbuf_add(b, &n, sizeof(n));
	if (n)
		strbuf_add(b, addrs, n * sizeof(*addrs));
}

static void put_number(struct strbuf *b, uint64_t n)
{
	strbuf_add(b, &n, sizeof(n));
}

/* The print of what is in the buffer from `from`. */
static uint64_t print_from(const struct resolver *r, const struct strbuf *b, size_t from)
{
	return b->failed || b->len <= from ? 0 : siphash24(b->data + from, b->len - from, r->seed);
}

static uint64_t namespace_print(const struct resolver *r, const char *name)
{
	const struct inventory *inv = r->index.inv;

	for (size_t i = 0; i < inv->nnamespaces; i++)
		if (strcmp(inv->namespaces[i].name, name) == 0)
			return r->namespaces[i];
	return 0;
}

static void put_effect(struct strbuf *b, const struct subject *pod)
{
	put_addrs(b, pod->addrs, pod->naddrs);
	put_number(b, pod->nports);
	for (size_t i = 0; i < pod->nports; i++) {
		put_text(b, pod->ports[i].name);
		put_number(b, (uint64_t)pod->ports[i].proto << 16 | pod->ports[i].port);
	}
}

static void put_identity(struct strbuf *b, const struct subject *s, uint64_t namespace_labels)
{
	put_text(b, s->namespace_name);
	put_text(b, s->service_account);
	put_labels(b, s->labels, s->nlabels);
	put_number(b, namespace_labels);
}

uint64_t resolver_subject(const struct resolver *r, const struct subject *subject)
{
	CLEANUP(strbuf_clear) struct strbuf b = {};

	put_identity(&b, subject, namespace_print(r, subject->namespace_name));
	return print_from(r, &b, 0);
}

static int read_namespaces(struct resolver *r, struct strbuf *b)
{
	const struct inventory *inv = r->index.inv;

	free(r->namespaces);
	r->namespaces = calloc(inv->nnamespaces + 1, sizeof(*r->namespaces));
	for (size_t i = 0; r->namespaces && i < inv->nnamespaces; i++) {
		b->len = 0;
		put_labels(b, inv->namespaces[i].labels, inv->namespaces[i].nlabels);
		r->namespaces[i] = print_from(r, b, 0);
	}
	return r->namespaces ? 0 : -ENOMEM;
}

/* The index has the pods by namespace, so each namespace's labels are looked up once. */
static int read_pods(struct resolver *r, struct strbuf *b)
{
	_cleanup_free_ struct slot_content *list = calloc(r->index.npods + 1, sizeof(*list));
	uint64_t labels = 0;

	if (!list)
		return -ENOMEM;
	r->every_pod = 0;
	for (size_t i = 0; i < r->index.npods; i++) {
		const struct subject *pod = r->index.pods[i];

		if (i == 0 || strcmp(r->index.pods[i - 1]->namespace_name, pod->namespace_name) != 0)
			labels = namespace_print(r, pod->namespace_name);
		b->len = 0;
		put_effect(b, pod);
		list[i].effect = print_from(r, b, 0);
		put_identity(b, pod, labels);
		put_text(b, pod->name);
		put_number(b, pod->host_network);
		list[i].print = print_from(r, b, 0);
		r->every_pod += list[i].print;
	}
	return slots_sync(&r->pods, list, r->index.npods);
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
	r->nodes = print_from(r, b, 0);
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
		put_effect(b, m->pod);
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
	r->every_presence += print_from(r, b, 0);
	for (size_t k = 0; k < m->count; k++)
		put_member(r, b, s, &m->items[k]);
	ret->print = ret->effect = print_from(r, b, 0);
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
	r->place = print_from(r, b, 0);
	b->len = 0;
	put_addrs(b, r->index.api_server, r->index.napi_server);
	r->api_server = print_from(r, b, 0);
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

static uint64_t selector_print(const struct resolver *r, const struct selector *s)
{
	CLEANUP(strbuf_clear) struct strbuf b = {};

	put_number(&b, s != NULL);
	put_text(&b, s && s->namespace_name ? s->namespace_name : "");
	for (size_t i = 0; s && i < s->count; i++) {
		put_number(&b, (uint64_t)s->items[i].scope << 32 | (uint64_t)s->items[i].operation);
		put_text(&b, s->items[i].key);
		put_number(&b, s->items[i].nvalues);
		for (size_t k = 0; k < s->items[i].nvalues; k++)
			put_text(&b, s->items[i].values[k]);
	}
	return print_from(r, &b, 0);
}

struct asked {
	const struct resolver *r;
	const struct selector *selector;
};

static bool pod_fits(void *context, size_t index)
{
	const struct asked *a = context;
	const struct subject *pod = a->r->index.pods[index];

	return !pod->host_network && (!a->selector || selector_matches(a->selector, pod, a->r->index.inv));
}

int resolver_find(struct resolver *r, const struct selector *selector, const struct picked **ret)
{
	struct asked a = { r, selector };
	uint64_t key = selector_print(r, selector);
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
	if (picked_update(&f->pods, &r->pods, pod_fits, &a) < 0)
		return -ENOMEM;
	*ret = &f->pods;
	return 0;
}

/* ---- the pass ---------------------------------------------------------------------------------------------------- */

int resolver_begin(struct resolver *r, const struct inventory *inv)
{
	CLEANUP(strbuf_clear) struct strbuf b = {};
	int ret;

	index_clear(&r->index);
	ret = keep_found(r, r->pods.pass);
	if (ret == 0)
		ret = index_build(inv, &r->index);
	if (ret == 0)
		ret = read_namespaces(r, &b);
	if (ret == 0)
		ret = read_pods(r, &b);
	if (ret < 0)
		return ret;
	read_nodes(r, &b);
	ret = read_services(r, &b);
	if (ret == 0)
		read_places(r, &b);
	return b.failed ? -ENOMEM : ret;
}

void resolver_clear(struct resolver *r)
{
	index_clear(&r->index);
	slots_clear(&r->pods);
	slots_clear(&r->services);
	for (size_t i = 0; i < r->nfound; i++)
		found_clear(&r->found[i]);
	free(r->found);
	keymap_clear(&r->by_selector);
	free(r->namespaces);
}
