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

static const char *namespace_label(const struct inventory *inv, const char *namespace_name, const char *key)
{
	if (strcmp(key, METADATA_NAME) == 0)
		return namespace_name;
	for (size_t i = 0; inv && i < inv->nnamespaces; i++)
		if (strcmp(inv->namespaces[i].name, namespace_name) == 0)
			return find_label(inv->namespaces[i].labels, inv->namespaces[i].nlabels, key);
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

static const char *subject_value(const struct requirement *r, const struct subject *subject,
				 const struct inventory *inv)
{
	switch (r->scope) {
	case SCOPE_LABEL:
		return find_label(subject->labels, subject->nlabels, r->key);
	case SCOPE_NAMESPACE_NAME:
		return subject->namespace_name;
	case SCOPE_NAMESPACE_LABEL:
		return namespace_label(inv, subject->namespace_name, r->key);
	case SCOPE_SERVICE_ACCOUNT:
		return subject->service_account ? subject->service_account : "default";
	}
	return NULL;
}

bool selector_matches(const struct selector *s, const struct subject *subject, const struct inventory *inv)
{
	if (s->namespace_name && strcmp(s->namespace_name, subject->namespace_name) != 0)
		return false;
	for (size_t i = 0; i < s->count; i++)
		if (!holds(&s->items[i], subject_value(&s->items[i], subject, inv)))
			return false;
	return true;
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
