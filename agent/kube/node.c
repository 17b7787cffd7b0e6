/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kube/node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/siphash.h"
#include "policy/diag.h"

/* ---- the inventory's objects ------------------------------------------------------------------------------------- */

/* Members that an inventory reads, at whichever depth. Sorted. */
static const char *const members[] = {
	"address",
	"addressType",
	"addresses",
	"apiVersion",
	"clusterIP",
	"clusterIPs",
	"conditions",
	"containerPort",
	"containers",
	"deletionTimestamp",
	"endpoints",
	"externalIPs",
	"hostNetwork",
	"hostname",
	"ingress",
	"ip",
	"kind",
	"labels",
	"loadBalancer",
	"metadata",
	"name",
	"namespace",
	"nodeName",
	"nodePort",
	"phase",
	"podIP",
	"podIPs",
	"port",
	"ports",
	"protocol",
	"publishNotReadyAddresses",
	"ready",
	"selector",
	"serviceAccountName",
	"spec",
	"status",
	"subdomain",
	"targetPort",
	"targetRef",
	"type",
	"uid",
};

static int compare_member(const void *key, const void *item)
{
	return strcmp(key, *(const char *const *)item);
}

struct copy {
	uint64_t print;
	unsigned int depth;
	bool all; /* under labels and selectors every key counts */
};

static void note(struct copy *c, const char *text, char kind)
{
	const uint64_t key[2] = { c->print, (uint64_t)kind + c->depth };

	c->print = siphash24(text, strlen(text), key);
}

static int copy_node(struct copy *c, json_t *value, struct ynode **ret);

static int copy_text(struct copy *c, const char *text, enum yscalar scalar, struct ynode *node)
{
	node->kind = YNODE_SCALAR;
	node->scalar = scalar;
	node->text = strdup(text);
	note(c, text, 's');
	return node->text ? 0 : -ENOMEM;
}

static int copy_number(struct copy *c, json_t *value, struct ynode *node)
{
	char text[64];

	if (json_is_integer(value))
		snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
	else
		snprintf(text, sizeof(text), "%.17g", json_real_value(value));
	return copy_text(c, text, json_is_integer(value) ? YSCALAR_INT : YSCALAR_FLOAT, node);
}

static int copy_array(struct copy *c, json_t *value, struct ynode *node)
{
	size_t i, n = json_array_size(value);
	json_t *item;

	node->kind = YNODE_SEQUENCE;
	node->items = calloc(n ? n : 1, sizeof(*node->items));
	if (!node->items)
		return -ENOMEM;
	note(c, "", '[');
	json_array_foreach(value, i, item)
	{
		int r = copy_node(c, item, &node->items[i]);

		if (r < 0)
			return r;
		node->count++;
	}
	note(c, "", ']');
	return 0;
}

static int copy_pair(struct copy *c, const char *key, json_t *value, struct ynode *node)
{
	struct ynode **pair = &node->items[2 * node->count];
	CLEANUP(ynode_freep) struct ynode *name = calloc(1, sizeof(*name)), *content = NULL;
	bool all = c->all;
	int r = name ? copy_text(c, key, YSCALAR_STRING, name) : -ENOMEM;

	c->all = all || !strcmp(key, "labels") || !strcmp(key, "selector");
	if (r == 0)
		r = copy_node(c, value, &content);
	c->all = all;
	if (r < 0)
		return r;
	pair[0] = TAKE_PTR(name);
	pair[1] = TAKE_PTR(content);
	node->count++;
	return 0;
}

static int copy_object(struct copy *c, json_t *value, struct ynode *node)
{
	const char *key;
	json_t *member;

	node->kind = YNODE_MAPPING;
	node->items = calloc(2 * json_object_size(value) + 1, sizeof(*node->items));
	if (!node->items)
		return -ENOMEM;
	note(c, "", '{');
	json_object_foreach(value, key, member)
	{
		int r = 0;

		if (c->all || bsearch(key, members, ARRAY_SIZE(members), sizeof(*members), compare_member))
			r = copy_pair(c, key, member, node);
		if (r < 0)
			return r;
	}
	note(c, "", '}');
	return 0;
}

