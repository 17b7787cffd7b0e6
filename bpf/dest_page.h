/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The search within one page of a policy's destinations (struct sluice_dest_page). Pure, and compiled for the host too.
 *
 * It counts how many begin at or below the address, first of the blocks, then of the block's slots: no branch depends
 * on the address, so none is mispredicted, and the verifier walks few paths. Which begin above it says the borrow of a
 * subtraction in 64 bits, since BPF has no instruction that makes a number of a comparison.
 */
#ifndef SLUICE_BPF_DEST_PAGE_H
#define SLUICE_BPF_DEST_PAGE_H

#include "bpf/abi.h"
#include "bpf/addr_class.h"

#define DEST_BROKEN SLUICE_DEST_PACK(SLUICE_SET_BROKEN, SLUICE_SET_BROKEN)

/* The compiler must take the number for any: it would see a comparison in it and branch, or count downwards. */
#define dest_opaque(number) asm volatile("" : "+r"(number))

/* 1: a is less than b + borrow, all of them 32 bits wide. */
static SLUICE_INLINE __u64 dest_borrow(__u64 a, __u64 b, __u64 borrow)
{
	__u64 difference = a - b - borrow;

	dest_opaque(difference);
	difference >>= 63;
	dest_opaque(difference);
	return difference;
}

/* 1: the address is below `first`. */
static SLUICE_INLINE __u64 dest_below4(__u32 addr, __u32 first)
{
	return dest_borrow(addr, first, 0);
}

static SLUICE_INLINE __u64 dest_below6(const __u32 *addr, const __u32 *first)
{
	__u64 borrow = dest_borrow(addr[3], first[3], 0);

	borrow = dest_borrow(addr[2], first[2], borrow);
	borrow = dest_borrow(addr[1], first[1], borrow);
	return dest_borrow(addr[0], first[0], borrow);
}

/* How many of `count` do not begin above the address. Never negative, which loaders without PERFMON must see. */
static SLUICE_INLINE __u64 dest_rest(__u64 count, __u64 below)
{
	__u64 rest = count - below;

	dest_opaque(rest);
	return rest;
}

/*
 * The number, of which the verifier knows nothing any more. Without PERFMON it refuses to add to a pointer what has
 * other bounds on another path, as the number of a block has after each row.
 */
static SLUICE_INLINE __u64 dest_unknown(__u64 number, __u32 any)
{
	__u64 sum = number + any;

	dest_opaque(sum);
	return sum - any;
}

/* The block in which the address is to be looked for. */
static SLUICE_INLINE __u64 dest_page_block4(const struct sluice_dest_page *page, __u32 addr)
{
	__u64 block = 0;

	SLUICE_LOOP for (__u32 row = 0; row < SLUICE_DEST4_ROWS; row++)
	{
		const __u32 *first = &page->v4.first[row * SLUICE_DEST4_ROW];
		__u64 below = 0;

		if (row >= page->rows)
			break;
		SLUICE_UNROLL for (int i = 0; i < SLUICE_DEST4_ROW; i++) below += dest_below4(addr, first[i]);
		block += dest_rest(SLUICE_DEST4_ROW, below);
	}
	return dest_unknown(block, page->count);
}

static SLUICE_INLINE __u64 dest_page_block6(const struct sluice_dest_page *page, const __u32 *addr)
{
	__u64 block = 0;

	SLUICE_LOOP for (__u32 row = 0; row < SLUICE_DEST6_ROWS; row++)
	{
		const __u32(*first)[4] = &page->v6.first[row * SLUICE_DEST6_ROW];
		__u64 below = 0;

		if (row >= page->rows)
			break;
		SLUICE_UNROLL for (int i = 0; i < SLUICE_DEST6_ROW; i++) below += dest_below6(addr, first[i]);
		block += dest_rest(SLUICE_DEST6_ROW, below);
	}
	return dest_unknown(block, page->count);
}

/* The highest address is also where nothing is. */
static SLUICE_INLINE __u32 dest_child(const struct sluice_dest_page *page, __u64 index)
{
	return page->child + (__u32)(index < page->count ? index : page->count - 1);
}

/* Of a leaf the answer, SLUICE_DEST_PACK; of another page the number of the one to search next. */
static SLUICE_INLINE __u32 dest_page_find4(const struct sluice_dest_page *page, __u32 addr)
{
	__u64 at = dest_page_block4(page, addr), below = 0;
	const union sluice_dest_block4 *block;

	if (at >= SLUICE_DEST4_BLOCKS) /* never; for the verifier */
		return DEST_BROKEN;
	if (page->kind == SLUICE_DEST_NARROW)
		return dest_child(page, at);
	block = &page->v4.blocks[at];
	if (page->kind == SLUICE_DEST_WIDE) {
		SLUICE_UNROLL for (int i = 1; i < SLUICE_DEST4_WIDE_SLOTS; i++) below +=
			dest_below4(addr, block->wide[i]);
		return dest_child(page, at * SLUICE_DEST4_WIDE_SLOTS + dest_rest(SLUICE_DEST4_WIDE_SLOTS - 1, below));
	}
	SLUICE_UNROLL for (int i = 1; i < SLUICE_DEST4_SLOTS; i++) below += dest_below4(addr, block->leaf.first[i]);
	return block->leaf.dests[dest_rest(SLUICE_DEST4_SLOTS - 1, below)];
}

/* `addr` is four words as in `first`. */
static SLUICE_INLINE __u32 dest_page_find6(const struct sluice_dest_page *page, const __u32 *addr)
{
	__u64 at = dest_page_block6(page, addr), below = 0;
	const union sluice_dest_block6 *block;

	if (at >= SLUICE_DEST6_BLOCKS) /* never; for the verifier */
		return DEST_BROKEN;
	if (page->kind == SLUICE_DEST_NARROW)
		return dest_child(page, at);
	block = &page->v6.blocks[at];
	if (page->kind == SLUICE_DEST_WIDE) {
		SLUICE_UNROLL for (int i = 1; i < SLUICE_DEST6_WIDE_SLOTS; i++) below +=
			dest_below6(addr, block->wide[i]);
		return dest_child(page, at * SLUICE_DEST6_WIDE_SLOTS + dest_rest(SLUICE_DEST6_WIDE_SLOTS - 1, below));
	}
	SLUICE_UNROLL for (int i = 1; i < SLUICE_DEST6_SLOTS; i++) below += dest_below6(addr, block->leaf.first[i]);
	return block->leaf.dests[dest_rest(SLUICE_DEST6_SLOTS - 1, below)];
}

#endif
