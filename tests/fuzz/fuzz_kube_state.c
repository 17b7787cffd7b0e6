/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last known state of the cluster: whatever lies in the file is refused or read to its end, and what is read and written again
 * reads the same. Bytes are taken as a file, and as the lines of one whose checksum is right.
 */
#include <string.h>

#include "agent/kube/state.h"
#include "tests/fuzz/fuzz.h"

static void write_record(struct strbuf *out, const struct kube_state *s, int record)
{
	char *text = s->object ? json_dumps(s->object, 0) : NULL;

	if (record == KUBE_STATE_COLLECTION)
		strbuf_addf(out, "@%.*s\n", (int)s->len, s->text);
	else if (record == KUBE_STATE_OBJECT)
		kube_state_object(out, text);
	else
		kube_state_accepted(out, text);
	free(text);
}

/* Reads all, and writes it again into `out` where that is not NULL. False: refused. */
static int read_all(const char *bytes, size_t len, struct strbuf *out)
{
	struct kube_state s;
	char error[64];
	int record;

	if (kube_state_open(&s, bytes, len, error, sizeof(error)) < 0) {
		must(error[0]);
		return 0;
	}
	kube_state_begin(out, &s.head);
	while ((record = kube_state_next(&s)) > KUBE_STATE_END)
		write_record(out, &s, record);
	must(record == KUBE_STATE_END);
	kube_state_end(out);
	kube_state_close(&s);
	return 1;
}

static void read_twice(const char *bytes, size_t len)
{
	struct strbuf once = {}, again = {};

	if (read_all(bytes, len, &once)) {
		must(read_all(once.data, once.len, &again));
		must(once.len == again.len && !memcmp(once.data, again.data, once.len));
	}
	strbuf_clear(&once);
	strbuf_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct kube_state_head head = { "b", "n", "c" };
	struct strbuf b = {};

	read_twice((const char *)data, size);
	kube_state_begin(&b, &head);
	strbuf_add(&b, data, size);
	kube_state_end(&b);
	read_twice(b.data, b.len);
	strbuf_clear(&b);
	return 0;
}
