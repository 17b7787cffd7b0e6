/* SPDX-License-Identifier: Apache-2.0 */
/* Diagnostics: what is wrong in a text a person wrote, where, and what was expected. */
#ifndef SLUICE_POLICY_DIAG_H
#define SLUICE_POLICY_DIAG_H

#include <stddef.h>
#include <stdint.h>

enum diag_level {
	DIAG_NOTICE,
	DIAG_WARNING,
	DIAG_ERROR,
};

struct diag {
	enum diag_level level;
	uint32_t line;	 /* from 1; 0 = the file as a whole */
	uint32_t column; /* from 1, in characters as libyaml counts them */
	char *file;
	char *message; /* one line, no final dot or newline */
};

/* A growing list. `= {}` is an empty one. */
struct diags {
	struct diag *items;
	size_t count;
	size_t errors;
};

/* Never fails: when memory runs out the item is dropped, but `errors` still counts it. */
__attribute__((format(printf, 6, 7))) void diag_add(struct diags *d, enum diag_level level, const char *file,
						    uint32_t line, uint32_t column, const char *format, ...);
void diags_clear(struct diags *d);
const char *diag_level_name(enum diag_level level);
/* "FILE:LINE:COL: error: MESSAGE" into buf, cut when too long; returns buf. */
char *diag_format(const struct diag *d, char *buf, size_t size);

#endif
