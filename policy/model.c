/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/model.h"

#include <stdlib.h>

#include "policy/array.h"

struct policy *policy_new(void)
{
	struct policy *p = calloc(1, sizeof(*p));

	if (p)
		p->refs = 1;
	return p;
}

struct policy *policy_ref(struct policy *p)
{
	p->refs++;
	return p;
}

static void requirement_clear(struct requirement *r)
{
	for (size_t i = 0; i < r->nvalues; i++)
		free(r->values[i]);
	free(r->values);
	free(r->key);
}

void selector_clear(struct selector *s)
{
	for (size_t i = 0; i < s->count; i++)
		requirement_clear(&s->items[i]);
	free(s->items);
	free(s->namespace_name);
	*s = (struct selector){};
}

void peer_clear(struct peer *p)
{
	selector_clear(&p->selector);
	free(p->excepts);
	free(p->group);
	free(p->service);
	free(p->service_namespace);
	free((char *)p->name.text);
	free(p->text);
	*p = (struct peer){};
}

void entry_clear(struct entry *e)
{
	for (size_t i = 0; i < e->npeers; i++)
		peer_clear(&e->peers[i]);
	for (size_t i = 0; i < e->nnamed; i++)
		free(e->named[i].name);
	free(e->peers);
	free(e->named);
	free(e->ports);
	free(e->ports_text);
	*e = (struct entry){};
}

void policy_drop_entries(struct policy *p)
{
	for (size_t i = 0; i < p->nentries; i++)
		entry_clear(&p->entries[i]);
	free(p->entries);
	p->entries = NULL;
	p->nentries = 0;
}

static void entry_trim(struct entry *e)
{
	array_trim(&e->peers, e->npeers, sizeof(*e->peers));
	array_trim(&e->ports, e->nports, sizeof(*e->ports));
	array_trim(&e->named, e->nnamed, sizeof(*e->named));
	for (size_t i = 0; i < e->npeers; i++)
		array_trim(&e->peers[i].excepts, e->peers[i].nexcepts, sizeof(*e->peers[i].excepts));
}

void policy_trim(struct policy *p)
{
	array_trim(&p->entries, p->nentries, sizeof(*p->entries));
	array_trim(&p->prefixes, p->nprefixes, sizeof(*p->prefixes));
	for (size_t i = 0; i < p->nentries; i++)
		entry_trim(&p->entries[i]);
}

static void policy_free(struct policy *p)
{
	policy_drop_entries(p);
	for (size_t i = 0; i < p->nlabels; i++) {
		free(p->labels[i].key);
		free(p->labels[i].value);
	}
	free(p->labels);
	free(p->prefixes);
	selector_clear(&p->selector);
	free(p->kind_name);
	free(p->namespace_name);
	free(p->name);
	free(p->title);
	free(p->file);
	free(p->refusal);
	free(p);
}

void policy_unrefp(struct policy **p)
{
	if (*p && --(*p)->refs == 0)
		policy_free(*p);
	*p = NULL;
}

bool policy_is_cluster(const struct policy *p)
{
	return p->kind == POLICY_AWS_CLUSTER || p->kind == POLICY_CLUSTER;
}
