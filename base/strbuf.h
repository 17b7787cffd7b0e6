/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte string. Appending never fails visibly: after the first failed allocation the buffer stays as it was
 * and `failed` is set, so a writer checks once, at its end.
 */
#ifndef SLUICE_BASE_STRBUF_H
#define SLUICE_BASE_STRBUF_H

#include <stdbool.h>
#include <stddef.h>

struct strbuf {
	char *data; /* NUL-terminated whenever not NULL; NULL while empty */
	size_t len;
	size_t cap;
	bool failed;
};

void strbuf_add(struct strbuf *b, const void *data, size_t len);
void strbuf_adds(struct strbuf *b, const char *text);
__attribute__((format(printf, 2, 3))) void strbuf_addf(struct strbuf *b, const char *format, ...);
void strbuf_clear(struct strbuf *b); /* frees; `= {}` again */
/* Gives the text to the caller (free()), "" when empty; NULL when anything failed. The buffer is empty after. */
char *strbuf_take(struct strbuf *b);

#endif
