/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/convert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* ---- writing ------------------------------------------------------------------------------------------------------ */

static void add_formatted(struct writer *w, const char *format, va_list ap)
{
	_cleanup_free_ char *text = NULL;

	if (vasprintf(&text, format, ap) < 0) {
		text = NULL;
		w->out.failed = true;
		return;
	}
	strbuf_adds(&w->out, text);
}

void writer_line(struct writer *w, unsigned int indent, const char *format, ...)
{
	va_list ap;

	strbuf_addf(&w->out, "%*s", (int)indent, "");
	va_start(ap, format);
	add_formatted(w, format, ap);
	va_end(ap);
	strbuf_adds(&w->out, "\n");
}

void writer_note(struct writer *w, unsigned int indent, const struct ynode *at, const char *format, ...)
{
	va_list ap;

	strbuf_addf(&w->out, "%*s# NOTE line %u: ", (int)indent, "", at->line);
	va_start(ap, format);
	add_formatted(w, format, ap);
	va_end(ap);
	strbuf_adds(&w->out, "\n");
	w->notes++;
}

const char *writer_quote(const char *text)
{
	static char buffers[9][640];
	static size_t next;
	char *out = buffers[next++ % ARRAY_SIZE(buffers)];
	size_t n = 0;

	out[n++] = '"';
	for (; *text && n < 600; text++) {
		if ((unsigned char)*text < 0x20) {
			n += (size_t)snprintf(out + n, 5, "\\x%02x", (unsigned char)*text);
			continue;
		}
		if (*text == '"' || *text == '\\')
			out[n++] = '\\';
		out[n++] = *text;
	}
	out[n++] = '"';
	out[n] = '\0';
	return out;
}

static void write_labels(struct writer *w, const struct ynode *metadata, const char *key)
{
	const struct ynode *labels = metadata ? ynode_get(metadata, key) : NULL;

	if (!labels || labels->kind != YNODE_MAPPING || labels->count == 0)
		return;
	writer_line(w, 2, "%s:", key);
	for (size_t i = 0; i < labels->count; i++) {
		const char *value = tree_text(ynode_value(labels, i), NULL);

		writer_line(w, 4, "%s: %s", writer_quote(ynode_key(labels, i)->text), writer_quote(value ? value : ""));
	}
}

void writer_head(struct writer *w, const char *version, const char *kind, const char *name, const char *namespace_name)
{
	const struct tree_policy *p = w->policy;
	char own[300];

	/* The specs of one object become objects of their own. */
	if (p->index)
		snprintf(own, sizeof(own), "%.240s-%zu", name ? name : p->name, p->index + 1);
	else
		snprintf(own, sizeof(own), "%.270s", name ? name : p->name);
	writer_line(w, 0, "apiVersion: %s", version);
	writer_line(w, 0, "kind: %s", kind);
	writer_line(w, 0, "metadata:");
	writer_line(w, 2, "name: %s", writer_quote(own));
	if (namespace_name)
		writer_line(w, 2, "namespace: %s", writer_quote(namespace_name));
	write_labels(w, ynode_get(p->root, "metadata"), "labels");
	write_labels(w, ynode_get(p->root, "metadata"), "annotations");
}

void writer_append(struct writer *w, struct writer *piece)
{
	if (piece->out.len)
		strbuf_add(&w->out, piece->out.data, piece->out.len);
	w->out.failed = w->out.failed || piece->out.failed;
	w->notes += piece->notes;
	strbuf_clear(&piece->out);
	piece->notes = 0;
}

/* ---- selectors ---------------------------------------------------------------------------------------------------- */

void selector_text_clear(struct selector_text *s)
{
	strbuf_clear(&s->labels);
	strbuf_clear(&s->expressions);
	s->given = false;
}

static void add_expression(struct strbuf *b, const char *key, const struct ynode *expression)
{
	const char *op = tree_text(expression, "operator", NULL);
	const struct ynode *values;
	size_t n = tree_list(expression, "values", &values);

	strbuf_addf(b, "%s{key: %s, operator: %s", b->len ? ", " : "", writer_quote(key), writer_quote(op ? op : ""));
	for (size_t i = 0; i < n; i++) {
		const char *value = tree_text(values->items[i], NULL);

		strbuf_addf(b, "%s%s", i ? ", " : ", values: [", writer_quote(value ? value : ""));
	}
	strbuf_adds(b, n ? "]}" : "}");
}

