/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages of random prefixes, searched as the kernel searches them (bpf/dest_page.h), give what the longest prefix
 * says: beside every beginning and end, at the ends of both families, at every number of levels.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "bpf/dest_page.h"
#include "policy/pages.h"

#define POLICY 0x123456789aull

static uint64_t seed;

/* splitmix64, Steele 2014 */
static uint64_t random64(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static uint32_t chance(uint32_t n)
{
	return (uint32_t)(random64() % n);
}

/* ---- both answers ------------------------------------------------------------------------------------------------ */

static int compare_dests(const void *a, const void *b)
{
	const struct image_dest *x = a, *y = b;
	int order = addr_compare(&x->addr, &y->addr);

	return order ? order : (x->bits > y->bits) - (x->bits < y->bits);
}

static struct sluice_dest longest(const struct image_dest *dests, size_t count, const struct sluice_addr *addr)
{
	struct sluice_dest found = {};
	uint32_t bits = 0;

	for (size_t i = 0; i < count; i++) {
		struct sluice_prefix p = { dests[i].addr, dests[i].bits };

		if (dests[i].bits >= bits && prefix_contains(&p, addr)) {
			found = dests[i].dest;
			bits = dests[i].bits;
		}
	}
	return found;
}

static const struct sluice_dest_page *page_of(const struct pages *pages, uint32_t number)
{
	for (size_t i = 0; i < pages->count; i++) {
		if (pages->items[i].key == SLUICE_DEST_KEY(POLICY, number))
			return &pages->items[i];
	}
	return NULL;
}

static struct sluice_dest search(const struct pages *pages, const struct sluice_addr *addr)
{
	uint32_t number = addr_is_v4(addr) ? SLUICE_DEST_ROOT4 : SLUICE_DEST_ROOT6, words[4];

	for (size_t w = 0; w < 4; w++)
		words[w] = ntohl(addr->w[w]);
	for (int level = 0; level < SLUICE_DEST_LEVELS; level++) {
		const struct sluice_dest_page *page = page_of(pages, number);

		if (!page) {
			assert_int_equal(level, 0);
			return (struct sluice_dest){};
		}
		number = addr_is_v4(addr) ? dest_page_find4(page, words[3]) : dest_page_find6(page, words);
		if (page->kind == SLUICE_DEST_LEAF)
			return (struct sluice_dest){ SLUICE_DEST_SET(number), SLUICE_DEST_CLUSTER_SET(number) };
	}
	fail();
	return (struct sluice_dest){};
}

static void expect(const struct image_dest *dests, size_t count, const struct pages *pages,
		   const struct sluice_addr *addr)
{
	struct sluice_dest wanted = longest(dests, count, addr), found = search(pages, addr);
	char text[ADDR_TEXT_MAX];

	if (wanted.set == found.set && wanted.cluster_set == found.cluster_set)
		return;
	fail_msg("%s: %u, %u instead of %u, %u", addr_format(addr, text), found.set, found.cluster_set, wanted.set,
		 wanted.cluster_set);
}

/* ---- random prefixes --------------------------------------------------------------------------------------------- */

/* Near each other, so that they nest and touch. */
static struct sluice_addr random_addr(void)
{
	struct sluice_addr addr = { .b = { [10] = 0xff, [11] = 0xff } };

	if (chance(2)) {
		addr.d[0] = chance(4) ? random64() : 0;
		addr.d[1] = random64();
	}
	addr.w[3] = chance(8) ? htonl((uint32_t)random64()) : chance(2) ? 0xffffffff : 0;
	if (chance(4) == 0)
		memset(addr.b + chance(12), chance(2) ? 0xff : 0, 4);
	return addr;
}

static size_t random_dests(struct image_dest *dests, size_t count)
{
	size_t unique = 0;

	for (size_t i = 0; i < count; i++) {
		struct image_dest *d = &dests[i];

		*d = (struct image_dest){ .addr = i && chance(2) ? dests[chance((uint32_t)i)].addr : random_addr(),
					  .dest = { .set = chance(4), .cluster_set = chance(3) } };
		d->bits = addr_is_ipv4(&d->addr) && chance(8) ? 96 + chance(33) : chance(129);
		addr_mask(&d->addr, d->bits);
	}
	qsort(dests, count, sizeof(*dests), compare_dests);
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || compare_dests(&dests[i], &dests[i - 1]))
			dests[unique++] = dests[i];
	}
	return unique;
}

static void add_one(struct sluice_addr *addr, uint8_t one)
{
	for (int i = 15; i >= 0; i--) {
		addr->b[i] = (uint8_t)(addr->b[i] + one);
		if (addr->b[i] != (one == 1 ? 0 : 0xff))
			return;
	}
}

