/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output. A command builds one JSON value; -o json prints it, and the human form is printed from the same value, so
 * that the two cannot tell different stories.
 */
#ifndef SLUICE_TOOLS_BPFCTL_OUT_H
#define SLUICE_TOOLS_BPFCTL_OUT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/addr_type.h"
#include "tools/bpfctl/ctl.h"

#define _cleanup_json_ __attribute__((cleanup(json_decrefp))) /* jansson.h has the function */

/* Prints and releases `value`, NULL included (out of memory). */
enum ctl_exit out_json(json_t *value);
/* One line, as it is printed in a stream of objects; keeps the reference. */
void out_json_line(const json_t *value);

/* A string of `len` bytes of any content: what is no UTF-8, and control characters, become \DDD. */
json_t *out_text(const char *text, size_t len);
json_t *out_textz(const char *text, size_t max); /* up to the NUL, or max */
json_t *out_addr(const struct sluice_addr *addr);
json_t *out_hex(uint64_t id); /* 16 digits, as in image file names */

/* Members of an object; a missing or wrong one gives "", 0, false. */
const char *get_text(const json_t *object, const char *key);
int64_t get_number(const json_t *object, const char *key);
double get_real(const json_t *object, const char *key);
bool get_flag(const json_t *object, const char *key);

enum out_format {
	OUT_PLAIN, /* strings as they are, numbers in decimal, lists joined by commas, flags as yes/no */
	OUT_BYTES, /* 12.3M */
	OUT_AGE,   /* seconds as 5s, 3m12s, 2h5m, 4d3h; "-" for null */
	OUT_ID,	   /* hex id without its leading zeros */
	OUT_RIGHT, /* OUT_PLAIN, aligned right */
};

struct out_column {
	const char *title;
	const char *key;
	enum out_format format;
};

/* `rows` is an array of objects. The last column is never padded. */
void out_table(FILE *f, const struct out_column *columns, size_t count, const json_t *rows);

/* "title   value", for a page about one thing; a missing value is "-". */
void out_field(FILE *f, const char *title, const json_t *value);
/* A line "key=value key=value ..." of an object; members of inner objects as "outer.inner=value". */
void out_flat(FILE *f, const json_t *object);
/* Sorts an array of objects by two text members. */
void out_sort(json_t *list, const char *first, const char *second);

/* Into buf of OUT_AGE_MAX; returns buf. */
#define OUT_AGE_MAX 32
char *out_age(double seconds, char *buf);
#define OUT_BYTES_MAX 16
char *out_bytes(uint64_t bytes, char *buf);

#endif
