/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/model/trial.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "bpf/addr_class.h"

/* ---- both sides ------------------------------------------------------------------------------------------------ */

int both_open(const char *text, size_t len, struct both *ret)
{
	struct diags diags = {};
	int r;

	*ret = (struct both){};
	if (store_new(&ret->store) < 0)
		abort();
	r = store_update(ret->store, "model.yaml", text, len, &diags);
	if (r == 0 && yaml_read("model.yaml", text, len, &diags, &ret->docs) < 0)
		abort();
	if (r != 0 && getenv("SLUICE_MODEL_VERBOSE"))
		for (size_t i = 0; i < diags.count; i++)
			if (diags.items[i].level == DIAG_ERROR)
				fprintf(stderr, "refused: %s\n", diags.items[i].message);
	diags_clear(&diags);
	return r != 0 || !ev_load(ret->docs, &ret->policies);
}

void both_clear(struct both *b)
{
	ydocs_freep(&b->docs);
	store_freep(&b->store);
}

static enum outcome ask_name(const struct both *b, const struct world *w, const struct adapter_endpoint *e,
			     const struct question *q, bool *ret_allowed)
{
	const struct world_pod *from = &w->pods[q->pod];
	bool names = ev_has_names(&b->policies, w, from);
	bool may = ev_may_ask(&b->policies, w, from, q->asked), opens = ev_opens(&b->policies, w, from, q->asked);
	struct image_match m;

	*ret_allowed = may;
	if (e->open)
		return names ? OUTCOME_DIFFER : OUTCOME_AGREE;
	if (!(image_flags(e->img) & IMAGE_NAMES) != !names)
		return OUTCOME_DIFFER;
	if (!names)
		return OUTCOME_AGREE;
	image_match_name(e->img, q->asked, strlen(q->asked), &m);
	return m.askable == may && (m.overflow || (m.nsets > 0) == opens) ? OUTCOME_AGREE : OUTCOME_DIFFER;
}

static size_t names_of(const struct adapter_endpoint *e, const struct sluice_addr *addr, const char **names)
{
	size_t n = 0;

	for (size_t i = 0; i < e->nkept; i++)
		if (addr_compare(&e->kept[i].addr, addr) == 0)
			names[n++] = e->kept[i].name;
	return n;
}

enum outcome ask_both(const struct both *b, const struct world *w, const struct adapter_endpoint *e,
		      const struct question *q, bool *ret_allowed)
{
	const char *names[ADAPTER_LEASES];
	struct ev_flow flow = { &w->pods[q->pod], q->flow.to, q->flow.proto, q->flow.port, names, 0 };
	struct adapter_answer a;

	if (q->asked)
		return ask_name(b, w, e, q, ret_allowed);
	if (e->open && addr_never_leaves(&q->flow.to))
		return OUTCOME_VOID;
	a = adapter_judge(e, &q->flow);
	flow.nnames = names_of(e, &q->flow.to, names);
	if (q->flow.port == 53 && (q->flow.proto == IPPROTO_TCP || q->flow.proto == IPPROTO_UDP) &&
	    ev_has_names(&b->policies, w, flow.from))
		*ret_allowed = ev_dns_allowed(&b->policies, w, &flow);
	else
		*ret_allowed = ev_allowed(&b->policies, w, &flow);
	return *ret_allowed == a.allowed ? OUTCOME_AGREE : OUTCOME_DIFFER;
}

/* ---- YAML again ------------------------------------------------------------------------------------------------ */

