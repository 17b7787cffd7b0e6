/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * Prefixes nest or lie apart, so in the order of their addresses a stack holds those that cover the current one. Where
 * a prefix begins its own answer begins; where it ends, that of the one around it goes on. That gives the intervals.
 *
 * Pages are filled from the leaves: a level's pages are the next level's intervals, until one page holds all of it.
 *
 * IPv4 lies within IPv6 (::ffff:0:0/96), but has a tree of its own with keys of a word. What an IPv6 prefix that covers
 * the range says is the answer where no IPv4 prefix is.
 */
#include "policy/pages.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "policy/array.h"

struct interval {
	uint32_t first[4]; /* as in the pages: host order, the most significant word first */
	struct sluice_dest dest;
};

struct intervals {
	struct interval *items;
	size_t count;
};

/* What differs between the families. */
struct family {
	uint32_t root;
	size_t slots[3]; /* of a block, by enum sluice_dest_kind */
	size_t blocks;	 /* of a page */
	size_t row;	 /* how many of them are searched together */
	bool ipv4;
};

static const struct family ipv4 = { .root = SLUICE_DEST_ROOT4,
				    .slots = { SLUICE_DEST4_SLOTS, 1, SLUICE_DEST4_WIDE_SLOTS },
				    .blocks = SLUICE_DEST4_BLOCKS,
				    .row = SLUICE_DEST4_ROW,
				    .ipv4 = true };
static const struct family ipv6 = { .root = SLUICE_DEST_ROOT6,
				    .slots = { SLUICE_DEST6_SLOTS, 1, SLUICE_DEST6_WIDE_SLOTS },
				    .blocks = SLUICE_DEST6_BLOCKS,
				    .row = SLUICE_DEST6_ROW };

static const struct sluice_prefix all_ipv4 = { .addr = { .b = { [10] = 0xff, [11] = 0xff } }, .bits = 96 };
static const struct sluice_dest no_dest;

static struct sluice_prefix prefix_of(const struct image_dest *d)
{
	return (struct sluice_prefix){ .addr = d->addr, .bits = d->bits };
}

static bool is_ipv4(const struct image_dest *d)
{
	return d->bits >= all_ipv4.bits && addr_is_ipv4(&d->addr);
}

static size_t page_size(const struct family *f, enum sluice_dest_kind kind)
{
	return f->slots[kind] * f->blocks;
}

/* ---- prefixes to intervals --------------------------------------------------------------------------------------- */

struct flatten {
	const struct image_dest *stack[129]; /* the chain of prefixes around the current one */
	size_t depth;
	struct sluice_dest outside; /* the answer where no prefix is */
	struct intervals *out;
};

static int begin(struct flatten *fl, const struct sluice_addr *addr, const struct sluice_dest *dest)
{
	struct interval *last = fl->out->count ? &fl->out->items[fl->out->count - 1] : NULL;
	struct interval i = { .dest = *dest };

	for (size_t w = 0; w < 4; w++)
		i.first[w] = ntohl(addr->w[w]);
	if (last && memcmp(last->first, i.first, sizeof(i.first)) == 0) {
		last->dest = *dest;
		return 0;
	}
	if (last && memcmp(&last->dest, dest, sizeof(*dest)) == 0)
		return 0;
	last = array_push(&fl->out->items, &fl->out->count, sizeof(*last));
	if (!last)
		return -ENOMEM;
	*last = i;
	return 0;
}

/* The address after a prefix. False: there is none in its family. */
static bool addr_after(const struct image_dest *d, struct sluice_addr *ret)
{
	uint32_t family_bits = is_ipv4(d) ? all_ipv4.bits : 0;

	*ret = d->addr;
	for (uint32_t bit = d->bits; bit > family_bits; bit--) {
		uint8_t mask = (uint8_t)(0x80 >> ((bit - 1) % 8));

		ret->b[(bit - 1) / 8] ^= mask;
		if (ret->b[(bit - 1) / 8] & mask)
			return true;
	}
	return false;
}

