/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of an image to its bytes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sha2.h>

#include "base/cleanup.h"
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

/* Glob children grouped by parent: they come in node order, and each node's span is counted, then filled. */
static uint32_t *group_globs(struct trie *t, uint32_t *ret_count)
{
	uint32_t total = 0, *globs;

	for (size_t i = 0; i < t->nnodes; i++)
		if (t->nodes[i].fmt.edge == FMT_EDGE_GLOB)
			t->nodes[t->nodes[i].fmt.parent].fmt.globs.count++;
	for (size_t i = 0; i < t->nnodes; i++) {
		t->nodes[i].fmt.globs.first = total;
		total += t->nodes[i].fmt.globs.count;
		t->nodes[i].fmt.globs.count = 0;
	}
	globs = calloc(total ? total : 1, sizeof(*globs));
	for (uint32_t i = 0; globs && i < t->nnodes; i++) {
		struct fmt_span *s = &t->nodes[t->nodes[i].fmt.parent].fmt.globs;

		if (t->nodes[i].fmt.edge == FMT_EDGE_GLOB)
			globs[s->first + s->count++] = i;
	}
	*ret_count = total;
	return globs;
}

static int add_names(struct strbuf *out, struct fmt_header *h, struct trie *t)
{
	CLEANUP(strbuf_clear) struct strbuf nodes = {};
	struct terms terms = {};
	_cleanup_free_ uint32_t *globs = NULL;
	uint32_t nglobs;

	globs = group_globs(t, &nglobs);
	if (!globs)
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
	add_section(out, h, FMT_GLOBS, globs, nglobs, sizeof(*globs));
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
	if (add_names(&out, &h, &p->trie) < 0)
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
