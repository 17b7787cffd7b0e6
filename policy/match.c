/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/match.h"

#include <string.h>

#define METADATA_NAME "kubernetes.io/metadata.name"

static const char *find_label(const struct label *labels, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(labels[i].key, key) == 0)
			return labels[i].value;
	return NULL;
}

static const struct inventory_namespace *find_namespace(const struct inventory *inv, const char *name)
{
	for (size_t i = 0; inv && i < inv->nnamespaces; i++)
		if (strcmp(inv->namespaces[i].name, name) == 0)
			return &inv->namespaces[i];
	return NULL;
}

static bool holds(const struct requirement *r, const char *value)
{
	bool listed = false;

	for (size_t i = 0; value && i < r->nvalues && !listed; i++)
		listed = strcmp(r->values[i], value) == 0;
	switch (r->operation) {
	case OP_IN:
		return listed;
	case OP_NOT_IN:
		return !listed;
	case OP_EXISTS:
		return value != NULL;
	case OP_NOT_EXISTS:
		return value == NULL;
	}
	return false;
}

static bool asks_namespace(const struct requirement *r)
{
	return r->scope == SCOPE_NAMESPACE_LABEL && strcmp(r->key, METADATA_NAME) != 0;
}

/* `ns`: NULL has no label. */
static const char *subject_value(const struct requirement *r, const struct subject *subject,
				 const struct inventory_namespace *ns)
{
	switch (r->scope) {
	case SCOPE_LABEL:
		return find_label(subject->labels, subject->nlabels, r->key);
	case SCOPE_NAMESPACE_NAME:
		return subject->namespace_name;
	case SCOPE_NAMESPACE_LABEL:
		if (!asks_namespace(r))
			return subject->namespace_name;
		return ns ? find_label(ns->labels, ns->nlabels, r->key) : NULL;
	case SCOPE_SERVICE_ACCOUNT:
		return subject->service_account ? subject->service_account : "default";
	}
	return NULL;
}

bool selector_asks_namespace(const struct selector *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (asks_namespace(&s->items[i]))
			return true;
	return false;
}

/* `told`: whether all namespaces are, so that of a missing one nothing is known. */
static enum match match(const struct selector *s, const struct subject *subject, const struct inventory *inv, bool told)
{
	const struct inventory_namespace *ns = NULL;
	enum match ret = MATCH_YES;

	if (s->namespace_name && strcmp(s->namespace_name, subject->namespace_name) != 0)
		return MATCH_NO;
	for (size_t i = 0; i < s->count; i++) {
		const struct requirement *r = &s->items[i];

		if (!ns && asks_namespace(r))
			ns = find_namespace(inv, subject->namespace_name);
		if (told && !ns && asks_namespace(r))
			ret = MATCH_UNKNOWN;
		else if (!holds(r, subject_value(r, subject, ns)))
			return MATCH_NO;
	}
	return ret;
}

bool selector_matches(const struct selector *s, const struct subject *subject, const struct inventory *inv)
{
	return match(s, subject, inv, false) == MATCH_YES;
}

enum match selector_match_peer(const struct selector *s, const struct subject *pod, const struct inventory *inv)
{
	return match(s, pod, inv, inv->namespaces_told);
}

bool selector_matches_labels(const struct selector *s, const struct label *labels, size_t n)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct requirement *r = &s->items[i];

		if (r->scope != SCOPE_LABEL || !holds(r, find_label(labels, n, r->key)))
			return false;
	}
	return true;
}

bool selector_matches_pairs(const struct selector *s, const struct label_pair *labels, size_t n)
{
	for (size_t i = 0; i < s->count; i++) {
		const char *value = NULL;

		for (size_t k = 0; k < n && !value; k++)
			if (strcmp(labels[k].key, s->items[i].key) == 0)
				value = labels[k].value;
		if (s->items[i].scope != SCOPE_LABEL || !holds(&s->items[i], value))
			return false;
	}
	return true;
}