static int copy_value(struct copy *c, json_t *value, struct ynode *node)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return copy_object(c, value, node);
	case JSON_ARRAY:
		return copy_array(c, value, node);
	case JSON_STRING:
		return copy_text(c, json_string_value(value), YSCALAR_STRING, node);
	case JSON_INTEGER:
	case JSON_REAL:
		return copy_number(c, value, node);
	case JSON_TRUE:
		return copy_text(c, "true", YSCALAR_BOOL, node);
	case JSON_FALSE:
		return copy_text(c, "false", YSCALAR_BOOL, node);
	case JSON_NULL:
		break;
	}
	return copy_text(c, "null", YSCALAR_NULL, node);
}

static int copy_node(struct copy *c, json_t *value, struct ynode **ret)
{
	CLEANUP(ynode_freep) struct ynode *node = NULL;
	int r;

	if (c->depth >= YAML_MAX_DEPTH)
		return -EINVAL;
	node = calloc(1, sizeof(*node));
	if (!node)
		return -ENOMEM;
	c->depth++;
	r = copy_value(c, value, node);
	c->depth--;
	if (r == 0)
		*ret = TAKE_PTR(node);
	return r;
}

int kube_node_new(json_t *object, struct ynode **ret, uint64_t *ret_print)
{
	struct copy c = {};
	int r = copy_node(&c, object, ret);

	*ret_print = c.print;
	return r;
}

/* ---- policies as text -------------------------------------------------------------------------------------------- */

char *kube_node_text(json_t *object)
{
	json_t *metadata = json_object_get(object, "metadata");

	json_object_del(metadata, "managedFields");
	json_object_del(object, "status");
	return json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
}

char *kube_node_lines(const char *text)
{
	json_error_t ignored;
	json_t *object = json_loads(text, 0, &ignored);
	char *lines = object ? json_dumps(object, JSON_INDENT(4) | JSON_SORT_KEYS) : NULL;

	json_decref(object);
	return lines;
}

struct place {
	uint32_t line;
	uint32_t column;
	char *buf;
	size_t size;
};

static bool is_after(const struct ynode *node, const struct place *p)
{
	return node->line > p->line || (node->line == p->line && node->column > p->column);
}

static void step(const struct place *p, size_t *len, const char *key, size_t index)
{
	size_t left = p->size - *len;
	int n = key ? snprintf(p->buf + *len, left, "%s%s", *len ? "." : "", key)
		    : snprintf(p->buf + *len, left, "[%zu]", index);

	*len += (size_t)n < left ? (size_t)n : left - 1;
}

/* Down to the last child that does not begin after the place. */
static void descend(const struct place *p, const struct ynode *node)
{
	size_t len = 0;

	while (node->kind != YNODE_SCALAR && node->count) {
		bool mapping = node->kind == YNODE_MAPPING;
		size_t i = 0;

		while (i < node->count && !is_after(mapping ? ynode_key(node, i) : node->items[i], p))
			i++;
		if (i-- == 0)
			return;
		step(p, &len, mapping ? ynode_key(node, i)->text : NULL, i);
		node = mapping ? ynode_value(node, i) : node->items[i];
	}
}

char *kube_node_path(const char *lines, uint32_t line, uint32_t column, char *buf, size_t size)
{
	struct place p = { line, column, buf, size };
	CLEANUP(ydocs_freep) struct ydocs *docs = NULL;
	struct diags ignored = {};

	buf[0] = '\0';
	if (line && yaml_read("", lines, strlen(lines), &ignored, &docs) == 0 && docs->count)
		descend(&p, docs->roots[0]);
	diags_clear(&ignored);
	return buf;
}