bool selector_text_add(struct selector_text *pod, struct selector_text *ns, const struct ynode *selector,
		       selector_rename rename)
{
	const struct ynode *labels = selector ? ynode_get(selector, "matchLabels") : NULL, *list;
	size_t n = selector ? tree_list(selector, "matchExpressions", &list) : 0;
	char buf[512];

	for (size_t i = 0; labels && labels->kind == YNODE_MAPPING && i < labels->count; i++) {
		const char *value = tree_text(ynode_value(labels, i), NULL);
		bool of_ns = false;
		const char *key = rename(ynode_key(labels, i)->text, &of_ns, buf, sizeof(buf));
		struct selector_text *to = of_ns ? ns : pod;

		if (!key)
			return false;
		to->given = true;
		strbuf_addf(&to->labels, "%s%s: %s", to->labels.len ? ", " : "", writer_quote(key),
			    writer_quote(value ? value : ""));
	}
	for (size_t i = 0; i < n; i++) {
		const char *text = tree_text(list->items[i], "key", NULL);
		bool of_ns = false;
		const char *key = text ? rename(text, &of_ns, buf, sizeof(buf)) : NULL;

		if (!key)
			return false;
		(of_ns ? ns : pod)->given = true;
		add_expression(of_ns ? &ns->expressions : &pod->expressions, key, list->items[i]);
	}
	return true;
}

char *selector_text_take(struct selector_text *s)
{
	struct strbuf b = {};

	strbuf_adds(&b, "{");
	if (s->labels.len)
		strbuf_addf(&b, "matchLabels: {%s}", s->labels.data);
	if (s->expressions.len)
		strbuf_addf(&b, "%smatchExpressions: [%s]", s->labels.len ? ", " : "", s->expressions.data);
	strbuf_adds(&b, "}");
	b.failed = b.failed || s->labels.failed || s->expressions.failed;
	selector_text_clear(s);
	return strbuf_take(&b);
}

/* ---- as it is ----------------------------------------------------------------------------------------------------- */

static void copy_node(struct writer *w, unsigned int indent, const struct ynode *node);

static void copy_value(struct writer *w, unsigned int indent, const char *before, const struct ynode *node)
{
	bool quoted = node->kind == YNODE_SCALAR && node->scalar == YSCALAR_STRING;

	if (node->kind == YNODE_SCALAR) {
		writer_line(w, indent, "%s %s", before, quoted ? writer_quote(node->text) : node->text);
	} else if (node->count == 0) {
		writer_line(w, indent, "%s %s", before, node->kind == YNODE_MAPPING ? "{}" : "[]");
	} else {
		writer_line(w, indent, "%s", before);
		copy_node(w, indent + 2, node);
	}
}

static void copy_node(struct writer *w, unsigned int indent, const struct ynode *node)
{
	char before[600];

	for (size_t i = 0; i < node->count; i++) {
		if (node->kind == YNODE_SEQUENCE) {
			copy_value(w, indent, "-", node->items[i]);
			continue;
		}
		snprintf(before, sizeof(before), "%s:", writer_quote(ynode_key(node, i)->text));
		copy_value(w, indent, before, ynode_value(node, i));
	}
}

static void copy_policy(const struct tree_policy *p, struct writer *w)
{
	writer_head(w, tree_text(p->root, "apiVersion", NULL), tree_text(p->root, "kind", NULL), NULL,
		    p->namespace_name);
	copy_value(w, 0, "spec:", p->spec);
}

static bool is_there_already(enum tree_kind kind, enum convert_to to)
{
	switch (kind) {
	case TREE_CNP:
	case TREE_CCNP:
	case TREE_CIDR_GROUP:
		return to == CONVERT_TO_CILIUM;
	case TREE_ANP:
	case TREE_NP: /* stands beside both, but only one of them knows names */
	case TREE_AWS_CLUSTER:
		return to == CONVERT_TO_ANP;
	case TREE_UPSTREAM_CLUSTER:
		return false;
	}
	return false;
}

size_t convert_policy(const struct tree_policy *p, enum convert_to to, struct strbuf *out)
{
	struct writer w = { .policy = p };

	if (is_there_already(p->kind, to))
		copy_policy(p, &w);
	else if (to == CONVERT_TO_ANP)
		convert_to_anp(p, &w);
	else
		convert_to_cilium(p, &w);
	if (w.out.len)
		strbuf_addf(out, "---\n# %s %s%s%s (%s:%u)\n%s", tree_text(p->root, "kind", NULL),
			    p->namespace_name ? p->namespace_name : "", p->namespace_name ? "/" : "", p->name, p->file,
			    p->root->line, w.out.data);
	out->failed = out->failed || w.out.failed;
	strbuf_clear(&w.out);
	return w.notes;
}
