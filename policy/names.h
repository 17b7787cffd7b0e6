/* SPDX-License-Identifier: Apache-2.0 */
/* Name patterns of both dialects, checked and brought to one form. */
#ifndef SLUICE_POLICY_NAMES_H
#define SLUICE_POLICY_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#define NAME_MAX_TEXT  253 /* of a canonical name: RFC 1035's 255 bytes on the wire, less two */
#define NAME_MAX_LABEL 63

enum name_dialect {
	NAME_CILIUM_NAME,    /* matchName: no wildcards */
	NAME_CILIUM_PATTERN, /* matchPattern */
	NAME_AWS,	     /* domainNames */
};

/*
 * A pattern is `deep` plus labels: with `deep`, one or more labels of any kind stand before them; a label is a literal,
 * or holds `*` for zero or more characters. `*` alone as a label is any label. `all` is every name, the root included.
 */
struct name_pattern {
	bool all;
	bool deep;
	char text[256]; /* the labels, lower case, joined by dots, no final dot */
};

/* The same, its text elsewhere and no longer than it is: there may be many. */
struct name_view {
	bool all;
	bool deep;
	const char *text;
};
static inline struct name_view name_view_of(const struct name_pattern *p)
{
	return (struct name_view){ p->all, p->deep, p->text };
}

enum name_check {
	NAME_OK = 0,
	NAME_NEVER = 1, /* can match no name: warn and leave it out */
};

/*
 * enum name_check, or -EINVAL where the dialect refuses the text. `ret_why` is set except with NAME_OK, where it is
 * NULL, or a remark worth a warning.
 */
int name_pattern_parse(enum name_dialect dialect, const char *text, struct name_pattern *ret, const char **ret_why);

/*
 * A name as people write one: lower case without a final dot into `ret`. 0; -EINVAL when it is none (RFC 1035 section
 * 2.3.1, and the underscore of service names; labels of 1 to 63 bytes, 253 in all).
 */
int name_canonical(const char *text, char ret[256]);

/* `name` is canonical (lower case, no final dot), `len` bytes. One pattern at a time: images have a trie for many. */
bool name_view_matches(const struct name_view *p, const char *name, size_t len);
/* `*` is zero or more characters. */
bool name_glob_matches(const char *pattern, size_t plen, const char *text, size_t len);

#endif
