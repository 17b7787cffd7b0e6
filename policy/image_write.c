/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of an image to its bytes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sha2.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "policy/build.h"

struct terms {
	struct strbuf bytes;
	uint32_t count;
};

static struct fmt_span add_terms(struct terms *t, const struct fmt_term *terms, size_t n)
{
	struct fmt_span span = { .first = t->count, .count = (uint32_t)n };

	strbuf_add(&t->bytes, terms, n * sizeof(*terms));
	t->count += (uint32_t)n;
	return span;
}

/* Appends a section's items on an 8-byte boundary. */
static void add_section(struct strbuf *out, struct fmt_header *h, enum fmt_section_id id, const void *items,
			size_t count, size_t size)
{
	static const char zeros[8];

	strbuf_add(out, zeros, (8 - out->len % 8) % 8);
	h->sections[id].offset = (uint32_t)out->len;
	h->sections[id].count = (uint32_t)count;
	strbuf_add(out, items, count * size);
}

/* ---- labels with `*` inside --------------------------------------------------------------------------------------- */

struct glob {
	uint32_t parent;
	uint32_t child;
	struct fmt_glob_class class;
	const char *label;
	size_t len;
};

struct globs {
	struct glob *items;
	size_t count;
	uint32_t *children;
	struct fmt_glob_class *classes;
	size_t nclasses;
	uint32_t *runs;
	size_t nruns;
};

static void globs_clear(struct globs *g)
{
	free(g->items);
	free(g->children);
	free(g->classes);
	free(g->runs);
}

/* Of one run when 0, whatever the rest of the labels. */
static int compare_runs(const struct glob *x, const struct glob *y)
{
	int order;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	order = fmt_glob_class_compare(&x->class, &y->class);
	if (order == 0)
		order = memcmp(x->label, y->label, x->class.before);
	if (order == 0)
		order = memcmp(x->label + x->len - x->class.after, y->label + y->len - y->class.after, x->class.after);
	return order ? order : memcmp(x->label + x->class.before + 1, y->label + y->class.before + 1, x->class.middle);
}

static int compare_globs(const void *a, const void *b)
{
	const struct glob *x = a, *y = b;
	int order = compare_runs(x, y);

	return order ? order : (x->child > y->child) - (x->child < y->child);
}

static int collect_globs(const struct trie *t, const struct strbuf *strings, struct globs *g)
{
	for (uint32_t i = 1; i < t->nnodes; i++) {
		const struct fmt_node *n = &t->nodes[i].fmt;
		struct glob *slot;

		if (n->edge != FMT_EDGE_GLOB)
			continue;
		slot = array_push(&g->items, &g->count, sizeof(*slot));
		if (!slot)
			return -ENOMEM;
		slot->parent = n->parent;
		slot->child = i;
		slot->label = strings->data + n->label;
		slot->len = n->label_len;
		slot->class = fmt_glob_class_of(slot->label, slot->len);
	}
	if (g->count > 1)
		qsort(g->items, g->count, sizeof(*g->items), compare_globs);
	return 0;
}

static void put_run(struct globs *g, size_t first)
{
	const struct glob *x = &g->items[first];
	size_t i = fmt_glob_hash(x->parent, &x->class, x->label, x->label + x->len - x->class.after,
				 x->label + x->class.before + 1) &
		   (g->nruns - 1);

	while (g->runs[i])
		i = (i + 1) & (g->nruns - 1);
	g->runs[i] = (uint32_t)first + 1;
}

static int take_glob(struct trie *t, struct globs *g, size_t i)
{
	const struct glob *x = &g->items[i], *before = i ? x - 1 : NULL;
	struct trie_node *parent = &t->nodes[x->parent];
	bool new_parent = !before || before->parent != x->parent;

	g->children[i] = x->child;
	if (new_parent) {
		parent->fmt.globs.first = (uint32_t)i;
		parent->fmt.classes.first = (uint32_t)g->nclasses;
	}
	parent->fmt.globs.count++;
	if (new_parent || fmt_glob_class_compare(&before->class, &x->class) != 0) {
		struct fmt_glob_class *slot = array_push(&g->classes, &g->nclasses, sizeof(*slot));

		if (!slot)
			return -ENOMEM;
		*slot = x->class;
		parent->fmt.classes.count++;
	}
	if (!before || compare_runs(before, x) != 0)
		put_run(g, i);
	return 0;
}

