/* SPDX-License-Identifier: Apache-2.0 */
/* Prints of what an inventory holds: bytes put together, and a hash of them that nobody outside can aim at. Private. */
#ifndef SLUICE_POLICY_PRINTS_H
#define SLUICE_POLICY_PRINTS_H

#include <string.h>

#include "base/siphash.h"
#include "base/strbuf.h"
#include "policy/compile.h"

static inline void put_text(struct strbuf *b, const char *text)
{
	strbuf_add(b, text ? text : "", text ? strlen(text) + 1 : 1);
}

static inline void put_number(struct strbuf *b, uint64_t n)
{
	strbuf_add(b, &n, sizeof(n));
}

static inline void put_labels(struct strbuf *b, const struct label *labels, size_t n)
{
	put_number(b, n);
	for (size_t i = 0; i < n; i++) {
		put_text(b, labels[i].key);
		put_text(b, labels[i].value);
	}
}

static inline void put_addrs(struct strbuf *b, const struct sluice_addr *addrs, size_t n)
{
	put_number(b, n);
	if (n)
		strbuf_add(b, addrs, n * sizeof(*addrs));
}

/* The print of what is in the buffer from `from`; 0: nothing, or a lack of memory, which the buffer knows. */
static inline uint64_t print_from(const uint64_t seed[2], const struct strbuf *b, size_t from)
{
	return b->failed || b->len <= from ? 0 : siphash24(b->data + from, b->len - from, seed);
}

#endif
