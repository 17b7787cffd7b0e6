/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of an image. Private to image.c and image_write.c.
 *
 * Header, then the sections, each on an 8-byte boundary, host byte order (an image never leaves its host).
 *
 * Names are a trie of labels read from the right: node 0 is the root, a node's parent comes before it, and each node
 * but the root hangs on exactly one edge, so that a walk over it, wildcards included, meets each node at most once.
 * Literal edges are found by hash (open addressing over (parent, label)); a node has at most one `*` edge. `exact` terms
 * hold for a name that ends in the node, `deep` ones for any name below it.
 *
 * Edges with `*` inside a label stand in GLOBS, consecutively per parent, and those with the same text before the first
 * `*`, after the last and between the first two consecutively again, as a run. GLOB_RUNS finds a run by these texts; what
 * lengths they have at a node its GLOB_CLASSES say, so that the look-ups are as many as there are lengths, not globs.
 */
#ifndef SLUICE_POLICY_IMAGE_FORMAT_H
#define SLUICE_POLICY_IMAGE_FORMAT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FMT_MAGIC    0x31474d4943554c53ull /* "SLUCIMG1" */
#define FMT_VERSION  2
#define FMT_MAX_SIZE (256u << 20)

enum fmt_flags {
	FMT_OPENS_OUTSIDE = 1 << 16, /* beside enum image_flags */
};

enum fmt_section_id {
	FMT_DESTS,	  /* struct image_dest, by (address, bits) */
	FMT_RULES,	  /* struct image_rule, by (set, proto, port, bits) */
	FMT_SOURCES,	  /* struct fmt_source */
	FMT_POLICIES,	  /* uint32_t: offset in STRINGS */
	FMT_NODES,	  /* struct fmt_node */
	FMT_EDGES,	  /* uint32_t: child node, 0 = free; a power of two of them, or none */
	FMT_GLOBS,	  /* uint32_t: child node */
	FMT_GLOB_CLASSES, /* struct fmt_glob_class, per parent, in order and each once */
	FMT_GLOB_RUNS, /* uint32_t: place in GLOBS of a run's first, plus one, 0 = free; a power of two of them, or none */
	FMT_TERMS,     /* struct fmt_term */
	FMT_STRINGS, /* bytes; the last is NUL */
	FMT_SECTIONS,
};

struct fmt_section {
	uint32_t offset;
	uint32_t count;
};

struct fmt_span {
	uint32_t first;
	uint32_t count;
};

struct fmt_header {
	uint64_t magic;
	uint32_t version;
	uint32_t flags;
	uint64_t size;
	uint8_t hash[32]; /* SHA-256 of the whole image with this field zero */
	struct fmt_section sections[FMT_SECTIONS];
	struct fmt_span all; /* terms of `*` */
};

struct fmt_source {
	uint32_t policy;
	uint32_t kind;
	uint32_t file;
	uint32_t line;
	uint32_t column;
	uint32_t text;
};

enum fmt_edge {
	FMT_EDGE_ROOT = 0,
	FMT_EDGE_LITERAL = 1,
	FMT_EDGE_STAR = 2,
	FMT_EDGE_GLOB = 3,
};

struct fmt_node {
	uint32_t parent;
	uint32_t label; /* offset in STRINGS, for LITERAL and GLOB */
	uint8_t label_len;
	uint8_t edge; /* enum fmt_edge */
	uint8_t pad[2];
	uint32_t children; /* of all kinds */
	uint32_t star;	   /* child node, 0: none */
	struct fmt_span globs;
	struct fmt_span classes;
	struct fmt_span exact;
	struct fmt_span deep;
};

/* Lengths of a glob's text before the first `*`, after the last, and between the first two (0: there is one `*`). */
struct fmt_glob_class {
	uint8_t before;
	uint8_t after;
	uint8_t middle;
	uint8_t pad;
};

struct fmt_term {
	uint32_t set; /* 0: may be asked and opens nothing */
	uint32_t rule;
};

static inline struct fmt_glob_class fmt_glob_class_of(const char *label, size_t len)
{
	const char *first = (const char *)memchr(label, '*', len);
	const char *last = (const char *)memrchr(label, '*', len);
	const char *second =
		first && first != last ? (const char *)memchr(first + 1, '*', (size_t)(last - first)) : NULL;

	if (!first)
		return (struct fmt_glob_class){ .before = (uint8_t)len };
	return (struct fmt_glob_class){ .before = (uint8_t)(first - label),
					.after = (uint8_t)(len - (size_t)(last - label) - 1),
					.middle = second ? (uint8_t)(second - first - 1) : 0 };
}

static inline int fmt_glob_class_compare(const struct fmt_glob_class *a, const struct fmt_glob_class *b)
{
	if (a->before != b->before)
		return (int)a->before - (int)b->before;
	if (a->after != b->after)
		return (int)a->after - (int)b->after;
	return (int)a->middle - (int)b->middle;
}

static inline uint32_t fmt_hash_add(uint32_t h, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)text[i]) * 16777619u;
	return h;
}

static inline uint32_t fmt_glob_hash(uint32_t parent, const struct fmt_glob_class *c, const char *before,
				     const char *after, const char *middle)
{
	uint32_t h = 2166136261u ^ (parent * 2654435761u);

	h = (h ^ c->before) * 16777619u;
	h = (h ^ c->after) * 16777619u;
	h = fmt_hash_add(fmt_hash_add(fmt_hash_add(h, before, c->before), after, c->after), middle, c->middle);
	return h ^ h >> 15;
}

static inline uint32_t fmt_edge_hash(uint32_t parent, const char *label, size_t len)
{
	uint32_t h = 2166136261u ^ (parent * 2654435761u); /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)label[i]) * 16777619u;
	return h ^ h >> 15;
}

#endif
