/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-2-4 (Aumasson, Bernstein 2012): a keyed hash whose collisions an outsider cannot make. */
#ifndef SLUICE_BASE_SIPHASH_H
#define SLUICE_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t siphash24(const void *data, size_t len, const uint64_t key[2]);

/* The same of bytes that come one after the other. */
struct siphash {
	uint64_t v0, v1, v2, v3;
	uint64_t word; /* what has come of the next eight bytes */
	uint64_t len;
};
void siphash_begin(struct siphash *s, const uint64_t key[2]);
void siphash_add(struct siphash *s, const void *data, size_t len);
uint64_t siphash_end(const struct siphash *s);

#endif