/* Each beginning and end of some prefixes, and what is beside. */
static void expect_around(const struct image_dest *dests, size_t count, const struct pages *pages,
			  const struct image_dest *d)
{
	struct sluice_addr addr = d->addr;

	expect(dests, count, pages, &addr);
	add_one(&addr, 0xff);
	expect(dests, count, pages, &addr);
	addr = d->addr;
	for (uint32_t bit = d->bits; bit < 128; bit++)
		addr.b[bit / 8] |= (uint8_t)(0x80 >> (bit % 8));
	expect(dests, count, pages, &addr);
	add_one(&addr, 1);
	expect(dests, count, pages, &addr);
}

static void expect_numbered(const struct pages *pages, uint32_t root)
{
	uint32_t next = root + 1;

	for (size_t i = 0; i < pages->count; i++) {
		uint32_t number = SLUICE_DEST_KEY_PAGE(pages->items[i].key);

		assert_int_equal(SLUICE_DEST_KEY_POLICY(pages->items[i].key), POLICY);
		if (number != root && (number < SLUICE_DEST_ROOT6) == (root < SLUICE_DEST_ROOT6))
			assert_int_equal(number, next++);
	}
}

static void one_round(size_t count)
{
	_cleanup_free_ struct image_dest *dests = calloc(count + 1, sizeof(*dests));
	CLEANUP(pages_clear) struct pages pages = {};

	assert_non_null(dests);
	count = random_dests(dests, count);
	assert_int_equal(pages_build(dests, count, POLICY, &pages), 0);
	assert_true(pages.count <= pages_most(1, count));
	expect_numbered(&pages, SLUICE_DEST_ROOT4);
	expect_numbered(&pages, SLUICE_DEST_ROOT6);
	for (size_t i = 0; i < 60; i++) {
		struct sluice_addr addr = random_addr();

		expect(dests, count, &pages, &addr);
		if (count)
			expect_around(dests, count, &pages, &dests[chance((uint32_t)count)]);
	}
}

static void random_prefixes(void **state)
{
	(void)state;
	seed = 20261130;
	for (size_t i = 0; i < 600; i++)
		one_round(i % 60);
	/* Around what fits into one page of each family, and into two levels of them. */
	for (size_t i = 0; i < 40; i++)
		one_round(60 + chance(200));
	one_round(6000);
	one_round(30000);
}

/* ---- the worst that prefixes can be ------------------------------------------------------------------------------ */

/* No two touch, and no two have one answer. */
static size_t scattered(struct image_dest *dests, size_t count, bool ipv4)
{
	for (size_t i = 0; i < count; i++) {
		dests[i] = (struct image_dest){ .bits = 128, .dest.set = (uint32_t)i % SLUICE_DEST_MAX_SET + 1 };
		if (ipv4)
			dests[i].addr.b[10] = dests[i].addr.b[11] = 0xff;
		else
			dests[i].addr.b[0] = 0x20;
		dests[i].addr.w[3] = htonl((uint32_t)i * 4 + 1);
	}
	return count;
}

static void most_pages(void **state)
{
	(void)state;
	for (size_t count = 1; count < 100000; count += 1 + count / 5) {
		for (int ipv4 = 0; ipv4 < 2; ipv4++) {
			_cleanup_free_ struct image_dest *dests = calloc(count, sizeof(*dests));
			CLEANUP(pages_clear) struct pages pages = {};

			assert_non_null(dests);
			scattered(dests, count, ipv4);
			assert_int_equal(pages_build(dests, count, POLICY, &pages), 0);
			assert_true(pages.count <= pages_most(1, count));
			expect_around(dests, count, &pages, &dests[count - 1]);
		}
	}
}

static void nothing_to_say(void **state)
{
	struct image_dest hole = { .bits = 96, .addr.b = { [10] = 0xff, [11] = 0xff } };
	struct pages pages = {};

	(void)state;
	assert_int_equal(pages_build(&hole, 0, POLICY, &pages), 0);
	assert_int_equal(pages.count, 0);
	assert_int_equal(pages_build(&hole, 1, POLICY, &pages), 0);
	assert_int_equal(pages.count, 0);
}

static void too_many_sets(void **state)
{
	struct image_dest d = { .bits = 128, .dest.cluster_set = SLUICE_DEST_MAX_SET };
	struct pages pages = {};

	(void)state;
	assert_int_equal(pages_build(&d, 1, POLICY, &pages), 0);
	pages_clear(&pages);
	d.dest.cluster_set++;
	assert_int_equal(pages_build(&d, 1, POLICY, &pages), -E2BIG);
	d.dest = (struct sluice_dest){ .set = SLUICE_DEST_MAX_SET + 1 };
	assert_int_equal(pages_build(&d, 1, POLICY, &pages), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_prefixes),
		cmocka_unit_test(most_pages),
		cmocka_unit_test(nothing_to_say),
		cmocka_unit_test(too_many_sets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
