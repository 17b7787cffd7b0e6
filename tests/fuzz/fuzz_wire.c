/* SPDX-License-Identifier: Apache-2.0 */
/* A query that is accepted can be answered, and asked again by us with the same meaning. */
#include <string.h>

#include "dnsproxy/wire.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t buf[512];
	struct wire_out o = { .data = buf, .cap = sizeof(buf) };
	struct wire_query q, again;
	enum wire_result r = wire_read_query(data, size, &q);

	if (r == WIRE_SHORT)
		return 0;
	must(q.name.len <= WIRE_NAME_TEXT && q.question_len <= WIRE_MAX_QUESTION);
	wire_begin(&o, &q, WIRE_RCODE_NXDOMAIN, false);
	wire_put_soa(&o, &q, 0);
	wire_end(&o, &q, WIRE_RCODE_NXDOMAIN, WIRE_EDE_BLOCKED, "policy");
	must(!o.overflow && o.len <= sizeof(buf));
	if (r != WIRE_OK)
		return 0;
	must(wire_read_query(buf, wire_write_query(buf, sizeof(buf), &q, 7, true), &again) == WIRE_OK);
	must(wire_name_equal(&q.name, &again.name) && q.qtype == again.qtype && q.dnssec_ok == again.dnssec_ok);
	must(memchr(q.name.text, 0, q.name.len) == NULL);
	return 0;
}
