/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever an answer says, what we make of it is well-formed, speaks of its question, and fits; read again it says the
 * same, and written again it is the same.
 */
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

static bool next_address(const struct answer *a, uint16_t *i, struct sluice_addr *ret)
{
	while (*i < a->nrecords)
		if (answer_address(a, &a->records[(*i)++], ret))
			return true;
	return false;
}

static void same_addresses(const struct answer *a, const struct answer *b)
{
	struct sluice_addr x, y;
	uint16_t i = 0, k = 0;

	while (next_address(a, &i, &x)) {
		must(next_address(b, &k, &y) && memcmp(&x, &y, sizeof(x)) == 0);
		must(a->records[i - 1].ttl == b->records[k - 1].ttl);
	}
	must(!next_address(b, &k, &y));
}

/* The first time names change their form (pointers, a made-up SOA); from then on nothing does. */
static void round_trip(const struct answer *a, const struct wire_query *q)
{
	static uint8_t bufs[3][WIRE_MAX_MESSAGE];
	static struct answer read[2];
	struct wire_out outs[3];

	for (int i = 0; i < 3; i++) {
		const struct answer *from = i == 0 ? a : &read[i - 1];

		outs[i] = (struct wire_out){ .data = bufs[i], .cap = sizeof(bufs[i]) };
		if (!answer_write(from, q, false, &outs[i]))
			return;
		if (i == 2)
			break;
		must(answer_read(bufs[i], outs[i].len, q, &read[i]) == 0);
		/* The upper bits of the code are in the OPT record, which there may not be. */
		must((read[i].rcode & 15) == (a->rcode & 15) && read[i].nnames == a->nnames);
		for (uint16_t n = 0; n < a->nnames; n++)
			must(wire_name_equal(&a->names[n], &read[i].names[n]));
		same_addresses(from, &read[i]);
	}
	must(outs[1].len == outs[2].len && memcmp(bufs[1], bufs[2], outs[1].len) == 0);
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
	round_trip(&a, &q);
	return 0;
}
