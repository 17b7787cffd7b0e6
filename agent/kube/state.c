/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kube/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC	 "sluice-state "
#define END_SIZE (sizeof("# 0123456789abcdef\n") - 1)

static const uint64_t sum_key[2];

static void write_end(uint64_t sum, char ret[END_SIZE + 1])
{
	snprintf(ret, END_SIZE + 1, "# %016" PRIx64 "\n", sum);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* A line break in JSON text is only ever between its parts. */
static void add_line(struct strbuf *out, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		strbuf_add(out, text, n);
		text += n;
		text += strspn(text, "\n ");
	}
	strbuf_add(out, "\n", 1);
}

void kube_state_begin(struct kube_state_out *out, const struct kube_state_head *head)
{
	json_t *json =
		json_pack("{s:s, s:s, s:s}", "boot_id", head->boot_id, "node", head->node, "cluster", head->cluster);
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	*out = (struct kube_state_out){};
	siphash_begin(&out->sum, sum_key);
	strbuf_addf(&out->bytes, MAGIC "%d\n", KUBE_STATE_VERSION);
	if (text)
		add_line(&out->bytes, text);
	else
		out->bytes.failed = true;
	free(text);
	json_decref(json);
}

void kube_state_collection(struct kube_state_out *out, const char *path)
{
	strbuf_addf(&out->bytes, "@%s\n", path);
}

void kube_state_object(struct kube_state_out *out, const char *text)
{
	add_line(&out->bytes, text);
}

void kube_state_accepted(struct kube_state_out *out, const char *text)
{
	strbuf_add(&out->bytes, "!", 1);
	add_line(&out->bytes, text);
}

void kube_state_end(struct kube_state_out *out)
{
	char line[END_SIZE + 1];

	if (out->bytes.failed)
		return;
	siphash_add(&out->sum, out->bytes.data, out->bytes.len);
	write_end(siphash_end(&out->sum), line);
	strbuf_adds(&out->bytes, line);
}

struct strbuf kube_state_take(struct kube_state_out *out)
{
	struct strbuf taken = out->bytes;

	siphash_add(&out->sum, taken.data, taken.len);
	out->bytes = (struct strbuf){ .failed = taken.failed };
	return taken;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* The next line without its end. False: there is none. */
static bool next_line(struct kube_state *s)
{
	const char *end = s->at < s->end ? memchr(s->at, '\n', (size_t)(s->end - s->at)) : NULL;

	if (!end)
		return false;
	s->text = s->at;
	s->len = (size_t)(end - s->at);
	s->at = end + 1;
	return true;
}

static bool is_whole(const char *bytes, size_t len)
{
	char line[END_SIZE + 1];

	if (len < END_SIZE)
		return false;
	write_end(siphash24(bytes, len - END_SIZE, sum_key), line);
	return !memcmp(bytes + len - END_SIZE, line, END_SIZE);
}

static bool copy_member(json_t *object, const char *key, char *ret, size_t size)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text && snprintf(ret, size, "%s", text) < (int)size;
}

static bool read_head(struct kube_state *s)
{
	json_error_t ignored;
	json_t *json = next_line(s) ? json_loadb(s->text, s->len, 0, &ignored) : NULL;
	bool ok = copy_member(json, "boot_id", s->head.boot_id, sizeof(s->head.boot_id)) &&
		  copy_member(json, "node", s->head.node, sizeof(s->head.node)) &&
		  copy_member(json, "cluster", s->head.cluster, sizeof(s->head.cluster));

	json_decref(json);
	return ok;
}

/* The first line. NULL: this version reads what follows. */
static const char *check_format(const struct kube_state *s, char *buf, size_t size)
{
	static const char version[] = { '0' + KUBE_STATE_VERSION };
	size_t magic = strlen(MAGIC);

	if (s->len <= magic || memcmp(s->text, MAGIC, magic) != 0)
		return "it is no state of the cluster";
	if (s->len == magic + sizeof(version) && !memcmp(s->text + magic, version, sizeof(version)))
		return NULL;
	snprintf(buf, size, "its format is %.*s, this version reads %d",
		 (int)(s->len - magic < 20 ? s->len - magic : 20), s->text + magic, KUBE_STATE_VERSION);
	return buf;
}

/* Objects stand below a collection, and what was accepted before an object. */
static int check_records(struct kube_state *s)
{
	int before = KUBE_STATE_END, record;

	while ((record = kube_state_next(s)) > KUBE_STATE_END) {
		if (record != KUBE_STATE_COLLECTION && before == KUBE_STATE_END)
			return -EINVAL;
		if (before == KUBE_STATE_ACCEPTED && record != KUBE_STATE_OBJECT)
			return -EINVAL;
		before = record;
	}
	return record < 0 ? record : before == KUBE_STATE_ACCEPTED ? -EINVAL : 0;
}

static const char *open_whole(struct kube_state *s, const char *bytes, size_t len)
{
	const char *records;

	s->end = bytes + len - END_SIZE;
	if (!read_head(s))
		return "it does not say whose it is";
	records = s->at;
	if (check_records(s) < 0)
		return "a line of it cannot be read";
	s->at = records;
	return NULL;
}

int kube_state_open(struct kube_state *s, const char *bytes, size_t len, char *error, size_t size)
{
	const char *why = "it is no state of the cluster";

	*s = (struct kube_state){ .at = bytes, .end = bytes + len };
	if (next_line(s))
		why = check_format(s, error, size);
	if (!why && !is_whole(bytes, len))
		why = "it is torn or was changed: the checksum differs";
	if (!why)
		why = open_whole(s, bytes, len);
	if (!why)
		return 0;
	if (why != error)
		snprintf(error, size, "%s", why);
	kube_state_close(s);
	return -EINVAL;
}

int kube_state_next(struct kube_state *s)
{
	json_error_t ignored;
	char tag;

	json_decref(s->object);
	s->object = NULL;
	if (!next_line(s))
		return s->at == s->end ? KUBE_STATE_END : -EINVAL;
	tag = s->len ? *s->text : '\0';
	if (tag == '@' || tag == '!') {
		s->text++;
		s->len--;
	}
	if (tag == '@')
		return s->len ? KUBE_STATE_COLLECTION : -EINVAL;
	s->object = json_loadb(s->text, s->len, 0, &ignored);
	if (!json_is_object(s->object))
		return -EINVAL;
	return tag == '!' ? KUBE_STATE_ACCEPTED : KUBE_STATE_OBJECT;
}

void kube_state_close(struct kube_state *s)
{
	json_decref(s->object);
	*s = (struct kube_state){};
}