static void emit(struct strbuf *t, const struct ynode *n, const char *indent)
{
	bool mapping = n->kind == YNODE_MAPPING;

	if (n->kind == YNODE_SCALAR) {
		bool quote = n->scalar == YSCALAR_STRING &&
			     n->text[strspn(n->text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")] != '\0';

		strbuf_addf(t, quote || n->text[0] == '\0' ? "\"%s\"" : "%s", n->text);
		return;
	}
	strbuf_adds(t, mapping ? "{" : "[");
	for (size_t i = 0; i < n->count; i++) {
		strbuf_addf(t, "%s%s", i ? "," : "", i && *indent ? indent : i ? " " : "");
		if (mapping) {
			emit(t, ynode_key(n, i), "");
			strbuf_adds(t, ": ");
		}
		emit(t, mapping ? ynode_value(n, i) : n->items[i], *indent == '\n' ? "" : indent);
	}
	strbuf_adds(t, mapping ? "}" : "]");
}

static void emit_docs(struct strbuf *t, const struct ydocs *docs)
{
	for (size_t i = 0; i < docs->count; i++) {
		strbuf_adds(t, "---\n");
		emit(t, docs->roots[i], "\n ");
		strbuf_adds(t, "\n");
	}
}

/* ---- shrinking ------------------------------------------------------------------------------------------------- */

struct shrink {
	struct ydocs *docs;
	const struct world *world;
	const struct adapter_world *adapted;
	struct question q;
};

static bool still_differs(const char *text, size_t len, const struct shrink *s)
{
	struct adapter_endpoint e = {};
	struct both b;
	bool differs = false, allowed;

	if (both_open(text, len, &b) == 0 && adapter_compile(b.store, s->adapted, s->q.pod, &e) == 0) {
		adapter_lease(&e, s->q.leases, s->q.nleases);
		differs = ask_both(&b, s->world, &e, &s->q, &allowed) == OUTCOME_DIFFER;
	}
	adapter_clear(&e);
	both_clear(&b);
	return differs;
}

static bool docs_differ(const struct shrink *s)
{
	struct strbuf t = {};
	bool differs;

	emit_docs(&t, s->docs);
	differs = still_differs(t.data ? t.data : "", t.len, s);
	strbuf_clear(&t);
	return differs;
}

/* Takes item (or pair) `i` out of a list of `width` pointers each. The rest of it is put back when it was needed. */
static bool try_without(struct shrink *s, struct ynode **items, size_t *count, size_t width, size_t i)
{
	struct ynode *taken[2] = { items[i * width], items[i * width + width - 1] };

	memmove(&items[i * width], &items[(i + 1) * width], (*count - i - 1) * width * sizeof(*items));
	--*count;
	if (docs_differ(s))
		return true; /* `taken` is lost, as everything is when the test ends */
	memmove(&items[(i + 1) * width], &items[i * width], (*count - i) * width * sizeof(*items));
	++*count;
	items[i * width] = taken[0];
	items[i * width + width - 1] = taken[1];
	return false;
}

static bool shrink_node(struct shrink *s, struct ynode *n)
{
	size_t width = n->kind == YNODE_MAPPING ? 2 : 1;
	bool progress = false;

	if (n->kind == YNODE_SCALAR)
		return false;
	for (size_t i = n->count; i-- > 0;) {
		if (try_without(s, n->items, &n->count, width, i))
			progress = true;
		else
			progress |= shrink_node(s, n->items[i * width + width - 1]);
	}
	return progress;
}

static void shrink_leases(struct shrink *s)
{
	for (size_t i = s->q.nleases; i-- > 0;) {
		struct lease l = s->q.leases[i];

		s->q.leases[i] = s->q.leases[--s->q.nleases];
		if (docs_differ(s))
			continue;
		s->q.leases[s->q.nleases++] = s->q.leases[i];
		s->q.leases[i] = l;
	}
}

static void shrink(struct shrink *s)
{
	bool progress = true;

	while (progress) {
		progress = false;
		for (size_t i = s->docs->count; i-- > 0;) {
			if (try_without(s, s->docs->roots, &s->docs->count, 1, i))
				progress = true;
			else
				progress |= shrink_node(s, s->docs->roots[i]);
		}
	}
	shrink_leases(s);
}

/* ---- reporting ------------------------------------------------------------------------------------------------- */

static void print_labels(const struct world_labels *l)
{
	printf(" {");
	for (size_t i = 0; i < l->count; i++)
		printf("%s%s: %s", i ? ", " : "", l->items[i].key, l->items[i].value);
	printf("}");
}

static void print_addrs(const struct world_addrs *a)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < a->count; i++)
		printf(" %s", addr_format(&a->items[i], text));
}

static void print_service(const struct world_service *s)
{
	printf("service %s/%s", s->namespace_name, s->name);
	print_labels(&s->labels);
	print_addrs(&s->addrs);
	for (size_t i = 0; i < s->nports; i++)
		printf(" %u->%u%s/%u", s->ports[i].port, s->ports[i].target,
		       s->ports[i].target_name ? s->ports[i].target_name : "", s->ports[i].proto);
	printf(", backends");
	if (s->selector.count)
		print_labels(&s->selector);
	print_addrs(&s->outside);
	printf("\n");
}

