/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Label selectors: matchLabels and matchExpressions, in Kubernetes' form and in Cilium's, where the key says which
 * source the label is from and some keys stand for the namespace or the service account.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "policy/read.h"

#define NAMESPACE_NAME	 "io.kubernetes.pod.namespace"
#define NAMESPACE_LABELS "io.cilium.k8s.namespace.labels."
#define SERVICE_ACCOUNT	 "io.cilium.k8s.policy.serviceaccount"

struct label_key {
	enum scope scope;
	const char *key;
};

struct expression {
	const struct ynode *key;
	const struct ynode *operation;
	const struct ynode *values;
};

struct selector_reader {
	enum selector_dialect dialect;
	struct selector *out;
	bool ok;
};

/* ---- keys and values --------------------------------------------------------------------------------------------- */

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* At most 63 of [-A-Za-z0-9_.], alphanumeric at both ends. */
static bool valid_label_text(const char *text, size_t len)
{
	if (len == 0 || len > 63 || !is_alnum(text[0]) || !is_alnum(text[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_alnum(text[i]) && text[i] != '-' && text[i] != '_' && text[i] != '.')
			return false;
	return true;
}

/* [PREFIX/]NAME, as Kubernetes demands of a label's key. */
static bool valid_label_key(const char *key)
{
	const char *slash = strchr(key, '/');
	const char *name = slash ? slash + 1 : key;

	if (slash && (slash == key || slash - key > 253))
		return false;
	for (const char *p = key; slash && p < slash; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '-' || *p == '.'))
			return false;
	return valid_label_text(name, strlen(name));
}

bool read_label_value(struct yctx *c, const struct ynode *node, const char *what, const char **ret)
{
	if (!yread_text(c, node, what, ret))
		return false;
	if (**ret == '\0' || valid_label_text(*ret, strlen(*ret)))
		return true;
	yctx_error(c, node, "%s: expected a label's value (at most 63 letters, digits, -, _ and .), got %.300s", what,
		   *ret);
	return false;
}

/* Cilium's label source before the key; only Kubernetes' own labels are known here. NULL: another source. */
static const char *strip_source(const char *key)
{
	const char *colon = strchr(key, ':');

	if (!colon)
		return key;
	if (strncmp(key, "k8s:", 4) == 0 || strncmp(key, "any:", 4) == 0)
		return colon + 1;
	return NULL;
}

static bool cilium_key(struct yctx *c, const struct ynode *node, struct label_key *ret)
{
	const char *key = strip_source(node->text);
	size_t prefix = strlen(NAMESPACE_LABELS);

	ret->scope = SCOPE_LABEL;
	ret->key = key;
	if (!key) {
		yctx_error(c, node, "label key %s: expected a Kubernetes label, with k8s: or any: before it or not",
			   node->text);
		return false;
	}
	if (strcmp(key, NAMESPACE_NAME) == 0) {
		ret->scope = SCOPE_NAMESPACE_NAME;
	} else if (strncmp(key, NAMESPACE_LABELS, prefix) == 0) {
		ret->scope = SCOPE_NAMESPACE_LABEL;
		ret->key = key + prefix;
	} else if (strcmp(key, SERVICE_ACCOUNT) == 0) {
		ret->scope = SCOPE_SERVICE_ACCOUNT;
	} else if (strncmp(key, "io.cilium.k8s.", 14) == 0) {
		yctx_error(c, node,
			   "label key %s is not supported; expected a label of the pod, " NAMESPACE_NAME
			   ", " NAMESPACE_LABELS "KEY or " SERVICE_ACCOUNT,
			   node->text);
		return false;
	}
	return true;
}

static bool read_key(struct yctx *c, const struct ynode *node, enum selector_dialect dialect, struct label_key *ret)
{
	switch (dialect) {
	case SELECTOR_CILIUM:
		if (!cilium_key(c, node, ret))
			return false;
		break;
	case SELECTOR_PODS:
		*ret = (struct label_key){ SCOPE_LABEL, node->text };
		break;
	case SELECTOR_NAMESPACES:
		*ret = (struct label_key){ SCOPE_NAMESPACE_LABEL, node->text };
		break;
	}
	if (valid_label_key(ret->key))
		return true;
	yctx_error(c, node, "label key %.300s: expected [PREFIX/]NAME of at most 63 letters, digits, -, _ and .",
		   node->text);
	return false;
}

/* ---- requirements ------------------------------------------------------------------------------------------------ */

struct requirement *selector_require(struct yctx *c, struct selector *s, enum scope scope, enum operation op,
				     const char *key)
{
	struct requirement *r = array_push(&s->items, &s->count, sizeof(*r));

	if (r) {
		r->scope = scope;
		r->operation = op;
		r->key = strdup(key);
	}
	if (r && r->key)
		return r;
	c->oom = true;
	return NULL;
}

bool requirement_value(struct yctx *c, struct requirement *r, const char *value)
{
	char **slot = array_push(&r->values, &r->nvalues, sizeof(*slot));

	if (slot)
		*slot = strdup(value);
	if (slot && *slot)
		return true;
	c->oom = true;
	return false;
}

static void read_match_label(struct yctx *c, const struct ynode *key_node, const struct ynode *value_node,
			     struct selector_reader *s)
{
	struct requirement *r;
	struct label_key key;
	const char *value;

	if (!read_key(c, key_node, s->dialect, &key) || !read_label_value(c, value_node, key_node->text, &value)) {
		s->ok = false;
		return;
	}
	r = selector_require(c, s->out, key.scope, OP_IN, key.key);
	s->ok = r && requirement_value(c, r, value) && s->ok;
}

static void read_match_labels(struct yctx *c, const struct ynode *node, void *out)
{
	struct selector_reader *s = out;

	if (ynode_is_null(node))
		return;
	if (!yread_mapping(c, node, "matchLabels")) {
		s->ok = false;
		return;
	}
	for (size_t i = 0; i < node->count; i++)
		read_match_label(c, ynode_key(node, i), ynode_value(node, i), s);
}

static void take_key(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct expression *)out)->key = node;
}

