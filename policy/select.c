/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A refused policy closes what it selects and its last good version does not. Where its selector could not be read, it
 * might select anything of its namespace (of every namespace, for cluster-wide kinds and whole files); such endpoints
 * are closed only when no policy in force selects them, for one unreadable file must not cut off a node that the
 * others describe completely.
 */
#include "policy/select.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/siphash.h"
#include "base/strbuf.h"
#include "policy/array.h"
#include "policy/store.h"

static bool has_label(const struct subject *subject, const struct requirement *r)
{
	for (size_t i = 0; i < subject->nlabels; i++)
		if (strcmp(subject->labels[i].key, r->key) == 0)
			return strcmp(subject->labels[i].value, r->value) == 0;
	return false;
}

bool selector_matches(const struct selector *s, const struct subject *subject)
{
	if (s->namespace_name && strcmp(s->namespace_name, subject->namespace_name) != 0)
		return false;
	for (size_t i = 0; i < s->nlabels; i++)
		if (!has_label(subject, &s->labels[i]))
			return false;
	return true;
}

static bool last_good_selects(const struct store_file *f, const struct policy *refused, const struct subject *subject)
{
	for (size_t i = 0; i < f->nin_force; i++)
		if (store_same_identity(f->in_force[i].policy, refused) &&
		    selector_matches(&f->in_force[i].policy->selector, subject))
			return true;
	return false;
}

static bool has_last_good(const struct store_file *f, const struct policy *refused)
{
	for (size_t i = 0; i < f->nin_force; i++)
		if (f->in_force[i].last_good && store_same_identity(f->in_force[i].policy, refused))
			return true;
	return false;
}

static bool refusal_concerns(const struct store_file *f, const struct policy *p, const struct subject *subject,
			     bool selected)
{
	if (p->selects_nothing)
		return false;
	if (p->selector_known)
		return selector_matches(&p->selector, subject) && !last_good_selects(f, p, subject);
	if (selected || has_last_good(f, p))
		return false;
	return !p->namespace_name || strcmp(p->namespace_name, subject->namespace_name) == 0;
}

static int compare_policies(const void *a, const void *b)
{
	const struct policy *x = *(const struct policy *const *)a, *y = *(const struct policy *const *)b;
	int order = strcmp(x->kind_name, y->kind_name);

	if (order == 0)
		order = strcmp(x->title, y->title);
	if (order == 0)
		order = strcmp(x->file, y->file);
	if (order == 0)
		order = x->serial < y->serial ? -1 : x->serial > y->serial;
	return order;
}

static const struct policy *first_refusal(const struct store *s, const struct subject *subject, bool selected)
{
	const struct policy *best = NULL;

	for (size_t i = 0; i < s->nfiles; i++) {
		const struct store_file *f = s->files[i];

		for (size_t n = 0; n < f->nrefused; n++)
			if (refusal_concerns(f, f->refused[n], subject, selected) &&
			    (!best || compare_policies(&f->refused[n], &best) < 0))
				best = f->refused[n];
	}
	return best;
}

int select_policies(const struct store *s, const struct subject *subject, struct selection *ret)
{
	struct selection sel = {};
	bool selected = false;

	for (size_t i = 0; i < s->nfiles; i++) {
		const struct store_file *f = s->files[i];

		for (size_t n = 0; n < f->nin_force; n++) {
			const struct policy *p = f->in_force[n].policy, **slot;

			if (!selector_matches(&p->selector, subject))
				continue;
			selected = true;
			if (!p->isolates)
				continue;
			slot = array_push(&sel.policies, &sel.count, sizeof(*slot));
			if (!slot) {
				selection_clear(&sel);
				return -ENOMEM;
			}
			*slot = p;
		}
	}
	if (sel.count > 1)
		qsort(sel.policies, sel.count, sizeof(*sel.policies), compare_policies);
	sel.refusal = first_refusal(s, subject, selected);
	*ret = sel;
	return 0;
}

void selection_clear(struct selection *s)
{
	free(s->policies);
	*s = (struct selection){};
}
