/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever an answer says, what we make of it is well-formed, speaks of its question, and fits. */
#include <string.h>

#include "dnsproxy/answer.h"
#include "tests/fuzz/fuzz.h"

static void write_and_read(const struct answer *a, const struct wire_query *q, bool flat, size_t cap)
{
	static uint8_t buf[WIRE_MAX_MESSAGE];
	static struct answer again;
	struct wire_out o = { .data = buf, .cap = cap };
	bool whole = answer_write(a, q, flat, &o);

	must(!o.overflow && o.len <= cap);
	must(answer_matches(buf, o.len, q, q->id));
	must(answer_read(buf, o.len, q, &again) == 0);
	must(again.truncated == !whole && again.ignored == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct answer a;
	struct wire_query q;
	uint8_t question[WIRE_HEADER + WIRE_MAX_QUESTION] = { [2] = 1, [5] = 1 };
	struct wire_cursor c = { .data = data, .len = size, .pos = WIRE_HEADER };

	wire_get_name(&c, false, NULL);
	wire_skip(&c, 4);
	if (c.failed || c.pos > sizeof(question))
		return 0;
	memcpy(question + WIRE_HEADER, data + WIRE_HEADER, c.pos - WIRE_HEADER);
	if (wire_read_query(question, c.pos, &q) != WIRE_OK)
		return 0;
	q.dnssec_ok = q.edns = data[3] & 0x20;
	if (!answer_matches(data, size, &q, (uint16_t)(data[0] << 8 | data[1])) || answer_read(data, size, &q, &a) < 0)
		return 0;
	write_and_read(&a, &q, false, WIRE_MIN_UDP);
	write_and_read(&a, &q, true, WIRE_MIN_UDP);
	write_and_read(&a, &q, false, WIRE_MAX_MESSAGE);
	return 0;
}
