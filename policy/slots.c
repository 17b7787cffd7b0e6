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

/* Those behind it that would no longer be found move up into the gap. */
void keymap_remove(struct keymap *m, uint64_t key)
{
	size_t mask = m->size - 1, gap = key & mask;

	if (m->size == 0)
		return;
	while (m->items[gap].used && m->items[gap].key != key)
		gap = (gap + 1) & mask;
	if (!m->items[gap].used)
		return;
	for (size_t i = (gap + 1) & mask; m->items[i].used; i = (i + 1) & mask) {
		size_t home = m->items[i].key & mask;

		if (((i - home) & mask) < ((i - gap) & mask))
			continue;
		m->items[gap] = m->items[i];
		gap = i;
	}
	m->items[gap].used = false;
	m->used--;
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

int slots_begin(struct slot_table *t, size_t max)
{
	uint32_t *of = realloc(t->of, (max + 1) * sizeof(*of));

	free(t->gone);
	free(t->fresh);
	t->gone = t->fresh = NULL;
	t->ngone = t->nfresh = t->nof = 0;
	t->pass++;
	if (!of)
		return -ENOMEM;
	t->of = of;
	return 0;
}

void slots_keep(struct slot_table *t, size_t index, uint32_t slot)
{
	t->items[slot].pass = t->pass;
	t->of[index] = slot;
	t->nof = index + 1;
}

int slots_put(struct slot_table *t, size_t index, const struct slot_content *content, uint32_t *ret_slot)
{
	if (!keymap_get(&t->by_print, content->print, ret_slot) && add_fresh(t, content, index, ret_slot) < 0)
		return -ENOMEM;
	slots_keep(t, index, *ret_slot);
	return 0;
}

/* What was there before and is not any more. */
int slots_end(struct slot_table *t)
{
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
		keymap_remove(&t->by_print, s->print);
		*s = (struct slot){};
	}
	return 0;
}

int slots_sync(struct slot_table *t, const struct slot_content *list, size_t n)
{
	int r = slots_begin(t, n);
	uint32_t slot;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = slots_put(t, i, &list[i], &slot);
	if (r == 0)
		r = slots_end(t);
	if (r < 0)
		slots_clear(t);
	return r;
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