static int end_top(struct flatten *fl)
{
	const struct image_dest *top = fl->stack[--fl->depth];
	struct sluice_addr after;

	if (!addr_after(top, &after))
		return 0;
	return begin(fl, &after, fl->depth ? &fl->stack[fl->depth - 1]->dest : &fl->outside);
}

static bool covers(const struct image_dest *outer, const struct image_dest *inner)
{
	struct sluice_prefix prefix = prefix_of(outer);

	/* Strictly longer: the stack holds each length once, whatever is in the list. */
	return outer->bits < inner->bits && prefix_contains(&prefix, &inner->addr);
}

static int flatten(const struct family *f, const struct image_dest *dests, size_t count, struct flatten *fl)
{
	struct sluice_addr none = {};
	int r = begin(fl, f->ipv4 ? &all_ipv4.addr : &none, &fl->outside);

	for (size_t i = 0; r == 0 && i < count; i++) {
		if (is_ipv4(&dests[i]) != f->ipv4)
			continue;
		while (r == 0 && fl->depth && !covers(fl->stack[fl->depth - 1], &dests[i]))
			r = end_top(fl);
		fl->stack[fl->depth++] = &dests[i];
		if (r == 0)
			r = begin(fl, &dests[i].addr, &dests[i].dest);
	}
	while (r == 0 && fl->depth)
		r = end_top(fl);
	return r;
}

/* What the longest of the IPv6 prefixes around all of IPv4 says. */
static struct sluice_dest around_ipv4(const struct image_dest *dests, size_t count)
{
	struct sluice_dest dest = no_dest;

	for (size_t i = 0; i < count; i++) {
		struct sluice_prefix prefix = prefix_of(&dests[i]);

		if (!is_ipv4(&dests[i]) && prefix_contains(&prefix, &all_ipv4.addr))
			dest = dests[i].dest;
	}
	return dest;
}

/* ---- intervals to pages ------------------------------------------------------------------------------------------ */

static uint32_t pack(const struct sluice_dest *dest)
{
	return SLUICE_DEST_PACK(dest->set, dest->cluster_set);
}

static void put4(struct sluice_dest_page *page, size_t block, size_t slot, const uint32_t first[4],
		 const struct sluice_dest *dest)
{
	union sluice_dest_block4 *b = &page->v4.blocks[block];

	if (page->kind != SLUICE_DEST_LEAF) {
		b->wide[slot] = first[3];
		return;
	}
	b->leaf.first[slot] = first[3];
	b->leaf.dests[slot] = pack(dest);
}

static void put6(struct sluice_dest_page *page, size_t block, size_t slot, const uint32_t first[4],
		 const struct sluice_dest *dest)
{
	union sluice_dest_block6 *b = &page->v6.blocks[block];

	if (page->kind != SLUICE_DEST_LEAF) {
		memcpy(b->wide[slot], first, sizeof(b->wide[slot]));
		return;
	}
	memcpy(b->leaf.first[slot], first, sizeof(b->leaf.first[slot]));
	b->leaf.dests[slot] = pack(dest);
}

static void fill_firsts(const struct family *f, struct sluice_dest_page *page)
{
	size_t slots = f->slots[page->kind], used = (page->count + slots - 1) / slots;

	/* Of the first block it need not be said. */
	page->rows = (uint32_t)((used - 1 + f->row - 1) / f->row);
	memset(&page->v4.first, 0xff, f->ipv4 ? sizeof(page->v4.first) : sizeof(page->v6.first));
	/* A block begins with its first slot, whichever it is of. */
	for (size_t i = 1; i < used; i++) {
		if (f->ipv4)
			page->v4.first[i - 1] = page->v4.blocks[i].wide[0];
		else
			memcpy(page->v6.first[i - 1], page->v6.blocks[i].wide[0], sizeof(page->v6.first[0]));
	}
}

