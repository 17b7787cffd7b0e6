/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "bpf/addr_class.h"

struct row {
	const char *text;
	bool never_leaves;
	bool no_name;
	const char *embedded; /* NULL: none */
};

/* Both sides of every border. */
static const struct row rows[] = {
	{ "0.0.0.0", true, true, NULL },
	{ "0.255.255.255", true, true, NULL },
	{ "1.0.0.0", false, false, NULL },
	{ "126.255.255.255", false, false, NULL },
	{ "127.0.0.1", true, true, NULL },
	{ "128.0.0.0", false, false, NULL },
	{ "169.253.255.255", false, false, NULL },
	{ "169.254.0.0", false, true, NULL },
	{ "169.254.169.254", false, true, NULL },
	{ "169.255.0.0", false, false, NULL },
	{ "223.255.255.255", false, false, NULL },
	{ "224.0.0.0", true, true, NULL },
	{ "240.0.0.1", true, true, NULL },
	{ "255.255.255.255", true, true, NULL },
	{ "10.0.0.1", false, false, NULL },
	{ "168.63.129.15", false, false, NULL },
	{ "168.63.129.16", false, true, NULL }, /* Azure */
	{ "168.63.129.17", false, false, NULL },
	{ "100.100.100.199", false, false, NULL },
	{ "100.100.100.200", false, true, NULL }, /* Alibaba */
	{ "100.100.100.201", false, false, NULL },
	{ "192.0.0.170", false, false, NULL }, /* ipv4only.arpa (RFC 7050) */
	{ "192.0.0.192", false, true, NULL },  /* Oracle */
	{ "192.0.0.193", false, false, NULL },
	{ "::", true, true, NULL },
	{ "::1", true, true, NULL },
	{ "::c000:207", true, true, NULL },
	{ "::1:0:0", false, false, NULL },
	{ "fe7f:ffff::1", false, false, NULL },
	{ "fe80::1", false, true, NULL },
	{ "febf:ffff::1", false, true, NULL },
	{ "fec0::1", false, false, NULL },
	{ "feff::1", false, false, NULL },
	{ "ff02::1", true, true, NULL },
	{ "fd00:ec2::254", false, true, NULL },
	{ "fd00:ec2:ffff::1", false, true, NULL },
	{ "fd00:ec1::1", false, false, NULL },
	{ "fd00:ec3::1", false, false, NULL },
	{ "fd20:ce::254", false, true, NULL }, /* Google */
	{ "fd20:ce::253", false, false, NULL },
	{ "fd20:ce::1:0:254", false, false, NULL },
	{ "fd20:ce:1::254", false, false, NULL },
	{ "fd00:c1::a9fe:a9fe", false, true, NULL }, /* Oracle */
	{ "fd00:c1::a9fe:a9ff", false, false, NULL },
	{ "fd00:100::100:200", false, true, NULL }, /* Alibaba */
	{ "fd00:100::100:201", false, false, NULL },
	{ "fd00:42::42", false, true, NULL }, /* Scaleway */
	{ "fd00:42::43", false, false, NULL },
	{ "fd00:43::42", false, false, NULL },
	{ "fd00:a9fe:a9fe::1", false, true, NULL }, /* Akamai */
	{ "fd00:a9fe:a9fe::2", false, false, NULL },
	{ "fd00:a9fe:a9ff::1", false, false, NULL },
	{ "fd00:a9fe:a9fe::1:0:1", false, false, NULL },
	{ "64:ff9b::c000:207", false, false, "192.0.2.7" },
	{ "64:ff9b::a83f:8110", false, true, "168.63.129.16" },
	{ "64:ff9b::a9fe:a9fe", false, true, "169.254.169.254" },
	{ "64:ff9b::7f00:1", true, true, "127.0.0.1" },
	{ "64:ff9b::e000:1", true, true, "224.0.0.1" },
	{ "64:ff9b:1::c000:207", false, true, "192.0.2.7" },
	{ "64:ff9b:1:ffff:ffff:ffff:c000:207", false, true, "192.0.2.7" },
	{ "64:ff9b:2::c000:207", false, false, NULL },
	{ "64:ff9b::1:c000:207", false, false, NULL },
	{ "::ffff:0:c000:207", false, false, "192.0.2.7" },
	{ "::ffff:0:a9fe:a9fe", false, true, "169.254.169.254" },
	{ "::ffff:0:6464:64c8", false, true, "100.100.100.200" },
	{ "::ffff:0:7f00:1", true, true, "127.0.0.1" },
	{ "::ffff:0:e000:1", true, true, "224.0.0.1" },
	{ "::fffe:0:7f00:1", false, false, NULL },
	{ "::ffff:1:7f00:1", false, false, NULL },
	{ "0:0:0:1:ffff:0:7f00:1", false, false, NULL },
	{ "2002:c000:207::1", false, false, "192.0.2.7" },
	{ "2002:a9fe:a9fe::1", false, true, "169.254.169.254" },
	{ "2002:7f00:1::", true, true, "127.0.0.1" },
	{ "2003:7f00:1::", false, false, NULL },
	{ "2001:0:1:2:3:4:3fff:fdf8", false, true, "192.0.2.7" },
	{ "2001:0:1:2:3:4:80ff:fffe", true, true, "127.0.0.1" },
	{ "2001:1::1", false, false, NULL },
	{ "2001:db8::7", false, false, NULL },
};

static void classes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct sluice_addr addr, v4, want;

		assert_int_equal(addr_parse(rows[i].text, &addr), 0);
		if (addr_never_leaves(&addr) != rows[i].never_leaves || addr_no_name_opens(&addr) != rows[i].no_name ||
		    addr_embedded_v4(&addr, &v4) != (rows[i].embedded != NULL))
			fail_msg("%s", rows[i].text);
		if (!rows[i].embedded)
			continue;
		assert_int_equal(addr_parse(rows[i].embedded, &want), 0);
		assert_memory_equal(&v4, &want, sizeof(want));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(classes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
