/* SPDX-License-Identifier: Apache-2.0 */
/* A query that is accepted can be answered, and asked again by us with the same meaning. */
#include <string.h>

#include "dnsproxy/answer.h"
#include "tests/fuzz/fuzz.h"

/* What is made here, in every form: read back it is the answer to its question, with the code given. */
static void answers_read_back(const struct wire_query *q)
{
	static const enum wire_rcode rcodes[] = { WIRE_NOERROR, WIRE_RCODE_FORMERR, WIRE_RCODE_REFUSED,
						  WIRE_RCODE_BADVERS };
	static struct answer a;
	uint8_t buf[512];

	for (size_t i = 0; i < sizeof(rcodes) / sizeof(rcodes[0]); i++) {
		struct wire_out o = { .data = buf, .cap = sizeof(buf) };

		wire_begin(&o, q, rcodes[i], i == 1);
		if (i != 1)
			wire_put_soa(&o, q, i == 2 ? wire_parent(&q->name) : 0);
		wire_end(&o, q, rcodes[i], i & 1 ? WIRE_EDE_BLOCKED : WIRE_EDE_NONE, "policy");
		must(!o.overflow && answer_matches(buf, o.len, q, q->id) && answer_read(buf, o.len, q, &a) == 0);
		must(a.truncated == (i == 1) && a.nrecords == 0 && a.nauthority == (i != 1));
		must(a.rcode == (q->edns ? rcodes[i] : (enum wire_rcode)(rcodes[i] & 15)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t buf[512];
	struct wire_out o = { .data = buf, .cap = sizeof(buf) };
	struct wire_query q, again;
	enum wire_result r = wire_read_query(data, size, &q);
	bool edns = size & 1;

	if (r == WIRE_SHORT)
		return 0;
	must(q.name.len <= WIRE_NAME_TEXT && q.question_len <= WIRE_MAX_QUESTION);
	wire_begin(&o, &q, WIRE_RCODE_NXDOMAIN, false);
	wire_put_soa(&o, &q, 0);
	wire_end(&o, &q, WIRE_RCODE_NXDOMAIN, WIRE_EDE_BLOCKED, "policy");
	must(!o.overflow && o.len <= sizeof(buf));
	if (r != WIRE_OK)
		return 0;
	answers_read_back(&q);
	must(wire_read_query(buf, wire_write_query(buf, sizeof(buf), &q, 7, edns), &again) == WIRE_OK);
	must(wire_name_equal(&q.name, &again.name) && q.qtype == again.qtype && again.edns == edns);
	must(again.dnssec_ok == (edns && q.dnssec_ok));
	must(memchr(q.name.text, 0, q.name.len) == NULL);
	return 0;
}