/* As many intervals as page->count says, from 1 to as many as fit. */
static void fill_page(const struct family *f, struct sluice_dest_page *page, const struct interval *items)
{
	static const uint32_t highest[4] = { UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX };
	size_t slots = f->slots[page->kind];

	for (size_t i = 0; i < page_size(f, page->kind); i++) {
		const struct interval *item = &items[i < page->count ? i : page->count - 1];
		const uint32_t *first = i < page->count ? item->first : highest;

		if (f->ipv4)
			put4(page, i / slots, i % slots, first, &item->dest);
		else
			put6(page, i / slots, i % slots, first, &item->dest);
	}
	fill_firsts(f, page);
}

struct build {
	const struct family *f;
	uint64_t policy;
	struct intervals level; /* of which pages are made now: what they begin with, and the leaves' answers */
	struct pages *pages;
	uint32_t next;	/* the next page's number */
	uint32_t child; /* the number of the level's first page, when it is one of pages */
	enum sluice_dest_kind kind;
};

/* Replaces the intervals of a level by those of the level above, one for each page. */
static int add_level(struct build *b)
{
	size_t all = b->level.count, room = page_size(b->f, b->kind), made = 0;
	uint32_t first_page = b->next;

	for (size_t at = 0; at < all; at += room) {
		struct sluice_dest_page *page = array_push(&b->pages->items, &b->pages->count, sizeof(*page));

		if (!page)
			return -ENOMEM;
		page->key = SLUICE_DEST_KEY(b->policy, all <= room ? b->f->root : b->next++);
		page->kind = b->kind;
		page->child = b->kind == SLUICE_DEST_LEAF ? 0 : b->child + (uint32_t)at;
		page->count = (uint32_t)(all - at < room ? all - at : room);
		fill_page(b->f, page, b->level.items + at);
		b->level.items[made++] = b->level.items[at];
	}
	b->level.count = made;
	b->child = first_page;
	b->kind = made <= page_size(b->f, SLUICE_DEST_NARROW) ? SLUICE_DEST_NARROW : SLUICE_DEST_WIDE;
	return 0;
}

static void build_clear(struct build *b)
{
	free(b->level.items);
	b->level = (struct intervals){};
}

static int build_family(const struct family *f, const struct image_dest *dests, size_t count, uint64_t policy,
			struct pages *pages)
{
	CLEANUP(build_clear) struct build b = { .f = f, .policy = policy, .pages = pages, .next = f->root + 1 };
	struct flatten fl = { .out = &b.level };
	bool more = true;
	int r;

	if (f->ipv4)
		fl.outside = around_ipv4(dests, count);
	r = flatten(f, dests, count, &fl);
	/* Nothing but one interval that says nothing is what no page says too. */
	if (r == 0 && b.level.count == 1 && memcmp(&b.level.items[0].dest, &no_dest, sizeof(no_dest)) == 0)
		return 0;
	while (r == 0 && more) {
		more = b.level.count > page_size(f, b.kind);
		r = add_level(&b);
	}
	return r;
}

static bool sets_fit(const struct image_dest *dests, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (dests[i].dest.set > SLUICE_DEST_MAX_SET || dests[i].dest.cluster_set > SLUICE_DEST_MAX_SET)
			return false;
	}
	return true;
}

int pages_build(const struct image_dest *dests, size_t count, uint64_t policy, struct pages *ret)
{
	CLEANUP(pages_clear) struct pages pages = {};
	int r = sets_fit(dests, count) ? build_family(&ipv4, dests, count, policy, &pages) : -E2BIG;

	if (r == 0)
		r = build_family(&ipv6, dests, count, policy, &pages);
	if (r < 0)
		return r;
	*ret = pages;
	pages = (struct pages){};
	return 0;
}

void pages_clear(struct pages *pages)
{
	free(pages->items);
	*pages = (struct pages){};
}

/* n prefixes are 2n + 1 intervals at most; those of IPv6, of which fewer fit, take 1 + n / 40 pages in all levels. */
uint32_t pages_most(uint64_t policies, uint64_t prefixes)
{
	uint64_t most = 2 * policies + prefixes / 40;

	return most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
}
