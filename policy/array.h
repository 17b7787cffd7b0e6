/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays that grow by doubling: `struct x *items; size_t count;`, no capacity kept, for it follows from the count. */
#ifndef SLUICE_POLICY_ARRAY_H
#define SLUICE_POLICY_ARRAY_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
 * A zeroed element at the end, or NULL. `items` is the address of the array's pointer. The array must only ever have
 * grown through this function: its capacity is the count rounded up to a power of two.
 */
static inline void *array_push(void *items, size_t *count, size_t size)
{
	char **array = (char **)items;
	char *element;

	if ((*count & (*count - 1)) == 0) {
		size_t cap = *count ? *count * 2 : 1;
		char *grown = cap <= SIZE_MAX / size ? (char *)realloc(*array, cap * size) : NULL;

		if (!grown)
			return NULL;
		*array = grown;
	}
	element = *array + (*count)++ * size;
	memset(element, 0, size);
	return element;
}

/* Gives back the capacity of an array that will grow no more. */
static inline void array_trim(void *items, size_t count, size_t size)
{
	char **array = (char **)items;
	char *exact = count ? (char *)realloc(*array, count * size) : NULL;

	if (exact)
		*array = exact;
}

#endif
