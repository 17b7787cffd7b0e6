/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * libyaml's event stream is turned into a tree by recursive descent; depth and node count are bounded, so the stack
 * and the heap are, whatever the text says. Aliases are the only way a YAML text grows when read, and they are refused.
 *
 * A broken text gives one diagnostic, the first: libyaml cannot go on after it. Everything that can be said about a
 * well-formed text (unknown members, wrong types) is said by the typed readers, all of it.
 */
#include "policy/yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "base/cleanup.h"
#include "base/strbuf.h"
#include "policy/array.h"

struct builder {
	yaml_parser_t parser;
	const char *file;
	struct diags *diags;
	size_t nodes;
};

static void ynode_free(struct ynode *node)
{
	size_t n;

	if (!node)
		return;
	n = node->kind == YNODE_MAPPING ? node->count * 2 : node->count;
	for (size_t i = 0; i < n; i++)
		ynode_free(node->items[i]);
	free(node->items);
	free(node->text);
	free(node);
}

void ynode_freep(struct ynode **node)
{
	ynode_free(*node);
	*node = NULL;
}

void ydocs_freep(struct ydocs **docs)
{
	if (!*docs)
		return;
	for (size_t i = 0; i < (*docs)->count; i++)
		ynode_free((*docs)->roots[i]);
	free((*docs)->roots);
	free(*docs);
	*docs = NULL;
}

/* ---- scalars --------------------------------------------------------------------------------------------------- */

static bool text_in(const char *text, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(text, words[i]) == 0)
			return true;
	return false;
}

static bool text_is_true(const char *text)
{
	static const char *const words[] = { "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y" };

	return text_in(text, words, ARRAY_SIZE(words));
}

static bool text_is_false(const char *text)
{
	static const char *const words[] = {
		"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"
	};

	return text_in(text, words, ARRAY_SIZE(words));
}

static bool text_is_int(const char *text)
{
	const char *p = text + (*text == '-' || *text == '+');

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'o' || p[1] == 'b'))
		return p[2] != '\0' && p[2 + strspn(p + 2, "0123456789abcdefABCDEF_")] == '\0';
	return *p >= '0' && *p <= '9' && p[strspn(p, "0123456789_")] == '\0';
}

static bool text_is_float(const char *text)
{
	char *end;

	if (text[0] == '\0' || text[strspn(text, "+-.0123456789eE")] != '\0' || !strpbrk(text, "0123456789"))
		return false;
	strtod(text, &end);
	return *end == '\0';
}

static enum yscalar classify(const char *text, bool plain)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };

	if (!plain)
		return YSCALAR_STRING;
	if (text_in(text, nulls, ARRAY_SIZE(nulls)))
		return YSCALAR_NULL;
	if (text_is_true(text) || text_is_false(text))
		return YSCALAR_BOOL;
	if (text_is_int(text))
		return YSCALAR_INT;
	return text_is_float(text) ? YSCALAR_FLOAT : YSCALAR_STRING;
}

/* ---- events to nodes ------------------------------------------------------------------------------------------- */

static uint32_t mark_line(const yaml_mark_t *mark)
{
	return (uint32_t)mark->line + 1;
}

static uint32_t mark_column(const yaml_mark_t *mark)
{
	return (uint32_t)mark->column + 1;
}

__attribute__((format(printf, 3, 4))) static int refuse(struct builder *b, const yaml_mark_t *mark, const char *format,
							...)
{
	_cleanup_free_ char *message = NULL;
	va_list args;
	int len;

	va_start(args, format);
	len = vasprintf(&message, format, args);
	va_end(args);
	if (len < 0) {
		message = NULL;
		return -ENOMEM;
	}
	diag_add(b->diags, DIAG_ERROR, b->file, mark_line(mark), mark_column(mark), "%s", message);
	return -EINVAL;
}