static int group_globs(struct trie *t, const struct strbuf *strings, struct globs *g)
{
	int r = collect_globs(t, strings, g);

	if (r < 0 || g->count == 0)
		return r;
	for (g->nruns = 4; g->nruns < g->count * 4;)
		g->nruns *= 2;
	g->children = calloc(g->count, sizeof(*g->children));
	g->runs = calloc(g->nruns, sizeof(*g->runs));
	if (!g->children || !g->runs)
		return -ENOMEM;
	for (size_t i = 0; i < g->count && r >= 0; i++)
		r = take_glob(t, g, i);
	return r;
}

static int add_names(struct strbuf *out, struct fmt_header *h, struct trie *t, const struct strbuf *strings)
{
	CLEANUP(strbuf_clear) struct strbuf nodes = {};
	struct terms terms = {};
	CLEANUP(globs_clear) struct globs globs = {};

	if (group_globs(t, strings, &globs) < 0)
		return -ENOMEM;
	h->all = add_terms(&terms, t->all, t->nall);
	for (size_t i = 0; i < t->nnodes; i++) {
		struct trie_node *n = &t->nodes[i];

		n->fmt.exact = add_terms(&terms, n->exact, n->nexact);
		n->fmt.deep = add_terms(&terms, n->deep, n->ndeep);
		strbuf_add(&nodes, &n->fmt, sizeof(n->fmt));
	}
	add_section(out, h, FMT_NODES, nodes.data, t->nnodes, sizeof(struct fmt_node));
	add_section(out, h, FMT_EDGES, t->edges, t->nedges, sizeof(*t->edges));
	add_section(out, h, FMT_GLOBS, globs.children, globs.count, sizeof(*globs.children));
	add_section(out, h, FMT_GLOB_CLASSES, globs.classes, globs.nclasses, sizeof(*globs.classes));
	add_section(out, h, FMT_GLOB_RUNS, globs.runs, globs.nruns, sizeof(*globs.runs));
	add_section(out, h, FMT_TERMS, terms.bytes.data, terms.count, sizeof(struct fmt_term));
	if (terms.bytes.failed || nodes.failed)
		out->failed = true;
	strbuf_clear(&terms.bytes);
	return 0;
}

static size_t estimate(const struct image_parts *p)
{
	return p->dests.count * sizeof(struct image_dest) + p->sets.nrules * sizeof(struct image_rule) +
	       p->nsources * sizeof(struct fmt_source) + p->trie.nnodes * sizeof(struct fmt_node) + p->strings.len;
}

int image_write(struct image_parts *p, uint8_t **ret, size_t *ret_len)
{
	CLEANUP(strbuf_clear) struct strbuf out = {};
	struct fmt_header h = { .magic = FMT_MAGIC, .version = FMT_VERSION, .flags = p->flags };
	SHA2_CTX sha;

	if (estimate(p) > FMT_MAX_SIZE / 2)
		return -E2BIG;
	strbuf_add(&out, &h, sizeof(h));
	strbuf_add(&p->strings, "", 1);
	add_section(&out, &h, FMT_DESTS, p->dests.items, p->dests.count, sizeof(*p->dests.items));
	add_section(&out, &h, FMT_RULES, p->sets.rules, p->sets.nrules, sizeof(*p->sets.rules));
	add_section(&out, &h, FMT_SOURCES, p->sources, p->nsources, sizeof(*p->sources));
	add_section(&out, &h, FMT_POLICIES, p->policies, p->npolicies, sizeof(*p->policies));
	if (add_names(&out, &h, &p->trie, &p->strings) < 0)
		return -ENOMEM;
	add_section(&out, &h, FMT_STRINGS, p->strings.data, p->strings.len, 1);
	if (out.failed || p->strings.failed)
		return -ENOMEM;
	if (out.len > FMT_MAX_SIZE)
		return -E2BIG;
	h.size = out.len;
	memcpy(out.data, &h, sizeof(h));
	SHA256Init(&sha);
	SHA256Update(&sha, (const uint8_t *)out.data, out.len);
	SHA256Final(h.hash, &sha);
	memcpy(out.data, &h, sizeof(h));
	*ret_len = out.len;
	*ret = (uint8_t *)TAKE_PTR(out.data);
	return 0;
}
