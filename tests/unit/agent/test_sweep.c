/* SPDX-License-Identifier: Apache-2.0 */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/sweep.h"
#include "base/cleanup.h"
#include "base/clock.h"

static void test_timeouts(void **state)
{
	static const struct {
		uint8_t proto, origin, flags;
		uint64_t tx, lives; /* seconds */
	} cases[] = {
		{ IPPROTO_TCP, SLUICE_ORIGIN_POD, SLUICE_FLOW_SEEN_REPLY, 1, 8000 },
		{ IPPROTO_TCP, SLUICE_ORIGIN_POD, 0, 1, 60 },
		{ IPPROTO_TCP, SLUICE_ORIGIN_POD, SLUICE_FLOW_SEEN_REPLY | SLUICE_FLOW_RST, 1, 20 },
		{ IPPROTO_TCP, SLUICE_ORIGIN_POD, SLUICE_FLOW_SEEN_REPLY | SLUICE_FLOW_FIN_LOCAL, 1, 8000 },
		{ IPPROTO_TCP, SLUICE_ORIGIN_POD,
		  SLUICE_FLOW_SEEN_REPLY | SLUICE_FLOW_FIN_LOCAL | SLUICE_FLOW_FIN_REMOTE, 1, 20 },
		{ IPPROTO_TCP, SLUICE_ORIGIN_OUTSIDE, SLUICE_FLOW_SEEN_REPLY, 0, 60 },
		{ IPPROTO_TCP, SLUICE_ORIGIN_OUTSIDE, SLUICE_FLOW_SEEN_REPLY, 5, 8000 },
		{ IPPROTO_UDP, SLUICE_ORIGIN_POD, 0, 1, 60 },
		{ IPPROTO_UDP, SLUICE_ORIGIN_POD, SLUICE_FLOW_SEEN_REPLY, 1, 180 },
		{ IPPROTO_ICMP, SLUICE_ORIGIN_POD, SLUICE_FLOW_SEEN_REPLY, 1, 60 },
		{ IPPROTO_TCP, SLUICE_ORIGIN_TOMBSTONE, 0, 0, 120 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const uint64_t seen = 1000 * NSEC_PER_SEC;
		struct sluice_flow f = { .key.proto = cases[i].proto,
					 .origin = cases[i].origin,
					 .flags = cases[i].flags,
					 .tx_packets = cases[i].tx,
					 .last_seen = seen };

		assert_false(sweep_flow_is_over(&f, seen - 1)); /* the kernel's clock is coarse */
		assert_false(sweep_flow_is_over(&f, seen + cases[i].lives * NSEC_PER_SEC));
		assert_true(sweep_flow_is_over(&f, seen + cases[i].lives * NSEC_PER_SEC + 1));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_timeouts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
