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

#include "policy/array.h"
#include "policy/match.h"
#include "policy/store.h"

static bool last_good_selects(const struct store_file *f, const struct policy *refused, const struct subject *subject,
			      const struct inventory *inv)
{
	for (size_t i = 0; i < f->nin_force; i++)
		if (store_same_identity(f->in_force[i].policy, refused) &&
		    selector_matches(&f->in_force[i].policy->selector, subject, inv))
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

struct asked {
	const struct subject *subject;
	const struct inventory *inv;
	bool selected; /* by some policy in force */
};

static bool refusal_concerns(const struct store_file *f, const struct policy *p, const struct asked *q)
{
	if (p->selects_nothing)
		return false;
	if (p->selector_known)
		return selector_matches(&p->selector, q->subject, q->inv) &&
		       !last_good_selects(f, p, q->subject, q->inv);
	if (q->selected || has_last_good(f, p))
		return false;
	return !p->namespace_name || strcmp(p->namespace_name, q->subject->namespace_name) == 0;
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

static void take_refusal(const struct policy **best, const struct policy *p)
{
	if (!*best || compare_policies(&p, best) < 0)
		*best = p;
}

static const struct policy *first_refusal(const struct store *s, const struct asked *q)
{
	const struct policy *best = NULL;

	for (size_t i = 0; i < s->nfiles; i++) {
		const struct store_file *f = s->files[i];

		for (size_t n = 0; n < f->nrefused; n++)
			if (refusal_concerns(f, f->refused[n], q))
				take_refusal(&best, f->refused[n]);
	}
	return best;
}

/* ---- groups of prefixes ------------------------------------------------------------------------------------------ */

static bool group_fits(const struct policy *group, const struct peer *peer)
{
	if (group->kind != POLICY_CIDR_GROUP && strcmp(group->kind_name, "CiliumCIDRGroup") != 0)
		return false;
	if (peer->group)
		return group->name && strcmp(group->name, peer->group) == 0;
	return selector_matches_pairs(&peer->selector, group->labels, group->nlabels);
}

const struct policy *select_group(const struct store *s, const struct peer *peer, size_t *at)
{
	size_t n = 0;

	for (size_t i = 0; i < s->nfiles; i++) {
		const struct store_file *f = s->files[i];

		for (size_t k = 0; k < f->nin_force; k++, n++) {
			if (n < *at || !group_fits(f->in_force[k].policy, peer))
				continue;
			*at = n + 1;
			return f->in_force[k].policy;
		}
	}
	return NULL;
}

/*
 * A deny that counts on a group which was refused would deny too little, so whoever hangs on it is closed, unless the
 * group's last good text is there.
 */
static void refused_groups(const struct store *s, const struct peer *peer, const struct policy **best)
{
	for (size_t i = 0; i < s->nfiles; i++) {
		const struct store_file *f = s->files[i];

		for (size_t n = 0; n < f->nrefused; n++)
			if (group_fits(f->refused[n], peer) && !has_last_good(f, f->refused[n]))
				take_refusal(best, f->refused[n]);
	}
}

static void check_groups(const struct store *s, struct selection *sel)
{
	for (size_t i = 0; i < sel->count; i++)
		for (size_t k = 0; k < sel->policies[i]->nentries; k++)
			for (size_t n = 0; n < sel->policies[i]->entries[k].npeers; n++)
				if (sel->policies[i]->entries[k].peers[n].kind == PEER_CIDR_GROUP)
					refused_groups(s, &sel->policies[i]->entries[k].peers[n], &sel->refusal);
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static int select_file(const struct store_file *f, struct asked *q, struct selection *sel)
{
	for (size_t n = 0; n < f->nin_force; n++) {
		const struct policy *p = f->in_force[n].policy, **slot;

		if (p->kind == POLICY_CIDR_GROUP || !selector_matches(&p->selector, q->subject, q->inv))
			continue;
		q->selected = true;
		if (!p->isolates && p->nentries == 0)
			continue;
		slot = array_push(&sel->policies, &sel->count, sizeof(*slot));
		if (!slot)
			return -ENOMEM;
		*slot = p;
		sel->isolated = sel->isolated || p->isolates;
	}
	return 0;
}

int select_policies(const struct store *s, const struct subject *subject, const struct inventory *inv,
		    struct selection *ret)
{
	struct asked q = { .subject = subject, .inv = inv };
	struct selection sel = {};

	for (size_t i = 0; i < s->nfiles; i++) {
		if (select_file(s->files[i], &q, &sel) < 0) {
			selection_clear(&sel);
			return -ENOMEM;
		}
	}
	if (sel.count > 1)
		qsort(sel.policies, sel.count, sizeof(*sel.policies), compare_policies);
	sel.refusal = first_refusal(s, &q);
	check_groups(s, &sel);
	*ret = sel;
	return 0;
}

void selection_clear(struct selection *s)
{
	free(s->policies);
	*s = (struct selection){};
}
