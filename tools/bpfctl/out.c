/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/out.h"

#include <inttypes.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/strbuf.h"

enum ctl_exit out_json(json_t *value)
{
	int r;

	if (!value) {
		ctl_error("out of memory");
		return CTL_UNREACHABLE;
	}
	r = json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
	json_decref(value);
	return r == 0 ? CTL_OK : CTL_UNREACHABLE;
}

void out_json_line(const json_t *value)
{
	json_dumpf(value, stdout, JSON_COMPACT);
	putchar('\n');
}

/* C0, DEL and C1 move a terminal's cursor; surrogates are no characters. */
static bool is_printable(uint32_t point)
{
	if (point < 0x20 || (point >= 0x7f && point < 0xa0))
		return false;
	return point < 0xd800 || (point > 0xdfff && point <= 0x10ffff);
}

/* Length of the well-formed UTF-8 sequence of a printable character at `s`, or 0. RFC 3629 section 3. */
static size_t utf8_length(const unsigned char *s, size_t left)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least; /* anything below has a shorter form */
	} forms[] = { { 0x80, 0x00, 0 }, { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 } };

	for (size_t n = 1; n <= ARRAY_SIZE(forms) && n <= left; n++) {
		uint32_t point = s[0] & (unsigned char)~forms[n - 1].mask;
		bool good = (s[0] & forms[n - 1].mask) == forms[n - 1].lead;

		for (size_t i = 1; good && i < n; i++) {
			good = (s[i] & 0xc0) == 0x80;
			point = point << 6 | (s[i] & 0x3f);
		}
		if (good && point >= forms[n - 1].least && is_printable(point))
			return n;
	}
	return 0;
}

json_t *out_text(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;
	_cleanup_free_ char *clean = NULL;
	struct strbuf b = {};

	for (size_t i = 0; i < len;) {
		size_t n = utf8_length(s + i, len - i);

		if (n)
			strbuf_add(&b, s + i, n);
		else
			strbuf_addf(&b, "\\%03u", s[i]);
		i += n ? n : 1;
	}
	clean = strbuf_take(&b);
	return clean ? json_string(clean) : NULL;
}

json_t *out_textz(const char *text, size_t max)
{
	return out_text(text, strnlen(text, max));
}

json_t *out_addr(const struct sluice_addr *addr)
{
	char buf[ADDR_TEXT_MAX];

	return json_string(addr_format(addr, buf));
}

json_t *out_hex(uint64_t id)
{
	return json_sprintf("%016" PRIx64, id);
}

const char *get_text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

int64_t get_number(const json_t *object, const char *key)
{
	return (int64_t)json_integer_value(json_object_get(object, key));
}

