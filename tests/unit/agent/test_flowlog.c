/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "agent/flowlog.h"
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "policy/compile.h"

#define POLICY 7

static const char *manifest =
	"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\n"
	"spec:\n  endpointSelector: {}\n  egress:\n  - toFQDNs: [{matchName: pypi.org}]\n"
	"    toPorts: [{ports: [{port: \"443\", protocol: TCP}]}]\n";
static struct image *img;
static uint8_t *bytes;

static int set_up(void **state)
{
	const struct subject subject = { .namespace_name = "ns", .name = "a" };
	const struct inventory inventory = {};
	struct diags diags = {};
	struct store *store = NULL;
	size_t len;

	(void)state;
	if (store_new(&store) < 0 || store_update(store, "p.yaml", manifest, strlen(manifest), &diags) != 0 ||
	    compile(store, &subject, &inventory, &diags, &bytes, &len) != 0 || image_open(bytes, len, &img) < 0)
		return -1;
	store_freep(&store);
	diags_clear(&diags);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	image_freep(&img);
	free(bytes);
	return 0;
}

static bool label(void *context, uint32_t endpoint, uint32_t generation, struct sluice_label *ret)
{
	(void)context;
	if (endpoint != 3 || generation != 9)
		return false;
	*ret = (struct sluice_label){ .generation = 9, .namespace_name = "ns", .name = "a\x1b[1m" };
	return true;
}

static bool name(void *context, uint64_t id, struct sluice_name *ret)
{
	(void)context;
	*ret = (struct sluice_name){ .id = id, .len = 8 };
	memcpy(ret->text, "pypi.org", 8);
	return id == 5;
}

static const struct image *image(void *context, uint64_t policy)
{
	(void)context;
	return policy == POLICY ? img : NULL;
}

static const struct flowlog_sources sources = { NULL, label, name, image };

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static struct sluice_event make_event(void)
{
	struct sluice_event e = { .time = clock_now(),
				  .state = SLUICE_STATE(SLUICE_MODE_ENFORCE, 0, 1, POLICY),
				  .endpoint = 3,
				  .generation = 9,
				  .rule = 1,
				  .proto = IPPROTO_TCP,
				  .ip_known = 1,
				  .lport = htons(40000),
				  .rport = htons(443),
				  .name = 5,
				  .verdict = SLUICE_EVENT_FORWARDED };

	assert_int_equal(addr_parse("10.0.0.1", &e.local), 0);
	assert_int_equal(addr_parse("203.0.113.1", &e.remote), 0);
	return e;
}

static void test_forwarded(void **state)
{
	struct sluice_event e = make_event();
	json_t *line = flowlog_event(&sources, &e), *flow = json_object_get(line, "flow");
	json_t *by = json_array_get(json_object_get(flow, "egress_allowed_by"), 0);

	(void)state;
	assert_string_equal(text(flow, "verdict"), "FORWARDED");
	assert_string_equal(text(json_object_get(flow, "source"), "pod_name"), "a?[1m");
	assert_string_equal(text(json_object_get(flow, "IP"), "destination"), "203.0.113.1");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json_object_get(flow, "l4"), "TCP"),
							    "destination_port")),
			 443);
	assert_string_equal(json_string_value(json_array_get(json_object_get(flow, "destination_names"), 0)),
			    "pypi.org");
	assert_string_equal(text(by, "namespace"), "ns");
	assert_string_equal(text(by, "name"), "p");
	assert_string_equal(text(line, "time"), text(flow, "time"));
	assert_int_equal(strlen(text(line, "time")), strlen("2026-01-01T00:00:00.000000000Z"));
	json_decref(line);
}

static void test_dropped(void **state)
{
	struct sluice_event e = make_event();
	json_t *line, *flow;

	(void)state;
	e.verdict = SLUICE_EVENT_DROPPED;
	e.reason = SLUICE_REASON_POLICY_DEFAULT;
	e.rule = 0;
	e.generation = 8; /* another one's by now */
	e.name = 6;
	line = flowlog_event(&sources, &e);
	flow = json_object_get(line, "flow");
	assert_string_equal(text(flow, "verdict"), "DROPPED");
	assert_string_equal(text(flow, "drop_reason_desc"), "POLICY_DENIED");
	assert_null(json_object_get(flow, "egress_denied_by"));
	assert_null(json_object_get(flow, "destination_names"));
	assert_null(json_object_get(json_object_get(flow, "source"), "pod_name"));
	json_decref(line);
}

static void test_dns(void **state)
{
	struct sluice_dns_record r = { .state = SLUICE_STATE(SLUICE_MODE_ENFORCE, 0, 1, POLICY),
				       .endpoint = 3,
				       .generation = 9,
				       .qtype = 1,
				       .proto = IPPROTO_UDP,
				       .naddrs = 1,
				       .name_len = 8,
				       .name = "pypi.org",
				       .ttl = 60,
				       .verdict = SLUICE_DNS_ALLOWED };
	json_t *line, *flow, *dns;

	(void)state;
	assert_int_equal(addr_parse("203.0.113.1", &r.addrs[0]), 0);
	line = flowlog_dns(&sources, &r);
	flow = json_object_get(line, "flow");
	dns = json_object_get(json_object_get(flow, "l7"), "dns");
	assert_string_equal(text(flow, "verdict"), "FORWARDED");
	assert_string_equal(text(dns, "query"), "pypi.org");
	assert_int_equal(json_array_size(json_object_get(dns, "ips")), 1);
	assert_int_equal(json_array_size(json_object_get(flow, "egress_allowed_by")), 1);
	json_decref(line);
	r.verdict = SLUICE_DNS_DENIED;
	r.naddrs = 200; /* a record that lies must not be believed */
	line = flowlog_dns(&sources, &r);
	flow = json_object_get(line, "flow");
	assert_string_equal(text(flow, "verdict"), "DROPPED");
	assert_string_not_equal(text(flow, "Summary"), "");
	json_decref(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forwarded),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_dns),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
