/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * What the upstream API would refuse is refused: the CRDs' patterns are followed character for character, with AWS's
 * slip ([A-z] for [A-Za-z]) included, because a manifest the cluster accepts must not be an error here. What they let
 * through but no DNS name can equal (a label of 64, a `^`) is NAME_NEVER: it opens nothing, and says so.
 *
 * Wildcards: in Cilium's dialect `*` stands for characters within a label, except that a leading `**.` (or more stars)
 * is one or more whole labels, and a pattern of stars alone is everything. In AWS's dialect `*.` is one or more labels.
 */
#include "policy/names.h"

#include <errno.h>
#include <string.h>

#include "base/addr.h"

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_name_char(char c)
{
	return is_alnum(c) || c == '-' || c == '_';
}

static char to_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* ---- what the APIs refuse -------------------------------------------------------------------------------------- */

/* ^([-a-zA-Z0-9_]+[.]?)+$ at most 255 characters; patterns with `*` among the characters. */
static const char *cilium_refuses(const char *text, bool pattern)
{
	char before = '.';

	if (strlen(text) > 255)
		return "longer than 255 characters";
	for (const char *p = text; *p; before = *p++) {
		if (*p == '.' && before == '.')
			return p == text ? "starts with a dot" : "has an empty label";
		if (*p == '*' && !pattern)
			return "matchName takes no wildcard; use matchPattern";
		if (*p != '.' && *p != '*' && !is_name_char(*p))
			return "has a character outside a-z, 0-9, - and _";
	}
	return *text ? NULL : "is empty";
}

/* [a-zA-z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])? with upstream's A-z. */
static bool aws_label(const char *label, size_t len)
{
	if (len == 0 || !((label[0] >= 'A' && label[0] <= 'z') || (label[0] >= '0' && label[0] <= '9')))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_name_char(label[i]))
			return false;
	return len == 1 || is_alnum(label[len - 1]);
}

static const char *aws_refuses(const char *text)
{
	size_t labels = 0;

	if (strncmp(text, "*.", 2) == 0)
		text += 2;
	if (strchr(text, '*'))
		return "takes * only as the whole first label";
	while (*text) {
		size_t len = strcspn(text, ".");

		if (!aws_label(text, len))
			return "is no domain name";
		labels++;
		text += len;
		if (*text == '.')
			text++;
	}
	return labels >= 2 ? NULL : "needs at least two labels besides *";
}

/* ---- one form -------------------------------------------------------------------------------------------------- */

/* Takes off the wildcard that stands for whole labels. */
static const char *strip_leading(enum name_dialect dialect, const char *text, struct name_pattern *ret)
{
	size_t stars = strspn(text, "*");

	if (dialect == NAME_AWS && stars > 0) {
		ret->deep = true;
		return text + 2;
	}
	if (stars > 0 && (text[stars] == '\0' || (text[stars] == '.' && text[stars + 1] == '\0'))) {
		ret->all = true;
		return text + strlen(text);
	}
	if (stars >= 2 && text[stars] == '.') {
		ret->deep = true;
		return text + stars + 1;
	}
	return text;
}

/* Lower case, runs of `*` as one, no final dot. `ret->text` holds what a text of 255 can become. */
static void canonicalise(const char *text, struct name_pattern *ret)
{
	size_t n = 0;

	for (; *text; text++) {
		if (*text == '*' && n > 0 && ret->text[n - 1] == '*')
			continue;
		ret->text[n++] = to_lower(*text);
	}
	if (n > 0 && ret->text[n - 1] == '.')
		n--;
	ret->text[n] = '\0';
}

