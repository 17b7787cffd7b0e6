/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/model.h"

#include <stdlib.h>

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

void selector_clear(struct selector *s)
{
	for (size_t i = 0; i < s->nlabels; i++) {
		free(s->labels[i].key);
		free(s->labels[i].value);
	}
	free(s->labels);
	free(s->namespace_name);
	*s = (struct selector){};
}

void peer_clear(struct peer *p)
{
	selector_clear(&p->selector);
	free(p->excepts);
	free(p->text);
	*p = (struct peer){};
}

void entry_clear(struct entry *e)
{
	for (size_t i = 0; i < e->npeers; i++)
		peer_clear(&e->peers[i]);
	free(e->peers);
	free(e->ports);
	free(e->ports_text);
	*e = (struct entry){};
}

static void policy_free(struct policy *p)
{
	for (size_t i = 0; i < p->nentries; i++)
		entry_clear(&p->entries[i]);
	free(p->entries);
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

const char *policy_kind_name(enum policy_kind kind)
{
	switch (kind) {
	case POLICY_CNP:
		return "CiliumNetworkPolicy";
	case POLICY_CCNP:
		return "CiliumClusterwideNetworkPolicy";
	case POLICY_ANP:
		return "ApplicationNetworkPolicy";
	case POLICY_OTHER:
		return "policy";
	}
	return "policy";
}