static void print_world(const struct world *w)
{
	for (size_t i = 0; i < w->nnamespaces; i++) {
		printf("namespace %s", w->namespaces[i].name);
		print_labels(&w->namespaces[i].labels);
		printf("\n");
	}
	for (size_t i = 0; i < w->npods; i++) {
		const struct world_pod *p = &w->pods[i];

		printf("pod %s/%s account %s%s%s%s", p->namespace_name, p->name, p->account,
		       p->ready ? "" : " not ready", p->finished ? " finished" : "",
		       p->host_network ? " on its node's network" : "");
		print_labels(&p->labels);
		print_addrs(&p->addrs);
		for (size_t k = 0; k < p->nports; k++)
			printf(" %s=%u/%u", p->ports[k].name, p->ports[k].number, p->ports[k].proto);
		printf("\n");
	}
	for (size_t i = 0; i < w->nnodes; i++) {
		printf("node %s%s", w->nodes[i].name, w->nodes[i].local ? " (local)" : "");
		print_labels(&w->nodes[i].labels);
		print_addrs(&w->nodes[i].addrs);
		printf("\n");
	}
	for (size_t i = 0; i < w->nservices; i++)
		print_service(&w->services[i]);
}

static void print_flow(const struct adapter_endpoint *e, const struct question *q)
{
	struct adapter_answer a = adapter_judge(e, &q->flow);
	struct image_source source;
	char text[ADDR_TEXT_MAX];

	printf("to %s proto %u port %u: the image says %s%s", addr_format(&q->flow.to, text), q->flow.proto,
	       q->flow.port, a.allowed ? "allowed" : "denied", a.by_proxy ? " (port 53 is the proxy's)" : "");
	if (!e->open && image_rule_source(e->img, a.rule, &source))
		printf(" by %s line %u: %s", source.policy, source.line, source.text);
	printf(", the evaluator the opposite\n");
}

static void print_name(const struct both *b, const struct world *w, const struct adapter_endpoint *e,
		       const struct question *q)
{
	const struct world_pod *from = &w->pods[q->pod];
	struct image_match m = {};

	if (!e->open)
		image_match_name(e->img, q->asked, strlen(q->asked), &m);
	printf("name %s: the image says names %d, askable %d, sets %u; the evaluator names %d, may be asked %d, opens "
	       "%d\n",
	       q->asked, !e->open && (image_flags(e->img) & IMAGE_NAMES), m.askable, m.nsets,
	       ev_has_names(&b->policies, w, from), ev_may_ask(&b->policies, w, from, q->asked),
	       ev_opens(&b->policies, w, from, q->asked));
}

static void print_case(const struct shrink *s, const char *text, size_t len)
{
	struct adapter_endpoint e = {};
	char addr[ADDR_TEXT_MAX];
	struct both b;

	printf("%.*s", (int)len, text);
	print_world(s->world);
	printf("from pod %s/%s\n", s->world->pods[s->q.pod].namespace_name, s->world->pods[s->q.pod].name);
	for (size_t i = 0; i < s->q.nleases; i++)
		printf("answered %s with %s\n", s->q.leases[i].name, addr_format(&s->q.leases[i].addr, addr));
	if (both_open(text, len, &b) == 0 && adapter_compile(b.store, s->adapted, s->q.pod, &e) == 0) {
		adapter_lease(&e, s->q.leases, s->q.nleases);
		if (s->q.asked)
			print_name(&b, s->world, &e, &s->q);
		else
			print_flow(&e, &s->q);
	}
	adapter_clear(&e);
	both_clear(&b);
}

void report(const char *text, size_t len, const struct world *w, const struct question *q)
{
	struct adapter_world adapted;
	struct shrink s = { .world = w, .adapted = &adapted, .q = *q };
	struct diags diags = {};
	struct strbuf t = {};

	adapter_world(w, &adapted);
	if (yaml_read("model.yaml", text, len, &diags, &s.docs) < 0)
		return;
	shrink(&s);
	emit_docs(&t, s.docs);
	print_case(&s, t.data ? t.data : "", t.len);
	fflush(stdout);
	strbuf_clear(&t);
	diags_clear(&diags);
}
