/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Things that come and go between passes, told apart by prints of their content: what stays keeps its slot, so sets over
 * slots are brought up to date by what came and went alone. Private to the compiler.
 */
#ifndef SLUICE_POLICY_SLOTS_H
#define SLUICE_POLICY_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From a 64-bit key that is a hash already to a number. `= {}` is empty. */
struct keymap {
	struct keymap_item *items;
	size_t size; /* a power of two, or none */
	size_t used;
};
int keymap_put(struct keymap *m, uint64_t key, uint32_t value); /* the key is not in it. 0, -ENOMEM */
void keymap_remove(struct keymap *m, uint64_t key);
bool keymap_get(const struct keymap *m, uint64_t key, uint32_t *ret);
void keymap_clear(struct keymap *m);

struct slot {
	uint64_t print;
	uint64_t effect; /* what a set's sum counts of it */
	uint64_t pass;	 /* the last one it was there in; 0: free */
};

struct slot_change {
	uint32_t slot;
	uint32_t index; /* of what came, in the present list */
	uint64_t effect;
};

struct slot_table {
	struct slot *items;
	size_t count;
	uint32_t *unused;
	size_t nunused;
	struct keymap by_print;
	uint32_t *of; /* slot by index in the present list */
	size_t nof;   /* how many were put or kept so far */
	struct slot_change *gone;
	size_t ngone;
	struct slot_change *fresh;
	size_t nfresh;
	uint64_t pass;
};

struct slot_content {
	uint64_t print;
	uint64_t effect;
};

/* The present list. After -ENOMEM the table is empty, and the next list is all fresh. */
int slots_sync(struct slot_table *t, const struct slot_content *list, size_t n);
/*
 * The same, one by one: of at most `max`, each index of the list is put, or keeps the slot that it had in the last pass. After
 * -ENOMEM slots_clear() is the caller's.
 */
int slots_begin(struct slot_table *t, size_t max);
int slots_put(struct slot_table *t, size_t index, const struct slot_content *content, uint32_t *ret_slot);
void slots_keep(struct slot_table *t, size_t index, uint32_t slot);
int slots_end(struct slot_table *t);
void slots_clear(struct slot_table *t);

/* The slots that fit, kept; and the sum of their effects, which is the same in whatever order they came. */
struct picked {
	uint64_t *bits;
	size_t nwords;
	uint64_t sum;
	uint64_t pass; /* of the table; 0: never */
};

/* Brings the set up to date; `fits` is asked for the index in the present list. 0, -ENOMEM. */
int picked_update(struct picked *p, const struct slot_table *t, bool (*fits)(void *context, size_t index),
		  void *context);
bool picked_has(const struct picked *p, const struct slot_table *t, size_t index);
void picked_clear(struct picked *p);

#endif