static int next_event(struct builder *b, yaml_event_t *event)
{
	const yaml_parser_t *p = &b->parser;
	const yaml_mark_t *mark;

	if (yaml_parser_parse(&b->parser, event))
		return 0;
	if (p->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	mark = p->problem_mark.line || p->problem_mark.column ? &p->problem_mark : &p->mark;
	return refuse(b, mark, "not YAML: %s%s%s", p->problem ? p->problem : "unreadable", p->context ? " " : "",
		      p->context ? p->context : "");
}

static int node_new(struct builder *b, const yaml_event_t *event, enum ynode_kind kind, struct ynode **ret)
{
	struct ynode *node;

	if (++b->nodes > YAML_MAX_NODES)
		return refuse(b, &event->start_mark, "more than %d YAML nodes in one file", YAML_MAX_NODES);
	node = calloc(1, sizeof(*node));
	if (!node)
		return -ENOMEM;
	node->kind = kind;
	node->line = mark_line(&event->start_mark);
	node->column = mark_column(&event->start_mark);
	*ret = node;
	return 0;
}

static int build_scalar(struct builder *b, const yaml_event_t *event, struct ynode **ret)
{
	CLEANUP(ynode_freep) struct ynode *node = NULL;
	const char *value = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;
	int r;

	if (memchr(value, '\0', len))
		return refuse(b, &event->start_mark, "a NUL character in a string");
	r = node_new(b, event, YNODE_SCALAR, &node);
	if (r < 0)
		return r;
	node->text = strndup(value, len);
	if (!node->text)
		return -ENOMEM;
	node->scalar = classify(node->text, event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE);
	*ret = TAKE_PTR(node);
	return 0;
}

static int compare_keys(const void *a, const void *b)
{
	const struct ynode *x = *(const struct ynode *const *)a, *y = *(const struct ynode *const *)b;
	int order = strcmp(x->text, y->text);

	if (order != 0)
		return order;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->column < y->column ? -1 : x->column > y->column;
}

static int check_duplicates(struct builder *b, const struct ynode *map)
{
	_cleanup_free_ const struct ynode **keys = NULL;

	if (map->count < 2)
		return 0;
	keys = calloc(map->count, sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	for (size_t i = 0; i < map->count; i++)
		keys[i] = ynode_key(map, i);
	qsort(keys, map->count, sizeof(*keys), compare_keys);
	for (size_t i = 1; i < map->count; i++) {
		if (strcmp(keys[i - 1]->text, keys[i]->text) != 0)
			continue;
		diag_add(b->diags, DIAG_ERROR, b->file, keys[i]->line, keys[i]->column,
			 "key %s is given twice, first in line %u", keys[i]->text, keys[i - 1]->line);
		return -EINVAL;
	}
	return 0;
}

static int build_node(struct builder *b, const yaml_event_t *event, unsigned int depth, struct ynode **ret);

static int push_item(struct ynode *node, size_t *n, struct ynode **child)
{
	struct ynode **slot = array_push(&node->items, n, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	*slot = TAKE_PTR(*child);
	return 0;
}

static int build_items(struct builder *b, struct ynode *node, unsigned int depth)
{
	for (;;) {
		CLEANUP(yaml_event_delete) yaml_event_t event = {};
		CLEANUP(ynode_freep) struct ynode *child = NULL;
		int r = next_event(b, &event);

		if (r < 0)
			return r;
		if (event.type == YAML_SEQUENCE_END_EVENT)
			return 0;
		r = build_node(b, &event, depth + 1, &child);
		if (r >= 0)
			r = push_item(node, &node->count, &child);
		if (r < 0)
			return r;
	}
}

static int build_value(struct builder *b, unsigned int depth, struct ynode **ret)
{
	CLEANUP(yaml_event_delete) yaml_event_t event = {};
	int r = next_event(b, &event);

	return r < 0 ? r : build_node(b, &event, depth + 1, ret);
}

/* `n` counts nodes, node->count whole pairs: a key is stored only together with its value. */
static int build_pairs(struct builder *b, struct ynode *node, unsigned int depth)
{
	for (size_t n = 0;;) {
		CLEANUP(yaml_event_delete) yaml_event_t event = {};
		CLEANUP(ynode_freep) struct ynode *key = NULL, *value = NULL;
		int r = next_event(b, &event);

		if (r < 0)
			return r;
		if (event.type == YAML_MAPPING_END_EVENT)
			return 0;
		if (event.type != YAML_SCALAR_EVENT && event.type != YAML_ALIAS_EVENT)
			return refuse(b, &event.start_mark, "a mapping's key must be a scalar");
		r = build_node(b, &event, depth + 1, &key);
		if (r >= 0)
			r = build_value(b, depth, &value);
		if (r >= 0)
			r = push_item(node, &n, &key);
		if (r >= 0)
			r = push_item(node, &n, &value);
		if (r < 0) {
			if (n % 2 == 1)
				ynode_freep(&node->items[n - 1]);
			return r;
		}
		node->count++;
	}
}

static int build_collection(struct builder *b, const yaml_event_t *event, unsigned int depth, struct ynode **ret)
{
	bool mapping = event->type == YAML_MAPPING_START_EVENT;
	CLEANUP(ynode_freep) struct ynode *node = NULL;
	int r;

	if (depth >= YAML_MAX_DEPTH)
		return refuse(b, &event->start_mark, "nested deeper than %d levels", YAML_MAX_DEPTH);
	r = node_new(b, event, mapping ? YNODE_MAPPING : YNODE_SEQUENCE, &node);
	if (r < 0)
		return r;
	r = mapping ? build_pairs(b, node, depth) : build_items(b, node, depth);
	if (r >= 0 && mapping)
		r = check_duplicates(b, node);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(node);
	return 0;
}

static int refuse_properties(struct builder *b, const yaml_mark_t *mark, const void *anchor, const void *tag)
{
	if (anchor)
		return refuse(b, mark, "anchors (&%s) are not accepted", (const char *)anchor);
	if (tag)
		return refuse(b, mark, "tags (%s) are not accepted", (const char *)tag);
	return 0;
}

static int build_node(struct builder *b, const yaml_event_t *event, unsigned int depth, struct ynode **ret)
{
	const yaml_mark_t *mark = &event->start_mark;
	int r;

	if (event->type == YAML_ALIAS_EVENT)
		return refuse(b, mark, "aliases (*%s) are not accepted", (const char *)event->data.alias.anchor);
	if (event->type == YAML_SCALAR_EVENT) {
		r = refuse_properties(b, mark, event->data.scalar.anchor, event->data.scalar.tag);
		return r < 0 ? r : build_scalar(b, event, ret);
	}
	if (event->type == YAML_SEQUENCE_START_EVENT)
		r = refuse_properties(b, mark, event->data.sequence_start.anchor, event->data.sequence_start.tag);
	else
		r = refuse_properties(b, mark, event->data.mapping_start.anchor, event->data.mapping_start.tag);
	return r < 0 ? r : build_collection(b, event, depth, ret);
}

static int build_documents(struct builder *b, struct ydocs *docs)
{
	for (;;) {
		CLEANUP(yaml_event_delete) yaml_event_t event = {};
		struct ynode **slot;
		int r = next_event(b, &event);

		if (r < 0)
			return r;
		if (event.type == YAML_STREAM_END_EVENT)
			return 0;
		if (event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_START_EVENT ||
		    event.type == YAML_DOCUMENT_END_EVENT)
			continue;
		slot = array_push(&docs->roots, &docs->count, sizeof(*slot));
		if (!slot)
			return -ENOMEM;
		r = build_node(b, &event, 0, slot);
		if (r < 0)
			return r;
	}
}

int yaml_read(const char *file, const char *text, size_t len, struct diags *diags, struct ydocs **ret)
{
	struct builder b = { .file = file, .diags = diags };
	CLEANUP(ydocs_freep) struct ydocs *docs = calloc(1, sizeof(*docs));
	int r;

	if (!docs || !yaml_parser_initialize(&b.parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, len);
	r = build_documents(&b, docs);
	yaml_parser_delete(&b.parser);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(docs);
	return 0;
}

const struct ynode *ynode_get(const struct ynode *node, const char *key)
{
	if (node->kind != YNODE_MAPPING)
		return NULL;
	for (size_t i = 0; i < node->count; i++)
		if (strcmp(ynode_key(node, i)->text, key) == 0)
			return ynode_value(node, i);
	return NULL;
}

const char *ynode_vtext(const struct ynode *node, va_list keys)
{
	const char *key;

	while (node && (key = va_arg(keys, const char *)))
		node = ynode_get(node, key);
	return node && node->kind == YNODE_SCALAR && !ynode_is_null(node) ? node->text : NULL;
}

const char *ynode_text(const struct ynode *node, ...)
{
	const char *text;
	va_list keys;

	va_start(keys, node);
	text = ynode_vtext(node, keys);
	va_end(keys);
	return text;
}

size_t ynode_list(const struct ynode *node, const char *key, const struct ynode **ret)
{
	const struct ynode *list = node ? ynode_get(node, key) : NULL;

	*ret = list && list->kind == YNODE_SEQUENCE ? list : NULL;
	return *ret ? list->count : 0;
}

static const char *scalar_word(enum yscalar scalar)
{
	switch (scalar) {
	case YSCALAR_STRING:
		return "the string";
	case YSCALAR_NULL:
		return "nothing";
	case YSCALAR_BOOL:
		return "the boolean";
	case YSCALAR_INT:
	case YSCALAR_FLOAT:
		return "the number";
	}
	return "a scalar";
}

char *ynode_describe(const struct ynode *node, char *buf, size_t size)
{
	if (node->kind == YNODE_MAPPING)
		snprintf(buf, size, "a mapping");
	else if (node->kind == YNODE_SEQUENCE)
		snprintf(buf, size, "a list");
	else if (node->scalar == YSCALAR_NULL)
		snprintf(buf, size, "nothing");
	else
		snprintf(buf, size, "%s %.60s", scalar_word(node->scalar), node->text);
	return buf;
}

/* ---- typed reading --------------------------------------------------------------------------------------------- */

static void report(struct yctx *c, enum diag_level level, const struct ynode *at, const char *format, va_list args)
{
	_cleanup_free_ char *message = NULL;

	if (vasprintf(&message, format, args) < 0) {
		message = NULL;
		c->oom = true;
		return;
	}
	/* What people wrote may hold line breaks; a diagnostic is one line. */
	for (char *p = message; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	diag_add(c->diags, level, c->file, at->line, at->column, "%s", message);
}

void yctx_error(struct yctx *c, const struct ynode *at, const char *format, ...)
{
	va_list args;

	c->errors++;
	va_start(args, format);
	report(c, DIAG_ERROR, at, format, args);
	va_end(args);
}

void yctx_unknown(struct yctx *c, const struct ynode *key, const char *format, ...)
{
	const struct ynode **slot;
	va_list args;

	c->errors++;
	va_start(args, format);
	report(c, DIAG_ERROR, key, format, args);
	va_end(args);
	if (!c->keep_unknown)
		return;
	slot = array_push(&c->unknown, &c->nunknown, sizeof(*slot));
	if (slot)
		*slot = key;
	else
		c->oom = true;
}

void yctx_warn(struct yctx *c, const struct ynode *at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	report(c, DIAG_WARNING, at, format, args);
	va_end(args);
}

void yctx_notice(struct yctx *c, const struct ynode *at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	report(c, DIAG_NOTICE, at, format, args);
	va_end(args);
}

static void expected(struct yctx *c, const struct ynode *node, const char *what, const char *wanted)
{
	char got[96];

	yctx_error(c, node, "%s: expected %s, got %s", what, wanted, ynode_describe(node, got, sizeof(got)));
}

bool yread_mapping(struct yctx *c, const struct ynode *node, const char *what)
{
	if (node->kind == YNODE_MAPPING)
		return true;
	expected(c, node, what, "a mapping");
	return false;
}

bool yread_sequence(struct yctx *c, const struct ynode *node, const char *what)
{
	if (node->kind == YNODE_SEQUENCE)
		return true;
	expected(c, node, what, "a list");
	return false;
}

bool yread_text(struct yctx *c, const struct ynode *node, const char *what, const char **ret)
{
	if (node->kind == YNODE_SCALAR && node->scalar == YSCALAR_STRING) {
		*ret = node->text;
		return true;
	}
	expected(c, node, what,
		 node->kind == YNODE_SCALAR && node->scalar != YSCALAR_NULL ? "a string (quote it)" : "a string");
	return false;
}

bool yread_string(struct yctx *c, const struct ynode *node, const char *what, char **ret)
{
	const char *text;
	char *copy;

	if (!yread_text(c, node, what, &text))
		return false;
	copy = strdup(text);
	if (!copy) {
		c->oom = true;
		return false;
	}
	free(*ret);
	*ret = copy;
	return true;
}

bool yread_bool(struct yctx *c, const struct ynode *node, const char *what, bool *ret)
{
	if (node->kind != YNODE_SCALAR || node->scalar != YSCALAR_BOOL) {
		expected(c, node, what, "true or false");
		return false;
	}
	*ret = text_is_true(node->text);
	return true;
}

/* Decimal digits only, and no leading zero, which YAML 1.1 reads as octal. */
static bool parse_decimal(const char *text, uint64_t *ret)
{
	uint64_t n = 0;

	if (*text == '\0' || (text[0] == '0' && text[1] != '\0'))
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
			return false;
	}
	*ret = n;
	return true;
}

bool yread_uint(struct yctx *c, const struct ynode *node, const char *what, uint64_t min, uint64_t max, uint64_t *ret)
{
	char wanted[80];
	uint64_t n;

	if (node->kind == YNODE_SCALAR && node->scalar == YSCALAR_INT && parse_decimal(node->text, &n) && n >= min &&
	    n <= max) {
		*ret = n;
		return true;
	}
	snprintf(wanted, sizeof(wanted), "a number from %llu to %llu", (unsigned long long)min,
		 (unsigned long long)max);
	expected(c, node, what, wanted);
	return false;
}

static const char *parse_unit(const char *p, uint64_t *ret)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = { { "ms", 1000000 }, { "s", 1000000000 }, { "m", 60000000000 }, { "h", 3600000000000 } };

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		size_t len = strlen(units[i].name);

		if (strncmp(p, units[i].name, len) == 0) {
			*ret = units[i].ns;
			return p + len;
		}
	}
	return NULL;
}

static bool parse_duration(const char *p, uint64_t *ret)
{
	uint64_t total = 0;

	if (*p == '\0')
		return false;
	while (*p) {
		uint64_t n, unit;
		char *end;

		if (*p < '0' || *p > '9')
			return false;
		errno = 0;
		n = strtoull(p, &end, 10);
		p = errno ? NULL : parse_unit(end, &unit);
		if (!p || __builtin_mul_overflow(n, unit, &n) || __builtin_add_overflow(total, n, &total))
			return false;
	}
	*ret = total;
	return true;
}

bool yread_duration(struct yctx *c, const struct ynode *node, const char *what, uint64_t *ret)
{
	if (node->kind == YNODE_SCALAR && strcmp(node->text, "0") == 0) {
		*ret = 0;
		return true;
	}
	if (node->kind == YNODE_SCALAR && node->scalar == YSCALAR_STRING && parse_duration(node->text, ret))
		return true;
	expected(c, node, what, "a duration such as 30s, 250ms or 1m30s");
	return false;
}

static void unknown_member(struct yctx *c, const struct ynode *key, const char *what, const struct yfield *fields,
			   size_t nfields)
{
	struct strbuf list = {};
	_cleanup_free_ char *text = NULL;

	for (size_t i = 0; i < nfields; i++)
		strbuf_addf(&list, "%s%s", i ? ", " : "", fields[i].name);
	text = strbuf_take(&list);
	yctx_unknown(c, key, "%s: member %s is not supported; expected one of: %s", what, key->text, text ? text : "?");
}

bool yread_fields(struct yctx *c, const struct ynode *node, const char *what, const struct yfield *fields,
		  size_t nfields, void *out)
{
	bool known = true;

	if (!yread_mapping(c, node, what))
		return false;
	for (size_t i = 0; i < node->count; i++) {
		const struct ynode *key = ynode_key(node, i);
		size_t f = 0;

		while (f < nfields && strcmp(fields[f].name, key->text) != 0)
			f++;
		if (f == nfields) {
			unknown_member(c, key, what, fields, nfields);
			known = false;
			continue;
		}
		fields[f].read(c, ynode_value(node, i), out);
	}
	return known;
}
