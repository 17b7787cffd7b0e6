/* SPDX-License-Identifier: Apache-2.0 */
#include "base/siphash.h"

#include <endian.h>
#include <string.h>

struct state {
	uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void rounds(struct state *s, int n)
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

static void absorb(struct state *s, uint64_t word)
{
	s->v3 ^= word;
	rounds(s, 2);
	s->v0 ^= word;
}

uint64_t siphash24(const void *data, size_t len, const uint64_t key[2])
{
	struct state s = {
		.v0 = 0x736f6d6570736575ull ^ key[0],
		.v1 = 0x646f72616e646f6dull ^ key[1],
		.v2 = 0x6c7967656e657261ull ^ key[0],
		.v3 = 0x7465646279746573ull ^ key[1],
	};
	const uint8_t *p = data;
	uint64_t word;
	size_t rest = len;

	for (; rest >= 8; rest -= 8, p += 8) {
		memcpy(&word, p, 8);
		absorb(&s, le64toh(word));
	}
	word = (uint64_t)len << 56;
	for (size_t i = 0; i < rest; i++)
		word |= (uint64_t)p[i] << (8 * i);
	absorb(&s, word);
	s.v2 ^= 0xff;
	rounds(&s, 4);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