double get_real(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

bool get_flag(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

char *out_age(double seconds, char *buf)
{
	uint64_t s = seconds > 0 ? (uint64_t)seconds : 0;

	if (seconds < 0)
		snprintf(buf, OUT_AGE_MAX, "0s");
	else if (seconds < 10)
		snprintf(buf, OUT_AGE_MAX, "%.1fs", seconds);
	else if (s < 60)
		snprintf(buf, OUT_AGE_MAX, "%" PRIu64 "s", s);
	else if (s < 3600)
		snprintf(buf, OUT_AGE_MAX, "%" PRIu64 "m%" PRIu64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, OUT_AGE_MAX, "%" PRIu64 "h%" PRIu64 "m", s / 3600, s / 60 % 60);
	else
		snprintf(buf, OUT_AGE_MAX, "%" PRIu64 "d%" PRIu64 "h", s / 86400, s / 3600 % 24);
	return buf;
}

char *out_bytes(uint64_t bytes, char *buf)
{
	static const char units[] = "BKMGTPE";
	double n = (double)bytes;
	size_t unit = 0;

	while (n >= 1024 && unit + 1 < strlen(units)) {
		n /= 1024;
		unit++;
	}
	if (unit == 0)
		snprintf(buf, OUT_BYTES_MAX, "%" PRIu64, bytes);
	else
		snprintf(buf, OUT_BYTES_MAX, n < 10 ? "%.1f%c" : "%.0f%c", n, units[unit]);
	return buf;
}

static void add_plain(struct strbuf *b, const json_t *value)
{
	if (json_is_string(value)) {
		strbuf_adds(b, json_string_value(value)[0] ? json_string_value(value) : "-");
	} else if (json_is_integer(value)) {
		strbuf_addf(b, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	} else if (json_is_real(value)) {
		strbuf_addf(b, "%.1f", json_real_value(value));
	} else if (json_is_boolean(value)) {
		strbuf_adds(b, json_is_true(value) ? "yes" : "no");
	} else if (json_array_size(value) > 0) {
		for (size_t i = 0; i < json_array_size(value); i++) {
			strbuf_adds(b, i ? "," : "");
			add_plain(b, json_array_get(value, i));
		}
	} else {
		strbuf_adds(b, "-");
	}
}

static char *cell(const struct out_column *column, const json_t *row)
{
	const json_t *value = json_object_get(row, column->key);
	char buf[OUT_AGE_MAX];
	struct strbuf b = {};

	switch (column->format) {
	case OUT_PLAIN:
	case OUT_RIGHT:
		add_plain(&b, value);
		break;
	case OUT_BYTES:
		strbuf_adds(&b, out_bytes((uint64_t)json_integer_value(value), buf));
		break;
	case OUT_AGE:
		strbuf_adds(&b, json_is_number(value) ? out_age(json_number_value(value), buf) : "-");
		break;
	case OUT_ID: {
		const char *hex = json_is_string(value) ? json_string_value(value) : "";
		size_t zeros = strspn(hex, "0");

		strbuf_adds(&b, hex[zeros] ? hex + zeros : "-");
		break;
	}
	}
	return strbuf_take(&b);
}

/* In characters, not bytes: names may be any UTF-8. */
static size_t text_width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void put_cell(FILE *f, const char *text, size_t width, bool right, bool last)
{
	size_t have = text_width(text);
	int pad = width > have ? (int)(width - have) : 0;

	if (right)
		fprintf(f, "%*s%s", pad, "", text);
	else if (last)
		fputs(text, f);
	else
		fprintf(f, "%s%*s", text, pad, "");
	fputs(last ? "\n" : "  ", f);
}

void out_table(FILE *f, const struct out_column *columns, size_t count, const json_t *rows)
{
	size_t nrows = json_array_size(rows);
	_cleanup_free_ char **cells = calloc(nrows * count + 1, sizeof(*cells));
	_cleanup_free_ size_t *widths = calloc(count, sizeof(*widths));

	if (!cells || !widths)
		return ctl_error("out of memory");
	for (size_t c = 0; c < count; c++)
		widths[c] = text_width(columns[c].title);
	for (size_t i = 0; i < nrows * count; i++) {
		size_t width;

		cells[i] = cell(&columns[i % count], json_array_get(rows, i / count));
		width = cells[i] ? text_width(cells[i]) : 1;
		if (width > widths[i % count])
			widths[i % count] = width;
	}
	for (size_t c = 0; c < count; c++)
		put_cell(f, columns[c].title, widths[c],
			 columns[c].format == OUT_RIGHT || columns[c].format == OUT_BYTES, c + 1 == count);
	for (size_t i = 0; i < nrows * count; i++) {
		const struct out_column *column = &columns[i % count];

		put_cell(f, cells[i] ? cells[i] : "?", widths[i % count],
			 column->format == OUT_RIGHT || column->format == OUT_BYTES, i % count + 1 == count);
		free(cells[i]);
	}
}

void out_field(FILE *f, const char *title, const json_t *value)
{
	_cleanup_free_ char *text = NULL;
	struct strbuf b = {};

	add_plain(&b, value);
	text = strbuf_take(&b);
	fprintf(f, "%-22s%s\n", title, text ? text : "?");
}

/* Two levels are all there is: a counter map or a rule's source inside an element, or a list of such. */
static void add_flat(struct strbuf *b, const char *prefix, const json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		char name[128];

		snprintf(name, sizeof(name), "%s%s%s", prefix, prefix[0] ? "." : "", key);
		if (json_is_object(value)) {
			add_flat(b, name, value);
		} else if (json_is_array(value) && json_is_object(json_array_get(value, 0))) {
			for (size_t i = 0; i < json_array_size(value); i++) {
				char item[160];

				snprintf(item, sizeof(item), "%s.%zu", name, i);
				add_flat(b, item, json_array_get(value, i));
			}
		} else {
			strbuf_addf(b, "%s%s=", b->len ? " " : "", name);
			add_plain(b, value);
		}
	}
}

void out_flat(FILE *f, const json_t *object)
{
	_cleanup_free_ char *text = NULL;
	struct strbuf b = {};

	add_flat(&b, "", object);
	text = strbuf_take(&b);
	fprintf(f, "%s\n", text ? text : "?");
}

struct sort_item {
	const char *first;
	const char *second;
	json_t *value;
};

static int compare_items(const void *a, const void *b)
{
	const struct sort_item *x = a, *y = b;
	int r = strcmp(x->first, y->first);

	return r ? r : strcmp(x->second, y->second);
}

void out_sort(json_t *list, const char *first, const char *second)
{
	size_t count = json_array_size(list);
	_cleanup_free_ struct sort_item *items = calloc(count + 1, sizeof(*items));

	if (!items)
		return; /* unsorted is still right */
	for (size_t i = 0; i < count; i++) {
		json_t *value = json_incref(json_array_get(list, i));

		items[i] = (struct sort_item){ get_text(value, first), get_text(value, second), value };
	}
	qsort(items, count, sizeof(*items), compare_items);
	json_array_clear(list);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, items[i].value);
}
