/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * Of a thousand policies one changes: it comes with a new serial, and the old one goes. A selection without one that went, which
 * none that came belongs to, is what it was. While anything is refused, every change begins anew.
 */
#include "policy/selections.h"

#include <errno.h>
#include <stdlib.h>

#include "policy/array.h"
#include "policy/match.h"
#include "policy/store.h"

struct selected {
	uint64_t print;
	uint64_t pass; /* the last that asked for it */
	struct selection sel;
	uint64_t *serials; /* of its policies, which may be gone */
};

static void selected_clear(struct selected *s)
{
	selection_clear(&s->sel);
	free(s->serials);
	s->serials = NULL;
}

void selections_clear(struct selections *s)
{
	for (size_t i = 0; i < s->count; i++)
		selected_clear(&s->items[i]);
	free(s->items);
	free(s->fresh);
	keymap_clear(&s->by_subject);
	*s = (struct selections){ .pass = s->pass };
}

/* ---- what the store holds now ------------------------------------------------------------------------------------ */

/* A serial is no hash, and these are spread like one. */
static uint64_t spread(uint64_t serial)
{
	return serial * 0x9e3779b97f4a7c15ull ^ serial >> 32;
}

struct news {
	struct keymap in_force; /* by spread serial */
	uint64_t newest;
	bool refused;
};

static int add_policy(struct selections *s, struct news *n, const struct policy *p)
{
	const struct policy **slot;
	uint32_t there;

	if (!keymap_get(&n->in_force, spread(p->serial), &there) && keymap_put(&n->in_force, spread(p->serial), 0) < 0)
		return -ENOMEM;
	n->newest = p->serial > n->newest ? p->serial : n->newest;
	if (p->serial <= s->newest)
		return 0;
	slot = array_push(&s->fresh, &s->nfresh, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	*slot = p;
	return 0;
}

static int read_store(struct selections *s, const struct store *store, struct news *n)
{
	for (size_t i = 0; i < store->nfiles; i++) {
		const struct store_file *f = store->files[i];

		n->refused = n->refused || f->nrefused > 0;
		for (size_t k = 0; k < f->nin_force; k++)
			if (add_policy(s, n, f->in_force[k].policy) < 0)
				return -ENOMEM;
	}
	return 0;
}

static bool all_in_force(const struct selected *e, const struct news *n)
{
	uint32_t there;

	for (size_t i = 0; i < e->sel.count; i++)
		if (!keymap_get(&n->in_force, spread(e->serials[i]), &there))
			return false;
	return true;
}

/* ---- the pass ---------------------------------------------------------------------------------------------------- */

/* `n`: NULL while the manifests are the same. */
static int keep(struct selections *s, const struct news *n)
{
	size_t kept = 0;

	keymap_clear(&s->by_subject);
	for (size_t i = 0; i < s->count; i++) {
		struct selected *e = &s->items[i];

		if (e->pass != s->pass || (n && !all_in_force(e, n))) {
			selected_clear(e);
			continue;
		}
		if (kept != i) {
			s->items[kept] = *e;
			*e = (struct selected){};
		}
		if (keymap_put(&s->by_subject, s->items[kept].print, (uint32_t)kept) < 0)
			return -ENOMEM;
		kept++;
	}
	s->count = kept;
	return 0;
}

int selections_begin(struct selections *s, const struct store *store)
{
	bool same = s->store == store && s->generation == store->generation;
	struct news n = {};
	int r;

	if (s->store != store || (!same && s->refused))
		selections_clear(s);
	s->nfresh = 0;
	r = same ? 0 : read_store(s, store, &n);
	if (r == 0 && n.refused)
		selections_clear(s);
	if (r == 0)
		r = keep(s, same ? NULL : &n);
	s->store = store;
	s->generation = store->generation;
	if (!same) {
		s->newest = n.newest > s->newest ? n.newest : s->newest;
		s->refused = n.refused;
	}
	keymap_clear(&n.in_force);
	if (r < 0)
		selections_clear(s);
	s->pass++;
	return r;
}

/* ---- one subject ------------------------------------------------------------------------------------------------- */

static int select_anew(const struct selections *s, struct selected *e, const struct subject *subject,
		       const struct inventory *inv)
{
	int r;

	selected_clear(e);
	r = select_policies(s->store, subject, inv, &e->sel);
	if (r < 0)
		return r;
	e->serials = calloc(e->sel.count + 1, sizeof(*e->serials));
	if (!e->serials) {
		selected_clear(e);
		return -ENOMEM;
	}
	for (size_t i = 0; i < e->sel.count; i++)
		e->serials[i] = e->sel.policies[i]->serial;
	return 0;
}

static bool is_news_to(const struct selections *s, const struct subject *subject, const struct inventory *inv)
{
	for (size_t i = 0; i < s->nfresh; i++)
		if (s->fresh[i]->kind != POLICY_CIDR_GROUP && selector_matches(&s->fresh[i]->selector, subject, inv))
			return true;
	return false;
}

/* A new one, of which nothing is known; NULL: no memory. */
static struct selected *add(struct selections *s, uint64_t print, uint32_t *ret_at)
{
	struct selected *e = array_push(&s->items, &s->count, sizeof(*e));

	if (!e)
		return NULL;
	*ret_at = (uint32_t)(s->count - 1);
	if (keymap_put(&s->by_subject, print, *ret_at) < 0) {
		s->count--;
		return NULL;
	}
	e->print = print;
	return e;
}

int selections_get(struct selections *s, uint64_t print, const struct subject *subject, const struct inventory *inv,
		   const struct selection **ret)
{
	struct selected *e;
	uint32_t at;
	bool known = keymap_get(&s->by_subject, print, &at);
	int r = 0;

	e = known ? &s->items[at] : add(s, print, &at);
	if (!e)
		return -ENOMEM;
	/* One that could not be made anew is asked for again by the next, too. */
	if (!known || (e->pass != s->pass && (!e->serials || is_news_to(s, subject, inv))))
		r = select_anew(s, e, subject, inv);
	if (r < 0) {
		e->pass = 0;
		return r;
	}
	e->pass = s->pass;
	*ret = &e->sel;
	return 0;
}
