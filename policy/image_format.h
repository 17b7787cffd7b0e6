/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of an image. Private to image.c and image_write.c.
 *
 * Header, then the sections, each on an 8-byte boundary, host byte order (an image never leaves its host).
 *
 * Names are a trie of labels read from the right: node 0 is the root, a node's parent comes before it, and each node
 * but the root hangs on exactly one edge, so that a walk over it, wildcards included, meets each node at most once.
 * Literal edges are found by hash (open addressing over (parent, label)); a node has at most one `*` edge; edges with
 * `*` inside a label stand in GLOBS, consecutively per parent. `exact` terms hold for a name that ends in the node,
 * `deep` ones for any name below it.
 */
#ifndef SLUICE_POLICY_IMAGE_FORMAT_H
#define SLUICE_POLICY_IMAGE_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#define FMT_MAGIC    0x31474d4943554c53ull /* "SLUCIMG1" */
#define FMT_VERSION  1
#define FMT_MAX_SIZE (256u << 20)

enum fmt_flags {
	FMT_OPENS_OUTSIDE = 1 << 16, /* beside enum image_flags */
};

enum fmt_section_id {
	FMT_DESTS,    /* struct image_dest, by (address, bits) */
	FMT_RULES,    /* struct image_rule, by (set, proto, port, bits) */
	FMT_SOURCES,  /* struct fmt_source */
	FMT_POLICIES, /* uint32_t: offset in STRINGS */
	FMT_NODES,    /* struct fmt_node */
	FMT_EDGES,    /* uint32_t: child node, 0 = free; a power of two of them, or none */
	FMT_GLOBS,    /* uint32_t: child node */
	FMT_TERMS,    /* struct fmt_term */
	FMT_STRINGS,  /* bytes; the last is NUL */
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
	struct fmt_span exact;
	struct fmt_span deep;
};

struct fmt_term {
	uint32_t set; /* 0: may be asked and opens nothing */
	uint32_t rule;
};

static inline uint32_t fmt_edge_hash(uint32_t parent, const char *label, size_t len)
{
	uint32_t h = 2166136261u ^ (parent * 2654435761u); /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)label[i]) * 16777619u;
	return h ^ h >> 15;
}

#endif
