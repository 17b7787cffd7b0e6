/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers of the randomized tests: one seed is fixed, another is new in every run and printed; SLUICE_SEED repeats it. */
#ifndef SLUICE_TESTS_BPF_CHANCE_H
#define SLUICE_TESTS_BPF_CHANCE_H

#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

#include "tests/bpf/harness.h"

/* Set before the first call; never 0. */
static uint64_t chance_seed;

/* xorshift64*, Vigna 2016: repeatable everywhere. */
static inline uint32_t chance(uint32_t below)
{
	chance_seed ^= chance_seed >> 12;
	chance_seed ^= chance_seed << 25;
	chance_seed ^= chance_seed >> 27;
	return (uint32_t)((chance_seed * 2685821657736338717ull) >> 33) % below;
}

/* One member of an array. */
#define PICK(list) (list)[chance(ARRAY_SIZE(list))]

static inline uint64_t new_seed_of_run(void)
{
	const char *given = getenv("SLUICE_SEED");
	uint64_t s = 0;

	if (given)
		s = strtoull(given, NULL, 10);
	else
		assert_int_equal(getrandom(&s, sizeof(s), 0), sizeof(s));
	return s ?: 1;
}

#endif
