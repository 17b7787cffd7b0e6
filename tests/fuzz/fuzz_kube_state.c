/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last known state of the cluster: whatever lies in the file is refused or read to its end, and what is read and written again
 * reads the same. Bytes are taken as a file, and as the lines of one whose checksum is right.
 */
#include <string.h>

#include "agent/kube/state.h"
#include "tests/fuzz/fuzz.h"

static void write_record(struct kube_state_out *out, const struct kube_state *s, int record)
{
	char *text = s->object ? json_dumps(s->object, 0) : NULL;

	if (record == KUBE_STATE_COLLECTION)
		strbuf_addf(&out->bytes, "@%.*s\n", (int)s->len, s->text);
	else if (record == KUBE_STATE_OBJECT)
		kube_state_object(out, text);
	else
		kube_state_accepted(out, text);
	free(text);
}

/* Reads all, and writes it again into `out` where that is not NULL. False: refused. */
static int read_all(const char *bytes, size_t len, struct kube_state_out *out)
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
	struct kube_state_out once = {}, again = {};

	if (read_all(bytes, len, &once)) {
		must(read_all(once.bytes.data, once.bytes.len, &again));
		must(once.bytes.len == again.bytes.len && !memcmp(once.bytes.data, again.bytes.data, once.bytes.len));
	}
	strbuf_clear(&once.bytes);
	strbuf_clear(&again.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct kube_state_head head = { "b", "n", "c" };
	struct kube_state_out out;

	read_twice((const char *)data, size);
	kube_state_begin(&out, &head);
	strbuf_add(&out.bytes, data, size);
	kube_state_end(&out);
	read_twice(out.bytes.data, out.bytes.len);
	strbuf_clear(&out.bytes);
	return 0;
}
