/* SPDX-License-Identifier: Apache-2.0 */
#include "base/siphash.h"

#include <endian.h>
#include <string.h>

static uint64_t rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void rounds(struct siphash *s, int n)
{
	while (n-- > 0) {
		s->v0 += s->v1;
		s->v2 += s->v3;
		s->v1 = rotate(s->v1, 13) ^ s->v0;
		s->v3 = rotate(s->v3, 16) ^ s->v2;
		s->v0 = rotate(s->v0, 32);
		s->v2 += s->v1;
		s->v0 += s->v3;
		s->v1 = rotate(s->v1, 17) ^ s->v2;
		s->v3 = rotate(s->v3, 21) ^ s->v0;
		s->v2 = rotate(s->v2, 32);
	}
}

static void absorb(struct siphash *s, uint64_t word)
{
	s->v3 ^= word;
	rounds(s, 2);
	s->v0 ^= word;
}

void siphash_begin(struct siphash *s, const uint64_t key[2])
{
	*s = (struct siphash){
		.v0 = 0x736f6d6570736575ull ^ key[0],
		.v1 = 0x646f72616e646f6dull ^ key[1],
		.v2 = 0x6c7967656e657261ull ^ key[0],
		.v3 = 0x7465646279746573ull ^ key[1],
	};
}

static void add_byte(struct siphash *s, uint8_t byte)
{
	s->word |= (uint64_t)byte << (8 * (s->len++ % 8));
	if (s->len % 8)
		return;
	absorb(s, s->word);
	s->word = 0;
}

void siphash_add(struct siphash *s, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t word;

	for (; len && s->len % 8; len--)
		add_byte(s, *p++);
	for (; len >= 8; len -= 8, p += 8, s->len += 8) {
		memcpy(&word, p, 8);
		absorb(s, le64toh(word));
	}
	while (len--)
		add_byte(s, *p++);
}

uint64_t siphash_end(const struct siphash *s)
{
	struct siphash end = *s;

	absorb(&end, end.word | end.len << 56);
	end.v2 ^= 0xff;
	rounds(&end, 4);
	return end.v0 ^ end.v1 ^ end.v2 ^ end.v3;
}

uint64_t siphash24(const void *data, size_t len, const uint64_t key[2])
{
	struct siphash s;

	siphash_begin(&s, key);
	siphash_add(&s, data, len);
	return siphash_end(&s);
}
