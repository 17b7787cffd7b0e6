/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/diag.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"

void diag_add(struct diags *d, enum diag_level level, const char *file, uint32_t line, uint32_t column,
	      const char *format, ...)
{
	_cleanup_free_ char *file_copy = strdup(file);
	_cleanup_free_ char *message = NULL;
	struct diag *item;
	va_list args;
	int len;

	if (level == DIAG_ERROR)
		d->errors++;
	va_start(args, format);
	len = vasprintf(&message, format, args);
	va_end(args);
	if (len < 0) {
		message = NULL;
		return;
	}
	item = file_copy ? array_push(&d->items, &d->count, sizeof(*d->items)) : NULL;
	if (!item)
		return;
	item->level = level;
	item->line = line;
	item->column = column;
	item->file = TAKE_PTR(file_copy);
	item->message = TAKE_PTR(message);
}

void diags_clear(struct diags *d)
{
	for (size_t i = 0; i < d->count; i++) {
		free(d->items[i].file);
		free(d->items[i].message);
	}
	free(d->items);
	*d = (struct diags){};
}

const char *diag_level_name(enum diag_level level)
{
	switch (level) {
	case DIAG_NOTICE:
		return "notice";
	case DIAG_WARNING:
		return "warning";
	case DIAG_ERROR:
		return "error";
	}
	return "error";
}

char *diag_format(const struct diag *d, char *buf, size_t size)
{
	const char *level = diag_level_name(d->level);

	if (d->line == 0)
		snprintf(buf, size, "%s: %s: %s", d->file, level, d->message);
	else
		snprintf(buf, size, "%s:%u:%u: %s: %s", d->file, d->line, d->column, level, d->message);
	return buf;
}