/* The least a match needs: each `*` inside a label may be nothing, one that is a label is at least one character. */
static const char *never_matches(const struct name_pattern *p)
{
	size_t total = p->deep ? 2 : 0;
	const char *label = p->text;

	while (*label) {
		size_t len = strcspn(label, "."), least = 0;

		for (size_t i = 0; i < len; i++) {
			if (label[i] != '*' && !is_name_char(label[i]))
				return "holds a character no name has";
			least += label[i] != '*';
		}
		if (least > NAME_MAX_LABEL)
			return "has a label longer than 63 characters";
		total += least ? least : 1;
		label += len;
		if (*label == '.') {
			label++;
			total++;
		}
	}
	return total > NAME_MAX_TEXT ? "is longer than a name can be" : NULL;
}

static const char *remark(const struct name_pattern *p)
{
	struct sluice_addr addr;

	if (addr_parse(p->text, &addr) == 0)
		return "is an address, not a name: no DNS question asks for it";
	if (!p->deep && strcmp(p->text, "localhost") == 0)
		return "is answered by every resolver library itself";
	return NULL;
}

int name_pattern_parse(enum name_dialect dialect, const char *text, struct name_pattern *ret, const char **ret_why)
{
	struct name_pattern p = {};
	const char *why = dialect == NAME_AWS
				  ? (strlen(text) > 4096 ? "is longer than a name can be" : aws_refuses(text))
				  : cilium_refuses(text, dialect == NAME_CILIUM_PATTERN);

	if (why) {
		*ret_why = why;
		return -EINVAL;
	}
	text = strip_leading(dialect, text, &p);
	if (strlen(text) > 255) {
		*ret_why = "is longer than a name can be";
		return NAME_NEVER;
	}
	canonicalise(text, &p);
	why = never_matches(&p);
	*ret_why = why ? why : remark(&p);
	if (why)
		return NAME_NEVER;
	*ret = p;
	return NAME_OK;
}

/* ---- matching ---------------------------------------------------------------------------------------------------- */

/* `*` is zero or more characters; back to the last star on a mismatch, so at most len * plen steps. */
bool name_glob_matches(const char *pattern, size_t plen, const char *text, size_t len)
{
	size_t p = 0, t = 0, star = SIZE_MAX, mark = 0;

	while (t < len) {
		if (p < plen && pattern[p] == '*') {
			star = p++;
			mark = t;
		} else if (p < plen && pattern[p] == text[t]) {
			p++;
			t++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			t = ++mark;
		} else {
			return false;
		}
	}
	while (p < plen && pattern[p] == '*')
		p++;
	return p == plen;
}

static size_t last_label(const char *text, size_t len)
{
	while (len > 0 && text[len - 1] != '.')
		len--;
	return len;
}

static bool plain(const char *name, size_t len)
{
	char before = '.';

	for (size_t i = 0; i < len; before = name[i++])
		if (name[i] == '.' ? before == '.' : !is_name_char(name[i]))
			return false;
	return len == 0 || before != '.';
}

bool name_view_matches(const struct name_view *p, const char *name, size_t len)
{
	size_t left = strlen(p->text);

	if (p->all)
		return true;
	if (len > NAME_MAX_TEXT || !plain(name, len))
		return false;
	while (left > 0) {
		size_t at = last_label(p->text, left), from = last_label(name, len), n = len - from;
		bool any = left - at == 1 && p->text[at] == '*';

		if (len == 0 || (!any && !name_glob_matches(p->text + at, left - at, name + from, n)))
			return false;
		left = at ? at - 1 : 0;
		len = from ? from - 1 : 0;
	}
	return p->deep ? len > 0 : len == 0;
}

static bool in_alphabet(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

int name_canonical(const char *text, char ret[256])
{
	size_t len = strlen(text), label = 0;

	if (len && text[len - 1] == '.')
		len--;
	if (len == 0 || len > NAME_MAX_TEXT)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		c = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
		if (c == '.' ? label == 0 : !in_alphabet(c))
			return -EINVAL;
		label = c == '.' ? 0 : label + 1;
		if (label > NAME_MAX_LABEL)
			return -EINVAL;
		ret[i] = c;
	}
	ret[len] = '\0';
	return label ? 0 : -EINVAL;
}
