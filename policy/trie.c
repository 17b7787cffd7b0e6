/* SPDX-License-Identifier: Apache-2.0 */
/* The name trie as it is built; image_format.h says what it is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/array.h"
#include "policy/build.h"

int trie_init(struct trie *t)
{
	return array_push(&t->nodes, &t->nnodes, sizeof(*t->nodes)) ? 0 : -ENOMEM;
}

void trie_clear(struct trie *t)
{
	for (size_t i = 0; i < t->nnodes; i++) {
		free(t->nodes[i].exact);
		free(t->nodes[i].deep);
	}
	free(t->nodes);
	free(t->edges);
	free(t->glob_edges);
	free(t->all);
	*t = (struct trie){};
}

static const char *node_label(const struct trie *t, const struct strbuf *strings, uint32_t i)
{
	return strings->data + t->nodes[i].fmt.label;
}

static void place(const struct trie *t, const struct strbuf *strings, uint32_t *edges, size_t nedges, uint32_t child)
{
	const struct fmt_node *n = &t->nodes[child].fmt;
	size_t i = fmt_edge_hash(n->parent, node_label(t, strings, child), n->label_len) & (nedges - 1);

	while (edges[i])
		i = (i + 1) & (nedges - 1);
	edges[i] = child;
}

/* At most a quarter full, so that a probe is hardly ever a second one, and always ends. In node order, so that the bytes are canonical. */
static int grow_edges(struct trie *t, const struct strbuf *strings, enum fmt_edge kind)
{
	bool glob = kind == FMT_EDGE_GLOB;
	uint32_t **edges = glob ? &t->glob_edges : &t->edges, *grown;
	size_t *nedges = glob ? &t->nglob_edges : &t->nedges, n = *nedges ? *nedges * 2 : 4;

	if (((glob ? t->globs : t->literals) + 1) * 4 <= *nedges)
		return 0;
	grown = calloc(n, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	free(*edges);
	*edges = grown;
	*nedges = n;
	for (uint32_t i = 1; i < t->nnodes; i++)
		if (t->nodes[i].fmt.edge == kind)
			place(t, strings, grown, n, i);
	return 0;
}

static uint32_t find_edge(const struct trie *t, const struct strbuf *strings, enum fmt_edge kind, uint32_t parent,
			  const char *label, size_t len)
{
	const uint32_t *edges = kind == FMT_EDGE_GLOB ? t->glob_edges : t->edges;
	size_t nedges = kind == FMT_EDGE_GLOB ? t->nglob_edges : t->nedges;

	if (nedges == 0)
		return 0;
	for (size_t i = fmt_edge_hash(parent, label, len) & (nedges - 1);; i = (i + 1) & (nedges - 1)) {
		uint32_t child = edges[i];
		const struct fmt_node *n = &t->nodes[child].fmt;

		if (child == 0)
			return 0;
		if (n->parent == parent && n->label_len == len &&
		    memcmp(node_label(t, strings, child), label, len) == 0)
			return child;
	}
}

static int add_child(struct trie *t, struct strbuf *strings, uint32_t parent, enum fmt_edge edge, const char *label,
		     size_t len, uint32_t *ret)
{
	struct trie_node *n;
	uint32_t child;

	if (edge != FMT_EDGE_STAR && grow_edges(t, strings, edge) < 0)
		return -ENOMEM;
	child = (uint32_t)t->nnodes;
	n = array_push(&t->nodes, &t->nnodes, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->fmt.parent = parent;
	n->fmt.edge = (uint8_t)edge;
	t->nodes[parent].fmt.children++;
	if (edge == FMT_EDGE_STAR) {
		t->nodes[parent].fmt.star = child;
	} else {
		n->fmt.label = (uint32_t)strings->len;
		n->fmt.label_len = (uint8_t)len;
		strbuf_add(strings, label, len);
		strbuf_add(strings, "", 1);
		if (strings->failed)
			return -ENOMEM;
	}
	if (edge == FMT_EDGE_LITERAL) {
		t->literals++;
		place(t, strings, t->edges, t->nedges, child);
	} else if (edge == FMT_EDGE_GLOB) {
		t->globs++;
		place(t, strings, t->glob_edges, t->nglob_edges, child);
	}
	*ret = child;
	return 0;
}

static int step(struct trie *t, struct strbuf *strings, uint32_t *node, const char *label, size_t len)
{
	enum fmt_edge edge = FMT_EDGE_LITERAL;
	uint32_t child;

	if (len == 1 && *label == '*') {
		edge = FMT_EDGE_STAR;
		child = t->nodes[*node].fmt.star;
	} else if (memchr(label, '*', len)) {
		edge = FMT_EDGE_GLOB;
		child = find_edge(t, strings, edge, *node, label, len);
	} else {
		child = find_edge(t, strings, edge, *node, label, len);
	}
	if (!child)
		return add_child(t, strings, *node, edge, label, len, node);
	*node = child;
	return 0;
}

/* One term per set: the first rule stands for it. */
static int add_term(struct fmt_term **terms, size_t *n, uint32_t set, uint32_t rule)
{
	struct fmt_term *slot;

	for (size_t i = 0; i < *n; i++)
		if ((*terms)[i].set == set)
			return 0;
	slot = array_push(terms, n, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	slot->set = set;
	slot->rule = rule;
	return 0;
}

int trie_add(struct trie *t, struct strbuf *strings, const struct name_view *name, uint32_t set, uint32_t rule)
{
	size_t end = strlen(name->text);
	uint32_t node = 0;

	if (name->all)
		return add_term(&t->all, &t->nall, set, rule);
	while (end > 0) {
		size_t start = end;
		int r;

		while (start > 0 && name->text[start - 1] != '.')
			start--;
		r = step(t, strings, &node, name->text + start, end - start);
		if (r < 0)
			return r;
		end = start > 0 ? start - 1 : 0;
	}
	if (name->deep)
		return add_term(&t->nodes[node].deep, &t->nodes[node].ndeep, set, rule);
	return add_term(&t->nodes[node].exact, &t->nodes[node].nexact, set, rule);
}
