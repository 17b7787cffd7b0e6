/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML as a tree in which every node knows its line and column, and typed reading of that tree where each mistake
 * becomes a diagnostic at its own place.
 *
 * Refused in the text itself: anchors, aliases and tags (so nothing expands), duplicate keys, keys that are not
 * scalars, NUL bytes, more than YAML_MAX_DEPTH levels or YAML_MAX_NODES nodes.
 */
#ifndef SLUICE_POLICY_YAML_H
#define SLUICE_POLICY_YAML_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/diag.h"

#define YAML_MAX_DEPTH 64
#define YAML_MAX_NODES 4000000

enum ynode_kind {
	YNODE_SCALAR,
	YNODE_SEQUENCE,
	YNODE_MAPPING,
};

/* What a scalar says: quoted ones are strings, plain ones follow YAML 1.1 as Kubernetes reads it. */
enum yscalar {
	YSCALAR_STRING,
	YSCALAR_NULL,
	YSCALAR_BOOL,
	YSCALAR_INT,
	YSCALAR_FLOAT,
};

struct ynode {
	enum ynode_kind kind;
	enum yscalar scalar;  /* of a scalar */
	uint32_t line;	      /* from 1 */
	uint32_t column;      /* from 1 */
	char *text;	      /* of a scalar: without quotes, NUL-terminated */
	struct ynode **items; /* of a sequence: its items; of a mapping: key, value, key, value ... */
	size_t count;	      /* of a sequence: items; of a mapping: pairs */
};

/* The documents of one text; an empty document is a NULL scalar. */
struct ydocs {
	struct ynode **roots;
	size_t count;
};

/* 0; -EINVAL with a diagnostic; -ENOMEM. The tree is freed by ydocs_freep (NULL-safe, sets NULL). */
int yaml_read(const char *file, const char *text, size_t len, struct diags *diags, struct ydocs **ret);
void ydocs_freep(struct ydocs **docs);

/*
 * A tree can also be made by hand, of what was parsed elsewhere: nodes, texts and arrays of items are each of the heap, and
 * all of it the root's.
 */
void ynode_freep(struct ynode **node); /* NULL-safe, sets NULL */

/* The value under `key`; NULL when `node` is no mapping or has no such key. */
const struct ynode *ynode_get(const struct ynode *node, const char *key);
/* The text of a scalar below `node`, following the keys to NULL; NULL when there is none. */
const char *ynode_text(const struct ynode *node, ...) __attribute__((sentinel));
const char *ynode_vtext(const struct ynode *node, va_list keys);
/* Items of the sequence under `key`, which `*ret` is then; 0 when it is none, and `*ret` NULL. */
size_t ynode_list(const struct ynode *node, const char *key, const struct ynode **ret);
static inline const struct ynode *ynode_key(const struct ynode *mapping, size_t i)
{
	return mapping->items[2 * i];
}
static inline const struct ynode *ynode_value(const struct ynode *mapping, size_t i)
{
	return mapping->items[2 * i + 1];
}
static inline bool ynode_is_null(const struct ynode *node)
{
	return node->kind == YNODE_SCALAR && node->scalar == YSCALAR_NULL;
}
/* "a list", "the number 53": for messages. Into buf; returns buf. */
char *ynode_describe(const struct ynode *node, char *buf, size_t size);

/* ---- typed reading --------------------------------------------------------------------------------------------- */

struct yctx {
	const char *file;
	struct diags *diags;
	size_t errors; /* reported through this context */
	bool oom;      /* an allocation failed: what was read is not to be used */
	bool keep_unknown;
	const struct ynode *
		*unknown; /* with keep_unknown: the keys that no table of members knew; the caller's to free */
	size_t nunknown;
};

__attribute__((format(printf, 3, 4))) void yctx_error(struct yctx *c, const struct ynode *at, const char *format, ...);
__attribute__((format(printf, 3, 4))) void yctx_warn(struct yctx *c, const struct ynode *at, const char *format, ...);
__attribute__((format(printf, 3, 4))) void yctx_notice(struct yctx *c, const struct ynode *at, const char *format, ...);

/* An error at a member's key, which with keep_unknown is remembered too. */
__attribute__((format(printf, 3, 4))) void yctx_unknown(struct yctx *c, const struct ynode *key, const char *format,
							...);

/*
 * Each returns true when the node is what it should be and `ret` is written; else it has reported an error that
 * names `what` and says what was expected.
 */
bool yread_mapping(struct yctx *c, const struct ynode *node, const char *what);
bool yread_sequence(struct yctx *c, const struct ynode *node, const char *what);
bool yread_text(struct yctx *c, const struct ynode *node, const char *what, const char **ret); /* borrowed */
bool yread_string(struct yctx *c, const struct ynode *node, const char *what, char **ret);     /* frees *ret, owned */
bool yread_bool(struct yctx *c, const struct ynode *node, const char *what, bool *ret);
bool yread_uint(struct yctx *c, const struct ynode *node, const char *what, uint64_t min, uint64_t max, uint64_t *ret);
/* "30s", "1m30s", "250ms", "1h" or 0, as nanoseconds. */
bool yread_duration(struct yctx *c, const struct ynode *node, const char *what, uint64_t *ret);

/* One member of a mapping; `read` reports its own errors. */
struct yfield {
	const char *name;
	void (*read)(struct yctx *c, const struct ynode *value, void *out);
};

/*
 * Reads a mapping whose members are exactly `fields`: any other key is an error that lists them. False when the node
 * is no mapping (nothing was called then) or a key was unknown.
 */
bool yread_fields(struct yctx *c, const struct ynode *node, const char *what, const struct yfield *fields,
		  size_t nfields, void *out);

#endif