static void take_operator(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct expression *)out)->operation = node;
}

static void take_values(struct yctx *c, const struct ynode *node, void *out)
{
	(void)c;
	((struct expression *)out)->values = node;
}

static bool read_operator(struct yctx *c, const struct ynode *node, enum operation *ret)
{
	static const char *const words[] = {
		[OP_IN] = "In", [OP_NOT_IN] = "NotIn", [OP_EXISTS] = "Exists", [OP_NOT_EXISTS] = "DoesNotExist"
	};
	const char *text;

	if (!yread_text(c, node, "operator", &text))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(text, words[i]) == 0) {
			*ret = (enum operation)i;
			return true;
		}
	}
	yctx_error(c, node, "operator: %s is not supported; expected one of: In, NotIn, Exists, DoesNotExist", text);
	return false;
}

static bool takes_values(enum operation op)
{
	return op == OP_IN || op == OP_NOT_IN;
}

static bool read_values(struct yctx *c, const struct ynode *at, const struct ynode *node, struct requirement *r)
{
	bool ok = true;
	size_t n;

	if (node && !ynode_is_null(node) && !yread_sequence(c, node, "values"))
		return false;
	n = node && node->kind == YNODE_SEQUENCE ? node->count : 0;
	if (takes_values(r->operation) != (n > 0)) {
		yctx_error(c, node ? node : at, "values: %s",
			   n ? "Exists and DoesNotExist take none" : "In and NotIn take at least one");
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		const char *text;

		ok = read_label_value(c, node->items[i], "values", &text) && requirement_value(c, r, text) && ok;
	}
	return ok;
}

static void read_expression(struct yctx *c, const struct ynode *node, struct selector_reader *s)
{
	static const struct yfield fields[] = {
		{ "key", take_key },
		{ "operator", take_operator },
		{ "values", take_values },
	};
	struct expression e = {};
	struct requirement *r;
	struct label_key key;
	enum operation op;
	const char *text;
	bool ok = yread_fields(c, node, "matchExpressions", fields, ARRAY_SIZE(fields), &e);

	if (node->kind != YNODE_MAPPING || !e.key || !e.operation) {
		if (node->kind == YNODE_MAPPING)
			yctx_error(c, node, "matchExpressions: expected members key and operator");
		s->ok = false;
		return;
	}
	ok = yread_text(c, e.key, "key", &text) && read_key(c, e.key, s->dialect, &key) && ok;
	ok = read_operator(c, e.operation, &op) && ok;
	r = ok ? selector_require(c, s->out, key.scope, op, key.key) : NULL;
	s->ok = r && read_values(c, node, e.values, r) && s->ok;
}

static void read_match_expressions(struct yctx *c, const struct ynode *node, void *out)
{
	struct selector_reader *s = out;

	if (ynode_is_null(node))
		return;
	if (!yread_sequence(c, node, "matchExpressions")) {
		s->ok = false;
		return;
	}
	for (size_t i = 0; i < node->count; i++)
		read_expression(c, node->items[i], s);
}

bool read_selector(struct yctx *c, const struct ynode *node, const char *what, enum selector_dialect dialect,
		   struct selector *ret)
{
	static const struct yfield fields[] = {
		{ "matchLabels", read_match_labels },
		{ "matchExpressions", read_match_expressions },
	};
	struct selector_reader s = { .dialect = dialect, .out = ret, .ok = true };

	return yread_fields(c, node, what, fields, ARRAY_SIZE(fields), &s) && s.ok;
}

bool selector_names_namespace(const struct selector *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->items[i].scope == SCOPE_NAMESPACE_NAME || s->items[i].scope == SCOPE_NAMESPACE_LABEL)
			return true;
	return false;
}

bool selector_in_namespace(struct yctx *c, struct selector *s, const char *namespace_name)
{
	free(s->namespace_name);
	s->namespace_name = strdup(namespace_name);
	if (!s->namespace_name)
		c->oom = true;
	return s->namespace_name != NULL;
}
