/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/array.h"

/* ---- keys -------------------------------------------------------------------------------------------------------- */

struct keymap_item {
	uint64_t key;
	uint32_t value;
	bool used;
};

static void place(struct keymap *m, const struct keymap_item *item)
{
	size_t i = item->key & (m->size - 1);

	while (m->items[i].used)
		i = (i + 1) & (m->size - 1);
	m->items[i] = *item;
}

static int grow(struct keymap *m)
{
	struct keymap bigger = { .size = m->size ? m->size * 2 : 16, .used = m->used };

	bigger.items = calloc(bigger.size, sizeof(*bigger.items));
	if (!bigger.items)
		return -ENOMEM;
	for (size_t i = 0; i < m->size; i++)
		if (m->items[i].used)
			place(&bigger, &m->items[i]);
	free(m->items);
	*m = bigger;
	return 0;
}

int keymap_put(struct keymap *m, uint64_t key, uint32_t value)
{
	const struct keymap_item item = { key, value, true };

	if ((m->used + 1) * 2 > m->size && grow(m) < 0)
		return -ENOMEM;
	place(m, &item);
	m->used++;
	return 0;
}

bool keymap_get(const struct keymap *m, uint64_t key, uint32_t *ret)
{
	if (m->size == 0)
		return false;
	for (size_t i = key & (m->size - 1); m->items[i].used; i = (i + 1) & (m->size - 1)) {
		if (m->items[i].key == key) {
			*ret = m->items[i].value;
			return true;
		}
	}
	return false;
}

void keymap_clear(struct keymap *m)
{
	free(m->items);
	*m = (struct keymap){};
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

void slots_clear(struct slot_table *t)
{
	uint64_t pass = t->pass;

	free(t->items);
	free(t->unused);
	keymap_clear(&t->by_print);
	free(t->of);
	free(t->gone);
	free(t->fresh);
	/* Sets that were up to date with what is dropped must not take what comes for it. */
	*t = (struct slot_table){ .pass = pass + 2 };
}

static int new_slot(struct slot_table *t, uint32_t *ret)
{
	if (t->nunused > 0) {
		*ret = t->unused[--t->nunused];
		return 0;
	}
	if (!array_push(&t->items, &t->count, sizeof(*t->items)))
		return -ENOMEM;
	*ret = (uint32_t)(t->count - 1);
	return 0;
}

static int add_fresh(struct slot_table *t, const struct slot_content *c, size_t index, uint32_t *ret)
{
	struct slot_change *change;

	if (new_slot(t, ret) < 0)
		return -ENOMEM;
	t->items[*ret] = (struct slot){ .print = c->print, .effect = c->effect };
	change = array_push(&t->fresh, &t->nfresh, sizeof(*change));
	if (!change || keymap_put(&t->by_print, c->print, *ret) < 0)
		return -ENOMEM;
	*change = (struct slot_change){ *ret, (uint32_t)index, c->effect };
	return 0;
}

/* What was there before and is not any more. The keys of what went stay behind, so they are all put again. */
static int drop_gone(struct slot_table *t)
{
	struct keymap left = {};
	uint32_t *unused = realloc(t->unused, (t->count + 1) * sizeof(*unused));

	if (!unused)
		return -ENOMEM;
	t->unused = unused;
	for (size_t i = 0; i < t->count; i++) {
		struct slot *s = &t->items[i];
		struct slot_change *change;

		if (!s->pass || s->pass == t->pass)
			continue;
		change = array_push(&t->gone, &t->ngone, sizeof(*change));
		if (!change)
			return -ENOMEM;
		*change = (struct slot_change){ .slot = (uint32_t)i, .effect = s->effect };
		t->unused[t->nunused++] = (uint32_t)i;
		*s = (struct slot){};
	}
	for (size_t i = 0; t->ngone && i < t->count; i++) {
		if (t->items[i].pass && keymap_put(&left, t->items[i].print, (uint32_t)i) < 0) {
			keymap_clear(&left);
			return -ENOMEM;
		}
	}
	if (t->ngone) {
		keymap_clear(&t->by_print);
		t->by_print = left;
	}
	return 0;
}

static int sync_all(struct slot_table *t, const struct slot_content *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t slot;

		if (!keymap_get(&t->by_print, list[i].print, &slot) && add_fresh(t, &list[i], i, &slot) < 0)
			return -ENOMEM;
		t->items[slot].pass = t->pass;
		t->of[i] = slot;
	}
	return drop_gone(t);
}

int slots_sync(struct slot_table *t, const struct slot_content *list, size_t n)
{
	uint32_t *of = realloc(t->of, (n + 1) * sizeof(*of));

	free(t->gone);
	free(t->fresh);
	t->gone = t->fresh = NULL;
	t->ngone = t->nfresh = 0;
	t->pass++;
	if (of) {
		t->of = of;
		t->nof = n;
	}
	if (of && sync_all(t, list, n) == 0)
		return 0;
	slots_clear(t);
	return -ENOMEM;
}

/* ---- sets -------------------------------------------------------------------------------------------------------- */

static bool has_bit(const struct picked *p, uint32_t slot)
{
	return slot / 64 < p->nwords && (p->bits[slot / 64] >> (slot % 64) & 1);
}

static void add(struct picked *p, uint32_t slot, uint64_t effect)
{
	if (has_bit(p, slot))
		return;
	p->bits[slot / 64] |= 1ull << (slot % 64);
	p->sum += effect;
}

static int resize(struct picked *p, size_t slots)
{
	size_t nwords = slots / 64 + 1;
	uint64_t *bits;

	if (nwords <= p->nwords)
		return 0;
	bits = realloc(p->bits, nwords * sizeof(*bits));
	if (!bits)
		return -ENOMEM;
	memset(bits + p->nwords, 0, (nwords - p->nwords) * sizeof(*bits));
	p->bits = bits;
	p->nwords = nwords;
	return 0;
}

static void pick_again(struct picked *p, const struct slot_table *t, bool (*fits)(void *context, size_t index),
		       void *context)
{
	memset(p->bits, 0, p->nwords * sizeof(*p->bits));
	p->sum = 0;
	for (size_t i = 0; i < t->nof; i++)
		if (fits(context, i))
			add(p, t->of[i], t->items[t->of[i]].effect);
}

static void pick_changes(struct picked *p, const struct slot_table *t, bool (*fits)(void *context, size_t index),
			 void *context)
{
	for (size_t i = 0; i < t->ngone; i++) {
		if (!has_bit(p, t->gone[i].slot))
			continue;
		p->bits[t->gone[i].slot / 64] &= ~(1ull << (t->gone[i].slot % 64));
		p->sum -= t->gone[i].effect;
	}
	for (size_t i = 0; i < t->nfresh; i++)
		if (fits(context, t->fresh[i].index))
			add(p, t->fresh[i].slot, t->fresh[i].effect);
}

int picked_update(struct picked *p, const struct slot_table *t, bool (*fits)(void *context, size_t index),
		  void *context)
{
	if (p->pass == t->pass)
		return 0;
	if (resize(p, t->count) < 0)
		return -ENOMEM;
	if (p->pass && p->pass + 1 == t->pass)
		pick_changes(p, t, fits, context);
	else
		pick_again(p, t, fits, context);
	p->pass = t->pass;
	return 0;
}

bool picked_has(const struct picked *p, const struct slot_table *t, size_t index)
{
	return has_bit(p, t->of[index]);
}

void picked_clear(struct picked *p)
{
	free(p->bits);
	*p = (struct picked){};
}
